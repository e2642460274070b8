//! LogMeIn Hamachi (TCP control connection; UDP tunnels through its relay).
//!
//! In: a byte stream or datagrams. Out: the label `hamachi` once the servers answer the client's hello, or once both sides of a tunnel have
//! greeted a relay and shown their constant heads with counters that go up. A direct tunnel looks like ESP in UDP and is not told. No specification is published: nDPI's dissector (2025) and captures.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

/// The client's hello: its length, then a constant at its twelfth byte.
mod hello {
    pub(super) const LEN_MIN: usize = 300;
    pub(super) const LEN_MAX: usize = 4096;
    pub(super) const ZEROS: [u8; 4] = [0; 4];
    pub(super) const MARK: u32 = 0x7B7A_0DAD;
}

/// Datagrams.
mod tunnel {
    /// The greeting at a relay: all zeros but for a token.
    pub(super) const GREETING_LEN: usize = 76;
    pub(super) const TOKEN_AT: std::ops::Range<usize> = 8..12;
    /// Data: session, counter, two constant bytes, ciphertext.
    pub(super) const DATA_MIN: usize = 46;
    pub(super) const COUNTER_MAX: u32 = 0xFFFF;
    /// Data of one side that counts up behind the greetings.
    pub(super) const RUN: u8 = 2;
    /// Data without an answer after which it is something else.
    pub(super) const GIVE_UP: u8 = 16;
    /// Counters that may have been lost between two.
    pub(super) const STEP_MAX: u32 = 64;
}

const HELLO: Kind = Kind {
    name: "hamachi.hello",
    decibans: 28,
    says: "control connection: the client's hello with its length and a 32-bit constant (nDPI hamachi.c)",
};
const ANSWERED: Kind = Kind {
    name: "hamachi.answered",
    decibans: 8,
    says: "the server goes on after the hello (nDPI hamachi.c)",
};
const TUNNEL: Kind = Kind {
    name: "hamachi.tunnel",
    decibans: 28,
    says: "both sides greet the relay with 72 zero bytes and a token, then send under a constant session with a rising counter \
           (nDPI hamachi.c)",
};

/// What is known of one side of a tunnel.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    token: Option<[u8; 4]>,
    session: u32,
    constant: u16,
    counter: u32,
    run: u8,
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    sides: [Side; 2],
    hello: Option<Dir>,
}

/// The token of a greeting.
fn greeting(data: &[u8], wire_len: usize) -> Option<[u8; 4]> {
    let token: [u8; 4] = data.get(tunnel::TOKEN_AT)?.try_into().ok()?;
    let zeros = |range: &[u8]| range.iter().all(|b| *b == 0);
    let fits = wire_len == tunnel::GREETING_LEN
        && data.len() == wire_len
        && token != [0; 4]
        && zeros(data.get(..tunnel::TOKEN_AT.start)?)
        && zeros(data.get(tunnel::TOKEN_AT.end..)?);
    fits.then_some(token)
}

/// Session, counter and constant of data.
fn data_head(data: &[u8], wire_len: usize) -> Option<(u32, u32, u16)> {
    let mut r = Reader::new(data);
    let fields = (|| Ok::<_, Short>((r.u32()?, r.u32()?, r.u16()?)))().ok()?;
    let fits = wire_len >= tunnel::DATA_MIN
        && !matches!(fields.0, 0 | u32::MAX)
        && (1..=tunnel::COUNTER_MAX).contains(&fields.1);
    fits.then_some(fields)
}

/// Whether a stream begins with the hello; `None` while too little has come.
fn is_hello(data: &[u8]) -> Option<bool> {
    let mut r = Reader::new(data);
    let fields = (|| Ok::<_, Short>((r.u32()?, r.array::<4>()?, r.u32()?, r.u32()?)))();
    match fields {
        Ok((len, zeros, _, mark)) => {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let fits = (hello::LEN_MIN..=hello::LEN_MAX).contains(&len);
            Some(fits && zeros == hello::ZEROS && mark == hello::MARK)
        }
        Err(Short) => data.iter().take(2).any(|b| *b != 0).then_some(false),
    }
}

impl State {
    fn on_datagram(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: seg.data.len() };
        let Some(here) = self.sides.get_mut(seg.dir.index()) else { return Next::NotMine };
        if let Some(token) = greeting(seg.data, seg.wire_len) {
            here.token = Some(token);
            return go_on;
        }
        let Some((session, counter, constant)) = data_head(seg.data, seg.wire_len) else {
            return Next::NotMine;
        };
        if here.run == 0 {
            (here.session, here.constant) = (session, constant);
        }
        if (here.session, here.constant) != (session, constant) {
            return Next::NotMine;
        }
        let rises = here.run == 0
            || (counter > here.counter && counter.saturating_sub(here.counter) <= tunnel::STEP_MAX);
        if rises {
            (here.counter, here.run) = (counter, here.run.saturating_add(1));
        }
        let [up, down] = &self.sides;
        let differ = up.session != down.session && up.constant != down.constant;
        let greeted = up.token.is_some() && down.token.is_some() && up.token != down.token;
        let both = up.run > 0 && down.run > 0 && differ;
        let run = up.run.max(down.run);
        let enough = greeted && both && run >= tunnel::RUN;
        if enough {
            out.evidence(&TUNNEL, format!("session {session:#010x}, counter {counter}"));
            out.is("hamachi");
            return Next::Done;
        }
        if run > tunnel::GIVE_UP { Next::NotMine } else { go_on }
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "hamachi",
        title: "LogMeIn Hamachi",
        label: Some("hamachi"),
        app_proto: "failed",
        transports: &[Transport::Tcp, Transport::Udp],
        ports: &[12975, 17771],
        first: FirstBytes::of(&[0]),
        budget: 16_384,
        carrier: false,
        reference: "No specification is published; nDPI, src/lib/protocols/hamachi.c (2025)",
        evidence: &[HELLO, ANSWERED, TUNNEL],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.transport.is_stream() {
            return match is_hello(p.data) {
                Some(true) => Verdict::Yes,
                Some(false) => Verdict::No,
                None => Verdict::More,
            };
        }
        match greeting(p.data, p.wire_len) {
            Some(_) if greeting(p.other, p.other.len()).is_some() => Verdict::Yes,
            Some(_) => Verdict::More,
            None => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if !seg.transport.is_stream() {
            return self.on_datagram(seg, out);
        }
        let Some(client) = self.hello else {
            if is_hello(seg.data) != Some(true) {
                return Next::NotMine;
            }
            self.hello = Some(seg.dir);
            out.client = Some(seg.dir.sender());
            out.evidence(&HELLO, "");
            return Next::Continue { consumed: seg.data.len() };
        };
        if seg.dir == client {
            return Next::Continue { consumed: seg.data.len() };
        }
        // The answer has a length before it as the hello has.
        let mut r = Reader::new(seg.data);
        match r.u32() {
            Ok(len) if (1..=0xFFFF).contains(&len) => {
                out.evidence(&ANSWERED, format!("{len} bytes"));
                out.is("hamachi");
                Next::Done
            }
            Ok(_) => Next::Done,
            Err(Short) => Next::Continue { consumed: 0 },
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::TUNNEL_BY_RELAY, tests::CONTROL];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side as End;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    const fn greet(token: u8) -> [u8; 76] {
        let mut bytes = [0; 76];
        bytes[8] = token;
        bytes[11] = 0x85;
        bytes
    }

    const fn data(session: u8, counter: u8, constant: u8) -> [u8; 90] {
        let mut bytes = [0xA7; 90];
        let head = [session, 0x8A, 0x9E, 0x25, 0, 0, 0, counter, constant, 0x70];
        let mut i = 0;
        while i < 10 {
            bytes[i] = head[i];
            i += 1;
        }
        bytes
    }

    const HELLO_BYTES: &[u8] = &{
        let mut bytes = [0x5A; 356];
        let head = *b"\x00\x00\x01\x60\0\0\0\0\0\x01\x26\x14\x7b\x7a\x0d\xad";
        let mut i = 0;
        while i < 16 {
            bytes[i] = head[i];
            i += 1;
        }
        bytes
    };

    pub(super) const TUNNEL_BY_RELAY: Fixture<'_> = Fixture {
        name: "a tunnel through the relay",
        transport: Transport::Udp,
        payloads: &[
            (UP, &greet(0xA8)),
            (DOWN, &greet(0xC5)),
            (UP, &data(0x12, 0x45, 0x44)),
            (DOWN, &data(0x5C, 0x43, 0xBC)),
            (DOWN, &data(0x5C, 0x44, 0xBC)),
        ],
    };
    pub(super) const CONTROL: Fixture<'_> = Fixture {
        name: "control connection",
        transport: Transport::Tcp,
        payloads: &[(UP, HELLO_BYTES), (DOWN, b"\0\0\0\x0812345678")],
    };

    #[test]
    fn tunnel_and_control_connection_are_hamachi() {
        for piece in [usize::MAX, 5] {
            let got = drive::<State>(&CONTROL, piece);
            assert_eq!(
                (got.out.label, got.out.client),
                (Some("hamachi"), Some(End::Src)),
                "pieces of {piece}"
            );
        }
        assert_eq!(drive::<State>(&TUNNEL_BY_RELAY, usize::MAX).out.label, Some("hamachi"));
    }

    #[test]
    fn a_hello_without_an_answer_is_evidence_and_no_label() {
        let got = drive::<State>(&Fixture { payloads: &CONTROL.payloads[..1], ..CONTROL }, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn greetings_without_a_tunnel_behind_them_are_nothing() {
        let same: &[(Dir, &[u8])] =
            &[(UP, &greet(1)), (DOWN, &greet(1)), (UP, &data(1, 1, 1)), (UP, &data(1, 2, 1))];
        let still: &[(Dir, &[u8])] = &[
            (UP, &greet(1)),
            (DOWN, &greet(2)),
            (UP, &data(1, 1, 1)),
            (DOWN, &data(2, 9, 2)),
            (DOWN, &data(2, 9, 2)),
        ];
        let other: &[(Dir, &[u8])] =
            &[(UP, &greet(1)), (DOWN, &greet(2)), (UP, &data(1, 1, 1)), (UP, &data(3, 2, 1))];
        for payloads in [same, still, other, &TUNNEL_BY_RELAY.payloads[..4]] {
            assert_eq!(drive::<State>(&Fixture { payloads, ..TUNNEL_BY_RELAY }, usize::MAX).out.label, None);
        }
    }

    #[test]
    fn zeros_and_other_lengths_are_not_taken() {
        let mut wrong = HELLO_BYTES.to_vec();
        wrong[15] = 0;
        for (transport, bytes) in
            [(Transport::Udp, &[0u8; 76][..]), (Transport::Udp, &greet(1)[..75]), (Transport::Tcp, &wrong)]
        {
            let payloads = &[(UP, bytes), (DOWN, bytes)];
            assert!(!drive::<State>(&Fixture { name: "", transport, payloads }, usize::MAX).mine);
        }
    }
}
