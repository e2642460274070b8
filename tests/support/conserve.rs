//! The conservation equations, over counters and over the records that users read.

use serde_json::Value;

use super::records::{number, packets, sum};
use super::replay::Outcome;

/// Checks every equation; `what` names the input in the message.
#[track_caller]
pub fn check(outcome: &Outcome, what: &str) {
    let s = &outcome.summary;
    assert!(s.decode.balanced(), "{what}: frames do not add up: {:?}", s.decode);
    assert!(s.flows.balanced(), "{what}: packets or flows do not add up: {:?}", s.flows);
    let records = outcome.records();
    let stats = records.stats();
    equations(stats, what);
    let ours = &stats["farend"]["stats"];
    assert_eq!(number(&ours["packets"]["delivered"]), outcome.frames, "{what}: frames lost before counting");
    assert_eq!(number(&ours["flows"]["live"]), 0, "{what}: flows live at the end");
    let flows = records.flows();
    if flows.is_empty() && number(&ours["flows"]["opened"]) > 0 {
        return; // flow records were not asked for
    }
    assert_eq!(number(&ours["flows"]["opened"]), flows.len() as u64, "{what}: a flow without a record");
    let counted: u64 = flows.iter().map(|f| packets(f).iter().sum::<u64>()).sum();
    assert_eq!(number(&ours["tracking"]["tracked"]), counted, "{what}: packets that no flow record shows");
}

/// The equations of a stats record alone.
#[track_caller]
pub fn equations(record: &Value, what: &str) {
    let ours = &record["farend"]["stats"];
    let p = &ours["packets"];
    assert_eq!(
        number(&p["offered"]),
        number(&p["delivered"]) + number(&p["kernel_drops"]),
        "{what}: offered = delivered + kernel drops: {p}"
    );
    assert_eq!(
        number(&p["delivered"]),
        number(&p["decoded"]) + number(&p["fragments_held"]) + sum(&p["malformed"]) + sum(&p["ignored"]),
        "{what}: delivered = decoded + fragments held + malformed + ignored: {p}"
    );
    let t = &ours["tracking"];
    assert_eq!(
        number(&p["decoded"]) + number(&p["inner"]),
        number(&t["received"]),
        "{what}: decoded + inner = received: {p} {t}"
    );
    assert_eq!(
        number(&t["received"]),
        number(&t["tracked"]) + sum(&t["untracked"]),
        "{what}: received = tracked + untracked: {t}"
    );
    let f = &ours["flows"];
    assert_eq!(
        number(&f["opened"]),
        sum(&f["closed"]) + number(&f["live"]),
        "{what}: opened = closed + live: {f}"
    );
    let e = &ours["evidence"];
    assert_eq!(
        number(&e["found"]),
        number(&e["applied"]) + number(&e["coalesced"]) + sum(&e["dropped"]),
        "{what}: found = applied + coalesced + dropped: {e}"
    );
    let suricata = &record["stats"];
    assert_eq!(suricata["decoder"]["pkts"], p["delivered"], "{what}: Suricata's count and ours");
    assert_eq!(
        number(&suricata["decoder"]["invalid"]),
        sum(&p["malformed"]),
        "{what}: invalid and malformed"
    );
    assert_eq!(suricata["flow"]["total"], f["opened"], "{what}: Suricata's flows and ours");
}
