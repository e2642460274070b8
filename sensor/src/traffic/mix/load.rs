//! Captures to be multiplied, read once into memory.
//!
//! In: files and folders. Out: [`Captures`]: of every file its Ethernet frames, with what of them is to be rewritten.

use std::path::PathBuf;

use super::super::ETHERNET;
use super::rewrite::{Place, inside};
use crate::source::{self, Batch, Frame, OpenError, Options, Source, Status};

/// Frames of a capture that are used, so that a large one is not all there is.
const MAX_FRAMES: usize = 20_000;
/// Nanoseconds of a capture that are used: bounds how many copies overlap, and how long the last one goes on alone.
const MAX_NS: u64 = 300_000_000_000;
/// A longer silence in a capture is shortened to this: longer than a keep-alive is late, shorter than the timeout of any flow.
const MAX_SILENCE_NS: u64 = 25_000_000_000;
/// Bytes of frames that are held of all captures together.
const MAX_BYTES: usize = 512 << 20;

/// One frame of a capture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    at: usize,
    caplen: u32,
    pub(super) wirelen: u32,
    /// Nanoseconds since the first frame.
    pub(super) after_ns: u64,
    pub(super) place: Place,
}

/// One capture.
#[derive(Clone, Debug, Default)]
pub(super) struct Capture {
    pub(super) frames: Vec<Taken>,
    /// Private IPv4 networks in it, by their first three bytes, sorted.
    pub(super) nets: Vec<[u8; 3]>,
    pub(super) last_ns: Option<i64>,
}

/// Frames that are not used, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Not Ethernet.
    pub link: u64,
    /// Behind the first 20,000 frames or 300 s of a capture, or behind 512 MiB of all.
    pub beyond: u64,
}

/// Captures in memory.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    arena: Vec<u8>,
    pub(super) list: Vec<Capture>,
    /// Frames that are not used.
    pub left: Left,
    /// What could not be read, a sentence each.
    pub problems: Vec<String>,
}

impl Captures {
    /// Reads files, and all captures in folders.
    ///
    /// # Errors
    /// When no path exists.
    pub fn open(paths: &[PathBuf]) -> Result<Self, OpenError> {
        Ok(Self::read(&mut *source::open(paths, &Options::default())?))
    }

    /// Reads a source to its end; each of its files is a capture of its own.
    pub fn read(source: &mut dyn Source) -> Self {
        let mut captures = Self { list: vec![Capture::default(); source.files().len()], ..Self::default() };
        let mut batch = Batch::with_capacity(1_024);
        while source.next_batch(&mut batch, 1_024) == Status::More {
            for (frame, bytes) in batch.iter() {
                captures.take(frame, bytes);
            }
        }
        captures.list.retain(|c| !c.frames.is_empty());
        captures.problems = source.problems().iter().map(ToString::to_string).collect();
        captures
    }

    /// Adds captures behind these.
    pub fn join(&mut self, more: Self) {
        let moved = |frame: &Taken| Taken { at: frame.at + self.arena.len(), ..*frame };
        self.list.extend(more.list.into_iter().map(|capture| {
            let frames = capture.frames.iter().map(moved).collect();
            Capture { frames, ..capture }
        }));
        self.arena.extend_from_slice(&more.arena);
        self.left.link += more.left.link;
        self.left.beyond += more.left.beyond;
        self.problems.extend(more.problems);
    }

    /// Captures that hold a frame.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is nothing to multiply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Frames of all captures: the packets of one round.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.list.iter().map(|c| c.frames.len() as u64).sum()
    }

    pub(super) fn bytes(&self, taken: &Taken) -> &[u8] {
        &self.arena[taken.at..taken.at + taken.caplen as usize]
    }

    fn take(&mut self, frame: &Frame, bytes: &[u8]) {
        let capture = &mut self.list[usize::from(frame.input)];
        if frame.dlt != ETHERNET {
            self.left.link += 1;
            return;
        }
        let before_ns = capture.frames.last().map_or(0, |f| f.after_ns);
        // Captures whose clock was set back stand still for that long.
        let gap_ns =
            capture.last_ns.map_or(0, |last| u64::try_from(frame.ts_ns.saturating_sub(last)).unwrap_or(0));
        let after_ns = before_ns + gap_ns.min(MAX_SILENCE_NS);
        if capture.frames.len() >= MAX_FRAMES
            || after_ns > MAX_NS
            || self.arena.len() + bytes.len() > MAX_BYTES
        {
            self.left.beyond += 1;
            return;
        }
        let place = Place::find(bytes);
        for net in place.addresses4(bytes).into_iter().flatten().filter_map(inside) {
            if let Err(at) = capture.nets.binary_search(&net) {
                capture.nets.insert(at, net);
            }
        }
        capture.last_ns = Some(capture.last_ns.map_or(frame.ts_ns, |last| last.max(frame.ts_ns)));
        capture.frames.push(Taken {
            at: self.arena.len(),
            caplen: frame.caplen,
            wirelen: frame.wirelen,
            after_ns,
            place,
        });
        self.arena.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Inputs;

    /// A capture with a frame of 14 bytes at each of these seconds.
    fn capture(link: u32, seconds: &[u32]) -> Captures {
        let mut file = Vec::new();
        for word in [0xA1B2_C3D4, 0x0004_0002, 0, 0, 262_144, link] {
            file.extend(u32::to_le_bytes(word));
        }
        for &s in seconds {
            for word in [s, 0, 14, 60] {
                file.extend(u32::to_le_bytes(word));
            }
            file.extend([0xFF; 14]);
        }
        let source = Inputs::from_stream("made", Box::new(std::io::Cursor::new(file)), &Options::default());
        Captures::read(&mut source.expect("no filter"))
    }

    fn seconds(captures: &Captures) -> Vec<u64> {
        captures.list[0].frames.iter().map(|f| f.after_ns / 1_000_000_000).collect()
    }

    #[test]
    fn gaps_stay_but_for_long_silences_and_steps_back() {
        assert_eq!(seconds(&capture(1, &[100, 101, 111, 5_000, 5_001])), [0, 1, 11, 36, 37]);
        assert_eq!(seconds(&capture(1, &[100, 90, 95, 101])), [0, 0, 0, 1]);
    }

    #[test]
    fn a_capture_ends_after_300_seconds_and_what_is_behind_is_counted() {
        let every_20: Vec<u32> = (0..20).map(|i| 1_000 + i * 20).collect();
        let captures = capture(1, &every_20);
        assert_eq!(seconds(&captures).last(), Some(&300));
        assert_eq!((captures.frames(), captures.left), (16, Left { link: 0, beyond: 4 }));
    }

    #[test]
    fn frames_that_are_not_ethernet_are_counted_and_a_capture_without_others_is_none() {
        let captures = capture(101, &[1, 2]);
        assert!(captures.is_empty());
        assert_eq!(captures.left, Left { link: 2, beyond: 0 });
    }
}
