//! NoMachine (NX protocol 4 and later, TCP; its UDP transport beside it).
//!
//! In: a byte stream or datagrams. Out: the label `nomachine` once client and server have named their versions (`NXSH-8.10.1`,
//! `NXD-8.10.1`), or both sides' datagrams count up; the TLS behind the versions is handed on as the inner stream.

use crate::{Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Transport, Verdict};

const HELLO: Kind =
    Kind { name: "nomachine.hello", decibans: 25, says: "a NoMachine version line from one side (observed)" };
const ANSWER: Kind = Kind {
    name: "nomachine.answer",
    decibans: 40,
    says: "NoMachine version lines of shell and server (observed)",
};

const DATAGRAMS: Kind = Kind {
    name: "nomachine.datagrams",
    decibans: 30,
    says: "datagrams of both sides with exact lengths and counters that go up by one (observed)",
};

/// Header of a datagram, little-endian: type, version 1, length of the whole, counter, zero.
mod datagram {
    pub(super) const VERSION: u16 = 1;
    /// The caller asks, the called side answers.
    pub(super) const ASK: u16 = 1;
    pub(super) const ANSWER: u16 = 2;
    pub(super) const TYPE_LAST: u16 = 31;
    /// Datagrams in a row, each way: each fixes eight bytes.
    pub(super) const RUN: u8 = 2;
}

/// What the client's line begins with, and the server's.
const CLIENT: &[u8] = b"NXSH-";
const SERVER: &[u8] = b"NXD-";
/// A version line is no longer than this.
const LINE_MAX: usize = 32;

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// The version line of this direction was read.
    opened: [bool; 2],
    /// Counter of the last datagram and how many in a row, by direction.
    counters: [Option<(u16, u8)>; 2],
}

/// Type and counter of a datagram.
fn datagram(data: &[u8], wire_len: usize) -> Option<(u16, u16)> {
    let mut r = Reader::new(data);
    let (kind, version, len) = (r.u16_le().ok()?, r.u16_le().ok()?, r.u16_le().ok()?);
    let (counter, zero) = (r.u16_le().ok()?, r.u16_le().ok()?);
    let fits = (1..=datagram::TYPE_LAST).contains(&kind)
        && version == datagram::VERSION
        && usize::from(len) == wire_len
        && zero == 0;
    fits.then_some((kind, counter))
}

impl State {
    fn on_datagram(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let Some((kind, counter)) = datagram(seg.data, seg.wire_len) else { return Next::NotMine };
        let caller = match kind {
            datagram::ASK => Some(seg.dir),
            datagram::ANSWER => Some(seg.dir.reverse()),
            _ => None,
        };
        if let Some(caller) = caller {
            out.client = Some(caller.sender());
            out.controlled = Some(caller.receiver());
        }
        if let Some(slot) = self.counters.get_mut(seg.dir.index()) {
            let run = match *slot {
                Some((last, run)) if counter == last.wrapping_add(1) => run.saturating_add(1),
                _ => 1,
            };
            *slot = Some((counter, run));
        }
        if self.counters.iter().all(|c| c.is_some_and(|(_, run)| run >= datagram::RUN)) {
            out.evidence(&DATAGRAMS, format!("counter {counter}"));
            out.is("nomachine");
            return Next::Done;
        }
        Next::Continue { consumed: seg.data.len() }
    }
}

/// A version line at the start of `data`.
enum Line<'a> {
    Whole { client: bool, version: &'a str, len: usize },
    Begun,
    Other,
}

impl<'a> Line<'a> {
    fn parse(data: &'a [u8]) -> Self {
        for (prefix, client) in [(CLIENT, true), (SERVER, false)] {
            let Some(rest) = data.strip_prefix(prefix) else { continue };
            let end = rest.iter().take(LINE_MAX).position(|b| !(b.is_ascii_digit() || *b == b'.'));
            let version = end.and_then(|end| std::str::from_utf8(rest.get(..end)?).ok());
            return match (end, version) {
                (Some(end), Some(version)) if end > 0 && rest.get(end) == Some(&b'\n') => {
                    Self::Whole { client, version, len: prefix.len().saturating_add(end).saturating_add(1) }
                }
                (None, _) if rest.len() < LINE_MAX => Self::Begun,
                _ => Self::Other,
            };
        }
        if CLIENT.starts_with(data) || SERVER.starts_with(data) { Self::Begun } else { Self::Other }
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "nomachine",
        title: "NoMachine",
        label: Some("nomachine"),
        app_proto: "failed",
        transports: &[Transport::Tcp, Transport::Udp],
        ports: &[4000],
        first: FirstBytes::of(b"N\x01\x02\x03"),
        budget: 16_384,
        carrier: false,
        reference: "No specification is published; version lines as observed",
        evidence: &[HELLO, ANSWER, DATAGRAMS],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.transport == Transport::Udp {
            let opens = p.data.first().is_some_and(|b| Self::META.first.has(*b));
            return if opens && datagram(p.data, p.wire_len).is_some() { Verdict::Yes } else { Verdict::No };
        }
        match Line::parse(p.data) {
            Line::Whole { .. } => Verdict::Yes,
            Line::Begun => Verdict::More,
            Line::Other => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.transport == Transport::Udp {
            return self.on_datagram(seg, out);
        }
        let all = Next::Continue { consumed: seg.data.len() };
        let [up, down] = &mut self.opened;
        let (opened, other) = if seg.dir == Dir::ToServer { (up, down) } else { (down, up) };
        if *opened {
            if seg.gap {
                return Next::Done;
            }
            out.inner.extend_from_slice(seg.data);
            return all;
        }
        match Line::parse(seg.data) {
            Line::Begun => Next::Continue { consumed: 0 },
            Line::Other if *other => Next::Done,
            Line::Other => Next::NotMine,
            Line::Whole { client, version, len } => {
                *opened = true;
                let viewer = if client { seg.dir } else { seg.dir.reverse() };
                out.client = Some(viewer.sender());
                let who = if client { "client" } else { "server" };
                let detail = format!("{who} {version}");
                if *other {
                    out.controlled = Some(viewer.receiver());
                    out.evidence(&ANSWER, detail);
                    out.is("nomachine");
                } else {
                    out.evidence(&HELLO, detail);
                }
                out.inner.extend_from_slice(seg.data.get(len..).unwrap_or(&[]));
                all
            }
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::SESSION, tests::OVER_UDP];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    pub(super) const SESSION: Fixture<'_> = Fixture {
        name: "version lines, then TLS",
        transport: Transport::Tcp,
        payloads: &[
            (Dir::ToServer, b"NXSH-8.10.1\n"),
            (Dir::ToClient, b"NXD-8.10.1\n"),
            (Dir::ToServer, b"\x16\x03\x01\x00\x05hello"),
            (Dir::ToClient, b"\x16\x03\x03\x00\x05HELLO"),
        ],
    };

    pub(super) const OVER_UDP: Fixture<'_> = Fixture {
        name: "datagrams",
        transport: Transport::Udp,
        payloads: &[
            (Dir::ToServer, b"\x01\0\x01\0\x0a\0\0\0\0\0"),
            (Dir::ToClient, b"\x02\0\x01\0\x0a\0\0\0\0\0"),
            (Dir::ToServer, b"\x03\0\x01\0\x0a\0\x01\0\0\0"),
            (Dir::ToClient, b"\x03\0\x01\0\x0b\0\x01\0\0\0x"),
        ],
    };

    #[test]
    fn datagrams_that_count_up_both_ways_are_nomachine() {
        let got = drive::<State>(&OVER_UDP, usize::MAX);
        assert_eq!(got.out.label, Some("nomachine"));
        assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
        let mut again = OVER_UDP.payloads.to_vec();
        again[3].1 = b"\x03\0\x01\0\x0b\0\x05\0\0\0x";
        let got = drive::<State>(&Fixture { payloads: &again, ..OVER_UDP }, usize::MAX);
        assert_eq!(got.out.label, None);
    }

    #[test]
    fn both_version_lines_are_nomachine_and_the_daemons_side_is_operated() {
        for piece in [usize::MAX, 3, 1] {
            let got = drive::<State>(&SESSION, piece);
            assert_eq!(got.out.label, Some("nomachine"));
            assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
            assert_eq!(
                got.inner,
                [b"\x16\x03\x01\x00\x05hello".to_vec(), b"\x16\x03\x03\x00\x05HELLO".to_vec()]
            );
        }
    }

    #[test]
    fn one_version_line_is_evidence_and_no_label() {
        let got = drive::<State>(&Fixture { payloads: &SESSION.payloads[..1], ..SESSION }, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn other_lines_are_not_taken() {
        for line in [&b"NXSH-\n"[..], b"NXSH-8.x\n", b"NICK someone\r\n", b"NXD-8.10.1 and more"] {
            let payloads = &[(Dir::ToServer, line)];
            assert!(!drive::<State>(&Fixture { payloads, ..SESSION }, usize::MAX).mine);
        }
    }
}
