//! Hostile bytes are values: nothing a packet or a file contains ends the program, costs unbounded time or unbalances a counter.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::support::capture::Capture;
use crate::support::conserve::check;
use crate::support::corpus::{manifest, pcaps, short};
use crate::support::frame::end;
use crate::support::payloads::{Dice, noise, sessions};
use crate::support::replay::{Setup, run, run_capture, run_file};
use crate::support::tcp::{Client, Server, Tcp};
use crate::support::traffic::{Mix, mixed};
use farend::inspect::Limits;
use farend::source::{Inputs, Options};

/// No input of a few hundred kilobytes may take longer, even without optimisation and beside other tests.
const PATIENCE: Duration = Duration::from_secs(5);

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn survive(capture: &Capture, what: &str) {
    let tight = Limits { flows: 4, bytes: 4 * 1024 };
    for setup in [Setup::default(), Setup { workers: 2, capacity: 256, limits: tight, ..Setup::default() }] {
        let started = Instant::now();
        let outcome = run_capture(capture, &setup);
        assert!(started.elapsed() < PATIENCE, "{what}: took {:?}", started.elapsed());
        check(&outcome, what);
    }
}

/// Spoils some frames: bits, bytes that are edges, lengths, order, pieces of other frames, times.
fn spoil(capture: &Capture, dice: &mut Dice, one_in: u64) -> Capture {
    let mut out = capture.clone();
    for n in 0..out.frames.len() {
        if dice.below(one_in) != 0 {
            continue;
        }
        let other = out.frames[dice.below(capture.frames.len() as u64) as usize].bytes.clone();
        let f = &mut out.frames[n];
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(f.bytes.len().max(1) as u64) as usize;
            match dice.below(8) {
                0 => f.bytes.truncate(at),
                1 => f.bytes.extend(noise(dice.roll(), 1 + at)),
                2 => f.wirelen = dice.roll() as u32,
                3 => f.ts_ns = dice.roll() as i64,
                4 if at < other.len() => {
                    f.bytes.splice(at.min(f.bytes.len()).., other[at..].to_vec()).for_each(drop);
                }
                5 => f.bytes.get_mut(at).into_iter().for_each(|b| *b ^= 1 << dice.below(8)),
                // Most of a header is within the first eighty bytes.
                _ => {
                    let at = dice.below(80) as usize;
                    let edge = [0, 1, 0x7f, 0x80, 0xff][dice.below(5) as usize];
                    f.bytes.get_mut(at).into_iter().for_each(|b| *b = edge);
                }
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn spoiled_captures_are_survived(seed: u64, which: prop::sample::Index, one_in in 1u64..12, from in 0usize..2_000) {
        let all = pcaps();
        let path = &all[which.index(all.len())];
        let mut capture = Capture::read(path);
        let from = from.min(capture.frames.len().saturating_sub(1));
        capture.frames.drain(..from);
        capture.frames.truncate(500);
        survive(&spoil(&capture, &mut Dice(seed), one_in), &short(path));
    }

    #[test]
    fn random_answers_to_real_openings_are_survived(seed: u64, which: prop::sample::Index) {
        let all = sessions();
        let session = &all[which.index(all.len())];
        let mut c = Capture::default();
        let mut dice = Dice(seed);
        for port in 0..20u16 {
            let (client, server) = (end(&format!("192.168.1.9:{}", 40_000 + port)), end("203.0.113.9:3389"));
            let mut t = Tcp::open(client, server, &mut c);
            let real = dice.below(session.payloads.len() as u64) as usize;
            for (side, bytes) in &session.payloads[..real] {
                let mut bytes = bytes.clone();
                if dice.below(3) == 0 {
                    let at = dice.below(bytes.len() as u64) as usize;
                    bytes[at] = dice.roll() as u8;
                }
                t.send(*side, &bytes, &mut c);
                c.datagram(if *side == Client { client } else { server }, if *side == Client { server } else { client }, &bytes);
            }
            for n in 0..dice.below(20) {
                let bytes = noise(dice.roll(), dice.below(3_000) as usize);
                t.send(if n % 2 == 0 { Server } else { Client }, &bytes, &mut c);
            }
        }
        survive(&c, session.label);
    }

    #[test]
    fn any_first_byte_may_be_followed_by_anything(seed: u64, first: u8, fill in prop::sample::select(vec![0u8, 1, 3, 0x16, 0x7f, 0x80, 0xff])) {
        let mut c = Capture::default();
        let mut dice = Dice(seed);
        for port in 0..16u16 {
            let (client, server) = (end(&format!("192.168.1.9:{}", 40_000 + port)), end("203.0.113.9:443"));
            let len = 1 + dice.below(20_000) as usize;
            let mut bytes = if port % 2 == 0 { vec![fill; len] } else { noise(dice.roll(), len) };
            bytes[0] = first;
            let mut t = Tcp::open(client, server, &mut c);
            for part in bytes.chunks(1 + dice.below(1_400) as usize) {
                t.send(if dice.below(4) == 0 { Server } else { Client }, part, &mut c);
            }
            bytes.truncate(1_400);
            c.datagram(client, server, &bytes);
            c.datagram(server, client, &bytes);
        }
        survive(&c, "first byte");
    }

    #[test]
    fn a_spoiled_file_is_survived(seed: u64, which: prop::sample::Index, spots in 1usize..30) {
        let all = pcaps();
        let path = &all[which.index(all.len())];
        let mut bytes = std::fs::read(path).expect("a capture");
        bytes.truncate(60_000);
        let mut dice = Dice(seed);
        for _ in 0..spots {
            let near = if dice.below(2) == 0 { 100 } else { bytes.len() as u64 };
            let at = dice.below(near) as usize;
            bytes[at] = dice.roll() as u8;
        }
        let started = Instant::now();
        let stream = Box::new(std::io::Cursor::new(bytes));
        let mut source = Inputs::from_stream("spoiled.pcap", stream, &Options::default()).expect("opens");
        let outcome = run(&mut source, &Setup::default());
        prop_assert!(started.elapsed() < PATIENCE, "took {:?}", started.elapsed());
        check(&outcome, "spoiled file");
    }
}

#[test]
fn malformed_captures_of_the_corpus_are_survived_each_in_less_than_five_seconds() {
    let mut slowest = (Duration::ZERO, String::new());
    for row in manifest().iter().filter(|r| r.category == "malformed") {
        let Ok(mut source) = farend::source::open(std::slice::from_ref(&row.path), &Default::default())
        else {
            continue;
        };
        let started = Instant::now();
        let outcome = run(&mut *source, &Setup::default());
        let took = started.elapsed();
        check(&outcome, &short(&row.path));
        assert!(took < PATIENCE, "{}: took {took:?}", short(&row.path));
        slowest = slowest.max((took, short(&row.path)));
    }
    println!("slowest: {slowest:?}");
}

#[test]
fn a_capture_cut_at_any_byte_gives_what_is_whole_and_names_the_offset() {
    // The first frames of a capture: every offset of file header, record headers and frames.
    let mut capture = Capture::read(&pcaps()[0]);
    capture.frames.truncate(12);
    let bytes = capture.pcap();
    let mut ends = vec![24];
    for f in &capture.frames {
        ends.push(ends[ends.len() - 1] + 16 + f.bytes.len());
    }
    for cut in 24..bytes.len() {
        let stream = Box::new(std::io::Cursor::new(bytes[..cut].to_vec()));
        let mut source = Inputs::from_stream("cut.pcap", stream, &Options::default()).expect("opens");
        let outcome = run(&mut source, &Setup::default());
        let whole = ends.iter().filter(|e| **e <= cut).count() as u64 - 1;
        assert_eq!(outcome.frames, whole, "cut at {cut}");
        check(&outcome, &format!("cut at {cut}"));
        if ends.contains(&cut) {
            assert!(outcome.problems.is_empty(), "cut at {cut}, between two records: {:?}", outcome.problems);
        } else {
            let at = ends[whole as usize] as u64;
            let problem =
                outcome.problems.first().unwrap_or_else(|| panic!("cut at {cut}: no word about it"));
            assert_eq!(problem.at, Some(at), "cut at {cut}: {problem}");
            assert!(problem.to_string().contains(&at.to_string()), "cut at {cut}: {problem}");
        }
    }
}

#[test]
fn a_compressed_capture_cut_at_any_place_is_survived() {
    use std::io::Write;
    let mut capture = mixed(Mix { seed: 8, packets: 200, at_once: 20, hosts: 9, step_ns: 1_000_000 });
    capture.frames.truncate(200);
    let plain = capture.pcap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&plain).expect("memory");
    let zst = zstd::encode_all(&plain[..], 3).expect("memory");
    for (name, packed) in [("c.pcap.gz", gz.finish().expect("memory")), ("c.pcap.zst", zst)] {
        for cut in (0..packed.len()).step_by(97) {
            let stream = Box::new(std::io::Cursor::new(packed[..cut].to_vec()));
            let Ok(mut source) = Inputs::from_stream(name, stream, &Options::default()) else { continue };
            let outcome = run(&mut source, &Setup::default());
            assert!(!outcome.problems.is_empty(), "{name} cut at {cut}: no word about it");
            check(&outcome, &format!("{name} cut at {cut}"));
        }
        let stream = Box::new(std::io::Cursor::new(packed));
        let mut source = Inputs::from_stream(name, stream, &Options::default()).expect("opens");
        assert_eq!(run(&mut source, &Setup::default()).frames, 200, "{name}: whole");
    }
}

#[test]
fn a_time_limit_holds_for_every_capture_of_the_project() {
    for path in pcaps() {
        let started = Instant::now();
        run_file(&path, &Setup::default());
        assert!(started.elapsed() < PATIENCE, "{}: took {:?}", short(&path), started.elapsed());
    }
}
