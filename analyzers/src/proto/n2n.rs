//! n2n, versions 1, 2 and 3 (UDP): edges and supernodes of a community.
//!
//! In: datagrams. Out: the label `n2n` once both sides have named the same community, or one side has often. Version 3 with header
//! encryption shows nothing and is not recognised.

use crate::{
    Analyzer, Basis, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

/// The common header (n2n: `n2n_wire.h` of each version): version, then the community's name padded with zeros.
mod wire {
    /// Version 1: type, "sent by a supernode", hops; 16 bytes of name.
    pub(super) const V1: u8 = 1;
    /// Versions 2 and 3: time to live, flags with the type in the low five bits; 16 and 20 bytes of name.
    pub(super) const V2: u8 = 2;
    pub(super) const V3: u8 = 3;
    pub(super) const COMMUNITY: usize = 16;
    pub(super) const COMMUNITY_V3: usize = 20;
    pub(super) const TYPE: u16 = 0x1F;
    /// From a supernode, socket follows, options follow.
    pub(super) const FLAGS: u16 = 0x00E0;
    pub(super) const TYPE_LAST: u16 = 12;
    pub(super) const TTL_MAX: u8 = 2;
    /// Version 1: register, deregister, packet, register acknowledged, and the last.
    pub(super) const V1_TYPES: std::ops::RangeInclusive<u8> = 1..=4;
    /// Version 1 before the payload: the header, two MAC addresses, two sockets, sequence and checksum.
    pub(super) const V1_LEN_MIN: usize = 80;
    /// The shortest of the others: a registration's cookie and MAC address.
    pub(super) const LEN_MIN: usize = 26;
}

/// Datagrams of one side alone, all of one community, that make a recognition.
const ALONE: u8 = 6;

const COMMUNITY: Kind = Kind {
    name: "n2n.community",
    decibans: 18,
    says: "header with version, type, flags and a community's name padded with zeros (n2n n2n_wire.h)",
};
const BOTH: Kind = Kind {
    name: "n2n.both",
    decibans: 36,
    says: "both sides name the same community in headers of one version (n2n n2n_wire.h)",
};
const REPEATED: Kind = Kind {
    name: "n2n.repeated",
    decibans: 22,
    says: "one side names one community in every datagram, with several types or a MAC address behind it (n2n n2n_wire.h)",
};

/// Version and community.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Community {
    version: u8,
    name: [u8; wire::COMMUNITY],
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    community: Option<Community>,
    heard: [u8; 2],
}

impl Community {
    /// Community and type of a datagram.
    fn parse(data: &[u8], wire_len: usize) -> Option<(Self, u8)> {
        let mut r = Reader::new(data);
        let (version, second, flags) = (|| Ok::<_, Short>((r.u8()?, r.u8()?, r.u16()?)))().ok()?;
        let (kind, least, room) = match version {
            wire::V1 => {
                let fits = wire::V1_TYPES.contains(&second) && flags & 0xFEFE == 0;
                (fits.then_some(second)?, wire::V1_LEN_MIN, wire::COMMUNITY)
            }
            wire::V2 | wire::V3 => {
                let kind = flags & wire::TYPE;
                let fits = second <= wire::TTL_MAX
                    && flags & !(wire::TYPE | wire::FLAGS) == 0
                    && kind <= wire::TYPE_LAST;
                let room = if version == wire::V3 { wire::COMMUNITY_V3 } else { wire::COMMUNITY };
                (fits.then(|| u8::try_from(kind).ok())??, wire::LEN_MIN, room)
            }
            _ => return None,
        };
        let name = r.array::<{ wire::COMMUNITY }>().ok()?;
        let len = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        let (text, padding) = name.split_at_checked(len)?;
        // Version 1 leaves what was in memory behind the name's zero.
        let padded = version == wire::V1 || padding.iter().all(|b| *b == 0);
        let beyond = r.take(room.saturating_sub(wire::COMMUNITY)).ok()?;
        let beyond_fits = beyond.iter().all(|b| *b == 0 || (padding.is_empty() && b.is_ascii_graphic()));
        let fits = wire_len >= least
            && (2..=wire::COMMUNITY).contains(&len)
            && text.iter().all(u8::is_ascii_graphic)
            && padded
            && beyond_fits;
        let mut kept = [0; wire::COMMUNITY];
        kept.get_mut(..len)?.copy_from_slice(text);
        fits.then_some((Self { version, name: kept }, kind))
    }

    fn text(&self) -> String {
        self.name.iter().take_while(|b| **b != 0).map(|b| char::from(*b)).collect()
    }
}

/// Bits that a header of this community fixes once it is known: what a single datagram may be taken for.
fn is_long(community: &Community) -> bool {
    community.name.iter().filter(|b| **b != 0).count() >= 3
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "n2n",
        title: "n2n",
        label: Some("n2n"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[7654],
        first: FirstBytes::of(&[wire::V1, wire::V2, wire::V3]),
        budget: 16_384,
        carrier: false,
        reference: "ntop/n2n sources: n2n_wire.h, wire.c, n2n_typedefs.h (versions 1, 2 and 3)",
        evidence: &[COMMUNITY, BOTH, REPEATED],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match Community::parse(p.data, p.wire_len) {
            Some((community, _)) if is_long(&community) => Verdict::Yes,
            Some((community, _)) => match Community::parse(p.other, p.other.len()) {
                Some((other, _)) if other == community => Verdict::Yes,
                Some(_) => Verdict::No,
                None => Verdict::More,
            },
            None => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let Some((community, kind)) = Community::parse(seg.data, seg.wire_len) else { return Next::NotMine };
        if self.community.is_none() {
            out.evidence(&COMMUNITY, format!("version {}, {}", community.version, community.text()));
        }
        if *self.community.get_or_insert(community) != community {
            return Next::NotMine;
        }
        if let Some(heard) = self.heard.get_mut(seg.dir.index()) {
            *heard = heard.saturating_add(1);
        }
        // Who registers is the client of whom acknowledges.
        let asks = match community.version {
            wire::V1 => kind == 1,
            _ => matches!(kind, 5 | 12),
        };
        if asks {
            out.client.get_or_insert(seg.dir.sender());
        }
        if self.heard.iter().all(|n| *n > 0) {
            out.evidence(&BOTH, community.text());
            out.is("n2n");
            return Next::Done;
        }
        // Registrations that nobody answers are an attempt; data (version 1: 3, else 3) is sent to whom answered.
        if kind == 3 && self.heard.iter().any(|n| *n >= ALONE) {
            out.evidence(&REPEATED, community.text());
            out.is("n2n");
            out.basis = Basis::Midstream;
            return Next::Done;
        }
        Next::Continue { consumed: seg.data.len() }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] =
    &[tests::V1, tests::V2, tests::V3, tests::ONE_WAY];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};
    use crate::{Dir, Side};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    const fn datagram<const N: usize>(head: &[u8]) -> [u8; N] {
        let mut bytes = [0; N];
        let mut i = 0;
        while i < N {
            bytes[i] = if i < head.len() { head[i] } else { (i as u8).wrapping_mul(37) };
            i += 1;
        }
        bytes
    }

    const PACKET: &[u8] =
        &datagram::<140>(b"\x03\x02\0\x03office\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\x01\x02\0\0\0\0\x02");

    pub(super) const V1: Fixture<'_> = Fixture {
        name: "version 1: registration, leftovers behind the name",
        transport: Transport::Udp,
        payloads: &[
            (UP, &datagram::<87>(b"\x01\x01\0\0labnet\0\0\xc0\x2c\x33\xd4\xf4\x7f\0\0\x02\0\0\0\0\x02\0")),
            (
                DOWN,
                &datagram::<87>(b"\x01\x04\0\x01labnet\0\0\xc0\x0c\x45\x84\x15\x7f\0\0\x02\0\0\0\0\x01\0"),
            ),
        ],
    };
    pub(super) const V2: Fixture<'_> = Fixture {
        name: "version 2: registration with a supernode",
        transport: Transport::Udp,
        payloads: &[
            (
                UP,
                &datagram::<34>(b"\x02\x02\0\x05office\0\0\0\0\0\0\0\0\0\0\xaa\xbb\xcc\xdd\x02\0\0\0\0\x02"),
            ),
            (
                DOWN,
                &datagram::<49>(b"\x02\x02\0\x27office\0\0\0\0\0\0\0\0\0\0\xaa\xbb\xcc\xdd\x02\0\0\0\0\x02"),
            ),
        ],
    };
    pub(super) const V3: Fixture<'_> = Fixture {
        name: "version 3: registration with a supernode",
        transport: Transport::Udp,
        payloads: &[
            (UP, &datagram::<70>(b"\x03\x02\0\x05ab\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xaa\xbb\xcc\xdd")),
            (DOWN, &datagram::<80>(b"\x03\x02\0\x27ab\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xaa\xbb\xcc\xdd")),
        ],
    };
    pub(super) const ONE_WAY: Fixture<'_> = Fixture {
        name: "packets of one side",
        transport: Transport::Udp,
        payloads: &[(UP, PACKET), (UP, PACKET), (UP, PACKET), (UP, PACKET), (UP, PACKET), (UP, PACKET)],
    };

    #[test]
    fn all_versions_are_n2n_when_both_sides_name_the_community() {
        for fixture in [V1, V2, V3] {
            let got = drive::<State>(&fixture, usize::MAX);
            assert_eq!((got.out.label, got.out.client), (Some("n2n"), Some(Side::Src)), "{}", fixture.name);
        }
    }

    #[test]
    fn packets_of_one_side_are_n2n_in_the_middle_of_a_capture_and_registrations_are_not() {
        let got = drive::<State>(&ONE_WAY, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("n2n"), Basis::Midstream));
        let asked = V2.payloads[0];
        let got = drive::<State>(&Fixture { payloads: &[asked; 8], ..V2 }, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn another_community_on_the_way_back_is_not_n2n() {
        let other =
            datagram::<49>(b"\x02\x02\0\x27offset\0\0\0\0\0\0\0\0\0\0\xaa\xbb\xcc\xdd\x02\0\0\0\0\x02");
        let got = drive::<State>(&Fixture { payloads: &[V2.payloads[0], (DOWN, &other)], ..V2 }, usize::MAX);
        assert!(!got.mine);
    }

    #[test]
    fn headers_that_do_not_fit_are_not_taken() {
        for bytes in [
            &datagram::<34>(b"\x02\x02\0\x0doffice\0\0\0\0\0\0\0\0\0\0")[..], // type 13
            &datagram::<34>(b"\x02\x09\0\x05office\0\0\0\0\0\0\0\0\0\0"),     // nine hops to go
            &datagram::<34>(b"\x02\x02\0\x05off\x01ce\0\0\0\0\0\0\0\0\0\0"),  // no name
            &datagram::<34>(b"\x02\x02\0\x05office\0\0\0x\0\0\0\0\0\0"),      // no padding
            &datagram::<34>(b"\x02\x02\x01\x05office\0\0\0\0\0\0\0\0\0\0"),   // unknown flag
            &datagram::<60>(b"\x01\x01\0\0labnet\0\0"),                       // too short for version 1
            &datagram::<34>(b"\x03\x02\0\x05office\0\0\0\0\0\0\0\0\0\0\x01\0\0\0"),
        ] {
            let payloads = &[(UP, bytes), (DOWN, bytes)];
            assert!(!drive::<State>(&Fixture { payloads, ..V2 }, usize::MAX).mine, "{bytes:02x?}");
        }
    }
}
