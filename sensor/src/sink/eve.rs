//! EVE: one JSON object a line in Suricata's shape, ours inside `farend`.
//!
//! Fields and types follow Suricata's documentation of EVE (userguide, "EVE JSON Format"); `tests/eve_schema.rs` holds the
//! JSON Schema that every record is checked against.

use std::io::{self, Write};
use std::net::IpAddr;

use base64::Engine;
use farend_analyzers::{Dns, Facts, Http, Side, Ssh, SshSide, Tls, label_info};
use serde::Serialize;
use serde_json::value::RawValue;
use sha1::{Digest, Sha1};

use super::iso8601;
use crate::clock::SECOND_NS;
use crate::decode::proto;
use crate::flow::tcp;
use crate::host::{Finding, HostRecord, Line, Weights};
use crate::intel::FarEnd;
use crate::pipeline::{Ended, Far, FlowId};

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
pub struct Eve<W: Write> {
    out: W,
    types: Types,
    files: Vec<String>,
    error: Option<io::Error>,
    /// Records written.
    pub records: u64,
}

impl<W: Write> Eve<W> {
    /// A writer; `files` are the names of the inputs.
    pub const fn new(out: W, types: Types, files: Vec<String>) -> Self {
        Self { out, types, files, error: None, records: 0 }
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
        match written {
            Ok(()) => self.records += 1,
            Err(e) => self.error = Some(e),
        }
    }

    fn filename(&self, input: u16) -> Option<&str> {
        self.files.get(usize::from(input)).map(String::as_str)
    }

    /// A flow that ended.
    pub fn flow(&mut self, ended: &Ended, far: &Far<'_>, alerted: bool) {
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
            pcap_filename: None,
            event_type: "flow",
            tuple: Tuple::of(flow),
            app_proto: Some(verdict.map(|v| v.app_proto).filter(|a| !a.is_empty()).unwrap_or("failed")),
            flow: Some(Flow {
                pkts_toserver: volume.packets[0],
                pkts_toclient: volume.packets[1],
                bytes_toserver: volume.bytes[0],
                bytes_toclient: volume.bytes[1],
                start: iso8601(start),
                end: iso8601(end),
                age: u64::try_from(end.saturating_sub(start) / SECOND_NS).unwrap_or(0),
                state: hot.state().as_str(),
                reason: ended.end.reason(),
                alerted,
            }),
            tcp: is_tcp.then(|| TcpRecord::of(flags)),
            tls: facts.and_then(|f| f.tls.as_deref()).map(TlsRecord::of),
            ssh: facts.and_then(|f| f.ssh.as_deref()).map(SshRecord::of),
            http: facts.and_then(|f| f.http.as_deref()).map(HttpRecord::of),
            dns: facts.and_then(|f| f.dns.as_deref()).map(DnsRecord::of),
            alert: None,
            farend: FlowPart::of(ended, far, self.files.len() > 1),
        };
        let record = Record { pcap_filename: self.filename(flow.birth.input), ..record };
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
            pcap_filename: self.filename(finding.flow.birth.input),
            event_type: "alert",
            tuple: Tuple::of(&finding.flow),
            app_proto: None,
            flow: None,
            tcp: None,
            tls: None,
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
struct Tuple {
    src_ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    dest_ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u16>,
    proto: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlan: Vec<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<String>,
}

impl Tuple {
    fn of(flow: &FlowId) -> Self {
        let ports = matches!(flow.proto, proto::TCP | proto::UDP | proto::SCTP);
        let icmp = matches!(flow.proto, proto::ICMP | proto::ICMPV6);
        Self {
            src_ip: flow.ip[0],
            src_port: ports.then_some(flow.port[0]),
            dest_ip: flow.ip[1],
            dest_port: ports.then_some(flow.port[1]),
            proto: proto_name(flow.proto),
            icmp_type: icmp.then_some(flow.birth.icmp[0]),
            icmp_code: icmp.then_some(flow.birth.icmp[1]),
            vlan: flow.birth.vlan.iter().copied().filter(|v| *v != 0).collect(),
            community_id: Some(community_id(flow)),
        }
    }
}

/// Suricata's name of an IP protocol.
#[must_use]
pub const fn proto_name(number: u8) -> &'static str {
    match number {
        proto::TCP => "TCP",
        proto::UDP => "UDP",
        proto::ICMP => "ICMP",
        proto::ICMPV6 => "IPv6-ICMP",
        proto::SCTP => "SCTP",
        proto::GRE => "GRE",
        proto::ESP => "ESP",
        _ => "AH",
    }
}

/// Community ID v1 with seed 0 (Corelight, "Community ID flow hashing" specification).
#[must_use]
pub fn community_id(flow: &FlowId) -> String {
    let mut ports = flow.port;
    let mut one_way = false;
    if matches!(flow.proto, proto::ICMP | proto::ICMPV6) {
        let [kind, code] = flow.birth.icmp;
        let answer = icmp_counterpart(flow.proto, kind);
        one_way = answer.is_none();
        ports = [u16::from(kind), answer.map_or(u16::from(code), u16::from)];
    }
    let ports_count =
        matches!(flow.proto, proto::TCP | proto::UDP | proto::SCTP | proto::ICMP | proto::ICMPV6);
    let [src, dst] = flow.ip;
    let in_order = one_way || (src, ports[0]) <= (dst, ports[1]);
    let (ips, ports) = if in_order { ([src, dst], ports) } else { ([dst, src], [ports[1], ports[0]]) };
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    for ip in ips {
        match ip {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
    }
    hash.update([flow.proto, 0]);
    if ports_count {
        hash.update(ports[0].to_be_bytes());
        hash.update(ports[1].to_be_bytes());
    }
    format!("1:{}", base64::engine::general_purpose::STANDARD.encode(hash.finalize()))
}

/// The ICMP type that answers `kind` (Community ID specification); `None` = a message without an answer.
const fn icmp_counterpart(protocol: u8, kind: u8) -> Option<u8> {
    Some(match (protocol, kind) {
        (proto::ICMP, 8) => 0,
        (proto::ICMP, 0) => 8,
        (proto::ICMP, 13) => 14,
        (proto::ICMP, 14) => 13,
        (proto::ICMP, 15) => 16,
        (proto::ICMP, 16) => 15,
        (proto::ICMP, 17) => 18,
        (proto::ICMP, 18) => 17,
        (proto::ICMP, 9) => 10,
        (proto::ICMP, 10) => 9,
        (proto::ICMPV6, 128) => 129,
        (proto::ICMPV6, 129) => 128,
        (proto::ICMPV6, 130) => 131,
        (proto::ICMPV6, 131) => 130,
        (proto::ICMPV6, 133) => 134,
        (proto::ICMPV6, 134) => 133,
        (proto::ICMPV6, 135) => 136,
        (proto::ICMPV6, 136) => 135,
        (proto::ICMPV6, 139) => 140,
        (proto::ICMPV6, 140) => 139,
        (proto::ICMPV6, 144) => 145,
        (proto::ICMPV6, 145) => 144,
        _ => return None,
    })
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
    reason: &'static str,
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
struct TlsRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuerdn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notbefore: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notafter: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    client_alpns: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    server_alpns: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subjectaltname: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja3: Option<Print<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja3s: Option<Print<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4: Option<&'a str>,
}

#[derive(Serialize)]
struct Print<'a> {
    hash: &'a str,
    string: &'a str,
}

impl<'a> TlsRecord<'a> {
    fn of(tls: &'a Tls) -> Self {
        let date = |s: Option<i64>| {
            s.and_then(|s| s.checked_mul(SECOND_NS))
                .map(|ns| iso8601(ns).chars().take(19).collect::<String>())
        };
        Self {
            sni: tls.sni.as_deref(),
            version: match tls.version {
                0x0300 => "SSLv3",
                0x0301 => "TLS 1.0",
                0x0302 => "TLS 1.1",
                0x0303 => "TLS 1.2",
                0x0304 => "TLS 1.3",
                0xfeff => "DTLS 1.0",
                0xfefd => "DTLS 1.2",
                0xfefc => "DTLS 1.3",
                _ => "UNDETERMINED",
            },
            subject: tls.subject.as_deref(),
            issuerdn: tls.issuer.as_deref(),
            serial: tls.serial.as_deref(),
            fingerprint: tls.fingerprint.as_deref(),
            notbefore: date(tls.not_before),
            notafter: date(tls.not_after),
            client_alpns: tls.alpn_offered.iter().map(|a| &**a).collect(),
            server_alpns: tls.alpn.iter().map(|a| &**a).collect(),
            subjectaltname: tls.sans.iter().map(|a| &**a).collect(),
            ja3: tls.ja3.as_ref().map(|j| Print { hash: &j.hash, string: &j.string }),
            ja3s: tls.ja3s.as_ref().map(|j| Print { hash: &j.hash, string: &j.string }),
            ja4: tls.ja4.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct SshRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<SshSideRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<SshSideRecord<'a>>,
}

#[derive(Serialize)]
struct SshSideRecord<'a> {
    proto_version: &'a str,
    software_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hassh: Option<Print<'a>>,
}

impl<'a> SshRecord<'a> {
    fn of(ssh: &'a Ssh) -> Self {
        let side = |s: &'a SshSide| SshSideRecord {
            proto_version: &s.proto_version,
            software_version: &s.software_version,
            hassh: s.hassh.as_ref().map(|h| Print { hash: &h.hash, string: &h.string }),
        };
        Self { client: ssh.client.as_ref().map(side), server: ssh.server.as_ref().map(side) }
    }
}

#[derive(Serialize)]
struct HttpRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
}

impl<'a> HttpRecord<'a> {
    fn of(http: &'a Http) -> Self {
        Self {
            hostname: http.hostname.as_deref(),
            http_port: http.port,
            url: http.url.as_deref(),
            http_user_agent: http.user_agent.as_deref(),
            http_content_type: http.content_type.as_deref(),
            http_method: http.method.as_deref(),
            protocol: http.protocol.as_deref(),
            status: http.status,
            server: http.server.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct DnsRecord<'a> {
    version: u8,
    id: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    rcode: Option<String>,
    queries: Vec<DnsQueryRecord<'a>>,
    answers: Vec<DnsAnswerRecord<'a>>,
}

#[derive(Serialize)]
struct DnsQueryRecord<'a> {
    rrname: &'a str,
    rrtype: String,
}

#[derive(Serialize)]
struct DnsAnswerRecord<'a> {
    rrname: &'a str,
    rrtype: String,
    ttl: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rdata: Option<String>,
}

impl<'a> DnsRecord<'a> {
    fn of(dns: &'a Dns) -> Self {
        Self {
            version: 3,
            id: dns.id,
            rcode: dns.rcode.map(rcode_name),
            queries: dns
                .queries
                .iter()
                .map(|q| DnsQueryRecord { rrname: &q.rrname, rrtype: rrtype_name(q.rrtype) })
                .collect(),
            answers: dns
                .answers
                .iter()
                .map(|a| DnsAnswerRecord {
                    rrname: &a.rrname,
                    rrtype: rrtype_name(a.rrtype),
                    ttl: a.ttl,
                    rdata: a.addr.map(|a| a.to_string()).or_else(|| a.rdata.as_deref().map(str::to_owned)),
                })
                .collect(),
        }
    }
}

/// Mnemonic of a type (IANA "DNS Parameters").
fn rrtype_name(number: u16) -> String {
    let name = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        41 => "OPT",
        43 => "DS",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        other => return format!("TYPE{other}"),
    };
    name.to_owned()
}

fn rcode_name(number: u8) -> String {
    let name = match number {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        other => return format!("RCODE{other}"),
    };
    name.to_owned()
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

#[derive(Serialize)]
struct FarEndRecord<'a> {
    ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    asn: Option<u32>,
    as_org: Option<&'a str>,
    country: Option<&'a str>,
    class: &'static str,
    class_basis: &'a str,
    reached: &'static str,
}

impl<'a> FarEndRecord<'a> {
    fn of(ip: IpAddr, port: Option<u16>, name: Option<&'a str>, end: &'a FarEnd) -> Self {
        Self {
            ip,
            port,
            name,
            asn: end.asn,
            as_org: end.as_org.as_deref(),
            country: end.country.as_ref().and_then(|c| std::str::from_utf8(c).ok()),
            class: end.class.as_str(),
            class_basis: &end.class_basis,
            reached: "direct",
        }
    }
}

#[derive(Serialize)]
struct EvidenceLine<'a> {
    kind: &'a str,
    decibans: i32,
    packet: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<u16>,
    detail: &'a str,
}

impl<'a> EvidenceLine<'a> {
    fn of(line: &'a Line, several: bool) -> Self {
        Self {
            kind: line.kind,
            decibans: line.decibans,
            packet: line.packet,
            file: several.then_some(line.input),
            detail: &line.detail,
        }
    }
}

#[derive(Serialize)]
struct FlowPart<'a> {
    label: Option<&'static str>,
    labels: Vec<&'static str>,
    tool: Option<&'static str>,
    category: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    controlled: Option<&'static str>,
    opener_basis: &'static str,
    encapsulation: Vec<&'static str>,
    far_end: FarEndRecord<'a>,
    evidence: Vec<EvidenceLine<'a>>,
}

impl<'a> FlowPart<'a> {
    fn of(ended: &'a Ended, far: &'a Far<'a>, several: bool) -> Self {
        let flow = &ended.flow;
        let verdict = ended.verdict.as_deref();
        let label = verdict.and_then(|v| v.labels.label);
        let ports = matches!(flow.proto, proto::TCP | proto::UDP | proto::SCTP);
        Self {
            label,
            labels: verdict.map(|v| v.labels.iter().collect()).unwrap_or_default(),
            tool: verdict.and_then(|v| v.tool),
            category: label.and_then(label_info).map(|l| l.category.as_str()),
            basis: label.and(verdict).map(|v| v.basis.as_str()),
            confidence: label.and(verdict).map(|v| probability(v.confidence())),
            controlled: label.and(verdict).and_then(|v| v.controlled).map(|side| match side {
                Side::Src => "src",
                Side::Dest => "dest",
            }),
            opener_basis: flow.basis.as_str(),
            encapsulation: flow.birth.encap.iter().map(|l| l.as_str()).collect(),
            far_end: FarEndRecord::of(
                flow.ip[far.side],
                ports.then_some(flow.port[far.side]),
                far.name,
                &far.end,
            ),
            evidence: verdict
                .map(|v| {
                    v.evidence
                        .iter()
                        .map(|e| EvidenceLine {
                            kind: e.kind.name,
                            decibans: i32::from(e.kind.decibans),
                            packet: e.packet,
                            file: several.then_some(flow.birth.input),
                            detail: &e.detail,
                        })
                        .collect()
                })
                .unwrap_or_default(),
        }
    }
}

#[derive(Serialize)]
struct AlertPart<'a> {
    finding_id: String,
    finding: &'static str,
    host: IpAddr,
    far_end: FarEndRecord<'a>,
    label: Option<&'static str>,
    tool: Option<&'static str>,
    score_decibans: i32,
    posterior: f64,
    severity: &'static str,
    first_seen: String,
    last_seen: String,
    summary: String,
    prior_decibans: i32,
    evidence: Vec<EvidenceLine<'a>>,
}

impl<'a> AlertPart<'a> {
    fn of(f: &'a Finding, weights: &Weights, several: bool) -> Self {
        Self {
            finding_id: f.id(),
            finding: f.kind.as_str(),
            host: f.host,
            far_end: FarEndRecord::of(f.peer, Some(f.peer_port), None, &f.far_end),
            label: f.label,
            tool: f.tool,
            score_decibans: f.score(weights),
            posterior: probability(f.posterior(weights)),
            severity: f.severity().as_str(),
            first_seen: iso8601(f.seen_ns[0]),
            last_seen: iso8601(f.seen_ns[1]),
            summary: f.summary(),
            prior_decibans: f.prior,
            evidence: f.lines.iter().map(|l| EvidenceLine::of(l, several)).collect(),
        }
    }
}

#[derive(Serialize)]
struct HostLine<'a> {
    timestamp: String,
    event_type: &'static str,
    farend: HostPart<'a>,
}

#[derive(Serialize)]
struct HostPart<'a> {
    host: IpAddr,
    score_decibans: i32,
    posterior: f64,
    egress: Vec<Egress>,
    sessions: u64,
    tools: Vec<&'static str>,
    active_hours: &'a [u8],
    ledger: Vec<Account<'a>>,
}

#[derive(Serialize)]
struct Egress {
    label: &'static str,
    peer: IpAddr,
    bytes: u64,
    share: Option<f64>,
}

#[derive(Serialize)]
struct Account<'a> {
    finding: &'static str,
    finding_id: String,
    peer: IpAddr,
    raised: bool,
    prior_decibans: i32,
    score_decibans: i32,
    evidence: Vec<EvidenceLine<'a>>,
}

/// Facts are only read here; this keeps the compiler honest about new ones.
const _: fn(&Facts) = |Facts { tls: _, ssh: _, http: _, dns: _, .. }| {};
