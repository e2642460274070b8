//! Tells the binary which commit it was built from, and flattens the tool catalogue: reading lines takes a tenth of the time that
//! reading TOML takes, and every start would pay it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use toml::{Table, Value};

/// Keys of what devices show: sensor/src/catalog/device.rs.
const DEVICE: &[&str] =
    &["oui", "oui_shared", "hostname", "hostname_hint", "vendor_class", "service", "title"];

fn main() {
    flatten_catalogue();
    // Without any of these (a source archive) only a change of this file asks for another look.
    println!("cargo::rerun-if-changed=build.rs");
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        // A file that is not there would ask for another look at every build.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit =
        git(&["rev-parse", "--short=10", "HEAD"]).map(|commit| format!(" ({commit})")).unwrap_or_default();
    println!("cargo::rustc-env=FAREND_BUILD={commit}");
}

/// What git answers, without the line's end; `None` without git or a repository.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Writes `catalogue.lines`: what sensor/src/catalog/lines.rs reads. Whether the rows are right is for the tests to say.
fn flatten_catalogue() {
    let folder =
        Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../config/catalogue");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("config/catalogue is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    let mut lines = String::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("UTF-8");
        let rows: Table = text.parse().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let rows = Value::Table(rows);
        for tool in list(&rows, "tool") {
            let label = tool.get("label").or(rows.get("label"));
            line(&mut lines, "tool", tool.get("name").into_iter());
            line(&mut lines, "label", label.into_iter());
            for key in ["also", "via"] {
                line(&mut lines, key, list(tool, key));
            }
            for fact in list(tool, "fact") {
                line(&mut lines, "source", fact.get("source").into_iter());
                for key in
                    ["session", "site", "alpn", "subject", "issuer"].iter().chain(DEVICE).chain(&["ports"])
                {
                    line(&mut lines, key, list(fact, key));
                }
                line(&mut lines, "wire", fact.get("wire").into_iter());
            }
        }
    }
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("catalogue.lines"), lines).expect("OUT_DIR is writable");
}

/// The values of a list.
fn list<'a>(row: &'a Value, key: &str) -> std::slice::Iter<'a, Value> {
    row.get(key).and_then(Value::as_array).map(|rows| rows.iter()).unwrap_or_default()
}

/// A key and its values between tabs; nothing where there are none.
fn line<'a>(lines: &mut String, key: &str, values: impl Iterator<Item = &'a Value>) {
    let values: Vec<&str> = values.map(|value| value.as_str().expect("text")).collect();
    assert!(!values.iter().any(|v| v.contains(['\t', '\n'])), "{key}: no tabs and ends of line: {values:?}");
    if !values.is_empty() {
        lines.push_str(&format!("{key}\t{}\n", values.join("\t")));
    }
}
