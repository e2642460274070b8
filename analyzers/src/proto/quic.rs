//! QUIC (RFC 9000, RFC 9001, RFC 9369).
//!
//! In: datagrams. Out: the version and, from the client's first packets, server name, ALPN, JA3 and JA4; no label. The ClientHello is
//! put together from CRYPTO frames in any order over several packets, as clients with post-quantum key shares send it.

use crate::fingerprint::ja4::Over;
use crate::pieces::Pieces;
use crate::quic_initial::{Keys, LongHeader, PacketKind, negotiates_version, varint};
use crate::tls_handshake::{ClientHello, message};
use crate::{Analyzer, Dir, FirstBytes, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict};

/// Packets of a flow that are decrypted at most: a hello with a post-quantum key share takes two.
const DECRYPTIONS_MAX: u8 = 3;
/// Datagrams after which a hello is no longer hoped for.
const DATAGRAMS_MAX: u8 = 12;

/// Frame types that an Initial may hold (RFC 9000 section 12.4).
mod frame {
    pub(super) const PADDING: u8 = 0x00;
    pub(super) const PING: u8 = 0x01;
    pub(super) const ACK: u8 = 0x02;
    pub(super) const ACK_ECN: u8 = 0x03;
    pub(super) const CRYPTO: u8 = 0x06;
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// Boxed for their size: key schedules, for as long as the hello is not whole.
    keys: Option<Box<Keys>>,
    /// Direction of the packets that opened with a client's keys.
    client: Option<Dir>,
    crypto: Crypto,
    decryptions: u8,
    datagrams: u8,
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "quic",
        title: "QUIC",
        label: None,
        app_proto: "quic",
        transports: &[Transport::Udp],
        ports: &[443, 853, 8443],
        first: FirstBytes::range(0x80, 0xFF),
        budget: 16_384,
        carrier: false,
        reference: "RFC 9000, RFC 9001, RFC 9369",
        evidence: &[],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match LongHeader::parse(&mut Reader::new(p.data)) {
            Ok(Some(_)) => Verdict::Yes,
            // Cut by the snap length, but a known version in a long header all the same.
            Err(Short) if p.data.len() < p.wire_len && has_known_version(p.data) => Verdict::Yes,
            _ if negotiates_version(p.data) && negotiates_version(p.other) => Verdict::Yes,
            _ if negotiates_version(p.data) => Verdict::More,
            _ => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        self.datagrams = self.datagrams.saturating_add(1);
        let mut r = Reader::new(seg.data);
        while let Ok(Some(packet)) = LongHeader::parse(&mut r) {
            let quic = out.facts.quic.get_or_insert_default();
            if quic.version == 0 {
                quic.version = packet.version;
            }
            if packet.kind == PacketKind::Retry {
                self.keys = None; // the next Initial's keys come from the Retry's id (RFC 9001 section 5.2)
            }
            let from_server = self.client.is_some_and(|client| client != seg.dir);
            if packet.kind != PacketKind::Initial || from_server {
                continue;
            }
            if self.decryptions >= DECRYPTIONS_MAX {
                return Next::Done;
            }
            self.decryptions = self.decryptions.saturating_add(1);
            let Some(frames) = self.open(&packet) else { continue };
            self.client = Some(seg.dir);
            out.client = Some(seg.dir.sender());
            let _ = self.crypto.take(&frames); // a malformed frame ends its packet
            if let Some(hello) = self.crypto.client_hello() {
                let tls = out.facts.tls.get_or_insert_default();
                hello.describe(Over::Quic, tls);
                let quic = out.facts.quic.get_or_insert_default();
                quic.version = packet.version;
                quic.sni.clone_from(&hello.server_name);
                return Next::Done;
            }
        }
        if self.datagrams >= DATAGRAMS_MAX { Next::Done } else { Next::Continue { consumed: seg.data.len() } }
    }
}

impl State {
    /// Frames of a client's Initial.
    fn open(&mut self, packet: &LongHeader<'_>) -> Option<Vec<u8>> {
        // Keys that fitted stay when the client takes over the id that the server chose.
        if let Some(frames) = self.keys.as_ref().and_then(|keys| keys.open(packet)) {
            return Some(frames);
        }
        let keys = Keys::client(packet.version, packet.dcid)?;
        let frames = keys.open(packet)?;
        self.keys = Some(Box::new(keys));
        Some(frames)
    }
}

/// The handshake bytes of CRYPTO frames.
#[derive(Debug, Default)]
struct Crypto {
    stream: Pieces,
}

impl Crypto {
    /// Takes the CRYPTO frames of a packet.
    fn take(&mut self, frames: &[u8]) -> Result<(), Short> {
        let mut r = Reader::new(frames);
        while !r.is_empty() {
            match r.u8()? {
                frame::PADDING | frame::PING => {}
                kind @ (frame::ACK | frame::ACK_ECN) => {
                    varint(&mut r)?; // largest
                    varint(&mut r)?; // delay
                    let ranges = varint(&mut r)?;
                    varint(&mut r)?; // first range
                    for _ in 0..ranges {
                        varint(&mut r)?;
                        varint(&mut r)?;
                    }
                    if kind == frame::ACK_ECN {
                        for _ in 0..3 {
                            varint(&mut r)?;
                        }
                    }
                }
                frame::CRYPTO => {
                    let offset = varint(&mut r)?;
                    let length = varint(&mut r)?;
                    self.stream.insert(offset, r.take(length)?);
                }
                _ => return Ok(()), // CONNECTION_CLOSE, or what has no place here
            }
        }
        Ok(())
    }

    /// The ClientHello, once it is all there.
    fn client_hello(&self) -> Option<ClientHello> {
        let mut r = Reader::new(self.stream.known());
        let kind = r.u8().ok()?;
        let body = r.vec24().ok()?;
        (kind == message::CLIENT_HELLO).then(|| ClientHello::parse(body).ok())?
    }
}

/// Whether a cut datagram opens with a long header of a known version.
fn has_known_version(data: &[u8]) -> bool {
    // The rest of the shortest packet in its place: empty ids, no token, and enough to protect.
    let Some(head) = data.get(..5) else { return false };
    let whole = [head, &[0, 0, 0, 20], &[0; 20]].concat();
    matches!(LongHeader::parse(&mut Reader::new(&whole)), Ok(Some(_)))
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture] = &[crate::fixture::Fixture {
    name: "the client Initial of RFC 9001",
    transport: Transport::Udp,
    payloads: &[(Dir::ToServer, &crate::test_vectors::RFC9001_CLIENT_INITIAL)],
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, Outcome, drive};
    use crate::quic_initial::{VERSION_1, VERSION_2};
    use crate::test_vectors::{RFC8448_CLIENT_HELLO, RFC9001_CLIENT_INITIAL};

    const DCID: &[u8] = b"elevenbytes";

    fn conversation(datagrams: &[Vec<u8>]) -> Outcome {
        let payloads: Vec<_> = datagrams.iter().map(|d| (Dir::ToServer, &d[..])).collect();
        drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads: &payloads }, usize::MAX)
    }

    fn crypto(offset: usize, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![6];
        frame.extend_from_slice(&(0x4000 | u16::try_from(offset).unwrap()).to_be_bytes());
        frame.extend_from_slice(&(0x4000 | u16::try_from(data.len()).unwrap()).to_be_bytes());
        frame.extend_from_slice(data);
        frame
    }

    #[test]
    fn the_initial_of_rfc_9001_names_its_server() {
        let got = drive::<State>(&FIXTURES[0], usize::MAX);
        assert!(got.mine);
        let quic = got.out.facts.quic.unwrap();
        assert_eq!((quic.version, quic.sni.as_deref()), (1, Some("example.com")));
        let tls = got.out.facts.tls.unwrap();
        assert_eq!(tls.alpn_offered, [Box::from("alpn")]);
        assert!(tls.ja4.unwrap().starts_with("q13d0211an_"));
        assert_eq!((got.out.client, got.out.label), (Some(Side::Src), None));
    }

    #[test]
    fn a_hello_in_shuffled_frames_over_two_packets_is_put_together() {
        let hello = &RFC8448_CLIENT_HELLO;
        for version in [VERSION_1, VERSION_2, 0xFF00_001D] {
            let keys = Keys::client(version, DCID).unwrap();
            let first = [crypto(100, &hello[100..]), vec![1, 0, 0], crypto(0, &hello[..20])].concat();
            let second = [crypto(60, &hello[60..110]), vec![0; 9], crypto(20, &hello[20..60])].concat();
            let datagrams = [keys.seal(version, DCID, 0, &first), keys.seal(version, DCID, 1, &second)];
            let got = conversation(&datagrams);
            assert_eq!(got.out.facts.quic.unwrap().sni.as_deref(), Some("server"), "version {version:#x}");
            assert_eq!(conversation(&datagrams[..1]).out.facts.tls, None);
        }
    }

    #[test]
    fn after_a_retry_the_keys_are_those_of_the_new_id() {
        let frames = crypto(0, &RFC8448_CLIENT_HELLO);
        let first = Keys::client(VERSION_1, DCID).unwrap().seal(VERSION_1, DCID, 0, &frames[..104]);
        let retry = [&[0xF0, 0, 0, 0, 1, 0, 8][..], b"retry id", &[9; 40]].concat();
        let again = Keys::client(VERSION_1, b"retry id").unwrap().seal(VERSION_1, b"retry id", 1, &frames);
        let payloads = [(Dir::ToServer, &first[..]), (Dir::ToClient, &retry), (Dir::ToServer, &again)];
        let got =
            drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads: &payloads }, usize::MAX);
        assert!(got.out.facts.tls.is_some());
    }

    #[test]
    fn keys_stay_when_the_client_takes_the_servers_id() {
        let keys = Keys::client(VERSION_1, DCID).unwrap();
        let first = keys.seal(VERSION_1, DCID, 0, &crypto(0, &RFC8448_CLIENT_HELLO[..100]));
        let second = keys.seal(VERSION_1, b"server's", 1, &crypto(100, &RFC8448_CLIENT_HELLO[100..]));
        assert!(conversation(&[first, second]).out.facts.tls.is_some());
    }

    #[test]
    fn no_more_than_three_packets_are_decrypted() {
        let keys = Keys::client(VERSION_1, DCID).unwrap();
        let padding = keys.seal(VERSION_1, DCID, 0, &[0; 64]);
        let hello = keys.seal(VERSION_1, DCID, 3, &crypto(0, &RFC8448_CLIENT_HELLO));
        let mut datagrams = vec![padding; 3];
        datagrams.push(hello);
        let got = conversation(&datagrams);
        assert_eq!(got.out.facts.tls, None);
        assert_eq!(got.out.facts.quic.unwrap().version, 1);
    }

    #[test]
    fn hostile_offsets_take_no_memory() {
        let keys = Keys::client(VERSION_1, DCID).unwrap();
        let mut frames = vec![6, 0xBF, 0xFF, 0xFF, 0xFF, 0x14];
        frames.extend_from_slice(&[7; 20]);
        let mut crypto = Crypto::default();
        crypto.take(&frames).unwrap();
        assert!(crypto.stream.known().is_empty());
        assert!(conversation(&[keys.seal(VERSION_1, DCID, 0, &frames)]).mine);
    }

    #[test]
    fn a_version_that_asks_for_negotiation_is_waited_through() {
        let greased = [&[0xC0, 0x1A, 0x2A, 0x3A, 0x4A, 11][..], DCID, &[0; 40]].concat();
        let negotiation = [&[0x80, 0, 0, 0, 0, 0, 8][..], b"12345678", &[0, 0, 0, 1]].concat();
        let payloads = [
            (Dir::ToServer, &greased[..]),
            (Dir::ToClient, &negotiation),
            (Dir::ToServer, &RFC9001_CLIENT_INITIAL),
        ];
        let got =
            drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads: &payloads }, usize::MAX);
        assert_eq!(got.out.facts.quic.unwrap().sni.as_deref(), Some("example.com"));
    }

    #[test]
    fn a_cut_datagram_is_quic_by_its_version() {
        let probe = |data: &[u8], wire_len| {
            State::probe(&Probe {
                dir: Dir::ToServer,
                transport: Transport::Udp,
                data,
                wire_len,
                other: &[],
                earlier: &[],
                from_start: true,
                port_hint: true,
            })
        };
        assert_eq!(probe(&RFC9001_CLIENT_INITIAL[..22], 1200), Verdict::Yes);
        assert_eq!(probe(&RFC9001_CLIENT_INITIAL[..22], 22), Verdict::No);
        assert_eq!(probe(&[0xC3, 0, 0, 0, 0, 8], 1200), Verdict::No);
    }
}
