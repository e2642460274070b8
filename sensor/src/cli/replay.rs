//! `farend replay`: captures to records and a summary.

use std::io::{self, BufWriter, IsTerminal};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::{Failure, Output, ReplayArgs, code, config, say, wrap};
use crate::config::{Config, Format};
use crate::host::{Finding, HostRecord, Severity, Tally, Weights};
use crate::intel::Intel;
use crate::pipeline::{Board, Counters, Ended, Far, Reducer, Settings, Sink, Summary, run};
use crate::sink::eve::Eve;
use crate::sink::rotate::{Opening, RotatingFile, Rotation};
use crate::sink::terminal::{Sessions, Story, Style, json, text};
use crate::sink::{Records, stats};
use crate::source::{self, Options, Source};

pub(super) fn replay(args: ReplayArgs) -> Result<u8, Failure> {
    let config = args.shared.laid_over(config::load(args.shared.config.as_deref())?);
    let options = Options { filter: config.input.filter.clone() };
    let mut source = source::open(&args.paths, &options).map_err(Failure::usage)?;
    let intel = Intel::with_files(&config.intel.files).map_err(Failure::usage)?;
    intel.warnings().iter().for_each(say::warn);
    analyse(&mut *source, &args.shared.output, &config, intel, None)
}

/// Runs a source to its end and writes what the output flags ask for. Returns the exit code.
pub(super) fn analyse(
    source: &mut dyn Source,
    output: &Output,
    config: &Config,
    intel: Intel,
    live: Option<Live>,
) -> Result<u8, Failure> {
    let home = config.home.home();
    let weights = config::weights(config)?;
    let workers = match config.workers.get() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => usize::try_from(n).unwrap_or(1),
    };
    let started = Instant::now();
    let eve_path = config.output.eve.as_deref();
    let eve_to_stdout = eve_path == Some(Path::new("-"));
    let files: Vec<String> = source.files().iter().map(|f| f.path.clone()).collect();
    let eve = eve_path
        .map(|path| open_eve(path).map(|out| Eve::new(out, config.output.types(), files.clone())))
        .transpose()?
        .map(|eve| if live.is_some() { eve.of_interfaces() } else { eve });
    // Host records tell shares of a host's bytes, so they need every flow, too.
    let all_flows = eve.as_ref().is_some_and(|e| e.types().flow || e.types().host);
    let flow_interval_ns = live.as_ref().and_then(|live| live.flow_interval_ns);
    let board = live.as_ref().map(|live| Arc::clone(&live.board));
    let sinks = Sinks { eve, sessions: Sessions::default(), all_flows, live, files: files.clone() };
    let mut reducer = Reducer::new(Arc::new(intel), home.clone(), weights, sinks);
    let settings = Settings {
        worker: crate::pipeline::WorkerConfig {
            capacity: config.flow.capacity(),
            timeouts: config.flow.timeouts.timeouts(),
            limits: config.inspect.limits(),
            catalogue: super::catalog::of(config)?,
            all_flows,
            flow_interval_ns,
            home: home.clone(),
            hash_seed: None,
        },
        workers,
        batch: None,
        board,
    };
    let mut bar = Bar::new(!output.quiet && io::stderr().is_terminal());
    let mut told = 0;
    let summary = run(source, &settings, &mut reducer, &mut |source, frames| {
        // Of interfaces at once: nobody is there at the end.
        if source.now_ns().is_some() && told < source.problems().len() {
            bar.clear();
            source.problems()[told..].iter().for_each(say::warn);
            told = source.problems().len();
        }
        bar.show(source, frames);
    })
    .map_err(Failure::runtime)?;
    bar.clear();
    let problems: Vec<String> = source.problems().iter().map(ToString::to_string).collect();
    let partial = source.problems().iter().any(|p| !p.kind.is_note());
    problems[told..].iter().for_each(say::warn);
    let span = summary.span;
    let sinks = reducer.sink_mut();
    let mut written = Vec::new();
    if let Some(mut eve) = sinks.eve.take() {
        eve.stats(
            span.map_or(0, |s| s[1]),
            &stats::suricata(&summary, span, source.counters()),
            &stats::ours(&summary, &files, source.counters(), &problems),
        );
        match eve.finish() {
            Ok(()) => {}
            // A reader that has seen enough is no failure.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe && eve_to_stdout => return Ok(code::CLEAN),
            Err(e) => {
                let path = eve_path.filter(|_| !eve_to_stdout).unwrap_or(Path::new("standard output"));
                return Err(Failure::runtime(format!("{}: {}", path.display(), say::io(&e))));
            }
        }
        if let Some(path) = eve_path.filter(|_| !eve_to_stdout) {
            written.push(format!("{}: {} records", path.display(), eve.records));
        }
    }
    let worst = reducer.ledger().findings().iter().map(|f| f.severity()).max();
    let sessions = std::mem::take(&mut reducer.sink_mut().sessions);
    let story = Story {
        ledger: reducer.ledger(),
        summary: &summary,
        sessions: &sessions,
        home: &home,
        files: &files,
        problems: &problems,
        span,
        written: &written,
        seconds: started.elapsed().as_secs_f64(),
    };
    if !output.quiet {
        tell(&story, output.verbose, config.output.format, eve_to_stdout)?;
    }
    Ok(match (config.output.fail_on.map(Severity::from), worst) {
        (Some(bar), Some(worst)) if worst >= bar => code::FINDING,
        _ if partial => code::PARTIAL,
        _ => code::CLEAN,
    })
}

/// Prints the summary: to standard output unless that carries EVE.
fn tell(story: &Story<'_>, verbose: bool, format: Format, eve_to_stdout: bool) -> Result<u8, Failure> {
    let colour = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let body = |terminal: bool, width: Option<usize>| match format {
        Format::Table => wrap::wrap(&text(story, Style { colour: colour && terminal, verbose }), width),
        Format::Json => format!("{:#}\n", json(story)),
    };
    if eve_to_stdout {
        say::err(&body(io::stderr().is_terminal(), wrap::width(&io::stderr())));
        return Ok(code::CLEAN);
    }
    say::out(&body(io::stdout().is_terminal(), wrap::width(&io::stdout())))
}

fn open_eve(path: &Path) -> Result<Box<dyn Records + Send>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::with_capacity(1 << 16, io::stdout())));
    }
    let file = RotatingFile::create(path, Rotation::default(), Opening::Fresh).map_err(Failure::runtime)?;
    Ok(Box::new(file))
}

/// EVE and the summary's sessions.
struct Sinks {
    eve: Option<Eve<Box<dyn Records + Send>>>,
    sessions: Sessions,
    all_flows: bool,
    live: Option<Live>,
    files: Vec<String>,
}

/// What a run that goes on without end needs besides.
pub(super) struct Live {
    /// Where the counters are.
    pub(super) board: Board,
    /// A statistics record comes this often, ns.
    pub(super) stats_every_ns: i64,
    /// A flow that goes on is recorded this often, ns.
    pub(super) flow_interval_ns: Option<i64>,
    /// When the next one is due, ns since the epoch.
    pub(super) stats_due_ns: Option<i64>,
}

impl Sink for Sinks {
    fn flow(&mut self, ended: &Ended, far: &Far<'_>, alerted: bool) {
        self.sessions.flow(ended, far);
        if let Some(eve) = &mut self.eve {
            eve.flow(ended, far, alerted);
        }
    }

    fn alert(&mut self, finding: &Finding, weights: &Weights, ts_ns: i64) {
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

    fn tick(&mut self, _: i64) {
        if self.live.is_some()
            && let Some(eve) = &mut self.eve
        {
            eve.flush();
        }
    }

    fn wants_counters(&self, now_ns: i64) -> bool {
        self.eve.is_some()
            && self.live.as_ref().is_some_and(|live| live.stats_due_ns.is_none_or(|due| now_ns >= due))
    }

    fn counters(&mut self, now_ns: i64, flows: &Counters, evidence: Tally) {
        let (Some(eve), Some(live)) = (&mut self.eve, &mut self.live) else { return };
        let first = live.stats_due_ns.is_none();
        live.stats_due_ns = Some(now_ns.saturating_add(live.stats_every_ns));
        if first {
            return;
        }
        let front = live.board.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counters = front.source;
        let summary = Summary::of(front, flows.clone(), evidence);
        eve.stats(
            now_ns,
            &stats::suricata(&summary, summary.span, counters),
            &stats::ours(&summary, &self.files, counters, &[]),
        );
        eve.flush();
    }

    fn failed(&self) -> bool {
        self.eve.as_ref().is_some_and(Eve::failed)
    }

    fn wants_all_flows(&self) -> bool {
        self.all_flows
    }
}

/// Progress on a terminal: share, rate, time left.
struct Bar {
    on: bool,
    started: Instant,
    shown: bool,
}

impl Bar {
    fn new(on: bool) -> Self {
        Self { on, started: Instant::now(), shown: false }
    }

    fn show(&mut self, source: &dyn Source, frames: u64) {
        if !self.on {
            return;
        }
        let progress = source.progress();
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let rate = frames as f64 / seconds;
        let mut line = format!("{frames} packets, {:.2} M/s", rate / 1e6);
        if let Some(total) = progress.bytes_total.filter(|t| *t > 0) {
            let share = progress.bytes_done as f64 / total as f64;
            let left = if share > 0.0 { seconds / share - seconds } else { 0.0 };
            line = format!("{:3.0} %  {line}, {left:.0} s left", share * 100.0);
        }
        match source.counters().kernel_drops {
            0 => {}
            drops => line = format!("{line}, {drops} dropped by the kernel"),
        }
        say::err(&format!("\r\x1b[K{line}"));
        self.shown = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            say::err("\r\x1b[K");
        }
    }
}
