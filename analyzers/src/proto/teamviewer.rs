//! TeamViewer's own protocol (TCP, UDP).
//!
//! In: a byte stream or datagrams. Out: the label `teamviewer` once both directions carry its messages, or one carries several in a
//! row: two magic bytes, a command, and a length that leads exactly to the next message or to the datagram's end.
//!
//! The relay forwards both ends' messages, so the wire does not tell who is operated. TeamViewer through HTTPS is told by its names.

use crate::{
    Analyzer, Basis, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const MESSAGES: Kind = Kind {
    name: "teamviewer.messages",
    decibans: 40,
    says: "messages with the magic bytes 17 24 or 11 30 and exact lengths (observed; the magic is published by protocol classifiers)",
};

/// Header of a message, in three forms. Lengths are little-endian and do not count the header.
mod form {
    /// First phase of a TCP connection: magic, command, length of two bytes.
    pub(super) const PLAIN: [u8; 2] = [0x17, 0x24];
    pub(super) const PLAIN_HEADER: usize = 5;
    /// Second phase: magic, command, zero, length of four bytes, counter of the sender, counter of the receiver, two constants.
    pub(super) const COUNTED: [u8; 2] = [0x11, 0x30];
    pub(super) const COUNTED_HEADER: usize = 24;
    /// Datagram: counter, counter, session, type, magic, command, length of two bytes.
    pub(super) const DATAGRAM_HEADER: usize = 16;
    pub(super) const DATAGRAM_MAGIC_AT: usize = 11;
}

/// Messages of one direction alone that are enough; each fixes four bytes.
const ALONE: u8 = 3;
/// Longer messages were not seen.
const MESSAGE_MAX: usize = 65_536;

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    /// Messages, by direction.
    messages: [u8; 2],
    /// Bytes of the message at work that are still to come, by direction.
    rest: [usize; 2],
}

/// A message's command and whole length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    command: u8,
    len: usize,
    plain: bool,
}

impl Message {
    /// From the header at the start of a stream's message; `Ok(None)` if it is none.
    fn in_stream(data: &[u8]) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        let magic: [u8; 2] = match data {
            [a, b, ..] => [*a, *b],
            [a] if *a == form::PLAIN[0] || *a == form::COUNTED[0] => return Err(Short),
            _ => return Ok(None),
        };
        r.skip(2)?;
        let (command, body, header) = match magic {
            form::PLAIN => (r.u8()?, usize::from(r.u16_le()?), form::PLAIN_HEADER),
            form::COUNTED => {
                let (command, zero) = (r.u8()?, r.u8()?);
                let body = usize::try_from(r.u32_le()?).unwrap_or(usize::MAX);
                if zero != 0 {
                    return Ok(None);
                }
                (command, body, form::COUNTED_HEADER)
            }
            _ => return Ok(None),
        };
        let fits = body <= MESSAGE_MAX && command != 0;
        Ok(fits.then(|| Self { command, len: body.saturating_add(header), plain: magic == form::PLAIN }))
    }

    /// A whole datagram.
    fn in_datagram(data: &[u8], wire_len: usize) -> Option<Self> {
        let mut r = Reader::new(data);
        r.skip(form::DATAGRAM_MAGIC_AT).ok()?;
        let (magic, command, body) = (r.array::<2>().ok()?, r.u8().ok()?, r.u16_le().ok()?);
        let len = usize::from(body).saturating_add(form::DATAGRAM_HEADER);
        let fits = magic == form::PLAIN && command != 0 && len == wire_len;
        fits.then_some(Self { command, len, plain: true })
    }
}

impl State {
    fn on_message(&mut self, message: Message, seg: &Segment<'_>, out: &mut Out) -> Option<Next> {
        let count = self.messages.get_mut(seg.dir.index())?;
        *count = count.saturating_add(1);
        let both = self.messages.iter().all(|n| *n > 0);
        if seg.transport == Transport::Tcp && message.plain {
            // The side that opens the conversation begins it in the first form; the relay answers in the second.
            out.client.get_or_insert(seg.dir.sender());
        }
        if both || self.messages.iter().any(|n| *n >= ALONE) {
            out.evidence(&MESSAGES, format!("command {:#04x}, {} bytes", message.command, message.len));
            out.is("teamviewer");
            if out.client.is_none() && seg.transport == Transport::Tcp {
                out.basis = Basis::Midstream;
            }
            return Some(Next::Done);
        }
        None
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "teamviewer",
        title: "TeamViewer",
        label: Some("teamviewer"),
        app_proto: "failed",
        transports: &[Transport::Tcp, Transport::Udp],
        ports: &[5938],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "No specification is published; framing as observed over whole connections, magic bytes as in OpenDPI (2012)",
        evidence: &[MESSAGES],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.transport == Transport::Udp {
            return match Message::in_datagram(p.data, p.wire_len) {
                Some(_) => Verdict::Yes,
                None => Verdict::No,
            };
        }
        match Message::in_stream(p.data) {
            Err(Short) => Verdict::More,
            Ok(None) => Verdict::No,
            // One message that ends with the segment, or one whose follower begins as it should.
            Ok(Some(message)) => match p.data.get(message.len..) {
                None if p.other.is_empty() => Verdict::More,
                None => match Message::in_stream(p.other) {
                    Ok(Some(_)) => Verdict::Yes,
                    Ok(None) => Verdict::No,
                    Err(Short) => Verdict::More,
                },
                Some([]) => Verdict::Yes,
                Some(behind) => match Message::in_stream(behind) {
                    Ok(Some(_)) => Verdict::Yes,
                    Ok(None) => Verdict::No,
                    Err(Short) => Verdict::More,
                },
            },
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let all = Next::Continue { consumed: seg.data.len() };
        if seg.transport == Transport::Udp {
            let message = Message::in_datagram(seg.data, seg.wire_len);
            return message.and_then(|m| self.on_message(m, seg, out)).unwrap_or(all);
        }
        if seg.gap && self.messages.iter().any(|n| *n > 0) {
            return Next::Done;
        }
        let here = seg.dir.index();
        let mut data = seg.data;
        loop {
            let Some(rest) = self.rest.get_mut(here) else { return Next::Done };
            let skip = (*rest).min(data.len());
            *rest = rest.saturating_sub(skip);
            data = data.get(skip..).unwrap_or(&[]);
            if data.is_empty() {
                return all;
            }
            match Message::in_stream(data) {
                Err(Short) => {
                    return Next::Continue { consumed: seg.data.len().saturating_sub(data.len()) };
                }
                Ok(None) => return Next::NotMine,
                Ok(Some(message)) => {
                    *rest = message.len;
                    if let Some(next) = self.on_message(message, seg, out) {
                        return next;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::RELAYED, tests::COUNTED, tests::DIRECT];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};
    use crate::{Dir, Side};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    pub(super) const RELAYED: Fixture<'_> = Fixture {
        name: "a client and its relay",
        transport: Transport::Tcp,
        payloads: &[
            (UP, b"\x17\x24\x0a\x04\x00abcd"),
            (UP, b"\x17\x24\x28\x02\x00ab\x17\x24\x3c\x01\x00a"),
            (DOWN, b"\x11\x30\x36\x00\x04\x00\x00\x00\x01\0\0\0\0\0\0\0\x1b\0\0\0\x18\0\0\0abcd"),
        ],
    };
    pub(super) const COUNTED: Fixture<'_> = Fixture {
        name: "a connection that is older than the capture",
        transport: Transport::Tcp,
        payloads: &[
            (DOWN, b"\x11\x30\x3c\x00\x02\x00\x00\x00\x09\0\0\0\x07\0\0\0\x1b\0\0\0\x18\0\0\0ab"),
            (UP, b"\x11\x30\x3c\x00\x02\x00\x00\x00\x08\0\0\0\x09\0\0\0\x1b\0\0\0\x18\0\0\0ab"),
        ],
    };
    pub(super) const DIRECT: Fixture<'_> = Fixture {
        name: "datagrams between the ends",
        transport: Transport::Udp,
        payloads: &[
            (UP, b"\0\0\0\0\0\0\0\0\0\0\x03\x17\x24\x47\x02\x00ab"),
            (DOWN, b"\0\0\0\0\0\0\0\0\x44\x26\x04\x17\x24\x40\x03\x00abc"),
        ],
    };

    #[test]
    fn every_conversation_is_teamviewer_and_nobody_is_said_to_be_operated() {
        for fixture in FIXTURES {
            for piece in [usize::MAX, 5, 1] {
                let got = drive::<State>(fixture, piece);
                assert_eq!(got.out.label, Some("teamviewer"), "{} in pieces of {piece}", fixture.name);
                assert_eq!(got.out.controlled, None);
            }
        }
        assert_eq!(drive::<State>(&RELAYED, usize::MAX).out.client, Some(Side::Src));
        assert_eq!(drive::<State>(&COUNTED, usize::MAX).out.basis, Basis::Midstream);
    }

    #[test]
    fn one_message_alone_is_no_label() {
        for fixture in [RELAYED, COUNTED, DIRECT] {
            let alone = Fixture { payloads: &fixture.payloads[..1], ..fixture };
            assert_eq!(drive::<State>(&alone, usize::MAX).out.label, None, "{}", fixture.name);
        }
    }

    #[test]
    fn magic_bytes_before_a_length_that_leads_nowhere_are_not_taken() {
        let cases: [(Transport, &[u8]); 4] = [
            (Transport::Tcp, b"\x17\x24\x0a\x04\x00abcdGET / HTTP/1.1"),
            (Transport::Tcp, b"\x11\x30\x36\x01\x04\x00\x00\x00"),
            (Transport::Udp, b"\0\0\0\0\0\0\0\0\0\0\x03\x17\x24\x47\x03\x00ab"),
            (Transport::Udp, b"\0\0\0\0\0\0\0\0\0\0\x03\x17\x25\x47\x02\x00ab"),
        ];
        for (transport, bytes) in cases {
            let got = drive::<State>(&Fixture { name: "", transport, payloads: &[(UP, bytes)] }, usize::MAX);
            assert!(!got.mine, "{bytes:02x?}");
        }
    }
}
