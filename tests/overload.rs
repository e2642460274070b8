//! What is left out when a source says that its room is nearly full: content, never the counting.

use farend::source::{Batch, Counters, FileInfo, Problem, Progress, Source, Status};

use crate::support::capture::{Capture, Given};
use crate::support::corpus::root;
use crate::support::records::{Records, number};
use crate::support::replay::{Setup, run, run_capture};

/// A source whose room is nearly full from the first frame that comes behind `after` of them.
struct Full {
    given: Given,
    after: u64,
}

impl Source for Full {
    fn next_batch(&mut self, batch: &mut Batch, _: usize) -> Status {
        self.given.next_batch(batch, 1)
    }

    fn problems(&self) -> &[Problem] {
        self.given.problems()
    }

    fn files(&self) -> &[FileInfo] {
        self.given.files()
    }

    fn progress(&self) -> Progress {
        self.given.progress()
    }

    fn counters(&self) -> Counters {
        self.given.counters()
    }

    fn fullness(&self) -> Option<u8> {
        Some(if self.given.counters().frames > self.after { 90 } else { 0 })
    }
}

fn farm() -> Capture {
    Capture::read(&root().join("pcaps/farm_laptop.pcap"))
}

fn shed_after(frames: u64) -> Records {
    run(&mut Full { given: farm().source(), after: frames }, &Setup::default()).records()
}

/// Addresses, packets and bytes of every flow.
fn counted(r: &Records) -> Vec<String> {
    let of = |f: &&serde_json::Value| {
        let n = &f["flow"];
        let (to, back) = (&n["pkts_toserver"], &n["pkts_toclient"]);
        format!(
            "{} {} {to} {back} {} {}",
            f["src_ip"], f["dest_ip"], n["bytes_toserver"], n["bytes_toclient"]
        )
    };
    let mut all: Vec<String> = r.flows().iter().map(of).collect();
    all.sort();
    all
}

#[test]
fn under_overload_every_packet_is_counted_and_no_content_is_looked_at() {
    let (whole, shed) = (run_capture(&farm(), &Setup::default()).records(), shed_after(0));
    assert_eq!(counted(&shed), counted(&whole));
    assert!(whole.flows().iter().any(|f| f["farend"]["label"] == "rdp"));
    assert!(shed.flows().iter().all(|f| f["farend"]["label"].is_null()));
    // That somebody calls from a hosting network rests on no content; what does is not claimed.
    assert!(shed.alerts().iter().all(|a| a["farend"]["finding"] == "inbound_suspicious_origin"));
    assert!(whole.alerts().len() > shed.alerts().len());
    let told = &shed.stats()["farend"]["stats"]["shed"];
    let flows = number(&shed.stats()["farend"]["stats"]["flows"]["opened"]);
    assert_eq!(number(&whole.stats()["farend"]["stats"]["shed"]["new_flows"]), 0);
    // Those of protocols without content are nobody's to leave out.
    assert!((flows / 2..=flows).contains(&number(&told["new_flows"])), "{told} of {flows}");
}

#[test]
fn what_was_recognised_before_stays_so_and_flows_under_way_lose_only_what_comes() {
    // The session's handshake is behind packet 8, its evidence a little later.
    let late = shed_after(400);
    let rdp =
        late.flows().into_iter().find(|f| f["farend"]["label"] == "rdp").expect("recognised before").clone();
    assert_eq!(counted(&late), counted(&shed_after(0)));
    assert!(number(&rdp["flow"]["pkts_toserver"]) > 500, "it went on, counted");
    let shape = |r: &Records| {
        let evidence =
            |f: &&serde_json::Value| f["farend"]["evidence"].as_array().cloned().unwrap_or_default();
        r.flows().iter().flat_map(evidence).any(|e| e["kind"] == "shape.operated")
    };
    assert!(!shape(&late), "the shape of what was not looked at is not judged");
    assert!(shape(&shed_after(u64::MAX)));
}
