//! Interfaces through libpcap, which every system has.
//!
//! In: names of interfaces. Out: batches of frames, copied once, in the order of time within a batch. Where the system has rings of
//! its own ([`super::live`]) those are faster; this is for all others, and for comparing.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use pcap::{Active, Capture, Device, Precision};

use super::classic::linktype;
use super::listen::{Course, ListenError, Options, inputs};
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
    course: Course,
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
        Ok(Self {
            files: inputs(names),
            ports,
            problems: Vec::new(),
            failure: None,
            course: Course::new(options, stop),
            frames: 0,
            drops: 0,
        })
    }

    fn look(&mut self) {
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
        if self.course.look_is_due() {
            self.look();
        }
        // Frames go on coming in after the order: what had come before it is read within the last moment, the others are nobody's.
        self.course.stops_now();
        if self.course.is_over() || self.failure.is_some() {
            self.look();
            return Status::End;
        }
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
        Some(self.course.now_ns())
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}
