//! Tunnels in ICMP and ICMPv6 echo: ptunnel and ptunnel-ng, Hans, icmptunnel, Pingback, IP packets in clear (icmptx, icmptunnel by
//! D. Kapil), and any by answers that are not what was asked.
//!
//! In: payloads of echo requests and replies, both directions. Out: the label `icmp_tunnel`; of ptunnel the stream inside.
//!
//! A reply repeats its request (RFC 792, RFC 4443 section 4.2); how a ping fills it is its own affair, and all of that stays silent:
//! counting and repeated bytes of any size, times before them, replies cut short, both sides asking at once.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Side, Transport,
    Verdict,
};

#[path = "icmp_tunnel/echo.rs"]
mod echo;

use echo::{Echoes, is_plain};

const PTUNNEL: Kind = Kind {
    name: "icmp_tunnel.ptunnel",
    decibans: 40,
    says: "ptunnel's header with exact length, of the user's kind from one side and of the proxy's from the other (ptunnel, ptunnel.h)",
};
const HANS: Kind = Kind {
    name: "icmp_tunnel.hans",
    decibans: 40,
    says: "`hanc` from one side and `hans` from the other before a known type (Hans, worker.h, client.cpp)",
};
const ICMPTUNNEL: Kind = Kind {
    name: "icmp_tunnel.icmptunnel",
    decibans: 40,
    says: "`LNUT` from one side and `TUNL` from the other before a known type (icmptunnel, protocol.h)",
};
const PINGBACK: Kind = Kind {
    name: "icmp_tunnel.pingback",
    decibans: 30,
    says: "788 bytes that are a command of the Pingback back door and zeros, twice (Trustwave, 2021)",
};
const IP_INSIDE: Kind = Kind {
    name: "icmp_tunnel.ip",
    decibans: 35,
    says: "three echo payloads that are IP packets with right length and header checksum (RFC 791 section 3.1)",
};
const NO_ECHO: Kind = Kind {
    name: "icmp_tunnel.no_echo",
    decibans: 20,
    says: "both sides talk, and six payloads, of three lengths or more, repeat nothing and are not repeated, of data that is no ping's: \
           2 of 3 tunnels (415 and 105 answers that differ), 0 of 23 ordinary pairs in recordings",
};

/// ptunnel's header.
mod ptunnel {
    pub(super) const MAGIC_OLD: u32 = 0xD520_0880;
    pub(super) const HEADER: usize = 28;
    pub(super) const USER: u32 = 1 << 30;
    pub(super) const PROXY: u32 = 1 << 31;
    /// Start, acknowledgement, data, close, authenticate.
    pub(super) const STATES: u32 = 5;
    pub(super) const DATA: u32 = 2;
    /// What a packet takes at most (`kDefault_buf_size`).
    pub(super) const DATA_MAX: usize = 1024;
}

const HANS_CLIENT: &[u8] = b"hanc";
const HANS_SERVER: &[u8] = b"hans";
/// Reset to server full (Hans, worker.h).
const HANS_TYPES: std::ops::RangeInclusive<u8> = 1..=9;
const ICMPTUNNEL_CLIENT: &[u8] = b"LNUT";
const ICMPTUNNEL_SERVER: &[u8] = b"TUNL";
/// Connection request to keep-alive (icmptunnel, protocol.h); the only flag is 1.
const ICMPTUNNEL_TYPES: std::ops::RangeInclusive<u8> = 0..=5;
/// Pingback's messages are one C structure, which begins with the command (Trustwave: Backdoor at the end of the ICMP tunnel).
const PINGBACK_LENGTH: usize = 788;
const PINGBACK_COMMANDS: [&[u8]; 9] = [
    b"shell\0",
    b"download\0",
    b"download2\0",
    b"download3\0",
    b"upload\0",
    b"upload2\0",
    b"upload3\0",
    b"exep\0",
    b"rexep\0",
];
/// Bytes behind a command that are zeros.
const PINGBACK_PADDED: usize = 16;
/// IP packets that make a tunnel.
const IP_PACKETS: u8 = 3;
/// Payloads that repeat nothing, and their lengths, which make a tunnel.
const DIFFERENT: u32 = 6;
const DIFFERENT_SIZES: usize = 3;

/// What a payload is by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Ptunnel {
        magic: u32,
        proxy: bool,
        data: bool,
        seq: u16,
    },
    /// The sender plays the server.
    Hans(bool),
    Icmptunnel(bool),
    Pingback,
    Ip,
}

impl Message {
    fn parse(data: &[u8], wire_len: usize) -> Option<Self> {
        let typed = |magic: &[u8], at: usize, types: std::ops::RangeInclusive<u8>| {
            data.starts_with(magic) && data.get(at).is_some_and(|t| types.contains(t))
        };
        let flags_are_known = data.get(4).is_some_and(|flags| *flags <= 1);
        if let Ok(Some(message)) = Self::ptunnel(data, wire_len) {
            Some(message)
        } else if typed(HANS_CLIENT, 4, HANS_TYPES) || typed(HANS_SERVER, 4, HANS_TYPES) {
            Some(Self::Hans(data.starts_with(HANS_SERVER)))
        } else if flags_are_known
            && (typed(ICMPTUNNEL_CLIENT, 5, ICMPTUNNEL_TYPES)
                || typed(ICMPTUNNEL_SERVER, 5, ICMPTUNNEL_TYPES))
        {
            Some(Self::Icmptunnel(data.starts_with(ICMPTUNNEL_SERVER)))
        } else if is_pingback(data, wire_len) {
            Some(Self::Pingback)
        } else {
            is_ip(data, wire_len).then_some(Self::Ip)
        }
    }

    fn ptunnel(data: &[u8], wire_len: usize) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        let (magic, _target, port, state) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        let (_acknowledged, length, seq) = (r.u32()?, r.u32()?, r.u16()?);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let whole = wire_len.saturating_sub(ptunnel::HEADER).saturating_sub(length);
        let (user, proxy) = (state & ptunnel::USER != 0, state & ptunnel::PROXY != 0);
        let step = state & !(ptunnel::USER | ptunnel::PROXY);
        let fits = wire_len >= ptunnel::HEADER.saturating_add(length) && whole <= 1; // padded to an even length
        let known = length <= ptunnel::DATA_MAX && user != proxy && step < ptunnel::STATES;
        Ok((fits && known && magic != 0 && port <= 0xFFFF).then_some(Self::Ptunnel {
            magic,
            proxy,
            data: step == ptunnel::DATA,
            seq,
        }))
    }
}

fn is_pingback(data: &[u8], wire_len: usize) -> bool {
    let zeros = |command: &[u8]| {
        let behind = data.get(command.len()..command.len().saturating_add(PINGBACK_PADDED));
        data.starts_with(command) && behind.is_some_and(|b| b.iter().all(|b| *b == 0))
    };
    wire_len == PINGBACK_LENGTH && PINGBACK_COMMANDS.iter().any(|c| zeros(c))
}

/// Whether the payload is one whole IPv4 packet, or one IPv6 packet of a usual kind.
fn is_ip(data: &[u8], wire_len: usize) -> bool {
    let total = |at: usize| {
        data.get(at..at.saturating_add(2)).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes)
    };
    match data.first().map(|b| b >> 4) {
        Some(4) => {
            let words = usize::from(data.first().map_or(0, |b| b & 0x0F));
            let header = data.get(..words.saturating_mul(4)).filter(|_| words >= 5);
            total(2).map(usize::from) == Some(wire_len) && header.is_some_and(|h| checksum(h) == 0xFFFF)
        }
        Some(6) => {
            // TCP, UDP, ICMPv6; addresses of the Internet, of a site or of the link.
            let next = matches!(data.get(6), Some(6 | 17 | 58));
            let plausible = |at: usize| matches!(data.get(at), Some(0x20..=0x3F | 0xFC..=0xFF));
            total(4).map(|n| usize::from(n).saturating_add(40)) == Some(wire_len)
                && next
                && plausible(8)
                && plausible(24)
        }
        _ => false,
    }
}

/// The one's complement sum of a header, which is all ones where its checksum is right (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let sum = header.chunks(2).fold(0_u32, |sum, pair| match pair {
        [a, b] => sum.saturating_add(u32::from(u16::from_be_bytes([*a, *b]))),
        _ => sum,
    });
    let folded = (sum & 0xFFFF).saturating_add(sum >> 16);
    u16::try_from((folded & 0xFFFF).saturating_add(folded >> 16)).unwrap_or(0)
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    /// First message of each direction that is a program's.
    said: [Option<Message>; 2],
    /// ptunnel: the number that comes next.
    next: [Option<u16>; 2],
    pingbacks: u8,
    packets: u8,
    echoes: Box<Echoes>,
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "icmp_tunnel",
        title: "ICMP echo tunnel",
        label: Some("icmp_tunnel"),
        app_proto: "failed",
        transports: &[Transport::Ip(1), Transport::Ip(58)],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: true,
        reference: "RFC 792, RFC 4443 section 4; sources of ptunnel, Hans, icmptunnel; Trustwave on Pingback (2021)",
        evidence: &[PTUNNEL, HANS, ICMPTUNNEL, PINGBACK, IP_INSIDE, NO_ECHO],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        // R-UDP proves itself; what it shares with other tunnels does not.
        if crate::softether::is_signed(p.data) {
            return Verdict::No;
        }
        // A tunnel may be idle at first.
        if is_plain(p.data) && Message::parse(p.data, p.wire_len).is_none() {
            Verdict::More
        } else {
            Verdict::Yes
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let on = Next::Continue { consumed: seg.data.len() };
        let d = seg.dir.index();
        let Some(message) = Message::parse(seg.data, seg.wire_len) else {
            if out.label.is_none()
                && self.echoes.note(seg.dir, seg.data, seg.wire_len) >= DIFFERENT
                && self.echoes.sizes() >= DIFFERENT_SIZES
            {
                out.evidence(&NO_ECHO, self.echoes.in_words());
                found(out, None, Basis::Behaviour, None);
            }
            return on;
        };
        if let Some(said) = self.said.get_mut(d) {
            said.get_or_insert(message);
        }
        if out.label.is_none() {
            self.judge(message, seg.dir, out);
        }
        if let Message::Ptunnel { data, seq, .. } = message {
            self.hand_on(seg, data, seq, out);
        }
        on
    }
}

fn found(out: &mut Out, tool: Option<&'static str>, basis: Basis, client: Option<Side>) {
    out.is("icmp_tunnel");
    (out.tool, out.basis) = (tool, basis);
    out.client = out.client.or(client);
}

impl State {
    fn judge(&mut self, message: Message, dir: Dir, out: &mut Out) {
        let [up, down] = self.said;
        let both = up.zip(down);
        // The side that plays the server is the other one's peer.
        let client = |server: bool| Some(if server { dir.receiver() } else { dir.sender() });
        match (message, both) {
            (
                Message::Ptunnel { proxy, .. },
                Some((
                    Message::Ptunnel { magic: a, proxy: x, .. },
                    Message::Ptunnel { magic: b, proxy: y, .. },
                )),
            ) if a == b && x != y => {
                let tool = if a == ptunnel::MAGIC_OLD { "ptunnel" } else { "ptunnel-ng" };
                out.evidence(&PTUNNEL, format!("magic {a:08x}"));
                found(out, Some(tool), Basis::Handshake, client(proxy));
            }
            (Message::Hans(server), Some((Message::Hans(x), Message::Hans(y)))) if x != y => {
                out.evidence(&HANS, "");
                found(out, Some("Hans"), Basis::Handshake, client(server));
            }
            (Message::Icmptunnel(server), Some((Message::Icmptunnel(x), Message::Icmptunnel(y))))
                if x != y =>
            {
                out.evidence(&ICMPTUNNEL, "");
                found(out, Some("icmptunnel"), Basis::Handshake, client(server));
            }
            (Message::Pingback, _) => {
                self.pingbacks = self.pingbacks.saturating_add(1);
                if self.pingbacks == 2 {
                    out.evidence(&PINGBACK, "");
                    found(out, Some("Pingback"), Basis::Handshake, None);
                }
            }
            (Message::Ip, _) => {
                self.packets = self.packets.saturating_add(1);
                if self.packets == IP_PACKETS {
                    out.evidence(&IP_INSIDE, "");
                    found(out, None, Basis::Handshake, None);
                }
            }
            _ => {}
        }
    }

    /// Hands on what a ptunnel packet carries if it is the next one; what is sent again is left out.
    fn hand_on(&mut self, seg: &Segment<'_>, data: bool, seq: u16, out: &mut Out) {
        let Some(next) = self.next.get_mut(seg.dir.index()) else { return };
        if *next.get_or_insert(seq) != seq {
            return;
        }
        *next = Some(seq.wrapping_add(1));
        let length = seg.data.get(20..24).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
        let end = ptunnel::HEADER.saturating_add(usize::try_from(length).unwrap_or(0));
        if data {
            out.inner.extend_from_slice(
                seg.data.get(ptunnel::HEADER..end.min(seg.data.len())).unwrap_or_default(),
            );
        }
    }
}

#[cfg(test)]
#[path = "icmp_tunnel/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
