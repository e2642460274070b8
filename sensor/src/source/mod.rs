//! Sources of frames.
//!
//! In: paths of capture files (classic pcap, pcapng, either inside gzip or zstd), directories of them, or
//! standard input. Out: batches of [`Frame`]s on one timeline, each a position in the [`Region`] where its
//! bytes already lie (a mapped file, a decompressed chunk), so nothing is copied per frame. What could not be
//! read is a [`Problem`] beside the frames, never an error instead of them.

#[cfg(feature = "libpcap")]
mod bpf;
mod chunks;
mod classic;
mod decompress;
mod fields;
mod filter;
#[cfg(test)]
mod fixtures;
mod info;
mod inputs;
#[cfg(unix)]
pub mod listen;
#[cfg(target_os = "linux")]
pub mod live;
mod mapped;
mod merge;
mod parser;
mod pcapng;
#[cfg(all(unix, feature = "libpcap"))]
pub mod portable;
mod problem;
mod reader;
mod region;
mod sniff;
mod stream;
mod walk;

use std::path::PathBuf;

pub use info::{Compression, Container, FileInfo, Format, Interface, Resolution};
pub use inputs::Inputs;
pub use problem::{Problem, ProblemKind};
pub use region::Region;

/// One captured frame: where its bytes lie in the region that came with the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Offset of the first byte in [`Region::bytes`].
    pub at: usize,
    /// Bytes captured; `at + caplen` lies inside the region.
    pub caplen: u32,
    /// Bytes the frame had on the wire; as the capture says, so hostile captures may claim less than
    /// `caplen`.
    pub wirelen: u32,
    /// Nanoseconds since 1970-01-01T00:00:00Z, as the capture says; saturates where an `i64` cannot hold it.
    pub ts_ns: i64,
    /// Position in its file, from 1, before any filter: the number Wireshark shows.
    pub number: u64,
    /// LINKTYPE_ number of its interface (<https://www.tcpdump.org/linktypes.html>).
    pub dlt: u16,
    /// Interface in its file: always 0 in classic pcap, counted through all sections in pcapng; 65535 means
    /// that or more.
    pub iface: u16,
    /// Index into [`Source::files`].
    pub input: u16,
}

impl Frame {
    /// The captured bytes, given the bytes of the region of this frame's batch.
    #[inline]
    pub fn of<'a>(&self, region: &'a [u8]) -> &'a [u8] {
        &region[self.at..self.at + self.caplen as usize]
    }
}

/// Frames that share one region, in the order of the timeline.
#[derive(Default)]
pub struct Batch {
    /// The frames; the capacity is kept from batch to batch.
    pub frames: Vec<Frame>,
    /// The bytes that the frames point into.
    pub region: Region,
}

impl Batch {
    /// An empty batch with room for `frames` frames.
    pub fn with_capacity(frames: usize) -> Self {
        Self { frames: Vec::with_capacity(frames), region: Region::default() }
    }

    /// Every frame with its bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&Frame, &[u8])> {
        let bytes = self.region.bytes();
        self.frames.iter().map(move |frame| (frame, frame.of(bytes)))
    }
}

/// Whether a source has more to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Ask again. The batch may be empty where a filter rejected everything.
    More,
    /// Nothing follows; the batch is empty.
    End,
}

/// How far a source has come, in bytes of its files as they lie on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub bytes_done: u64,
    /// Bytes there are, or `None` when a pipe is among the inputs.
    pub bytes_total: Option<u64>,
}

/// What became of files and frames so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed out.
    pub frames: u64,
    /// Frames that the filter rejected.
    pub filtered: u64,
    /// Files in directories that are no captures.
    pub skipped_files: u64,
    /// Files whose last frame was handed out, or that could not be read any further.
    pub finished_files: u64,
    /// Frames that the kernel dropped since nobody took them in time.
    pub kernel_drops: u64,
    /// Times that a ring was full and frames were dropped until there was room.
    pub ring_full: u64,
    /// Frames whose time is the card's own; that of others is the kernel's, or the file's.
    pub hardware_time: u64,
}

impl Counters {
    /// Adds those of a source of another part of the same traffic.
    pub fn add(&mut self, other: &Self) {
        let Self { frames, filtered, skipped_files, finished_files, kernel_drops, ring_full, hardware_time } =
            other;
        for (mine, theirs) in [
            (&mut self.frames, frames),
            (&mut self.filtered, filtered),
            (&mut self.skipped_files, skipped_files),
            (&mut self.finished_files, finished_files),
            (&mut self.kernel_drops, kernel_drops),
            (&mut self.ring_full, ring_full),
            (&mut self.hardware_time, hardware_time),
        ] {
            *mine += theirs;
        }
    }
}

/// Something that hands out frames in batches.
pub trait Source {
    /// Replaces the batch by the next 1 to `limit` frames, waiting for them where they come from a pipe.
    ///
    /// What is there is handed out at once: a batch is full only when more frames than `limit` are there
    /// already.
    fn next_batch(&mut self, batch: &mut Batch, limit: usize) -> Status;

    /// The problems met so far, in the order they were met.
    fn problems(&self) -> &[Problem];

    /// The inputs, fixed from the start; [`Frame::input`] is an index into them. Their counters grow with
    /// reading.
    fn files(&self) -> &[FileInfo];

    /// How far reading has come.
    fn progress(&self) -> Progress;

    /// What became of files and frames so far.
    fn counters(&self) -> Counters {
        Counters::default()
    }

    /// What time it is, where time goes on without frames: ns since the epoch, of interfaces. Read once a batch.
    fn now_ns(&self) -> Option<i64> {
        None
    }

    /// Packets that were lost before they were captured, and all there were, where files of the past say it from the start.
    fn losses(&self) -> Option<[u64; 2]> {
        None
    }

    /// The longest frame that the link carries, bytes with its link header, where that is known: a longer one was joined from several
    /// by the card or the kernel.
    fn longest_frame(&self) -> Option<u32> {
        None
    }

    /// Why it has ended before anybody told it to, where it goes on without end.
    fn failure(&self) -> Option<&str> {
        None
    }

    /// How full the room is in which frames wait to be taken, per cent, where frames are lost when it is full.
    fn fullness(&self) -> Option<u8> {
        None
    }
}

/// How to read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A filter in tcpdump's language; frames that it rejects are counted and not handed out.
    pub filter: Option<String>,
}

/// Why nothing at all can be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// None of the paths exists.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    NoInput(Vec<Problem>),
    /// libpcap does not accept the filter for any link type.
    #[error("filter '{filter}': {message}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// libpcap's message.
        message: String,
    },
    /// This build cannot compile filters.
    #[error("filter '{0}': this build has no BPF filters (it was built without the feature `libpcap`)")]
    FilterUnsupported(String),
}

/// Opens files, directories and `-` (standard input) as one timeline.
///
/// Paths that are missing or unreadable are problems of the source, not errors, as long as at least one path
/// exists.
///
/// # Errors
/// When no path exists, or the filter does not compile.
pub fn open(paths: &[PathBuf], options: &Options) -> Result<Box<dyn Source + Send>, OpenError> {
    Ok(Box::new(Inputs::open(paths, options)?))
}
