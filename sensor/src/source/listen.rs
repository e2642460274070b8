//! What sources of interfaces have in common: how to listen, and why nothing can be received.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::FileInfo;
use crate::config::in_words;

/// State and counters of the interfaces are looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// After the order to stop, what has been received is read for so long at most.
const DRAIN: Duration = Duration::from_millis(200);

/// How to listen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of memory that frames of each interface are received in; of each worker, where there are several.
    pub ring_bytes: usize,
    /// A filter in tcpdump's language, run by the kernel.
    pub filter: Option<String>,
    /// Take the time from the card.
    pub hardware_time: bool,
    /// End after this.
    pub duration: Option<Duration>,
}

/// Why nothing can be received.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// No interface of this name.
    #[error("{name}: no such interface (have: {})", .have.join(", "))]
    NoInterface {
        /// The name asked for.
        name: String,
        /// Those there are.
        have: Vec<String>,
    },
    /// A kind of interface whose frames are not read.
    #[error("{name}: interfaces of kind {kind} (ARPHRD_ number) are not read; Ethernet and bare IP are")]
    Kind {
        /// The interface.
        name: String,
        /// ARPHRD_ number.
        kind: u16,
    },
    /// The system does not let this program receive.
    #[error("{name}: not permitted to receive frames. {}", permit(.program))]
    NotPermitted {
        /// The interface.
        name: String,
        /// This program's file.
        program: String,
    },
    /// Anything else the system says.
    #[error("{name}: {what}: {}", in_words(.error))]
    System {
        /// The interface.
        name: String,
        /// What was tried.
        what: &'static str,
        /// The answer.
        error: io::Error,
    },
    /// The card does not stamp frames with the time.
    #[error("{name}: no time from the hardware: {} (ethtool -T {name} tells what it offers)", in_words(.error))]
    NoHardwareTime {
        /// The interface.
        name: String,
        /// The answer.
        error: io::Error,
    },
    /// libpcap says no.
    #[error("{name}: {message}")]
    Pcap {
        /// The interface.
        name: String,
        /// libpcap's message.
        message: String,
    },
    /// The filter does not compile.
    #[error(transparent)]
    Filter(super::OpenError),
}

impl ListenError {
    /// Not permitted, for this program.
    pub(super) fn not_permitted(name: &str) -> Self {
        let program = std::env::current_exe().map_or_else(|_| "farend".into(), |p| p.display().to_string());
        Self::NotPermitted { name: name.into(), program }
    }
}

/// How far listening has come: its time, and its end.
#[derive(Debug)]
pub(super) struct Course {
    stop: Arc<AtomicBool>,
    until: Option<Instant>,
    stopping: Option<Instant>,
    looked: Instant,
    started: (Instant, i64),
}

impl Course {
    /// It begins; `stop` ends it.
    pub(super) fn new(options: &Options, stop: &Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        Self {
            stop: Arc::clone(stop),
            until: options.duration.map(|d| now + d),
            stopping: None,
            looked: now,
            started: (now, realtime_ns()),
        }
    }

    /// Time by this machine's clock, going on evenly whatever is done to that clock.
    pub(super) fn now_ns(&self) -> i64 {
        let (then, wall) = self.started;
        wall.saturating_add(i64::try_from(then.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }

    /// Whether a look at the interfaces is due, which is taken to be done then.
    pub(super) fn look_is_due(&mut self) -> bool {
        let due = self.looked.elapsed() >= LOOK;
        if due {
            self.looked = Instant::now();
        }
        due
    }

    /// Whether the order to stop has come just now, or the end of the time.
    pub(super) fn stops_now(&mut self) -> bool {
        let now = Instant::now();
        let ordered = self.stop.load(Ordering::Relaxed) || self.until.is_some_and(|until| now >= until);
        let first = ordered && self.stopping.is_none();
        if first {
            self.stopping = Some(now);
        }
        first
    }

    /// Ends it, and everybody else's that shares the order.
    pub(super) fn stop_all(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it is over once nothing is there to be read any more.
    pub(super) fn is_over(&self) -> bool {
        self.stopping.is_some_and(|since| since.elapsed() > DRAIN)
    }
}

/// What this machine's clock shows now, ns since the epoch: what the kernel stamps frames with.
pub(super) fn realtime_ns() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX)
}

/// Interfaces as inputs.
pub(super) fn inputs(names: &[String]) -> Vec<FileInfo> {
    names.iter().map(|name| FileInfo { path: name.clone(), ..FileInfo::default() }).collect()
}

/// How to get the permission.
fn permit(program: &str) -> String {
    if cfg!(target_os = "linux") {
        format!("Once: sudo setcap cap_net_raw,cap_net_admin=eip {program}")
    } else {
        "Run it with sudo, or let your user read /dev/bpf*".into()
    }
}
