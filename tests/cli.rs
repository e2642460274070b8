//! The `farend` program as scripts and people meet it: exit codes, streams, formats, messages.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::conserve::equations;
use crate::support::corpus::root;
use crate::support::frame::end;
use crate::support::records::{Records, number, text};

/// The program with arguments, in an environment without surprises.
fn farend(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farend"));
    command.args(args).env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    farend(args).output().expect("the program starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The demo's capture.
fn farm() -> String {
    root().join("pcaps/farm_laptop.pcap").display().to_string()
}

/// A capture in which nothing happens.
fn dull(dir: &Path) -> String {
    let mut c = Capture::default();
    for _ in 0..5 {
        c.datagram(end("192.168.1.2:5000"), end("192.168.1.3:6000"), b"hello");
    }
    write(dir, "dull.pcap", &c.pcap())
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    fs::write(&path, bytes).expect("written");
    path.display().to_string()
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn a_clean_capture_is_0_and_a_finding_at_the_bar_is_1() {
    let dir = dir();
    assert_eq!(code(&run(&["replay", &dull(dir.path())])), 0);
    assert_eq!(code(&run(&["replay", &farm()])), 0, "without --fail-on a finding is no failure");
    for (bar, expected) in [("low", 1), ("medium", 1), ("high", 1), ("critical", 0)] {
        let output = run(&["replay", "--quiet", "--fail-on", bar, &farm()]);
        assert_eq!(code(&output), expected, "--fail-on {bar}");
        assert_eq!(out(&output), "", "--quiet prints no summary");
    }
    assert_eq!(code(&run(&["replay", "--fail-on", "low", &dull(dir.path())])), 0);
}

#[test]
fn wrong_usage_is_2_with_a_message_that_helps() {
    let dir = dir();
    let capture = dull(dir.path());
    let cases: [(&[&str], &[&str]); 9] = [
        (&["replay"], &["PATH"]),
        (&["replay", "--no-such-flag", &capture], &["--no-such-flag"]),
        (&["replay", "--home", "10.0.0.0/40", &capture], &["10.0.0.0/40", "0 to 32"]),
        (&["replay", "--home", "office", &capture], &["office", "192.0.2.0/24"]),
        (&["replay", "--eve-types", "flow,packet", &capture], &["packet", "flow, alert, host, stats"]),
        (&["replay", "--fail-on", "urgent", &capture], &["urgent", "critical"]),
        (&["replay", "--workers", "many", &capture], &["many"]),
        (&["replay", "--format", "xml", &capture], &["xml", "json"]),
        (
            &["explain", "F-0000000000", "--from", "/nonexistent/eve.json"],
            &["/nonexistent/eve.json", "--from"],
        ),
    ];
    for (args, words) in cases {
        let output = run(args);
        assert_eq!(code(&output), 2, "{args:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{args:?}: nothing on standard output");
        for word in words {
            assert!(err(&output).contains(word), "{args:?}: '{word}' is missing in: {}", err(&output));
        }
    }
}

#[test]
fn a_filter_that_cannot_be_is_2_and_says_why() {
    let dir = dir();
    let output = run(&["replay", "-f", "tcp port nonsense", &dull(dir.path())]);
    assert_eq!(code(&output), 2, "{}", err(&output));
    assert!(err(&output).contains("tcp port nonsense"), "{}", err(&output));
}

#[test]
fn no_input_that_exists_is_2_and_some_that_are_missing_are_3() {
    let dir = dir();
    let (missing, good) = (dir.path().join("gone.pcap").display().to_string(), dull(dir.path()));
    let none = run(&["replay", &missing]);
    assert_eq!(code(&none), 2, "{}", err(&none));
    assert!(err(&none).contains("gone.pcap: no such file"), "{}", err(&none));
    let some = run(&["replay", &missing, &good]);
    assert_eq!(code(&some), 3, "{}", err(&some));
    assert!(err(&some).contains("gone.pcap: no such file"), "{}", err(&some));
    assert!(out(&some).contains("5 packets"), "the rest is analysed: {}", out(&some));
}

#[test]
fn what_is_no_capture_cut_or_corrupt_is_3_and_the_rest_is_analysed() {
    let dir = dir();
    let bytes = fs::read(dull(dir.path())).expect("a capture");
    let mut corrupt = bytes.clone();
    corrupt[24 + 8..24 + 12].fill(0xff);
    let cases = [
        ("text.pcap", b"this is a letter, not a capture".to_vec(), "not a capture"),
        ("empty.pcap", Vec::new(), "empty"),
        ("cut.pcap", bytes[..bytes.len() - 7].to_vec(), "offset 328: ends inside a record"),
        ("corrupt.pcap", corrupt, "offset 24"),
    ];
    let good = dull(dir.path());
    for (name, bytes, words) in cases {
        let bad = write(dir.path(), name, &bytes);
        let eve = dir.path().join("eve.json").display().to_string();
        let output = run(&["replay", "--eve", &eve, &bad, &good]);
        assert_eq!(code(&output), 3, "{name}: {}", err(&output));
        let line = err(&output).lines().find(|l| l.contains(name)).unwrap_or_default().to_owned();
        assert!(line.contains(words), "{name}: '{words}' is missing in: {}", err(&output));
        let records = Records::parse(&fs::read(&eve).expect("written"));
        equations(records.stats(), name);
        let problems = records.stats()["farend"]["problems"].to_string();
        assert!(problems.contains(name), "{name}: the record says nothing of it: {problems}");
        assert!(!records.flows().is_empty(), "{name}: the rest is analysed");
    }
}

#[test]
fn a_finding_wins_over_a_bad_input() {
    let dir = dir();
    let bad = write(dir.path(), "bad.pcap", b"no capture");
    assert_eq!(code(&run(&["replay", "--quiet", "--fail-on", "high", &farm(), &bad])), 1);
    assert_eq!(code(&run(&["replay", "--quiet", "--fail-on", "critical", &farm(), &bad])), 3);
}

#[test]
fn a_full_disk_is_4_and_names_the_file() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: this system has no /dev/full");
        return;
    }
    let output = run(&["replay", "--eve", "/dev/full", &farm()]);
    assert_eq!(code(&output), 4, "{}", err(&output));
    assert!(err(&output).contains("/dev/full"), "{}", err(&output));
    assert_eq!(err(&output).lines().count(), 1, "one line: {}", err(&output));
    let dir = dir();
    let nowhere = dir.path().join("no/such/folder/eve.json").display().to_string();
    let output = run(&["replay", "--eve", &nowhere, &farm()]);
    assert_eq!(code(&output), 4, "{}", err(&output));
    assert!(err(&output).contains(&nowhere), "{}", err(&output));
}

#[test]
fn a_full_disk_under_the_summary_is_4() {
    let Ok(full) = fs::File::options().write(true).open("/dev/full") else {
        println!("skipped: this system has no /dev/full");
        return;
    };
    let output = farend(&["replay", &farm()]).stdout(full).output().expect("starts");
    assert_eq!(code(&output), 4, "{}", err(&output));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for args in [&["replay", "--eve", "-", "--quiet"][..], &["replay"], &["replay", "--format", "json"]] {
        let farm = farm();
        let mut args = args.to_vec();
        args.push(&farm);
        let mut child =
            farend(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut first = [0; 1];
        let mut pipe = child.stdout.take().expect("a pipe");
        pipe.read_exact(&mut first).expect("a byte");
        drop(pipe);
        let output = child.wait_with_output().expect("ends");
        assert_eq!(code(&output), 0, "{args:?}: {}", err(&output));
        assert_eq!(err(&output), "", "{args:?}: ends quietly");
    }
}

#[test]
fn a_standard_output_that_is_closed_from_the_start_is_no_failure() {
    let command = format!("'{}' replay '{}' | true", env!("CARGO_BIN_EXE_farend"), farm());
    let output = Command::new("sh").args(["-c", &command]).output().expect("starts");
    assert_eq!(err(&output), "");
}

#[test]
fn with_eve_on_standard_output_it_is_pure_records_and_people_read_standard_error() {
    let output = run(&["replay", "--eve", "-", &farm()]);
    assert_eq!(code(&output), 0);
    let records = Records::parse(&output.stdout);
    assert!(!records.flows().is_empty() && !records.alerts().is_empty());
    equations(records.stats(), "farm");
    assert!(err(&output).contains("194.33.44.11"), "the summary is on standard error: {}", err(&output));
    let quiet = run(&["replay", "--eve", "-", "--quiet", &farm()]);
    assert_eq!(err(&quiet), "");
    assert_eq!(quiet.stdout, output.stdout, "the records are the same");
}

#[test]
fn the_records_are_the_same_for_any_number_of_workers() {
    let one = run(&["replay", "--eve", "-", "--quiet", "--workers", "1", &farm()]);
    for workers in ["2", "3", "8"] {
        let more = run(&["replay", "--eve", "-", "--quiet", "--workers", workers, &farm()]);
        assert!(one.stdout == more.stdout, "{workers} workers write other records");
    }
}

#[test]
fn only_the_types_that_are_asked_for_are_written() {
    for types in ["alert", "flow,stats", "host", "stats"] {
        let output = run(&["replay", "--eve", "-", "--quiet", "--eve-types", types, &farm()]);
        let records = Records::parse(&output.stdout);
        let mut found: Vec<&str> = records.0.iter().map(|r| text(&r["event_type"])).collect();
        found.sort_unstable();
        found.dedup();
        let mut expected: Vec<&str> = types.split(',').collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn alerts_are_the_same_whether_flows_are_written_or_not() {
    let alerts = |types| {
        let output = run(&["replay", "--eve", "-", "--quiet", "--eve-types", types, &farm()]);
        Records::parse(&output.stdout).alerts().into_iter().cloned().collect::<Vec<Value>>()
    };
    assert_eq!(alerts("alert"), alerts("flow,alert,host,stats"));
}

#[test]
fn the_summary_names_host_tool_controller_network_and_where_the_records_are() {
    let dir = dir();
    let eve = dir.path().join("eve.json").display().to_string();
    let output = run(&["replay", "--eve", &eve, &farm()]);
    let summary = out(&output);
    for word in ["192.168.178.149", "194.33.44.11", "AS62240", "hosting", "RDP", "remote_control", &eve] {
        assert!(summary.contains(word), "'{word}' is missing in:\n{summary}");
    }
    assert!(!summary.contains('\x1b'), "no colour where there is no terminal");
    assert_eq!(err(&output), "", "no progress where there is no terminal");
}

#[test]
fn the_summary_as_json_parses_and_says_the_same() {
    let output = run(&["replay", "--format", "json", &farm()]);
    let summary: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let findings = summary["findings"].as_array().expect("findings");
    assert!(findings.iter().any(|f| f["host"] == "192.168.178.149" && f["far_end"]["ip"] == "194.33.44.11"));
    let records = Records::parse(&run(&["replay", "--eve", "-", "--quiet", &farm()]).stdout);
    assert_eq!(number(&summary["flows"]), records.flows().len() as u64);
    let ids = |v: &Value| v["finding_id"].as_str().map(str::to_owned);
    let mut a: Vec<_> = findings.iter().map(ids).collect();
    let mut b: Vec<_> = records.alerts().iter().map(|r| ids(&r["farend"])).collect();
    a.sort();
    b.sort();
    assert_eq!(a, b);
}

#[test]
fn on_a_terminal_there_is_colour_unless_it_is_unwanted() {
    // util-linux's script gives the program a terminal.
    let on_terminal = |no_color: Option<&str>| -> Option<String> {
        let command = format!("{} replay {}", env!("CARGO_BIN_EXE_farend"), farm());
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env_remove("NO_COLOR").stdin(Stdio::null());
        if let Some(value) = no_color {
            script.env("NO_COLOR", value);
        }
        let output = script.output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(coloured) = on_terminal(None) else {
        println!("skipped: there is no script(1) here");
        return;
    };
    assert!(coloured.contains("\x1b[1"), "{coloured}");
    let plain = on_terminal(Some("1")).expect("it ran before");
    assert!(!plain.contains("\x1b[1"), "NO_COLOR is honoured: {plain}");
    assert!(on_terminal(Some("")).expect("it ran before").contains("\x1b[1"), "an empty NO_COLOR is none");
}

#[test]
fn home_networks_can_be_named() {
    let dir = dir();
    let mut c = Capture::default();
    crate::support::payloads::sessions()[0].play(end("198.51.100.7:40000"), end("203.0.113.9:3389"), &mut c);
    let capture = write(dir.path(), "public.pcap", &c.pcap());
    let told = out(&run(&["replay", &capture]));
    assert!(
        told.lines().next().is_some_and(|l| l.contains("--home")),
        "the first line says how to name them: {told}"
    );
    let hosts = |home: &str| {
        let output = run(&["replay", "--eve", "-", "--quiet", "--home", home, &capture]);
        let records = Records::parse(&output.stdout);
        let host = |h: &&Value| {
            let ledger = h["farend"]["ledger"].as_array().expect("a ledger");
            (text(&h["farend"]["host"]).to_owned(), ledger.iter().any(|f| f["finding"] == "remote_control"))
        };
        records.of("host").iter().map(host).collect::<Vec<_>>()
    };
    assert_eq!(hosts("203.0.113.0/24"), [("203.0.113.9".to_owned(), true)]);
    assert_eq!(
        hosts("198.51.100.0/24"),
        [("198.51.100.7".to_owned(), false)],
        "who controls is not controlled"
    );
}

#[test]
fn explain_shows_every_line_of_evidence_with_its_packet() {
    let dir = dir();
    let eve = dir.path().join("eve.json").display().to_string();
    run(&["replay", "--quiet", "--eve", &eve, &farm()]);
    let records = Records::parse(&fs::read(&eve).expect("written"));
    for alert in records.alerts() {
        let f = &alert["farend"];
        let output = run(&["explain", text(&f["finding_id"]), "--from", &eve]);
        assert_eq!(code(&output), 0, "{}", err(&output));
        let told = out(&output);
        for line in f["evidence"].as_array().expect("evidence") {
            let packet = format!("packet {}", line["packet"]);
            assert!(
                told.lines().any(|l| l.contains(text(&line["kind"])) && l.contains(&packet)),
                "{} at {packet} is missing in:\n{told}",
                line["kind"]
            );
        }
        assert!(told.contains(&f["score_decibans"].to_string()), "{told}");
        let lower = text(&f["finding_id"]).to_lowercase();
        assert_eq!(
            out(&run(&["explain", &lower, "--from", &eve])),
            told,
            "the id may be typed in lower case"
        );
    }
    let unknown = run(&["explain", "F-ffffffffff", "--from", &eve]);
    assert_eq!(code(&unknown), 2);
    let known = text(&records.alerts()[0]["farend"]["finding_id"]);
    assert!(err(&unknown).contains(known), "it says which there are: {}", err(&unknown));
}

#[test]
fn explain_passes_over_lines_that_are_no_records() {
    let dir = dir();
    let eve = dir.path().join("eve.json");
    run(&["replay", "--quiet", "--eve", &eve.display().to_string(), &farm()]);
    let good = fs::read_to_string(&eve).expect("written");
    let alert = good.lines().find(|l| l.contains("\"event_type\":\"alert\"")).expect("an alert");
    fs::write(&eve, format!("{{\"event_type\":\"alert\" cut\n{alert}\n")).expect("written");
    let id: Value = serde_json::from_str(alert).expect("JSON");
    let output = run(&["explain", text(&id["farend"]["finding_id"]), "--from", &eve.display().to_string()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(err(&output).contains(":1:"), "the line is named: {}", err(&output));
}

#[test]
fn the_demo_needs_no_file_and_tells_the_verdict() {
    let dir = dir();
    let output = farend(&["demo"]).current_dir(dir.path()).output().expect("starts");
    assert_eq!(code(&output), 0, "{}", err(&output));
    for word in ["192.168.178.149", "194.33.44.11", "AS62240", "hosting", "RDP"] {
        assert!(out(&output).contains(word), "'{word}' is missing in:\n{}", out(&output));
    }
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0, "it leaves nothing behind");
}

#[test]
fn standard_input_is_read_as_it_comes() {
    let bytes = fs::read(farm()).expect("a capture");
    let mut child = farend(&["replay", "--eve", "-", "--quiet", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || pipe.write_all(&bytes));
    let output = child.wait_with_output().expect("ends");
    writer.join().expect("no panic").expect("all was read");
    let piped = Records::parse(&output.stdout);
    let whole = Records::parse(&run(&["replay", "--eve", "-", "--quiet", &farm()]).stdout);
    assert_eq!(piped.flows().len(), whole.flows().len());
    let ids = |r: &Records| r.flows().iter().map(|f| number(&f["flow_id"])).collect::<Vec<_>>();
    assert_eq!(ids(&piped), ids(&whole));
}

#[test]
fn a_directory_is_read_and_what_is_no_capture_in_it_is_counted() {
    let dir = dir();
    dull(dir.path());
    write(dir.path(), "notes.txt", b"not a capture");
    let output = run(&["replay", "--eve", "-", "--quiet", &dir.path().display().to_string()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let records = Records::parse(&output.stdout);
    assert_eq!(records.stats()["farend"]["stats"]["skipped_files"], 1);
    assert_eq!(records.flows().len(), 1);
}

#[test]
fn a_cut_capture_through_the_program_names_the_offset_at_any_byte() {
    let dir = dir();
    let bytes = fs::read(dull(dir.path())).expect("a capture");
    // Every place within two records, and some beyond.
    for cut in (25..180).step_by(3).chain([bytes.len() - 1]) {
        let path = write(dir.path(), "cut.pcap", &bytes[..cut]);
        let output = run(&["replay", "--quiet", &path]);
        let boundary = (cut - 24) % 76 == 0;
        assert_eq!(code(&output), if boundary { 0 } else { 3 }, "cut at {cut}: {}", err(&output));
        if !boundary {
            let at = 24 + (cut - 24) / 76 * 76;
            assert!(err(&output).contains(&format!("offset {at}")), "cut at {cut}: {}", err(&output));
        }
    }
    for cut in 0..24 {
        let path = write(dir.path(), "cut.pcap", &bytes[..cut]);
        let output = run(&["replay", "--quiet", &path]);
        assert_eq!(code(&output), 3, "cut at {cut}: {}", err(&output));
        assert_eq!(err(&output).lines().count(), 1, "cut at {cut}: {}", err(&output));
    }
}

#[test]
fn help_and_version_are_0_and_on_standard_output() {
    for args in [&["--help"][..], &["--version"], &["replay", "--help"], &["explain", "--help"]] {
        let output = run(args);
        assert_eq!((code(&output), err(&output).as_str()), (0, ""), "{args:?}");
        assert!(!out(&output).is_empty());
    }
    assert!(out(&run(&["--version"])).starts_with(&format!("farend {}", env!("CARGO_PKG_VERSION"))));
    let none = run(&[]);
    assert_eq!(code(&none), 2, "no command is wrong usage");
}

#[test]
fn what_the_help_does_not_offer_is_a_usage_error() {
    let help = out(&run(&["--help"]));
    for command in ["report", "catalog", "bench", "allow"] {
        if !help.lines().any(|l| l.trim_start().starts_with(command)) {
            assert_eq!(code(&run(&[command])), 2, "{command} is not offered and does something");
        }
    }
}

#[test]
fn paths_that_are_no_utf_8_are_read() {
    use std::os::unix::ffi::OsStrExt;
    let dir = dir();
    let odd: PathBuf = dir.path().join(std::ffi::OsStr::from_bytes(b"odd\xff.pcap"));
    fs::copy(dull(dir.path()), &odd).expect("copied");
    let output = farend(&["replay", "--eve", "-", "--quiet"]).arg(&odd).output().expect("starts");
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(Records::parse(&output.stdout).flows().len(), 1);
}
