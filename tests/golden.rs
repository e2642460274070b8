//! Goldens: for every capture of `pcaps/` the records that matter, line by line: alerts, hosts, flows with a label or evidence, and
//! the statistics.
//!
//! `UPDATE_GOLDEN=1` writes them anew; the difference in version control then shows what a change does to results.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::corpus::{pcaps, root, short};
use crate::support::replay::{Setup, run};
use farend::source::{Inputs, Options};

fn golden(capture: &Path) -> PathBuf {
    let name = capture.file_stem().expect("a name").to_string_lossy();
    root().join("tests/golden").join(format!("{name}.ndjson"))
}

/// The records that matter, one a line, as they were written.
fn records(capture: &Path) -> String {
    let name = capture.file_name().expect("a name").to_string_lossy();
    let stream = Box::new(std::fs::File::open(capture).expect("a capture"));
    let mut source = Inputs::from_stream(&name, stream, &Options::default()).expect("opens");
    let eve = run(&mut source, &Setup::default()).eve;
    let text = String::from_utf8(eve).expect("UTF-8");
    text.lines().filter(|line| matters(line)).map(|line| format!("{line}\n")).collect()
}

fn matters(line: &str) -> bool {
    let record: Value = serde_json::from_str(line).expect("JSON");
    let ours = &record["farend"];
    record["event_type"] != "flow"
        || !ours["label"].is_null()
        || ours["evidence"].as_array().is_some_and(|e| !e.is_empty())
}

/// What differs between two records, by path.
fn differences(old: &Value, new: &Value, path: &str, into: &mut String) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let field = |m: &serde_json::Map<String, Value>| m.get(name).cloned().unwrap_or(Value::Null);
                differences(&field(a), &field(b), &format!("{path}.{name}"), into);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{path}[{n}]"), into);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            let _ = writeln!(into, "      {path}\n        - {a}\n        + {b}");
        }
    }
}

/// What a record is about.
fn about(line: &str) -> (String, Value) {
    let r: Value = serde_json::from_str(line).unwrap_or(Value::Null);
    let key = match r["event_type"].as_str() {
        Some("flow") => format!("flow {}", r["flow_id"]),
        Some("alert") => format!("alert {}", r["farend"]["finding_id"]),
        Some("host") => format!("host {}", r["farend"]["host"]),
        other => other.unwrap_or("no record").to_owned(),
    };
    (key, r)
}

/// A readable difference; empty if there is none.
fn compare(old: &str, new: &str) -> String {
    let mut out = String::new();
    let (a, b): (Vec<_>, Vec<_>) = (old.lines().map(about).collect(), new.lines().map(about).collect());
    for (key, record) in &a {
        match b.iter().find(|(k, _)| k == key) {
            None => drop(writeln!(out, "    - {}", short_record(key, record))),
            Some((_, now)) if now != record => {
                let _ = writeln!(out, "    ~ {}", short_record(key, record));
                differences(record, now, "", &mut out);
            }
            Some(_) => {}
        }
    }
    for (key, record) in b.iter().filter(|(k, _)| !a.iter().any(|(old, _)| old == k)) {
        let _ = writeln!(out, "    + {}", short_record(key, record));
    }
    if out.is_empty() && old != new {
        let n = old.lines().zip(new.lines()).take_while(|(a, b)| a == b).count();
        let _ = writeln!(out, "    the same records in another order or form, from line {}", n + 1);
    }
    out
}

fn short_record(key: &str, r: &Value) -> String {
    if r["event_type"] == "flow" {
        format!(
            "{key}: {}:{} → {}:{} {}",
            r["src_ip"], r["src_port"], r["dest_ip"], r["dest_port"], r["farend"]["label"]
        )
    } else {
        format!("{key} {}", r["farend"]["summary"])
    }
}

#[test]
fn the_records_of_every_capture_are_those_of_its_golden() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v != "0");
    let mut wrong = String::new();
    let mut expected = std::collections::BTreeSet::new();
    for capture in pcaps() {
        let (path, new) = (golden(&capture), records(&capture));
        expected.insert(path.clone());
        if update {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(&path, new).expect("written");
            continue;
        }
        let difference = match std::fs::read_to_string(&path) {
            Ok(old) => compare(&old, &new),
            Err(e) => format!("    {}: {e}\n", path.display()),
        };
        if !difference.is_empty() {
            let _ = writeln!(wrong, "  {}\n{difference}", short(&capture));
        }
    }
    for entry in std::fs::read_dir(root().join("tests/golden")).into_iter().flatten().flatten() {
        if !expected.contains(&entry.path()) {
            let _ = writeln!(wrong, "  {}: a golden without a capture", entry.path().display());
        }
    }
    assert!(
        wrong.is_empty(),
        "results have changed (- golden, + now). If that is meant: UPDATE_GOLDEN=1 cargo nextest run -p farend golden\n{wrong}"
    );
}

#[test]
fn a_difference_names_the_record_and_the_field() {
    let old = r#"{"event_type":"flow","flow_id":1,"src_ip":"a","farend":{"label":"rdp","evidence":[{"packet":3}]}}"#;
    let new = r#"{"event_type":"flow","flow_id":1,"src_ip":"a","farend":{"label":"vnc","evidence":[{"packet":4}]}}"#;
    let told = compare(old, new);
    assert!(told.contains(".farend.label\n        - \"rdp\"\n        + \"vnc\""), "{told}");
    assert!(told.contains(".farend.evidence[0].packet"), "{told}");
    let gone = compare(&format!("{old}\n{}", old.replace(":1,", ":2,")), old);
    assert!(gone.contains("- flow 2"), "{gone}");
    assert!(compare(old, old).is_empty());
}
