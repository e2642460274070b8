//! One parser for whatever capture format the bytes turn out to be.
//!
//! In: a window of a capture's bytes, which grows or moves on between calls. Out: frames, and whether more bytes are
//! needed. The same parsers serve mapped files (the window is the file) and streams (the window is a chunk).

use super::{
    Frame,
    classic::{self, Classic},
    info::Container,
    pcapng::{self, Pcapng},
    problem::{Log, ProblemKind},
};

/// Most bytes a frame can have: that of tcpdump and Wireshark for all networks. What claims more is not a frame.
pub(super) const MAX_CAPLEN: u32 = 256 << 10;

/// First timestamp that cannot be true: 2200-01-01T00:00:00Z, in seconds.
pub(super) const ABSURD_FROM_SECONDS: i64 = 7_258_118_400;

/// Nanoseconds in a second.
pub(super) const NANOS: i64 = 1_000_000_000;

/// The bytes that can be parsed now.
pub(super) struct Window<'a> {
    /// The bytes; parsers keep their position in them with the caller.
    pub(super) bytes: &'a [u8],
    /// Offset of the first byte in the capture.
    pub(super) base: u64,
    /// Whether the capture ends with them.
    pub(super) last: bool,
}

/// Why a parser stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The batch is full.
    Full,
    /// What follows the position is not complete in the window; never when the window is the last.
    NeedMore,
    /// Nothing more can come out of this capture.
    End,
}

/// A parser at some position of a capture.
pub(super) enum Parser {
    Start,
    Classic(Classic),
    Pcapng(Pcapng),
}

impl Parser {
    /// Parses frames from `bytes[*at..]` of the window and moves `at` behind what was parsed, until `frames` has `limit`.
    pub(super) fn read(
        &mut self,
        window: &Window<'_>,
        at: &mut usize,
        frames: &mut Vec<Frame>,
        limit: usize,
        log: &mut Log<'_>,
    ) -> Step {
        loop {
            match self {
                Self::Start => match self.start(window, at, log) {
                    None => {}
                    Some(step) => return step,
                },
                Self::Classic(classic) => return classic.read(window, at, frames, limit, log),
                Self::Pcapng(pcapng) => return pcapng.read(window, at, frames, limit, log),
            }
        }
    }

    /// Recognises the format; `None` when there is a parser now.
    fn start(&mut self, window: &Window<'_>, at: &mut usize, log: &mut Log<'_>) -> Option<Step> {
        let rest = &window.bytes[*at..];
        match detect(rest) {
            Detected::Short if !window.last => Some(Step::NeedMore),
            Detected::Short | Detected::Unknown => {
                log.problem(ProblemKind::NotACapture, None, not_a_capture(rest));
                Some(Step::End)
            }
            Detected::Known(container) => {
                log.info.format.container = container;
                if matches!(container, Container::PcapNg) {
                    *self = Self::Pcapng(Pcapng::new(log.input));
                    return None;
                }
                let Some(header) = rest.first_chunk::<{ classic::FILE_HEADER }>() else {
                    if !window.last {
                        return Some(Step::NeedMore);
                    }
                    let have = rest.len();
                    let detail =
                        format!("ends inside the file header ({have} of {} bytes)", classic::FILE_HEADER);
                    log.problem(ProblemKind::Truncated, window.base, detail);
                    return Some(Step::End);
                };
                match Classic::new(header, log) {
                    Ok(classic) => {
                        *at += classic::FILE_HEADER;
                        *self = Self::Classic(classic);
                        None
                    }
                    Err(detail) => {
                        log.problem(ProblemKind::Corrupt, window.base, detail);
                        Some(Step::End)
                    }
                }
            }
        }
    }
}

/// What the first bytes say about the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    Known(Container),
    /// Too few bytes to say.
    Short,
    Unknown,
}

/// Recognises a capture format by its magic number.
pub(super) fn detect(bytes: &[u8]) -> Detected {
    let Some(&magic) = bytes.first_chunk::<4>() else { return Detected::Short };
    if let Some(container) = classic::container(magic) {
        return Detected::Known(container);
    }
    if magic != pcapng::SECTION_HEADER.to_be_bytes() {
        return Detected::Unknown;
    }
    // Four line-ending characters alone would make captures of some text files.
    match bytes.get(8..12) {
        Some(order) if pcapng::is_byte_order(order) => Detected::Known(Container::PcapNg),
        Some(_) => Detected::Unknown,
        None => Detected::Short,
    }
}

/// Why bytes that are not recognised are no capture, in words.
pub(super) fn not_a_capture(bytes: &[u8]) -> String {
    match bytes {
        [] => "not a capture: it is empty".into(),
        &[a, b, c, d, ..] if bytes.len() >= 12 || [a, b, c, d] != pcapng::SECTION_HEADER.to_be_bytes() => {
            format!("not a capture: it begins with {a:02x} {b:02x} {c:02x} {d:02x}; pcap and pcapng are read")
        }
        short => format!("not a capture: it has only {} bytes", short.len()),
    }
}
