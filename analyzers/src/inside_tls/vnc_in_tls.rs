//! VNC inside TLS whose opening was not captured, by the hand that operates it.
//!
//! In: sizes of records. Out: the label `vnc` and who is operated, once one side's records are nearly all as long as RFB's messages of
//! pointer, key and update request, and all three occur. Viewers write each message by itself.

use super::hand::{Hands, Lengths, operates};
use super::{Answer, OVERHEADS, Record, Rule};
use crate::{FirstBytes, Kind, Meta, Out, Tls};

const INPUT: Kind = Kind {
    name: "vnc_in_tls.input",
    decibans: 24,
    says: "nearly all records of one side are as long as RFB's pointer, key and update request, and the other side answers with many sizes; judgement: no other protocol known to write all three",
};

/// PointerEvent, KeyEvent, FramebufferUpdateRequest (RFC 6143 sections 7.5.5, 7.5.4, 7.5.3), in bytes.
const POINTER: u16 = 6;
const KEY: u16 = 8;
const REQUEST: u16 = 10;
/// Of each that must have come.
const EACH: u16 = 3;

/// Records of either side.
#[derive(Debug, Default)]
pub struct State {
    hands: Hands,
}

/// What encryption adds, if these are an operator's.
fn overhead(lengths: &Lengths) -> Option<u16> {
    OVERHEADS.into_iter().find(|o| {
        let counts = [POINTER, KEY, REQUEST].map(|size| lengths.of(o.saturating_add(size)));
        let sum = counts.iter().fold(0_u16, |sum, n| sum.saturating_add(*n));
        counts.iter().all(|n| *n >= EACH) && sum.saturating_mul(20) >= lengths.total().saturating_mul(19)
    })
}

impl Rule for State {
    const META: Meta = Meta {
        name: "vnc_in_tls",
        title: "VNC inside TLS, under way",
        label: Some("vnc"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "RFC 6143 section 7.5",
        evidence: &[INPUT],
    };

    fn on_hellos(&mut self, _: &Tls, _: &mut Out) -> Answer {
        Answer::No // RFB shows before its TLS
    }

    fn on_midstream(&mut self) -> Answer {
        Answer::Wait
    }

    fn on_record(&mut self, _: &Tls, record: &Record, out: &mut Out) -> Answer {
        let Some(overhead) = self.hands.push(record).and_then(overhead) else { return Answer::Wait };
        operates(record, out);
        let sizes = [POINTER, KEY, REQUEST].map(|s| s.saturating_add(overhead).to_string());
        out.evidence(&INPUT, format!("records of {} bytes", sizes.join(", ")));
        out.is("vnc");
        Answer::Yes
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    vec![super::Fixture { name: "pointer, keys and requests", tls: Tls::default(), lengths: &tests::USED }]
}

#[cfg(test)]
mod tests {
    use super::super::{Fixture, drive};
    use super::*;
    use crate::{Basis, Side};

    pub(super) static USED: [i32; 60] = used([23, 25, 27]);

    const fn used(sizes: [i32; 3]) -> [i32; 60] {
        let mut all = [0; 60];
        let mut i = 0;
        while i < 60 {
            all[i] = if i % 2 == 1 { -(90 + i as i32 * 5) } else { sizes[(i / 2) % 3] };
            i += 1;
        }
        all
    }

    #[test]
    fn pointer_keys_and_requests_are_vnc_and_the_other_side_is_operated() {
        let got = drive(&fixtures()[0]);
        assert_eq!((got.label, got.basis), (Some("vnc"), Basis::Midstream));
        assert_eq!((got.client, got.controlled), (Some(Side::Src), Some(Side::Dest)));
    }

    #[test]
    fn two_of_three_sizes_or_other_sizes_are_nothing() {
        static TWO: [i32; 60] = used([23, 25, 25]);
        static OTHER: [i32; 60] = used([22, 25, 27]);
        for lengths in [&TWO, &OTHER] {
            assert_eq!(drive(&Fixture { name: "", tls: Tls::default(), lengths }).label, None);
        }
    }
}
