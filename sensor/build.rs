//! Tells the binary which commit it was built from.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/refs/heads");
    let commit = Command::new("git")
        .args(["rev-parse", "--short=10", "HEAD"])
        .output()
        .ok()
        .filter(|o| o.status.success())
        .and_then(|o| String::from_utf8(o.stdout).ok())
        .map(|c| format!(" ({})", c.trim()))
        .unwrap_or_default();
    println!("cargo::rustc-env=FAREND_BUILD={commit}");
}
