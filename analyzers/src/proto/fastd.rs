//! fastd (UDP).
//!
//! In: datagrams. Out: the label `fastd` once a handshake is answered. Its data has a counter for a header and is not recognised alone.

use crate::{Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Transport, Verdict};

/// A handshake (fastd's `handshake.h`): type, zero, length of the records, records of type, length (both little-endian) and value.
mod handshake {
    pub(super) const PACKET: u8 = 1;
    pub(super) const HEADER: usize = 4;
    /// From release 22 on also behind a header of L2TP control (`handshake.c`).
    pub(super) const L2TP: &[u8] = &[0xC8, 3, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0];
    /// Records.
    pub(super) const STEP: u16 = 0;
    pub(super) const REPLY_CODE: u16 = 1;
    pub(super) const PROTOCOL: u16 = 5;
    pub(super) const SENDER_KEY: u16 = 6;
    pub(super) const RECIPIENT_KEY: u16 = 7;
    pub(super) const RECORD_LAST: u16 = 31;
    pub(super) const STEPS: std::ops::RangeInclusive<u8> = 1..=3;
    pub(super) const KEY: usize = 32;
}

const ASKED: Kind = Kind {
    name: "fastd.asked",
    decibans: 27,
    says: "first message of a handshake: records of step, protocol and keys that fill the datagram (fastd handshake.h)",
};
const ANSWERED: Kind = Kind {
    name: "fastd.answered",
    decibans: 39,
    says: "the handshake goes on with the keys of the message before, in each other's place (fastd ec25519_fhmqvc)",
};

/// A message of the handshake.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    step: u8,
    /// 0: accepted.
    reply: Option<u8>,
    protocol: &'a [u8],
    sender: &'a [u8],
    recipient: &'a [u8],
}

impl<'a> Message<'a> {
    fn parse(data: &'a [u8], wire_len: usize) -> Option<Self> {
        let inner = data.strip_prefix(handshake::L2TP).unwrap_or(data);
        let len = wire_len.saturating_sub(data.len().saturating_sub(inner.len()));
        let mut r = Reader::new(inner);
        let (kind, zero, records) = (r.u8().ok()?, r.u8().ok()?, usize::from(r.u16().ok()?));
        // Before release 17 the length's place was reserved.
        let fits = kind == handshake::PACKET
            && zero == 0
            && (records == 0 || records.saturating_add(handshake::HEADER) == len);
        if !fits || inner.len() != len {
            return None;
        }
        let mut message = Self { step: 0, reply: None, protocol: &[], sender: &[], recipient: &[] };
        while !r.is_empty() {
            let kind = r.u16_le().ok()?;
            let len = usize::from(r.u16_le().ok()?);
            let value = r.take(len).ok()?;
            match (kind, value) {
                (handshake::STEP, [step]) if handshake::STEPS.contains(step) => message.step = *step,
                (handshake::STEP, _) => return None,
                (handshake::REPLY_CODE, [code]) => message.reply = Some(*code),
                (handshake::PROTOCOL, _) => message.protocol = value,
                (handshake::SENDER_KEY, _) => message.sender = value,
                (handshake::RECIPIENT_KEY, _) => message.recipient = value,
                (0..=handshake::RECORD_LAST, _) => {}
                _ => return None,
            }
        }
        let named = !message.protocol.is_empty()
            && message.protocol.len() <= 32
            && message.protocol.iter().all(u8::is_ascii_graphic);
        (message.step > 0 && (named || message.step > 1) && message.sender.len() == handshake::KEY)
            .then_some(message)
    }
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    /// Step and sender's key of the last message of each side.
    last: [Option<(u8, [u8; handshake::KEY])>; 2],
    strangers: u8,
    asked: bool,
}

/// Datagrams that are no handshake before it is something else.
const STRANGERS_MAX: u8 = 16;

impl Analyzer for State {
    const META: Meta = Meta {
        name: "fastd",
        title: "fastd",
        label: Some("fastd"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[10_000],
        first: FirstBytes::of(&[handshake::PACKET, 0xC8]),
        budget: 16_384,
        carrier: false,
        reference: "neocturne/fastd sources: handshake.h, handshake.c, protocols/ec25519_fhmqvc (releases 12 to 22)",
        evidence: &[ASKED, ANSWERED],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if Message::parse(p.data, p.wire_len).is_some() { Verdict::Yes } else { Verdict::No }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: seg.data.len() };
        let Some(message) = Message::parse(seg.data, seg.wire_len) else {
            self.strangers = self.strangers.saturating_add(1);
            return if self.strangers > STRANGERS_MAX { Next::NotMine } else { go_on };
        };
        let [up, down] = &mut self.last;
        let (here, there) = if seg.dir == Dir::ToServer { (up, down) } else { (down, up) };
        let caller = if message.step == 2 { seg.dir.receiver() } else { seg.dir.sender() };
        if !self.asked {
            self.asked = true;
            out.client = Some(caller);
            let protocol = String::from_utf8_lossy(message.protocol);
            out.evidence(&ASKED, format!("step {}, {protocol}", message.step));
        }
        let answers = there.as_ref().is_some_and(|(step, key)| {
            step.saturating_add(1) == message.step && message.recipient == key && message.reply == Some(0)
        });
        if answers {
            out.client = Some(caller);
            out.evidence(&ANSWERED, format!("step {}", message.step));
            out.is("fastd");
            return Next::Done;
        }
        if let Some(key) = message.sender.first_chunk() {
            *here = Some((message.step, *key));
        }
        go_on
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::PLAIN, tests::IN_L2TP];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    /// Header, step, mode and protocol, as release 22 sends them; then the keys.
    const ASK: &[u8] = b"\x01\0\0\x69\0\0\x01\0\x01\x04\0\x01\0\0\x05\0\x0e\0ec25519-fhmqvc\
        \x06\0\x20\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x07\0\x20\0bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\x03\0\x01\0\x01";
    const REPLY: &[u8] = b"\x01\0\0\x69\0\0\x01\0\x02\x01\0\x01\0\0\x05\0\x0e\0ec25519-fhmqvc\
        \x06\0\x20\0bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\x07\0\x20\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x03\0\x01\0\x01";
    const WRAPPED: &[u8] = &{
        let mut bytes = [0; 12 + REPLY.len()];
        let mut i = 0;
        while i < bytes.len() {
            bytes[i] = if i < 12 { handshake::L2TP[i] } else { REPLY[i - 12] };
            i += 1;
        }
        bytes
    };

    pub(super) const PLAIN: Fixture<'_> =
        Fixture { name: "handshake", transport: Transport::Udp, payloads: &[(UP, ASK), (DOWN, REPLY)] };
    pub(super) const IN_L2TP: Fixture<'_> = Fixture {
        name: "handshake answered in L2TP's header",
        transport: Transport::Udp,
        payloads: &[(UP, ASK), (DOWN, WRAPPED)],
    };

    #[test]
    fn an_answered_handshake_is_fastd() {
        for fixture in FIXTURES {
            let got = drive::<State>(fixture, usize::MAX);
            assert_eq!((got.out.label, got.out.client), (Some("fastd"), Some(Side::Src)), "{}", fixture.name);
        }
    }

    #[test]
    fn a_refusal_another_key_or_no_answer_is_evidence_and_no_label() {
        let mut refused = REPLY.to_vec();
        refused[13] = 1;
        let mut stranger = REPLY.to_vec();
        stranger[80] = b'x';
        for answer in [&refused[..], &stranger, b"\x02data"] {
            let got =
                drive::<State>(&Fixture { payloads: &[(UP, ASK), (DOWN, answer)], ..PLAIN }, usize::MAX);
            assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
        }
    }

    #[test]
    fn records_that_do_not_fill_the_datagram_are_not_taken() {
        let mut wrong = ASK.to_vec();
        wrong[3] = 0x66;
        let mut reserved = ASK.to_vec();
        reserved[1] = 1;
        for bytes in [&wrong[..], &reserved, &ASK[..60], b"\x01\0\0\0", b"\xc8\x03\0\x0c\0\0\0\0\0\0\0\0"] {
            assert!(!drive::<State>(&Fixture { payloads: &[(UP, bytes)], ..PLAIN }, usize::MAX).mine);
        }
    }
}
