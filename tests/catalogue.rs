//! The tool catalogue through the whole pipeline and through the program: what a name on the wire may say, and what it may not.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::corpus::root;
use crate::support::frame::end;
use crate::support::payloads::{client_hello, dns_answer, dns_question, encrypted, server_hello};
use crate::support::records::told;
use crate::support::replay::records_of;
use crate::support::tcp::{Client, Server, Tcp};

const CLIENT: &str = "192.168.1.9:40000";
const FAR: &str = "203.0.113.9";

/// A TLS session that asks for `name`, answered or not.
fn tls(name: &str, answered: bool, c: &mut Capture) {
    let mut t = Tcp::open(end(CLIENT), end(&format!("{FAR}:443")), c);
    t.send(Client, &client_hello(name), c);
    if answered {
        t.send(Server, &server_hello(), c);
        for (side, bytes) in encrypted(4) {
            t.send(side, &bytes, c);
        }
    }
    t.close(c);
}

/// The record of the only flow.
fn flow(c: &Capture) -> Value {
    records_of(c).only_flow().clone()
}

fn kinds(flow: &Value) -> Vec<&str> {
    let evidence = flow["farend"]["evidence"].as_array().expect("a list");
    evidence.iter().filter_map(|e| e["kind"].as_str()).collect()
}

#[test]
fn a_session_name_labels_the_flow_with_the_tool_the_packet_and_the_source() {
    let mut c = Capture::default();
    tls("relay-0a1b2c3d.net.anydesk.com", true, &mut c);
    let f = flow(&c);
    let ours = &f["farend"];
    assert_eq!(
        (ours["label"].as_str(), ours["tool"].as_str()),
        (Some("anydesk"), Some("AnyDesk")),
        "{}",
        told(&f)
    );
    assert_eq!((ours["category"].as_str(), ours["basis"].as_str()), (Some("rmm"), Some("catalogue")));
    assert_eq!(ours["controlled"], Value::Null, "a name does not say who is operated");
    let evidence = &ours["evidence"][0];
    assert_eq!(kinds(&f), ["catalogue.sni"]);
    assert_eq!(evidence["packet"], 4, "the packet that brought the name");
    let detail = evidence["detail"].as_str().expect("text");
    for word in ["relay-0a1b2c3d.net.anydesk.com", "AnyDesk", "*.net.anydesk.com", "LOLRMM"] {
        assert!(detail.contains(word), "'{word}' is missing in: {detail}");
    }
}

#[test]
fn the_vendors_site_and_everybodys_names_give_no_label() {
    for (name, told_of) in [
        ("www.teamviewer.com", &["catalogue.site"][..]),
        ("docs.anydesk.com", &["catalogue.site"]),
        ("anydesk.com", &["catalogue.site"]),
        ("www.nordvpn.com", &["catalogue.site"]),
        ("us04web.zoom.us", &[]),
        ("meet.google.com", &[]),
        ("www.microsoft.com", &[]),
        ("bucket.s3.amazonaws.com", &[]),
    ] {
        let mut c = Capture::default();
        tls(name, true, &mut c);
        let f = flow(&c);
        assert_eq!(f["farend"]["label"], Value::Null, "{name}: {}", told(&f));
        assert_eq!(f["farend"]["tool"], Value::Null, "{name}");
        assert_eq!(kinds(&f), told_of, "{name}");
    }
}

#[test]
fn an_opening_that_nobody_answered_is_evidence_and_no_label() {
    let mut c = Capture::default();
    tls("relay-0a1b2c3d.net.anydesk.com", false, &mut c);
    let f = flow(&c);
    assert_eq!(f["farend"]["label"], Value::Null, "{}", told(&f));
    assert_eq!(kinds(&f), ["catalogue.sni"]);
}

#[test]
fn a_look_up_is_no_session() {
    let mut c = Capture::default();
    let (client, server) = (end(CLIENT), end("192.168.1.1:53"));
    c.datagram(client, server, &dns_question(7, "relay-0a1b2c3d.net.anydesk.com"));
    c.datagram(server, client, &dns_answer(7, "relay-0a1b2c3d.net.anydesk.com", end("203.0.113.9:1").ip()));
    let r = records_of(&c);
    let f = r.only_flow();
    assert_eq!(f["farend"]["label"], Value::Null, "{}", told(f));
    assert_eq!(kinds(f), ["catalogue.lookup"]);
    assert!(f["farend"]["evidence"][0]["decibans"].as_i64().is_some_and(|d| d <= 3), "{}", told(f));
    assert!(r.alerts().is_empty());
}

#[test]
fn a_name_behind_a_proxy_is_listed_behind_the_proxy() {
    let mut c = Capture::default();
    let mut t = Tcp::open(end(CLIENT), end(&format!("{FAR}:3128")), &mut c);
    t.send(
        Client,
        b"CONNECT relay-1.net.anydesk.com:443 HTTP/1.1\r\nHost: relay-1.net.anydesk.com\r\n\r\n",
        &mut c,
    );
    t.send(Server, b"HTTP/1.1 200 Connection established\r\n\r\n", &mut c);
    t.send(Client, &client_hello("relay-1.net.anydesk.com"), &mut c);
    t.send(Server, &server_hello(), &mut c);
    t.close(&mut c);
    let f = flow(&c);
    assert_eq!(f["farend"]["label"], "http_connect", "{}", told(&f));
    assert_eq!(f["farend"]["labels"], serde_json::json!(["http_connect", "anydesk"]), "{}", told(&f));
    assert_eq!(f["farend"]["tool"], "AnyDesk");
}

#[test]
fn what_a_proxy_is_asked_for_is_not_what_the_flow_is() {
    for request in [
        "GET http://agent-api.atera.com/x HTTP/1.1\r\nHost: agent-api.atera.com\r\n\r\n",
        "CONNECT agent-api.atera.com:443 HTTP/1.1\r\nHost: agent-api.atera.com\r\n\r\n",
    ] {
        let mut c = Capture::default();
        let mut t = Tcp::open(end(CLIENT), end(&format!("{FAR}:3128")), &mut c);
        t.send(Client, request.as_bytes(), &mut c);
        t.send(Server, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &mut c);
        t.close(&mut c);
        let f = flow(&c);
        assert_ne!(f["farend"]["label"], "atera", "{request}: {}", told(&f));
        assert_eq!(f["farend"]["tool"], Value::Null, "{request}");
    }
}

#[test]
fn a_brand_of_vpn_by_name_alone_raises_nothing() {
    let mut c = Capture::default();
    let mut t = Tcp::open(end(CLIENT), end(&format!("{FAR}:443")), &mut c);
    t.send(Client, &client_hello("nl-1.sec-tunnel.com"), &mut c);
    t.send(Server, &server_hello(), &mut c);
    for (side, bytes) in encrypted(60) {
        t.send(side, &bytes, &mut c);
    }
    t.close(&mut c);
    let r = records_of(&c);
    assert_eq!(r.only_flow()["farend"]["label"], "operavpn", "{}", told(r.only_flow()));
    assert!(r.alerts().is_empty(), "a name is not enough for a finding");
}

/// Gaps of a person's keys, s.
const TYPED: [f64; 20] = [
    0.182, 0.131, 0.244, 0.097, 0.165, 0.309, 0.148, 0.203, 0.118, 0.427, 0.176, 0.088, 0.221, 1.63, 0.154,
    0.192, 0.268, 0.109, 2.24, 0.351,
];

/// A session with AnyDesk's relay in which one side types and the other answers, for 80 s.
fn typed(operator: crate::support::tcp::Side) -> Capture {
    let mut c = Capture::default();
    let mut t = Tcp::open(end(CLIENT), end("88.198.54.20:443"), &mut c);
    t.send(Client, &client_hello("relay-0a1b2c3d.net.anydesk.com"), &mut c);
    t.send(Server, &server_hello(), &mut c);
    let operated = if matches!(operator, Client) { Server } else { Client };
    let record = |len: usize| [&[0x17, 3, 3, 0, len as u8][..], &vec![0xA5; len]].concat();
    let mut seconds = 0.0;
    for (i, gap) in TYPED.iter().cycle().enumerate() {
        seconds += gap;
        if seconds > 80.0 {
            break;
        }
        c.wait(gap - 0.045);
        t.send(operator, &record(40), &mut c);
        c.wait(0.041);
        t.send(operated, &record([40, 56, 140][i % 3]), &mut c);
    }
    t.close(&mut c);
    c
}

#[test]
fn a_tool_by_name_whose_shape_shows_somebody_at_work_in_here_is_remote_control() {
    let r = records_of(&typed(Server));
    let found: Vec<&str> = r.alerts().iter().filter_map(|a| a["farend"]["finding"].as_str()).collect();
    assert_eq!(found, ["remote_control", "remote_control_suspicious_origin"]);
    let alert = &r.alerts()[0]["farend"];
    assert_eq!((alert["host"].as_str(), alert["tool"].as_str()), (Some("192.168.1.9"), Some("AnyDesk")));
    let of: Vec<&str> =
        alert["evidence"].as_array().expect("a list").iter().filter_map(|e| e["kind"].as_str()).collect();
    for kind in ["catalogue.sni", "shape.operated", "session.sustained"] {
        assert!(of.contains(&kind), "{kind} is missing in {of:?}");
    }
    assert_eq!(r.only_flow()["farend"]["controlled"], "src", "who called is the one that is operated");
}

#[test]
fn the_same_tool_used_from_in_here_on_a_machine_out_there_is_none() {
    let r = records_of(&typed(Client));
    assert_eq!(r.only_flow()["farend"]["controlled"], "dest");
    assert!(r.alerts().is_empty(), "{:?}", r.alerts());
}

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farend"));
    command.args(args).env_remove("COLUMNS").stdin(Stdio::null()).output().expect("the program starts")
}

fn good(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The message of a command that ends with 2 and prints nothing else.
fn bad(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn the_list_and_a_tool_are_for_people_and_for_programs() {
    let list = good(&["catalog", "list"]);
    assert!(list.lines().count() > 286, "{} lines", list.lines().count());
    assert!(list.starts_with("tool "), "{list}");
    let json: Value = serde_json::from_str(&good(&["catalog", "list", "--format", "json"])).expect("JSON");
    let all = json.as_array().expect("an array");
    assert_eq!(all.len(), list.lines().count() - 1);
    let sourced = |tool: &Value| {
        tool["facts"].as_array().is_some_and(|facts| {
            !facts.is_empty() && facts.iter().all(|f| f["source"].as_str().is_some_and(|s| !s.is_empty()))
        })
    };
    assert!(all.iter().all(sourced), "every fact has a source");

    let shown = good(&["catalog", "show", "conNectwise control"]);
    assert!(shown.starts_with("ScreenConnect\n"), "{shown}");
    for word in [
        "also      ConnectWise Control",
        "screenconnect",
        "T1219.002",
        "instance-*-relay.screenconnect.com",
        "Sigma",
    ] {
        assert!(shown.contains(word), "'{word}' is missing in: {shown}");
    }
    let json: Value =
        serde_json::from_str(&good(&["catalog", "show", "ScreenConnect", "--format", "json"])).expect("JSON");
    assert_eq!((json["label"].as_str(), json["category"].as_str()), (Some("screenconnect"), Some("rmm")));
}

#[test]
fn a_tool_that_is_not_there_is_2_and_the_nearest_are_told() {
    assert_eq!(
        bad(&["catalog", "show", "anydsk"]).lines().next(),
        Some("farend: anydsk: no such tool (nearest: AnyDesk; LANDesk)")
    );
    assert!(bad(&["catalog", "show", "zzzzzzzzzz"]).contains("farend catalog list shows all"));
}

#[test]
fn the_shipped_files_are_good_and_a_bad_one_is_2_with_every_mistake() {
    let files: Vec<String> = fs::read_dir(root().join("config/catalogue"))
        .expect("there")
        .map(|entry| entry.expect("readable").path().display().to_string())
        .collect();
    let mut args = vec!["catalog", "check"];
    args.extend(files.iter().map(String::as_str));
    assert!(good(&args).contains(": good, "), "{args:?}");

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("mine.toml");
    fs::write(
        &path,
        "[[tool]]\nname = \"X\"\nlabel = \"x\"\n[[tool.fact]]\nsource = \"S\"\nports = [\"1\"]\n",
    )
    .expect("written");
    let path = path.display().to_string();
    let told = bad(&["catalog", "check", &path]);
    assert!(told.contains(&format!("farend: {path}:3:9: no label 'x'")), "{told}");
    assert!(told.contains(&format!("farend: {path}:6:10: '1' is no port")), "{told}");
    assert!(bad(&["catalog", "check", "/nonexistent/x.toml"]).contains("no such file"));
    assert!(bad(&["catalog", "check"]).contains("FILE"));
}

#[test]
fn a_file_of_the_configuration_adds_a_tool_to_what_is_recognised_and_listed() {
    let dir = tempfile::tempdir().expect("a directory");
    let tools = "[[tool]]\nname = \"House Remote\"\nlabel = \"rmm_other\"\n[[tool.fact]]\nsource = \"our administrators\"\n\
                 session = [\"relay.house.example\"]\n";
    fs::write(dir.path().join("tools.toml"), tools).expect("written");
    let config = dir.path().join("farend.toml");
    fs::write(&config, "[catalogue]\nfiles = [\"tools.toml\"]\n").expect("written");
    let config = config.display().to_string();
    let mut c = Capture::default();
    tls("relay.house.example", true, &mut c);
    let capture = dir.path().join("c.pcap");
    fs::write(&capture, c.pcap()).expect("written");
    let capture = capture.display().to_string();
    let records =
        good(&["replay", "--quiet", "--eve", "-", "--eve-types", "flow", "--config", &config, &capture]);
    let f: Value = serde_json::from_str(records.lines().next().expect("a record")).expect("JSON");
    assert_eq!(
        (f["farend"]["label"].as_str(), f["farend"]["tool"].as_str()),
        (Some("rmm_other"), Some("House Remote"))
    );
    assert!(good(&["catalog", "show", "house remote", "--config", &config]).contains("our administrators"));
    assert!(good(&["config", "check", &config]).contains("good"));

    fs::write(dir.path().join("tools.toml"), tools.replace("source", "sorce")).expect("written");
    let told = bad(&["config", "check", &config]);
    assert!(told.contains("tools.toml:5:1: unknown field `sorce`"), "{told}");
}
