//! X11 without a tunnel, and XDMCP, which asks a host for a session.
//!
//! In: a byte stream or datagrams. Out: the label `x11` once the X server took a connection, or the session manager accepted a display.
//!
//! In X the *server* is the screen a person sits at, and its clients are the programs: the side that opens the connection runs them, and is
//! operated. XDMCP goes the other way: the display asks, and the host that accepts will be operated.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport,
    Verdict,
};

const SETUP: Kind = Kind {
    name: "x11.setup",
    decibans: 30,
    says: "connection setup of an X client: byte order, protocol 11, authorization (X11 protocol, section 8)",
};
const TAKEN: Kind = Kind {
    name: "x11.accepted",
    decibans: 40,
    says: "the X server took the connection, protocol 11 (X11 protocol, section 8)",
};
const REFUSED: Kind = Kind {
    name: "x11.refused",
    decibans: 15,
    says: "the X server refused the connection (X11 protocol, section 8)",
};
const QUERY: Kind =
    Kind { name: "x11.xdmcp", decibans: 20, says: "XDMCP packet of exact length (XDMCP 1.0, section 4)" };
const ACCEPT: Kind = Kind {
    name: "x11.xdmcp_session",
    decibans: 35,
    says: "the manager accepts a display (XDMCP 1.0, section 4)",
};

/// XDMCP opcodes (XDMCP 1.0, appendix A).
mod opcode {
    pub(super) const BROADCAST_QUERY: u16 = 1;
    pub(super) const QUERY: u16 = 2;
    pub(super) const REQUEST: u16 = 7;
    pub(super) const ACCEPT: u16 = 8;
    pub(super) const MANAGE: u16 = 10;
    pub(super) const LAST: u16 = 14;
}

/// Protocol 11 is the only one there is.
const MAJOR: u16 = 11;
/// Authorization names and data are short.
const AUTHORIZATION_MAX: u16 = 256;
/// A server's answer in 4-byte units: screens, formats, a vendor's name.
const ANSWER_MAX: u16 = 16_384;

/// Byte order of a connection, as its client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

impl Order {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            b'B' => Some(Self::Big),
            b'l' => Some(Self::Little),
            _ => None,
        }
    }

    fn u16(self, r: &mut Reader<'_>) -> Result<u16, Short> {
        match self {
            Self::Big => r.u16(),
            Self::Little => r.u16_le(),
        }
    }
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    setup: Option<(Dir, Order)>,
    said_query: bool,
}

/// A client's connection setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setup<'a> {
    order: Order,
    authorization: &'a [u8],
    len: usize,
}

/// The setup at the start of `data`; `None` if it is none.
fn setup(data: &[u8]) -> Result<Option<Setup<'_>>, Short> {
    let mut r = Reader::new(data);
    let Some(order) = Order::of(r.u8()?) else { return Ok(None) };
    let _unused = r.u8()?;
    let (major, minor) = (order.u16(&mut r)?, order.u16(&mut r)?);
    let (name_len, data_len) = (order.u16(&mut r)?, order.u16(&mut r)?);
    if major != MAJOR || minor != 0 || name_len > AUTHORIZATION_MAX || data_len > AUTHORIZATION_MAX {
        return Ok(None);
    }
    r.skip(2)?;
    let name = r.take(usize::from(name_len))?;
    r.skip(pad(name_len))?;
    r.skip(usize::from(data_len).saturating_add(pad(data_len)))?;
    let fits = name.iter().all(u8::is_ascii_graphic) && (name_len > 0 || data_len == 0);
    Ok(fits.then_some(Setup { order, authorization: name, len: r.taken() }))
}

/// Bytes that fill `len` up to whole words.
const fn pad(len: u16) -> usize {
    match len % 4 {
        1 => 3,
        2 => 2,
        3 => 1,
        _ => 0,
    }
}

/// The server's answer: 1 taken, 0 refused, 2 wants more authentication.
fn answer(data: &[u8], order: Order) -> Result<Option<u8>, Short> {
    let mut r = Reader::new(data);
    let (status, _reason) = (r.u8()?, r.u8()?);
    let (major, minor, units) = (order.u16(&mut r)?, order.u16(&mut r)?, order.u16(&mut r)?);
    // Only the third kind has no version.
    let fits = status == 2 || (status <= 1 && major == MAJOR && minor == 0);
    Ok((fits && units <= ANSWER_MAX).then_some(status))
}

/// Opcode of an XDMCP packet whose length is right.
fn xdmcp(data: &[u8], wire_len: usize) -> Option<u16> {
    let mut r = Reader::new(data);
    let (version, opcode, len) = (r.u16().ok()?, r.u16().ok()?, r.u16().ok()?);
    let fits = version == 1 && (opcode::BROADCAST_QUERY..=opcode::LAST).contains(&opcode);
    (fits && usize::from(len).checked_add(6) == Some(wire_len)).then_some(opcode)
}

impl State {
    fn on_xdmcp(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: seg.data.len() };
        let Some(opcode) = xdmcp(seg.data, seg.wire_len) else {
            return if self.said_query { go_on } else { Next::NotMine };
        };
        if !self.said_query {
            self.said_query = true;
            out.evidence(&QUERY, format!("opcode {opcode}"));
        }
        let display = match opcode {
            opcode::ACCEPT => seg.dir.reverse(),
            opcode::QUERY | opcode::REQUEST | opcode::MANAGE => seg.dir,
            _ => return go_on,
        };
        out.client = Some(display.sender());
        // A display manages only what was accepted before.
        if opcode != opcode::ACCEPT && opcode != opcode::MANAGE {
            return go_on;
        }
        out.controlled = Some(display.receiver());
        out.evidence(&ACCEPT, if opcode == opcode::ACCEPT { "accept" } else { "manage" });
        out.is("x11");
        Next::Done
    }

    fn on_stream(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let wait = Next::Continue { consumed: 0 };
        match self.setup {
            None => match setup(seg.data) {
                Err(Short) => wait,
                Ok(None) => Next::NotMine,
                Ok(Some(Setup { order, authorization, len })) => {
                    self.setup = Some((seg.dir, order));
                    let name = String::from_utf8_lossy(authorization);
                    out.client = Some(seg.dir.sender());
                    out.evidence(&SETUP, if name.is_empty() { "no authorization".into() } else { name });
                    Next::Continue { consumed: len }
                }
            },
            Some((client, _)) if client == seg.dir => {
                // One side alone: an X client sends requests only once it was taken.
                out.controlled = Some(client.sender());
                out.evidence(&TAKEN, "the client goes on");
                out.is("x11");
                out.basis = Basis::Handshake;
                Next::Done
            }
            Some((client, order)) => match answer(seg.data, order) {
                Err(Short) => wait,
                Ok(Some(1)) => {
                    out.controlled = Some(client.sender());
                    out.evidence(&TAKEN, "protocol 11");
                    out.is("x11");
                    Next::Done
                }
                Ok(Some(_)) => {
                    out.evidence(&REFUSED, "no");
                    Next::Done
                }
                Ok(None) => Next::Done,
            },
        }
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "x11",
        title: "X11, XDMCP",
        label: Some("x11"),
        app_proto: "failed",
        transports: &[Transport::Tcp, Transport::Udp],
        ports: &[6000, 6001, 6010, 177],
        first: FirstBytes::of(b"Bl\0"),
        budget: 4_096,
        carrier: false,
        reference: "X Window System Protocol, X Version 11, section 8; X Display Manager Control Protocol 1.0",
        evidence: &[SETUP, TAKEN, REFUSED, QUERY, ACCEPT],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.transport == Transport::Udp {
            return if xdmcp(p.data, p.wire_len).is_some() { Verdict::Yes } else { Verdict::No };
        }
        match setup(p.data) {
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.transport == Transport::Udp { self.on_xdmcp(seg, out) } else { self.on_stream(seg, out) }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::LITTLE, tests::BIG, tests::XDMCP];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    pub(super) const LITTLE: Fixture<'_> = Fixture {
        name: "a program with a cookie",
        transport: Transport::Tcp,
        payloads: &[
            (UP, b"l\0\x0b\0\0\0\x12\0\x10\0\0\0MIT-MAGIC-COOKIE-1\0\0cookiecookiecook"),
            (DOWN, b"\x01\0\x0b\0\0\0\x40\0release!"),
        ],
    };
    pub(super) const BIG: Fixture<'_> = Fixture {
        name: "a big-endian program without authorization",
        transport: Transport::Tcp,
        payloads: &[(UP, b"B\0\0\x0b\0\0\0\0\0\0\0\0"), (DOWN, b"\x01\0\0\x0b\0\0\0\x40release!")],
    };
    pub(super) const XDMCP: Fixture<'_> = Fixture {
        name: "a display asks for a session",
        transport: Transport::Udp,
        payloads: &[
            (UP, b"\0\x01\0\x02\0\x01\0"),
            (DOWN, b"\0\x01\0\x05\0\x06\0\0\0\0\0\0"),
            (UP, b"\0\x01\0\x07\0\x02\0\0"),
            (DOWN, b"\0\x01\0\x08\0\x04abcd"),
        ],
    };

    #[test]
    fn the_side_that_runs_the_programs_is_operated() {
        for fixture in [LITTLE, BIG] {
            for piece in [usize::MAX, 5, 1] {
                let got = drive::<State>(&fixture, piece);
                assert_eq!(got.out.label, Some("x11"), "{}", fixture.name);
                assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Src)));
            }
        }
    }

    #[test]
    fn the_host_that_accepts_a_display_is_operated() {
        let got = drive::<State>(&XDMCP, usize::MAX);
        assert_eq!(got.out.label, Some("x11"));
        assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
    }

    #[test]
    fn a_setup_that_is_refused_or_not_answered_is_evidence_and_no_label() {
        let alone = drive::<State>(&Fixture { payloads: &LITTLE.payloads[..1], ..LITTLE }, usize::MAX);
        assert_eq!((alone.out.label, alone.out.evidence.len()), (None, 1));
        let payloads = &[LITTLE.payloads[0], (DOWN, &b"\0\x05\x0b\0\0\0\x02\0sorry..."[..])];
        let refused = drive::<State>(&Fixture { payloads, ..LITTLE }, usize::MAX);
        assert_eq!(refused.out.label, None);
        assert_eq!(refused.out.evidence[1].kind.name, "x11.refused");
    }

    #[test]
    fn a_query_that_nobody_accepts_is_evidence_and_no_label() {
        let got = drive::<State>(&Fixture { payloads: &XDMCP.payloads[..3], ..XDMCP }, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn text_and_other_datagrams_are_not_taken() {
        for (transport, bytes) in [
            (Transport::Tcp, &b"login: "[..]),
            (Transport::Tcp, b"BitTorrent protocol"),
            (Transport::Udp, b"\0\x01\0\x08\x21\x12\xa4\x42abcdefghijkl12345678"),
            (Transport::Udp, b"\0\x01\0\x02\0\x02\0"),
        ] {
            let got = drive::<State>(&Fixture { name: "", transport, payloads: &[(UP, bytes)] }, usize::MAX);
            assert!(!got.mine, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
