//! Interfaces as a source: frames as they come in, in the order of time over all of them.
//!
//! In: names of interfaces. Out: batches of frames that lie in the memory they were received in. Frames of several interfaces
//! (the two ports of a tap) are merged by their time: one is held back until every other interface has been heard of or has
//! had time to hand over what it has. An interface that goes down, comes back or gets another name is said, and waited for.

mod interface;
mod ring;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) use ring::Block;

use super::{Batch, Counters, FileInfo, Frame, Problem, ProblemKind, Progress, Region, Source, Status};
use interface::{Interface, look_up, name_of};
use ring::{Reading, Received, Ring};

/// Waiting for frames ends after this, so that time goes on without them.
const WAIT: Duration = Duration::from_millis(100);
/// How long a frame waits for earlier ones of other interfaces: two hand-over times of a ring.
const HOLD: Duration = Duration::from_millis(40);
/// State of the interfaces is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// Messages that are told and kept for the end; an interface that flaps on is not told any further.
const MESSAGES_KEPT: usize = 1_000;
/// After the order to stop, what has been received is read for so long at most.
const DRAIN: Duration = Duration::from_millis(200);

/// How to listen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of the ring of each interface.
    pub ring_bytes: usize,
    /// A filter in tcpdump's language, run by the kernel.
    pub filter: Option<String>,
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
    #[error(
        "{name}: not permitted to receive frames. Once: sudo setcap cap_net_raw,cap_net_admin=eip {program}"
    )]
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
    /// The filter does not compile.
    #[error(transparent)]
    Filter(super::OpenError),
}

/// One interface.
struct Port {
    name: String,
    known: Interface,
    gone: bool,
    ring: Ring,
    reading: Reading,
    numbered: u64,
    received: Received,
    /// Blocks taken and not handed out to their end, with the frames still to come, the oldest first.
    held: VecDeque<(Region, VecDeque<Frame>)>,
}

/// Frames from interfaces.
pub struct Live {
    ports: Vec<Port>,
    files: Vec<FileInfo>,
    problems: Vec<Problem>,
    stop: Arc<AtomicBool>,
    until: Option<Instant>,
    stopping: Option<Instant>,
    looked: Instant,
    started: (Instant, i64),
    frames: u64,
    list: Vec<Frame>,
}

impl Live {
    /// Opens the interfaces; `stop` ends it.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn open(names: &[String], options: &Options, stop: Arc<AtomicBool>) -> Result<Self, ListenError> {
        let mut ports = Vec::new();
        for (input, name) in names.iter().enumerate() {
            ports.push(Port::open(name, input as u16, options)?);
        }
        for port in &ports {
            port.ring.bind(port.known.index).map_err(|e| system(&port.name, "cannot listen", e))?;
        }
        let files = names.iter().map(|name| FileInfo { path: name.clone(), ..FileInfo::default() }).collect();
        let now = Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            ports,
            files,
            problems: Vec::new(),
            stop,
            until: options.duration.map(|d| now + d),
            stopping: None,
            looked: now,
            started: (now, i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX)),
            frames: 0,
            list: Vec::new(),
        })
    }

    /// Frames that reached the interfaces' rings and those that found no room there.
    #[must_use]
    pub fn kernel(&self) -> [u64; 2] {
        self.ports.iter().fold([0; 2], |[f, d], p| [f + p.received.frames, d + p.received.drops])
    }

    /// Time by this machine's clock, going on evenly whatever is done to that clock.
    fn wall_ns(&self) -> i64 {
        let (then, wall) = self.started;
        wall.saturating_add(i64::try_from(then.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }

    /// Waits until some ring has a block, at most [`WAIT`]; while frames are held back, only for those that hold them back.
    fn wait(&mut self) {
        let held = self.ports.iter().any(|p| p.head().is_some());
        let timeout = if held { HOLD } else { WAIT };
        let mut fds: Vec<libc::pollfd> = self
            .ports
            .iter()
            .filter(|p| p.head().is_none())
            .map(|p| libc::pollfd {
                fd: p.ring.descriptor(),
                events: libc::POLLIN | libc::POLLERR,
                revents: 0,
            })
            .collect();
        // SAFETY: as many descriptors as are named, all open.
        let ready =
            unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout.as_millis() as i32) };
        if ready > 0 && fds.iter().any(|fd| fd.revents & libc::POLLERR != 0) {
            for port in &self.ports {
                // Taking the error off the socket is what lets `poll` wait again; the state of the interface tells the rest.
                let _ = port.ring.error();
            }
            self.look();
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Says what has become of the interfaces, and listens again to those that came back.
    fn look(&mut self) {
        self.looked = Instant::now();
        for (input, port) in self.ports.iter_mut().enumerate() {
            port.received = port.ring.received();
            self.files[input].dropped = Some(port.received.drops);
            if let Some(said) = port.look()
                && self.problems.len() < MESSAGES_KEPT
            {
                self.problems.push(Problem {
                    input: Some(input as u16),
                    path: port.name.clone(),
                    at: None,
                    kind: ProblemKind::Interface,
                    detail: said,
                });
            }
        }
    }

    /// Whether the end has come: ordered, or by duration, and what was received has been read.
    fn over(&mut self) -> bool {
        let now = Instant::now();
        if self.stopping.is_none()
            && (self.stop.load(Ordering::Relaxed) || self.until.is_some_and(|until| now >= until))
        {
            self.stopping = Some(now);
            // Nothing more comes in, so what is to be read has an end, whatever the load.
            for port in &self.ports {
                port.ring.shut();
            }
        }
        self.stopping.is_some_and(|since| now - since > DRAIN)
    }

    /// Fills the batch from the port whose next frame is the earliest, as far as no other port may have an earlier one.
    fn hand_out(&mut self, batch: &mut Batch, limit: usize, over: bool) {
        let safe = if over { i64::MAX } else { self.wall_ns().saturating_sub(HOLD.as_nanos() as i64) };
        let heads: Vec<Option<i64>> = self.ports.iter().map(Port::head).collect();
        let Some((first, _)) =
            heads.iter().enumerate().filter_map(|(i, head)| Some((i, (*head)?))).min_by_key(|(_, ts)| *ts)
        else {
            return;
        };
        // Frames up to the head of every other port; a silent port bounds by how late it may hand over.
        let bound = heads
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != first)
            .map(|(_, head)| head.unwrap_or(safe))
            .min()
            .unwrap_or(i64::MAX);
        let port = &mut self.ports[first];
        let Some((region, frames)) = port.held.front_mut() else { return };
        batch.region = region.clone();
        while batch.frames.len() < limit
            && let Some(frame) = frames.front()
            && frame.ts_ns <= bound
        {
            batch.frames.push(*frame);
            frames.pop_front();
        }
        if frames.is_empty() {
            port.held.pop_front();
        }
    }
}

impl Port {
    fn open(name: &str, input: u16, options: &Options) -> Result<Self, ListenError> {
        let Some(known) = look_up(name) else {
            return Err(ListenError::NoInterface { name: name.into(), have: interface::names() });
        };
        let Some(dlt) = known.dlt else {
            return Err(ListenError::Kind { name: name.into(), kind: known.kind });
        };
        let ring = Ring::open(options.ring_bytes).map_err(|e| system(name, "cannot open a ring", e))?;
        if let Some(filter) = &options.filter {
            let mut program = super::filter::kernel_program(filter, dlt).map_err(ListenError::Filter)?;
            ring.attach(&mut program).map_err(|e| system(name, "cannot attach the filter", e))?;
        }
        Ok(Self {
            name: name.into(),
            reading: Reading { dlt, input, skip_outgoing: known.loopback },
            gone: false,
            known,
            ring,
            numbered: 0,
            received: Received::default(),
            held: VecDeque::new(),
        })
    }

    fn head(&self) -> Option<i64> {
        self.held.front().and_then(|(_, frames)| frames.front()).map(|f| f.ts_ns)
    }

    /// Looks at the interface; what has changed, in words.
    fn look(&mut self) -> Option<String> {
        let now = look_up(&self.name);
        let was = self.known.clone();
        match now {
            Some(now) if now == was && !self.gone => None,
            Some(now) if now.index == was.index && !self.gone => {
                let said = match (was.up, now.up) {
                    (true, false) => "is down; waiting for it".into(),
                    (false, true) => "is up again".into(),
                    _ if now.mtu != was.mtu => format!("MTU is {} now, was {}", now.mtu, was.mtu),
                    _ => "has changed".into(),
                };
                self.known = now;
                Some(said)
            }
            Some(now) => {
                // Another interface of the same name: this socket hears nothing of it until it is bound anew.
                let said = match self.ring.bind(now.index) {
                    Ok(()) => "is there again; listening".into(),
                    Err(e) => format!("is there again and cannot be listened to: {e}"),
                };
                (self.known, self.gone) = (now, false);
                Some(said)
            }
            None if self.gone => None,
            None => match name_of(was.index) {
                Some(name) => {
                    let said = format!("is called {name} now; listening on");
                    self.name = name;
                    Some(said)
                }
                None => {
                    self.gone = true;
                    Some("is gone; waiting for it".into())
                }
            },
        }
    }
}

impl Source for Live {
    fn next_batch(&mut self, batch: &mut Batch, limit: usize) -> Status {
        batch.frames.clear();
        batch.region = Region::default();
        if self.looked.elapsed() >= LOOK {
            self.look();
        }
        let over = self.over();
        let Self { ports, list, .. } = self;
        if let [port] = &mut ports[..] {
            if let Some(block) = port.ring.take(port.reading, &mut port.numbered, &mut batch.frames) {
                batch.region = Region::from(block);
            }
        } else {
            for port in ports {
                // One block at a time: what is not taken stays where the kernel counts it.
                if port.held.is_empty()
                    && let Some(block) = port.ring.take(port.reading, &mut port.numbered, list)
                {
                    port.held.push_back((Region::from(block), list.drain(..).collect()));
                }
            }
            self.hand_out(batch, limit, over);
        }
        if batch.frames.is_empty() {
            if over && self.ports.iter().all(|p| p.held.is_empty()) {
                self.look();
                return Status::End;
            }
            self.wait();
            return Status::More;
        }
        self.frames += batch.frames.len() as u64;
        if let Some(frame) = batch.frames.last() {
            let file = &mut self.files[usize::from(frame.input)];
            file.packets = frame.number;
        }
        Status::More
    }

    fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn files(&self) -> &[FileInfo] {
        &self.files
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn counters(&self) -> Counters {
        let [_, drops] = self.kernel();
        Counters { frames: self.frames, kernel_drops: drops, ..Counters::default() }
    }

    fn now_ns(&self) -> Option<i64> {
        Some(self.wall_ns())
    }
}

fn system(name: &str, what: &'static str, error: io::Error) -> ListenError {
    if matches!(error.kind(), io::ErrorKind::PermissionDenied) {
        let program = std::env::current_exe().map_or_else(|_| "farend".into(), |p| p.display().to_string());
        return ListenError::NotPermitted { name: name.into(), program };
    }
    ListenError::System { name: name.into(), what, error }
}
