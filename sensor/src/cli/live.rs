//! `farend live`: a span port until it is told to stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::replay::{Live, analyse};
use super::{Failure, LiveArgs, config, say};
use crate::clock::SECOND_NS;
use crate::intel::Intel;
use crate::pipeline::Board;
use crate::source::live::{ListenError, Live as Source, Options};

pub(super) fn live(args: LiveArgs) -> Result<u8, Failure> {
    let config = args.shared.laid_over(config::load(args.shared.config.as_deref())?);
    let intel = Intel::with_files(&config.intel.files).map_err(Failure::usage)?;
    intel.warnings().iter().for_each(say::warn);
    let options = Options {
        ring_bytes: usize::try_from(config.live.ring_mib.get()).unwrap_or(64) << 20,
        filter: config.input.filter.clone(),
        duration: args.duration,
    };
    let stop = stop_on_signals().map_err(|e| Failure::runtime(format!("signals: {e}")))?;
    let mut source = Source::open(&args.interfaces, &options, stop).map_err(|e| match e {
        ListenError::NoInterface { .. } | ListenError::Filter(_) => Failure::usage(e),
        other => Failure::runtime(other),
    })?;
    if !args.shared.output.quiet {
        let filter = options.filter.as_ref().map(|f| format!(", filter '{f}'")).unwrap_or_default();
        let names = args.interfaces.join(", ");
        say::warn(format_args!(
            "listening on {names}, ring of {} MiB each{filter}",
            config.live.ring_mib.get()
        ));
    }
    let live = Live {
        board: Board::default(),
        stats_every_ns: i64::try_from(config.live.stats_interval.get()).unwrap_or(60) * SECOND_NS,
        flow_interval_ns: match i64::try_from(config.live.flow_interval.get()).unwrap_or(0) {
            0 => None,
            seconds => Some(seconds * SECOND_NS),
        },
        stats_due_ns: None,
    };
    analyse(&mut source, &args.shared.output, &config, intel, Some(live))
}

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
