//! Xpra (TCP, or inside another stream): a screen for single windows of a remote X or desktop session.
//!
//! In: both directions of a stream. Out: the label `xpra` when both sides have sent a packet header that the protocol allows,
//! with a payload that begins as its compressor or its `hello` message begins.

use crate::{Analyzer, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict};

/// The eight header bytes (xpra documentation, "Packet encoding": `P`, flags, compression, index, size).
mod header {
    pub(super) const MAGIC: u8 = b'P';
    /// rencode 1, cipher 2, yaml 4, flush 8, rencodeplus 16.
    pub(super) const FLAGS: u8 = 0x1F;
    pub(super) const CIPHER: u8 = 0x02;
    /// Level in the low four bits; above it the compressor: none set is zlib.
    pub(super) const LEVEL: u8 = 0x0F;
    pub(super) const LZ4: u8 = 0x10;
    pub(super) const BROTLI: u8 = 0x40;
    /// A packet that carries the parts of the main one has a higher index; there are never many.
    pub(super) const MAX_INDEX: u8 = 16;
    /// The smallest payload that can name a packet type, and more than any `hello` needs.
    pub(super) const SIZE: std::ops::RangeInclusive<u32> = 8..=4 * 1024 * 1024;
}

/// Bytes from the beginning of an uncompressed payload in which the word `hello` must stand.
const HELLO_WITHIN: usize = 16;

const HELLO: Kind = Kind {
    name: "xpra.hello",
    decibans: 20,
    says: "an Xpra packet header (magic, known flags, compressor, size) before a payload that begins as it says",
};
const ANSWER: Kind = Kind {
    name: "xpra.answer",
    decibans: 20,
    says: "the other side answered with an Xpra packet header and payload, too",
};

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    seen: [bool; 2],
}

/// What a direction begins with: `None` = no Xpra packet.
fn opening(data: &[u8]) -> Result<Option<u32>, Short> {
    let mut r = Reader::new(data);
    if r.u8()? != header::MAGIC {
        return Ok(None);
    }
    let (flags, compression, index, size) = (r.u8()?, r.u8()?, r.u8()?, r.u32()?);
    let compressor = compression & !header::LEVEL;
    if flags & !header::FLAGS != 0
        || index > header::MAX_INDEX
        || !header::SIZE.contains(&size)
        || !matches!(compressor, 0 | header::LZ4 | header::BROTLI)
        || flags & header::CIPHER != 0
    {
        return Ok(None);
    }
    let level = compression & header::LEVEL;
    let begins = match (compressor, level) {
        // zlib (RFC 1950 2.2): deflate with a 32 KiB window, and a checksum over both bytes.
        (0, 1..) => {
            let (method, check) = (r.u8()?, r.u8()?);
            method == 0x78 && u16::from_be_bytes([method, check]).checked_rem(31) == Some(0)
        }
        (0, 0) => {
            let body = r.take(HELLO_WITHIN.min(usize::try_from(size).unwrap_or(HELLO_WITHIN)))?;
            body.windows(5).any(|w| w == b"hello") || body.windows(9).any(|w| w == b"challenge")
        }
        // Compressed hello: the first literals of LZ4 and Brotli streams stand uncompressed.
        _ => r.take(32)?.windows(4).any(|w| w == b"hell"),
    };
    Ok(begins.then_some(size))
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "xpra",
        title: "Xpra",
        label: Some("xpra"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[14500],
        first: FirstBytes::of(b"P"),
        // The client's hello alone is 20 to 40 KB.
        budget: 65_536,
        carrier: false,
        reference: "xpra documentation, Network/Protocol: packet header",
        evidence: &[HELLO, ANSWER],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match opening(p.data) {
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let here = seg.dir.index();
        if self.seen.get(here).copied().unwrap_or(true) {
            return Next::Continue { consumed: seg.data.len() };
        }
        match opening(seg.data) {
            Err(Short) => return Next::Continue { consumed: 0 },
            Ok(None) => return Next::NotMine,
            Ok(Some(size)) => {
                if let Some(seen) = self.seen.get_mut(here) {
                    *seen = true;
                }
                let second = self.seen == [true, true];
                out.evidence(if second { &ANSWER } else { &HELLO }, format!("first packet of {size} B"));
                if !second {
                    // The client says hello first.
                    out.client.get_or_insert(seg.dir.sender());
                    return Next::Continue { consumed: seg.data.len() };
                }
            }
        }
        out.is("xpra");
        out.controlled = out.client.map(crate::Side::other);
        Next::Done
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture] = &[
    crate::fixture::Fixture {
        name: "zlib hellos",
        transport: Transport::Tcp,
        payloads: &[
            (crate::Dir::ToServer, b"P\x01\x01\0\0\0\x5b\x3a\x78\x01\xbd\xbd\x07\x94"),
            (crate::Dir::ToClient, b"P\x01\x01\0\0\0\x20\x3a\x78\x01\xbd\xbd\x07\x94"),
        ],
    },
    crate::fixture::Fixture {
        name: "plain hellos",
        transport: Transport::Tcp,
        payloads: &[
            (crate::Dir::ToServer, b"P\x10\0\0\0\0\x01\0\xc2\x45hello\x67\x87version3.1"),
            (crate::Dir::ToClient, b"P\x10\0\0\0\0\x01\0\xc2\x45hello\x67\x87version3.1"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};
    use crate::{Dir, Side};

    #[test]
    fn two_hellos_are_xpra_and_the_called_side_is_operated() {
        for fixture in FIXTURES {
            for piece in [1, 9, usize::MAX] {
                let got = drive::<State>(fixture, piece);
                assert_eq!(
                    (got.out.label, got.out.controlled),
                    (Some("xpra"), Some(Side::Dest)),
                    "{}",
                    fixture.name
                );
            }
        }
    }

    #[test]
    fn a_hello_without_an_answer_is_evidence_and_no_label() {
        let alone = Fixture { payloads: &FIXTURES[0].payloads[..1], ..FIXTURES[0] };
        let got = drive::<State>(&alone, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn text_that_begins_with_p_is_not_xpra() {
        for text in
            [&b"POST / HTTP/1.1\r\n\r\n"[..], b"PASS secret\r\n", b"P\x01\x01\0\0\0\x5b\x3a\x78\x02aaaa"]
        {
            let got = drive::<State>(
                &Fixture { name: "text", transport: Transport::Tcp, payloads: &[(Dir::ToServer, text)] },
                usize::MAX,
            );
            assert!(!got.mine);
        }
    }
}
