//! Metadata that analyzers read off handshakes, for records and for the catalogue. Names are Suricata's where it has one.

use std::net::{IpAddr, SocketAddr};

/// Everything learned of one flow; boxed because most flows have at most one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// TLS, also inside another protocol.
    pub tls: Option<Box<Tls>>,
    /// SSH.
    pub ssh: Option<Box<Ssh>>,
    /// HTTP/1: the first request and its answer.
    pub http: Option<Box<Http>>,
    /// DNS: the first transactions of the flow.
    pub dns: Option<Box<Dns>>,
    /// QUIC; what its ClientHello tells is in [`Facts::tls`] too.
    pub quic: Option<Box<Quic>>,
    /// STUN and TURN.
    pub stun: Option<Box<Stun>>,
}

impl Facts {
    /// Takes over what is not known yet.
    pub fn fill_from(&mut self, other: &Self) {
        fn fill<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>) {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
        fill(&mut self.tls, &other.tls);
        fill(&mut self.ssh, &other.ssh);
        fill(&mut self.http, &other.http);
        fill(&mut self.dns, &other.dns);
        fill(&mut self.quic, &other.quic);
        fill(&mut self.stun, &other.stun);
    }
}

/// TLS handshake (RFC 8446, RFC 5246).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Server name asked for, lower case.
    pub sni: Option<Box<str>>,
    /// Protocols the client offers.
    pub alpn_offered: Vec<Box<str>>,
    /// Protocol the server chose (TLS 1.2 and older; encrypted in 1.3).
    pub alpn: Option<Box<str>>,
    /// Version that was agreed, or the highest offered while no answer was seen: 0x0304 is TLS 1.3; 0xfeff, 0xfefd, 0xfefc are DTLS.
    pub version: u16,
    /// Cipher suite that the server chose.
    pub cipher: Option<u16>,
    /// Subject of the server's certificate, RFC 4514-like, as Suricata prints it (`C=US, O=…, CN=…`).
    pub subject: Option<Box<str>>,
    /// Issuer of the server's certificate.
    pub issuer: Option<Box<str>>,
    /// DNS names in the certificate, at most 16.
    pub sans: Vec<Box<str>>,
    /// SHA-1 or SHA-256 of the certificate as lower-case hex with colons, where computed.
    pub fingerprint: Option<Box<str>>,
    /// Serial number of the certificate, hex with colons.
    pub serial: Option<Box<str>>,
    /// Validity, seconds since the epoch.
    pub not_before: Option<i64>,
    /// End of validity, seconds since the epoch.
    pub not_after: Option<i64>,
    /// JA3 of the ClientHello.
    pub ja3: Option<Ja3>,
    /// JA3S of the ServerHello.
    pub ja3s: Option<Ja3>,
    /// JA4 of the ClientHello.
    pub ja4: Option<Box<str>>,
    /// The ClientHello offered an encrypted ClientHello (ECH).
    pub ech: bool,
}

/// QUIC's opening (RFC 9000, RFC 9001).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quic {
    /// Version number of the first packet read: 1, 0x6b3343cf (version 2), 0xff00001d (draft 29)…
    pub version: u32,
    /// Server name asked for, lower case.
    pub sni: Option<Box<str>>,
}

/// STUN (RFC 8489) and TURN (RFC 8656).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stun {
    /// SOFTWARE of the first message that has it, at most 128 characters.
    pub software: Option<Box<str>>,
    /// REALM of a TURN server, at most 128 characters.
    pub realm: Option<Box<str>>,
    /// The client's address as the server sees it.
    pub mapped: Option<SocketAddr>,
    /// The address that a TURN server lends to the client.
    pub relayed: Option<SocketAddr>,
    /// Addresses behind a TURN server that the client asked to talk to, at most 8, in the order seen: candidates.
    pub peers: Vec<SocketAddr>,
    /// The one of them that it does talk to: the latest with a channel of its own (RFC 8656 section 12), else the first that data
    /// was sent to or came from (section 11).
    pub peer: Option<SocketAddr>,
}

/// A JA3-style fingerprint: the string and its MD5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ja3 {
    /// MD5 of `string`, 32 hex digits.
    pub hash: Box<str>,
    /// The fields before hashing.
    pub string: Box<str>,
}

/// SSH transport set-up (RFC 4253).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ssh {
    /// The client.
    pub client: Option<SshSide>,
    /// The server.
    pub server: Option<SshSide>,
}

/// One side of an SSH connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshSide {
    /// `2.0`, `1.99`.
    pub proto_version: Box<str>,
    /// `OpenSSH_9.2p1`, with comments behind a space.
    pub software_version: Box<str>,
    /// HASSH, HASSH server.
    pub hassh: Option<Hassh>,
}

/// HASSH (Salesforce 2018): the string and its MD5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hassh {
    /// MD5 of `string`, 32 hex digits.
    pub hash: Box<str>,
    /// Key exchange, encryption, MAC and compression algorithms, `;` between the lists.
    pub string: Box<str>,
}

/// HTTP/1 (RFC 9112): the flow's first request and answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// `Host` header, lower case, without port.
    pub hostname: Option<Box<str>>,
    /// Port in the `Host` header.
    pub port: Option<u16>,
    /// Request target as sent, at most 1,024 bytes.
    pub url: Option<Box<str>>,
    /// `User-Agent`.
    pub user_agent: Option<Box<str>>,
    /// `GET`, `POST`, `CONNECT`…
    pub method: Option<Box<str>>,
    /// `HTTP/1.1`.
    pub protocol: Option<Box<str>>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// `Content-Type` of the answer.
    pub content_type: Option<Box<str>>,
    /// `Server` of the answer.
    pub server: Option<Box<str>>,
    /// Value of `Upgrade` in the answer (`websocket`).
    pub upgrade: Option<Box<str>>,
    /// Requests seen within the budget.
    pub requests: u32,
}

/// DNS (RFC 1035): the first queries and answers of the flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Identifier of the first message.
    pub id: u16,
    /// Questions, at most 8.
    pub queries: Vec<DnsQuery>,
    /// Answers, at most 16.
    pub answers: Vec<DnsAnswer>,
    /// Response code of the last answer: 0 NOERROR, 3 NXDOMAIN…
    pub rcode: Option<u8>,
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsQuery {
    /// Name, lower case, without the last dot.
    pub rrname: Box<str>,
    /// Type number: 1 A, 28 AAAA, 16 TXT…
    pub rrtype: u16,
}

/// A resource record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsAnswer {
    /// Owner name.
    pub rrname: Box<str>,
    /// Type number.
    pub rrtype: u16,
    /// Seconds it may be kept.
    pub ttl: u32,
    /// Address of an A or AAAA record.
    pub addr: Option<IpAddr>,
    /// Name of a CNAME, PTR, NS or MX record, or text of a TXT record, at most 255 bytes.
    pub rdata: Option<Box<str>>,
}
