//! Captures that begin late, or show one direction only: flows are tracked, the opener is right, and nothing is called what it
//! is not.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::support::capture::Capture;
use crate::support::conserve::check;
use crate::support::corpus::short;
use crate::support::frame;
use crate::support::records::{ends, packets, told};
use crate::support::replay::{Setup, run_capture};
use crate::support::truth::{self, Match, Truth};

/// Sender, receiver, protocol, TCP flags and payload bytes of a frame that holds TCP or UDP over one IP header.
fn look(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr, u8, u8, usize)> {
    use farend::decode::{Addrs, Decoded, Decoder, Link, Outcome};
    thread_local! {
        static DECODER: std::cell::RefCell<Decoder> = std::cell::RefCell::default();
    }
    let mut out = Decoded::default();
    let decoded =
        DECODER.with_borrow_mut(|d| d.decode(Link::Ethernet, bytes, bytes.len() as u32, 0, &mut out));
    let Outcome::Packets(_) = decoded else { return None };
    let p = out.packets.first()?;
    let (src, dst) = match p.addrs {
        Addrs::V4 { src, dst } => (src.into(), dst.into()),
        Addrs::V6 { src, dst } => (src.into(), dst.into()),
    };
    let ends = (SocketAddr::new(src, p.src_port), SocketAddr::new(dst, p.dst_port));
    Some((ends.0, ends.1, p.proto, p.tcp_flags, p.payload_wire as usize))
}

/// The truth of every flow by both ends; where ports were used twice, who opened it counts, not which one it was.
fn by_ends(truth: &Truth) -> HashMap<(SocketAddr, SocketAddr), &truth::Flow> {
    truth.flows.iter().flat_map(|f| [((f.client, f.server), f), ((f.server, f.client), f)]).collect()
}

/// Checks the records of a maimed capture against the truth of the whole one. Returns flows and labelled flows checked.
fn compare(truth: &Truth, maimed: &Capture, what: &str, opener_from: u64) -> (usize, usize) {
    let what = format!("{}, {what}", short(&truth.capture));
    let outcome = run_capture(maimed, &Setup::default());
    check(&outcome, &what);
    let known = by_ends(truth);
    let r = outcome.records();
    let (mut checked, mut labelled, mut guesses) = (0, 0, 0);
    for f in r.flows() {
        let [src, dst] = ends(f);
        let Some(expected) = known.get(&(src, dst)) else { continue };
        let label = f["farend"]["label"].as_str();
        if let Some(label) = label {
            let fits = truth::compare(expected.label.as_deref(), Some(label));
            assert_ne!(
                fits,
                Match::Wrong,
                "{what}: a false label on {}, which is {:?}",
                told(f),
                expected.label
            );
            labelled += 1;
            if let (Some(got), Some(_)) = (f["farend"]["controlled"].as_str(), &expected.controlled) {
                let side = expected.controlled_side(src);
                assert_eq!(Some(got), side, "{what}: operated side of {}", told(f));
            }
        }
        // One or two packets show nothing about who asked.
        if f["proto"] == "TCP" && packets(f).iter().sum::<u64>() >= opener_from {
            let basis = &f["farend"]["opener_basis"];
            if *basis == "first_packet" {
                // Said to be a guess: nothing in what is left tells who asked.
                guesses += u32::from(src != expected.client);
                continue;
            }
            assert_eq!(src, expected.client, "{what}: opener by {basis} of {}", told(f));
            checked += 1;
        }
    }
    assert!(guesses <= 1, "{what}: {guesses} wrong guesses");
    (checked, labelled)
}

#[test]
fn without_any_syn_every_flow_is_tracked_and_its_opener_is_right() {
    let mut sum = (0, 0);
    for truth in truth::all() {
        let mut c = Capture::read(&truth.capture);
        c.frames.retain(|f| {
            look(&f.bytes).is_none_or(|(.., p, flags, _)| p != frame::TCP || flags & frame::SYN == 0)
        });
        let (checked, labelled) = compare(&truth, &c, "without any SYN", 6);
        sum = (sum.0 + checked, sum.1 + labelled);
    }
    println!("{} openers, {} labels", sum.0, sum.1);
    assert!(sum.0 > 30 && sum.1 > 10, "hardly a flow was checked: {sum:?}");
}

#[test]
fn without_the_first_packets_of_each_flow_there_is_no_false_label_and_the_opener_is_right() {
    let mut sum = (0, 0);
    for truth in truth::all() {
        let whole = Capture::read(&truth.capture);
        for first in [4, 8, 20, 60] {
            let mut seen: HashMap<(SocketAddr, SocketAddr, u8), usize> = HashMap::new();
            let mut c = whole.clone();
            c.frames.retain(|f| {
                let Some((a, b, proto, ..)) = look(&f.bytes) else { return true };
                let n = seen.entry((a.min(b), a.max(b), proto)).or_default();
                *n += 1;
                *n > first
            });
            let (checked, labelled) =
                compare(&truth, &c, &format!("without the first {first} packets a flow"), 12);
            sum = (sum.0 + checked, sum.1 + labelled);
        }
    }
    println!("{} openers, {} labels", sum.0, sum.1);
    assert!(sum.0 > 50 && sum.1 > 5, "hardly a flow was checked: {sum:?}");
}

#[test]
fn a_capture_that_begins_in_the_middle_has_no_false_label_and_right_openers() {
    for truth in truth::all() {
        let whole = Capture::read(&truth.capture);
        for tenths in [2, 5, 8] {
            let mut c = whole.clone();
            c.frames.drain(..whole.frames.len() * tenths / 10);
            compare(&truth, &c, &format!("from {tenths}0 % on"), 12);
        }
    }
}

#[test]
fn one_direction_alone_has_no_false_label_and_the_right_opener() {
    let mut sum = (0, 0);
    for truth in truth::all() {
        let known = by_ends(&truth);
        let whole = Capture::read(&truth.capture);
        for from_client in [true, false] {
            let mut c = whole.clone();
            c.frames.retain(|f| {
                let Some((src, dst, ..)) = look(&f.bytes) else { return true };
                known.get(&(src, dst)).is_none_or(|f| (f.client == src) == from_client)
            });
            let side = if from_client { "clients" } else { "servers" };
            let (checked, labelled) = compare(&truth, &c, &format!("only what {side} sent"), 3);
            sum = (sum.0 + checked, sum.1 + labelled);
        }
    }
    println!("{} openers, {} labels", sum.0, sum.1);
    assert!(sum.0 > 30 && sum.1 > 10, "hardly a flow was checked: {sum:?}");
}

#[test]
fn a_shell_whose_handshake_was_missed_shows_by_its_sizes_and_its_shape_tells_which_side_is_operated() {
    let truth = truth::all().into_iter().find(|t| t.capture.ends_with("farm_vnc_openvpn.pcap")).unwrap();
    let r = run_capture(&Capture::read(&truth.capture), &Setup::default());
    let r = r.records();
    let shells: Vec<_> = truth.flows.iter().filter(|f| f.label.as_deref() == Some("ssh")).collect();
    assert!(!shells.is_empty());
    for shell in shells {
        let f = r.flows().into_iter().find(|f| ends(f) == [shell.client, shell.server]).unwrap();
        assert_eq!(
            (&f["farend"]["label"], &f["farend"]["basis"]),
            (&"ssh".into(), &"midstream".into()),
            "{}",
            told(f)
        );
        assert_eq!(f["farend"]["controlled"].as_str(), shell.controlled_side(shell.client), "{}", told(f));
        let all = f["farend"]["evidence"].as_array().unwrap();
        let evidence = all.iter().find(|e| e["kind"] == "shape.operated").expect("its shape");
        assert!(evidence["detail"].as_str().unwrap().starts_with("a terminal, by 2 windows"), "{evidence}");
    }
}
