//! Remote Desktop Gateway: RDP inside HTTP ([MS-TSGU]), as its HTTP transport and as RPC over HTTP version 2 ([MS-RPCH]).
//!
//! In: a byte stream in clear: behind a proxy that ended TLS, decrypted, or the inside of a WebSocket. Out: the label `rdp_gateway` for
//! a request that only a gateway is asked, or the gateway's own handshake, until either is refused.
//!
//! Two connections make a session, one for each way; a client's way is not answered while it is in use.

use crate::http_head::{field, number, text};
use crate::{Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Transport, Verdict};

/// Methods of the HTTP transport ([MS-TSGU] 3.3.5.1) and of RPC over HTTP ([MS-RPCH] 2.1.2.1).
const RDG_METHODS: [&[u8]; 2] = [b"RDG_OUT_DATA", b"RDG_IN_DATA"];
const RPC_METHODS: [&[u8]; 2] = [b"RPC_OUT_DATA", b"RPC_IN_DATA"];
/// What sets a gateway apart among other services of RPC over HTTP (mail, for one): its endpoint ([MS-TSGU] 2.1), and its interface,
/// which clients also name in a `Pragma` as ResourceTypeUuid.
const ENDPOINT: &[u8] = b":3388";
const INTERFACE: &[u8] = b"44e265dd-7daf-42cd-8560-3cdb6e7a2729";
/// A longer line is no head.
const LINE_MAX: usize = 8_192;
/// Characters kept of a target.
const TARGET_MAX: usize = 256;

/// Packets of the HTTP transport ([MS-TSGU] 2.2.10): type, two bytes reserved, length; little-endian.
mod packet {
    pub(super) const HANDSHAKE_REQUEST: u16 = 1;
    pub(super) const HANDSHAKE_REQUEST_LEN: u32 = 14;
    pub(super) const HANDSHAKE_RESPONSE: u16 = 2;
    pub(super) const HANDSHAKE_RESPONSE_LEN: u32 = 18;
    /// Version 1.0 of the protocol.
    pub(super) const VERSION: [u8; 2] = [1, 0];
}

const REQUEST: Kind = Kind {
    name: "rdp_gateway.request",
    decibans: 35,
    says: "a request with a method of its own to a Remote Desktop Gateway ([MS-TSGU] 3.3.5.1), or RPC over HTTP to a gateway's endpoint \
           or interface ([MS-TSGU] 2.1); from the specification, not measured",
};
const GRANTED: Kind = Kind {
    name: "rdp_gateway.granted",
    decibans: 20,
    says: "the request was answered 2xx or with a change to WebSocket",
};
const REFUSED: Kind =
    Kind { name: "rdp_gateway.refused", decibans: 5, says: "the request or the handshake was refused" };
const HANDSHAKE: Kind = Kind {
    name: "rdp_gateway.handshake",
    decibans: 45,
    says: "a handshake of the gateway's HTTP transport was requested and granted ([MS-TSGU] 2.2.10.10, 2.2.10.11)",
};

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    halves: [Half; 2],
    /// Direction of the requests.
    requests: Option<Dir>,
    request: Request,
    status: u64,
}

#[derive(Debug, Default)]
struct Half {
    phase: Phase,
    length: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    StartLine,
    Fields,
    Body(u64),
}

/// The request at work.
#[derive(Debug, Default)]
struct Request {
    /// Method and target, for a person.
    line: String,
    to_gateway: bool,
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "rdp_gateway",
        title: "Remote Desktop Gateway",
        label: Some("rdp_gateway"),
        app_proto: "http",
        transports: &[Transport::Tcp],
        ports: &[80, 443],
        first: FirstBytes::of(b"R\x01"),
        budget: 16_384,
        carrier: false,
        reference: "[MS-TSGU], [MS-RPCH]",
        evidence: &[REQUEST, GRANTED, REFUSED, HANDSHAKE],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.data.first() == Some(&1) {
            const HEAD: [u8; 10] = [1, 0, 0, 0, 14, 0, 0, 0, packet::VERSION[0], packet::VERSION[1]];
            return match p.data.get(..HEAD.len()) {
                Some(head) if head == HEAD => Verdict::Yes,
                Some(_) => Verdict::No,
                None if HEAD.starts_with(p.data) => Verdict::More,
                None => Verdict::No,
            };
        }
        for method in RDG_METHODS.iter().chain(&RPC_METHODS) {
            match p.data.get(..method.len()) {
                Some(word) if word == *method && p.data.get(method.len()) == Some(&b' ') => {
                    return Verdict::Yes;
                }
                _ if method.starts_with(p.data) || p.data == *method => return Verdict::More,
                _ => {}
            }
        }
        Verdict::No
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap {
            return Next::Done;
        }
        let mut rest = seg.data;
        if self.requests.is_none() && rest.first() == Some(&1)
            || self.request.line.is_empty() && self.requests.is_some()
        {
            return self.handshake(seg, out);
        }
        while !rest.is_empty() {
            if let Phase::Body(left) = self.half(seg.dir).phase {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                rest = rest.get(here..).unwrap_or_default();
                let left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
                self.half(seg.dir).phase = if left == 0 { Phase::StartLine } else { Phase::Body(left) };
                continue;
            }
            let Some(end) = rest.iter().position(|b| *b == b'\n') else {
                if rest.len() > LINE_MAX {
                    return Next::Done;
                }
                break;
            };
            let line = rest.get(..end).unwrap_or_default();
            rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
            match self.line(line.strip_suffix(b"\r").unwrap_or(line), seg.dir, out) {
                Step::On => {}
                Step::Done => return Next::Done,
                Step::NotMine => return Next::NotMine,
            }
        }
        Next::Continue { consumed: seg.data.len().saturating_sub(rest.len()) }
    }
}

enum Step {
    On,
    Done,
    NotMine,
}

impl State {
    fn half(&mut self, dir: Dir) -> &mut Half {
        let [to_server, to_client] = &mut self.halves;
        if dir == Dir::ToServer { to_server } else { to_client }
    }

    fn line(&mut self, line: &[u8], dir: Dir, out: &mut Out) -> Step {
        if self.half(dir).phase == Phase::StartLine {
            return self.start_line(line, dir);
        }
        if line.is_empty() {
            return if self.requests == Some(dir) { self.asked(dir, out) } else { self.answered(dir, out) };
        }
        let Some((name, value)) = field(line) else { return Step::On };
        if name.eq_ignore_ascii_case(b"content-length") {
            self.half(dir).length = number(value).unwrap_or(0);
        } else if name.eq_ignore_ascii_case(b"pragma") && self.requests == Some(dir) {
            let value = value.to_ascii_lowercase();
            self.request.to_gateway |= value.windows(INTERFACE.len()).any(|w| w == INTERFACE);
        }
        Step::On
    }

    fn start_line(&mut self, line: &[u8], dir: Dir) -> Step {
        let mut words = line.split(|b| *b == b' ');
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let rdg = RDG_METHODS.contains(&first);
        if self.requests != Some(dir.reverse()) && (rdg || RPC_METHODS.contains(&first)) {
            self.requests = Some(dir);
            let line = format!("{} {}", text(first, TARGET_MAX), text(second, TARGET_MAX));
            self.request = Request { line, to_gateway: rdg || second.ends_with(ENDPOINT) };
        } else if self.requests == Some(dir.reverse()) && first.starts_with(b"HTTP/1.") {
            self.status = number(second).unwrap_or(0);
        } else if line.is_empty() {
            return Step::On;
        } else {
            return if self.requests.is_some() { Step::Done } else { Step::NotMine };
        }
        *self.half(dir) = Half { phase: Phase::Fields, length: 0 };
        Step::On
    }

    /// A request's head has ended.
    fn asked(&mut self, dir: Dir, out: &mut Out) -> Step {
        if !self.request.to_gateway {
            return Step::NotMine; // another service of RPC over HTTP
        }
        if out.evidence.is_empty() {
            out.evidence(&REQUEST, self.request.line.as_str());
        }
        out.client = Some(dir.sender());
        self.is_gateway(dir.receiver(), out);
        let half = self.half(dir);
        half.phase = if half.length > 0 { Phase::Body(half.length) } else { Phase::StartLine };
        Step::On
    }

    /// An answer's head has ended.
    fn answered(&mut self, dir: Dir, out: &mut Out) -> Step {
        const SWITCHING_PROTOCOLS: u64 = 101;
        const CREDENTIALS_WANTED: [u64; 2] = [401, 407];
        match self.status {
            SWITCHING_PROTOCOLS | 200..=299 => {
                out.evidence(&GRANTED, format!("status {}", self.status));
                self.is_gateway(dir.sender(), out);
                return Step::Done;
            }
            100..=199 => {}
            status => {
                (out.label, out.controlled) = (None, None);
                if !CREDENTIALS_WANTED.contains(&status) {
                    out.evidence(&REFUSED, format!("status {status}"));
                    return Step::Done;
                }
            }
        }
        let half = self.half(dir);
        half.phase = if half.length > 0 { Phase::Body(half.length) } else { Phase::StartLine };
        Step::On
    }

    /// The gateway stands for the desktop behind it.
    fn is_gateway(&self, gateway: crate::Side, out: &mut Out) {
        out.is("rdp_gateway");
        out.controlled = Some(gateway);
    }

    /// The transport's own handshake, inside a WebSocket.
    fn handshake(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let mut r = Reader::new(seg.data);
        let head = (|| Ok::<_, crate::Short>((r.u16_le()?, r.u16_le()?, r.u32_le()?, r.u32_le()?)))();
        let Ok((kind, reserved, length, code)) = head else { return Next::Continue { consumed: 0 } };
        let asks = (packet::HANDSHAKE_REQUEST, 0, packet::HANDSHAKE_REQUEST_LEN) == (kind, reserved, length);
        let answers =
            (packet::HANDSHAKE_RESPONSE, 0, packet::HANDSHAKE_RESPONSE_LEN) == (kind, reserved, length);
        match self.requests {
            None if asks => {
                self.requests = Some(seg.dir);
                out.client = Some(seg.dir.sender());
            }
            Some(client) if client == seg.dir => {} // what it goes on with
            Some(_) if answers && code == 0 => {
                out.evidence(&HANDSHAKE, "");
                self.is_gateway(seg.dir.sender(), out);
                return Next::Done;
            }
            Some(_) if answers => {
                out.evidence(&REFUSED, format!("error {code:#010x}"));
                return Next::Done;
            }
            _ => return Next::NotMine,
        }
        Next::Continue { consumed: seg.data.len() }
    }
}

#[cfg(test)]
#[path = "rdp_gateway/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
