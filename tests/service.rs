//! The systemd unit: what it runs is what the program takes, and systemd finds no fault with it.

use std::fs;
use std::process::Command;

use crate::support::corpus::root;

fn unit() -> String {
    fs::read_to_string(root().join("config/systemd/farend@.service")).expect("the unit")
}

#[test]
fn the_unit_starts_farend_with_flags_that_it_has() {
    let unit = unit();
    let start =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/farend ")).expect("a start");
    let mut words = start.split_whitespace();
    let command = words.next().expect("a command");
    let help =
        Command::new(env!("CARGO_BIN_EXE_farend")).args([command, "--help"]).output().expect("it runs");
    assert!(help.status.success(), "no command {command}");
    let help = String::from_utf8(help.stdout).expect("text");
    let flags: Vec<&str> = words.filter(|word| word.starts_with('-')).collect();
    assert!(flags.contains(&"--interface"), "{start}");
    for flag in flags {
        let known = help.split([' ', ',', '\n']).any(|word| word == flag);
        assert!(known, "farend {command} has no {flag}:\n{help}");
    }
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let dir = tempfile::tempdir().expect("a folder");
    // In the place of the program, which is not installed where tests run, any one that is there; no man page either.
    let unit = unit().replace("/usr/bin/farend", "/bin/true").replace("man:farend(1) ", "");
    let path = dir.path().join("farend@eth1.service");
    fs::write(&path, unit).expect("written");
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        println!("skipped: systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    // Whatever it finds wrong with other units of this machine is not ours.
    let own: Vec<&str> = said.lines().filter(|line| line.contains("farend@")).collect();
    assert!(own.is_empty(), "{said}");
}
