//! Handshake metadata in Suricata's fields: `tls`, `quic`, `ssh`, `http`, `dns`.

use farend_analyzers::{Dns, Http, Quic, Ssh, SshSide, Tls};
use serde::Serialize;

use crate::clock::SECOND_NS;
use crate::sink::iso8601;

#[derive(Serialize)]
pub(super) struct TlsRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sni: Option<&'a str>,
    pub(super) version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuerdn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) serial: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) notbefore: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) notafter: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) client_alpns: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) server_alpns: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) subjectaltname: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ja3: Option<Print<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ja3s: Option<Print<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ja4: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Print<'a> {
    pub(super) hash: &'a str,
    pub(super) string: &'a str,
}

impl<'a> TlsRecord<'a> {
    pub(super) fn of(tls: &'a Tls) -> Self {
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
pub(super) struct SshRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<SshSideRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<SshSideRecord<'a>>,
}

#[derive(Serialize)]
pub(super) struct SshSideRecord<'a> {
    pub(super) proto_version: &'a str,
    pub(super) software_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hassh: Option<Print<'a>>,
}

impl<'a> SshRecord<'a> {
    pub(super) fn of(ssh: &'a Ssh) -> Self {
        let side = |s: &'a SshSide| SshSideRecord {
            proto_version: &s.proto_version,
            software_version: &s.software_version,
            hassh: s.hassh.as_ref().map(|h| Print { hash: &h.hash, string: &h.string }),
        };
        Self { client: ssh.client.as_ref().map(side), server: ssh.server.as_ref().map(side) }
    }
}

#[derive(Serialize)]
pub(super) struct HttpRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<&'a str>,
}

impl<'a> HttpRecord<'a> {
    pub(super) fn of(http: &'a Http) -> Self {
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
pub(super) struct DnsRecord<'a> {
    pub(super) version: u8,
    pub(super) id: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rcode: Option<String>,
    pub(super) queries: Vec<DnsQueryRecord<'a>>,
    pub(super) answers: Vec<DnsAnswerRecord<'a>>,
}

#[derive(Serialize)]
pub(super) struct DnsQueryRecord<'a> {
    pub(super) rrname: &'a str,
    pub(super) rrtype: String,
}

#[derive(Serialize)]
pub(super) struct DnsAnswerRecord<'a> {
    pub(super) rrname: &'a str,
    pub(super) rrtype: String,
    pub(super) ttl: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rdata: Option<String>,
}

impl<'a> DnsRecord<'a> {
    pub(super) fn of(dns: &'a Dns) -> Self {
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
pub(super) struct QuicRecord<'a> {
    pub(super) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sni: Option<&'a str>,
}

impl<'a> QuicRecord<'a> {
    pub(super) fn of(quic: &'a Quic) -> Self {
        let version = match quic.version {
            1 => "1".to_owned(),
            0x6b33_43cf => "2".to_owned(),
            draft @ 0xff00_0000..=0xff00_00ff => format!("draft-{}", draft & 0xff),
            other => format!("{other:#010x}"),
        };
        Self { version, sni: quic.sni.as_deref() }
    }
}
