//! The same input gives the same bytes: whatever the number of workers, the batch size and the hash seed, also where flows are
//! evicted and inspection is cut short.

use std::path::{Path, PathBuf};

use crate::support::capture::Capture;
use crate::support::corpus::{corpus_captures, pcaps, short};
use crate::support::replay::{Outcome, Setup, run_capture, run_file};
use crate::support::traffic::{Mix, mixed};
use farend::inspect::Limits;

/// Workers, batch size, hash seed. The first is what the others are compared with.
const VARIANTS: [(usize, usize, u64); 10] = [
    (1, 256, 1),
    (1, 1, 0xFEED),
    (2, 7, 1),
    (3, 4_096, 0xFEED),
    (8, 256, 0xFEED),
    (2, 256, 1),
    (8, 1, 1),
    (1, 4_096, 0xFEED),
    (3, 7, 1),
    (8, 4_096, 1),
];

/// Room for everything; room for next to nothing; and in between.
const ROOMS: [(u32, Limits); 3] = [
    (65_536, Limits { flows: 256, bytes: 256 * 1024 }),
    (256, Limits { flows: 1, bytes: 600 }),
    (2_048, Limits { flows: 8, bytes: 8 * 1024 }),
];

fn setup(variant: usize, room: usize) -> Setup {
    let (workers, batch, seed) = VARIANTS[variant];
    let (capacity, limits) = ROOMS[room];
    Setup { workers, batch: Some(batch), seed: Some(seed), capacity, limits, ..Setup::default() }
}

/// The first difference in words, if there is one.
fn difference(expected: &Outcome, got: &Outcome, what: &str, variant: usize, room: usize) -> Option<String> {
    if expected.eve == got.eve {
        return None;
    }
    let (workers, batch, seed) = VARIANTS[variant];
    let lines = |o: &Outcome| String::from_utf8_lossy(&o.eve).lines().map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (lines(expected), lines(got));
    let n = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let line = |l: &[String]| l.get(n).cloned().unwrap_or_else(|| "(no such line)".into());
    Some(format!(
        "{what}: {workers} workers, batches of {batch}, seed {seed}, room for {} flows: record {} of {} and {}\n  1 worker: {}\n  here:     {}",
        ROOMS[room].0,
        n + 1,
        a.len(),
        b.len(),
        line(&a),
        line(&b)
    ))
}

/// Runs `captures` side by side on all cores; `check` returns what is wrong.
fn side_by_side(captures: &[PathBuf], check: impl Fn(usize, &Path) -> Vec<String> + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut wrong = Vec::new();
            loop {
                let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(path) = captures.get(i) else { return wrong };
                wrong.extend(check(i, path));
            }
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().flat_map(|h| h.join().expect("no run panics")).collect()
    });
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn every_combination_gives_the_same_records_on_the_projects_captures() {
    side_by_side(&pcaps(), |_, path| {
        (0..ROOMS.len())
            .flat_map(|room| {
                let expected = run_file(path, &setup(0, room));
                assert!(expected.eve.len() > 1_000, "{}: hardly a record", short(path));
                (1..VARIANTS.len())
                    .filter_map(|v| {
                        difference(&expected, &run_file(path, &setup(v, room)), &short(path), v, room)
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    });
}

#[test]
fn the_corpus_gives_the_same_records_for_any_number_of_workers() {
    let full = std::env::var_os("FAREND_FULL").is_some_and(|v| v != "0");
    side_by_side(&corpus_captures(), |i, path| {
        // Two variants and two rooms a capture, in turn, unless everything is asked for.
        let rooms: Vec<usize> = if full { (0..ROOMS.len()).collect() } else { vec![0, 1] };
        let mut wrong = Vec::new();
        for room in rooms {
            let expected = run_file(path, &setup(0, room));
            let last = VARIANTS.len() - 1;
            let variants: Vec<usize> =
                if full { (1..=last).collect() } else { vec![1 + (2 * i) % last, 1 + (2 * i + 1) % last] };
            wrong.extend(variants.into_iter().filter_map(|v| {
                difference(&expected, &run_file(path, &setup(v, room)), &short(path), v, room)
            }));
        }
        wrong
    });
}

fn same_for_all(capture: &Capture, what: &str, room: usize) -> Outcome {
    let expected = run_capture(capture, &setup(0, room));
    for v in 1..6 {
        let got = run_capture(capture, &setup(v, room));
        if let Some(wrong) = difference(&expected, &got, what, v, room) {
            panic!("{wrong}");
        }
    }
    expected
}

/// Mixed traffic of ten minutes: long enough for every timeout, and for two exchanges of quotas.
fn traffic() -> Capture {
    mixed(Mix { seed: 11, packets: 140_000, at_once: 2_000, hosts: 12, step_ns: 5_000_000 })
}

#[test]
fn generated_traffic_with_room_gives_the_same_records() {
    let outcome = same_for_all(&traffic(), "mixed traffic", 0);
    let closed = outcome.summary.flows.closed;
    assert_eq!(closed[3], 0, "there is room for all flows: {closed:?}");
    assert!(closed[..3].iter().all(|n| *n > 0), "flows end in every way: {closed:?}");
}

#[test]
fn generated_traffic_that_is_evicted_gives_the_same_records() {
    let outcome = same_for_all(&traffic(), "mixed traffic", 1);
    assert!(outcome.summary.flows.closed[3] > 1_000, "evicted: {:?}", outcome.summary.flows);
    assert!(outcome.summary.flows.uninspected > 1_000, "cut short: {:?}", outcome.summary.flows);
}

#[test]
fn generated_traffic_at_the_brim_gives_the_same_records() {
    let outcome = same_for_all(&traffic(), "mixed traffic", 2);
    assert!(outcome.summary.flows.closed[3] > 100, "evicted: {:?}", outcome.summary.flows);
}

#[test]
fn a_random_hash_seed_changes_nothing() {
    let capture = mixed(Mix { seed: 5, packets: 20_000, at_once: 500, hosts: 100, step_ns: 1_000_000 });
    let random = Setup { seed: None, ..setup(0, 2) };
    let runs: Vec<Vec<u8>> = (0..3).map(|_| run_capture(&capture, &random).eve).collect();
    assert!(runs.windows(2).all(|w| w[0] == w[1]), "two runs with random seeds differ");
}

#[test]
fn several_files_are_one_timeline_for_any_number_of_workers() {
    let dir = tempfile::tempdir().expect("a directory");
    let whole = mixed(Mix { seed: 3, packets: 6_000, at_once: 100, hosts: 30, step_ns: 1_000_000 });
    let mut parts = [Capture::default(), Capture::default(), Capture::default()];
    for (n, f) in whole.frames.iter().enumerate() {
        parts[n % 3].frames.push(f.clone());
    }
    let paths: Vec<PathBuf> = (0..3)
        .map(|n| {
            let path = dir.path().join(format!("{n}.pcap"));
            std::fs::write(&path, parts[n].pcap()).expect("written");
            path
        })
        .collect();
    let outcome = |v: usize| {
        let mut source = farend::source::open(&paths, &Default::default()).expect("opens");
        crate::support::replay::run(&mut *source, &setup(v, 0))
    };
    let expected = outcome(0);
    for v in 1..VARIANTS.len() {
        if let Some(wrong) = difference(&expected, &outcome(v), "three files", v, 0) {
            panic!("{wrong}");
        }
    }
}
