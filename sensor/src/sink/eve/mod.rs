//! EVE: one JSON object a line in Suricata's shape, ours inside `farend`.
//!
//! Fields and types follow Suricata's documentation of EVE (userguide, "EVE JSON Format"); `tests/eve_schema.rs` holds the
//! JSON Schema that every record is checked against.

mod ours;
mod protocol;
mod tuple;

use std::io;

use farend_analyzers::label_info;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Records, iso8601};
use crate::clock::SECOND_NS;
use crate::decode::proto;
use crate::flow::tcp;
use crate::host::{Finding, HostRecord, Weights};
use crate::pipeline::{Ended, Far};
use ours::{Account, AlertPart, Capped, Egress, EvidenceLine, FlowPart, HostLine, HostPart};
use protocol::{DnsRecord, HttpRecord, QuicRecord, SshRecord, TlsRecord};
use tuple::Tuple;
pub use tuple::{community_id, proto_name};

/// Which records are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Types {
    /// `flow`.
    pub flow: bool,
    /// `alert`.
    pub alert: bool,
    /// `host`.
    pub host: bool,
    /// `stats`.
    pub stats: bool,
}

impl Default for Types {
    fn default() -> Self {
        Self { flow: true, alert: true, host: true, stats: true }
    }
}

impl std::str::FromStr for Types {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut types = Self { flow: false, alert: false, host: false, stats: false };
        for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            match name {
                "flow" => types.flow = true,
                "alert" => types.alert = true,
                "host" => types.host = true,
                "stats" => types.stats = true,
                other => return Err(format!("'{other}' is no record type (have: flow, alert, host, stats)")),
            }
        }
        Ok(types)
    }
}

/// Writes EVE records; keeps the first error, after which it takes no more.
pub struct Eve<W: Records> {
    out: W,
    types: Types,
    files: Vec<String>,
    live: bool,
    error: Option<io::Error>,
    /// Records written.
    pub records: u64,
}

impl<W: Records> Eve<W> {
    /// A writer; `files` are the names of the inputs.
    pub const fn new(out: W, types: Types, files: Vec<String>) -> Self {
        Self { out, types, files, live: false, error: None, records: 0 }
    }

    /// The inputs are interfaces, not files.
    #[must_use]
    pub fn of_interfaces(self) -> Self {
        Self { live: true, ..self }
    }

    /// Hands what has been written to the system, so that a reader who follows sees it. A file that is due by time is finished,
    /// whether or not records come.
    pub fn flush(&mut self) {
        if self.error.is_none()
            && let Err(e) = self.out.boundary().and_then(|()| self.out.flush())
        {
            self.error = Some(e);
        }
    }

    /// The file may have been moved away: goes on under its name. Nothing that was written is lost.
    ///
    /// # Errors
    /// What keeps the file from being opened anew; records go on to where they went. Not being able to write ends it.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.flush();
        if self.failed() { Ok(()) } else { self.out.reopen() }
    }

    /// The types that are wanted.
    pub const fn types(&self) -> Types {
        self.types
    }

    /// Whether an error has ended it.
    pub const fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// Flushes; the first error, if there was one.
    ///
    /// # Errors
    /// What the writer said first.
    pub fn finish(&mut self) -> io::Result<()> {
        match self.error.take() {
            Some(e) => Err(e),
            None => self.out.flush(),
        }
    }

    fn write(&mut self, record: &impl Serialize) {
        if self.error.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut self.out, record)
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        let done = written.and_then(|()| {
            self.records += 1;
            self.out.boundary()
        });
        if let Err(e) = done {
            self.error = Some(e);
        }
    }

    /// Interface and file of an input: one of them.
    fn input(&self, input: u16) -> [Option<&str>; 2] {
        let name = self.files.get(usize::from(input)).map(String::as_str);
        if self.live { [name, None] } else { [None, name] }
    }

    /// A flow that ended.
    pub fn flow(&mut self, ended: &Ended, far: &Far<'_>, alerted: bool) {
        self.flow_record("flow", Some(ended.end.reason()), ended, far, alerted);
    }

    /// A flow that goes on: the same with what it came to so far.
    pub fn lasting(&mut self, so_far: &Ended, far: &Far<'_>, alerted: bool) {
        self.flow_record("farend_flow", None, so_far, far, alerted);
    }

    fn flow_record(
        &mut self,
        event_type: &'static str,
        reason: Option<&'static str>,
        ended: &Ended,
        far: &Far<'_>,
        alerted: bool,
    ) {
        if !self.types.flow {
            return;
        }
        let volume = ended.volume();
        let (flow, hot) = (&ended.flow, &ended.hot);
        let (start, end) = (flow.birth.first_ns, hot.last_ns.max(flow.birth.first_ns));
        let verdict = ended.verdict.as_deref();
        let facts = verdict.map(|v| &v.facts);
        let flags = ended.tcp_flags();
        let is_tcp = flow.proto == proto::TCP;
        let record = Record {
            timestamp: iso8601(end),
            flow_id: flow.id,
            in_iface: None,
            pcap_filename: None,
            event_type,
            tuple: Tuple::of(flow),
            app_proto: Some(app_proto(verdict.map_or("", |v| v.app_proto))),
            flow: Some(Flow {
                pkts_toserver: volume.packets[0],
                pkts_toclient: volume.packets[1],
                bytes_toserver: volume.bytes[0],
                bytes_toclient: volume.bytes[1],
                start: iso8601(start),
                end: iso8601(end),
                age: u64::try_from(end.saturating_sub(start) / SECOND_NS).unwrap_or(0),
                state: hot.state().as_str(),
                reason,
                alerted,
            }),
            tcp: is_tcp.then(|| TcpRecord::of(flags)),
            tls: facts.and_then(|f| f.tls.as_deref()).map(TlsRecord::of),
            quic: facts.and_then(|f| f.quic.as_deref()).map(QuicRecord::of),
            ssh: facts.and_then(|f| f.ssh.as_deref()).map(SshRecord::of),
            http: facts.and_then(|f| f.http.as_deref()).map(HttpRecord::of),
            dns: facts.and_then(|f| f.dns.as_deref()).map(DnsRecord::of),
            alert: None,
            farend: FlowPart::of(ended, far, self.files.len() > 1),
        };
        let [in_iface, pcap_filename] = self.input(flow.birth.input);
        let record = Record { in_iface, pcap_filename, ..record };
        // The borrow of `files` must end before writing.
        let line = serde_json::value::to_raw_value(&record);
        self.write_raw(line);
    }

    fn write_raw(&mut self, line: serde_json::Result<Box<RawValue>>) {
        match line {
            Ok(line) => self.write(&line),
            Err(e) => self.error = self.error.take().or_else(|| Some(io::Error::from(e))),
        }
    }

    /// A finding.
    pub fn alert(&mut self, finding: &Finding, weights: &Weights, ts_ns: i64) {
        if !self.types.alert {
            return;
        }
        let technique = finding.label.and_then(label_info).map(|l| l.attack).filter(|a| !a.is_empty());
        let mut metadata = serde_json::Map::new();
        if let Some(technique) = technique {
            metadata.insert("mitre_technique_id".into(), serde_json::json!([technique]));
        }
        metadata.insert("farend_finding".into(), serde_json::json!([finding.kind.as_str()]));
        let record = Record {
            timestamp: iso8601(ts_ns),
            flow_id: finding.flow.id,
            in_iface: self.input(finding.flow.birth.input)[0],
            pcap_filename: self.input(finding.flow.birth.input)[1],
            event_type: "alert",
            tuple: Tuple::of(&finding.flow),
            app_proto: None,
            flow: None,
            tcp: None,
            tls: None,
            quic: None,
            ssh: None,
            http: None,
            dns: None,
            alert: Some(Alert {
                action: "allowed",
                gid: 1,
                signature_id: finding.kind.signature_id(),
                rev: 1,
                signature: finding.summary(),
                category: finding.kind.category(),
                severity: finding.severity().number(),
                metadata,
            }),
            farend: AlertPart::of(finding, weights, self.files.len() > 1),
        };
        let line = serde_json::value::to_raw_value(&record);
        self.write_raw(line);
    }

    /// A host at the end.
    pub fn host(&mut self, record: &HostRecord, weights: &Weights, ts_ns: i64) {
        if !self.types.host {
            return;
        }
        let several = self.files.len() > 1;
        self.write(&HostLine {
            timestamp: iso8601(ts_ns),
            event_type: "host",
            farend: HostPart {
                host: record.host,
                score_decibans: record.score,
                posterior: probability(farend_analyzers::decibans::per_mille(record.score)),
                egress: record
                    .egress
                    .iter()
                    .map(|(label, peer, bytes)| Egress {
                        label,
                        peer: *peer,
                        bytes: *bytes,
                        share: share(*bytes, record.bytes),
                    })
                    .collect(),
                sessions: record.sessions,
                tools: record.tools.iter().map(|(t, _)| *t).collect(),
                active_hours: &record.active_hours,
                ledger: record
                    .findings
                    .iter()
                    .map(|f| Account {
                        finding: f.kind.as_str(),
                        finding_id: f.id(),
                        peer: f.peer,
                        raised: f.raised,
                        prior_decibans: f.prior,
                        score_decibans: f.score(weights),
                        evidence: f.lines.iter().map(|l| EvidenceLine::of(l, several)).collect(),
                        capped: Capped::of(f, weights),
                    })
                    .collect(),
            },
        });
    }

    /// The statistics record.
    pub fn stats(&mut self, ts_ns: i64, stats: &serde_json::Value, ours: &serde_json::Value) {
        if !self.types.stats {
            return;
        }
        self.write(&serde_json::json!({
            "timestamp": iso8601(ts_ns),
            "event_type": "stats",
            "stats": stats,
            "farend": ours,
        }));
    }
}

/// Application protocols that Suricata 8 has a name for, of those that analyzers here know.
const KNOWN_TO_SURICATA: [&str; 14] = [
    "dhcp",
    "dns",
    "http",
    "http2",
    "ike",
    "mqtt",
    "quic",
    "rdp",
    "rfb",
    "smb",
    "ssh",
    "telnet",
    "tls",
    "websocket",
];

/// Suricata's `app_proto`: `failed` where Suricata has no name.
fn app_proto(name: &'static str) -> &'static str {
    if KNOWN_TO_SURICATA.contains(&name) { name } else { "failed" }
}

/// A probability in thousandths, written with three decimals at most.
fn probability(per_mille: u16) -> f64 {
    f64::from(per_mille) / 1000.0
}

/// A share with three decimals at most, from integers: `null` where nothing was counted.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| {
        let thousandths = (u128::from(part.min(whole)) * 1000 / u128::from(whole)) as u16;
        f64::from(thousandths) / 1000.0
    })
}

#[derive(Serialize)]
struct Record<'a, F: Serialize> {
    timestamp: String,
    flow_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pcap_filename: Option<&'a str>,
    event_type: &'static str,
    #[serde(flatten)]
    tuple: Tuple,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<Flow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quic: Option<QuicRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh: Option<SshRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<DnsRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Alert>,
    farend: F,
}

#[derive(Serialize)]
struct Flow {
    pkts_toserver: u64,
    pkts_toclient: u64,
    bytes_toserver: u64,
    bytes_toclient: u64,
    start: String,
    end: String,
    age: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    alerted: bool,
}

#[derive(Serialize)]
struct TcpRecord {
    tcp_flags: String,
    tcp_flags_ts: String,
    tcp_flags_tc: String,
    syn: bool,
    fin: bool,
    rst: bool,
    psh: bool,
    ack: bool,
}

impl TcpRecord {
    fn of([to_server, to_client]: [u8; 2]) -> Self {
        let all = to_server | to_client;
        let has = |bit: u8| all & bit != 0;
        Self {
            tcp_flags: format!("{all:02x}"),
            tcp_flags_ts: format!("{to_server:02x}"),
            tcp_flags_tc: format!("{to_client:02x}"),
            syn: has(tcp::SYN),
            fin: has(tcp::FIN),
            rst: has(tcp::RST),
            psh: has(tcp::PSH),
            ack: has(tcp::ACK),
        }
    }
}

#[derive(Serialize)]
struct Alert {
    action: &'static str,
    gid: u32,
    signature_id: u32,
    rev: u32,
    signature: String,
    category: &'static str,
    severity: u8,
    metadata: serde_json::Map<String, serde_json::Value>,
}
