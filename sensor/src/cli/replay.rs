//! `farend replay`: captures to records and a summary.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::{Failure, Format, HomeArg, Output, ReplayArgs, code};
use crate::home::Home;
use crate::host::{Finding, HostRecord, Severity, Weights};
use crate::inspect::Limits;
use crate::intel::Intel;
use crate::pipeline::{Ended, Far, Reducer, Settings, Sink, run};
use crate::sink::eve::Eve;
use crate::sink::stats;
use crate::sink::terminal::{Sessions, Story, Style, json, text};
use crate::source::{self, Options, ProblemKind, Source};

/// Flows in the table by default: 112 bytes each.
const CAPACITY: u32 = 1_048_576;
/// Bounds of inspection a shard: 65,536 flows and 64 MiB of payload in all.
const LIMITS: Limits = Limits { flows: 256, bytes: 256 * 1024 };

pub(super) fn replay(args: ReplayArgs) -> Result<u8, Failure> {
    let shared = args.shared;
    let options = Options { filter: shared.filter.clone() };
    let mut source = source::open(&args.paths, &options).map_err(Failure::usage)?;
    let nets = shared
        .home
        .iter()
        .filter_map(|h| if let HomeArg::Net(net) = h { Some(*net) } else { None })
        .collect();
    let intel = if shared.intel.is_empty() {
        Intel::embedded()
    } else {
        Intel::with_files(&shared.intel).map_err(Failure::usage)?
    };
    let workers = shared
        .workers
        .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    analyse(&mut *source, &shared.output, Home::new(nets), intel, workers, shared.fail_on.map(Severity::from))
}

/// Runs a source to its end and writes what the output flags ask for. Returns the exit code.
pub(super) fn analyse(
    source: &mut dyn Source,
    output: &Output,
    home: Home,
    intel: Intel,
    workers: usize,
    fail_on: Option<Severity>,
) -> Result<u8, Failure> {
    let started = Instant::now();
    let eve_to_stdout = output.eve.as_deref() == Some(Path::new("-"));
    let files: Vec<String> = source.files().iter().map(|f| f.path.clone()).collect();
    let eve = output
        .eve
        .as_deref()
        .map(|path| open_eve(path).map(|out| Eve::new(out, output.eve_types, files.clone())))
        .transpose()?;
    // Host records tell shares of a host's bytes, so they need every flow, too.
    let all_flows = eve.as_ref().is_some_and(|e| e.types().flow || e.types().host);
    let sinks = Sinks { eve, sessions: Sessions::default(), all_flows };
    let mut reducer = Reducer::new(Arc::new(intel), home.clone(), Weights::default(), sinks);
    let settings = Settings {
        worker: crate::pipeline::WorkerConfig {
            capacity: CAPACITY,
            timeouts: Default::default(),
            limits: LIMITS,
            all_flows,
            home: home.clone(),
            hash_seed: None,
            workers,
            index: 0,
        },
        workers,
        batch: None,
    };
    let mut bar = Bar::new(!output.quiet && io::stderr().is_terminal());
    let summary = run(source, &settings, &mut reducer, &mut |progress, frames| bar.show(progress, frames))
        .map_err(|e| Failure::runtime(format!("replay: {e}")))?;
    bar.clear();
    let problems: Vec<String> = source.problems().iter().map(ToString::to_string).collect();
    let partial = source.problems().iter().any(|p| !p.kind.is_note());
    for problem in &problems {
        eprintln!("farend: {problem}");
    }
    let span = summary.span;
    let sinks = reducer.sink_mut();
    let mut written = Vec::new();
    if let Some(mut eve) = sinks.eve.take() {
        eve.stats(
            span.map_or(0, |s| s[1]),
            &stats::suricata(&summary, span),
            &stats::ours(&summary, source, &problems),
        );
        match eve.finish() {
            Ok(()) => {}
            // A reader that has seen enough is no failure.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe && eve_to_stdout => return Ok(code::CLEAN),
            Err(e) => {
                let path = output.eve.as_deref().unwrap_or(Path::new("-"));
                return Err(Failure::runtime(format!("{}: {e}", path.display())));
            }
        }
        if let Some(path) = output.eve.as_deref().filter(|_| !eve_to_stdout) {
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
        tell(&story, output, eve_to_stdout)?;
    }
    Ok(match (fail_on, worst) {
        (Some(bar), Some(worst)) if worst >= bar => code::FINDING,
        _ if partial => code::PARTIAL,
        _ => code::CLEAN,
    })
}

/// Prints the summary: to standard output unless that carries EVE.
fn tell(story: &Story<'_>, output: &Output, eve_to_stdout: bool) -> Result<(), Failure> {
    let colour = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let style = |terminal: bool| Style { colour: colour && terminal, verbose: output.verbose };
    let body = |terminal: bool| match output.format {
        Format::Table => text(story, style(terminal)),
        Format::Json => format!("{:#}\n", json(story)),
    };
    let done = if eve_to_stdout {
        let mut err = io::stderr();
        let text = body(err.is_terminal());
        err.write_all(text.as_bytes())
    } else {
        let mut out = io::stdout();
        let text = body(out.is_terminal());
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    };
    match done {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::runtime(format!("standard output: {e}")))
        }
        _ => Ok(()),
    }
}

fn open_eve(path: &Path) -> Result<Box<dyn Write + Send>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::with_capacity(1 << 16, io::stdout())));
    }
    let file = File::create(path).map_err(|e| Failure::runtime(format!("{}: {e}", path.display())))?;
    Ok(Box::new(BufWriter::with_capacity(1 << 16, file)))
}

/// EVE and the summary's sessions.
struct Sinks {
    eve: Option<Eve<Box<dyn Write + Send>>>,
    sessions: Sessions,
    all_flows: bool,
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

    fn show(&mut self, progress: source::Progress, frames: u64) {
        if !self.on {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let rate = frames as f64 / seconds;
        let mut line = format!("{frames} packets, {:.2} M/s", rate / 1e6);
        if let Some(total) = progress.bytes_total.filter(|t| *t > 0) {
            let share = progress.bytes_done as f64 / total as f64;
            let left = if share > 0.0 { seconds / share - seconds } else { 0.0 };
            line = format!("{:3.0} %  {line}, {left:.0} s left", share * 100.0);
        }
        eprint!("\r\x1b[K{line}");
        self.shown = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}
