//! The tool catalogue: which names, certificates and ALPN protocols on the wire are whose.
//!
//! In: the files of `config/catalogue/`, which are part of the binary, and the user's own. Out: for a name, a certificate or an ALPN
//! protocol the [`Hit`]: tool, rule, source, and whether it stands for a session or merely for the vendor's web site.

pub mod device;
mod file;
mod lines;
mod pattern;
pub mod shared;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use farend_analyzers::LabelInfo;

pub use file::{Fact, Tool};
pub use pattern::Pattern;

use crate::config::{Mistake, read_text};
use pattern::NAME_MAX;

/// The built-in files: path and text. Programs read them as `build.rs` has flattened them.
pub const EMBEDDED: [(&str, &str); 6] = [
    ("config/catalogue/ip_kvm.toml", include_str!("../../../config/catalogue/ip_kvm.toml")),
    ("config/catalogue/mesh.toml", include_str!("../../../config/catalogue/mesh.toml")),
    ("config/catalogue/proxy.toml", include_str!("../../../config/catalogue/proxy.toml")),
    ("config/catalogue/remote_desktop.toml", include_str!("../../../config/catalogue/remote_desktop.toml")),
    ("config/catalogue/rmm.toml", include_str!("../../../config/catalogue/rmm.toml")),
    ("config/catalogue/vpn.toml", include_str!("../../../config/catalogue/vpn.toml")),
];

/// The latest one with files of the user's.
static LATEST: Mutex<Option<&'static Catalogue>> = Mutex::new(None);

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::of(lines::embedded()));

/// What the wire showed belongs to a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Name of the tool.
    pub tool: &'static str,
    /// Label of its sessions.
    pub label: &'static LabelInfo,
    /// A session of the tool; else its web site.
    pub session: bool,
    /// The rule, as it is written.
    pub rule: &'static str,
    /// Who says so.
    pub source: &'static str,
}

/// All tools, and their rules for looking up.
#[derive(Debug)]
pub struct Catalogue {
    tools: &'static [Tool],
    /// Rules by the fixed end of their pattern; of one end the most particular first.
    names: HashMap<&'static str, Vec<(&'static Pattern, Hit)>>,
    /// Labels of the longest fixed end.
    deepest: usize,
    alpn: Vec<Hit>,
    subject: Vec<Hit>,
    issuer: Vec<Hit>,
    devices: device::Index,
}

impl Catalogue {
    /// The catalogue that is part of the binary, read at first use.
    pub fn embedded() -> &'static Self {
        &CATALOGUE
    }

    /// The built-in catalogue with the user's files laid over it: a tool of the same name is replaced, a rule that both have is
    /// the user's. What it takes is never given back: a program has one catalogue, and another one only when it is told to read files
    /// again that have changed since.
    ///
    /// # Errors
    /// All mistakes in the files, each with its place; one without a place where a file cannot be read.
    pub fn with_files(files: &[PathBuf]) -> Result<&'static Self, Vec<Mistake>> {
        let embedded = Self::embedded();
        if files.is_empty() {
            return Ok(embedded);
        }
        let tools = read(files)?;
        let replaced = |old: &Tool| tools.iter().any(|new| new.is_called(&old.name));
        let kept: Vec<Tool> = embedded.tools.iter().filter(|old| !replaced(old)).cloned().collect();
        // Of equal rules the first wins.
        let tools: Vec<Tool> = tools.into_iter().chain(kept).collect();
        let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        match *latest {
            Some(same) if same.tools == tools => Ok(same),
            _ => Ok(*latest.insert(Box::leak(Box::new(Self::of(tools))))),
        }
    }

    fn of(tools: Vec<Tool>) -> Self {
        let tools: &'static [Tool] = Vec::leak(tools);
        let mut catalogue = Self {
            tools,
            names: HashMap::new(),
            deepest: 0,
            alpn: Vec::new(),
            subject: Vec::new(),
            issuer: Vec::new(),
            devices: device::Index::default(),
        };
        for tool in tools {
            for fact in &tool.facts {
                catalogue.add(tool, fact);
            }
        }
        for rules in catalogue.names.values_mut() {
            rules.sort_by_key(|(pattern, _)| pattern.form());
        }
        catalogue
    }

    fn add(&mut self, tool: &'static Tool, fact: &'static Fact) {
        let hit =
            |session, rule| Hit { tool: &tool.name, label: tool.label, session, rule, source: &fact.source };
        for (session, patterns) in [(true, &fact.session), (false, &fact.site)] {
            for pattern in patterns {
                let end = pattern.fixed();
                self.deepest = self.deepest.max(end.split('.').count());
                self.names.entry(end).or_default().push((pattern, hit(session, pattern.as_str())));
            }
        }
        self.alpn.extend(fact.alpn.iter().map(|rule| hit(true, rule)));
        self.subject.extend(fact.subject.iter().map(|rule| hit(true, rule)));
        self.issuer.extend(fact.issuer.iter().map(|rule| hit(true, rule)));
        self.devices.add(&fact.device, &hit);
    }

    /// All tools.
    #[must_use]
    pub const fn tools(&self) -> &'static [Tool] {
        self.tools
    }

    /// The tool that is called so, whatever the case.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&'static Tool> {
        let by = |is: fn(&Tool, &str) -> bool| self.tools.iter().find(|tool| is(tool, name));
        by(|tool, name| tool.name.eq_ignore_ascii_case(name)).or_else(|| by(Tool::is_called))
    }

    /// Whose a host name is: the rule with the longest fixed end, then the most particular one. Case and a last dot do not matter.
    /// Allocates nothing.
    #[must_use]
    pub fn name(&self, name: &str) -> Option<Hit> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut lower = [0; NAME_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let name = std::str::from_utf8(lower).ok().filter(|name| pattern::is_host_name(name))?;
        let labels = name.bytes().filter(|b| *b == b'.').count() + 1;
        let mut end = name;
        for _ in self.deepest..labels {
            end = end.split_once('.')?.1;
        }
        loop {
            let before = name[..name.len() - end.len()].trim_end_matches('.');
            let rules = self.names.get(end).map(Vec::as_slice).unwrap_or_default();
            if let Some((pattern, hit)) = rules.iter().find(|(pattern, _)| pattern.matches(before)) {
                // What is below a name may as well be the documents and the shop.
                let site = pattern.form() == pattern::Form::Below && before.split('.').any(shared::is_site);
                return Some(Hit { session: hit.session && !site, ..*hit });
            }
            end = end.split_once('.')?.1;
        }
    }

    /// Whose an ALPN protocol is.
    #[must_use]
    pub fn alpn(&self, protocol: &str) -> Option<Hit> {
        let is = |rule: &str| match rule.strip_suffix('*') {
            Some(begin) => protocol.starts_with(begin),
            None => protocol == rule,
        };
        self.alpn.iter().find(|hit| is(hit.rule)).copied()
    }

    /// Whose a certificate is, by its subject and issuer as records print them (`C=DE, O=…, CN=…`).
    #[must_use]
    pub fn certificate(&self, subject: &str, issuer: &str) -> Option<Hit> {
        let has = |name: &str, hit: &Hit| name.split(", ").any(|part| part == hit.rule);
        let subject = self.subject.iter().find(|hit| has(subject, hit));
        subject.or_else(|| self.issuer.iter().find(|hit| has(issuer, hit))).copied()
    }
}

impl Catalogue {
    /// What is known of devices by their marks.
    #[must_use]
    pub const fn devices(&self) -> &device::Index {
        &self.devices
    }
}

impl Tool {
    /// Whether it has or had this name, whatever the case.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.also.iter().any(|also| also.eq_ignore_ascii_case(name))
    }
}

/// The tools of files that belong together.
///
/// # Errors
/// All mistakes, each with its place; one without a place where a file cannot be read.
pub fn read(files: &[PathBuf]) -> Result<Vec<Tool>, Vec<Mistake>> {
    let texts = files.iter().map(|file| read_text(file)).collect::<Result<Vec<_>, _>>()?;
    let files: Vec<(&Path, &str)> =
        files.iter().map(PathBuf::as_path).zip(texts.iter().map(String::as_str)).collect();
    file::read(&files, &|name| Catalogue::embedded().tool(name).is_some())
}

#[cfg(test)]
mod tests;
