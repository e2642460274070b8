//! What to set, by what was measured, and why.
//!
//! A setting is only called faster than another where its slowest round was faster than the other's fastest, and by enough to be
//! worth a setting. Where that cannot be said, farend's own choice is as good as any.

use super::{Cell, Setting};

/// A smaller gain is not worth a setting: it goes away with the next kernel, compiler or mix of traffic.
const WORTH: f64 = 0.05;
/// Less processor time a packet than this share of another's is worth fewer workers.
const CHEAPER: f64 = 0.9;

/// What may tell settings apart that the spread does not.
const MORE: &str = "more rounds or a quieter machine may show one";

/// A recommendation.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// What to set.
    pub setting: Setting,
    /// Whether the figures show a difference between settings at all.
    pub differs: bool,
    /// What speaks for it: a sentence, without the setting.
    pub reason: String,
}

/// Recommends one of `cells`, of which each has as many samples. `own` is what farend does by itself.
/// `None` where there are no cells.
#[must_use]
pub fn advise(cells: &[Cell], own: Setting) -> Option<Advice> {
    if cells.iter().any(|c| c.drops().is_some()) {
        return without_drops(cells, own);
    }
    let rate = |c: &Cell| c.packets_per_second().median;
    let best = cells.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let default = cells.iter().find(|c| c.setting == own);
    if best.samples.len() < 2 {
        let chosen = default.unwrap_or(best);
        let reason = format!(
            "{}; one round shows no spread, so no difference is proven: --rounds 3",
            figures(chosen, cells)
        );
        return Some(Advice { setting: chosen.setting, differs: false, reason });
    }
    let as_fast: Vec<&Cell> = cells.iter().filter(|c| !slower(c, best)).collect();
    let differs = as_fast.len() < cells.len();
    // Fewer workers leave cores to others; then farend's own batch; then what costs least.
    let thrifty = as_fast.iter().copied().min_by(|a, b| {
        let key = |c: &Cell| (c.setting.workers, c.setting.batch != Setting::own(c.setting.workers).batch);
        key(a).cmp(&key(b)).then(a.cpu_ns_per_packet().median.total_cmp(&b.cpu_ns_per_packet().median))
    })?;
    let default_holds = default.filter(|d| !slower(d, best));
    let (chosen, why) = match default_holds {
        Some(d) if thrifty.setting.workers < d.setting.workers && cheaper(thrifty, d) => {
            let share = thrifty.cpu_ns_per_packet().median / d.cpu_ns_per_packet().median;
            (
                thrifty,
                format!(
                    "{} are not faster beyond the spread, and take {:.1} x the processor time",
                    workers(d.setting.workers),
                    1.0 / share
                ),
            )
        }
        Some(d) if !differs => {
            (d, format!("all differences lie within the spread, so this is farend's own choice; {MORE}"))
        }
        Some(d) => (d, "farend's own choice, and nothing else is faster beyond the spread".into()),
        None if !differs => {
            (thrifty, format!("all differences lie within the spread, so the fewest workers; {MORE}"))
        }
        None => {
            let why = default.map_or_else(
                || "the fewest workers of what is as fast as the fastest, within the spread".to_owned(),
                |d| format!("{:.2} x farend's own choice ({})", rate(thrifty) / rate(d), d.setting),
            );
            (thrifty, why)
        }
    };
    Some(Advice { setting: chosen.setting, differs, reason: format!("{}; {why}", figures(chosen, cells)) })
}

/// Of interfaces: what drops nothing, farend's own choice first, then the fewest workers and the smallest ring.
fn without_drops(cells: &[Cell], own: Setting) -> Option<Advice> {
    let share = |c: &Cell| {
        let drops = c.drops().unwrap_or(0);
        drops as f64 / (c.packets() + drops).max(1) as f64
    };
    let size = |c: &Cell| (c.setting.workers, c.setting.ring_mib);
    let lossless: Vec<&Cell> = cells.iter().filter(|c| c.drops() == Some(0)).collect();
    let differs = lossless.len() < cells.len();
    if cells.iter().all(|c| c.packets() == 0) {
        let setting = cells.iter().find(|c| c.setting == own).or(cells.first())?.setting;
        return Some(Advice {
            setting,
            differs: false,
            reason: "nothing came in, so nothing is known".into(),
        });
    }
    let Some(smallest) = lossless.iter().copied().min_by_key(|c| size(c)) else {
        let least = cells.iter().min_by(|a, b| share(a).total_cmp(&share(b)))?;
        let reason = format!(
            "{}; it drops least and still {:.2} %: what comes in is more than this machine takes; a filter, or more cores",
            rate_of(least),
            share(least) * 100.0
        );
        return Some(Advice { setting: least.setting, differs, reason });
    };
    let chosen = lossless.iter().copied().find(|c| c.setting == own).unwrap_or(smallest);
    let busy = chosen.cores_busy().median;
    let mut reason = format!("no drops at {}, {busy:.2} cores busy", rate_of(chosen));
    if chosen.setting != smallest.setting {
        reason += &format!("; {} was enough for what came in, and bursts want more", smallest.setting);
    }
    Some(Advice { setting: chosen.setting, differs, reason })
}

/// Whether `a` is slower than `b` beyond the spread, and by enough.
fn slower(a: &Cell, b: &Cell) -> bool {
    let (a, b) = (a.packets_per_second(), b.packets_per_second());
    a.max < b.min && b.median / a.median >= 1.0 + WORTH
}

/// Whether `a` takes less processor time a packet than `b`, beyond the spread and by enough.
fn cheaper(a: &Cell, b: &Cell) -> bool {
    let (a, b) = (a.cpu_ns_per_packet(), b.cpu_ns_per_packet());
    a.max < b.min && a.median <= b.median * CHEAPER
}

/// Rate, gain over one worker, and latency.
fn figures(chosen: &Cell, cells: &[Cell]) -> String {
    let rate = |c: &Cell| c.packets_per_second().median;
    let one = cells
        .iter()
        .filter(|c| c.setting.workers == 1 && chosen.setting.workers > 1)
        .map(rate)
        .max_by(f64::total_cmp)
        .map(|one| match rate(chosen) / one {
            gain if gain >= 1.0 => format!(", {gain:.2} x the best with one worker"),
            _ => format!(" (one worker: {})", si(one)),
        })
        .unwrap_or_default();
    let [_, p99, ..] = chosen.latency_ns();
    format!("{}{one}, p99 of a batch {}", rate_of(chosen), duration(p99))
}

fn rate_of(cell: &Cell) -> String {
    let rate = cell.packets_per_second();
    let spread =
        if cell.samples.len() > 1 { format!(" (±{:.0} %)", rate.share() * 100.0) } else { String::new() };
    format!("{} packets/s{spread}", si(rate.median))
}

fn workers(n: usize) -> String {
    if n == 1 { "1 worker".into() } else { format!("{n} workers") }
}

/// A count with three digits and k, M or G.
#[must_use]
pub(crate) fn si(n: f64) -> String {
    let (scaled, unit) = match n {
        n if n >= 1e9 => (n / 1e9, " G"),
        n if n >= 1e6 => (n / 1e6, " M"),
        n if n >= 1e3 => (n / 1e3, " k"),
        n => return format!("{n:.0}"),
    };
    match scaled {
        s if s < 10.0 => format!("{s:.2}{unit}"),
        s if s < 100.0 => format!("{s:.1}{unit}"),
        s => format!("{s:.0}{unit}"),
    }
}

/// Nanoseconds with two digits or more and a fitting unit.
#[must_use]
pub(crate) fn duration(ns: u64) -> String {
    let n = ns as f64;
    let (scaled, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (n / 1e3, "µs"),
        1_000_000..1_000_000_000 => (n / 1e6, "ms"),
        _ => (n / 1e9, "s"),
    };
    if scaled < 10.0 { format!("{scaled:.1} {unit}") } else { format!("{scaled:.0} {unit}") }
}
