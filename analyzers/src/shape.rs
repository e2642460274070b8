//! Remote-control shape: from sizes, directions and times alone, is someone operating a desktop or a terminal across this flow,
//! and which end is operated?
//!
//! In: payload-carrying packets of one flow of any transport, without retransmissions, in the order of time. Out: a [`Judgement`], once two windows
//! of 30 s agree on the side. No port and no content is looked at, so it works inside TLS, WebSockets, QUIC or a tunnel; it
//! says how a flow behaves, not what it is: an `ssh` session to the outside is a terminal whose far end is operated.
//!
//! Both directions are taken for the inputs at once. A window passes for one if that direction sends few, small messages of few
//! sizes at a person's irregular pace that answer nothing, with pauses, and the other one sends messages of varied sizes that follow
//! an input more often than chance.
//!
//! Known not to pass: inputs and screen on different flows (SPICE), X11 (a request clock hides the inputs), padding to random sizes
//! (mosh), tunnels that poll (dns2tcp). Whole numbers only: the same judgement on every machine.

mod bins;
#[cfg(test)]
mod tests;
mod way;

use crate::{Dir, Kind as EvidenceKind, Side};
use bins::LAG_BIN;
use way::{Answers, Tally, Way};

const SECOND: i64 = 1_000_000_000;
/// Not looked at when a flow begins: key exchanges are large and would fail the size gates.
const SKIPPED: i64 = 3 * SECOND;
/// Length of a window. With 60 s fewer windows are false (1/528 against 3/954), but short sessions are missed.
const WINDOW: i64 = 30 * SECOND;
/// A flow's last window may be shorter.
const WINDOW_MIN: i64 = 15 * SECOND;
/// Windows of which two must agree. One alone is false in 3 of 954, two agreeing in none of 130 flows of other traffic.
const REMEMBERED: usize = 4;
const AGREEING: u8 = 2;

/// Evidence that a [`Judgement`] is.
pub const OPERATED: EvidenceKind = EvidenceKind {
    name: "shape.operated",
    decibans: 15,
    says: "one side sends few, small messages at a person's pace and the other answers them with a screen: seen in 32 of 34 operated \
           flows and in 0 of 130 others (95 % bounds 0.81 and 0.029), all on recordings with scripted typing",
};

/// What is operated across the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A desktop: keys come with key-up, pointer and answers to frames.
    Gui,
    /// A terminal: one packet a key, one echo.
    Terminal,
}

/// Someone operates a machine across the flow. The figures are sums over the windows that show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The side that sends the screen: it is operated, the other one operates.
    pub operated: Side,
    /// Desktop or terminal; a guess from the rhythm, right in 111 of 111 recorded windows but on those it was made from.
    pub kind: Kind,
    /// Windows of 30 s that show it, at least 2.
    pub windows: u8,
    /// Windows that show the other side operated.
    pub against: u8,
    /// Messages of the operator.
    pub inputs: u32,
    /// Messages of the operated side.
    pub screens: u32,
    /// Inputs that answered nothing the operated side sent.
    pub spontaneous: u32,
    /// Inputs after 150 ms of silence, of which the next two figures are shares.
    pub onsets: u32,
    /// Percent of onsets that the screen followed within the best 40 ms.
    pub answered_percent: u8,
    /// Percent expected by chance: the same for moments 1.3 to 5.1 s before.
    pub chance_percent: u8,
    /// How long after an onset the screen mostly follows, in the latest window, ms rounded down to 20: the operated side's reaction
    /// plus the round trip from the sensor to it.
    pub answer_ms: u16,
    /// Opening of the first window and end of the latest one that shows it, ns.
    pub span_ns: (i64, i64),
}

impl Judgement {
    /// The figures for a person; times count from `first_ns`, the flow's first packet.
    #[must_use]
    pub fn told(&self, first_ns: i64) -> String {
        let what = match self.kind {
            Kind::Gui => "a desktop",
            Kind::Terminal => "a terminal",
        };
        let second = |ns: i64| ns.saturating_sub(first_ns).max(0).wrapping_div(SECOND);
        let Self { inputs, spontaneous, onsets, windows, .. } = self;
        let against = match self.against {
            0 => String::new(),
            n => format!("; {n} windows show the other side"),
        };
        format!(
            "{what}, by {windows} windows from {} s to {} s: {inputs} inputs, {spontaneous} of them answer nothing; of {onsets} after a \
             pause {} % are followed within one span of 40 ms, mostly {} to {} ms later ({} % by chance){against}",
            second(self.span_ns.0),
            second(self.span_ns.1),
            self.answered_percent,
            self.answer_ms,
            self.answer_ms.saturating_add(u16::try_from(LAG_BIN / 1_000_000).unwrap_or(0)),
            self.chance_percent,
        )
    }
}

/// The state of one flow: 1.2 KiB, no heap.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    ways: [Way; 2],
    clock: Option<Clock>,
    recent: [Option<Passed>; REMEMBERED],
    verdict: Option<Verdict>,
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    /// First and latest packet.
    first: i64,
    last: i64,
    /// The window: skipped if it is the first.
    from: i64,
    until: i64,
}

impl Shape {
    /// The state of a flow that began at `first_ns`, which may have been long before its first packet that is taken.
    #[must_use]
    pub fn since(first_ns: i64) -> Self {
        let clock = Clock {
            first: first_ns,
            last: first_ns,
            from: first_ns,
            until: first_ns.saturating_add(SKIPPED),
        };
        Self { clock: Some(clock), ..Self::default() }
    }

    /// Takes a packet that carries `payload_len` bytes above the transport at `ts_ns`; the judgement is returned when it is first
    /// reached. A packet without payload is no packet; one before the latest is taken to come with it.
    pub fn on_packet(&mut self, dir: Dir, payload_len: u32, ts_ns: i64) -> Option<Judgement> {
        if payload_len == 0 {
            return None;
        }
        let clock = self.clock.get_or_insert(Clock {
            first: ts_ns,
            last: ts_ns,
            from: ts_ns,
            until: ts_ns.saturating_add(SKIPPED),
        });
        clock.last = clock.last.max(ts_ns);
        let mut now = *clock;
        let mut reached = None;
        if now.last >= now.until {
            if now.from > now.first {
                reached = self.close(now.from, now.until);
            }
            // Opened by a packet, so that a flow may be silent for days at no cost.
            now.from = now.last;
            now.until = now.last.saturating_add(WINDOW);
            self.clock = Some(now);
            self.ways.iter_mut().for_each(|way| way.tally = Tally::default());
        }
        let [to_server, to_client] = &mut self.ways;
        let (way, other) = match dir {
            Dir::ToServer => (to_server, to_client),
            Dir::ToClient => (to_client, to_server),
        };
        way.packet(other, payload_len, now.last, now.first, now.from);
        reached
    }

    /// The flow has ended: judges its last window if that is at least 20 s long; the judgement is returned if this reaches it.
    pub fn on_end(&mut self) -> Option<Judgement> {
        let clock = self.clock.take()?;
        let until = clock.last.min(clock.until);
        let long_enough = until.saturating_sub(clock.from) >= WINDOW_MIN;
        if clock.from > clock.first && long_enough { self.close(clock.from, until) } else { None }
    }

    /// The judgement as far as the windows closed until now support it.
    #[must_use]
    pub fn judgement(&self) -> Option<Judgement> {
        self.verdict.map(|verdict| verdict.judgement())
    }

    /// What the latest windows lean to, as long as there is no judgement: `windows` may be 1, and those for the other side are
    /// `against`. Weaker than a judgement; for sessions too short for one.
    #[must_use]
    pub fn leaning(&self) -> Option<Judgement> {
        let operated = self.recent.iter().flatten().last()?.operated;
        Some(self.sum_of_recent(operated).judgement())
    }

    fn sum_of_recent(&self, operated: Side) -> Verdict {
        let mut verdict = Verdict::new(operated);
        self.recent.iter().flatten().for_each(|window| verdict.add(window));
        verdict
    }

    /// Judges the window.
    fn close(&mut self, from: i64, until: i64) -> Option<Judgement> {
        let [to_server, to_client] = &self.ways;
        let (to_server, to_client) = (&to_server.tally, &to_client.tally);
        if !to_server.speaks_with(to_client) && !to_client.speaks_with(to_server) {
            return None;
        }
        let operated = operated(to_server, to_client, until.saturating_sub(from));
        let passed = operated.map(|operated| {
            let (inputs, screen) = match operated {
                Side::Dest => (to_server, to_client),
                Side::Src => (to_client, to_server),
            };
            Passed { operated, from, until, figures: Figures::of(inputs, screen) }
        });
        if let Some(verdict) = &mut self.verdict {
            passed.iter().for_each(|window| verdict.add(window));
            return None;
        }
        self.recent.rotate_left(1);
        if let Some(latest) = self.recent.last_mut() {
            *latest = passed;
        }
        let verdict = self.sum_of_recent(operated?);
        if verdict.windows < AGREEING {
            return None;
        }
        self.verdict = Some(verdict);
        Some(verdict.judgement())
    }
}

/// The side that a window of `length` ns shows operated.
fn operated(to_server: &Tally, to_client: &Tally, length: i64) -> Option<Side> {
    let length_ms = u64::try_from(length.wrapping_div(1_000_000)).unwrap_or(0);
    match (to_server.operates(to_client, length_ms), to_client.operates(to_server, length_ms)) {
        (Some(_), None) => Some(Side::Dest),
        (None, Some(_)) => Some(Side::Src),
        (Some(dest), Some(src)) if dest != src => Some(if dest < src { Side::Dest } else { Side::Src }),
        (Some(_), Some(_)) => {
            let (dest, src) = (to_server.answers(), to_client.answers());
            // Neither is larger: no side, no claim.
            dest.exceeds(src).then_some(Side::Dest).or_else(|| src.exceeds(dest).then_some(Side::Src))
        }
        (None, None) => None,
    }
}

/// A window that shows one side operated.
#[derive(Clone, Copy, Debug)]
struct Passed {
    operated: Side,
    from: i64,
    until: i64,
    figures: Figures<u16>,
}

/// What is shown to a person, of one window or summed.
#[derive(Clone, Copy, Debug, Default)]
struct Figures<T> {
    inputs: T,
    screens: T,
    spontaneous: T,
    fast_gaps: T,
    onsets: T,
    answered: T,
    decoys: T,
    by_chance: T,
    answer_bin: u8,
}

impl Figures<u16> {
    fn of(inputs: &Tally, screen: &Tally) -> Self {
        let Answers { bin, onsets, answered, decoys, by_chance } = inputs.answers();
        Self {
            inputs: inputs.messages,
            screens: screen.messages,
            spontaneous: inputs.spontaneous,
            fast_gaps: inputs.fast_gaps,
            onsets,
            answered,
            decoys,
            by_chance,
            answer_bin: bin,
        }
    }
}

/// The windows of a flow that has been judged.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    operated: Side,
    windows: u8,
    against: u8,
    span: (i64, i64),
    sums: Figures<u32>,
}

/// Share of gaps below 60 ms among the inputs from which on it is a desktop, percent.
const GUI_FAST_PERCENT: u32 = 8;
/// Difference of the numbers of inputs and screen messages, of the larger, from which on it is a desktop, percent.
const GUI_DIFFERENCE_PERCENT: u32 = 20;

impl Verdict {
    const fn new(operated: Side) -> Self {
        let sums = Figures {
            inputs: 0,
            screens: 0,
            spontaneous: 0,
            fast_gaps: 0,
            onsets: 0,
            answered: 0,
            decoys: 0,
            by_chance: 0,
            answer_bin: 0,
        };
        Self { operated, windows: 0, against: 0, span: (i64::MAX, i64::MIN), sums }
    }

    fn add(&mut self, window: &Passed) {
        if window.operated != self.operated {
            self.against = self.against.saturating_add(1);
            return;
        }
        self.windows = self.windows.saturating_add(1);
        self.span = (self.span.0.min(window.from), self.span.1.max(window.until));
        let (sums, figures) = (&mut self.sums, &window.figures);
        for (sum, figure) in [
            (&mut sums.inputs, figures.inputs),
            (&mut sums.screens, figures.screens),
            (&mut sums.spontaneous, figures.spontaneous),
            (&mut sums.fast_gaps, figures.fast_gaps),
            (&mut sums.onsets, figures.onsets),
            (&mut sums.answered, figures.answered),
            (&mut sums.decoys, figures.decoys),
            (&mut sums.by_chance, figures.by_chance),
        ] {
            *sum = sum.saturating_add(u32::from(figure));
        }
        sums.answer_bin = figures.answer_bin;
    }

    fn judgement(&self) -> Judgement {
        let sums = &self.sums;
        let gui = percent(sums.fast_gaps, sums.inputs) >= GUI_FAST_PERCENT
            || percent(sums.inputs.abs_diff(sums.screens), sums.inputs.max(sums.screens))
                >= GUI_DIFFERENCE_PERCENT;
        let share = |part, whole| u8::try_from(percent(part, whole)).unwrap_or(u8::MAX);
        let answer_ns = i64::from(sums.answer_bin).saturating_mul(LAG_BIN);
        Judgement {
            operated: self.operated,
            kind: if gui { Kind::Gui } else { Kind::Terminal },
            windows: self.windows,
            against: self.against,
            inputs: sums.inputs,
            screens: sums.screens,
            spontaneous: sums.spontaneous,
            onsets: sums.onsets,
            answered_percent: share(sums.answered, sums.onsets),
            chance_percent: share(sums.by_chance, sums.decoys),
            answer_ms: u16::try_from(answer_ns.wrapping_div(1_000_000)).unwrap_or(u16::MAX),
            span_ns: self.span,
        }
    }
}

/// `part` in percent of `whole`, rounded down.
fn percent(part: u32, whole: u32) -> u32 {
    let share = u64::from(part).saturating_mul(100).checked_div(u64::from(whole)).unwrap_or(0);
    u32::try_from(share).unwrap_or(u32::MAX)
}
