//! `farend live`: a span port until it is told to stop.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::analyse::{Run, analyse, in_force, open_eve, workers};
use super::reload::{Reload, on_hangup};
use super::sinks::{Going, Orders};
use super::{Failure, LiveArgs, config, say};
use crate::config::{LiveSource, Timestamps};
use crate::notify;
use crate::pipeline::Switch;
use crate::sink::metrics::{Reach, Server, Snapshot, StartError};
use crate::sink::rotate::Opening;
use crate::source::Source;
use crate::source::listen::{ListenError, Options};

pub(super) fn live(args: LiveArgs) -> Result<u8, Failure> {
    let config = args.shared.laid_over(config::load(args.shared.config.as_deref())?);
    let in_force = in_force(&config)?;
    processors(&config.live.cpus)?;
    let options = Options {
        ring_bytes: usize::try_from(config.live.ring_mib.get()).unwrap_or(64) << 20,
        filter: config.input.filter.clone(),
        hardware_time: config.live.timestamps == Timestamps::Hardware,
        duration: args.duration,
    };
    let stop = stop_on_signals().map_err(|e| Failure::runtime(format!("signals: {e}")))?;
    let workers = workers(&config);
    let opened = match config.live.source {
        LiveSource::Ring => rings(&args.interfaces, workers, &options, &stop),
        LiveSource::Libpcap => portable(&args.interfaces, &options, &stop),
    };
    let mut sources = opened?;
    let rotation = config.live.rotate.rotation();
    let eve = config.output.eve.as_deref().map(|path| open_eve(path, rotation, Opening::Kept)).transpose()?;
    // Everything that takes a permission is open. Threads that come later begin without one, too.
    give_up_permissions();
    let orders = Arc::new(Orders::default());
    orders.take(&config);
    let switch = Arc::new(Switch::default());
    on_hangup(Reload {
        shared: args.shared.clone(),
        started: config.clone(),
        quiet: args.shared.output.quiet,
        orders: Arc::clone(&orders),
        switch: Arc::clone(&switch),
    })
    .map_err(|e| Failure::runtime(format!("signals: {e}")))?;
    let output = &args.shared.output;
    let mut going = Going::new(orders, workers, !output.quiet && io::stderr().is_terminal());
    // It serves until it is dropped, which is after the end.
    let server = config.live.metrics.map(|address| serve(address, &mut going)).transpose()?;
    if !output.quiet {
        if let Some(server) = &server {
            say::warn(format_args!("metrics at http://{}/metrics", server.address()));
        }
        let filter = options.filter.as_ref().map(|f| format!(", filter '{f}'")).unwrap_or_default();
        let names = args.interfaces.join(", ");
        let mib = config.live.ring_mib.get();
        let how = match (sources.len(), workers) {
            (1, 1) => format!("ring of {mib} MiB each"),
            (1, _) => format!("one handle each for {workers} workers, {mib} MiB"),
            _ => format!("{workers} workers, ring of {mib} MiB each"),
        };
        say::warn(format_args!("listening on {names}, {how}{filter}"));
    }
    // A manager that does not hear it gives up on the program by itself.
    let _ = notify::ready(&format!("listening on {}", args.interfaces.join(", ")));
    let done = analyse(
        &mut sources,
        Run { output, config: &config, in_force, eve, going: Some(going), switch: Some(switch) },
    );
    let _ = notify::stopping("ended");
    done
}

type Sources = Vec<Box<dyn Source + Send>>;

/// A part of the traffic for each worker, from rings.
#[cfg(target_os = "linux")]
fn rings(
    names: &[String],
    workers: usize,
    options: &Options,
    stop: &Arc<AtomicBool>,
) -> Result<Sources, Failure> {
    let parts = crate::source::live::Live::open(names, workers, options, stop).map_err(refused)?;
    Ok(parts.into_iter().map(|part| Box::new(part) as Box<dyn Source + Send>).collect())
}

#[cfg(not(target_os = "linux"))]
fn rings(names: &[String], _: usize, options: &Options, stop: &Arc<AtomicBool>) -> Result<Sources, Failure> {
    portable(names, options, stop)
}

/// All of the traffic, through libpcap.
#[cfg(feature = "libpcap")]
fn portable(names: &[String], options: &Options, stop: &Arc<AtomicBool>) -> Result<Sources, Failure> {
    let source = crate::source::portable::Portable::open(names, options, stop).map_err(refused)?;
    Ok(vec![Box::new(source)])
}

#[cfg(not(feature = "libpcap"))]
fn portable(_: &[String], _: &Options, _: &Arc<AtomicBool>) -> Result<Sources, Failure> {
    Err(Failure::usage("live.source: this build is without libpcap"))
}

fn refused(e: ListenError) -> Failure {
    match e {
        ListenError::NoInterface { .. } | ListenError::Filter(_) => Failure::usage(e),
        other => Failure::runtime(other),
    }
}

/// Serves counters and health at `address`.
fn serve(address: SocketAddr, going: &mut Going) -> Result<Server, Failure> {
    let snapshot = Arc::new(Mutex::new(Snapshot::default()));
    going.snapshot = Some(Arc::clone(&snapshot));
    let latest = move || snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let pulse = Arc::clone(&going.pulse);
    Server::start(address, Reach::Loopback, latest, move || pulse.health()).map_err(|e| match e {
        StartError::NotLoopback(_) => Failure::usage(format_args!("live.metrics: {e}")),
        other => Failure::runtime(format_args!("live.metrics: {other}")),
    })
}

/// Whether this program may use these processors.
#[cfg(target_os = "linux")]
fn processors(wanted: &[u16]) -> Result<(), Failure> {
    // SAFETY: all zero is an empty set, which the call fills; 0 is this thread. Numbers are looked at only below the set's size.
    let has = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        move |cpu: usize| cpu < 8 * size_of::<libc::cpu_set_t>() && libc::CPU_ISSET(cpu, &set)
    };
    match wanted.iter().find(|cpu| !has(usize::from(**cpu))) {
        None => Ok(()),
        Some(cpu) => {
            let have: Vec<String> = (0..1_024).filter(|n| has(*n)).map(|n| n.to_string()).collect();
            let have = have.join(", ");
            Err(Failure::usage(format!("live.cpus: no processor {cpu} for this program (have: {have})")))
        }
    }
}

#[cfg(not(target_os = "linux"))]
const fn processors(_: &[u16]) -> Result<(), Failure> {
    Ok(())
}

impl Orders {
    /// Takes over what the configuration says.
    pub(super) fn take(&self, config: &crate::config::Config) {
        let seconds = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.stats_interval.store(seconds(config.live.stats_interval.get()), Ordering::Relaxed);
        self.host_interval.store(seconds(config.live.host_interval.get()), Ordering::Relaxed);
    }
}

/// Gives up every capability, for good: also those that a program with the set-user-id bit would bring. What the sockets may do was
/// settled when they were opened.
#[cfg(target_os = "linux")]
fn give_up_permissions() {
    use caps::{CapSet, Capability};
    for capability in caps::all() {
        // Takes CAP_SETPCAP, which is among them and not always given; the sets below are what counts.
        if capability != Capability::CAP_SETPCAP {
            let _ = caps::drop(None, CapSet::Bounding, capability);
        }
    }
    let _ = caps::drop(None, CapSet::Bounding, Capability::CAP_SETPCAP);
    let left = [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted]
        .into_iter()
        .filter_map(|set| caps::clear(None, set).err())
        .next_back();
    // SAFETY: a plain call that only takes something away.
    let no_new = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if let Some(error) = left {
        say::warn(format_args!("permissions could not be given up: {error}"));
    } else if no_new != 0 {
        say::warn(format_args!("permissions could not be given up: {}", io::Error::last_os_error()));
    }
}

#[cfg(not(target_os = "linux"))]
const fn give_up_permissions() {}

/// A switch that SIGINT and SIGTERM turn on; a second one ends the program at once.
fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// `90`, `90s`, `5m`, `2h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let unit = units.iter().find_map(|(name, seconds)| Some((text.strip_suffix(name)?, *seconds)));
    let (number, seconds) = unit.unwrap_or((text, 1));
    match number.parse::<u32>() {
        Ok(n) if n > 0 => Ok(Duration::from_secs(u64::from(n) * seconds)),
        _ => Err("a duration is a whole number of seconds above 0, or one with s, m, h or d".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_nothing_else() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "0", "m", "-1", "1.5", "5w", "5 m", "99999999999"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
