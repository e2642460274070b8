//! Radmin (versions 2 and 3).
//!
//! In: a byte stream. Out: the label `radmin` once both sides have sent messages whose checksum is right.
//!
//! No specification is published. A message is a byte of 1, a length and a checksum of four bytes each, big-endian, and the body; the
//! checksum is the sum of the body's four-byte little-endian words, the last one filled up with zeros.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const HELLO: Kind = Kind {
    name: "radmin.hello",
    decibans: 15,
    says: "a message with the right checksum, from one side (framing as observed)",
};
const ANSWER: Kind = Kind {
    name: "radmin.answer",
    decibans: 40,
    says: "messages with the right checksum from both sides (framing as observed)",
};

const VERSION: u8 = 1;
/// Opening messages are below 100 bytes.
const BODY_MAX: u32 = 1024;

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    first: Option<Dir>,
}

/// Length of the message at the start of `data`; `None` if it is none.
fn message(data: &[u8]) -> Result<Option<usize>, Short> {
    let mut r = Reader::new(data);
    let version = r.u8()?;
    if version != VERSION {
        return Ok(None);
    }
    let (len, sum) = (r.u32()?, r.u32()?);
    if !(1..=BODY_MAX).contains(&len) {
        return Ok(None);
    }
    let body = r.take(usize::try_from(len).map_err(|_| Short)?)?;
    let computed = body.chunks(4).fold(0_u32, |sum, word| {
        let mut bytes = [0; 4];
        bytes.iter_mut().zip(word).for_each(|(b, w)| *b = *w);
        sum.wrapping_add(u32::from_le_bytes(bytes))
    });
    Ok((computed == sum).then_some(r.taken()))
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "radmin",
        title: "Radmin",
        label: Some("radmin"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[4899],
        first: FirstBytes::of(&[VERSION]),
        budget: 4_096,
        carrier: false,
        reference: "No specification is published; framing and checksum as observed",
        evidence: &[HELLO, ANSWER],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match message(p.data) {
            Ok(Some(n)) if n == p.data.len() => Verdict::Yes,
            Ok(_) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        match message(seg.data) {
            Err(Short) => Next::Continue { consumed: 0 },
            Ok(None) if self.first.is_none() => Next::NotMine,
            Ok(None) => Next::Done,
            Ok(Some(n)) => {
                let client = *self.first.get_or_insert(seg.dir);
                if client == seg.dir {
                    if out.evidence.is_empty() {
                        out.client = Some(client.sender());
                        out.evidence(&HELLO, format!("{n} bytes"));
                    }
                    return Next::Continue { consumed: n };
                }
                out.controlled = Some(client.receiver());
                out.evidence(&ANSWER, format!("{n} bytes"));
                out.is("radmin");
                Next::Done
            }
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::SESSION];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const HELLO_BYTES: &[u8] = b"\x01\x00\x00\x00\x01\x00\x00\x00\x08\x08";
    /// Words 0x00000208 and 0x00000a01 and a last byte 3: together 0x00000c0c.
    const ANSWER_BYTES: &[u8] = b"\x01\x00\x00\x00\x09\x00\x00\x0c\x0c\x08\x02\x00\x00\x01\x0a\x00\x00\x03";

    pub(super) const SESSION: Fixture<'_> = Fixture {
        name: "hello and answer",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, HELLO_BYTES), (Dir::ToClient, ANSWER_BYTES)],
    };

    #[test]
    fn an_answered_hello_is_radmin_and_the_called_side_operated() {
        for piece in [usize::MAX, 4, 1] {
            let got = drive::<State>(&SESSION, piece);
            assert_eq!(got.out.label, Some("radmin"));
            assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
        }
    }

    #[test]
    fn a_hello_alone_is_evidence_and_no_label() {
        let got = drive::<State>(&Fixture { payloads: &SESSION.payloads[..1], ..SESSION }, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn a_wrong_checksum_is_not_radmin() {
        for at in [4, 8, 9] {
            let mut hello = HELLO_BYTES.to_vec();
            hello[at] ^= 2;
            let payloads = &[(Dir::ToServer, &hello[..])];
            assert_eq!(drive::<State>(&Fixture { payloads, ..SESSION }, usize::MAX).out.evidence.len(), 0);
        }
        let mut answer = ANSWER_BYTES.to_vec();
        answer[17] ^= 1;
        let payloads = &[(Dir::ToServer, HELLO_BYTES), (Dir::ToClient, &answer[..])];
        assert_eq!(drive::<State>(&Fixture { payloads, ..SESSION }, usize::MAX).out.label, None);
    }
}
