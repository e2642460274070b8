//! SPICE (Simple Protocol for Independent Computing Environments).
//!
//! In: a byte stream. Out: the label `spice` once client and server have exchanged link messages, with the channel that was linked.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const LINK: Kind =
    Kind { name: "spice.link", decibans: 30, says: "a client's link message (spice-protocol, RedLinkMess)" };
const ANSWER: Kind = Kind {
    name: "spice.answer",
    decibans: 40,
    says: "link messages from both sides (spice-protocol, RedLinkReply)",
};
const REFUSED: Kind = Kind {
    name: "spice.refused",
    decibans: 10,
    says: "the server answered with an error (spice-protocol, SpiceLinkErr)",
};

/// `REDQ`, whichever byte order.
const MAGIC: [u8; 4] = *b"REDQ";
/// Size of the header: magic, major and minor version, size of the message.
const HEADER: usize = 16;
/// A link message with all capabilities is below this.
const MESSAGE_MAX: u32 = 4096;
/// A reply holds an error code and a public key of 162 bytes; a client's message is far shorter.
const REPLY_MIN: usize = 4 + 162;

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    client: Option<Dir>,
}

/// A link message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link<'a> {
    version: (u32, u32),
    body: &'a [u8],
}

impl<'a> Link<'a> {
    fn parse(data: &'a [u8]) -> Result<Option<Self>, Short> {
        if !data.iter().zip(&MAGIC).all(|(a, b)| a == b) {
            return Ok(None);
        }
        let mut r = Reader::new(data);
        r.skip(MAGIC.len())?;
        let version = (r.u32_le()?, r.u32_le()?);
        let size = r.u32_le()?;
        if !(1..=2).contains(&version.0) || size > MESSAGE_MAX {
            return Ok(None);
        }
        let body = r.take(usize::try_from(size).map_err(|_| Short)?)?;
        Ok(Some(Self { version, body }))
    }

    const fn len(&self) -> usize {
        HEADER.saturating_add(self.body.len())
    }

    /// Channel type (spice-protocol, SPICE_CHANNEL_MAIN and on) of a client's message.
    fn channel(&self) -> &'static str {
        const NAMES: [&str; 11] = [
            "main",
            "display",
            "inputs",
            "cursor",
            "playback",
            "record",
            "tunnel",
            "smartcard",
            "usbredir",
            "port",
            "webdav",
        ];
        let index = self.body.get(4).and_then(|kind| usize::from(*kind).checked_sub(1));
        index.and_then(|i| NAMES.get(i)).copied().unwrap_or("unknown")
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "spice",
        title: "SPICE",
        label: Some("spice"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[5900, 5930],
        first: FirstBytes::of(b"R"),
        budget: 8_192,
        carrier: false,
        reference: "spice-protocol: spice/protocol.h (RedLinkMess, RedLinkReply)",
        evidence: &[LINK, ANSWER, REFUSED],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match Link::parse(p.data) {
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let link = match Link::parse(seg.data) {
            Err(Short) => return Next::Continue { consumed: 0 },
            Ok(None) if self.client.is_none() => return Next::NotMine,
            Ok(None) => return Next::Done,
            Ok(Some(link)) => link,
        };
        let (major, minor) = link.version;
        let is_reply = self.client.is_some_and(|client| client != seg.dir)
            || (self.client.is_none() && link.body.len() >= REPLY_MIN);
        if !is_reply {
            self.client = Some(seg.dir);
            out.client = Some(seg.dir.sender());
            out.evidence(&LINK, format!("version {major}.{minor}, {} channel", link.channel()));
            return Next::Continue { consumed: link.len() };
        }
        out.client = Some(seg.dir.receiver());
        let error = Reader::new(link.body).u32_le().unwrap_or(0);
        if error != 0 {
            out.evidence(&REFUSED, format!("error {error}"));
            return Next::Done;
        }
        out.controlled = Some(seg.dir.sender());
        out.evidence(&ANSWER, format!("version {major}.{minor}"));
        out.is("spice");
        Next::Done
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::SESSION, tests::SERVER_ALONE];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    /// Inputs channel, no capabilities.
    const LINK_BYTES: &[u8] = b"REDQ\x02\0\0\0\x02\0\0\0\x12\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\x12\0\0\0";

    /// Error code 0, a public key that is all 0xA5, offsets.
    const fn reply(error: u8) -> [u8; 194] {
        let mut bytes = [0xA5; 194];
        let head = *b"REDQ\x02\0\0\0\x02\0\0\0\xb2\0\0\0\0\0\0\0";
        let mut i = 0;
        while i < head.len() {
            bytes[i] = head[i];
            i += 1;
        }
        bytes[16] = error;
        bytes
    }

    const REPLY: &[u8] = &reply(0);
    pub(super) const SESSION: Fixture<'_> = Fixture {
        name: "link and reply",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, LINK_BYTES), (Dir::ToClient, REPLY)],
    };
    pub(super) const SERVER_ALONE: Fixture<'_> = Fixture {
        name: "the server's side alone",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToClient, REPLY)],
    };

    #[test]
    fn a_link_with_its_reply_is_spice_and_the_called_side_operated() {
        for fixture in [SESSION, SERVER_ALONE] {
            for piece in [usize::MAX, 7, 1] {
                let got = drive::<State>(&fixture, piece);
                assert_eq!(got.out.label, Some("spice"), "{}", fixture.name);
                assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
            }
        }
        let got = drive::<State>(&SESSION, usize::MAX);
        assert_eq!(&*got.out.evidence[0].detail, "version 2.2, inputs channel");
    }

    #[test]
    fn a_link_alone_or_an_error_is_evidence_and_no_label() {
        let alone = drive::<State>(&Fixture { payloads: &SESSION.payloads[..1], ..SESSION }, usize::MAX);
        assert_eq!((alone.out.label, alone.out.evidence.len()), (None, 1));
        let payloads = &[(Dir::ToServer, LINK_BYTES), (Dir::ToClient, &reply(7)[..])];
        let refused = drive::<State>(&Fixture { payloads, ..SESSION }, usize::MAX);
        assert_eq!(refused.out.label, None);
        assert_eq!(refused.out.evidence[1].kind.name, "spice.refused");
    }

    #[test]
    fn another_magic_or_an_absurd_size_is_not_taken() {
        for bytes in
            [&b"REDIS"[..], b"REDQ\x02\0\0\0\x02\0\0\0\xff\xff\0\0", b"REDQ\x09\0\0\0\x02\0\0\0\x12\0\0\0"]
        {
            let payloads = &[(Dir::ToServer, bytes)];
            assert!(!drive::<State>(&Fixture { payloads, ..SESSION }, usize::MAX).mine);
        }
    }
}
