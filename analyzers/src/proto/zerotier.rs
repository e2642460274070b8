//! ZeroTier, protocol of VL1 (UDP).
//!
//! In: datagrams. Out: the label `zerotier` once two nodes have named each other: the addresses in the header swap places with the direction.
//! A HELLO, whose identity is in clear, is evidence by itself.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport,
    Verdict,
};

/// A packet (ZeroTierOne's `node/Packet.hpp`): 8 bytes of identifier, both addresses, flags with cipher and hops, 8 bytes of MAC, verb.
mod packet {
    pub(super) const LEN_MIN: usize = 28;
    /// Addresses begin with anything but this; it marks a fragment in the sender's place.
    pub(super) const RESERVED: u8 = 0xFF;
    /// The cipher's bits: 0 authenticated in clear, 1 encrypted, 3 AES-GMAC-SIV.
    pub(super) const CIPHERS: [u8; 3] = [0, 1, 3];
    /// The verb without its flags, and what a HELLO has behind it: versions, time, identity.
    pub(super) const VERB: u8 = 0x1F;
    pub(super) const HELLO: u8 = 1;
    pub(super) const IDENTITY_TYPES: std::ops::RangeInclusive<u8> = 0..=1;
    pub(super) const IDENTITY_KEYS: usize = 64;
    /// Protocol versions in use (1 to 20), and times of ours in milliseconds (2010 to 2100).
    pub(super) const PROTOCOLS: std::ops::RangeInclusive<u8> = 1..=20;
    pub(super) const TIMES: std::ops::RangeInclusive<u64> = 1_262_304_000_000..=4_102_444_800_000;
}

/// Packets of a side, all between the same two nodes, that make a recognition without a HELLO.
const LEAST: u8 = 2;
/// Datagrams without a recognition after which it is something else.
const GIVE_UP: u8 = 24;

const HELLO: Kind = Kind {
    name: "zerotier.hello",
    decibans: 28,
    says: "HELLO in clear: version, time and an identity that repeats the sender's address (ZeroTier node/Packet.hpp)",
};
const SWAPPED: Kind = Kind {
    name: "zerotier.swapped",
    decibans: 36,
    says: "both sides name the same two nodes, sender and receiver swapped (ZeroTier node/Packet.hpp)",
};

type Address = [u8; 5];

/// The head of a packet, or of the first fragment of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    id: [u8; 8],
    to: Address,
    from: Address,
    hello: bool,
}

impl Head {
    fn parse(data: &[u8], wire_len: usize) -> Option<Self> {
        let mut r = Reader::new(data);
        let fields = (|| {
            let addresses = (r.array::<8>()?, r.array::<5>()?, r.array::<5>()?);
            let flags = r.u8()?;
            r.skip(8)?;
            Ok::<_, Short>((addresses, flags, r.u8()?))
        })();
        let ((id, to, from), flags, verb) = fields.ok()?;
        let named =
            |a: Address| a.first().is_some_and(|b| !matches!(*b, 0 | packet::RESERVED)) && distinct(&a) >= 3;
        let cipher = flags >> 3 & 7;
        let fits = wire_len >= packet::LEN_MIN
            && named(to)
            && named(from)
            && to != from
            && packet::CIPHERS.contains(&cipher)
            && distinct(&id) >= 4;
        let hello = cipher == 0 && verb & packet::VERB == packet::HELLO && is_hello(from, r.rest());
        fits.then_some(Self { id, to, from, hello })
    }

    fn answers(&self, other: &Self) -> bool {
        self.to == other.from && self.from == other.to && self.id != other.id
    }
}

/// How many different values there are: a few bytes of a random number are hardly ever alike, those of other fields are.
fn distinct(bytes: &[u8]) -> usize {
    bytes.iter().enumerate().filter(|(i, b)| !bytes.iter().take(*i).any(|a| a == *b)).count()
}

/// Whether this is what follows the verb in a HELLO of `from`.
fn is_hello(from: Address, body: &[u8]) -> bool {
    let mut r = Reader::new(body);
    let fields = (|| {
        let protocol = r.u8()?;
        r.skip(4)?; // release
        let time = r.u64()?;
        let (address, kind) = (r.array::<5>()?, r.u8()?);
        r.skip(packet::IDENTITY_KEYS)?;
        Ok::<_, Short>((protocol, time, address, kind))
    })();
    fields.is_ok_and(|(protocol, time, address, kind)| {
        packet::PROTOCOLS.contains(&protocol)
            && packet::TIMES.contains(&time)
            && address == from
            && packet::IDENTITY_TYPES.contains(&kind)
    })
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    /// The last head of each side, and how many named the same nodes in a row.
    sides: [Option<(Head, u8)>; 2],
    hello: bool,
    packets: u8,
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "zerotier",
        title: "ZeroTier",
        label: Some("zerotier"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[9993],
        first: FirstBytes::ANY,
        budget: 32_768,
        carrier: false,
        reference: "zerotier/ZeroTierOne sources: node/Packet.hpp, node/Packet.cpp, node/Identity.hpp",
        evidence: &[HELLO, SWAPPED],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        let Some(head) = Head::parse(p.data, p.wire_len) else { return Verdict::No };
        match Head::parse(p.other, p.other.len()) {
            _ if head.hello => Verdict::Yes,
            Some(other) if head.answers(&other) => Verdict::Yes,
            _ => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: seg.data.len() };
        self.packets = self.packets.saturating_add(1);
        if let Some(head) = Head::parse(seg.data, seg.wire_len) {
            if head.hello && !self.hello {
                self.hello = true;
                out.client = Some(seg.dir.sender());
                out.evidence(&HELLO, format!("node {}", hex(head.from)));
            }
            let [up, down] = &mut self.sides;
            let (here, there) = if seg.dir == Dir::ToServer { (up, down) } else { (down, up) };
            let alike = |last: &Head| last.to == head.to && last.from == head.from && last.id != head.id;
            let run =
                here.as_ref().filter(|(last, _)| alike(last)).map_or(1, |(_, run)| run.saturating_add(1));
            *here = Some((head, run));
            // After a HELLO one answer is enough; without one the same nodes must have been named again.
            let swapped = there.as_ref().is_some_and(|(other, theirs)| {
                head.answers(other) && (self.hello || run.max(*theirs) >= LEAST)
            });
            if swapped {
                out.evidence(&SWAPPED, format!("{} and {}", hex(head.from), hex(head.to)));
                out.is("zerotier");
                out.basis = if self.hello { Basis::Handshake } else { Basis::Midstream };
                return Next::Done;
            }
        }
        if self.packets >= GIVE_UP { Next::NotMine } else { go_on }
    }
}

/// An address as ZeroTier prints it.
fn hex(address: Address) -> String {
    address.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::GREETING, tests::MIDDLE];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;
    const A: Address = [0x3A, 0x46, 0xF1, 0xBF, 0x30];
    const B: Address = [0x77, 0x8C, 0xDE, 0x71, 0x90];

    /// A packet with these addresses, cipher and verb; a HELLO behind it where the verb is one.
    const fn packet<const N: usize>(id: u8, to: Address, from: Address, cipher: u8, verb: u8) -> [u8; N] {
        let mut bytes = [0; N];
        let mut i = 0;
        while i < N {
            bytes[i] = match i {
                8..=12 => to[i - 8],
                13..=17 => from[i - 13],
                18 => cipher << 3,
                27 => verb,
                28 if verb == 1 => 12,
                33..=40 if verb == 1 => 1_732_000_000_000_u64.to_be_bytes()[i - 33],
                41..=45 if verb == 1 => from[i - 41],
                46 if verb == 1 => 0,
                _ => (i as u8).wrapping_mul(59).wrapping_add(id),
            };
            i += 1;
        }
        bytes
    }

    const ASK: &[u8] = &packet::<137>(1, B, A, 0, 1);
    const ANSWER: &[u8] = &packet::<90>(2, A, B, 1, 0xC3);

    pub(super) const GREETING: Fixture<'_> = Fixture {
        name: "HELLO and its answer",
        transport: Transport::Udp,
        payloads: &[(UP, ASK), (DOWN, ANSWER)],
    };
    pub(super) const MIDDLE: Fixture<'_> = Fixture {
        name: "frames of both sides",
        transport: Transport::Udp,
        payloads: &[
            (UP, &packet::<120>(3, B, A, 3, 0x99)),
            (DOWN, &packet::<130>(4, A, B, 3, 0x11)),
            (UP, &packet::<140>(5, B, A, 3, 0x77)),
        ],
    };

    #[test]
    fn an_answered_hello_is_zerotier() {
        let got = drive::<State>(&GREETING, usize::MAX);
        assert_eq!((got.out.label, got.out.client), (Some("zerotier"), Some(Side::Src)));
        assert_eq!(&*got.out.evidence[0].detail, "node 3a46f1bf30");
    }

    #[test]
    fn swapped_addresses_are_zerotier_in_the_middle() {
        let got = drive::<State>(&MIDDLE, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("zerotier"), Basis::Midstream));
        assert_eq!(
            drive::<State>(&Fixture { payloads: &MIDDLE.payloads[..2], ..MIDDLE }, usize::MAX).out.label,
            None
        );
    }

    #[test]
    fn a_hello_without_an_answer_is_evidence_and_no_label() {
        let third: &[u8] = &packet::<90>(2, [9, 8, 7, 6, 5], B, 1, 0xC3);
        for payloads in [&[(UP, ASK), (UP, ASK)][..], &[(UP, ASK), (DOWN, third)]] {
            let got = drive::<State>(&Fixture { payloads, ..GREETING }, usize::MAX);
            assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
        }
    }

    #[test]
    fn an_identity_of_somebody_else_or_repeated_bytes_are_not_taken() {
        let mut stranger = ASK.to_vec();
        stranger[41] ^= 1;
        let zeros = packet::<90>(2, [1, 0, 0, 0, 0], [2, 0, 0, 0, 0], 0, 1);
        for payloads in
            [&[(UP, &stranger[..])][..], &[(UP, &zeros), (DOWN, &zeros)], &[(UP, ANSWER), (DOWN, ANSWER)]]
        {
            assert!(!drive::<State>(&Fixture { payloads, ..GREETING }, usize::MAX).mine);
        }
    }
}
