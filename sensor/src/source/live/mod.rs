//! Interfaces as a source: frames as they come in, in the order of time over all of them.
//!
//! In: names of interfaces. Out: batches of frames that lie in the memory they were received in. Frames of several interfaces
//! (the two ports of a tap) are merged by their time: one is held back until every other interface has been heard of or has
//! had time to hand over what it has. An interface that goes down, comes back or gets another name is said, and waited for.

mod fanout;
mod interface;
mod ring;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) use ring::Block;

use super::listen::{ListenError, Options};
use super::{Batch, Counters, FileInfo, Frame, Problem, ProblemKind, Progress, Region, Source, Status};
use fanout::Group;
use interface::{Interface, look_up, name_of};
use ring::{Count, Reading, Received, Ring};

/// Waiting for frames ends after this, so that time goes on without them.
const WAIT: Duration = Duration::from_millis(100);
/// How long a frame waits for earlier ones of other interfaces: two hand-over times of a ring.
const HOLD: Duration = Duration::from_millis(40);
/// State of the interfaces is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// Messages that are told and kept for the end; an interface that flaps on is not told any further.
const MESSAGES_KEPT: usize = 1_000;
/// Ethernet's header with two tags, which the MTU does not count.
const LINK_HEADER: u32 = 14 + 2 * 4;
/// After the order to stop, what has been received is read for so long at most.
const DRAIN: Duration = Duration::from_millis(200);

/// One interface.
struct Port {
    name: String,
    known: Interface,
    gone: bool,
    ring: Ring,
    worker: usize,
    ring_bytes: usize,
    /// The rings of all workers on the interface; none where there is one.
    group: Option<Arc<Group>>,
    /// Frames are let in: not before the group has been joined.
    open: bool,
    filter: Option<Arc<[libc::sock_filter]>>,
    reading: Reading,
    count: Count,
    received: Received,
    /// What rings that this one has replaced received.
    before: Received,
    held: Held,
}

/// The block that is being handed out. One at a time: what is not taken stays where the kernel counts it.
#[derive(Default)]
struct Held {
    region: Region,
    frames: Vec<Frame>,
    /// Frames handed out.
    at: usize,
}

impl Held {
    /// Frames still to be handed out.
    fn rest(&self) -> &[Frame] {
        &self.frames[self.at..]
    }

    /// Gives back a block that is handed out to its end.
    fn let_go(&mut self) -> bool {
        let done = self.at == self.frames.len();
        if done && self.at > 0 {
            (self.region, self.at) = (Region::default(), 0);
            self.frames.clear();
        }
        done
    }
}

/// Frames from interfaces, all of them or one worker's part.
pub struct Live {
    /// Of several workers' sources the one that tells what becomes of the interfaces.
    leads: bool,
    /// Why it cannot go on.
    broken: Option<String>,
    ports: Vec<Port>,
    files: Vec<FileInfo>,
    problems: Vec<Problem>,
    stop: Arc<AtomicBool>,
    until: Option<Instant>,
    stopping: Option<Instant>,
    looked: Instant,
    started: (Instant, i64),
    frames: u64,
    /// See [`nap`].
    nap: Duration,
}

impl Live {
    /// Opens the interfaces for `workers` workers, each of which gets the part of the traffic that is between its pairs of
    /// addresses; `stop` ends it. What needs a permission is done when this returns.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn open(
        names: &[String],
        workers: usize,
        options: &Options,
        stop: &Arc<AtomicBool>,
    ) -> Result<Vec<Self>, ListenError> {
        let mut parts: Vec<Vec<Port>> = (0..workers.max(1)).map(|_| Vec::new()).collect();
        for (input, name) in names.iter().enumerate() {
            for (worker, ports) in parts.iter_mut().enumerate() {
                ports.push(Port::open(name, input as u16, worker, options)?);
            }
            let rings = || parts.iter().filter_map(|ports| ports.last());
            let index = rings().next().map_or(0, |p| p.known.index);
            for port in rings() {
                port.ring.bind(index).map_err(|e| system(name, "cannot listen", e))?;
            }
            let group = (workers > 1).then(|| Group::of(rings().map(|p| p.ring.memory()).collect(), index));
            let group = group.transpose().map_err(|e| system(name, "cannot part the traffic", e))?;
            for port in parts.iter_mut().filter_map(|ports| ports.last_mut()) {
                port.group.clone_from(&group);
                port.let_in().map_err(|e| system(name, "cannot part the traffic", e))?;
            }
        }
        let part = |(n, ports)| Self::of(ports, names, n == 0, options, Arc::clone(stop));
        Ok(parts.into_iter().enumerate().map(part).collect())
    }

    fn of(ports: Vec<Port>, names: &[String], leads: bool, options: &Options, stop: Arc<AtomicBool>) -> Self {
        let files = names.iter().map(|name| FileInfo { path: name.clone(), ..FileInfo::default() }).collect();
        let now = Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            leads,
            broken: None,
            ports,
            files,
            problems: Vec::new(),
            stop,
            until: options.duration.map(|d| now + d),
            stopping: None,
            looked: now,
            started: (now, i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX)),
            frames: 0,
            nap: nap(options.ring_bytes),
        }
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
        } else if ready > 0 {
            std::thread::sleep(self.nap);
        }
    }

    /// Says what has become of the interfaces, and listens again to those that came back.
    fn look(&mut self) {
        self.looked = Instant::now();
        for (input, port) in self.ports.iter_mut().enumerate() {
            port.received = port.before;
            port.received.add(port.ring.received());
            self.files[input].dropped = Some(port.received.drops);
            let said = match port.look() {
                Ok(said) => said,
                Err(why) => {
                    self.broken = Some(format!("{}: {why}", port.name));
                    None
                }
            };
            if let Some(said) = said.filter(|_| self.leads && self.problems.len() < MESSAGES_KEPT) {
                self.problems.push(Problem {
                    input: Some(input as u16),
                    path: port.name.clone(),
                    at: None,
                    kind: if port.known.up && !port.gone {
                        ProblemKind::Interface
                    } else {
                        ProblemKind::InterfaceLost
                    },
                    detail: said,
                });
            }
        }
    }

    /// Whether the end has come: ordered, or by duration, and what was received has been read.
    fn over(&mut self) -> bool {
        let now = Instant::now();
        if self.stopping.is_none()
            && (self.stop.load(Ordering::Relaxed)
                || self.broken.is_some()
                || self.until.is_some_and(|until| now >= until))
        {
            self.stopping = Some(now);
            if self.broken.is_some() {
                // The others cannot go on without this part.
                self.stop.store(true, Ordering::Relaxed);
            }
            // Nothing more comes in, so what is to be read has an end, whatever the load.
            for port in &self.ports {
                // If it fails there is only more to read.
                let _ = port.ring.shut();
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
        let held = &mut self.ports[first].held;
        batch.region = held.region.clone();
        let rest = held.rest();
        let rest = &rest[..rest.len().min(limit)];
        let handed =
            if bound == i64::MAX { rest } else { &rest[..rest.partition_point(|f| f.ts_ns <= bound)] };
        batch.frames.extend_from_slice(handed);
        held.at += handed.len();
    }
}

impl Port {
    fn open(name: &str, input: u16, worker: usize, options: &Options) -> Result<Self, ListenError> {
        let Some(known) = look_up(name) else {
            return Err(ListenError::NoInterface { name: name.into(), have: interface::names() });
        };
        let Some(dlt) = known.dlt else {
            return Err(ListenError::Kind { name: name.into(), kind: known.kind });
        };
        let filter = match &options.filter {
            Some(filter) => {
                Some(super::filter::kernel_program(filter, dlt).map_err(ListenError::Filter)?.into())
            }
            None => None,
        };
        let ring = Ring::socket()
            .and_then(|socket| Ring::on(socket, options.ring_bytes))
            .map_err(|e| system(name, "cannot open a ring", e))?;
        if options.hardware_time {
            interface::stamp_frames(name)
                .and_then(|()| ring.stamp_by_hardware())
                .map_err(|error| ListenError::NoHardwareTime { name: name.into(), error })?;
        }
        Ok(Self {
            name: name.into(),
            reading: Reading { dlt, input, skip_outgoing: known.loopback },
            gone: false,
            worker,
            ring_bytes: options.ring_bytes,
            group: None,
            open: false,
            filter,
            known,
            ring,
            count: Count::default(),
            received: Received::default(),
            before: Received::default(),
            held: Held::default(),
        })
    }

    /// Lets frames in, once the ring has only its part of them.
    fn let_in(&mut self) -> io::Result<()> {
        // The kernel joins rings only of an interface that is up.
        let alone = match &self.group {
            None => true,
            Some(group) if self.known.up => group.join().map(|()| true)?,
            Some(_) => false,
        };
        if alone && !self.open {
            self.ring.accept(self.filter.as_deref())?;
            self.open = true;
        }
        Ok(())
    }

    fn head(&self) -> Option<i64> {
        self.held.rest().first().map(|f| f.ts_ns)
    }

    /// Looks at the interface; what has changed, in words. An error where it cannot be listened to any more.
    fn look(&mut self) -> Result<Option<String>, String> {
        let said = self.look_at()?;
        if !self.open && self.known.up {
            self.let_in().map_err(|e| format!("cannot part the traffic: {e}"))?;
        }
        Ok(said)
    }

    fn look_at(&mut self) -> Result<Option<String>, String> {
        let now = look_up(&self.name);
        let was = self.known.clone();
        Ok(match now {
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
                let done = match &self.group {
                    None => self.ring.bind(now.index),
                    Some(group) => group.renew(self.worker, now.index, self.ring_bytes).map(|ring| {
                        // What the one before has counted stays counted.
                        self.before.add(self.ring.received());
                        self.ring = ring;
                        self.open = false;
                    }),
                };
                let said = match done {
                    Ok(()) => "is there again; listening".into(),
                    Err(e) => return Err(format!("is there again and cannot be listened to: {e}")),
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
        })
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
        for Port { held, ring, reading, count, .. } in &mut self.ports {
            if held.let_go()
                && let Some(block) = ring.take(*reading, count, &mut held.frames)
            {
                held.region = Region::from(block);
            }
        }
        self.hand_out(batch, limit, over);
        if batch.frames.is_empty() {
            if over && self.ports.iter().all(|p| p.head().is_none()) {
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
        let freezes = self.ports.iter().map(|p| p.received.freezes).sum();
        let stamped = self.ports.iter().map(|p| p.count.stamped).sum();
        Counters {
            frames: self.frames,
            kernel_drops: drops,
            ring_full: freezes,
            hardware_time: stamped,
            ..Counters::default()
        }
    }

    fn longest_frame(&self) -> Option<u32> {
        self.ports.iter().map(|p| p.known.mtu.saturating_add(LINK_HEADER)).max()
    }

    fn failure(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    fn fullness(&self) -> Option<u8> {
        self.ports.iter().map(|p| p.ring.fullness()).max()
    }

    fn now_ns(&self) -> Option<i64> {
        Some(self.wall_ns())
    }
}

/// After waking up for one block, others are let come for so long, since waking up costs more than a block's work: a twelfth of what
/// the ring bridges at 10 Gbit/s, 5 ms at most. Where blocks come in faster than they are read, nothing waits.
fn nap(ring_bytes: usize) -> Duration {
    let bridges_ns = ring_bytes as u64 * 8 / 10;
    Duration::from_nanos(bridges_ns / 12).min(Duration::from_millis(5))
}

fn system(name: &str, what: &'static str, error: io::Error) -> ListenError {
    if matches!(error.kind(), io::ErrorKind::PermissionDenied) {
        return ListenError::not_permitted(name);
    }
    ListenError::System { name: name.into(), what, error }
}
