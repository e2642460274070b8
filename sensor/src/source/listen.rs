//! What sources of interfaces have in common: how to listen, and why nothing can be received.

use std::io;
use std::time::Duration;

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
    #[error("{name}: {what}: {error}")]
    System {
        /// The interface.
        name: String,
        /// What was tried.
        what: &'static str,
        /// The answer.
        error: io::Error,
    },
    /// The card does not stamp frames with the time.
    #[error("{name}: no time from the hardware: {error} (ethtool -T {name} tells what it offers)")]
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

/// How to get the permission.
fn permit(program: &str) -> String {
    if cfg!(target_os = "linux") {
        format!("Once: sudo setcap cap_net_raw,cap_net_admin=eip {program}")
    } else {
        "Run it with sudo, or let your user read /dev/bpf*".into()
    }
}
