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
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub(super) use ring::Block;

use super::listen::{Course, ListenError, Options, inputs, realtime_ns};
use super::{Batch, Counters, FileInfo, Frame, Problem, ProblemKind, Progress, Region, Source, Status};
use fanout::Group;
use interface::{Interface, look_up, name_of};
use ring::{Count, Reading, Received, Ring};

/// Waiting for frames ends after this, so that time goes on without them.
const WAIT: Duration = Duration::from_millis(100);
/// How long a frame waits for earlier ones of other interfaces: two hand-over times of a ring.
const HOLD: Duration = Duration::from_millis(40);
/// Messages that are told and kept for the end; an interface that flaps on is not told any further.
const MESSAGES_KEPT: usize = 1_000;
/// What is said of an interface that is down.
const IS_DOWN: &str = "is down; waiting for it";
/// Ethernet's header with two tags, which the MTU does not count.
const LINK_HEADER: u32 = 14 + 2 * 4;

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
    course: Course,
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
        let part = |(n, ports)| Self::of(ports, names, n == 0, options, stop);
        Ok(parts.into_iter().enumerate().map(part).collect())
    }

    fn of(
        ports: Vec<Port>,
        names: &[String],
        leads: bool,
        options: &Options,
        stop: &Arc<AtomicBool>,
    ) -> Self {
        let down = ports.iter().filter(|port| leads && !port.known.up);
        Self {
            leads,
            broken: None,
            files: inputs(names),
            problems: down.map(|port| port.problem(IS_DOWN.into())).collect(),
            ports,
            course: Course::new(options, stop),
            frames: 0,
            nap: nap(options.ring_bytes),
        }
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
                self.problems.push(port.problem(said));
            }
        }
    }

    /// Whether the end has come: ordered, or by duration, and what was received has been read.
    fn over(&mut self) -> bool {
        if self.broken.is_some() {
            // The others cannot go on without this part.
            self.course.stop_all();
        }
        if self.course.stops_now() {
            // Nothing more comes in, so what is to be read has an end, whatever the load.
            for port in &self.ports {
                // If it fails there is only more to read.
                let _ = port.ring.shut();
            }
        }
        self.course.is_over()
    }

    /// Fills the batch from the port whose next frame is the earliest, as far as no other port may have an earlier one.
    fn hand_out(&mut self, batch: &mut Batch, limit: usize, over: bool) {
        let Some((first, bound)) = (match &self.ports[..] {
            [only] => only.head().map(|_| (0, i64::MAX)),
            several => {
                let heads: Vec<Option<i64>> = several.iter().map(Port::head).collect();
                next(&heads, if over { i64::MAX } else { realtime_ns() })
            }
        }) else {
            return;
        };
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

    /// What has become of the interface.
    fn problem(&self, said: String) -> Problem {
        let there = self.known.up && !self.gone;
        Problem {
            input: Some(self.reading.input),
            path: self.name.clone(),
            at: None,
            kind: if there { ProblemKind::Interface } else { ProblemKind::InterfaceLost },
            detail: said,
        }
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
                    (true, false) => IS_DOWN.into(),
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
                match done {
                    Ok(()) => {
                        (self.known, self.gone) = (now, false);
                        Some("is there again; listening".into())
                    }
                    // Gone again since it was looked up.
                    Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {
                        self.gone = true;
                        None
                    }
                    Err(e) => return Err(format!("is there again and cannot be listened to: {e}")),
                }
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
        if self.course.look_is_due() {
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
        let drops = self.ports.iter().map(|p| p.received.drops).sum();
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
        Some(self.course.now_ns())
    }
}

/// Which port's frames come next, and up to which time: to the head of every other port. A silent port may hand over earlier ones for
/// a while yet, so frames wait for it that are younger than that; those that seem to come from the future do not, since then the
/// clock was put back, or the card's differs. `now_ns` is what that clock shows.
fn next(heads: &[Option<i64>], now_ns: i64) -> Option<(usize, i64)> {
    let (first, ts_ns) =
        heads.iter().enumerate().filter_map(|(i, head)| Some((i, (*head)?))).min_by_key(|(_, ts)| *ts)?;
    let waited = if ts_ns > now_ns { i64::MAX } else { now_ns.saturating_sub(HOLD.as_nanos() as i64) };
    let others = heads.iter().enumerate().filter(|(i, _)| *i != first);
    Some((first, others.map(|(_, head)| head.unwrap_or(waited)).min().unwrap_or(i64::MAX)))
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn frames_wait_for_a_silent_port_no_longer_than_it_may_take_to_hand_over() {
        let now = 1_000 * MS;
        assert_eq!(next(&[None, None], now), None);
        assert_eq!(next(&[Some(990 * MS), Some(985 * MS)], now), Some((1, 990 * MS)), "both are heard of");
        assert_eq!(next(&[Some(990 * MS), None], now), Some((0, 960 * MS)), "it waits");
        assert_eq!(next(&[Some(950 * MS), None], now), Some((0, 960 * MS)));
        assert_eq!(next(&[Some(950 * MS), None, Some(955 * MS)], now), Some((0, 955 * MS)));
    }

    #[test]
    fn a_clock_that_was_put_back_or_differs_holds_nothing_up() {
        let now = 1_000 * MS;
        assert_eq!(next(&[Some(38_000 * MS), None], now), Some((0, i64::MAX)), "TAI is 37 s ahead");
        assert_eq!(next(&[None, Some(1)], now), Some((1, 960 * MS)), "or behind");
    }
}
