//! What to set, by what was measured, and why.
//!
//! A setting is only called faster than another where its slowest round was faster than the other's fastest, and by enough to be
//! worth a setting. Where that cannot be said, farend's own choice is as good as any.

use super::{Cell, Setting};

/// A smaller gain is not worth a setting: it goes away with the next kernel, compiler or mix of traffic.
const WORTH: f64 = 0.05;
/// Less processor time a packet than this share of another's is worth fewer workers.
const CHEAPER: f64 = 0.9;

/// Share of its workers' time that a setting may take of interfaces: a burst of twice the traffic still fits.
const ROOM: f64 = 0.5;
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
    if let [only] = cells {
        let reason = format!("{}; the only setting tried", figures(only, cells));
        return Some(Advice { setting: only.setting, differs: false, reason });
    }
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

/// Of interfaces: what drops nothing with the fewest workers that are half idle.
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
    let busy = |c: &Cell| c.cores_busy().median;
    // Fewer workers cost less a packet; of rings the one farend takes by itself, since bursts want more than seconds show.
    let thrifty = |c: &Cell| (c.setting.workers, c.setting.ring_mib != own.ring_mib, c.setting.ring_mib);
    let roomy = |c: &&Cell| busy(c) <= c.setting.workers as f64 * ROOM;
    let chosen = lossless.iter().copied().filter(roomy).min_by_key(|c| thrifty(c));
    let (chosen, room) = match chosen {
        Some(chosen) => (chosen, "which leaves room for bursts"),
        None => (lossless.iter().copied().max_by_key(|c| size(c))?, "which leaves little room for bursts"),
    };
    let of = if chosen.setting.workers == 1 {
        "1 core".into()
    } else {
        format!("{} cores", chosen.setting.workers)
    };
    let mut reason = format!("no drops at {}, {:.2} of {of} busy, {room}", rate_of(chosen), busy(chosen));
    if chosen.setting != smallest.setting {
        reason += &format!("; {} was enough for what came in", smallest.setting);
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
            _ => format!(", one worker takes {}", si(one)),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hdrhistogram::Histogram;

    use super::super::Sample;
    use super::*;

    /// A cell whose rounds took so many ms of time and of processor for a million packets.
    fn cell(workers: usize, batch: usize, rounds: &[(u64, u64)]) -> Cell {
        let samples = rounds.iter().map(|&(wall, cpu)| Sample {
            packets: 1_000_000,
            bytes: 100_000_000,
            wall: Duration::from_millis(wall),
            cpu: Duration::from_millis(cpu),
            drops: None,
            ring_full: None,
            latency: Histogram::new(2).expect("valid"),
        });
        let setting = Setting { workers, batch: Some(batch), ring_mib: None };
        Cell { setting, samples: samples.collect() }
    }

    fn ring(workers: usize, ring_mib: u64, drops: u64) -> Cell {
        let mut cell = cell(workers, 1, &[(5_000, 2_000)]);
        cell.setting = Setting { workers, batch: None, ring_mib: Some(ring_mib) };
        cell.samples[0].drops = Some(drops);
        cell
    }

    fn advice(cells: &[Cell]) -> (usize, usize, bool, String) {
        let advice = advise(cells, Setting::own(2)).expect("there are cells");
        (advice.setting.workers, advice.setting.batch.expect("files"), advice.differs, advice.reason)
    }

    #[test]
    fn differences_within_the_spread_leave_the_default_and_say_so() {
        let (workers, batch, differs, reason) = advice(&[
            cell(1, 256, &[(1_000, 900), (1_300, 1_000), (1_100, 950)]),
            cell(2, 256, &[(900, 1_100), (1_250, 950), (1_000, 1_000)]),
            cell(2, 1_024, &[(950, 1_200), (1_200, 900), (1_010, 1_100)]),
        ]);
        assert_eq!((workers, batch, differs), (2, 1_024, false), "{reason}");
        assert!(reason.contains("within the spread") && reason.contains("(±16 %)"), "{reason}");
    }

    #[test]
    fn one_worker_that_is_as_fast_and_clearly_cheaper_is_enough() {
        let (workers, _, _, reason) = advice(&[
            cell(1, 256, &[(1_000, 900), (1_100, 910), (1_050, 905)]),
            cell(2, 1_024, &[(1_000, 1_810), (1_080, 1_820), (1_020, 1_815)]),
        ]);
        assert_eq!(workers, 1, "{reason}");
        assert!(
            reason.contains("2 workers are not faster") && reason.contains("2.0 x the processor time"),
            "{reason}"
        );
    }

    #[test]
    fn what_is_clearly_faster_than_the_default_is_recommended_with_the_gain() {
        let (workers, batch, differs, reason) = advice(&[
            cell(1, 256, &[(1_000, 900), (1_010, 900)]),
            cell(2, 256, &[(500, 900), (510, 900)]),
            cell(2, 1_024, &[(800, 900), (810, 900)]),
        ]);
        assert_eq!((workers, batch, differs), (2, 256, true), "{reason}");
        for told in [
            "1.98 M packets/s",
            "1.99 x the best with one worker",
            "1.59 x farend's own choice (workers = 2, batch = 1024)",
        ] {
            assert!(reason.contains(told), "{told}: {reason}");
        }
    }

    #[test]
    fn a_gain_that_is_steady_and_small_is_not_worth_a_setting() {
        let (_, batch, differs, reason) =
            advice(&[cell(2, 256, &[(980, 900), (981, 900)]), cell(2, 1_024, &[(1_000, 900), (1_001, 900)])]);
        assert_eq!((batch, differs), (1_024, false), "{reason}");
    }

    #[test]
    fn one_round_proves_nothing() {
        let (workers, batch, differs, reason) =
            advice(&[cell(1, 64, &[(100, 100)]), cell(2, 1_024, &[(900, 900)])]);
        assert_eq!((workers, batch, differs), (2, 1_024, false));
        assert!(reason.contains("--rounds"), "{reason}");
    }

    #[test]
    fn of_rings_that_drop_nothing_it_takes_the_fewest_workers_that_are_half_idle_else_what_drops_least() {
        let own = Setting { workers: 2, batch: None, ring_mib: Some(64) };
        let of = |cells: &[Cell]| advise(cells, own).expect("there are cells");
        let chosen = of(&[ring(1, 16, 0), ring(1, 64, 0), ring(1, 256, 0), ring(2, 64, 0)]);
        assert_eq!((chosen.setting.workers, chosen.setting.ring_mib), (1, Some(64)));
        for told in ["0.40 of 1 core busy", "leaves room", "workers = 1, ring = 16 MiB was enough"] {
            assert!(chosen.reason.contains(told), "{told}: {}", chosen.reason);
        }
        assert_eq!(of(&[ring(1, 16, 5), ring(1, 256, 0), ring(2, 64, 1)]).setting.ring_mib, Some(256));
        let mut hot = ring(1, 64, 0);
        hot.samples[0].cpu = Duration::from_millis(4_900);
        assert_eq!(of(&[hot.clone(), ring(2, 64, 0)]).setting.workers, 2);
        let hot = of(&[hot]);
        assert!(hot.reason.contains("little room"), "{}", hot.reason);
        let lossy = of(&[ring(1, 16, 500_000), ring(2, 64, 250_000)]);
        assert_eq!(lossy.setting.ring_mib, Some(64));
        assert!(lossy.reason.contains("20.00 %"), "{}", lossy.reason);
    }
}
