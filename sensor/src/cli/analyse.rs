//! What `replay` and `live` share: sources run to their end, and what the output flags ask for written.

use std::io::{self, BufWriter, IsTerminal};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::bar::Bar;
use super::sinks::{Going, Sinks};
use super::{Failure, Output, catalog, code, config, say, wrap};
use crate::config::{Config, Format};
use crate::host::Severity;
use crate::intel::Intel;
use crate::pipeline::{InForce, Reducer, Settings, Switch, run, run_each};
use crate::sink::Records;
use crate::sink::eve::Eve;
use crate::sink::rotate::{Opening, RotatingFile, Rotation};
use crate::sink::stats;
use crate::sink::terminal::{Sessions, Story, Style, json, text};
use crate::source::{Counters, ProblemKind, Source};

/// What EVE records are written to.
pub(super) type EveOut = Box<dyn Records + Send>;

/// What a run is made of besides its sources.
pub(super) struct Run<'a> {
    /// What is printed.
    pub(super) output: &'a Output,
    /// The configuration.
    pub(super) config: &'a Config,
    /// What it names, in force at the beginning.
    pub(super) in_force: InForce,
    /// Where EVE records go.
    pub(super) eve: Option<EveOut>,
    /// Of interfaces.
    pub(super) going: Option<Going>,
    /// Where settings come from that are exchanged while it runs.
    pub(super) switch: Option<Arc<Switch>>,
}

/// Runs sources to their end and writes what the output flags ask for; several sources are parts of one traffic. Returns the
/// exit code.
pub(super) fn analyse(sources: &mut [Box<dyn Source + Send>], wanted: Run<'_>) -> Result<u8, Failure> {
    let Run { output, config, in_force, eve, going, switch } = wanted;
    let InForce { intel, catalogue, weights, home, timeouts, flow_interval_ns } = in_force;
    let started = Instant::now();
    let eve_to_stdout = config.output.eve.as_deref() == Some(Path::new("-"));
    let Some(first) = sources.first() else { return Err(Failure::usage("nothing to analyse")) };
    let files: Vec<String> = first.files().iter().map(|f| f.path.clone()).collect();
    let eve = eve.map(|out| Eve::new(out, config.output.types(), files.clone()));
    let eve = eve.map(|eve| if going.is_some() { eve.of_interfaces() } else { eve });
    // Host records tell shares of a host's bytes, so they need every flow, too.
    let all_flows = eve.as_ref().is_some_and(|e| e.types().flow || e.types().host);
    let settings = Settings {
        worker: crate::pipeline::WorkerConfig {
            capacity: config.flow.capacity(),
            timeouts,
            limits: config.inspect.limits(),
            catalogue,
            all_flows,
            // A file is over before anybody could wait for its flows.
            flow_interval_ns: flow_interval_ns.filter(|_| going.is_some()),
            home: home.clone(),
            hash_seed: None,
        },
        workers: workers(config),
        batch: Some(config.batch.get()).filter(|n| *n > 0).and_then(|n| usize::try_from(n).ok()),
        switch: switch.clone(),
        cpus: config.live.cpus.iter().map(|cpu| usize::from(*cpu)).collect(),
    };
    let watched = going.as_ref().map(|going| (Arc::clone(&going.problems), Arc::clone(&going.pulse)));
    let mut bar = Bar::new(going.is_none() && !output.quiet && io::stderr().is_terminal());
    let sinks = Sinks { eve, sessions: Sessions::default(), all_flows, going, files: files.clone() };
    let mut reducer = Reducer::new(intel, home.clone(), weights, sinks)
        .with_catalogue(catalogue)
        .with_losses(first.losses());
    if let Some(switch) = switch {
        reducer = reducer.with_switch(switch);
    }
    let mut told = 0;
    let mut progress = |source: &dyn Source, frames: u64| {
        // Of interfaces at once: nobody is there at the end.
        if let Some((problems, pulse)) = &watched
            && told < source.problems().len()
        {
            let new = &source.problems()[told..];
            // Before it is said: whoever reads it and asks must not be told otherwise.
            for problem in new {
                let what = format!("interface {}", problem.input.unwrap_or(0));
                match problem.kind {
                    ProblemKind::InterfaceLost => pulse.trouble(what, problem.to_string()),
                    _ => pulse.well(&what),
                }
            }
            new.iter().for_each(say::warn);
            let mut all = problems.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(new.iter().map(ToString::to_string));
            told = source.problems().len();
        }
        bar.show(source, frames);
    };
    let summary = match &mut *sources {
        [only] => run(&mut **only, &settings, &mut reducer, &mut progress),
        several => run_each(several, &settings, &mut reducer, &mut progress),
    }
    .map_err(Failure::runtime)?;
    bar.clear();
    reducer.sink_mut().clear_status();
    let source = &sources[0];
    let problems: Vec<String> = source.problems().iter().map(ToString::to_string).collect();
    let partial = source.problems().iter().any(|p| !p.kind.is_note());
    problems[told..].iter().for_each(say::warn);
    let mut counters = Counters::default();
    sources.iter().for_each(|s| counters.add(&s.counters()));
    let span = summary.span;
    let sinks = reducer.sink_mut();
    let mut written = Vec::new();
    if let Some(mut eve) = sinks.eve.take() {
        eve.stats(
            span.map_or(0, |s| s[1]),
            &stats::suricata(&summary, span, counters),
            &stats::ours(&summary, &files, counters, &problems),
        );
        let eve_path = config.output.eve.as_deref().filter(|_| !eve_to_stdout);
        match eve.finish() {
            Ok(()) => {}
            // A reader that has seen enough is no failure.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe && eve_to_stdout => return Ok(code::CLEAN),
            Err(e) => {
                let path = eve_path.unwrap_or(Path::new("standard output"));
                return Err(Failure::runtime(format!("{}: {}", path.display(), say::io(&e))));
            }
        }
        if let Some(path) = eve_path {
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
    if let Some(why) = sources.iter().find_map(|s| s.failure()) {
        return Err(Failure::runtime(why));
    }
    Ok(match (config.output.fail_on.map(Severity::from), worst) {
        (Some(bar), Some(worst)) if worst >= bar => code::FINDING,
        _ if partial => code::PARTIAL,
        _ => code::CLEAN,
    })
}

/// Reads what a configuration names: address data, catalogue, weights. Data that has aged is said.
pub(super) fn in_force(config: &Config) -> Result<InForce, Failure> {
    let intel = Intel::with_files(&config.intel.files).map_err(Failure::usage)?;
    let in_force = InForce {
        intel: Arc::new(intel),
        catalogue: catalog::of(config)?,
        weights: config::weights(config)?,
        home: config.home.home(),
        timeouts: config.flow.timeouts.timeouts(),
        flow_interval_ns: config.live.flow_interval_ns(),
    };
    in_force.intel.warnings().iter().for_each(say::warn);
    Ok(in_force)
}

/// Workers that are asked for.
pub(super) fn workers(config: &Config) -> usize {
    match config.workers.get() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => usize::try_from(n).unwrap_or(1),
    }
}

/// Opens the file of `--eve`, or standard output.
pub(super) fn open_eve(path: &Path, rotation: Rotation, opening: Opening) -> Result<EveOut, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::with_capacity(1 << 16, io::stdout())));
    }
    Ok(Box::new(RotatingFile::create(path, rotation, opening).map_err(|e| Failure::runtime(say::io(&e)))?))
}

/// The same for a run that has an end.
pub(super) fn open_new_eve(path: &Path) -> Result<EveOut, Failure> {
    open_eve(path, Rotation::default(), Opening::Fresh)
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
