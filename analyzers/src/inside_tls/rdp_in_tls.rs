//! RDP inside TLS whose opening was not captured, by the hand that operates it.
//!
//! In: sizes of records. Out: the label `rdp` and who is operated, once one side's records are nearly all as long as a key or a move
//! of the mouse in a fast-path input PDU, and both occur. Every stroke is a PDU and a record of its own.

use super::hand::{Hands, Lengths, operates};
use super::{Answer, OVERHEADS, Record, Rule};
use crate::{FirstBytes, Kind, Meta, Out, Tls};

const INPUT: Kind = Kind {
    name: "rdp_in_tls.input",
    decibans: 24,
    says: "nearly all records of one side are as long as a key or a move of the mouse in RDP's fast path, and the other side answers with many sizes; judgement: no other protocol known to write both",
};

/// Fast-path input PDU (MS-RDPBCGR 2.2.8.1.2): header and a length of one or two bytes.
const HEADERS: [u16; 2] = [2, 3];
/// A key (2.2.8.1.2.2.1) and the mouse (2.2.8.1.2.2.3).
const KEY: u16 = 2;
const MOUSE: u16 = 7;
/// Frame acknowledge PDU (MS-RDPRFX 2.2.3.1) behind TPKT, X.224, MCS (7 bytes with a short length, else 8) and share headers.
const ACKNOWLEDGES: [u16; 2] = [36, 37];
/// Keys and moves that must have come.
const EACH: u16 = 3;

/// Records of either side.
#[derive(Debug, Default)]
pub struct State {
    hands: Hands,
}

/// What encryption and header come to, if these are an operator's.
fn base(lengths: &Lengths) -> Option<u16> {
    let bases = OVERHEADS.iter().flat_map(|o| HEADERS.iter().map(|h| (*o, o.saturating_add(*h))));
    let hand = |(overhead, base): &(u16, u16)| {
        let of = |size: u16| lengths.of(size);
        let (keys, moves) = (of(base.saturating_add(KEY)), of(base.saturating_add(MOUSE)));
        let acknowledged = ACKNOWLEDGES.map(|size| of(overhead.saturating_add(size)));
        let known = acknowledged.iter().fold(keys.saturating_add(moves), |sum, n| sum.saturating_add(*n));
        keys >= EACH && moves >= EACH && known.saturating_mul(10) >= lengths.total().saturating_mul(9)
    };
    bases.into_iter().find(hand).map(|(_, base)| base)
}

impl Rule for State {
    const META: Meta = Meta {
        name: "rdp_in_tls",
        title: "RDP inside TLS, under way",
        label: Some("rdp"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "MS-RDPBCGR sections 2.2.8.1.2 and 5.4.5",
        evidence: &[INPUT],
    };

    fn on_hellos(&mut self, _: &Tls, _: &mut Out) -> Answer {
        Answer::No // RDP shows before its TLS
    }

    fn on_midstream(&mut self) -> Answer {
        Answer::Wait
    }

    fn on_record(&mut self, _: &Tls, record: &Record, out: &mut Out) -> Answer {
        let Some(base) = self.hands.push(record).and_then(base) else { return Answer::Wait };
        operates(record, out);
        out.evidence(
            &INPUT,
            format!("records of {} and {} bytes", base.saturating_add(KEY), base.saturating_add(MOUSE)),
        );
        out.is("rdp");
        Answer::Yes
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    vec![super::Fixture { name: "keys and mouse", tls: Tls::default(), lengths: &tests::TYPED }]
}

#[cfg(test)]
mod tests {
    use super::super::{Fixture, drive};
    use super::*;
    use crate::{Basis, Side};

    /// Keys of 22 bytes, moves of 27, the screen in between.
    pub(super) static TYPED: [i32; 72] = typed(22, 27);

    const fn typed(key: i32, mouse: i32) -> [i32; 72] {
        let mut all = [0; 72];
        let mut i = 0;
        while i < 72 {
            all[i] = match i % 3 {
                0 => key,
                1 => -(61 + (i as i32 * 7) % 40),
                _ if i % 6 == 2 => mouse,
                _ => key,
            };
            i += 1;
        }
        all
    }

    fn label(lengths: &'static [i32]) -> Option<&'static str> {
        drive(&Fixture { name: "", tls: Tls::default(), lengths }).label
    }

    #[test]
    fn a_hand_in_the_fast_path_is_rdp_and_the_other_side_is_operated() {
        let got = drive(&fixtures()[0]);
        assert_eq!((got.label, got.basis), (Some("rdp"), Basis::Midstream));
        assert_eq!((got.client, got.controlled), (Some(Side::Src), Some(Side::Dest)));
        static SHORT_HEADER_TLS12: [i32; 72] = typed(28, 33);
        assert_eq!(label(&SHORT_HEADER_TLS12), Some("rdp"));
    }

    #[test]
    fn frames_that_are_acknowledged_belong_to_it() {
        static WITH_FRAMES: [i32; 72] = {
            let mut all = typed(22, 27);
            let mut i = 0;
            while i < 72 {
                if i % 4 == 0 {
                    all[i] = 54;
                }
                i += 1;
            }
            all
        };
        assert_eq!(label(&WITH_FRAMES), Some("rdp"));
    }

    #[test]
    fn keys_alone_other_distances_and_few_records_are_nothing() {
        static KEYS: [i32; 72] = typed(22, 22);
        static OTHER: [i32; 72] = typed(22, 28);
        static OFF: [i32; 72] = typed(30, 35);
        assert_eq!((label(&KEYS), label(&OTHER), label(&OFF)), (None, None, None));
        assert_eq!(label(&TYPED[..30]), None);
    }

    #[test]
    fn an_answer_of_one_size_is_no_screen() {
        static ECHO: [i32; 72] = {
            let mut all = typed(22, 27);
            let mut i = 0;
            while i < 72 {
                if all[i] < 0 {
                    all[i] = -61;
                }
                i += 1;
            }
            all
        };
        assert_eq!(label(&ECHO), None);
    }
}
