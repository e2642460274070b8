//! Citrix ICA (HDX), alone or in Citrix's Common Gateway Protocol (CGP), over TCP, inside a WebSocket or over UDP (EDT).
//!
//! In: a byte stream or datagrams. Out: the label `citrix` once both sides have sent the same magic, or, where one side is not seen,
//! once a side goes on behind ICA's, as it does only when it was answered. In datagrams the magic stands behind the transport's own
//! header, which is not looked at. What Citrix puts in TLS or DTLS is not seen.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const HELLO: Kind = Kind {
    name: "citrix.hello",
    decibans: 30,
    says: "the magic that ICA or CGP begins with (48 or 56 bits; observed, and as libprotoident and nDPI have it)",
};
const ANSWER: Kind =
    Kind { name: "citrix.answer", decibans: 40, says: "both sides began with the same magic of ICA or CGP" };
const GOES_ON: Kind = Kind {
    name: "citrix.goes_on",
    decibans: 10,
    says: "behind its magic a side goes on with an ICA packet, as it does once it was answered; the other side is not seen",
};

/// What both sides of ICA begin with; a server repeats it until it is answered.
const ICA: &[u8] = b"\x7f\x7fICA\0";
/// What both sides of CGP begin with; a server may add capabilities.
const CGP: &[u8] = b"\x1aCGP/01";
/// Bytes of a datagram in which the magic must begin: EDT has a header of its own before it.
const DATAGRAM_HEADER_MAX: usize = 48;
/// The first packets of ICA are far below this.
const PACKET_MAX: usize = 2_048;
/// Datagrams that may be of the transport alone, before it is something else.
const STRANGERS_MAX: u8 = 8;

/// Which of both protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    Ica,
    Cgp,
}

impl Magic {
    const ALL: [Self; 2] = [Self::Ica, Self::Cgp];

    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Ica => ICA,
            Self::Cgp => CGP,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ica => "ICA",
            Self::Cgp => "CGP",
        }
    }

    /// The magic at the start of a stream.
    fn at_start(data: &[u8]) -> Result<Option<Self>, Short> {
        if let Some(magic) = Self::ALL.into_iter().find(|magic| data.starts_with(magic.bytes())) {
            return Ok(Some(magic));
        }
        let begun = Self::ALL.iter().any(|magic| magic.bytes().starts_with(data));
        if begun { Err(Short) } else { Ok(None) }
    }

    /// CGP's magic in a datagram.
    fn in_datagram(data: &[u8]) -> Option<Self> {
        let head = data.get(..data.len().min(DATAGRAM_HEADER_MAX.saturating_add(CGP.len())))?;
        head.windows(CGP.len()).any(|window| window == CGP).then_some(Self::Cgp)
    }
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    said: [Option<Magic>; 2],
    strangers: u8,
}

/// Whether `data` is a whole ICA packet: a little-endian length of what is behind it, and nothing more in this direction yet.
fn is_packet(data: &[u8]) -> Result<bool, Short> {
    let mut r = Reader::new(data);
    let (len, known) = (usize::from(r.u16_le()?), r.rest().len());
    if (1..=PACKET_MAX).contains(&len) && known < len { Err(Short) } else { Ok(len > 0 && len == known) }
}

impl State {
    fn slots(&mut self, dir: Dir) -> (&mut Option<Magic>, &mut Option<Magic>) {
        let [up, down] = &mut self.said;
        if dir == Dir::ToServer { (up, down) } else { (down, up) }
    }

    /// A side has sent its magic: whether both have.
    fn says(&mut self, magic: Magic, seg: &Segment<'_>, out: &mut Out) -> bool {
        let (here, there) = self.slots(seg.dir);
        if here.is_some() {
            return false;
        }
        *here = Some(magic);
        if *there == Some(magic) {
            out.evidence(&ANSWER, magic.name());
            session(out);
            return true;
        }
        out.evidence(&HELLO, magic.name());
        false
    }

    fn on_datagram(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        match Magic::in_datagram(seg.data) {
            Some(magic) if self.says(magic, seg, out) => return Next::Done,
            Some(_) => {}
            None => self.strangers = self.strangers.saturating_add(1),
        }
        match (self.strangers > STRANGERS_MAX, self.said) {
            (true, [None, None]) => Next::NotMine,
            (true, _) => Next::Done,
            (false, _) => Next::Continue { consumed: seg.data.len() },
        }
    }
}

/// Sessions are opened by the client, whose person operates the other side.
fn session(out: &mut Out) {
    out.client = Some(Dir::ToServer.sender());
    out.controlled = Some(Dir::ToServer.receiver());
    out.is("citrix");
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "citrix",
        title: "Citrix ICA, CGP",
        label: Some("citrix"),
        app_proto: "failed",
        transports: &[Transport::Tcp, Transport::Udp],
        ports: &[1494, 2598],
        first: FirstBytes::ANY,
        budget: 16_384,
        carrier: false,
        reference: "No specification is published; magics as observed and as nDPI (citrix.c) and libprotoident (lpi_cgp.cc) have them",
        evidence: &[HELLO, ANSWER, GOES_ON],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.transport == Transport::Udp {
            return if Magic::in_datagram(p.data).is_some() { Verdict::Yes } else { Verdict::More };
        }
        match Magic::at_start(p.data) {
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.transport == Transport::Udp {
            return self.on_datagram(seg, out);
        }
        let mut rest = seg.data;
        loop {
            let consumed = seg.data.len().saturating_sub(rest.len());
            if rest.is_empty() {
                return Next::Continue { consumed };
            }
            let (here, there) = self.slots(seg.dir);
            let (here, there) = (*here, *there);
            match Magic::at_start(rest) {
                Err(Short) if here != Some(Magic::Cgp) => return Next::Continue { consumed },
                Ok(Some(magic)) => {
                    if self.says(magic, seg, out) {
                        return Next::Done;
                    }
                    // CGP's capabilities have no length that is known; what answers decides.
                    let len = if magic == Magic::Cgp { rest.len() } else { ICA.len() };
                    rest = rest.get(len..).unwrap_or(&[]);
                }
                Ok(None) | Err(Short) => match here {
                    None if there.is_none() => return Next::NotMine,
                    None => return Next::Done,
                    Some(Magic::Cgp) => rest = &[],
                    Some(Magic::Ica) => {
                        match is_packet(rest) {
                            Err(Short) => return Next::Continue { consumed },
                            Ok(false) => {}
                            Ok(true) => {
                                out.evidence(&GOES_ON, format!("{} B", rest.len()));
                                session(out);
                            }
                        }
                        return Next::Done;
                    }
                },
            }
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] =
    &[tests::ICA_SESSION, tests::CGP_SESSION, tests::EDT_SESSION];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    pub(super) const ICA_SESSION: Fixture<'_> = Fixture {
        name: "ICA, the server begins",
        transport: Transport::Tcp,
        payloads: &[
            (DOWN, b"\x7f\x7fICA\0"),
            (DOWN, b"\x7f\x7fICA\0"),
            (UP, b"\x7f\x7fICA\0"),
            (DOWN, b"\x04\0\0\x0f\0\x07"),
        ],
    };
    pub(super) const CGP_SESSION: Fixture<'_> = Fixture {
        name: "CGP, the client begins",
        transport: Transport::Tcp,
        payloads: &[(UP, b"\x1aCGP/01\x01\0\x02\0Citrix.TcpProxyService"), (DOWN, b"\x1aCGP/01\x13\0\x01")],
    };
    pub(super) const EDT_SESSION: Fixture<'_> = Fixture {
        name: "CGP in datagrams",
        transport: Transport::Udp,
        payloads: &[
            (UP, b"\x80\0\0\0\0\0\0\0handshake"),
            (DOWN, b"\x80\0\0\0\0\0\0\0handshake"),
            (UP, b"\0\0\0\x01\xc0\0\0\x01\x1aCGP/01\x01"),
            (DOWN, b"\0\0\0\x09\xc0\0\0\x01\x1aCGP/01\x13"),
        ],
    };

    #[test]
    fn both_magics_are_citrix_and_the_called_side_is_operated() {
        for fixture in [ICA_SESSION, CGP_SESSION, EDT_SESSION] {
            for piece in [usize::MAX, 4, 1] {
                let got = drive::<State>(&fixture, piece);
                assert_eq!(got.out.label, Some("citrix"), "{} by {piece}", fixture.name);
                assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
            }
        }
    }

    #[test]
    fn one_magic_is_evidence_and_no_label_until_its_side_goes_on() {
        let packet: &[u8] = b"\x03\0\x04\0\x04";
        for (dir, magic) in [(DOWN, ICA), (UP, ICA), (UP, CGP)] {
            let alone = drive::<State>(&Fixture { payloads: &[(dir, magic)], ..ICA_SESSION }, usize::MAX);
            assert_eq!((alone.out.label, alone.out.evidence.len()), (None, 1));
            let payloads = &[(dir, magic), (dir, packet)];
            let on = drive::<State>(&Fixture { payloads, ..ICA_SESSION }, usize::MAX);
            assert_eq!(on.out.label, (magic == ICA).then_some("citrix"));
        }
    }

    #[test]
    fn a_server_that_repeats_its_magic_unanswered_is_no_session() {
        let payloads = &[(DOWN, ICA); 5];
        let got = drive::<State>(&Fixture { payloads, ..ICA_SESSION }, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn a_probe_that_something_else_answers_is_no_session() {
        let payloads: &[(Dir, &[u8])] = &[(UP, CGP), (DOWN, b"HTTP/1.1 400 Bad Request\r\n\r\n")];
        assert_eq!(drive::<State>(&Fixture { payloads, ..CGP_SESSION }, usize::MAX).out.label, None);
        let payloads: &[(Dir, &[u8])] = &[(UP, CGP), (DOWN, ICA)];
        assert_eq!(drive::<State>(&Fixture { payloads, ..CGP_SESSION }, usize::MAX).out.label, None);
    }

    #[test]
    fn other_bytes_and_a_magic_deep_in_a_datagram_are_not_taken() {
        for bytes in [&b"\x7f\x7fELF"[..], b"\x1aCGI/01", b"\x7fELF\x02\x01"] {
            let payloads = &[(UP, bytes)];
            assert!(!drive::<State>(&Fixture { payloads, ..ICA_SESSION }, usize::MAX).mine);
        }
        let deep = [&[0x55; 200][..], CGP].concat();
        let payloads: &[(Dir, &[u8])] = &[(UP, &deep), (DOWN, &deep)];
        assert!(!drive::<State>(&Fixture { payloads, ..EDT_SESSION }, usize::MAX).mine);
    }
}
