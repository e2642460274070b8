//! Truth files beside captures (format: `pcaps/record/README.md`).

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::payloads::recognised;
use toml::{Table, Value};

/// What is true of a capture.
#[derive(Clone, Debug)]
pub struct Truth {
    pub capture: PathBuf,
    pub flows: Vec<Flow>,
    pub findings: Vec<Expected>,
}

/// A flow as it was.
#[derive(Clone, Debug)]
pub struct Flow {
    pub proto: String,
    /// The opener.
    pub client: SocketAddr,
    pub server: SocketAddr,
    pub label: Option<String>,
    /// `client` or `server`.
    pub controlled: Option<String>,
    pub packets: u64,
}

impl Flow {
    /// The operated side as records name it, `src` being who opened the flow as the record has it.
    pub fn controlled_side(&self, src: SocketAddr) -> Option<&'static str> {
        let server = self.controlled.as_deref()? == "server";
        Some(if server == (src == self.client) { "dest" } else { "src" })
    }
}

/// A finding that has to come out, or must not.
#[derive(Clone, Debug)]
pub struct Expected {
    pub finding: String,
    /// `None` = any.
    pub host: Option<IpAddr>,
    pub far_end: Option<IpAddr>,
    pub must: bool,
}

/// How a label compares with the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    Right,
    /// No analyzer of this build can know it: nothing was said, or the protocol underneath was named.
    NotCovered,
    /// An analyzer of this build could have known it, and nothing was said.
    Missed,
    Wrong,
}

/// Compares a record's label with the true one.
pub fn compare(expected: Option<&str>, got: Option<&str>) -> Match {
    match (expected, got) {
        (e, g) if e == g => Match::Right,
        (Some(e), None) => {
            if recognised(e) {
                Match::Missed
            } else {
                Match::NotCovered
            }
        }
        // ssh_tunnel by its handshake is ssh.
        (Some(e), Some(g)) if !recognised(e) && e.starts_with(&format!("{g}_")) => Match::NotCovered,
        _ => Match::Wrong,
    }
}

/// The truths of all captures that have one.
pub fn all() -> Vec<Truth> {
    super::corpus::pcaps()
        .into_iter()
        .filter_map(|capture| {
            let path = capture.with_extension("truth.toml");
            path.is_file().then(|| read(&path, capture))
        })
        .collect()
}

fn read(path: &Path, capture: PathBuf) -> Truth {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let table: Table = text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let rows = |name: &str| -> Vec<Table> {
        let rows = table.get(name).and_then(Value::as_array).into_iter().flatten();
        rows.filter_map(|r| r.as_table().cloned()).collect()
    };
    let flows = rows("flow").iter().map(flow).collect();
    let findings = rows("finding")
        .iter()
        .map(|r| Expected {
            finding: word(r, "finding").expect("a finding has a name"),
            host: address(r, "host"),
            far_end: address(r, "far_end"),
            must: r.get("must").and_then(Value::as_bool).unwrap_or(true),
        })
        .collect();
    Truth { capture, flows, findings }
}

fn flow(r: &Table) -> Flow {
    let end = |name: &str| {
        let text = word(r, name).unwrap_or_else(|| panic!("a flow has a {name}: {r}"));
        text.parse().unwrap_or_else(|_| {
            let ip = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            SocketAddr::new(ip, 0)
        })
    };
    Flow {
        proto: word(r, "proto").expect("a flow has a protocol"),
        client: end("client"),
        server: end("server"),
        label: word(r, "label"),
        controlled: word(r, "controlled"),
        packets: r.get("packets").and_then(Value::as_integer).unwrap_or(0) as u64,
    }
}

fn word(r: &Table, name: &str) -> Option<String> {
    r.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn address(r: &Table, name: &str) -> Option<IpAddr> {
    let text = word(r, name).filter(|t| t != "*")?;
    Some(text.parse().unwrap_or_else(|e| panic!("{text}: {e}")))
}
