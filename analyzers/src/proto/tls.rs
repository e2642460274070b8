//! TLS and SSL 3 over a stream (RFC 8446, RFC 5246, RFC 6101).
//!
//! In: both directions of a stream, or one of them, from the first record or from later. Out: server name, ALPN, version, cipher, JA3,
//! JA3S, JA4 and, up to TLS 1.2, the server's certificate; no label. Records are taken apart as they come, so a hello may be
//! spread over any number of records and segments, and a cut capture still gives what came before the cut.

use crate::fingerprint::ja4::Over;
use crate::inside_tls::{Record, Watch};
use crate::tls_handshake::{ClientHello, Messages, ServerHello, leaf, message, version};
use crate::tls_record::{Header, SSL2_LENGTH_FLAG, Ssl2Hello, content, is_hello, is_midstream};
use crate::{
    Analyzer, Basis, Dir, FirstBytes, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
    certificate,
};

/// Level of an alert that ends the connection (RFC 5246 section 7.2).
const FATAL: u8 = 2;

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    streams: [Stream; 2],
    learnt: Learnt,
    watch: Watch,
}

/// Records of one direction.
#[derive(Debug, Default)]
struct Stream {
    /// Type of the record at work and its bytes still to come.
    kind: u8,
    left: usize,
    messages: Messages,
    /// Record boundaries are no longer known.
    lost: bool,
    /// Handshake records are encrypted from here on.
    encrypted: bool,
    started: bool,
}

#[derive(Debug, Default)]
struct Learnt {
    /// Direction of the first ClientHello, or against that of a ServerHello.
    client: Option<Dir>,
    client_hello: bool,
    server_hello: bool,
    /// A HelloRetryRequest was the last answer.
    retry: bool,
    leaf: bool,
    /// Nothing more will come from the server in clear.
    server_done: bool,
    /// Encrypted data or a fatal alert: the handshake is over, whether it was seen or not.
    over: bool,
    malformed: bool,
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "tls",
        title: "TLS",
        label: None,
        app_proto: "tls",
        transports: &[Transport::Tcp],
        ports: &[443, 465, 563, 636, 853, 989, 990, 992, 993, 995, 5061, 8443],
        first: FirstBytes::of(&[content::HANDSHAKE, content::APPLICATION_DATA, SSL2_LENGTH_FLAG]),
        // Enough for the records that tools inside are known by; without such a suspicion it is done after the hellos.
        budget: 65_536,
        carrier: false,
        reference: "RFC 8446, RFC 5246, RFC 6101",
        evidence: &[],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        let answer = match p.data.first() {
            Some(&SSL2_LENGTH_FLAG) => Ssl2Hello::parse(p.data).map(|hello| hello.is_some()),
            Some(&content::HANDSHAKE) => is_hello(p.data),
            Some(&content::APPLICATION_DATA) => is_midstream(p.data),
            _ => Ok(false),
        };
        match answer {
            Ok(true) => Verdict::Yes,
            Ok(false) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let Some(stream) = self.streams.get_mut(seg.dir.index()) else { return Next::Done };
        if seg.gap && stream.started {
            *stream = Stream { started: true, ..Stream::default() };
        }
        let consumed = match stream.take(seg, &mut self.learnt, &mut self.watch, out) {
            Ok(consumed) => consumed,
            Err(Foreign) if seg.gap => {
                // The bytes after a gap rarely start at a record; the other direction may still be whole.
                stream.lost = true;
                seg.data.len()
            }
            Err(Foreign) => return self.learnt.stop(),
        };
        if self.learnt.malformed {
            return self.learnt.stop();
        }
        let [a, b] = &self.streams;
        if a.lost || b.lost {
            self.watch = Watch::Over;
        }
        if self.learnt.is_over() {
            self.watch.begin(out);
            if !self.watch.reads() {
                return Next::Done;
            }
        }
        if a.lost && b.lost {
            return Next::Done;
        }
        Next::Continue { consumed }
    }
}

/// The stream does not go on with a TLS record.
struct Foreign;

impl Stream {
    /// Takes all records and parts of records in `seg`; answers how many bytes that was.
    fn take(
        &mut self,
        seg: &Segment<'_>,
        learnt: &mut Learnt,
        watch: &mut Watch,
        out: &mut Out,
    ) -> Result<usize, Foreign> {
        if self.lost {
            return Ok(seg.data.len());
        }
        let mut r = Reader::new(seg.data);
        if !self.started && seg.data.first() == Some(&SSL2_LENGTH_FLAG) {
            match Ssl2Hello::parse(seg.data) {
                Ok(Some(hello)) => {
                    learnt.client_is(seg.dir, out);
                    out.facts.tls.get_or_insert_default().version = hello.version;
                    learnt.client_hello = true;
                    self.started = true;
                    let _ = r.skip(hello.length); // there, since it parsed
                }
                Ok(None) => return Err(Foreign),
                Err(Short) => return Ok(0),
            }
        }
        loop {
            if self.left == 0 {
                let before = r;
                match Header::parse(&mut r) {
                    Ok(Some(header)) => {
                        (self.kind, self.left) = (header.kind, usize::from(header.length));
                        self.started = true;
                        if learnt.is_over() {
                            watch.begin(out);
                        } else if learnt.client.is_none() && header.kind == content::APPLICATION_DATA {
                            watch.begin_midstream();
                        }
                        watch.record(
                            &Record {
                                from_client: learnt.client.unwrap_or(Dir::ToServer) == seg.dir,
                                kind: header.kind,
                                len: header.length,
                                ts_ns: seg.ts_ns,
                            },
                            out,
                        );
                        if header.kind == content::APPLICATION_DATA {
                            learnt.application_data(seg.dir, header.version, out);
                        }
                    }
                    Ok(None) => return Err(Foreign),
                    Err(Short) => return Ok(before.taken()),
                }
            }
            let piece = r.take(self.left.min(r.rest().len())).unwrap_or_default();
            self.left = self.left.saturating_sub(piece.len());
            self.content(piece, seg.dir, learnt, out);
            if self.left > 0 || learnt.malformed || learnt.over && !watch.reads() {
                return Ok(r.taken());
            }
        }
    }

    /// Takes bytes of the record at work.
    fn content(&mut self, piece: &[u8], dir: Dir, learnt: &mut Learnt, out: &mut Out) {
        match self.kind {
            content::HANDSHAKE if !self.encrypted => {
                let pushed = self.messages.push(piece, |kind, body| learnt.message(dir, kind, body, out));
                if pushed.is_err() {
                    learnt.malformed = true;
                }
                // The leaf leads a chain that may not fit in what is read of the stream.
                if let Some((message::CERTIFICATE, so_far)) = self.messages.incomplete() {
                    learnt.certificate(dir, so_far, out);
                }
            }
            // After a HelloRetryRequest it means nothing and clear messages follow (RFC 8446 appendix D.4).
            content::CHANGE_CIPHER_SPEC if !learnt.retry => {
                self.encrypted = true;
                self.messages.clear();
                learnt.server_done |= learnt.client == Some(dir.reverse());
            }
            content::ALERT => learnt.over |= piece.len() == 2 && piece.first() == Some(&FATAL),
            _ => {}
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

    fn message(&mut self, dir: Dir, kind: u8, body: &[u8], out: &mut Out) {
        match kind {
            message::CLIENT_HELLO if self.client != Some(dir.reverse()) => match ClientHello::parse(body) {
                Ok(hello) => {
                    self.client_is(dir, out);
                    self.client_hello = true;
                    hello.describe(Over::Tcp, out.facts.tls.get_or_insert_default());
                }
                Err(Short) => self.malformed = true,
            },
            message::SERVER_HELLO if self.client != Some(dir) => match ServerHello::parse(body) {
                Ok(hello) => {
                    self.client_is(dir.reverse(), out);
                    self.server_hello = true;
                    self.retry = hello.retry;
                    self.server_done = hello.version >= version::TLS_1_3 && !hello.retry;
                    hello.describe(out.facts.tls.get_or_insert_default());
                }
                Err(Short) => self.malformed = true,
            },
            message::CERTIFICATE => self.certificate(dir, body, out),
            message::SERVER_HELLO_DONE => self.server_done |= self.client == Some(dir.reverse()),
            _ => {}
        }
    }

    fn certificate(&mut self, dir: Dir, body: &[u8], out: &mut Out) {
        if self.leaf || !self.server_hello || self.client != Some(dir.reverse()) {
            return;
        }
        if let Ok(der) = leaf(body) {
            self.leaf = true;
            self.server_done = true;
            certificate::describe(der, out.facts.tls.get_or_insert_default());
        }
    }

    fn application_data(&mut self, dir: Dir, record_version: u16, out: &mut Out) {
        match self.client {
            None => {
                // No hello before it: the capture began later.
                out.basis = Basis::Midstream;
                out.facts.tls.get_or_insert_default().version = record_version;
                self.over = true;
            }
            // From the client it may be early data, before any answer (RFC 8446 section 2.3).
            Some(client) => self.over |= dir != client || self.server_done,
        }
    }

    /// All that is in clear of the handshake has been seen.
    const fn is_over(&self) -> bool {
        self.over || self.server_done && self.client_hello
    }

    /// How to end when something else than TLS comes.
    const fn stop(&self) -> Next {
        if self.client_hello || self.server_hello { Next::Done } else { Next::NotMine }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture] = &[
    crate::fixture::Fixture {
        name: "TLS 1.3 of RFC 8448 section 3",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, &tests::CLIENT_HELLO), (Dir::ToClient, &tests::SERVER_HELLO)],
    },
    crate::fixture::Fixture {
        name: "TLS 1.2 with a certificate",
        transport: Transport::Tcp,
        payloads: &[
            (Dir::ToServer, &crate::test_vectors::TLS12_CLIENT),
            (Dir::ToClient, &crate::test_vectors::TLS12_SERVER),
        ],
    },
    crate::fixture::Fixture {
        name: "application data only",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, &tests::MIDSTREAM)],
    },
    crate::fixture::Fixture {
        name: "a hello in SSL 2.0's frame",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, &tests::SSL2_HELLO), (Dir::ToClient, &crate::test_vectors::TLS12_SERVER)],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, Outcome, drive};
    use crate::test_vectors::{
        RFC8448_CLIENT_HELLO, RFC8448_RETRY, RFC8448_RETRY_SERVER_HELLO, RFC8448_SERVER_HELLO, TLS12_CLIENT,
        TLS12_SERVER,
    };

    pub(super) const CLIENT_HELLO: [u8; 201] = record([22, 3, 1, 0, 196], &RFC8448_CLIENT_HELLO);
    pub(super) const SERVER_HELLO: [u8; 95] = record([22, 3, 3, 0, 90], &RFC8448_SERVER_HELLO);
    /// Two records of 20 encrypted bytes.
    pub(super) const MIDSTREAM: [u8; 50] =
        record([23, 3, 3, 0, 20], &record::<45>([0xA5; 5], &record::<40>([0xA5; 5], &second_record())));
    pub(super) const SSL2_HELLO: [u8; 33] = [
        0x80, 31, 1, 3, 1, 0, 6, 0, 0, 0, 16, 0, 0, 0x2F, 0, 0, 0x35, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
        13, 14, 15, 16,
    ];

    /// Ten bytes of ciphertext, then a record header and twenty more.
    const fn second_record() -> [u8; 35] {
        let mut bytes = [0xA5; 35];
        let header = [23, 3, 3, 0, 20];
        let mut i = 0;
        while i < 5 {
            bytes[10 + i] = header[i];
            i += 1;
        }
        bytes
    }

    const fn record<const N: usize>(header: [u8; 5], content: &[u8]) -> [u8; N] {
        assert!(content.len() + 5 == N);
        let mut bytes = [0; N];
        let mut i = 0;
        while i < N {
            bytes[i] = if i < 5 { header[i] } else { content[i - 5] };
            i += 1;
        }
        bytes
    }

    fn conversation(payloads: &[(Dir, &[u8])], piece: usize) -> Outcome {
        drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, piece)
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in message.chunks(size) {
            bytes.extend_from_slice(&[22, 3, 1]);
            bytes.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    #[test]
    fn a_tls_1_3_handshake_tells_names_and_fingerprints_however_it_is_cut() {
        for piece in [1, 7, 64, usize::MAX] {
            let got = drive::<State>(&FIXTURES[0], piece);
            assert!(got.mine);
            let tls = got.out.facts.tls.unwrap();
            assert_eq!(tls.sni.as_deref(), Some("server"));
            assert_eq!((tls.version, tls.cipher), (version::TLS_1_3, Some(0x1301)));
            let ja3 = tls.ja3.unwrap();
            assert_eq!(
                &*ja3.string,
                "771,4865-4867-4866,0-65281-10-35-51-43-13-45-28,29-23-24-25-256-257-258-259-260,"
            );
            assert_eq!(&*tls.ja3s.unwrap().string, "771,4865,51-43");
            // Three suites, nine extensions, a name, no ALPN; the hashes are those of sha256sum over the sorted lists.
            assert_eq!(tls.ja4.as_deref(), Some("t13d030900_55b375c5d22e_59cd3dafc54d"));
            assert_eq!(got.out.client, Some(Side::Src));
            assert_eq!(got.out.label, None);
        }
    }

    #[test]
    fn a_tls_1_2_handshake_tells_the_certificate_and_the_chosen_protocol() {
        for piece in [1, 100, usize::MAX] {
            let tls = drive::<State>(&FIXTURES[1], piece).out.facts.tls.unwrap();
            assert_eq!(tls.sni.as_deref(), Some("vpn.example.test"));
            assert_eq!(tls.alpn_offered, ["h2".into(), Box::from("http/1.1")]);
            assert_eq!(tls.alpn.as_deref(), Some("h2"));
            assert_eq!((tls.version, tls.cipher), (version::TLS_1_2, Some(0xC02C)));
            assert_eq!(tls.subject.as_deref(), Some("C=US, O=Example Org, CN=vpn.example.test"));
        }
    }

    #[test]
    fn a_capture_cut_inside_the_chain_still_has_the_leaf() {
        let cut = 79 + 5 + 4 + 3 + 3 + 507; // ServerHello record; record, message, chain and certificate headers; certificate
        let leaf =
            conversation(&[(Dir::ToServer, &TLS12_CLIENT), (Dir::ToClient, &TLS12_SERVER[..cut])], 100);
        assert!(leaf.out.facts.tls.unwrap().fingerprint.is_some());
        let short =
            conversation(&[(Dir::ToServer, &TLS12_CLIENT), (Dir::ToClient, &TLS12_SERVER[..cut - 1])], 100);
        assert_eq!(short.out.facts.tls.unwrap().fingerprint, None);
    }

    #[test]
    fn a_hello_spread_over_small_records_is_the_same_hello() {
        for size in [1, 3, 40, 64, 100] {
            let bytes = records(&RFC8448_CLIENT_HELLO, size);
            let tls = conversation(&[(Dir::ToServer, &bytes)], 33).out.facts.tls.unwrap();
            assert_eq!(tls.sni.as_deref(), Some("server"), "records of {size}");
        }
    }

    #[test]
    fn a_post_quantum_hello_of_two_segments_is_read() {
        // RFC 8448's hello with a padding extension (RFC 7685) in place of the larger key share.
        let mut hello = RFC8448_CLIENT_HELLO.to_vec();
        hello.extend_from_slice(&[0, 21, 6, 0x40]);
        hello.extend_from_slice(&[0; 0x640]);
        // The message's length at byte 2; that of its extensions behind version, random, session id, suites and compression.
        for at in [2, 4 + 2 + 32 + 1 + 2 + 6 + 2] {
            let length = u16::from_be_bytes([hello[at], hello[at + 1]]) + 4 + 0x640;
            hello[at..at + 2].copy_from_slice(&length.to_be_bytes());
        }
        let bytes = records(&hello, 16_384);
        let tls = conversation(&[(Dir::ToServer, &bytes)], 1400).out.facts.tls.unwrap();
        assert_eq!(tls.sni.as_deref(), Some("server"));
        assert!(tls.ja4.unwrap().starts_with("t13d031000_"));
    }

    #[test]
    fn a_retry_is_not_the_answer_and_the_hello_after_it_is() {
        let retry = records(&RFC8448_RETRY, 16_384);
        let answer = records(&RFC8448_RETRY_SERVER_HELLO, 16_384);
        let ccs = [20, 3, 3, 0, 1, 1];
        let got = conversation(
            &[
                (Dir::ToServer, &CLIENT_HELLO),
                (Dir::ToClient, &retry),
                (Dir::ToClient, &ccs),
                (Dir::ToServer, &ccs),
                (Dir::ToServer, &CLIENT_HELLO),
                (Dir::ToClient, &answer),
            ],
            usize::MAX,
        );
        let tls = got.out.facts.tls.unwrap();
        assert_eq!(&*tls.ja3s.unwrap().string, "771,4865,51-43");
    }

    #[test]
    fn the_server_alone_tells_who_the_client_is() {
        let got = conversation(&[(Dir::ToServer, &TLS12_SERVER)], 1000);
        assert!(got.mine);
        assert_eq!(got.out.client, Some(Side::Dest));
        let tls = got.out.facts.tls.unwrap();
        assert!(tls.subject.is_some());
        assert_eq!(tls.ja4, None);
    }

    #[test]
    fn chained_records_of_data_are_tls_without_facts() {
        let got = drive::<State>(&FIXTURES[2], 9);
        assert!(got.mine);
        assert_eq!(got.out.basis, Basis::Midstream);
        assert_eq!(got.out.facts.tls.unwrap().sni, None);
    }

    #[test]
    fn a_gap_in_one_direction_leaves_the_other() {
        let mut state = State::default();
        let mut out = Out::default();
        let mut feed = |dir, data: &[u8], gap| {
            let seg = Segment { dir, transport: Transport::Tcp, data, wire_len: data.len(), gap, ts_ns: 0 };
            state.on_data(&seg, &mut out)
        };
        assert_eq!(feed(Dir::ToServer, &CLIENT_HELLO[..60], false), Next::Continue { consumed: 60 });
        assert_eq!(feed(Dir::ToServer, &[0xEE; 50], true), Next::Continue { consumed: 50 });
        assert_eq!(feed(Dir::ToClient, &SERVER_HELLO, false), Next::Continue { consumed: 95 });
        assert_eq!(feed(Dir::ToClient, &MIDSTREAM, false), Next::Done);
        assert_eq!(out.facts.tls.unwrap().version, version::TLS_1_3);
        assert_eq!(out.client, Some(Side::Src));
    }

    #[test]
    fn a_plain_answer_to_a_hello_ends_it_quietly() {
        let got = conversation(
            &[(Dir::ToServer, &CLIENT_HELLO), (Dir::ToClient, b"HTTP/1.1 400 Bad Request\r\n")],
            999,
        );
        assert!(got.mine);
        assert_eq!(got.out.facts.tls.unwrap().cipher, None);
    }

    #[test]
    fn a_record_that_looks_like_a_hello_and_is_none_is_given_back() {
        let mut bytes = CLIENT_HELLO;
        bytes[43] = 0xFF; // session id longer than the hello
        assert!(!conversation(&[(Dir::ToServer, &bytes)], usize::MAX).mine);
    }
}
