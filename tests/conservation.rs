//! Nothing vanishes: frames, packets, flows and evidence add up in every statistics record.

use proptest::prelude::*;

use crate::support::capture::Capture;
use crate::support::conserve::check;
use crate::support::corpus::{corpus_captures, pcaps, short};
use crate::support::payloads::noise;
use crate::support::replay::{Setup, run_capture, run_file};
use crate::support::traffic::{Mix, mixed};
use farend::inspect::Limits;

fn crowded() -> Setup {
    Setup { capacity: 256, limits: Limits { flows: 1, bytes: 600 }, ..Setup::default() }
}

#[test]
fn frames_packets_flows_and_evidence_add_up_on_the_projects_captures() {
    for path in pcaps() {
        check(&run_file(&path, &Setup::default()), &short(&path));
        check(&run_file(&path, &crowded()), &format!("{} (crowded)", short(&path)));
    }
}

#[test]
fn frames_packets_flows_and_evidence_add_up_on_the_corpus() {
    for path in corpus_captures() {
        check(&run_file(&path, &Setup::default()), &short(&path));
        check(&run_file(&path, &Setup { workers: 3, ..crowded() }), &format!("{} (crowded)", short(&path)));
    }
}

#[test]
fn they_add_up_under_eviction() {
    let capture = mixed(Mix { seed: 21, packets: 60_000, at_once: 4_000, hosts: 800, step_ns: 1_000_000 });
    for workers in [1, 3] {
        let outcome = run_capture(&capture, &Setup { workers, ..crowded() });
        assert!(outcome.summary.flows.closed[3] > 1_000, "evicted: {:?}", outcome.summary.flows.closed);
        check(&outcome, &format!("{workers} workers"));
    }
}

#[test]
fn they_add_up_without_flow_records() {
    let capture = mixed(Mix { seed: 22, packets: 10_000, at_once: 300, hosts: 50, step_ns: 1_000_000 });
    let types = "alert,host,stats".parse().expect("types");
    check(&run_capture(&capture, &Setup { types, ..Setup::default() }), "no flow records");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn they_add_up_on_random_bytes(
        seed: u64,
        sizes in prop::collection::vec(0usize..300, 1..200),
        dlts in prop::collection::vec(prop::sample::select(vec![1u16, 1, 1, 113, 276, 101, 12, 0, 108, 9, 50, 105, 147]), 1..4),
    ) {
        let mut capture = Capture::default();
        for (n, size) in sizes.iter().enumerate() {
            capture.frame(noise(seed ^ n as u64, *size));
            capture.frames[n].dlt = dlts[n % dlts.len()];
        }
        check(&run_capture(&capture, &Setup { workers: 1 + (seed % 3) as usize, ..crowded() }), "random bytes");
    }
}
