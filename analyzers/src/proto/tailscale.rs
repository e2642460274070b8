//! Tailscale: its discovery beside WireGuard (UDP), and inside upgraded HTTP its relay (DERP) and its control connection.
//!
//! In: datagrams or a byte stream. Out: the label `tailscale` from discovery messages that the other side answers, with discovery or with
//! WireGuard; from a relay's greeting; from the control connection's handshake and records. WireGuard's datagrams are handed on,
//! so that they are recognised beside it. Relay and control connection inside TLS show by names alone.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

/// Discovery (Tailscale's `disco/disco.go`).
mod disco {
    pub(super) const MAGIC: &[u8] = b"TS\xf0\x9f\x92\xac";
    /// The sender's key, a nonce, and a NaCl box around at least type and version.
    pub(super) const KEY: usize = 32;
    pub(super) const LEN_MIN: usize = 6 + KEY + 24 + 16 + 2;
}

/// Geneve before both where a peer relays (`net/packet/geneve.go`): no options, one of two protocols.
mod geneve {
    pub(super) const HEADER: usize = 8;
    pub(super) const DISCO: u16 = 0x7A11;
    pub(super) const WIREGUARD: u16 = 0x7A12;
}

/// Frames of the relay (`derp/derp.go`): type, 32-bit length.
mod derp {
    /// The server's first: its key behind a magic.
    pub(super) const GREETING: &[u8] = b"\x01\x00\x00\x00\x28DERP\xf0\x9f\x94\x91";
    pub(super) const GREETING_LEN: usize = 5 + 8 + 32;
}

/// Messages of the control connection (`control/controlbase/messages.go`): type, 16-bit length.
mod control {
    /// The server's half of Noise IK: an ephemeral key and a tag.
    pub(super) const RESPONSE: &[u8] = &[2, 0, 48];
    pub(super) const RESPONSE_LEN: usize = 3 + 48;
    pub(super) const RECORD: u8 = 4;
    /// A tag is in every record, and the message is at most 4 KiB with its header.
    pub(super) const RECORD_LENS: std::ops::RangeInclusive<u16> = 17..=4093;
}

/// Datagrams of WireGuard that are handed on to be recognised, and strangers before it is something else.
const INNER_MAX: u8 = 40;
const STRANGERS_MAX: u8 = 16;

const DISCOVERY: Kind = Kind {
    name: "tailscale.discovery",
    decibans: 28,
    says: "a discovery message: six bytes of magic, then the sender's key (Tailscale disco/disco.go)",
};
const ANSWER: Kind = Kind {
    name: "tailscale.answer",
    decibans: 38,
    says: "the other side answers discovery with its own, or with WireGuard (Tailscale disco/disco.go)",
};
const DERP: Kind = Kind {
    name: "tailscale.derp",
    decibans: 38,
    says: "a relay's greeting: first frame, its length, magic and key (Tailscale derp/derp.go)",
};
const CONTROL: Kind = Kind {
    name: "tailscale.control",
    decibans: 32,
    says: "control connection: the server's Noise response, then records of both sides (Tailscale control/controlbase)",
};

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    /// How the discovery key of each side begins.
    keys: [Option<[u8; 8]>; 2],
    /// WireGuard was seen, by direction.
    tunnel: [bool; 2],
    handed_on: u8,
    strangers: u8,
    /// Control connection: the response was read; a record was read, by direction.
    response: Option<Dir>,
    records: [bool; 2],
}

/// What a datagram is, without Geneve.
enum Datagram<'a> {
    Discovery { key: [u8; 8] },
    WireGuard(&'a [u8]),
    Other,
}

impl<'a> Datagram<'a> {
    fn parse(data: &'a [u8], wire_len: usize) -> Self {
        let (body, len) = match relayed(data) {
            Some(body) => (body, wire_len.saturating_sub(geneve::HEADER)),
            None => (data, wire_len),
        };
        if let Some(rest) = body.strip_prefix(disco::MAGIC)
            && len >= disco::LEN_MIN
            && let Some(key) = rest.first_chunk::<8>()
        {
            return Self::Discovery { key: *key };
        }
        let is_wireguard = matches!(body, [1..=4, 0, 0, 0, ..]) && len >= 32;
        if is_wireguard { Self::WireGuard(body) } else { Self::Other }
    }
}

/// What is in Tailscale's Geneve.
fn relayed(data: &[u8]) -> Option<&[u8]> {
    let (head, body) = data.split_first_chunk::<{ geneve::HEADER }>()?;
    let [0, flags, hi, lo, _, _, _, 0] = *head else { return None };
    let protocol = u16::from_be_bytes([hi, lo]);
    (flags & 0x3F == 0 && matches!(protocol, geneve::DISCO | geneve::WIREGUARD)).then_some(body)
}

/// Whether the stream begins with a record of the control connection.
fn is_record(data: &[u8]) -> bool {
    let mut r = Reader::new(data);
    (|| Ok::<_, Short>(r.u8()? == control::RECORD && control::RECORD_LENS.contains(&r.u16()?)))() == Ok(true)
}

impl State {
    fn on_datagram(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: seg.data.len() };
        let (here, there) = (seg.dir.index(), seg.dir.reverse().index());
        match Datagram::parse(seg.data, seg.wire_len) {
            Datagram::Discovery { key } => {
                if self.keys.iter().all(Option::is_none) {
                    out.evidence(&DISCOVERY, format!("key begins {:016x}", u64::from_be_bytes(key)));
                }
                // What comes back as it went out is an echo.
                if self.keys.get(there).copied().flatten() == Some(key) {
                    return Next::NotMine;
                }
                if let Some(slot) = self.keys.get_mut(here) {
                    *slot = Some(key);
                }
            }
            Datagram::WireGuard(body) => {
                if let Some(seen) = self.tunnel.get_mut(here) {
                    *seen = true;
                }
                self.handed_on = self.handed_on.saturating_add(1);
                out.inner_is_datagram = true;
                out.inner.extend_from_slice(body);
            }
            Datagram::Other => {
                self.strangers = self.strangers.saturating_add(1);
                if self.strangers > STRANGERS_MAX && out.label.is_none() {
                    return Next::NotMine;
                }
            }
        }
        let said = |d: usize| {
            self.keys.get(d).is_some_and(Option::is_some) || self.tunnel.get(d).is_some_and(|seen| *seen)
        };
        if out.label.is_none() && said(here) && said(there) && self.keys.iter().any(Option::is_some) {
            let how =
                if self.keys.iter().all(Option::is_some) { "with its own key" } else { "with WireGuard" };
            out.evidence(&ANSWER, how);
            out.is("tailscale");
        }
        let enough = self.handed_on >= INNER_MAX || self.strangers > STRANGERS_MAX;
        if out.label.is_some() && enough { Next::Done } else { go_on }
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "tailscale",
        title: "Tailscale",
        label: Some("tailscale"),
        app_proto: "failed",
        transports: &[Transport::Udp, Transport::Tcp],
        ports: &[41641],
        first: FirstBytes::of(&[b'T', 0, 1, 2, 4]),
        budget: 65_536,
        carrier: true,
        reference: "Tailscale sources: disco/disco.go, derp/derp.go, control/controlbase, net/packet/geneve.go",
        evidence: &[DISCOVERY, ANSWER, DERP, CONTROL],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.transport.is_stream() {
            return match Datagram::parse(p.data, p.wire_len) {
                Datagram::Discovery { .. } => Verdict::Yes,
                // Discovery of the other side, which somebody else left: WireGuard may be first on a path.
                _ if matches!(Datagram::parse(p.other, p.other.len()), Datagram::Discovery { .. }) => {
                    Verdict::Yes
                }
                _ => Verdict::More,
            };
        }
        let begins = |whole: &[u8]| p.data.starts_with(whole) || whole.starts_with(p.data);
        if begins(derp::GREETING) {
            return if p.data.len() >= derp::GREETING_LEN { Verdict::Yes } else { Verdict::More };
        }
        if begins(control::RESPONSE) {
            let rest = p.data.get(control::RESPONSE_LEN..);
            return match rest {
                Some(rest) if is_record(rest) && (p.other.is_empty() || is_record(p.other)) => Verdict::Yes,
                Some([]) if is_record(p.other) => Verdict::Yes,
                None | Some([] | [_] | [_, _]) => Verdict::More,
                Some(_) => Verdict::No,
            };
        }
        if is_record(p.data) || (p.data.len() < 3 && p.data.first() == Some(&control::RECORD)) {
            Verdict::More
        } else {
            Verdict::No
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if !seg.transport.is_stream() {
            return self.on_datagram(seg, out);
        }
        let wait = Next::Continue { consumed: 0 };
        if seg.gap {
            return if out.label.is_some() { Next::Done } else { Next::NotMine };
        }
        if seg.data.starts_with(derp::GREETING) {
            out.client = Some(seg.dir.receiver());
            out.evidence(&DERP, "");
            out.is("tailscale");
            return Next::Done;
        }
        let records = match seg.data.strip_prefix(control::RESPONSE) {
            Some(_) if self.response.is_none() => {
                let Some(rest) = seg.data.get(control::RESPONSE_LEN..) else { return wait };
                self.response = Some(seg.dir);
                rest
            }
            _ => seg.data,
        };
        if records.len() < 3 {
            return Next::Continue { consumed: seg.data.len().saturating_sub(records.len()) };
        }
        if !is_record(records) {
            return Next::NotMine;
        }
        if let Some(seen) = self.records.get_mut(seg.dir.index()) {
            *seen = true;
        }
        if let Some(server) = self.response
            && self.records == [true; 2]
        {
            out.client = Some(server.receiver());
            out.evidence(&CONTROL, "");
            out.is("tailscale");
            return Next::Done;
        }
        // One record a side is enough; what follows need not begin with one.
        Next::Continue { consumed: seg.data.len().saturating_sub(records.len()) }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] =
    &[tests::DIRECT, tests::BY_A_PEER, tests::RELAY, tests::CONTROL_CONNECTION];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    /// `N` bytes: these, and behind them what stands for keys and ciphertext.
    const fn filled<const N: usize>(head: &[u8], seed: u8) -> [u8; N] {
        let mut bytes = [0; N];
        let mut i = 0;
        while i < N {
            bytes[i] = if i < head.len() { head[i] } else { (i as u8).wrapping_mul(31).wrapping_add(seed) };
            i += 1;
        }
        bytes
    }

    const PING: &[u8] = &filled::<92>(disco::MAGIC, 7);
    const PONG: &[u8] = &filled::<110>(disco::MAGIC, 99);
    const DATA: &[u8] = &filled::<128>(&[4, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0], 5);

    pub(super) const DIRECT: Fixture<'_> = Fixture {
        name: "discovery beside WireGuard",
        transport: Transport::Udp,
        payloads: &[(UP, PING), (DOWN, PONG), (UP, DATA)],
    };
    pub(super) const BY_A_PEER: Fixture<'_> = Fixture {
        name: "discovery through a peer's relay",
        transport: Transport::Udp,
        payloads: &[
            (UP, &filled::<100>(b"\0\x80\x7a\x11\0\0\x07\0TS\xf0\x9f\x92\xac", 7)),
            (DOWN, &filled::<118>(b"\0\0\x7a\x11\0\0\x07\0TS\xf0\x9f\x92\xac", 9)),
        ],
    };
    pub(super) const RELAY: Fixture<'_> = Fixture {
        name: "a relay's greeting",
        transport: Transport::Tcp,
        payloads: &[(DOWN, &filled::<45>(derp::GREETING, 1)), (UP, b"\x02\0\0\0\x50")],
    };
    pub(super) const CONTROL_CONNECTION: Fixture<'_> = Fixture {
        name: "the control connection behind its upgrade",
        transport: Transport::Tcp,
        payloads: &[
            (DOWN, &filled::<51>(control::RESPONSE, 1)),
            (UP, &filled::<60>(&[4, 0, 57], 1)),
            (DOWN, &filled::<40>(&[4, 0, 37], 2)),
        ],
    };

    #[test]
    fn every_conversation_is_tailscale() {
        for fixture in FIXTURES {
            for piece in [usize::MAX, 4] {
                let got = drive::<State>(fixture, piece);
                assert_eq!(got.out.label, Some("tailscale"), "{} in pieces of {piece}", fixture.name);
            }
        }
    }

    #[test]
    fn wireguard_beside_discovery_is_handed_on_and_answers_it() {
        let got = drive::<State>(&Fixture { payloads: &[(UP, PING), (DOWN, DATA)], ..DIRECT }, usize::MAX);
        assert_eq!(got.out.label, Some("tailscale"));
        assert_eq!(got.inner[1], DATA);
        assert!(got.out.inner_is_datagram);
    }

    #[test]
    fn discovery_that_nobody_answers_is_evidence_and_no_label() {
        let got = drive::<State>(
            &Fixture { payloads: &[(UP, PING), (UP, PING), (UP, DATA)], ..DIRECT },
            usize::MAX,
        );
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn an_echo_of_discovery_is_no_answer() {
        let got = drive::<State>(&Fixture { payloads: &[(UP, PING), (DOWN, PING)], ..DIRECT }, usize::MAX);
        assert!(!got.mine);
    }

    #[test]
    fn what_only_looks_like_it_is_not_taken() {
        let short = &PING[..60];
        let wireguard = &[(UP, DATA), (DOWN, DATA)][..];
        let udp = [&[(UP, short)][..], wireguard, &[(UP, b"TS3INIT1\0e\0\0\x88")]];
        for payloads in udp {
            assert!(!drive::<State>(&Fixture { payloads, ..DIRECT }, usize::MAX).mine);
        }
        let other = filled::<60>(&[5, 0, 57], 1);
        let late = filled::<60>(&[2, 0, 48], 1);
        let tcp: [&[(Dir, &[u8])]; 3] = [
            &[(DOWN, CONTROL_CONNECTION.payloads[0].1), (UP, &other)],
            &[(DOWN, &late)],
            &[(UP, b"\x01\0\0\0\x28DERP?")],
        ];
        for payloads in tcp {
            assert_eq!(drive::<State>(&Fixture { payloads, ..RELAY }, usize::MAX).out.label, None);
        }
    }
}
