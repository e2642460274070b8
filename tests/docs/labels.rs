//! `docs/labels.md`: what each label and each class of far end rests on, from the metadata of analyzers, the recordings and the
//! built-in address data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use farend::catalog::{Catalogue, Fact};
use farend::intel::{Class, Intel};
use farend_analyzers::{
    Category, Kind, LABELS, LabelInfo, Layer, Meta, Transport, inside_tls, label_info, metas,
};
use serde_json::Value;

use super::{WAY_OUT, block, document, farend, path};

const PAGE: &str = "docs/labels.md";

/// What the recordings show of a label.
#[derive(Default)]
struct Shown {
    /// Recordings whose truth has it.
    truth: BTreeSet<String>,
    /// Recordings in which it is recognised.
    recognised: BTreeSet<String>,
    /// What its recognition rested on there.
    bases: BTreeSet<String>,
    /// Kinds of evidence beside it there.
    kinds: BTreeSet<String>,
}

fn shown() -> BTreeMap<String, Shown> {
    let mut all: BTreeMap<String, Shown> = BTreeMap::new();
    for entry in fs::read_dir(path("pcaps")).expect("recordings").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(recording) = name.strip_suffix(".truth.toml") else { continue };
        let truth: toml::Table = document(&format!("pcaps/{name}")).parse().expect("valid");
        for flow in truth.get("flow").and_then(|f| f.as_array()).into_iter().flatten() {
            if let Some(label) = flow.get("label").and_then(|l| l.as_str()) {
                all.entry(label.to_owned()).or_default().truth.insert(recording.to_owned());
            }
        }
    }
    for line in farend(&["replay", "--eve", "-", "--eve-types", "flow", "--quiet", "pcaps"]).lines() {
        let record: Value = serde_json::from_str(line).expect("a record");
        let ours = &record["farend"];
        let file = record["pcap_filename"].as_str().unwrap_or_default();
        let recording = file.rsplit('/').next().and_then(|f| f.split('.').next()).unwrap_or_default();
        for label in ours["labels"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let shown = all.entry(label.to_owned()).or_default();
            shown.recognised.insert(recording.to_owned());
            shown.bases.extend(ours["basis"].as_str().map(str::to_owned));
            let kinds = ours["evidence"].as_array().into_iter().flatten();
            shown.kinds.extend(kinds.filter_map(|e| e["kind"].as_str()).map(str::to_owned));
        }
    }
    all
}

/// Analyzers that give a label: by their metadata, by the protocols they carry, or by what the recordings show.
fn analyzers(label: &str, shown: &Shown) -> Vec<&'static Meta> {
    let stated: Vec<_> = metas().iter().copied().filter(|m| m.label == Some(label)).collect();
    if !stated.is_empty() {
        return stated;
    }
    let carrier = |m: &&Meta| m.carrier && Layer::of(m.name, None, true).hiding == Some(label);
    let carriers: Vec<_> = metas().iter().copied().filter(carrier).collect();
    if !carriers.is_empty() {
        return carriers;
    }
    let has = |m: &&Meta| m.evidence.iter().any(|k| shown.kinds.contains(k.name));
    metas().iter().copied().filter(|m| m.label.is_none() && has(m)).collect()
}

/// What an analyzer's file says at its head: what it takes, and what it does not.
fn head(name: &str) -> String {
    let inside = inside_tls::METAS.iter().any(|m| m.name == name);
    let folder = if inside { "inside_tls" } else { "proto" };
    let text = document(&format!("analyzers/src/{folder}/{name}.rs"));
    let lines: Vec<&str> = text.lines().map_while(|l| l.strip_prefix("//!")).map(str::trim).collect();
    let about = lines.split(|l| l.is_empty()).skip(1).map(|paragraph| paragraph.join(" "));
    // Links of the source's documentation lead nowhere here, and what it reads is told by its transports.
    let about = about.collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`");
    match about.split_once("Out: ").filter(|_| about.starts_with("In: ")) {
        Some((_, gives)) => format!("Gives {gives}"),
        None => about,
    }
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

fn transports(meta: &Meta) -> String {
    let word = |t: &Transport| match t {
        Transport::Tcp => "TCP".to_owned(),
        Transport::Udp => "UDP".to_owned(),
        Transport::Ip(n) => format!("IP protocol {n}"),
    };
    if meta.transports.is_empty() {
        return "TLS".to_owned();
    }
    meta.transports.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn about_label(out: &mut String, info: &LabelInfo, metas: &[&Meta], shown: &Shown) {
    let _ = writeln!(out, "\n### `{}`\n\n{} (ATT&CK {})", info.label, info.name, info.attack);
    for meta in metas {
        let _ = writeln!(
            out,
            "\nAnalyzer `{}`: {}, over {}. {}\n\nReference: {}",
            meta.name,
            meta.title,
            transports(meta),
            head(meta.name),
            meta.reference
        );
        // Of an analyzer of several protocols those kinds that come with this label.
        let of_label = |k: &&Kind| meta.label.is_some() || shown.kinds.contains(k.name);
        let kinds: Vec<&Kind> = meta.evidence.iter().filter(of_label).collect();
        if !kinds.is_empty() {
            let _ = writeln!(out, "\n| evidence | decibans | says |\n|---|---|---|");
        }
        for kind in kinds {
            let _ = writeln!(
                out,
                "| `{}` | {:+} | {} |",
                kind.name,
                kind.decibans,
                kind.says.replace('|', "\\|")
            );
        }
    }
    let bases: Vec<&str> = shown.bases.iter().map(String::as_str).collect();
    let _ = match (shown.truth.is_empty(), shown.recognised.is_empty()) {
        (true, true) => writeln!(out, "\nNo recording of the project shows it: tests with literal bytes do."),
        (false, true) => writeln!(out, "\nRecordings: {}; recognised in none of them.", list(&shown.truth)),
        _ => {
            let missed: BTreeSet<String> = shown.truth.difference(&shown.recognised).cloned().collect();
            let beside: BTreeSet<String> = shown.recognised.difference(&shown.truth).cloned().collect();
            let mut line = format!("\nRecordings: {}", list(&shown.truth));
            if shown.truth.is_empty() {
                line = "\nRecordings: none of its own".into();
            }
            if !beside.is_empty() {
                let _ = write!(line, "; inside or beneath another label in {}", list(&beside));
            }
            if !missed.is_empty() {
                let _ = write!(line, "; not recognised in {}", list(&missed));
            }
            writeln!(out, "{line}. Basis there: {}.", bases.join(", "))
        }
    };
}

const CATEGORIES: [(Category, &str); 7] = [
    (Category::RemoteDesktop, "Remote desktops and shells"),
    (Category::Rmm, "Remote support and management"),
    (Category::IpKvm, "IP-KVM"),
    (Category::Vpn, "VPN"),
    (Category::Tunnel, "Tunnels"),
    (Category::Proxy, "Proxies"),
    (Category::Anonymizer, "Anonymizers"),
];

fn labels() -> String {
    let all = shown();
    let nothing = Shown::default();
    let mut out = String::new();
    let mut without: Vec<String> = Vec::new();
    for (category, title) in CATEGORIES {
        let mut missing = Vec::new();
        let _ = writeln!(out, "\n## {title} (`{}`)", category.as_str());
        for info in LABELS.iter().filter(|l| l.category == category) {
            let shown = all.get(info.label).unwrap_or(&nothing);
            let metas = analyzers(info.label, shown);
            if metas.is_empty() {
                missing.push(format!("`{}`", info.label));
            } else {
                about_label(&mut out, info, &metas, shown);
            }
        }
        if missing.len() == LABELS.iter().filter(|l| l.category == category).count() {
            out += "\nNone is recognised yet.\n";
        }
        if !missing.is_empty() {
            without.push(format!("{}: {}", category.as_str(), missing.join(" ")));
        }
    }
    let plumbing = LABELS.iter().filter(|l| l.category == Category::Encapsulation);
    let plumbing: Vec<String> = plumbing.map(|l| format!("`{}`", l.label)).collect();
    let _ = write!(
        out,
        "\n## Plumbing (`encapsulation`)\n\nPeeled by their headers (`sensor/src/decode/tunnel/`), listed in `encapsulation`, never flagged by \
         themselves: {}.\n\n## Labels without a recognition yet\n\n{}.\n\n",
        plumbing.join(" "),
        without.join("; ")
    );
    out
}

/// What nDPI 4.2 (Debian's ndpiReader) names of the same recordings: label, flows that carry it, how many it named, as what.
const NDPI: &str = include_str!("ndpi.tsv");

/// Labels that an analyzer of another protocol gives, beside those of its own: label, analyzer, source with the label in it.
const BESIDE: [(&str, &str, &str); 15] = [
    ("dns_tunnel", "dns", "proto/dns.rs"),
    ("guacamole", "http", "http_tool.rs"),
    ("http_tunnel", "http", "proto/http.rs"),
    ("meshcentral", "http", "http_tool.rs"),
    ("netsupport", "http", "http_tool.rs"),
    ("pcoip", "http", "http_tool.rs"),
    ("shadowsocks", "http", "proto/http/exchange.rs"),
    ("ssh_tunnel", "ssh", "proto/ssh.rs"),
    ("tailscale", "wireguard", "proto/wireguard.rs"),
    ("teamviewer", "http", "http_tool.rs"),
    ("tor", "http", "proto/http/exchange.rs"),
    ("vmware_blast", "http", "http_tool.rs"),
    ("vnc", "http", "proto/http.rs"),
    ("warp", "wireguard", "proto/wireguard.rs"),
    ("websocket_tunnel", "http", "proto/http/exchange.rs"),
];

#[test]
fn analyzers_that_give_another_protocols_label_do_so() {
    for (label, analyzer, file) in BESIDE {
        assert!(metas().iter().any(|m| m.name == analyzer && m.label != Some(label)), "{analyzer}");
        let text = document(&format!("analyzers/src/{file}"));
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        assert!(code.contains(&format!("\"{label}\"")), "{file} gives no {label}");
    }
}

/// Whether sessions are known by what the source says.
fn names_it(fact: &Fact) -> bool {
    let lists = [fact.alpn.len(), fact.subject.len(), fact.issuer.len(), fact.session.len()];
    lists.iter().any(|n| *n > 0) || fact.device != Fact::default().device
}

/// Every label in a row: how it is recognised, what stands behind it, who else knows it.
fn coverage() -> String {
    let all = shown();
    let nothing = Shown::default();
    let mut out = String::from(
        "\n| label | recognised by | basis seen | recordings behind it | nDPI 4.2 on those |\n|---|---|---|---|---|\n",
    );
    for info in LABELS.iter().filter(|l| l.category != Category::Encapsulation) {
        let shown = all.get(info.label).unwrap_or(&nothing);
        let stated = metas().into_iter().filter(|m| m.label == Some(info.label)).map(|m| m.name);
        let beside = BESIDE.iter().filter(|(label, ..)| *label == info.label).map(|(_, name, _)| *name);
        let mut by: BTreeSet<String> = stated.chain(beside).map(str::to_owned).collect();
        if by.is_empty() {
            by.extend(analyzers(info.label, shown).iter().map(|m| m.name.to_owned()));
        }
        let by = if !by.is_empty() {
            list(&by)
        } else if Catalogue::embedded()
            .tools()
            .iter()
            .any(|tool| tool.label.label == info.label && tool.facts.iter().any(names_it))
        {
            "names of the catalogue".to_owned()
        } else {
            "nothing yet".to_owned()
        };
        let bases: Vec<&str> = shown.bases.iter().map(String::as_str).collect();
        let behind = match shown.truth.intersection(&shown.recognised).count() {
            0 if shown.truth.is_empty() => "none: published facts".to_owned(),
            0 => format!("{}, not recognised", shown.truth.len()),
            n => n.to_string(),
        };
        let ndpi =
            NDPI.lines().skip(1).map(|l| l.split('\t').collect::<Vec<_>>()).find(|r| r[0] == info.label);
        let ndpi = ndpi.map_or(String::new(), |r| match (r[2], r[3]) {
            (named, "") => format!("{named} of {} flows", r[1]),
            ("0", other) => format!("0 of {} flows ({other})", r[1]),
            (named, _) => format!("{named} of {} flows", r[1]),
        });
        let _ = writeln!(out, "| `{}` | {by} | {} | {behind} | {ndpi} |", info.label, bases.join(", "));
    }
    out.push('\n');
    out
}

/// A basis in words.
fn ground(basis: &str) -> &'static str {
    match basis.split_once(':').map_or(basis, |(_, rest)| rest) {
        "report" => "published threat reports (`config/intel/reported.toml`)",
        "iporigin" => "operators' own feeds and public-domain lists, by prefix (iporigin)",
        "iporigin-share" => "half or more of the AS's addresses are known as rented (iporigin)",
        rest if rest.ends_with("-table") => "hand-written table of ASes (`config/intel/asn-classes.toml`)",
        rest if rest.ends_with("-name") => {
            "words in the organisation's name (`config/intel/asn-classes.toml`)"
        }
        other => panic!("{PAGE} has no words for the basis {other}"),
    }
}

fn thousands(n: usize) -> String {
    farend::sink::terminal::thousands(n as u64)
}

fn classes() -> String {
    let coverage = Intel::embedded_coverage();
    let mut out = String::from(
        "\n| class | rests on | basis | ASes | IPv4 prefixes | IPv6 prefixes |\n|---|---|---|---|---|---|\n",
    );
    for class in Class::ALL {
        let rows: Vec<_> = coverage.iter().filter(|row| row.class == class).collect();
        if rows.is_empty() {
            let why = match class {
                Class::Private => "reserved ranges (`sensor/src/intel/special.rs`)",
                Class::Unknown => "no source says anything",
                _ => "nothing built in: files of yours",
            };
            let _ = writeln!(out, "| {class} | {why} | | | | |");
        }
        for row in rows {
            let ases = if row.ases > 0 { thousands(row.ases) } else { String::new() };
            let _ = writeln!(
                out,
                "| {class} | {} | `{}` | {ases} | {} | {} |",
                ground(&row.basis),
                row.basis,
                thousands(row.v4),
                thousands(row.v6)
            );
        }
    }
    out += "\n| source | day | records | licence |\n|---|---|---|---|\n";
    for source in Intel::embedded().info() {
        let day = source.built.map_or_else(|| "not stated".to_owned(), |day| day.to_string());
        let records = thousands(source.records as usize);
        let _ =
            writeln!(out, "| {} | {day} | {records} | {} |", source.name.replace('|', "\\|"), source.licence);
    }
    out.push('\n');
    out
}

#[test]
fn the_page_of_labels_and_classes_is_what_the_metadata_say() {
    // One test, so that two never write at once.
    for (from, is) in [
        ("classes: written by tests/docs -->\n", classes()),
        ("coverage: written by tests/docs -->\n", coverage()),
        ("labels: written by tests/docs -->\n", labels()),
    ] {
        assert!(block(PAGE, from, "<!-- end -->", &is) == is, "{PAGE} is {WAY_OUT}");
    }
}

#[test]
fn every_label_of_an_analyzer_is_one_of_the_table() {
    for meta in metas() {
        if let Some(label) = meta.label {
            assert!(label_info(label).is_some(), "{}: {label}", meta.name);
        }
    }
}
