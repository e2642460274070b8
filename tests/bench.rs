//! `farend bench` as scripts meet it. Figures of time are only checked against each other: how fast a machine is, is no test.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::corpus::root;

fn bench(args: &[&str], dir: &tempfile::TempDir) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farend"));
    command.arg("bench").args(args).current_dir(dir).env("TMPDIR", dir.path()).stdin(Stdio::null());
    command.output().expect("the program starts")
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[track_caller]
fn measured(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "no progress without a terminal");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn a_workload_is_measured_and_the_figures_agree_with_each_other() {
    let dir = dir();
    let args = "small --packets 20000 --rounds 1 --workers 1 --batch 64 --format json";
    let told = measured(&bench(&args.split(' ').collect::<Vec<_>>(), &dir));
    assert_eq!(
        told["traffic"],
        serde_json::json!({"name": "small", "packets": 20_000, "bytes": 1_200_000, "seed": 1})
    );
    assert_eq!(told["rounds"], 1);
    let [cell] = &told["cells"].as_array().expect("cells")[..] else { panic!("one cell: {told}") };
    assert_eq!((&cell["workers"], &cell["batch"], &cell["packets"]), (&1.into(), &64.into(), &20_000.into()));
    let rate = number(&cell["packets_per_second"]["median"]);
    let gbit = number(&cell["gbit_per_second"]["median"]);
    assert!(rate > 0.0 && (gbit - rate * 60.0 * 8e-9).abs() < 0.002, "60 bytes a packet: {cell}");
    let busy = number(&cell["cores_busy"]["median"]);
    let cpu = number(&cell["cpu_ns_per_packet"]["median"]);
    assert!(
        (busy - cpu * rate * 1e-9).abs() < 0.01,
        "busy = processor time a packet x packets a second: {cell}"
    );
    let latency = &cell["batch_latency_ns"];
    let steps = ["p50", "p99", "p99_9", "max"].map(|name| number(&latency[name]));
    assert!(steps[0] > 0.0 && steps.is_sorted(), "{latency}");
    assert!(cell.get("kernel_drops").is_none(), "a file drops nothing: {cell}");
    let advice = &told["recommendation"];
    assert_eq!(
        (&advice["workers"], &advice["batch"], &advice["differs"]),
        (&1.into(), &64.into(), &false.into())
    );
    assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 0, "the workload is gone");
}

#[test]
fn every_setting_is_tried_on_multiplied_captures() {
    let dir = dir();
    let captures = root().join("pcaps/web_tls.pcap").display().to_string();
    let args = [
        "mix",
        "--captures",
        &captures,
        "--packets",
        "5000",
        "--rounds",
        "2",
        "--workers",
        "1,2",
        "--batch",
        "32,512",
    ];
    let told = measured(&bench(&[&args[..], &["--format", "json"]].concat(), &dir));
    let packets = &told["traffic"]["packets"];
    assert!(
        (5_000..5_700).contains(&packets.as_u64().expect("a count")),
        "whole copies of 670 packets: {told}"
    );
    assert_eq!((&told["traffic"]["captures"], &told["traffic"]["copies"]), (&1.into(), &8.into()));
    let cells = told["cells"].as_array().expect("cells");
    let tried: Vec<_> = cells.iter().map(|c| (c["workers"].as_u64(), c["batch"].as_u64())).collect();
    assert_eq!(tried, [(1, 32), (1, 512), (2, 32), (2, 512)].map(|(w, b)| (Some(w), Some(b))));
    for cell in cells {
        assert_eq!(cell["packets"].as_u64(), packets.as_u64().map(|n| 2 * n), "two rounds: {cell}");
        let rate = &cell["packets_per_second"];
        assert!(
            number(&rate["min"]) <= number(&rate["median"])
                && number(&rate["median"]) <= number(&rate["max"])
        );
    }

    let table = bench(&args, &dir);
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    for told in ["8 copies of 1 capture", "CPU/packet", "p99.9", "\nRecommended: workers = "] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(!text.contains("drops"), "files drop nothing: {text}");
}

#[test]
fn outside_a_source_tree_the_demo_is_multiplied() {
    let dir = dir();
    let args = "--packets 3000 --rounds 1 --workers 1 --batch 256 --format json";
    let told = measured(&bench(&args.split(' ').collect::<Vec<_>>(), &dir));
    assert_eq!((&told["traffic"]["name"], &told["traffic"]["copies"]), (&"mix".into(), &2.into()));
}

#[test]
fn a_capture_is_measured_as_it_is_and_one_that_is_cut_is_3() {
    let dir = dir();
    let bytes = fs::read(root().join("pcaps/web_tls.pcap")).expect("a capture");
    let path = dir.path().join("cut.pcap");
    for (length, code) in [(bytes.len(), 0), (bytes.len() - 1, 3)] {
        fs::write(&path, &bytes[..length]).expect("written");
        let output = bench(&["cut.pcap", "--rounds", "1", "--workers", "1", "--batch", "256"], &dir);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("cut.pcap: 6"), "{output:?}");
    }
}

#[test]
fn what_cannot_be_measured_is_said_with_the_way_out() {
    let dir = dir();
    fs::write(dir.path().join("notes.txt"), "nothing to see here").expect("written");
    let cases: [(&[&str], &str); 9] = [
        (&["medium"], "have: mix, small, elephant"),
        (&["notes.txt"], "no packets"),
        (&["small", "--captures", "x.pcap"], "--captures is for mix"),
        (&["notes.txt", "--packets", "5"], "--packets is for workloads"),
        (&["mix", "--captures", "gone.pcap"], "gone.pcap: no such file"),
        (&["mix", "--captures", "notes.txt"], "no packets to multiply"),
        (&["--batch", "0"], "1..=65536"),
        (&["--rounds", "0"], "--rounds"),
        (&["--packets", "5", "-i", "lo"], "cannot be used with"),
    ];
    for (args, told) in cases {
        let output = bench(args, &dir);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(told), "{args:?}: {output:?}");
    }
    let mut nowhere = Command::new(env!("CARGO_BIN_EXE_farend"));
    let output = nowhere.args(["bench", "small"]).env("TMPDIR", "/nonexistent").output().expect("starts");
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("TMPDIR"), "{output:?}");
}
