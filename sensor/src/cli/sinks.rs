//! Where results of a run go: EVE, the summary's sessions, and of a run without end statistics, host records and a status line.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::analyse::EveOut;
use super::bar::Bar;
use super::say;
use crate::clock::SECOND_NS;
use crate::host::{Finding, HostRecord, Ledger, Weights};
use crate::notify;
use crate::pipeline::{Counters, Ended, Far, Front, Level, Sink, Summary};
use crate::sink::eve::Eve;
use crate::sink::metrics::{Metric, Pulse, Raised, Sample, Samples, Snapshot, Unit};
use crate::sink::stats;
use crate::sink::terminal::Sessions;

/// That frames are left unlooked at is said no more often than this, however often it happens.
const SAY_SHED_NS: i64 = 600 * SECOND_NS;

/// The manager's status line is renewed this often.
const TELL_MANAGER_NS: i64 = 10 * SECOND_NS;

/// EVE and the summary's sessions.
pub(super) struct Sinks {
    pub(super) eve: Option<Eve<EveOut>>,
    pub(super) sessions: Sessions,
    pub(super) all_flows: bool,
    pub(super) going: Option<Going>,
    pub(super) files: Vec<String>,
}

/// What a run that goes on without end needs besides.
pub(super) struct Going {
    /// What may change while it runs.
    pub(super) orders: Arc<Orders>,
    /// What has become of the interfaces.
    pub(super) problems: Arc<Mutex<Vec<String>>>,
    pub(super) stats: Due,
    pub(super) hosts: Due,
    pub(super) status: Status,
    pub(super) shed: Shed,
    /// Whether it works, for whoever asks.
    pub(super) pulse: Arc<Pulse>,
    /// The latest counters, where somebody asks for them.
    pub(super) snapshot: Option<Arc<Mutex<Snapshot>>>,
    pub(super) raised: Raised,
    pub(super) workers: usize,
    watchdog: Option<Duration>,
    told_alive: Instant,
    told_status_ns: i64,
    /// It was said that frames are joined before they are captured.
    pub(super) joined_said: bool,
}

impl Going {
    pub(super) fn new(orders: Arc<Orders>, workers: usize, status_line: bool) -> Self {
        Self {
            pulse: Arc::default(),
            snapshot: None,
            raised: Raised::default(),
            workers,
            watchdog: notify::watchdog_interval(),
            told_alive: Instant::now(),
            told_status_ns: 0,
            orders,
            problems: Arc::default(),
            stats: Due::default(),
            hosts: Due::default(),
            status: Status { bar: Bar::new(status_line), then: None, findings: 0, line: String::new() },
            shed: Shed::default(),
            joined_said: false,
        }
    }
}

impl Going {
    /// A tick has been worked through.
    fn alive(&mut self) {
        self.pulse.beat();
        if self.watchdog.is_some_and(|every| self.told_alive.elapsed() >= every) {
            self.told_alive = Instant::now();
            // If the manager does not hear it, it starts the program anew.
            let _ = notify::alive();
        }
    }

    /// What `systemctl status` shows.
    fn tell_manager(&mut self, now_ns: i64) {
        if now_ns.saturating_sub(self.told_status_ns) >= TELL_MANAGER_NS {
            self.told_status_ns = now_ns;
            let _ = notify::status(&self.status.line);
        }
    }
}

/// Metrics of listening, beside those of every run.
fn more(front: &Front, flows: &Counters, shed: Level, workers: usize) -> Vec<Metric> {
    let counter = |value| Samples::Counter(vec![Sample::plain(value)]);
    let gauge = |value| Samples::Gauge(vec![Sample::plain(value)]);
    let what = ["shape", "new_flows", "payloads"].into_iter().zip(flows.shed);
    let level = Level::ALL.into_iter().map(|l| Sample::of("level", l.as_str(), f64::from(l == shed)));
    vec![
        Metric {
            name: "ring_full",
            help: "Times that a ring was full, so that frames were dropped.",
            unit: None,
            samples: counter(front.source.ring_full),
        },
        Metric {
            name: "ring_occupancy",
            help: "How full the fullest ring was since the last snapshot, in steps.",
            unit: Some(Unit::Ratios),
            samples: gauge(f64::from(front.fullness) / 100.0),
        },
        Metric {
            name: "frames_stamped_by_hardware",
            help: "Frames whose time is the card's own.",
            unit: None,
            samples: counter(front.source.hardware_time),
        },
        Metric {
            name: "shed",
            help: "What was left out under overload: looks at a session's shape, new flows' content, payloads.",
            unit: None,
            samples: Samples::Counter(what.map(|(what, n)| Sample::of("what", what, n)).collect()),
        },
        Metric {
            name: "shed_level",
            help: "1 for what is left out at the moment.",
            unit: None,
            samples: Samples::Gauge(level.collect()),
        },
        Metric { name: "workers", help: "Workers.", unit: None, samples: gauge(workers as f64) },
    ]
}

/// What the signals' thread tells the sinks.
#[derive(Default)]
pub(super) struct Orders {
    /// Seconds between statistics records, and between host records; 0: never.
    pub(super) stats_interval: AtomicI64,
    pub(super) host_interval: AtomicI64,
    /// Open the EVE file anew: something else may have moved it.
    pub(super) reopen: AtomicBool,
}

/// When something that comes at intervals is due.
#[derive(Default)]
pub(super) struct Due {
    last_ns: Option<i64>,
}

impl Due {
    /// Whether `seconds` have passed since the last time, or since the first question; 0: it never comes.
    fn is(&mut self, now_ns: i64, seconds: i64) -> bool {
        let last = *self.last_ns.get_or_insert(now_ns);
        let due = seconds > 0 && now_ns.saturating_sub(last) >= seconds.saturating_mul(SECOND_NS);
        if due {
            self.last_ns = Some(now_ns);
        }
        due
    }
}

/// A line on a terminal that says how it goes.
pub(super) struct Status {
    bar: Bar,
    /// When it was shown last, and packets and bytes at that time.
    then: Option<(i64, [u64; 2])>,
    findings: u64,
    line: String,
}

impl Status {
    fn show(&mut self, now_ns: i64, front: &Front, flows: &Counters, shed: Level) {
        let now = [front.decode.delivered, front.decode.bytes];
        let Some((then_ns, then)) = self.then.replace((now_ns, now)) else { return };
        let seconds = (now_ns.saturating_sub(then_ns) as f64 / SECOND_NS as f64).max(1e-3);
        let rate = |i: usize| now[i].saturating_sub(then[i]) as f64 / seconds;
        let drops = front.source.kernel_drops;
        let share = 100.0 * drops as f64 / (drops + now[0]).max(1) as f64;
        let shed = match shed {
            Level::Nothing => String::new(),
            level => format!(", overload: leaves out {}", level.as_str()),
        };
        self.line = format!(
            "{:.0} packets/s, {:.1} Mbit/s, {drops} dropped ({share:.2} %), {} flows, {} findings{shed}",
            rate(0),
            rate(1) * 8.0 / 1e6,
            flows.live,
            self.findings,
        );
        self.bar.line(&self.line);
    }
}

/// What is left out, and when that was said.
#[derive(Default)]
pub(super) struct Shed {
    level: Level,
    now_ns: i64,
    said_ns: Option<i64>,
    telling: bool,
}

impl Shed {
    /// The line to say, if any.
    fn changed(&mut self, level: Level) -> Option<String> {
        let before = std::mem::replace(&mut self.level, level);
        match (before, level) {
            (Level::Nothing, _) => {
                let quiet = self.said_ns.is_some_and(|said| self.now_ns.saturating_sub(said) < SAY_SHED_NS);
                if quiet {
                    return None;
                }
                (self.said_ns, self.telling) = (Some(self.now_ns), true);
                Some(
                    "overload: frames come in faster than they can be looked at. Flows are counted; left out is first the \
                     shape of sessions, then the content of new flows, then all content (statistics: shed)"
                        .into(),
                )
            }
            (_, Level::Nothing) if std::mem::take(&mut self.telling) => {
                Some("overload is over: everything is looked at again".into())
            }
            _ => None,
        }
    }
}

impl Sinks {
    /// Takes the status line away.
    pub(super) fn clear_status(&mut self) {
        if let Some(going) = &mut self.going {
            going.status.bar.clear();
        }
    }
}

impl Sink for Sinks {
    fn flow(&mut self, ended: &Ended, far: &Far<'_>, alerted: bool) {
        self.sessions.flow(ended, far);
        if let Some(eve) = &mut self.eve {
            eve.flow(ended, far, alerted);
        }
    }

    fn alert(&mut self, finding: &Finding, weights: &Weights, ts_ns: i64) {
        if let Some(going) = &mut self.going {
            going.status.findings += 1;
            going.raised.count(finding.kind, finding.severity());
        }
        if let Some(eve) = &mut self.eve {
            eve.alert(finding, weights, ts_ns);
        }
    }

    fn host(&mut self, record: &HostRecord, weights: &Weights, ts_ns: i64) {
        if let Some(eve) = &mut self.eve {
            eve.host(record, weights, ts_ns);
        }
    }

    fn lasting(&mut self, so_far: &Ended, far: &Far<'_>, alerted: bool) {
        if let Some(eve) = &mut self.eve {
            eve.lasting(so_far, far, alerted);
        }
    }

    fn tick(&mut self, now_ns: i64) {
        let Some(going) = &mut self.going else { return };
        going.shed.now_ns = now_ns;
        going.alive();
        if let Some(eve) = &mut self.eve {
            if going.orders.reopen.swap(false, Ordering::Relaxed)
                && let Err(e) = eve.reopen()
            {
                going.status.bar.clear();
                say::warn(say::io(&e));
            }
            eve.flush();
            if eve.failed() {
                going.pulse.trouble("eve", "records cannot be written");
            }
        }
    }

    fn wants_hosts(&mut self, now_ns: i64) -> bool {
        let Some(Going { hosts, orders, .. }) = &mut self.going else { return false };
        hosts.is(now_ns, orders.host_interval.load(Ordering::Relaxed)) && self.eve.is_some()
    }

    fn wants_counters(&self) -> bool {
        self.going.is_some()
    }

    fn counters(&mut self, now_ns: i64, front: &Front, flows: &Counters, ledger: &Ledger) {
        let Some(going) = &mut self.going else { return };
        going.status.show(now_ns, front, flows, going.shed.level);
        going.tell_manager(now_ns);
        if let Some(snapshot) = &going.snapshot {
            let taken = Snapshot {
                now_ns,
                summary: Summary::of(front.clone(), flows.clone(), ledger.tally()),
                source: front.source,
                raised: going.raised,
                hosts: ledger.hosts() as u64,
                more: more(front, flows, going.shed.level, going.workers),
            };
            *snapshot.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        }
        if front.decode.oversize > 0 && !std::mem::replace(&mut going.joined_said, true) {
            going.status.bar.clear();
            let off = |name: &String| format!("ethtool -K {name} gro off lro off tso off gso off");
            let lines: Vec<String> = self.files.iter().map(off).collect();
            say::warn(format_args!(
                "frames come in that were joined from several (longer than the MTU): their sizes and times are not those of \
                 the wire. To get them as they were:\n{}",
                lines.join("\n")
            ));
        }
        let due = going.stats.is(now_ns, going.orders.stats_interval.load(Ordering::Relaxed));
        if let Some(eve) = self.eve.as_mut().filter(|_| due) {
            let counters = front.source;
            let mut summary = Summary::of(front.clone(), flows.clone(), ledger.tally());
            // Time goes on without frames.
            summary.span = summary.span.map(|[first, last]| [first, last.max(now_ns)]);
            let problems = going.problems.lock().unwrap_or_else(PoisonError::into_inner);
            eve.stats(
                now_ns,
                &stats::suricata(&summary, summary.span, counters),
                &stats::ours(&summary, &self.files, counters, &problems),
            );
            eve.flush();
        }
    }

    fn shed(&mut self, level: Level) {
        let Some(going) = &mut self.going else { return };
        if let Some(said) = going.shed.changed(level) {
            going.status.bar.clear();
            say::warn(&said);
        }
    }

    fn failed(&self) -> bool {
        self.eve.as_ref().is_some_and(Eve::failed)
    }

    fn wants_all_flows(&self) -> bool {
        self.all_flows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_at_intervals_comes_first_after_one() {
        let (mut due, s) = (Due::default(), |n: i64| n * SECOND_NS);
        assert!(!due.is(s(1_000), 60));
        assert!(!due.is(s(1_059), 60));
        assert!(due.is(s(1_061), 60));
        assert!(!due.is(s(1_100), 60));
        assert!(due.is(s(1_121), 60));
        assert!(!due.is(s(9_999), 0), "never");
    }

    #[test]
    fn overload_is_said_when_it_begins_and_ends_and_not_again_at_once() {
        let mut shed = Shed::default();
        assert!(shed.changed(Level::Shape).expect("said").starts_with("overload:"));
        assert_eq!(shed.changed(Level::Payload), None);
        assert!(shed.changed(Level::Nothing).expect("said").contains("over"));
        shed.now_ns = SAY_SHED_NS - 1;
        assert_eq!(shed.changed(Level::Shape), None);
        assert_eq!(shed.changed(Level::Nothing), None, "what was not said to begin does not end");
        shed.now_ns = SAY_SHED_NS;
        assert!(shed.changed(Level::Shape).is_some());
    }
}
