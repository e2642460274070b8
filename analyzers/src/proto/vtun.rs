//! VTun (TCP; its UDP transport by itself).
//!
//! In: a byte stream or datagrams. Out: the label `vtun` once the server has let the client in, or from datagrams of exact length
//! beside echo requests and replies.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Transport, Verdict,
};

/// Greetings (VTun's `auth.c`, `vtun.h`): lines in messages of 50 bytes, padded with zeros.
mod greeting {
    pub(super) const LEN: usize = 50;
    pub(super) const SERVER: &[u8] = b"VTUN server ver ";
    pub(super) const HOST: &[u8] = b"HOST: ";
    pub(super) const CHALLENGE: &[u8] = b"OK CHAL: <";
    pub(super) const LET_IN: &[u8] = b"OK FLAGS: <";
}

/// Frames (VTun's `vtun.h`, `udp_proto.c`): length in the low twelve bits, flags above it.
mod frame {
    pub(super) const LEN: u16 = 0x0FFF;
    pub(super) const ECHO_REQUEST: u16 = 0x2000;
    pub(super) const ECHO_REPLY: u16 = 0x4000;
    pub(super) const CLOSE: u16 = 0x1000;
    /// Different lengths that must fit, each of twelve bits.
    pub(super) const LENGTHS: usize = 3;
    /// Datagrams without enough of them after which it is something else.
    pub(super) const GIVE_UP: u8 = 48;
}

const SERVER: Kind = Kind {
    name: "vtun.server",
    decibans: 26,
    says: "the server's greeting of 50 bytes with its version (VTun auth.c)",
};
const LET_IN: Kind = Kind {
    name: "vtun.let_in",
    decibans: 38,
    says: "the server names the tunnel's flags after the client's host and both challenges (VTun auth.c)",
};
const DATAGRAMS: Kind = Kind {
    name: "vtun.datagrams",
    decibans: 28,
    says: "an echo request and its reply beside datagrams of both sides that begin with their exact lengths (VTun udp_proto.c)",
};

/// How far the greeting has come.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    #[default]
    Nothing,
    Greeted,
    Host,
    Challenged,
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    step: Step,
    server: Option<Dir>,
    /// Datagrams: echo requests and replies by direction, lengths that fitted, and who sent them.
    asked: [bool; 2],
    replied: [bool; 2],
    lengths: [u16; frame::LENGTHS],
    sent: [bool; 2],
    datagrams: u8,
}

/// A line of the greeting: `None` while its message is not whole.
fn line(data: &[u8]) -> Option<Option<&[u8]>> {
    let message = data.get(..greeting::LEN)?;
    let end = message.iter().position(|b| *b == b'\n').unwrap_or(greeting::LEN);
    let (text, rest) = message.split_at_checked(end)?;
    let padded = rest.split_first().is_some_and(|(_, zeros)| zeros.iter().all(|b| *b == 0));
    let text = padded.then_some(text).filter(|t| t.iter().all(|b| (b' '..=b'~').contains(b)));
    Some(text)
}

/// Flags of a datagram and the length it gives, where that is right.
fn header(data: &[u8], wire_len: usize) -> Option<u16> {
    let word = Reader::new(data).u16().ok()?;
    let len = usize::from(word & frame::LEN);
    match word & !frame::LEN {
        0 => (len > 0 && len.saturating_add(2) == wire_len).then_some(word),
        frame::ECHO_REQUEST | frame::ECHO_REPLY | frame::CLOSE => (len == 0 && wire_len == 2).then_some(word),
        _ => None,
    }
}

impl State {
    fn on_datagram(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let Some(word) = header(seg.data, seg.wire_len) else { return Next::NotMine };
        let d = seg.dir.index();
        let slot = match word {
            frame::ECHO_REQUEST => self.asked.get_mut(d),
            // A reply without a question has none that was seen.
            frame::ECHO_REPLY if self.asked.get(seg.dir.reverse().index()) == Some(&true) => {
                self.replied.get_mut(d)
            }
            frame::ECHO_REPLY | frame::CLOSE => None,
            len => {
                if !self.lengths.contains(&len)
                    && let Some(free) = self.lengths.iter_mut().find(|l| **l == 0)
                {
                    *free = len;
                }
                self.sent.get_mut(d)
            }
        };
        if let Some(slot) = slot {
            *slot = true;
        }
        self.datagrams = self.datagrams.saturating_add(1);
        let fits = self.lengths.iter().all(|len| *len > 0) && self.sent == [true; 2];
        if fits && self.replied.contains(&true) {
            out.evidence(&DATAGRAMS, format!("lengths {:?}", self.lengths));
            out.is("vtun");
            out.basis = Basis::Midstream;
            return Next::Done;
        }
        if self.datagrams >= frame::GIVE_UP {
            Next::NotMine
        } else {
            Next::Continue { consumed: seg.data.len() }
        }
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "vtun",
        title: "VTun",
        label: Some("vtun"),
        app_proto: "failed",
        transports: &[Transport::Tcp, Transport::Udp],
        ports: &[5000],
        first: FirstBytes::of(&[b'V', 0x20, 0x40]),
        budget: 16_384,
        carrier: false,
        reference: "VTun 3.0 sources: auth.c, vtun.h, tcp_proto.c, udp_proto.c",
        evidence: &[SERVER, LET_IN, DATAGRAMS],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.transport.is_stream() {
            // An echo request is what a side sends first, and every thirty seconds.
            return match header(p.data, p.wire_len) {
                Some(frame::ECHO_REQUEST | frame::ECHO_REPLY) => Verdict::Yes,
                _ => Verdict::No,
            };
        }
        let n = p.data.len().min(greeting::SERVER.len());
        match (p.data.get(..n) == greeting::SERVER.get(..n), line(p.data)) {
            (false, _) | (_, Some(None)) => Verdict::No,
            (true, None) => Verdict::More,
            (true, Some(Some(_))) => Verdict::Yes,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if !seg.transport.is_stream() {
            return self.on_datagram(seg, out);
        }
        if seg.gap {
            return Next::NotMine;
        }
        let Some(text) = line(seg.data) else { return Next::Continue { consumed: 0 } };
        let from_server = self.server.is_none_or(|server| server == seg.dir);
        let Some(text) = text else {
            return if self.step == Step::Nothing { Next::NotMine } else { Next::Done };
        };
        match self.step {
            Step::Nothing if text.starts_with(greeting::SERVER) => {
                self.server = Some(seg.dir);
                self.step = Step::Greeted;
                out.client = Some(seg.dir.receiver());
                let version = text.get(greeting::SERVER.len()..).unwrap_or_default();
                out.evidence(&SERVER, String::from_utf8_lossy(version));
            }
            Step::Nothing => return Next::NotMine,
            Step::Greeted if from_server => return Next::Continue { consumed: 0 },
            Step::Greeted if text.starts_with(greeting::HOST) => self.step = Step::Host,
            Step::Host if from_server && text.starts_with(greeting::CHALLENGE) => {
                self.step = Step::Challenged;
            }
            Step::Challenged if from_server && text.starts_with(greeting::LET_IN) => {
                let flags = text.get(greeting::LET_IN.len()..).unwrap_or_default();
                out.evidence(&LET_IN, format!("<{}", String::from_utf8_lossy(flags)));
                out.is("vtun");
                return Next::Done;
            }
            // The client's challenge response, or something early.
            _ if !from_server => {}
            // "ERR".
            _ => return Next::Done,
        }
        Next::Continue { consumed: greeting::LEN }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::LOGIN, tests::OVER_UDP];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    const fn padded(text: &[u8]) -> [u8; greeting::LEN] {
        let mut bytes = [0; greeting::LEN];
        let mut i = 0;
        while i < text.len() {
            bytes[i] = text[i];
            i += 1;
        }
        bytes
    }

    pub(super) const LOGIN: Fixture<'_> = Fixture {
        name: "login over TCP",
        transport: Transport::Tcp,
        payloads: &[
            (DOWN, &padded(b"VTUN server ver 3.0.2 05/14/2022\n")),
            (UP, &padded(b"HOST: lab\n")),
            (DOWN, &padded(b"OK CHAL: <gcngioml>\n")),
            (UP, &padded(b"CHAL: <jmdicoga>\n")),
            (DOWN, &padded(b"OK FLAGS: <TuE1>\n")),
            (DOWN, b"\x20\0"),
        ],
    };
    pub(super) const OVER_UDP: Fixture<'_> = Fixture {
        name: "datagrams",
        transport: Transport::Udp,
        payloads: &[
            (DOWN, b"\x20\0"),
            (UP, b"\x20\0"),
            (UP, b"\x40\0"),
            (UP, b"\0\x05abcde"),
            (DOWN, b"\0\x03abc"),
            (UP, b"\0\x04abcd"),
        ],
    };

    #[test]
    fn a_client_that_was_let_in_is_vtun() {
        for piece in [usize::MAX, 7] {
            let got = drive::<State>(&LOGIN, piece);
            assert_eq!((got.out.label, got.out.client), (Some("vtun"), Some(Side::Dest.other())), "{piece}");
        }
    }

    #[test]
    fn a_client_that_was_turned_away_is_evidence_and_no_label() {
        let mut payloads = LOGIN.payloads.to_vec();
        let refusal = padded(b"ERR\n");
        payloads[4].1 = &refusal;
        let got = drive::<State>(&Fixture { payloads: &payloads, ..LOGIN }, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn echoes_and_exact_lengths_both_ways_are_vtun_over_udp() {
        assert_eq!(drive::<State>(&OVER_UDP, usize::MAX).out.label, Some("vtun"));
        // Without the reply, without one of the lengths, with a wrong one.
        let without = |i: usize| [&OVER_UDP.payloads[..i], &OVER_UDP.payloads[i + 1..]].concat();
        for payloads in [without(2), without(3), without(4)] {
            assert_eq!(
                drive::<State>(&Fixture { payloads: &payloads, ..OVER_UDP }, usize::MAX).out.label,
                None
            );
        }
        let mut payloads = OVER_UDP.payloads.to_vec();
        payloads[5].1 = b"\0\x05abcd";
        assert!(!drive::<State>(&Fixture { payloads: &payloads, ..OVER_UDP }, usize::MAX).mine);
    }

    #[test]
    fn other_banners_are_not_taken() {
        for bytes in
            [&padded(b"VTUN client ver 3\n"), &padded(b"VTUN server ver 3.0\x01\n"), &[b'V'; greeting::LEN]]
        {
            let payloads = &[(DOWN, &bytes[..])];
            assert!(!drive::<State>(&Fixture { payloads, ..LOGIN }, usize::MAX).mine);
        }
    }
}
