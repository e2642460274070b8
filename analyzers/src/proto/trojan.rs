//! Trojan without its TLS: behind a proxy that takes TLS off, or inside another carrier.
//!
//! In: a byte stream. Out: the label `trojan` once the server answers; both directions behind the request as inner stream. Inside
//! TLS, where it belongs, nothing of this shows. The hash of the password is never kept.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const REQUEST: Kind = Kind {
    name: "trojan.request",
    decibans: 30,
    says: "56 hexadecimal digits and a line end, then a request as SOCKS 5 has it and a line end (The Trojan Protocol)",
};
const ANSWER: Kind = Kind {
    name: "trojan.answer",
    decibans: 8,
    says: "the other side went on with the stream that was asked for",
};

/// The request (The Trojan Protocol; RFC 1928 section 5 for the address).
mod request {
    /// SHA-224 of the password in hexadecimal.
    pub(super) const HASH: usize = 56;
    pub(super) const CONNECT: u8 = 1;
    pub(super) const UDP_ASSOCIATE: u8 = 3;
    pub(super) const IPV4: u8 = 1;
    pub(super) const NAME: u8 = 3;
    pub(super) const IPV6: u8 = 4;
    pub(super) const LINE_END: [u8; 2] = *b"\r\n";
}
/// Who does not know the password is passed on to a web server, which understands nothing.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 400";

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    client: Option<Dir>,
    answered: bool,
}

/// Length of the request at the start of `data`; `None` if it is none.
fn request(data: &[u8]) -> Result<Option<usize>, Short> {
    let hash = data.get(..request::HASH.min(data.len())).unwrap_or_default();
    if !hash.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let mut r = Reader::new(data);
    r.skip(request::HASH)?;
    if r.array()? != request::LINE_END || !matches!(r.u8()?, request::CONNECT | request::UDP_ASSOCIATE) {
        return Ok(None);
    }
    match r.u8()? {
        request::IPV4 => r.skip(4)?,
        request::IPV6 => r.skip(16)?,
        request::NAME if !r.vec8()?.is_empty() => {}
        _ => return Ok(None),
    }
    r.u16()?;
    Ok((r.array()? == request::LINE_END).then_some(r.taken()))
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "trojan",
        title: "Trojan",
        label: Some("trojan"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[],
        first: FirstBytes::of(b"0123456789abcdef"),
        budget: 65_536,
        carrier: true,
        reference: "The Trojan Protocol (trojan-gfw documentation)",
        evidence: &[REQUEST, ANSWER],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.from_start {
            return Verdict::No;
        }
        match request(p.data) {
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap && self.client.is_some() {
            return Next::Done;
        }
        let Some(client) = self.client else {
            return match request(seg.data) {
                Ok(Some(n)) => {
                    self.client = Some(seg.dir);
                    out.client = Some(seg.dir.sender());
                    out.evidence(&REQUEST, format!("{n} bytes"));
                    out.inner.extend_from_slice(seg.data.get(n..).unwrap_or_default());
                    Next::Continue { consumed: seg.data.len() }
                }
                Err(Short) => Next::Continue { consumed: 0 },
                Ok(None) => Next::NotMine,
            };
        };
        if seg.dir != client && !self.answered {
            if seg.data.starts_with(TURNED_AWAY) {
                return Next::Done;
            }
            self.answered = true;
            out.evidence(&ANSWER, format!("{} bytes", seg.data.len()));
            out.is("trojan");
        }
        out.inner.extend_from_slice(seg.data);
        Next::Continue { consumed: seg.data.len() }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::SESSION];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const REQUEST_BYTES: &[u8] = b"d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f\r\n\x01\x03\x0bexample.org\x01\xbb\r\ninner up";

    pub(super) const SESSION: Fixture<'_> = Fixture {
        name: "request and stream",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, REQUEST_BYTES), (Dir::ToClient, b"inner down")],
    };

    fn label(request: &[u8], answer: &[u8]) -> Option<&'static str> {
        let payloads = &[(Dir::ToServer, request), (Dir::ToClient, answer)];
        drive::<State>(&Fixture { payloads, ..SESSION }, usize::MAX).out.label
    }

    #[test]
    fn an_answered_request_is_trojan_and_the_stream_goes_on_inside() {
        for piece in [usize::MAX, 40, 1] {
            let got = drive::<State>(&SESSION, piece);
            assert_eq!((got.out.label, got.out.client), (Some("trojan"), Some(Side::Src)));
            assert_eq!(got.inner, [b"inner up".to_vec(), b"inner down".to_vec()]);
        }
    }

    #[test]
    fn a_request_that_a_web_server_turns_away_is_evidence() {
        assert_eq!(label(REQUEST_BYTES, b"HTTP/1.1 400 Bad Request\r\n\r\n"), None);
        let alone = drive::<State>(&Fixture { payloads: &SESSION.payloads[..1], ..SESSION }, usize::MAX);
        assert_eq!((alone.out.label, alone.out.evidence.len()), (None, 1));
    }

    #[test]
    fn a_digest_alone_or_with_something_else_behind_it_is_not_trojan() {
        for (at, value) in [(10, b'g'), (56, b'\n'), (58, 2), (59, 2), (60, 0), (74, b' ')] {
            let mut bytes = REQUEST_BYTES.to_vec();
            bytes[at] = value;
            assert_eq!(label(&bytes, b"inner down"), None, "byte {at}");
        }
        assert_eq!(
            label(b"d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f  file.iso\n", b"ok"),
            None
        );
    }
}
