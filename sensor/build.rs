//! Tells the binary which commit it was built from.

use std::path::Path;
use std::process::Command;

fn main() {
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
