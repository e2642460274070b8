//! The built-in catalogue as the build has flattened it: a key and its values a line, between tabs.
//!
//! In: the lines that `build.rs` makes of `config/catalogue/*.toml`. Out: the tools. A test holds them against the files.

use farend_analyzers::label_info;

use super::file::{Fact, Tool};
use super::pattern::Pattern;

const LINES: &str = include_str!(concat!(env!("OUT_DIR"), "/catalogue.lines"));

/// The tools of the built-in files.
pub(super) fn embedded() -> Vec<Tool> {
    let mut tools: Vec<Tool> = Vec::new();
    let mut name = String::new();
    for line in LINES.lines() {
        let mut values = line.split('\t');
        let key = values.next().unwrap_or_default();
        let mut first = || values.next().unwrap_or_default().to_owned();
        match key {
            "tool" => name = first(),
            "label" => {
                let Some(label) = label_info(&first()) else { continue };
                let name = std::mem::take(&mut name);
                tools.push(Tool { name, also: Vec::new(), label, via: Vec::new(), facts: Vec::new() });
            }
            _ => {
                let Some(tool) = tools.last_mut() else { continue };
                match (key, tool.facts.last_mut()) {
                    ("also", _) => tool.also = texts(values),
                    ("via", _) => tool.via = texts(values),
                    ("source", _) => tool.facts.push(Fact { source: first(), ..Fact::default() }),
                    ("session", Some(fact)) => fact.session = patterns(values),
                    ("site", Some(fact)) => fact.site = patterns(values),
                    ("alpn", Some(fact)) => fact.alpn = texts(values),
                    ("subject", Some(fact)) => fact.subject = texts(values),
                    ("issuer", Some(fact)) => fact.issuer = texts(values),
                    ("ports", Some(fact)) => fact.ports = texts(values),
                    ("oui", Some(fact)) => fact.device.oui = texts(values),
                    ("oui_shared", Some(fact)) => fact.device.oui_shared = texts(values),
                    ("hostname", Some(fact)) => fact.device.hostname = texts(values),
                    ("hostname_hint", Some(fact)) => fact.device.hostname_hint = texts(values),
                    ("vendor_class", Some(fact)) => fact.device.vendor_class = texts(values),
                    ("service", Some(fact)) => fact.device.service = texts(values),
                    ("title", Some(fact)) => fact.device.title = texts(values),
                    ("wire", Some(fact)) => fact.wire = Some(first()),
                    _ => {}
                }
            }
        }
    }
    tools
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Vec<String> {
    values.map(str::to_owned).collect()
}

fn patterns<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Pattern> {
    values.filter_map(|value| Pattern::parse(value).ok()).collect()
}
