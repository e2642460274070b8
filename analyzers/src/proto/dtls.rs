//! DTLS 1.0 to 1.3 (RFC 4347, RFC 6347, RFC 9147), and the early version that Cisco's AnyConnect speaks.
//!
//! In: datagrams. Out: as for TLS: server name, ALPN, version, cipher, JA3, JA3S, JA4 and, up to DTLS 1.2, the certificate; no label.
//! Handshake messages are put together from fragments in any order.

use crate::fingerprint::ja4::Over;
use crate::pieces::Pieces;
use crate::tls_handshake::{ClientHello, ServerHello, leaf, message, version};
use crate::tls_record::content;
use crate::{
    Analyzer, Basis, Dir, FirstBytes, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
    certificate,
};

/// The version number of OpenSSL before DTLS had one; AnyConnect still sends it.
const BEFORE_1_0: u16 = 0x0100;
/// Type, version, epoch, sequence number, length (RFC 6347 section 4.1).
const RECORD_HEADER_LEN: usize = 13;
/// Epochs count key changes: one by the handshake, few after it.
const EPOCH_MAX: u16 = 8;
/// An explicit nonce of 8 and a tag of 8, as the shortest cipher in use has (AES-CCM-8, RFC 6655).
const ENCRYPTED_MIN: usize = 16;
/// Longest message that is read: a chain of certificates.
const MESSAGE_MAX: usize = 16_384;
/// Datagrams after which no more is hoped for.
const DATAGRAMS_MAX: u8 = 48;

/// One record.
struct Record<'a> {
    kind: u8,
    version: u16,
    epoch: u16,
    content: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record that `r` stands at; `Ok(None)` if it is none.
    fn parse(r: &mut Reader<'a>) -> Result<Option<Self>, Short> {
        let (kind, version, epoch) = (r.u8()?, r.u16()?, r.u16()?);
        r.skip(6)?; // sequence number
        let known = (content::CHANGE_CIPHER_SPEC..=content::HEARTBEAT).contains(&kind)
            && matches!(version, version::DTLS_1_0 | version::DTLS_1_2 | BEFORE_1_0)
            && epoch <= EPOCH_MAX;
        if !known {
            return Ok(None);
        }
        Ok(Some(Self { kind, version, epoch, content: r.vec16()? }))
    }
}

/// A message or a fragment of one (RFC 6347 section 4.2.2).
struct Fragment<'a> {
    kind: u8,
    length: usize,
    number: u16,
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Reads the fragment that `r` stands at; `Ok(None)` for numbers that do not fit each other.
    fn parse(r: &mut Reader<'a>) -> Result<Option<Self>, Short> {
        let kind = r.u8()?;
        let length = usize::try_from(r.u24()?).map_err(|_| Short)?;
        let number = r.u16()?;
        let offset = usize::try_from(r.u24()?).map_err(|_| Short)?;
        let bytes = r.vec24()?;
        let fits = length <= MESSAGE_MAX && offset.saturating_add(bytes.len()) <= length;
        Ok(fits.then_some(Self { kind, length, number, offset, bytes }))
    }
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// The incomplete message of each direction.
    partial: [Partial; 2],
    learnt: Learnt,
    datagrams: u8,
}

#[derive(Debug, Default)]
struct Partial {
    kind: u8,
    number: u16,
    pieces: Pieces,
}

#[derive(Debug, Default)]
struct Learnt {
    client: Option<Dir>,
    client_hello: bool,
    server_hello: bool,
    /// Nothing more will come in clear.
    done: bool,
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "dtls",
        title: "DTLS",
        label: None,
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[443, 853, 3391, 4433, 5349, 5684],
        first: FirstBytes::of(&[content::HANDSHAKE, content::APPLICATION_DATA]),
        budget: 16_384,
        carrier: false,
        reference: "RFC 6347, RFC 9147, RFC 4347",
        evidence: &[],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.data.first().is_some_and(|byte| Self::META.first.has(*byte)) {
            return Verdict::No;
        }
        let mut r = Reader::new(p.data);
        let cut = p.data.len() < p.wire_len;
        let mut records = 0_usize;
        while !r.is_empty() {
            match Record::parse(&mut r) {
                Ok(Some(record)) if records > 0 || record.opens() => {}
                Err(Short) if cut && (records > 0 || cut_hello(p.data)) => return Verdict::Yes,
                _ => return Verdict::No,
            }
            records = records.saturating_add(1);
        }
        if records > 0 { Verdict::Yes } else { Verdict::No }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let mut r = Reader::new(seg.data);
        while let Ok(Some(record)) = Record::parse(&mut r) {
            self.record(&record, seg.dir, out);
        }
        self.datagrams = self.datagrams.saturating_add(1);
        if self.learnt.done || self.datagrams >= DATAGRAMS_MAX {
            return Next::Done;
        }
        Next::Continue { consumed: seg.data.len() }
    }
}

impl Record<'_> {
    /// Whether it can be the first of a datagram that this analyzer takes.
    fn opens(&self) -> bool {
        if self.epoch > 0 {
            return self.content.len() >= ENCRYPTED_MIN;
        }
        let fragment = Fragment::parse(&mut Reader::new(self.content));
        self.kind == content::HANDSHAKE
            && matches!(fragment, Ok(Some(f)) if is_opening(f.kind) && f.length > 0)
    }
}

impl State {
    fn record(&mut self, record: &Record<'_>, dir: Dir, out: &mut Out) {
        match (record.epoch, record.kind) {
            (0, content::HANDSHAKE) => {
                let mut r = Reader::new(record.content);
                while let Ok(Some(fragment)) = Fragment::parse(&mut r) {
                    self.fragment(&fragment, dir, out);
                }
            }
            (0, content::CHANGE_CIPHER_SPEC) => self.learnt.done |= self.learnt.server_hello,
            (1.., _) => {
                if self.learnt.client.is_none() {
                    // No hello before it: the capture began later.
                    out.basis = Basis::Midstream;
                    out.facts.tls.get_or_insert_default().version = record.version;
                }
                self.learnt.done = true;
            }
            _ => {}
        }
    }

    fn fragment(&mut self, fragment: &Fragment<'_>, dir: Dir, out: &mut Out) {
        if fragment.bytes.len() == fragment.length {
            self.learnt.message(dir, fragment.kind, fragment.bytes, out);
            return;
        }
        if !matches!(fragment.kind, message::CLIENT_HELLO | message::SERVER_HELLO | message::CERTIFICATE) {
            return;
        }
        let [to_server, to_client] = &mut self.partial;
        let partial = if dir == Dir::ToServer { to_server } else { to_client };
        if (partial.kind, partial.number) != (fragment.kind, fragment.number) {
            *partial = Partial { kind: fragment.kind, number: fragment.number, pieces: Pieces::default() };
        }
        partial.pieces.insert(fragment.offset, fragment.bytes);
        let known = partial.pieces.known();
        if known.len() >= fragment.length {
            self.learnt.message(dir, fragment.kind, known, out);
            partial.pieces.clear();
        } else if fragment.kind == message::CERTIFICATE {
            self.learnt.certificate(dir, known, out);
        }
    }
}

impl Learnt {
    fn client_is(&mut self, dir: Dir, out: &mut Out) {
        if self.client.is_none() {
            self.client = Some(dir);
            out.client = Some(dir.sender());
        }
    }

    /// Takes a whole message; one that cannot be parsed says nothing.
    fn message(&mut self, dir: Dir, kind: u8, body: &[u8], out: &mut Out) {
        match kind {
            message::CLIENT_HELLO if self.client != Some(dir.reverse()) => {
                if let Ok(hello) = ClientHello::parse_dtls(body) {
                    self.client_is(dir, out);
                    self.client_hello = true;
                    hello.describe(Over::Dtls, out.facts.tls.get_or_insert_default());
                }
            }
            message::SERVER_HELLO if self.client != Some(dir) => {
                if let Ok(hello) = ServerHello::parse(body) {
                    self.client_is(dir.reverse(), out);
                    self.server_hello = true;
                    self.done |= hello.version == version::DTLS_1_3 && !hello.retry && self.client_hello;
                    hello.describe(out.facts.tls.get_or_insert_default());
                }
            }
            message::CERTIFICATE => self.certificate(dir, body, out),
            message::SERVER_HELLO_DONE => self.done |= self.client == Some(dir.reverse()),
            _ => {}
        }
    }

    fn certificate(&mut self, dir: Dir, body: &[u8], out: &mut Out) {
        if !self.server_hello || self.client != Some(dir.reverse()) {
            return;
        }
        if let Ok(der) = leaf(body) {
            self.done = true;
            certificate::describe(der, out.facts.tls.get_or_insert_default());
        }
    }
}

fn is_opening(kind: u8) -> bool {
    matches!(kind, message::CLIENT_HELLO | message::SERVER_HELLO | message::HELLO_VERIFY_REQUEST)
}

/// Whether a datagram that the snap length cut inside its first record opens with a hello.
fn cut_hello(data: &[u8]) -> bool {
    let mut r = Reader::new(data);
    let (Ok(kind), Ok(version), Ok(epoch)) = (r.u8(), r.u16(), r.u16()) else { return false };
    let message = data.get(RECORD_HEADER_LEN).copied();
    kind == content::HANDSHAKE
        && matches!(version, version::DTLS_1_0 | version::DTLS_1_2 | BEFORE_1_0)
        && epoch == 0
        && message.is_some_and(is_opening)
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture] = &[
    crate::fixture::Fixture {
        name: "a hello",
        transport: Transport::Udp,
        payloads: &[(Dir::ToServer, &tests::CLIENT_HELLO)],
    },
    crate::fixture::Fixture {
        name: "application data only",
        transport: Transport::Udp,
        payloads: &[(Dir::ToServer, &tests::DATA)],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, Outcome, drive};
    use crate::test_vectors::{TLS12_CLIENT, TLS12_SERVER};

    /// The body of [`TLS12_CLIENT`]'s hello in DTLS 1.2: its version, and an empty cookie behind the empty session id.
    const HELLO_BODY: [u8; 173] = {
        let mut body = [0; 173];
        let mut i = 0;
        while i < 172 {
            let at = if i < 35 { i } else { i + 1 };
            body[at] = TLS12_CLIENT[9 + i];
            i += 1;
        }
        (body[0], body[1]) = (0xFE, 0xFD);
        body
    };
    pub(super) const CLIENT_HELLO: [u8; 198] = datagram(1, 0, &HELLO_BODY);
    /// Two records of 16 encrypted bytes in epoch 1.
    pub(super) const DATA: [u8; 58] = {
        let mut bytes = [0xA5; 58];
        let header = [23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, 16];
        let mut i = 0;
        while i < 13 {
            bytes[i] = header[i];
            bytes[29 + i] = header[i];
            i += 1;
        }
        bytes
    };

    /// A record of epoch 0 with one whole message.
    const fn datagram<const N: usize>(kind: u8, number: u8, body: &[u8]) -> [u8; N] {
        let mut bytes = [0; N];
        assert!(N == 25 + body.len() && body.len() < 65_000);
        let content = ((N - 13) as u16).to_be_bytes();
        let length = (body.len() as u16).to_be_bytes();
        let head = [
            22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, content[0], content[1], kind, 0, length[0], length[1], 0,
            number, 0, 0, 0, 0, length[0], length[1],
        ];
        let mut i = 0;
        while i < N {
            bytes[i] = if i < 25 { head[i] } else { body[i - 25] };
            i += 1;
        }
        bytes
    }

    /// The message `kind` with `body`, a record for every `size` bytes of it.
    fn fragments(kind: u8, number: u8, body: &[u8], size: usize) -> Vec<Vec<u8>> {
        let be24 = |n: usize| u32::try_from(n).unwrap().to_be_bytes()[1..].to_vec();
        let mut out = Vec::new();
        for (i, piece) in body.chunks(size).enumerate() {
            let head =
                [vec![kind], be24(body.len()), vec![0, number], be24(i * size), be24(piece.len())].concat();
            let length = u16::try_from(head.len() + piece.len()).unwrap().to_be_bytes();
            out.push([&[22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 1], &length[..], &head, piece].concat());
        }
        out
    }

    fn conversation(payloads: &[(Dir, &[u8])]) -> Outcome {
        drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads }, usize::MAX)
    }

    #[test]
    fn a_hello_tells_its_names_and_a_dtls_fingerprint() {
        let got = drive::<State>(&FIXTURES[0], usize::MAX);
        assert!(got.mine);
        let tls = got.out.facts.tls.unwrap();
        assert_eq!(tls.sni.as_deref(), Some("vpn.example.test"));
        assert_eq!(tls.version, version::DTLS_1_2);
        // Suites, extensions and algorithms are those of the TLS hello, so only the first letters differ.
        let over_tcp = ClientHello::parse(&TLS12_CLIENT[9..]).unwrap();
        let tcp = crate::fingerprint::ja4::client(&over_tcp, Over::Tcp);
        assert_eq!(tls.ja4.as_deref(), Some(&*tcp.replacen("t12", "dd2", 1)));
        assert_eq!(got.out.client, Some(Side::Src));
    }

    #[test]
    fn fragments_in_any_order_make_a_hello() {
        let mut pieces = fragments(1, 1, &HELLO_BODY, 50);
        pieces.swap(0, 2);
        pieces.swap(1, 3);
        let payloads: Vec<_> = pieces.iter().map(|p| (Dir::ToServer, &p[..])).collect();
        let tls = conversation(&payloads).out.facts.tls.unwrap();
        assert_eq!(tls.sni.as_deref(), Some("vpn.example.test"));
    }

    #[test]
    fn a_certificate_in_fragments_is_read() {
        let mut server_hello = TLS12_SERVER[9..79].to_vec();
        server_hello[..2].copy_from_slice(&[0xFE, 0xFD]);
        let certificate = &TLS12_SERVER[88..88 + 513];
        let mut datagrams = fragments(2, 1, &server_hello, 1000);
        datagrams.extend(fragments(11, 2, certificate, 200));
        let mut payloads = vec![(Dir::ToServer, &CLIENT_HELLO[..])];
        payloads.extend(datagrams.iter().map(|d| (Dir::ToClient, &d[..])));
        let tls = conversation(&payloads).out.facts.tls.unwrap();
        assert_eq!((tls.version, tls.cipher), (version::DTLS_1_2, Some(0xC02C)));
        assert_eq!(tls.subject.as_deref(), Some("C=US, O=Example Org, CN=vpn.example.test"));
    }

    #[test]
    fn encrypted_records_alone_are_midstream() {
        let got = drive::<State>(&FIXTURES[1], usize::MAX);
        assert!(got.mine);
        assert_eq!(got.out.basis, Basis::Midstream);
        let longer = [&DATA[..], &[0]].concat();
        assert!(!conversation(&[(Dir::ToServer, &longer)]).mine);
    }

    #[test]
    fn lengths_that_do_not_fit_are_not_taken() {
        for (at, value) in [(2, 0xFC), (4, 9), (12, 0xFF), (13, 9), (14, 1), (24, 0xFF)] {
            let mut bytes = CLIENT_HELLO;
            bytes[at] = value;
            assert!(!conversation(&[(Dir::ToServer, &bytes)]).mine, "byte {at} is {value}");
        }
    }
}
