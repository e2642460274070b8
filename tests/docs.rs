//! What the documents say is what the program does. `FAREND_BLESS=1` writes the blocks of the README anew.

#[path = "docs/labels.rs"]
mod labels;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use farend::catalog::shared::SITE_LABELS;
use farend::catalog::{Catalogue, EMBEDDED, Tool};
use farend::host::FindingKind;
use farend::inspect::CATALOGUE_KINDS;
use farend_analyzers::metas;
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn document(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn farend(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_farend"))
        .args(args)
        .env("COLUMNS", "110")
        .current_dir(path("."))
        .output()
        .expect("farend runs");
    assert!(output.status.success(), "farend {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What to do when a document is not what it should be.
const WAY_OUT: &str = "out of date: FAREND_BLESS=1 cargo test --test docs";

/// What stands between `from` and `to` in a document; with `FAREND_BLESS` it is first replaced by `is`.
fn block(name: &str, from: &str, to: &str, is: &str) -> String {
    let text = document(name);
    let start = text.find(from).unwrap_or_else(|| panic!("{name}: no {from:?}")) + from.len();
    let end = start + text[start..].find(to).unwrap_or_else(|| panic!("{name}: no {to:?} behind {from:?}"));
    if std::env::var_os("FAREND_BLESS").is_some() {
        fs::write(path(name), format!("{}{is}{}", &text[..start], &text[end..])).expect("writable");
        return is.to_owned();
    }
    text[start..end].to_owned()
}

#[test]
fn the_readme_shows_what_the_demo_prints_and_promises_no_label_that_is_not_there() {
    // One test, so that two never write at once.
    let demo = farend(&["demo"]);
    assert_eq!(
        block("README.md", "with the program -->\n```text\n", "```\n", &demo),
        demo,
        "README.md is {WAY_OUT}"
    );
    let labels: BTreeSet<&str> = metas().iter().filter_map(|m| m.label).collect();
    let all: Vec<&str> = labels.iter().copied().collect();
    // A new analyzer touches no other file: the README may name fewer labels than there are.
    for named in
        block("README.md", "against the program -->\n`", "`\n\nNames", &all.join("` · `")).split("` · `")
    {
        assert!(labels.contains(named), "no analyzer gives the label {named}; README.md is {WAY_OUT}");
    }
}

#[test]
fn every_finding_is_documented_with_its_signature_id_and_category() {
    let text = document("docs/findings.md");
    for kind in FindingKind::ALL {
        let row = format!("| {} | `{}` |", kind.signature_id(), kind.as_str());
        let line =
            text.lines().find(|l| l.starts_with(&row)).unwrap_or_else(|| panic!("docs/findings.md: {row}"));
        assert!(line.ends_with(&format!("| {} |", kind.category())), "{line}");
    }
}

#[test]
fn the_weights_are_documented_as_they_are() {
    let weights: toml::Table = document("config/weights.toml").parse().expect("valid");
    let mut is = String::new();
    for (section, head) in [
        ("prior", "| finding | prior | rests on |\n|---|---|---|"),
        ("family", "| family | cap | why |\n|---|---|---|"),
        ("evidence", "| evidence | family | decibans | rests on |\n|---|---|---|---|"),
    ] {
        is += &format!("\n{head}\n");
        for (name, about) in weights[section].as_table().expect("a table") {
            let text = |key: &str| about[key].as_str().expect("text").to_owned();
            let number = |key: &str| about[key].as_integer().expect("a number");
            is += &match section {
                "prior" => format!("| `{name}` | {:+} | {} |\n", number("decibans"), text("source")),
                "family" => format!("| {name} | {} | {} |\n", number("cap"), text("source")),
                _ => format!(
                    "| `{name}` | {} | {:+} | {} |\n",
                    text("family"),
                    number("decibans"),
                    text("source")
                ),
            };
        }
    }
    is.push('\n');
    let told = block("docs/findings.md", "written by tests/docs.rs -->\n", "<!-- end -->", &is);
    assert_eq!(told, is, "docs/findings.md is {WAY_OUT}");
}

#[test]
fn the_catalogue_is_documented_as_it_is() {
    // One test, so that two never write at once.
    let row = |name: &str, tools: &[&Tool]| {
        let with = |has: fn(&farend::catalog::Fact) -> bool| {
            tools.iter().filter(|tool| tool.facts.iter().any(has)).count()
        };
        let session = with(|f| {
            !f.session.is_empty() || !f.alpn.is_empty() || !f.subject.is_empty() || !f.issuer.is_empty()
        });
        let sites = with(|f| !f.site.is_empty());
        let any = tools.iter().filter(|t| !t.via.is_empty() || t.facts.iter().any(|f| !f.is_bare())).count();
        let names: usize = tools.iter().flat_map(|t| &t.facts).map(|f| f.session.len() + f.site.len()).sum();
        format!("| {name} | {} | {any} | {session} | {sites} | {names} |\n", tools.len())
    };
    let mut is = String::from(
        "\n| file | tools | something shows on a network | session rules | site rules | names |\n|---|---|---|---|---|---|\n",
    );
    for (file, text) in EMBEDDED {
        let rows: toml::Table = text.parse().expect("valid");
        let named: Vec<&str> =
            rows["tool"].as_array().expect("rows").iter().filter_map(|row| row["name"].as_str()).collect();
        let tools: Vec<&Tool> =
            Catalogue::embedded().tools().iter().filter(|tool| named.contains(&&*tool.name)).collect();
        is += &row(&format!("`{file}`"), &tools);
    }
    is += &row("all", &Catalogue::embedded().tools().iter().collect::<Vec<_>>());
    is.push('\n');
    let told = block("docs/catalogue.md", "counted by tests/docs.rs -->\n", "<!-- end of counts -->", &is);
    assert_eq!(told, is, "docs/catalogue.md is {WAY_OUT}");

    let mut is = String::from("\n| evidence | decibans | says |\n|---|---|---|\n");
    for kind in CATALOGUE_KINDS {
        is += &format!("| `{}` | {:+} | {} |\n", kind.name, kind.decibans, kind.says);
    }
    is.push('\n');
    let told =
        block("docs/catalogue.md", "evidence, by tests/docs.rs -->\n", "<!-- end of evidence -->", &is);
    assert_eq!(told, is, "docs/catalogue.md is {WAY_OUT}");

    let is = format!("{}\n", SITE_LABELS.join(", "));
    let told = block("docs/catalogue.md", "labels, by tests/docs.rs -->\n", "<!-- end of labels -->", &is);
    assert_eq!(told, is, "docs/catalogue.md is {WAY_OUT}");
}

#[test]
fn every_field_of_every_record_of_the_recordings_is_documented() {
    let text = document("docs/eve.md");
    let known: BTreeSet<&str> =
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).collect();
    let mut missing = BTreeSet::new();
    let mut records = 0;
    for line in farend(&["replay", "--eve", "-", "--quiet", "pcaps"]).lines() {
        records += 1;
        fields(&serde_json::from_str(line).expect("a record"), &mut |name| {
            if !known.contains(name) {
                missing.insert(name.to_owned());
            }
        });
    }
    assert!(records > 10, "only {records} records");
    assert!(missing.is_empty(), "docs/eve.md does not name: {missing:?}");
}

/// Calls `each` with the name of every field, but for those whose names are data (reasons in counters).
fn fields(value: &Value, each: &mut impl FnMut(&str)) {
    const COUNTED_BY_REASON: [&str; 4] = ["malformed", "ignored", "untracked", "closed"];
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                each(name);
                if !COUNTED_BY_REASON.contains(&name.as_str()) {
                    fields(inner, each);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, each)),
        _ => {}
    }
}
