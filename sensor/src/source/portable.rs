//! Interfaces through libpcap, which every system has.
//!
//! In: names of interfaces. Out: batches of frames, copied once, in the order of time within a batch. Where the system has rings of
//! its own ([`super::live`]) those are faster; this is for all others, and for comparing.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pcap::{Active, Capture, Device, Precision};

use super::classic::linktype;
use super::listen::{ListenError, Options};
use super::{
    Batch, Counters, FileInfo, Frame, OpenError, Problem, ProblemKind, Progress, Region, Source, Status,
};
use crate::clock::SECOND_NS;

/// Bytes of a frame that are taken: more than any has.
const SNAPLEN: i32 = 262_144;
/// The system hands frames over after this, ms.
const HAND_OVER_MS: i32 = 20;
/// Waiting for frames ends after this, so that time goes on without them.
const WAIT_MS: i32 = 100;
/// Counters are asked for this often.
const LOOK: Duration = Duration::from_secs(1);
/// After the order to stop, what has been received is read for so long at most.
const DRAIN: Duration = Duration::from_millis(200);

struct Port {
    name: String,
    capture: Capture<Active>,
    dlt: u16,
    number: u64,
    /// libpcap's counter is of 32 bits and goes round.
    drops: u32,
}

/// Frames from interfaces, through libpcap.
pub struct Portable {
    ports: Vec<Port>,
    files: Vec<FileInfo>,
    problems: Vec<Problem>,
    failure: Option<String>,
    stop: Arc<AtomicBool>,
    until: Option<Instant>,
    stopping: Option<Instant>,
    looked: Instant,
    started: (Instant, i64),
    frames: u64,
    drops: u64,
}

impl Portable {
    /// Opens the interfaces; `stop` ends it. What needs a permission is done when this returns.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn open(names: &[String], options: &Options, stop: &Arc<AtomicBool>) -> Result<Self, ListenError> {
        let ports = names.iter().map(|name| Port::open(name, options)).collect::<Result<Vec<_>, _>>()?;
        let now = Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            files: names.iter().map(|name| FileInfo { path: name.clone(), ..FileInfo::default() }).collect(),
            ports,
            problems: Vec::new(),
            failure: None,
            stop: Arc::clone(stop),
            until: options.duration.map(|d| now + d),
            stopping: None,
            looked: now,
            started: (now, i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX)),
            frames: 0,
            drops: 0,
        })
    }

    /// Whether the end has come: ordered, or by duration; then what was received is still read for a while.
    fn over(&mut self) -> bool {
        let now = Instant::now();
        let ordered = self.stop.load(Ordering::Relaxed) || self.until.is_some_and(|until| now >= until);
        if ordered {
            self.stopping.get_or_insert(now);
        }
        self.stopping.is_some_and(|since| now - since > DRAIN)
    }

    fn look(&mut self) {
        self.looked = Instant::now();
        for (port, file) in self.ports.iter_mut().zip(&mut self.files) {
            if let Ok(stat) = port.capture.stats() {
                let now = stat.dropped.wrapping_add(stat.if_dropped);
                let more = u64::from(now.wrapping_sub(port.drops));
                port.drops = now;
                self.drops += more;
                file.dropped = Some(file.dropped.unwrap_or(0) + more);
            }
        }
    }

    /// Waits until some interface has frames, at most [`WAIT_MS`].
    fn wait(&self) {
        let of = |p: &Port| libc::pollfd { fd: p.capture.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut fds: Vec<libc::pollfd> = self.ports.iter().map(of).collect();
        // SAFETY: as many descriptors as are named, all open.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, WAIT_MS) };
        if ready > 0 && fds.iter().any(|fd| fd.revents & libc::POLLERR != 0) {
            // What is wrong comes with the next reading; until then it must not be asked without a pause.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Port {
    fn open(name: &str, options: &Options) -> Result<Self, ListenError> {
        let devices = Device::list().unwrap_or_default();
        if !devices.is_empty() && devices.iter().all(|d| d.name != name) {
            let mut have: Vec<String> = devices.into_iter().map(|d| d.name).collect();
            have.sort();
            return Err(ListenError::NoInterface { name: name.into(), have });
        }
        let said = |e: pcap::Error| {
            let message = match e {
                pcap::Error::PcapError(message) => message,
                other => other.to_string(),
            };
            let lower = message.to_ascii_lowercase();
            if lower.contains("permission") || lower.contains("not permitted") {
                ListenError::not_permitted(name)
            } else {
                ListenError::Pcap { name: name.into(), message }
            }
        };
        let mut capture = Capture::from_device(name)
            .map_err(said)?
            .promisc(true)
            .snaplen(SNAPLEN)
            .buffer_size(i32::try_from(options.ring_bytes).unwrap_or(i32::MAX))
            .timeout(HAND_OVER_MS)
            .precision(Precision::Nano)
            .open()
            .map_err(said)?;
        if let Some(filter) = &options.filter {
            capture.filter(filter, true).map_err(|e| {
                let message = e.to_string();
                ListenError::Filter(OpenError::Filter { filter: filter.clone(), message })
            })?;
        }
        let dlt = linktype(capture.get_datalink().0.cast_unsigned());
        let capture = capture.setnonblock().map_err(said)?;
        Ok(Self { name: name.into(), capture, dlt, number: 0, drops: 0 })
    }

    /// Appends the frames that are there, `limit` at most.
    fn take(
        &mut self,
        input: u16,
        limit: usize,
        bytes: &mut Vec<u8>,
        frames: &mut Vec<Frame>,
    ) -> Result<(), pcap::Error> {
        let Self { capture, dlt, number, .. } = self;
        let taken = capture.dispatch(Some(limit), |packet| {
            *number += 1;
            let ts = packet.header.ts;
            #[allow(clippy::unnecessary_cast, reason = "of 32 bits on some systems")]
            let (seconds, nanos) = (ts.tv_sec as i64, ts.tv_usec as i64);
            frames.push(Frame {
                at: bytes.len(),
                caplen: packet.data.len() as u32,
                wirelen: packet.header.len,
                ts_ns: seconds.saturating_mul(SECOND_NS).saturating_add(nanos),
                number: *number,
                dlt: *dlt,
                iface: 0,
                input,
            });
            bytes.extend_from_slice(packet.data);
        });
        match taken {
            // A time-out is no error of a handle that does not block.
            Ok(_) | Err(pcap::Error::TimeoutExpired) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

impl Source for Portable {
    fn next_batch(&mut self, batch: &mut Batch, limit: usize) -> Status {
        batch.frames.clear();
        batch.region = Region::default();
        if self.looked.elapsed() >= LOOK {
            self.look();
        }
        let over = self.over();
        let mut bytes = Vec::new();
        let each = limit.div_ceil(self.ports.len().max(1)).max(1);
        for (input, port) in (0u16..).zip(&mut self.ports) {
            if let Err(e) = port.take(input, each, &mut bytes, &mut batch.frames) {
                // To open it again takes a permission that has been given up.
                let why = format!("{}: cannot be listened to any more: {e}", port.name);
                self.problems.push(Problem {
                    input: Some(input),
                    path: port.name.clone(),
                    at: None,
                    kind: ProblemKind::InterfaceLost,
                    detail: format!("cannot be listened to any more: {e}"),
                });
                self.failure = Some(why);
            }
        }
        if batch.frames.is_empty() {
            if over || self.failure.is_some() {
                self.look();
                return Status::End;
            }
            self.wait();
            return Status::More;
        }
        if self.ports.len() > 1 {
            batch.frames.sort_by_key(|f| f.ts_ns);
        }
        self.frames += batch.frames.len() as u64;
        for (port, file) in self.ports.iter().zip(&mut self.files) {
            file.packets = port.number;
        }
        batch.region = Region::from(bytes);
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
        Counters { frames: self.frames, kernel_drops: self.drops, ..Counters::default() }
    }

    fn now_ns(&self) -> Option<i64> {
        let (then, wall) = self.started;
        Some(wall.saturating_add(i64::try_from(then.elapsed().as_nanos()).unwrap_or(i64::MAX)))
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}
