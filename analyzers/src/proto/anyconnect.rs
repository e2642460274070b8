//! The DTLS channel of Cisco AnyConnect and OpenConnect.
//!
//! In: datagrams. Out: the label `anyconnect`. The client has been given keys over TLS before, which shows in its hello: it speaks DTLS as
//! OpenSSL did before there was a DTLS 1.0 (Cisco's own) and takes up a session, or it offers nothing but pre-shared keys and names its
//! session in a field where the server does not look for one to take up (OpenConnect's PSK-NEGOTIATE). A server that
//! understands answers at once. Hellos of DTLS 1.2 that take up an ordinary session have nothing that others do not have.

use crate::fingerprint::ja4::Over;
use crate::tls_handshake::{ClientHello, ServerHello, message, version};
use crate::tls_record::content;
use crate::{Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Transport, Verdict};

/// OpenSSL's number for DTLS before 1.0 (DTLS1_BAD_VER); nobody but Cisco's client and what follows it sends it.
const BEFORE_1_0: u16 = 0x0100;
/// The length of a session id as servers of either kind hand it out (X-DTLS-Session-ID, X-DTLS-App-ID).
const SESSION: usize = 32;
/// OpenConnect's number for the application id before it went into the session id (draft-mavrogiannopoulos-app-id-00).
const APPLICATION_ID: u16 = 48_018;
/// Suites of a pre-shared key alone, without the short tags of small devices, and the mark of secure renegotiation (RFC 5746).
const PRE_SHARED: [u16; 13] =
    [0x008C, 0x008D, 0x00A8, 0x00A9, 0x00AE, 0x00AF, 0xC0A4, 0xC0A5, 0xCCAB, 0xC064, 0xC065, 0xC06A, 0xC06B];
const RENEGOTIATION: u16 = 0x00FF;
/// Datagrams within which the server's hello must come.
const GIVE_UP: u8 = 16;

const HELLO: Kind = Kind {
    name: "anyconnect.hello",
    decibans: 18,
    says: "a DTLS hello of AnyConnect's form: the version before 1.0, or pre-shared keys only with a session named (draft-mavrogiannopoulos-openconnect)",
};
const ANSWER: Kind = Kind {
    name: "anyconnect.answer",
    decibans: 25,
    says: "the server answers it at once: it takes up the session, or chooses a pre-shared key under a session id of its own",
};

/// What is known of the channel.
#[derive(Debug, Default)]
pub struct State {
    client: Option<(Dir, Form, [u8; SESSION])>,
    datagrams: u8,
}

/// How a client begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Cisco's early DTLS, taking up a session.
    Early,
    /// Keys negotiated over TLS.
    PreShared,
}

/// The first handshake message of a datagram: record version, message type, body.
fn first_message(data: &[u8]) -> Option<(u16, u8, &[u8])> {
    let mut r = Reader::new(data);
    let (kind, record_version, epoch) = (r.u8().ok()?, r.u16().ok()?, r.u16().ok()?);
    r.skip(6).ok()?; // sequence number
    let mut inside = Reader::new(r.vec16().ok()?);
    let known = matches!(record_version, BEFORE_1_0 | version::DTLS_1_0 | version::DTLS_1_2);
    if kind != content::HANDSHAKE || epoch != 0 || !known {
        return None;
    }
    let (message, length) = (inside.u8().ok()?, inside.u24().ok()?);
    let (_number, offset) = (inside.u16().ok()?, inside.u24().ok()?);
    let body = inside.vec24().ok()?;
    (offset == 0 && usize::try_from(length) == Ok(body.len())).then_some((record_version, message, body))
}

/// Version, session id and, for a client, the length of its cookie.
fn session(body: &[u8], client: bool) -> Option<(u16, &[u8], usize)> {
    let mut r = Reader::new(body);
    let version = r.u16().ok()?;
    r.skip(32).ok()?; // random
    let session = r.vec8().ok()?;
    let cookie = if client { r.vec8().ok()?.len() } else { 0 };
    Some((version, session, cookie))
}

/// The form of a hello that AnyConnect's client may have sent, and the session it names.
fn client_hello(data: &[u8]) -> Option<(Form, [u8; SESSION], &[u8])> {
    let (record_version, kind, body) = first_message(data)?;
    if kind != message::CLIENT_HELLO {
        return None;
    }
    let (hello_version, named, _) = session(body, true)?;
    let hello = ClientHello::parse_dtls(body).ok()?;
    let suites = || hello.ciphers.iter().filter(|suite| **suite != RENEGOTIATION);
    let form = if (record_version, hello_version) == (BEFORE_1_0, BEFORE_1_0) {
        Form::Early
    } else if hello_version == version::DTLS_1_2
        && hello.server_name.is_none()
        && suites().count() > 0
        && suites().all(|suite| PRE_SHARED.contains(suite))
    {
        Form::PreShared
    } else {
        return None;
    };
    let named = match named.try_into() {
        Ok(named) => named,
        Err(_) if form == Form::PreShared && hello.extensions.contains(&APPLICATION_ID) => [0; SESSION],
        Err(_) => return None,
    };
    Some((form, named, body))
}

impl State {
    fn answer(&self, data: &[u8], dir: Dir, out: &mut Out) -> bool {
        let Some((client, form, named)) = self.client.filter(|(client, ..)| *client != dir) else {
            return false;
        };
        let Some((record_version, message::SERVER_HELLO, body)) = first_message(data) else { return false };
        let (Some((_, given, _)), Ok(hello)) = (session(body, false), ServerHello::parse(body)) else {
            return false;
        };
        let fits = match form {
            Form::Early => record_version == BEFORE_1_0 && given == named,
            // With the same id it takes a session up as anybody's server does.
            Form::PreShared => PRE_SHARED.contains(&hello.cipher) && given != named,
        };
        hello.describe(out.facts.tls.get_or_insert_default());
        if fits {
            out.client = Some(client.sender());
            out.evidence(&ANSWER, format!("cipher {:#06x}", hello.cipher));
            out.is("anyconnect");
        }
        fits
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "anyconnect",
        title: "Cisco AnyConnect / OpenConnect (DTLS)",
        label: Some("anyconnect"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        // Those of DTLS, so that on these too it is asked before DTLS itself.
        ports: &[443, 853, 3391, 4433, 5349, 5684],
        first: FirstBytes::of(&[content::HANDSHAKE]),
        budget: 16_384,
        carrier: false,
        reference: "draft-mavrogiannopoulos-openconnect-04 section 2.2; RFC 4347, RFC 6347",
        evidence: &[HELLO, ANSWER],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if client_hello(p.data).is_some() { Verdict::Yes } else { Verdict::No }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        self.datagrams = self.datagrams.saturating_add(1);
        if let (None, Some((form, named, body))) = (self.client, client_hello(seg.data)) {
            self.client = Some((seg.dir, form, named));
            out.client = Some(seg.dir.sender());
            if let Ok(hello) = ClientHello::parse_dtls(body) {
                hello.describe(Over::Dtls, out.facts.tls.get_or_insert_default());
            }
            let form = match form {
                Form::Early => "DTLS before 1.0, a session taken up",
                Form::PreShared => "pre-shared keys only, a session named",
            };
            out.evidence(&HELLO, form);
        } else if self.answer(seg.data, seg.dir, out) {
            return Next::Done;
        }
        if self.datagrams < GIVE_UP { Next::Continue { consumed: seg.data.len() } } else { Next::Done }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::PSK, tests::EARLY];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    /// A handshake record with one message.
    const fn record<const N: usize>(record_version: u16, kind: u8, body: &[u8]) -> [u8; N] {
        assert!(N == 25 + body.len());
        let (content, len) = ((N - 13) as u16, body.len() as u16);
        let (v, c, l) = (record_version.to_be_bytes(), content.to_be_bytes(), len.to_be_bytes());
        let head = [
            22, v[0], v[1], 0, 0, 0, 0, 0, 0, 0, 0, c[0], c[1], kind, 0, l[0], l[1], 0, 0, 0, 0, 0, 0, l[0],
            l[1],
        ];
        let mut bytes = [0; N];
        let mut i = 0;
        while i < N {
            bytes[i] = if i < 25 { head[i] } else { body[i - 25] };
            i += 1;
        }
        bytes
    }

    const PSK_BODY: &[u8] = b"\xfe\xfdRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR\x20SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS\0\
        \0\x06\0\xa9\xc0\xa5\0\xff\x01\0\0\x05\xff\x01\0\x01\0";
    const PSK_ANSWER_BODY: &[u8] =
        b"\xfe\xfdrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr\x20TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT\
        \0\xa9\0\0\x05\xff\x01\0\x01\0";
    const EARLY_BODY: &[u8] = b"\x01\0RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR\x20SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS\0\
        \0\x02\0\x35\x01\0";
    const EARLY_ANSWER_BODY: &[u8] =
        b"\x01\0rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr\x20SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS\0\x35\0";
    const PSK_HELLO: [u8; 25 + PSK_BODY.len()] = record(0xFEFF, 1, PSK_BODY);
    const PSK_ANSWER: [u8; 25 + PSK_ANSWER_BODY.len()] = record(0xFEFD, 2, PSK_ANSWER_BODY);
    const EARLY_HELLO: [u8; 25 + EARLY_BODY.len()] = record(0x0100, 1, EARLY_BODY);
    const EARLY_ANSWER: [u8; 25 + EARLY_ANSWER_BODY.len()] = record(0x0100, 2, EARLY_ANSWER_BODY);

    pub(super) const PSK: Fixture<'_> = Fixture {
        name: "PSK-NEGOTIATE",
        transport: Transport::Udp,
        payloads: &[(UP, &PSK_HELLO), (DOWN, &PSK_ANSWER)],
    };
    pub(super) const EARLY: Fixture<'_> = Fixture {
        name: "DTLS before 1.0",
        transport: Transport::Udp,
        payloads: &[(UP, &EARLY_HELLO), (DOWN, &EARLY_ANSWER)],
    };

    fn told(payloads: &[(Dir, &[u8])]) -> (Option<&'static str>, usize) {
        let got = drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads }, usize::MAX);
        (got.out.label, got.out.evidence.len())
    }

    #[test]
    fn both_forms_are_anyconnect_once_the_server_has_answered() {
        for fixture in FIXTURES {
            let got = drive::<State>(fixture, usize::MAX);
            assert_eq!((got.out.label, got.out.client), (Some("anyconnect"), Some(Side::Src)));
            assert!(got.out.facts.tls.is_some_and(|tls| tls.cipher.is_some()), "{}", fixture.name);
        }
        assert_eq!(told(&[(UP, &PSK_HELLO), (UP, &PSK_HELLO)]), (None, 1));
    }

    #[test]
    fn a_session_that_an_ordinary_server_takes_up_is_no_label() {
        let mut answer = PSK_ANSWER;
        answer[25 + 35..25 + 67].fill(b'S');
        assert_eq!(told(&[(UP, &PSK_HELLO), (DOWN, &answer)]), (None, 1));
        let mut other = EARLY_ANSWER;
        other[25 + 35] = b'x';
        assert_eq!(told(&[(UP, &EARLY_HELLO), (DOWN, &other)]), (None, 1));
    }

    #[test]
    fn hellos_with_other_suites_names_or_no_session_are_left_to_dtls() {
        let at = 25 + 2 + 32 + 1 + 32 + 1 + 2;
        let mut certificates = PSK_HELLO;
        (certificates[at], certificates[at + 1]) = (0xC0, 0x2F);
        let mut small_device = PSK_HELLO;
        (small_device[at], small_device[at + 1]) = (0xC0, 0xA8);
        let mut version = EARLY_HELLO;
        (version[25], version[26]) = (0xFE, 0xFF);
        for hello in [&certificates[..], &small_device, &version, &PSK_HELLO[..60]] {
            assert!(!drive::<State>(&Fixture { payloads: &[(UP, hello)], ..PSK }, usize::MAX).mine);
        }
    }
}
