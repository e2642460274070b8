//! The metrics page: fetched over HTTP, read by a Prometheus client library and by a strict reader of its own, and the
//! conservation equations summed from what they read.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farend::host::{FindingKind, Severity};
use farend::inspect::Limits;
use farend::sink::metrics::{Metric, Pulse, Reach, Sample, Samples, Server, Snapshot, StartError, Unit};

use crate::support::corpus::root;
use crate::support::payloads::noise;
use crate::support::replay::{Outcome, Setup, run_capture, run_file};
use crate::support::scrape::{Scrape, Series, adds_up, ask, by_library, strictly, sum};
use crate::support::traffic::{Mix, mixed};

/// A server whose snapshot and pulse the test holds.
struct Sensor {
    server: Server,
    snapshot: Arc<Mutex<Snapshot>>,
    pulse: Arc<Pulse>,
}

impl Sensor {
    fn new() -> Self {
        let (snapshot, pulse) = (Arc::new(Mutex::new(Snapshot::default())), Arc::new(Pulse::default()));
        let (theirs, beat) = (Arc::clone(&snapshot), Arc::clone(&pulse));
        let server = Server::start(
            "127.0.0.1:0".parse().expect("an address"),
            Reach::Loopback,
            move || theirs.lock().expect("not poisoned").clone(),
            move || beat.health(),
        );
        Self { server: server.expect("a server"), snapshot, pulse }
    }

    fn ask(&self, request: &str) -> (String, String) {
        ask(self.server.address(), request.as_bytes())
    }

    fn scrape(&self, snapshot: Snapshot) -> Scrape {
        *self.snapshot.lock().expect("not poisoned") = snapshot;
        let (head, page) = self.ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let scrape = strictly(&page);
        if let Some(theirs) = by_library(&format!("http://{}/metrics", self.server.address())) {
            assert_eq!(scrape, theirs, "a Prometheus client library reads something else");
        }
        scrape
    }
}

fn snapshot(outcome: Outcome, kernel_drops: u64) -> Snapshot {
    let mut snapshot = Snapshot { summary: outcome.summary, ..Snapshot::default() };
    snapshot.source.kernel_drops = kernel_drops;
    snapshot
}

fn names(scrape: &Scrape) -> BTreeSet<&Series> {
    scrape.keys().collect()
}

#[test]
fn every_scrape_adds_up_and_has_every_series_from_the_beginning() {
    let sensor = Sensor::new();
    let at_first = sensor.scrape(Snapshot::default());
    adds_up(&at_first);
    assert!(at_first.iter().all(|((name, _), v)| *v == 0.0 || name == "farend_build_info"), "{at_first:?}");

    let mut capture =
        mixed(Mix { seed: 31, packets: 20_000, at_once: 2_000, hosts: 300, step_ns: 1_000_000 });
    (0..500).for_each(|n| capture.frame(noise(n, 14 + n as usize % 200)));
    let crowded = Setup { capacity: 256, limits: Limits { flows: 1, bytes: 600 }, ..Setup::default() };
    let many = sensor.scrape(snapshot(run_capture(&capture, &crowded), 7));
    adds_up(&many);
    assert_eq!(sum(&many, "packets_kernel_dropped_total"), 7.0);
    for name in
        ["packets_malformed_total", "packets_ignored_total", "flows_closed_total", "batch_seconds_count"]
    {
        assert!(sum(&many, name) > 0.0, "{name} should not be 0 with this traffic");
    }
    let evicted = ("farend_flows_closed_total".to_owned(), [("reason".into(), "evicted".into())].into());
    assert!(many[&evicted] > 100.0, "{}", many[&evicted]);
    assert_eq!(names(&at_first), names(&many), "series that appear later break alerts");

    let farm = run_file(&root().join("pcaps/farm_laptop.pcap"), &Setup::default());
    let alerts = farm.records().alerts().len();
    let mut snapshot = snapshot(farm, 0);
    for _ in 0..alerts {
        snapshot.raised.count(FindingKind::RemoteControl, Severity::High);
    }
    let farm = sensor.scrape(snapshot);
    adds_up(&farm);
    assert!(sum(&farm, "evidence_applied_total") > 0.0);
    let raised = [("finding".into(), "remote_control".into()), ("severity".into(), "high".into())];
    assert_eq!(farm[&("farend_findings_total".to_owned(), raised.into())], alerts as f64);
    assert_eq!(sum(&farm, "findings_total"), alerts as f64);
    assert_eq!(names(&at_first), names(&farm));
}

#[test]
fn the_latency_of_batches_is_a_histogram_in_seconds() {
    let mut snapshot = Snapshot { now_ns: 1_795_528_798_500_000_000, ..Snapshot::default() };
    for (ns, times) in [(80_000, 98), (3_000_000, 1), (2_000_000_000, 1)] {
        snapshot.summary.latency.record_n(ns, times).expect("in range");
    }
    let scrape = Sensor::new().scrape(snapshot);
    let below =
        |le: &str| scrape[&("farend_batch_seconds_bucket".to_owned(), [("le".into(), le.into())].into())];
    let bounds = ["0.000025", "0.0001", "0.0025", "0.01", "1.0", "+Inf"];
    assert_eq!(bounds.map(below), [0.0, 98.0, 98.0, 99.0, 99.0, 100.0]);
    assert_eq!(sum(&scrape, "batch_seconds_count"), 100.0);
    let expected = 98.0 * 80e-6 + 3e-3 + 2.0;
    assert!((sum(&scrape, "batch_seconds_sum") / expected - 1.0).abs() < 0.01, "to two digits");
    assert_eq!(sum(&scrape, "snapshot_timestamp_seconds"), 1_795_528_798.5);
}

#[test]
fn further_metrics_come_with_their_labels_however_odd() {
    let metric = |name, unit, samples| Metric { name, help: "Of a test.", unit, samples };
    let occupied = vec![Sample::of("worker", "0", 0.25), Sample::of("worker", "1", 1.0)];
    let more = vec![
        metric("ring_occupied", Some(Unit::Ratios), Samples::Gauge(occupied)),
        metric("eve", Some(Unit::Bytes), Samples::Counter(vec![Sample::plain(u64::from(u32::MAX) + 1)])),
    ];
    let sensor = Sensor::new();
    let scrape = sensor.scrape(Snapshot { more, ..Snapshot::default() });
    assert_eq!(sum(&scrape, "ring_occupied_ratios"), 1.25);
    assert_eq!(sum(&scrape, "eve_bytes_total"), 4_294_967_296.0);

    let odd = vec![Sample::of("name", "a\"b\\c\nd", 1.0)];
    let more = vec![metric("interface_up", None, Samples::Gauge(odd))];
    *sensor.snapshot.lock().expect("not poisoned") = Snapshot { more, ..Snapshot::default() };
    let (_, page) = sensor.ask("GET /metrics HTTP/1.0\r\n\r\n");
    assert!(page.contains("farend_interface_up{name=\"a\\\"b\\\\c\\nd\"} 1"), "{page}");
    if let Some(read) = by_library(&format!("http://{}/metrics", sensor.server.address())) {
        let odd = [("name".to_owned(), "a\"b\\c\nd".to_owned())];
        assert_eq!(read[&("farend_interface_up".to_owned(), odd.into())], 1.0);
    }
}

#[test]
fn the_page_has_its_media_type_and_head_gives_the_same_without_a_body() {
    let sensor = Sensor::new();
    let (get, page) = sensor.ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        get.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{get}"
    );
    assert!(get.contains(&format!("\r\nContent-Length: {}\r\n", page.len())), "{get}");
    let (head, nothing) = sensor.ask("HEAD /metrics?x=y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head, nothing.as_str()), (get, ""));
}

#[test]
fn healthz_says_ok_or_why_not() {
    let sensor = Sensor::new();
    let ask = || sensor.ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    let (head, body) = ask();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "ok\n");
    sensor.pulse.trouble("eve", "no space left on device");
    let (head, body) = ask();
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
    assert_eq!(body, "eve: no space left on device\n");
    sensor.pulse.well("eve");
    assert_eq!(ask().1, "ok\n");
}

#[test]
fn other_paths_other_methods_and_what_is_no_http_are_refused() {
    let sensor = Sensor::new();
    let body = "x".repeat(10_000);
    let post = format!("POST /metrics HTTP/1.1\r\nContent-Length: 10000\r\n\r\n{body}");
    let endless = format!("GET /metrics HTTP/1.1\r\nA: {}", "x".repeat(9_000));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found"),
        (&post, "405 Method Not Allowed"),
        ("\x16\x03\x01 hello\r\n\r\n", "400 Bad Request"),
        (&endless, "431 Request Header Fields Too Large"),
    ] {
        let (head, _) = sensor.ask(request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:.40}: {head}");
    }
    assert!(sensor.ask(&post).0.contains("\r\nAllow: GET, HEAD\r\n"));
}

#[test]
fn silent_and_slow_clients_do_not_keep_others_waiting_for_ever() {
    let sensor = Sensor::new();
    let mut slow = TcpStream::connect(sensor.server.address()).expect("it listens");
    slow.write_all(b"GET /metrics HTT").expect("sent");
    let silent: Vec<TcpStream> =
        (0..2).map(|_| TcpStream::connect(sensor.server.address()).expect("it listens")).collect();
    let drip = std::thread::spawn(move || {
        while slow.write_all(b"P").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let (_, body) = sensor.ask("GET /healthz HTTP/1.1\r\n\r\n");
    assert_eq!(body, "ok\n", "after two seconds for each of the three");
    drop(silent);
    drip.join().expect("the connection was closed");
}

#[test]
fn a_server_that_is_dropped_is_gone_at_once_even_while_it_waits_for_a_client() {
    let sensor = Sensor::new();
    let address = sensor.server.address();
    let silent = TcpStream::connect(address).expect("it listens");
    std::thread::sleep(Duration::from_millis(100));
    let started = std::time::Instant::now();
    drop(sensor);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    let _ = silent.shutdown(Shutdown::Both);
}

#[test]
fn addresses_that_others_can_reach_are_refused_unless_asked_for() {
    let start = |address: &str, reach| {
        Server::start(address.parse().expect("an address"), reach, Snapshot::default, || Ok(()))
    };
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9469"] {
        let error = start(open, Reach::Loopback).expect_err("refused");
        assert!(matches!(error, StartError::NotLoopback(_)), "{error}");
        assert!(error.to_string().starts_with(open), "{error}");
    }
    for loopback in ["127.0.0.1:0", "127.9.8.7:0"] {
        assert_ne!(start(loopback, Reach::Loopback).expect("a server").address().port(), 0);
    }
    let open = start("0.0.0.0:0", Reach::Anywhere).expect("a server");
    let local = SocketAddr::from(([127, 0, 0, 1], open.address().port()));
    assert_eq!(ask(local, b"GET /healthz HTTP/1.1\r\n\r\n").1, "ok\n");
    let taken = start(&local.to_string(), Reach::Loopback);
    let taken = taken.expect_err("the port is taken").to_string();
    assert_eq!(taken, format!("{local}: address already in use"));
}
