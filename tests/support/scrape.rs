//! The metrics page as a scraper sees it: fetched over HTTP, read strictly and by a Prometheus client library.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use serde_json::Value;

/// One series: name and labels.
pub type Series = (String, BTreeMap<String, String>);
/// The values of a page.
pub type Scrape = BTreeMap<Series, f64>;

/// Fetches the page and reads it.
pub fn scrape(address: SocketAddr) -> Scrape {
    let (head, page) = ask(address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    strictly(&page)
}

/// Head and body of an answer.
pub fn ask(address: SocketAddr, request: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (format!("{head}\r\n"), body.to_owned())
}

/// The samples of a page, every line of which is one that OpenMetrics 1.0 allows here.
pub fn strictly(page: &str) -> Scrape {
    let body = page.strip_suffix("# EOF\n").expect("a page ends with # EOF");
    let (mut scrape, mut family, mut kind, mut families) = (Scrape::new(), "", "", BTreeSet::new());
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            match [words.next(), words.next(), words.next()] {
                [Some("HELP"), Some(name), Some(help)] => {
                    assert!(help.ends_with('.'), "{line}");
                    assert!(families.insert(name), "{name} comes twice");
                    family = name;
                }
                [Some("TYPE"), Some(name), Some(is)] if name == family => kind = is,
                [Some("UNIT"), Some(name), Some(unit)] if name == family => {
                    assert!(name.ends_with(&format!("_{unit}")), "{line}");
                }
                _ => panic!("no such line: {line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line}: not of {family}"));
        assert!(
            match kind {
                "counter" => suffix == "_total",
                "gauge" => suffix.is_empty(),
                "info" => suffix == "_info",
                "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                _ => false,
            },
            "{line}: a {kind}"
        );
        let labels = labels.strip_suffix('}').expect("a closing brace");
        let labels: BTreeMap<String, String> = labels
            .split_terminator("\",")
            .map(|label| {
                let (name, value) = label.split_once("=\"").expect("a label");
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            })
            .collect();
        let value = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
        assert!(scrape.insert((name.to_owned(), labels), value).is_none(), "{line} comes twice");
    }
    scrape
}

/// Fetches and parses with Python's `prometheus_client`; `None` where that is not installed.
pub fn by_library(url: &str) -> Option<Scrape> {
    const SCRIPT: &str = "
import json, sys, urllib.request
try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    sys.exit(77)
page = urllib.request.urlopen(sys.argv[1], timeout=10).read().decode()
json.dump([[s.name, s.labels, s.value] for f in text_string_to_metric_families(page) for s in f.samples], sys.stdout)
";
    for python in ["python3", "/usr/bin/python3"] {
        let run = Command::new(python).args(["-c", SCRIPT, url]).stderr(Stdio::inherit()).output();
        let Ok(output) = run.inspect_err(|e| println!("{python}: {e}")) else { continue };
        if output.status.code() == Some(77) {
            continue;
        }
        assert!(output.status.success(), "{python} cannot read the page");
        let samples: Vec<(String, BTreeMap<String, String>, Value)> =
            serde_json::from_slice(&output.stdout).expect("samples");
        let read = |(name, labels, value): (_, _, Value)| ((name, labels), value.as_f64().expect("a number"));
        return Some(samples.into_iter().map(read).collect());
    }
    println!("skipped: neither python3 has prometheus_client (Debian: python3-prometheus-client)");
    None
}

/// Sum of all series of a name.
pub fn sum(scrape: &Scrape, name: &str) -> f64 {
    let name = format!("farend_{name}");
    let values: Vec<f64> = scrape.iter().filter(|((n, _), _)| *n == name).map(|(_, v)| *v).collect();
    assert!(!values.is_empty(), "no {name}");
    values.iter().sum()
}

/// The conservation equations.
#[track_caller]
pub fn adds_up(scrape: &Scrape) {
    let equations = [
        ("packets_offered_total", &["packets_delivered_total", "packets_kernel_dropped_total"][..]),
        (
            "packets_delivered_total",
            &[
                "packets_decoded_total",
                "packets_fragments_held_total",
                "packets_malformed_total",
                "packets_ignored_total",
            ],
        ),
        ("packets_received_total", &["packets_tracked_total", "packets_untracked_total"]),
        ("packets_received_total", &["packets_decoded_total", "packets_inner_total"]),
        ("flows_opened_total", &["flows_closed_total", "flows_live"]),
        (
            "evidence_found_total",
            &["evidence_applied_total", "evidence_coalesced_total", "evidence_dropped_total"],
        ),
    ];
    for (whole, parts) in equations {
        let parts_sum: f64 = parts.iter().map(|part| sum(scrape, part)).sum();
        assert_eq!(sum(scrape, whole), parts_sum, "{whole} = {}", parts.join(" + "));
    }
}
