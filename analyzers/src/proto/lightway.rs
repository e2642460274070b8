//! Lightway over UDP (ExpressVPN).
//!
//! In: datagrams. Out: the label `expressvpn` once the server has answered, or a session has a number. Each datagram is a header of 16
//! bytes and a DTLS record. Over TCP Lightway is TLS and shows nothing of its own.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport,
    Verdict,
};

const PACKET: Kind = Kind {
    name: "lightway.packet",
    decibans: 30,
    says: "\"He\", version 1, reserved bytes of zero, then a DTLS record (lightway-core, he_wire_hdr)",
};
const SESSION: Kind = Kind {
    name: "lightway.session",
    decibans: 38,
    says: "such datagrams from both sides, or with a session number, which only the server gives (lightway-core, conn.c)",
};

/// The header (lightway-core, he.h: `he_wire_hdr_t`, versions 1.0 to 1.2).
mod header {
    pub(super) const MAGIC: [u8; 2] = *b"He";
    pub(super) const MAJOR: u8 = 1;
    /// Minor versions seen in sources are 0 to 2; later ones will be small too.
    pub(super) const MINOR_MAX: u8 = 9;
    pub(super) const AGGRESSIVE_MAX: u8 = 1;
    /// Session numbers of a client that has none yet, and of one that refuses to roam.
    pub(super) const NO_SESSION: [u64; 2] = [0, u64::MAX];
}

/// DTLS (RFC 6347 section 4.1, RFC 9147 section 4).
mod record {
    pub(super) const KINDS: std::ops::RangeInclusive<u8> = 20..=26;
    pub(super) const VERSIONS: [u16; 2] = [0xFEFF, 0xFEFD];
    /// Upper bits of DTLS 1.3's short header.
    pub(super) const UNIFIED_MASK: u8 = 0xE0;
    pub(super) const UNIFIED: u8 = 0x20;
    /// A tag of 16 bytes and what is before it.
    pub(super) const UNIFIED_LEAST: usize = 18;
    pub(super) const HANDSHAKE: u8 = 22;
}

/// What is known of the session.
#[derive(Debug, Default)]
pub struct State {
    first: Option<Dir>,
    opened: bool,
}

/// A datagram: its session number, and whether a handshake in clear is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    minor: u8,
    session: u64,
    handshake: bool,
}

fn packet(data: &[u8], wire_len: usize) -> Result<Option<Packet>, Short> {
    let mut r = Reader::new(data);
    let (magic, major, minor) = (r.array::<2>()?, r.u8()?, r.u8()?);
    let (aggressive, reserved, session) = (r.u8()?, r.u24()?, r.u64()?);
    let right = magic == header::MAGIC
        && major == header::MAJOR
        && minor <= header::MINOR_MAX
        && aggressive <= header::AGGRESSIVE_MAX
        && reserved == 0;
    if !right {
        return Ok(None);
    }
    let inside = wire_len.saturating_sub(r.taken());
    let kind = r.u8()?;
    if kind & record::UNIFIED_MASK == record::UNIFIED {
        let enough = inside >= record::UNIFIED_LEAST;
        return Ok(enough.then_some(Packet { minor, session, handshake: false }));
    }
    let (version, _epoch, _sequence, _length) = (r.u16()?, r.u16()?, r.skip(6)?, r.u16()?);
    let known = record::KINDS.contains(&kind) && record::VERSIONS.contains(&version);
    Ok(known.then_some(Packet { minor, session, handshake: kind == record::HANDSHAKE }))
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "lightway",
        title: "Lightway (ExpressVPN)",
        label: Some("expressvpn"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[],
        first: FirstBytes::of(b"H"),
        budget: 16_384,
        carrier: false,
        reference: "ExpressVPN's lightway-core sources: he.h, wolf.c, conn.c",
        evidence: &[PACKET, SESSION],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match packet(p.data, p.wire_len) {
            Ok(Some(_)) => Verdict::Yes,
            _ => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let Ok(Some(packet)) = packet(seg.data, seg.wire_len) else {
            return if self.first.is_none() { Next::NotMine } else { Next::Done };
        };
        self.opened |= packet.handshake;
        if self.first.is_none() {
            self.first = Some(seg.dir);
            out.evidence(&PACKET, format!("version 1.{}", packet.minor));
            // The client begins, with no session.
            if packet.session == 0 {
                out.client = Some(seg.dir.sender());
            }
        }
        if self.first == Some(seg.dir) && header::NO_SESSION.contains(&packet.session) {
            return Next::Continue { consumed: seg.data.len() };
        }
        out.evidence(&SESSION, format!("session {:#018x}", packet.session));
        out.is("expressvpn");
        if !self.opened {
            out.basis = Basis::Midstream;
        }
        Next::Done
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::SESSION_OPENS];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, Outcome, drive};

    const HELLO: &[u8] =
        b"He\x01\x00\x00\0\0\0\0\0\0\0\0\0\0\0\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x03\x01\x00\x00";
    const ANSWER: &[u8] =
        b"He\x01\x00\x00\0\0\0\x11\x22\x33\x44\x55\x66\x77\x88\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x03\x03\x00\x00";
    const DATA: &[u8] = b"He\x01\x02\x01\0\0\0\x11\x22\x33\x44\x55\x66\x77\x88\x2c\x81\x91\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11";

    pub(super) const SESSION_OPENS: Fixture<'_> = Fixture {
        name: "hello and answer",
        transport: Transport::Udp,
        payloads: &[(Dir::ToServer, HELLO), (Dir::ToClient, ANSWER)],
    };

    fn of(payloads: &[(Dir, &[u8])]) -> Outcome {
        drive::<State>(&Fixture { payloads, ..SESSION_OPENS }, usize::MAX)
    }

    #[test]
    fn an_answered_hello_is_expressvpn() {
        let got = drive::<State>(&SESSION_OPENS, usize::MAX);
        assert_eq!((got.out.label, got.out.client), (Some("expressvpn"), Some(Side::Src)));
        assert_eq!(got.out.basis, Basis::Handshake);
    }

    #[test]
    fn hellos_without_an_answer_are_evidence() {
        let got = of(&[(Dir::ToServer, HELLO), (Dir::ToServer, HELLO), (Dir::ToServer, HELLO)]);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn a_session_is_known_by_its_number_from_either_side() {
        for dir in [Dir::ToServer, Dir::ToClient] {
            let got = of(&[(dir, DATA)]);
            assert_eq!((got.out.label, got.out.basis), (Some("expressvpn"), Basis::Midstream));
        }
    }

    #[test]
    fn text_and_other_records_are_not_lightway() {
        for (at, value) in [(1, b'E'), (2, 2), (3, 0x20), (4, 2), (6, 1), (16, 0x41), (17, 3)] {
            let mut bytes = HELLO.to_vec();
            bytes[at] = value;
            assert!(!of(&[(Dir::ToServer, &bytes)]).mine, "byte {at}");
        }
        assert!(!of(&[(Dir::ToServer, b"Hello, is anybody there? Answer me")]).mine);
    }
}
