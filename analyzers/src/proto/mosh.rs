//! Mosh, its State Synchronization Protocol (UDP).
//!
//! In: datagrams of both sides. Out: the label `mosh` once each side counts its datagrams up in the clear half of its nonce and has the
//! direction bit that the other has not. Everything behind the nonce is AES-OCB, and must look like it.
//!
//! One side alone is no evidence: 64-bit counters before a ciphertext are not Mosh's alone. The session's key comes over SSH, which is a
//! flow of its own.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Transport, Verdict,
};

/// A datagram (mosh, src/network/network.cc, src/crypto/crypto.cc, src/network/transportfragment.cc).
mod datagram {
    /// Set by the server.
    pub(super) const TO_CLIENT: u64 = 1 << 63;
    /// Nonce, two 16-bit times, fragment id and number, tag: what every datagram has around its content.
    pub(super) const MIN: usize = 8 + 4 + 10 + 16;
    /// Mosh's own bound is an IPv6 path's 1280 bytes and less; until version 1.3 it was 1400.
    pub(super) const MAX: usize = 1_400;
    /// A session counts from 0 and ends long before this; with it 31 bits of a header are fixed.
    pub(super) const COUNTER_MAX: u64 = 1 << 32;
}

/// Datagrams that may be lost, or missed by the capture, between two.
const STEP_MAX: u64 = 64;
/// Datagrams in a row: at least so many of each side, and so many of both. Each behind the first of its side fixes 57 bits.
const RUN_EACH: u8 = 2;
const RUN_BOTH: u8 = 5;
/// Datagrams without such runs after which it is something else.
const GIVE_UP: u8 = 24;

const COUNTERS: Kind = Kind {
    name: "mosh.counters",
    decibans: 35,
    says: "datagrams of both sides with a direction bit and a counter that goes up by one, before what looks encrypted (Mosh, \
           USENIX ATC 2012, section 2.2; src/crypto/crypto.cc)",
};

/// The datagrams of one side.
#[derive(Clone, Copy, Debug)]
struct Run {
    to_client: bool,
    counter: u64,
    cipher: [u8; 8],
    datagrams: u8,
}

/// What is known of the session.
#[derive(Debug, Default)]
pub struct State {
    runs: [Option<Run>; 2],
    datagrams: u8,
    from_zero: bool,
}

/// Direction bit, counter and how the ciphertext begins.
fn parse(data: &[u8], wire_len: usize) -> Option<(bool, u64, [u8; 8])> {
    let mut r = Reader::new(data);
    let nonce = r.u64().ok()?;
    let counter = nonce & !datagram::TO_CLIENT;
    let fits = counter < datagram::COUNTER_MAX && (datagram::MIN..=datagram::MAX).contains(&wire_len);
    // Captures that keep headers only have no ciphertext.
    fits.then(|| (nonce & datagram::TO_CLIENT != 0, counter, r.array().unwrap_or_default()))
}

/// Whether a beginning is too plain for a ciphertext, or shares more with another than two ciphertexts would.
fn is_plain(a: [u8; 8], b: [u8; 8]) -> bool {
    let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
    let zeros = a.iter().filter(|b| **b == 0).count();
    a != [0; 8] && (same >= 3 || zeros >= 4)
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "mosh",
        title: "Mosh",
        label: Some("mosh"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[60001, 60002, 60003],
        first: FirstBytes::of(&[0x00, 0x80]),
        budget: 16_384,
        carrier: false,
        reference: "Winstein, Balakrishnan: Mosh, USENIX ATC 2012, section 2; mosh 1.4, src/crypto/crypto.cc",
        evidence: &[COUNTERS],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        let Some((to_client, ..)) = parse(p.data, p.wire_len) else { return Verdict::No };
        match parse(p.other, p.other.len().max(datagram::MIN)) {
            Some((other, ..)) if other != to_client => Verdict::Yes,
            Some(_) => Verdict::No,
            None if p.other.is_empty() => Verdict::More,
            None => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let Some((to_client, counter, cipher)) = parse(seg.data, seg.wire_len) else { return Next::NotMine };
        self.datagrams = self.datagrams.saturating_add(1);
        self.from_zero |= counter == 0 && !to_client;
        let [up, down] = &mut self.runs;
        let (here, there) = if seg.dir == Dir::ToServer { (up, &*down) } else { (down, &*up) };
        if there.is_some_and(|there| there.to_client == to_client) {
            return Next::NotMine;
        }
        match here {
            Some(run) if run.to_client != to_client => return Next::NotMine,
            // Overtaken on the way, or twice in the capture: neither counts nor breaks.
            Some(run) if counter <= run.counter && run.counter.saturating_sub(counter) <= STEP_MAX => {}
            Some(run) if counter.saturating_sub(run.counter) <= STEP_MAX && !is_plain(run.cipher, cipher) => {
                run.datagrams = run.datagrams.saturating_add(1);
                (run.counter, run.cipher) = (counter, cipher);
            }
            other => *other = Some(Run { to_client, counter, cipher, datagrams: 1 }),
        }
        let runs = self.runs.map(|run| run.map_or(0, |run| run.datagrams));
        let both = runs.iter().fold(0_u8, |sum, n| sum.saturating_add(*n));
        if both < RUN_BOTH || runs.iter().any(|n| *n < RUN_EACH) {
            let exhausted = self.datagrams >= GIVE_UP;
            return if exhausted { Next::NotMine } else { Next::Continue { consumed: seg.data.len() } };
        }
        let client = if to_client { seg.dir.reverse() } else { seg.dir };
        out.client = Some(client.sender());
        out.controlled = Some(client.receiver());
        out.evidence(&COUNTERS, format!("{both} datagrams, counter {counter}"));
        out.is("mosh");
        if !self.from_zero {
            out.basis = Basis::Midstream;
        }
        Next::Done
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::SESSION];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    /// A datagram of 48 bytes: direction, counter, and a body that differs from those of its neighbours.
    const fn datagram(to_client: bool, counter: u8) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[0] = if to_client { 0x80 } else { 0 };
        bytes[7] = counter;
        let mut i = 8;
        while i < 48 {
            bytes[i] = (i as u8).wrapping_mul(73) ^ counter.wrapping_mul(29) ^ (to_client as u8) << 6;
            i += 1;
        }
        bytes
    }

    pub(super) const SESSION: Fixture<'_> = Fixture {
        name: "a session from its first datagram",
        transport: Transport::Udp,
        payloads: &[
            (UP, &datagram(false, 0)),
            (DOWN, &datagram(true, 0)),
            (UP, &datagram(false, 1)),
            (DOWN, &datagram(true, 1)),
            (UP, &datagram(false, 2)),
        ],
    };

    fn label(payloads: &[(Dir, &[u8])]) -> Option<&'static str> {
        drive::<State>(&Fixture { payloads, ..SESSION }, usize::MAX).out.label
    }

    #[test]
    fn two_counters_with_opposite_direction_bits_are_mosh_and_the_server_is_operated() {
        let got = drive::<State>(&SESSION, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("mosh"), Basis::Handshake));
        assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
    }

    #[test]
    fn from_the_middle_the_direction_bit_tells_the_client_whoever_is_taken_as_opener() {
        let middle: Vec<_> = (40..45).map(|n| (n % 2 == 0, datagram(n % 2 == 0, n / 2))).collect();
        let payloads: Vec<(Dir, &[u8])> =
            middle.iter().map(|(down, bytes)| (if *down { UP } else { DOWN }, &bytes[..])).collect();
        let got = drive::<State>(&Fixture { payloads: &payloads, ..SESSION }, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("mosh"), Basis::Midstream));
        assert_eq!((got.out.client, got.out.controlled), (Some(Side::Dest), Some(Side::Src)));
    }

    #[test]
    fn lost_overtaken_and_repeated_datagrams_do_not_break_a_session() {
        let [a, b, c] = [datagram(false, 3), datagram(false, 9), datagram(false, 8)];
        let [x, y] = [datagram(true, 3), datagram(true, 5)];
        let payloads: &[(Dir, &[u8])] =
            &[(UP, &a), (DOWN, &x), (UP, &b), (UP, &c), (UP, &b), (DOWN, &y), (UP, &datagram(false, 10))];
        assert_eq!(label(payloads), Some("mosh"));
    }

    #[test]
    fn one_side_or_one_datagram_each_gives_no_label() {
        let up: Vec<_> = (0..20).map(|n| datagram(false, n)).collect();
        let payloads: Vec<(Dir, &[u8])> = up.iter().map(|bytes| (UP, &bytes[..])).collect();
        assert_eq!(label(&payloads), None);
        assert_eq!(label(&SESSION.payloads[..2]), None);
    }

    #[test]
    fn the_same_direction_bit_on_both_sides_or_constant_fields_behind_the_counter_are_not_mosh() {
        let payloads: Vec<(Dir, &[u8])> = SESSION.payloads.iter().map(|(_, bytes)| (UP, *bytes)).collect();
        assert!(!drive::<State>(&Fixture { payloads: &payloads, ..SESSION }, usize::MAX).mine);
        let constant: Vec<_> = (0..12)
            .map(|n| {
                let mut bytes = datagram(n % 2 == 1, n / 2);
                bytes[8..16].copy_from_slice(b"\0\x01\0\x02path");
                (if n.is_multiple_of(2) { UP } else { DOWN }, bytes)
            })
            .collect();
        let payloads: Vec<(Dir, &[u8])> = constant.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect();
        assert_eq!(label(&payloads), None);
    }

    #[test]
    fn counters_that_jump_are_not_mosh() {
        let bytes: Vec<_> = (0..24)
            .map(|n: u8| {
                let mut bytes = datagram(n % 2 == 1, n / 2);
                bytes[6] = n;
                (if n.is_multiple_of(2) { UP } else { DOWN }, bytes)
            })
            .collect();
        let payloads: Vec<(Dir, &[u8])> = bytes.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect();
        assert_eq!(label(&payloads), None);
    }
}
