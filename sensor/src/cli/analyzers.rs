//! `farend analyzers`: what the analyzers say of themselves.

use std::fmt::Write as _;

use clap::Subcommand;
use farend_analyzers::{Meta, Transport, label_info, metas};
use serde_json::{Value, json};

use super::{Failure, columns, say};
use crate::config::Format;
use crate::sink::eve::proto_name;

#[derive(Debug, Subcommand)]
pub(super) enum AnalyzersCommand {
    /// List all protocol analyzers
    List {
        /// As a table or as one JSON array
        #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "table|json")]
        format: Format,
    },
    /// Show one analyzer: label, technique, budget, reference, and all evidence it can give
    Show {
        /// As in the list
        name: String,
        /// As text or as one JSON object
        #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "table|json")]
        format: Format,
    },
}

pub(super) fn analyzers(command: &AnalyzersCommand) -> Result<u8, Failure> {
    match command {
        AnalyzersCommand::List { format: Format::Table } => say::text(&list()),
        AnalyzersCommand::List { format: Format::Json } => {
            let all: Vec<Value> = metas().into_iter().map(object).collect();
            say::out(&format!("{:#}\n", Value::Array(all)))
        }
        AnalyzersCommand::Show { name, format } => {
            let meta = metas().into_iter().find(|m| m.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
                let have: Vec<&str> = metas().iter().map(|m| m.name).collect();
                Failure::usage(format!("{name}: no such analyzer (have: {})", have.join(", ")))
            })?;
            match format {
                Format::Table => say::text(&text(meta)),
                Format::Json => say::out(&format!("{:#}\n", object(meta))),
            }
        }
    }
}

fn list() -> String {
    let rows = metas().into_iter().map(|m| {
        let category = m.label.and_then(label_info).map_or("-", |l| l.category.as_str());
        [
            m.name.to_owned(),
            m.label.unwrap_or("-").to_owned(),
            category.to_owned(),
            transports(m).join(", "),
            m.title.to_owned(),
        ]
    });
    columns::table(["analyzer", "label", "category", "over", "protocol"], rows)
}

fn text(m: &Meta) -> String {
    let label = match m.label.and_then(label_info) {
        Some(l) => format!("{} ({}, category {})", l.label, l.name, l.category.as_str()),
        None => "none: it gives names and facts, not a label".to_owned(),
    };
    let mut out = format!("{}: {}\n", m.name, m.title);
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<12} {value}");
    };
    row("label", &label);
    if let Some(technique) = technique(m) {
        row("ATT&CK", technique);
    }
    row("app_proto", m.app_proto);
    row("over", &transports(m).join(", "));
    row("usual ports", &format!("{} (a hint for the order of asking, never evidence by itself)", ports(m)));
    row("budget", &format!("{} payload bytes a direction", m.budget));
    if m.carrier {
        row("carrier", "other protocols ride in it and are looked for");
    }
    row("reference", m.reference);
    out.push_str("\n  decibans  evidence\n");
    for kind in m.evidence {
        let _ = writeln!(out, "  {:>+8}  {}: {}", kind.decibans, kind.name, kind.says);
    }
    out
}

fn object(m: &Meta) -> Value {
    let label = m.label.and_then(label_info);
    json!({
        "name": m.name,
        "title": m.title,
        "label": m.label,
        "label_name": label.map(|l| l.name),
        "category": label.map(|l| l.category.as_str()),
        "mitre_technique_id": technique(m),
        "app_proto": m.app_proto,
        "transports": transports(m),
        "ports": m.ports,
        "budget": m.budget,
        "carrier": m.carrier,
        "reference": m.reference,
        "evidence": m.evidence.iter().map(|k| json!({
            "kind": k.name, "decibans": k.decibans, "says": k.says,
        })).collect::<Vec<_>>(),
    })
}

fn technique(m: &Meta) -> Option<&'static str> {
    m.label.and_then(label_info).map(|l| l.attack).filter(|a| !a.is_empty())
}

fn transports(m: &Meta) -> Vec<&'static str> {
    if m.transports.is_empty() {
        return vec!["TLS"]; // a rule for what is inside
    }
    m.transports
        .iter()
        .map(|t| match t {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
            Transport::Ip(number) => proto_name(*number),
        })
        .collect()
}

fn ports(m: &Meta) -> String {
    if m.ports.is_empty() {
        return "-".to_owned();
    }
    m.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_analyzer_is_listed_and_shown_with_all_its_evidence() {
        let list = list();
        for meta in metas() {
            assert!(
                list.lines().any(|l| l.starts_with(meta.name) && l.ends_with(meta.title)),
                "{}",
                meta.name
            );
            let text = text(meta);
            for kind in meta.evidence {
                assert!(text.contains(&format!("{:+}  {}: {}", kind.decibans, kind.name, kind.says)));
            }
            assert!(text.contains(meta.reference));
            assert_eq!(object(meta)["evidence"].as_array().map(Vec::len), Some(meta.evidence.len()));
        }
    }

    #[test]
    fn an_unknown_analyzer_is_a_usage_error_that_names_those_there_are() {
        let command = AnalyzersCommand::Show { name: "rpd".into(), format: Format::Table };
        let failure = analyzers(&command).expect_err("unknown");
        assert_eq!(failure.code, super::super::code::USAGE);
        assert!(
            failure.message.starts_with("rpd: no such analyzer (have: ") && failure.message.contains("rdp")
        );
    }
}
