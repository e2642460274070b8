//! Catalogue files: from TOML to tools, or to mistakes that each name line and column.
//!
//! In: one or more files of the shape that docs/catalogue.md tells. Out: [`Tool`]s whose every fact has a source. Files that are
//! read together may not own the same name twice.

use std::collections::HashMap;
use std::path::Path;

use farend_analyzers::{Category, LabelInfo, label_info};
use serde::Deserialize;
use toml::Spanned;

use super::device::{self, Marks};
use super::pattern::{Form, Pattern};
use super::shared;
use crate::config::{Mistake, typed};

/// A program, device or service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// What its makers call it.
    pub name: String,
    /// Other names that it has or had.
    pub also: Vec<String>,
    /// The label of its sessions.
    pub label: &'static LabelInfo,
    /// Tools over whose names it runs.
    pub via: Vec<String>,
    /// What is known of it; every tool has one fact at least, if only that somebody lists it.
    pub facts: Vec<Fact>,
}

/// What one source says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// Who says so, and when.
    pub source: String,
    /// Names of agents, relays, brokers, signalling: who talks to one uses the tool.
    pub session: Vec<Pattern>,
    /// Names of web sites, shops, updates, accounts: who talks to one reads about the tool, or manages it.
    pub site: Vec<Pattern>,
    /// Protocols that its TLS offers; `*` at the end stands for anything.
    pub alpn: Vec<String>,
    /// Parts of its certificates' subjects (`CN=…`).
    pub subject: Vec<String>,
    /// Parts of its certificates' issuers.
    pub issuer: Vec<String>,
    /// What a device shows beside names: MAC vendor, host name, page.
    pub device: Marks,
    /// Ports: a hint for people, never matched.
    pub ports: Vec<String>,
    /// What else shows, for people.
    pub wire: Option<String>,
}

impl Fact {
    /// Whether it says nothing but that the tool exists.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        let Self { source: _, session, site, alpn, subject, issuer, device, ports, wire } = self;
        session.is_empty()
            && site.is_empty()
            && [alpn, subject, issuer, ports].iter().all(|list| list.is_empty())
            && *device == Marks::default()
            && wire.is_none()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRows {
    label: Option<Spanned<String>>,
    #[serde(default)]
    tool: Vec<ToolRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolRow {
    name: Spanned<String>,
    #[serde(default)]
    also: Vec<Spanned<String>>,
    label: Option<Spanned<String>>,
    #[serde(default)]
    via: Vec<Spanned<String>>,
    #[serde(default)]
    fact: Vec<FactRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FactRow {
    source: Spanned<String>,
    #[serde(default)]
    session: Vec<Spanned<String>>,
    #[serde(default)]
    site: Vec<Spanned<String>>,
    #[serde(default)]
    alpn: Vec<Spanned<String>>,
    #[serde(default)]
    subject: Vec<Spanned<String>>,
    #[serde(default)]
    issuer: Vec<Spanned<String>>,
    #[serde(default)]
    oui: Vec<Spanned<String>>,
    #[serde(default)]
    oui_shared: Vec<Spanned<String>>,
    #[serde(default)]
    hostname: Vec<Spanned<String>>,
    #[serde(default)]
    hostname_hint: Vec<Spanned<String>>,
    #[serde(default)]
    vendor_class: Vec<Spanned<String>>,
    #[serde(default)]
    service: Vec<Spanned<String>>,
    #[serde(default)]
    title: Vec<Spanned<String>>,
    #[serde(default)]
    ports: Vec<Spanned<String>>,
    wire: Option<String>,
}

/// A file to read: its name in mistakes, and its text.
pub(super) type Text<'a> = (&'a Path, &'a str);

/// Reads files that belong together. `known` says whether a tool that is in none of them may be named by `via`.
pub(super) fn read(files: &[Text<'_>], known: &dyn Fn(&str) -> bool) -> Result<Vec<Tool>, Vec<Mistake>> {
    let mut reading = Reading::new(known);
    let mut tools = Vec::new();
    for (file, text) in files {
        match typed::<FileRows>(file, text) {
            Ok(rows) => reading.file(file, text, rows, &mut tools),
            Err(mistakes) => reading.mistakes.extend(mistakes),
        }
    }
    reading.check_via();
    if reading.mistakes.is_empty() { Ok(tools) } else { Err(reading.mistakes) }
}

/// Where something is said: file, its text, offset.
type Place<'a> = (&'a Path, &'a str, usize);

struct Reading<'a> {
    known: &'a dyn Fn(&str) -> bool,
    mistakes: Vec<Mistake>,
    /// Lower-case names of tools, and which tool it was.
    names: HashMap<String, String>,
    /// Who owns a pattern.
    owners: HashMap<String, String>,
    vias: Vec<(Place<'a>, String)>,
}

impl<'a> Reading<'a> {
    fn new(known: &'a dyn Fn(&str) -> bool) -> Self {
        Self { known, mistakes: Vec::new(), names: HashMap::new(), owners: HashMap::new(), vias: Vec::new() }
    }

    fn wrong(&mut self, (file, text, offset): Place<'_>, what: impl Into<String>) {
        self.mistakes.push(Mistake::at(file, text, offset, what.into()));
    }

    fn file(&mut self, file: &'a Path, text: &'a str, rows: FileRows, tools: &mut Vec<Tool>) {
        let place = |s: &Spanned<String>| (file, text, s.span().start);
        let usual = rows.label.as_ref().and_then(|label| self.label(place(label), label.get_ref()));
        for row in rows.tool {
            let name = row.name.get_ref().clone();
            for said in [&row.name].into_iter().chain(&row.also) {
                self.name(place(said), said.get_ref(), &name);
            }
            let label = match &row.label {
                Some(label) => self.label(place(label), label.get_ref()),
                None if rows.label.is_none() => {
                    self.wrong(place(&row.name), format!("{name}: it has no label, and the file gives none"));
                    None
                }
                None => usual,
            };
            if row.fact.is_empty() {
                self.wrong(
                    place(&row.name),
                    format!("{name}: no [[tool.fact]] with a source: who says that it exists?"),
                );
            }
            let via = row.via.iter().map(|v| v.get_ref().clone()).collect();
            self.vias.extend(row.via.iter().map(|v| (place(v), v.get_ref().clone())));
            let facts = row.fact.iter().map(|fact| self.fact(file, text, fact, &name)).collect();
            let also = row.also.into_iter().map(Spanned::into_inner).collect();
            if let Some(label) = label {
                tools.push(Tool { name, also, label, via, facts });
            }
        }
    }

    fn name(&mut self, place: Place<'_>, said: &str, tool: &str) {
        if said.trim().is_empty() || said.trim() != said || said.chars().any(char::is_control) {
            self.wrong(place, format!("'{}': a name is text without blanks around it", said.escape_debug()));
        } else if let Some(other) = self.names.insert(said.to_lowercase(), tool.to_owned()) {
            self.wrong(place, format!("'{said}' is a name of {other} already"));
        }
    }

    fn label(&mut self, place: Place<'_>, said: &str) -> Option<&'static LabelInfo> {
        let info = label_info(said).filter(|info| info.category != Category::Encapsulation);
        if info.is_none() {
            self.wrong(place, format!("no label '{said}' for tools (have those of config/labels.tsv)"));
        }
        info
    }

    fn fact(&mut self, file: &'a Path, text: &'a str, row: &FactRow, tool: &str) -> Fact {
        let place = |s: &Spanned<String>| (file, text, s.span().start);
        if row.source.get_ref().trim().is_empty() {
            self.wrong(place(&row.source), format!("{tool}: every fact needs a source"));
        }
        let mut patterns = |list: &[Spanned<String>]| -> Vec<Pattern> {
            list.iter().filter_map(|s| self.pattern(place(s), s.get_ref(), tool)).collect()
        };
        let (session, site) = (patterns(&row.session), patterns(&row.site));
        let mut checked = |list: &[Spanned<String>], holds: fn(&str) -> bool, what: &str| -> Vec<String> {
            let texts = list.iter().map(|s| (place(s), s.get_ref()));
            let good = texts.filter(|(at, said)| {
                let holds = holds(said);
                if !holds {
                    self.wrong(*at, format!("'{said}' is no {what}"));
                }
                holds
            });
            good.map(|(_, said)| said.clone()).collect()
        };
        Fact {
            source: row.source.get_ref().clone(),
            session,
            site,
            alpn: checked(&row.alpn, is_alpn, "ALPN protocol (at least three characters; * only at the end)"),
            subject: checked(&row.subject, is_attribute, "part of a subject like 'CN=Name'"),
            issuer: checked(&row.issuer, is_attribute, "part of an issuer like 'CN=Name'"),
            device: Marks {
                oui: checked(&row.oui, device::is_oui, device::AN_OUI),
                oui_shared: checked(&row.oui_shared, device::is_oui, device::AN_OUI),
                hostname: checked(&row.hostname, device::is_host_name, device::A_HOST_NAME),
                hostname_hint: checked(&row.hostname_hint, device::is_host_name, device::A_HOST_NAME),
                vendor_class: checked(&row.vendor_class, device::is_text, device::A_TEXT),
                service: checked(&row.service, device::is_service, device::A_SERVICE),
                title: checked(&row.title, device::is_text, device::A_TEXT),
            },
            ports: checked(&row.ports, is_ports, "port like '443/tcp' or range like '8000-8040/udp'"),
            wire: row.wire.clone(),
        }
    }

    fn pattern(&mut self, place: Place<'_>, said: &str, tool: &str) -> Option<Pattern> {
        let pattern = match Pattern::parse(said) {
            Ok(pattern) => pattern,
            Err(what) => {
                self.wrong(place, what);
                return None;
            }
        };
        if let Some(many) = shared::speaks_for(pattern.fixed(), pattern.form() != Form::Exact) {
            self.wrong(place, format!("'{said}': names under {many} have many owners; give the full name"));
            return None;
        }
        if let Some(owner) = self.owners.insert(said.to_owned(), tool.to_owned()) {
            let what = if owner == tool {
                format!("'{said}' is there twice")
            } else {
                format!("'{said}' belongs to {owner} already (via = [\"{owner}\"] says that it is used, too)")
            };
            self.wrong(place, what);
            return None;
        }
        Some(pattern)
    }

    fn check_via(&mut self) {
        for (place, via) in std::mem::take(&mut self.vias) {
            if !self.names.contains_key(&via.to_lowercase()) && !(self.known)(&via) {
                self.wrong(place, format!("via: no tool '{via}'"));
            }
        }
    }
}

fn is_alpn(text: &str) -> bool {
    // Shorter ones are everybody's: h2, h3.
    let fixed = text.strip_suffix('*').unwrap_or(text);
    (3..=255).contains(&fixed.len()) && !fixed.contains('*') && !matches!(fixed, "http/1.1" | "http/1.0")
}

fn is_attribute(text: &str) -> bool {
    text.split_once('=').is_some_and(|(key, value)| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric()) && value.trim().len() >= 3
    })
}

fn is_ports(text: &str) -> bool {
    let Some((ports, "tcp" | "udp")) = text.split_once('/') else { return false };
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && !text.starts_with('+'));
    matches!((port(from), port(to)), (Some(from), Some(to)) if from <= to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        read(&[(Path::new("f.toml"), text)], &|_| false)
            .expect_err("a mistake")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// A file with one tool, whose fact has these further lines.
    fn with(lines: &str) -> String {
        format!("[[tool]]\nname = \"T\"\nlabel = \"rmm_other\"\n[[tool.fact]]\nsource = \"S\"\n{lines}\n")
    }

    #[test]
    fn a_file_gives_its_tools_with_the_files_label_where_they_have_none() {
        let text = "label = \"vpn_other\"\n[[tool]]\nname = \"A\"\nalso = [\"Old A\"]\n[[tool.fact]]\nsource = \"S\"\nsession = \
                    [\"*.a.example\"]\nports = [\"1-2/udp\"]\n[[tool]]\nname = \"B\"\nlabel = \"mullvad\"\nvia = [\"old a\"]\n\
                    [[tool.fact]]\nsource = \"S\"\n";
        let tools = read(&[(Path::new("f.toml"), text)], &|_| false).expect("valid");
        let told: Vec<(&str, &str)> = tools.iter().map(|t| (&*t.name, t.label.label)).collect();
        assert_eq!(told, [("A", "vpn_other"), ("B", "mullvad")]);
        assert_eq!(tools[0].facts[0].session[0].as_str(), "*.a.example");
    }

    #[test]
    fn every_mistake_is_told_with_line_and_column() {
        for (text, told) in [
            (with("sesion = []"), "f.toml:6:1: unknown field `sesion`"),
            ("[[tool]]\nname = \"T\"\nlabl = \"x\"\n".into(), "f.toml:3:1: unknown field `labl`"),
            ("[[tool]\n".into(), "f.toml:1:"),
            (with("session = [\"a.b.example\", \"*.com\"]"), "f.toml:6:27: '*.com' is too wide"),
            (
                with("session = [\"*.amazonaws.com\"]"),
                "f.toml:6:12: '*.amazonaws.com': names under amazonaws.com have many owners; give the full name",
            ),
            (with("site = [\"*.co.uk\"]"), "f.toml:6:9: '*.co.uk': names under co.uk have many owners"),
            (
                with("site = [\"github.io\"]"),
                "f.toml:6:9: 'github.io': names under github.io have many owners",
            ),
            (
                with("session = [\"a.example.net\"]\nsite = [\"a.example.net\"]"),
                "f.toml:7:9: 'a.example.net' is there twice",
            ),
            (with("ports = [\"443\"]"), "f.toml:6:10: '443' is no port"),
            (with("ports = [\"0/tcp\"]"), "f.toml:6:10: '0/tcp' is no port"),
            (with("ports = [\"65536/udp\"]"), "f.toml:6:10: '65536/udp' is no port"),
            (with("ports = [\"9-8/udp\"]"), "f.toml:6:10: '9-8/udp' is no port"),
            (with("alpn = [\"h2\"]"), "f.toml:6:9: 'h2' is no ALPN protocol"),
            (with("alpn = [\"a*b*\"]"), "f.toml:6:9: 'a*b*' is no ALPN protocol"),
            (with("subject = [\"AnyNet\"]"), "f.toml:6:12: 'AnyNet' is no part of a subject"),
            (with("issuer = [\"CN=\"]"), "f.toml:6:11: 'CN=' is no part of an issuer"),
            (with("").replace("\"S\"", "\" \""), "f.toml:5:10: T: every fact needs a source"),
            (with("").replace("source = \"S\"", "wire = \"x\""), "f.toml:4:1: missing field `source`"),
            (with("").replace("rmm_other", "gre"), "f.toml:3:9: no label 'gre' for tools"),
            (with("").replace("rmm_other", "rmmother"), "f.toml:3:9: no label 'rmmother' for tools"),
            (
                with("").replace("label = \"rmm_other\"\n", ""),
                "f.toml:2:8: T: it has no label, and the file gives none",
            ),
            (with("").replace("\"T\"", "\"\""), "f.toml:2:8: '': a name is text"),
            (
                "[[tool]]\nname = \"T\"\nlabel = \"rmm_other\"\n".into(),
                "f.toml:2:8: T: no [[tool.fact]] with a source: who says that it exists?",
            ),
            (
                with("").replace("[[tool.fact]]", "via = [\"U\"]\n[[tool.fact]]"),
                "f.toml:4:8: via: no tool 'U'",
            ),
            (with("") + &with(""), "f.toml:8:8: 'T' is a name of T already"),
            (
                with("site = [\"*.x.example\"]")
                    + &with("site = [\"*.x.example\"]").replace("\"T\"", "\"U\""),
                "f.toml:12:9: '*.x.example' belongs to T already (via = [\"T\"] says that it is used, too)",
            ),
        ] {
            let mistakes = mistakes(&text);
            assert!(mistakes[0].starts_with(told), "{text}\ntold: {mistakes:?}\nwanted: {told}");
        }
    }

    #[test]
    fn all_mistakes_of_a_file_are_told_at_once_and_files_that_belong_together_share_their_names() {
        assert_eq!(mistakes(&with("ports = [\"x\"]\nsite = [\"*.com\", \"*.github.io\"]")).len(), 3);
        let one = with("site = [\"a.x.example\"]");
        let other = one.replace("\"T\"", "\"U\"");
        let both = [(Path::new("f.toml"), &*one), (Path::new("g.toml"), &*other)];
        let mistakes = read(&both, &|_| false).expect_err("two owners");
        assert!(
            mistakes[0].to_string().starts_with("g.toml:6:9: 'a.x.example' belongs to T"),
            "{mistakes:?}"
        );
    }
}
