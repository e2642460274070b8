//! Yggdrasil, links over plain TCP (and inside WebSocket or SOCKS).
//!
//! In: a byte stream. Out: the label `yggdrasil` once both sides have sent their version and key. Links over TLS are told by
//! the rule of `inside_tls`; over QUIC nothing of them shows.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

/// What a link begins with (Yggdrasil's `core/version.go`).
mod metadata {
    pub(super) const MAGIC: &[u8] = b"meta";
    /// 0.4: two bytes of version, then the key; no length.
    pub(super) const V0_4: &[u8] = b"meta\0\x04";
    pub(super) const V0_4_LEN: usize = 6 + KEY;
    pub(super) const KEY: usize = 32;
    /// From 0.5 on: the length, then records of type, length and value; later releases sign them.
    pub(super) const MAJOR: u16 = 0;
    pub(super) const MINOR: u16 = 1;
    pub(super) const PUBLIC_KEY: u16 = 2;
    pub(super) const SIGNATURE: usize = 64;
    pub(super) const LEN_MAX: usize = 1024;
    /// 0.3: a version of one byte, then keys for boxes, signatures and the link.
    pub(super) const V0_3: &[u8] = b"meta\0\x02";
    pub(super) const V0_3_LEN: usize = 6 + 3 * KEY;
}

const OPENING: Kind = Kind {
    name: "yggdrasil.opening",
    decibans: 26,
    says: "a link's opening: magic, version and an Ed25519 key (Yggdrasil core/version.go)",
};
const BOTH: Kind = Kind {
    name: "yggdrasil.both",
    decibans: 38,
    says: "both sides open the link, each with a key of its own (Yggdrasil core/version.go)",
};

/// An opening.
enum Opening<'a> {
    Whole { version: &'static str, key: &'a [u8] },
    Begun,
    Other,
}

impl<'a> Opening<'a> {
    fn parse(data: &'a [u8]) -> Self {
        if !metadata::MAGIC.iter().zip(data).all(|(a, b)| a == b) {
            return Self::Other;
        }
        for (magic, len, version) in
            [(metadata::V0_4, metadata::V0_4_LEN, "0.4"), (metadata::V0_3, metadata::V0_3_LEN, "0.3")]
        {
            if data.starts_with(magic) {
                return match data.get(magic.len()..len).and_then(|keys| keys.get(..metadata::KEY)) {
                    Some(key) => Self::Whole { version, key },
                    None => Self::Begun,
                };
            }
        }
        match Self::records(data) {
            Ok(Some(key)) => Self::Whole { version: "0.5", key },
            Ok(None) => Self::Other,
            Err(Short) if data.len() < metadata::LEN_MAX => Self::Begun,
            Err(Short) => Self::Other,
        }
    }

    /// The key of an opening of 0.5; `None` if it is none.
    fn records(data: &'a [u8]) -> Result<Option<&'a [u8]>, Short> {
        let mut r = Reader::new(data);
        r.skip(metadata::MAGIC.len())?;
        let len = r.u16()?;
        if usize::from(len) > metadata::LEN_MAX || usize::from(len) < metadata::KEY {
            return Ok(None);
        }
        let mut r = Reader::new(r.take(usize::from(len))?);
        let mut expected = [metadata::MAJOR, metadata::MINOR, metadata::PUBLIC_KEY].into_iter();
        let mut key = None;
        while r.rest().len() > metadata::SIGNATURE || key.is_none() {
            let Ok((kind, value)) = (|| Ok::<_, Short>((r.u16()?, r.vec16()?)))() else { return Ok(None) };
            match (kind, value.len(), expected.next()) {
                (metadata::MAJOR, 2, Some(metadata::MAJOR)) | (metadata::MINOR, 2, Some(metadata::MINOR)) => {
                }
                (metadata::PUBLIC_KEY, metadata::KEY, Some(metadata::PUBLIC_KEY)) => key = Some(value),
                (_, _, None) if r.is_empty() => break,
                (_, _, None) => {}
                _ => return Ok(None),
            }
        }
        Ok(key)
    }
}

/// What is known of the link.
#[derive(Debug, Default)]
pub struct State {
    /// How the key of each side begins.
    keys: [Option<[u8; 8]>; 2],
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "yggdrasil",
        title: "Yggdrasil",
        label: Some("yggdrasil"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[],
        first: FirstBytes::of(b"m"),
        budget: 8_192,
        carrier: false,
        reference: "yggdrasil-network/yggdrasil-go sources: src/core/version.go (releases 0.3 to 0.5)",
        evidence: &[OPENING, BOTH],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match Opening::parse(p.data) {
            Opening::Whole { .. } => Verdict::Yes,
            Opening::Begun => Verdict::More,
            Opening::Other => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let all = Next::Continue { consumed: seg.data.len() };
        let [up, down] = &mut self.keys;
        let (here, there) = if seg.dir == Dir::ToServer { (up, down) } else { (down, up) };
        if here.is_some() {
            return all;
        }
        if seg.gap {
            return Next::NotMine;
        }
        let (version, key) = match Opening::parse(seg.data) {
            Opening::Whole { version, key } => (version, key),
            Opening::Begun => return Next::Continue { consumed: 0 },
            Opening::Other => return Next::NotMine,
        };
        *here = key.first_chunk().copied();
        if there.is_none() {
            // Both sides speak at once; the dialler opens TCP.
            out.evidence(&OPENING, version);
            return all;
        }
        if here == there {
            return Next::NotMine; // an echo
        }
        out.evidence(&BOTH, version);
        out.is("yggdrasil");
        Next::Done
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::V0_4, tests::V0_5];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    pub(super) const V0_4: Fixture<'_> = Fixture {
        name: "0.4",
        transport: Transport::Tcp,
        payloads: &[
            (UP, b"meta\0\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            (DOWN, b"meta\0\x04bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"),
        ],
    };
    const SIGNED: &[u8] = b"meta\0\x75\0\0\0\x02\0\0\0\x01\0\x02\0\x05\0\x02\0\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0\x03\0\x01\0\
        ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss";
    const UNSIGNED: &[u8] = b"meta\0\x35\0\0\0\x02\0\0\0\x01\0\x02\0\x05\0\x02\0\x20bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\0\x03\0\x01\0";
    pub(super) const V0_5: Fixture<'_> =
        Fixture { name: "0.5", transport: Transport::Tcp, payloads: &[(UP, SIGNED), (DOWN, UNSIGNED)] };

    #[test]
    fn openings_of_both_sides_are_yggdrasil() {
        for fixture in FIXTURES {
            for piece in [usize::MAX, 5, 1] {
                let got = drive::<State>(fixture, piece);
                assert_eq!(got.out.label, Some("yggdrasil"), "{} in pieces of {piece}", fixture.name);
            }
        }
    }

    #[test]
    fn one_opening_is_evidence_and_an_echo_is_nothing() {
        let got = drive::<State>(&Fixture { payloads: &V0_4.payloads[..1], ..V0_4 }, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
        let echo = &[(UP, SIGNED), (DOWN, SIGNED)];
        assert!(!drive::<State>(&Fixture { payloads: echo, ..V0_4 }, usize::MAX).mine);
    }

    #[test]
    fn what_only_begins_like_it_is_not_taken() {
        let mut order = UNSIGNED.to_vec();
        order[7] = 1;
        for bytes in [
            &order[..],
            b"meta:a=b\r\n",
            b"metadata and more, for as long as it takes to be sure",
            b"meta\0\x20\0\0\0\x02",
        ] {
            let got =
                drive::<State>(&Fixture { payloads: &[(UP, bytes), (DOWN, bytes)], ..V0_4 }, usize::MAX);
            assert_eq!(got.out.label, None, "{bytes:?}");
        }
    }
}
