//! What a packet meets on its way, one stage at a time: decoding, the flow table, inspection of a TLS handshake.
//!
//! In: generated traffic in memory. Out: criterion's figures, an element being a packet, a look-up or a connection. A rival does
//! the same work in the same run: etherparse decodes, the standard library's hash map keeps flows.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use farend::decode::{Addrs, Decoded, Decoder, Link};
use farend::flow::{Birth, Hasher, Hot, Key4, Table, shard_of};
use farend::inspect::{Begin, Inspector, Limits, Owner, Payload};
use farend::traffic::{Workload, generate};
use farend_analyzers::{Dir, Transport};

/// Frames that are decoded again and again; their bytes fit a second-level cache.
const FRAMES: u64 = 4_096;
/// Look-ups measured at once.
const TOUCHES: usize = 8_192;
/// Look-ups that wait for memory together, as in the pipeline.
const STEP: usize = 32;
/// Flows in the table: its lines fit a second-level cache, fit a third-level cache, fit none.
const FLOWS: [u32; 3] = [10_000, 100_000, 1_000_000];
/// Connections in the elephant capture, which the generator opens in turn.
const CONNECTIONS: usize = 2_000;
/// Connections whose handshakes are inspected.
const HANDSHAKES: usize = 256;
/// Packets of a connection up to the end of its handshake: SYN, SYN-ACK, ACK, ClientHello, ServerHello.
const HANDSHAKE: usize = 5;

/// A generated capture's frames.
fn frames(workload: Workload, packets: u64) -> Vec<Vec<u8>> {
    let mut capture = Vec::new();
    generate(workload, packets, 1, &mut capture).expect("memory takes all");
    let mut rest = &capture[24..];
    let mut frames = Vec::new();
    while let Some((header, body)) = rest.split_first_chunk::<16>() {
        let captured = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        frames.push(body[..captured].to_vec());
        rest = &body[captured..];
    }
    frames
}

/// Addresses, ports and length of the payload: what either decoder is asked for.
type Seen = ([u8; 4], [u8; 4], u16, u16, usize);

fn ours(decoder: &mut Decoder, decoded: &mut Decoded, frame: &[u8]) -> Option<Seen> {
    let _ = decoder.decode(Link::Ethernet, frame, frame.len() as u32, 0, decoded);
    let packet = decoded.packets.first()?;
    let Addrs::V4 { src, dst } = packet.addrs else { return None };
    Some((src, dst, packet.src_port, packet.dst_port, packet.payload_len as usize))
}

fn theirs(frame: &[u8]) -> Option<Seen> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) = (packet.net?, packet.transport?) else {
        return None;
    };
    let header = ip.header();
    Some((
        header.source(),
        header.destination(),
        tcp.source_port(),
        tcp.destination_port(),
        tcp.payload().len(),
    ))
}

fn decode(c: &mut Criterion) {
    let frames = frames(Workload::Small, FRAMES);
    let (mut decoder, mut decoded) = (Decoder::default(), Decoded::default());
    for frame in &frames {
        assert_eq!(ours(&mut decoder, &mut decoded, frame), theirs(frame), "both must do the same work");
        assert!(theirs(frame).is_some());
    }
    let mut group = c.benchmark_group("decode, 60-byte TCP frames");
    group.throughput(Throughput::Elements(FRAMES));
    group.bench_function("farend", |b| {
        b.iter(|| {
            for frame in &frames {
                black_box(ours(&mut decoder, &mut decoded, black_box(frame)));
            }
        });
    });
    group.bench_function("etherparse", |b| {
        b.iter(|| {
            for frame in &frames {
                black_box(theirs(black_box(frame)));
            }
        });
    });
    group.finish();
}

/// Addresses and ports of a generated flow's packet from its opener.
fn ends(number: u32) -> ([u8; 4], u16, [u8; 4], u16) {
    let mixed = number.wrapping_mul(2_654_435_761);
    let client = (0x0A00_0000 | number).to_be_bytes();
    (client, 1_024 + (mixed >> 17) as u16, [198, 18, (mixed >> 8) as u8, mixed as u8], 443)
}

/// Endless random look-ups: numbers below `flows`.
fn order(flows: u32) -> impl FnMut() -> u32 {
    // xorshift64 (Marsaglia 2003).
    let mut x = 88_172_645_463_325_252_u64;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        ((u128::from(x) * u128::from(flows)) >> 64) as u32
    }
}

fn table(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow table, find and count");
    group.throughput(Throughput::Elements(TOUCHES as u64));
    for flows in FLOWS {
        let key = |number: u32| {
            let (src, src_port, dst, dst_port) = ends(number);
            Key4::of(src, src_port, dst, dst_port, 6, 0)
        };
        let mut table = Table::<Key4>::new(flows, Hasher::with_seed(1)).expect("address space");
        for number in 0..flows {
            let (src, _, dst, _) = ends(number);
            let (key, _) = key(number);
            let hash = table.hash(&key);
            table
                .open(shard_of(&Addrs::V4 { src, dst }), hash, key, Birth::default(), Hot::default())
                .expect("room");
        }
        let mut next = order(flows);
        group.bench_function(BenchmarkId::new("farend", flows), |b| {
            let mut hashes = [0; STEP];
            b.iter_batched_ref(
                || (0..TOUCHES).map(|_| key(next())).collect::<Vec<_>>(),
                |touches| {
                    for step in touches.chunks(STEP) {
                        for ((key, _), hash) in step.iter().zip(&mut hashes) {
                            *hash = table.hash(key);
                            table.prefetch_bucket(*hash);
                        }
                        for hash in &hashes[..step.len()] {
                            let _ = table.prefetch_entry(*hash);
                        }
                        for ((key, from), hash) in step.iter().zip(hashes) {
                            let at = table.find(hash, key).expect("it was opened");
                            table.hot_mut(at).count(from.index(), 60);
                        }
                    }
                },
                criterion::BatchSize::SmallInput,
            );
        });
        drop(table);
        let mut map: HashMap<_, Hot> = (0..flows).map(|number| (ends(number), Hot::default())).collect();
        let mut next = order(flows);
        group.bench_function(BenchmarkId::new("std HashMap", flows), |b| {
            b.iter_batched_ref(
                || (0..TOUCHES).map(|_| ends(next())).collect::<Vec<_>>(),
                |touches| {
                    touches.iter().for_each(|ends| map.get_mut(ends).expect("it is there").count(0, 60));
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// ClientHello and the server's answer of every connection.
fn handshakes() -> Vec<[Vec<u8>; 2]> {
    let frames = frames(Workload::Elephant, (HANDSHAKE * CONNECTIONS) as u64);
    let (mut decoder, mut decoded) = (Decoder::default(), Decoded::default());
    let mut payload = |packet: usize, connection: usize| {
        let frame = &frames[packet * CONNECTIONS + connection];
        let _ = decoder.decode(Link::Ethernet, frame, frame.len() as u32, 0, &mut decoded);
        decoder.bytes(frame, &decoded.packets[0]).to_vec()
    };
    (0..HANDSHAKES).map(|c| [payload(HANDSHAKE - 2, c), payload(HANDSHAKE - 1, c)]).collect()
}

fn inspect(c: &mut Criterion) {
    let handshakes = handshakes();
    let mut inspector =
        Inspector::new(Limits { flows: 1_000, bytes: 1 << 20 }, farend::catalog::Catalogue::embedded());
    let mut verdict = |[hello, answer]: &[Vec<u8>; 2]| {
        let begin = Begin {
            owner: Owner::default(),
            transport: Transport::Tcp,
            ports: [40_000, 443],
            from_start: true,
            first_seq: [Some(1), Some(1)],
        };
        let slot = inspector.begin(0, begin);
        for (packet, dir, bytes) in [(4, Dir::ToServer, hello), (5, Dir::ToClient, answer)] {
            let payload = Payload { dir, bytes, wire_len: bytes.len() as u32, seq: 1, packet, ts_ns: 0 };
            if inspector.feed(slot, &payload, |_| {}).done {
                break;
            }
        }
        inspector.end(slot, |_| {})
    };
    let tls = verdict(&handshakes[7]).facts.tls.expect("ClientHello and ServerHello are whole");
    assert_eq!(tls.sni.as_deref(), Some("host7.bench.invalid"));
    let mut group = c.benchmark_group("inspection");
    group.throughput(Throughput::Elements(HANDSHAKES as u64));
    group.bench_function("TLS 1.3 handshakes", |b| {
        b.iter(|| {
            for handshake in &handshakes {
                black_box(verdict(black_box(handshake)));
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = stages;
    config = Criterion::default().warm_up_time(std::time::Duration::from_millis(500)).sample_size(30);
    targets = decode, table, inspect
}
criterion_main!(stages);
