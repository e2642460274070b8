//! What is known of a capture file besides its frames.
//!
//! In: file headers, interface descriptions, comments and statistics as the parsers meet them. Out:
//! [`FileInfo`]. Text from a file is bounded, whatever the file claims.

use std::fmt;

use super::Frame;

/// Interfaces described per file; frames of later ones still carry their number.
const INTERFACES_KEPT: usize = 1024;

/// Comments kept per file, of the file and of packets each.
const COMMENTS_KEPT: usize = 1000;

/// Bytes kept of one text (name, comment).
const TEXT_KEPT: usize = 512;

/// One input and what it turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileInfo {
    /// Path as given or as found in a directory; `-` is standard input.
    pub path: String,
    /// Bytes on disk, or `None` for a pipe.
    pub size: Option<u64>,
    /// Format, known from the start except for pipes.
    pub format: Format,
    /// Frames read so far, filtered ones included.
    pub packets: u64,
    /// Captured bytes of these frames.
    pub bytes: u64,
    /// Frames that the filter rejected.
    pub filtered: u64,
    /// Interfaces met so far: one for classic pcap, at most 1024 for pcapng.
    pub interfaces: Vec<Interface>,
    /// Comments of the file (pcapng section headers), at most 1000.
    pub comments: Vec<String>,
    /// Comments of packets with their numbers, at most the first 1000.
    pub packet_comments: Vec<(u64, String)>,
    /// Program that wrote the capture, if it says so (pcapng).
    pub application: Option<String>,
    /// Packets that the capturing system lost, if the capture says so (pcapng interface statistics).
    pub dropped: Option<u64>,
    /// Frames whose timestamp cannot be true.
    pub absurd_timestamps: u64,
    /// Problems and notes of this file, including those beyond the share that is listed.
    pub problems: u64,
}

/// One interface that packets of a file were captured on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Name, empty where the format has none.
    pub name: String,
    /// LINKTYPE_ number.
    pub dlt: u16,
    /// Bytes captured per packet at most; 0 means no limit.
    pub snaplen: u32,
    /// Unit of the timestamps as the file gives it.
    pub resolution: Resolution,
    /// The interface's first comment.
    pub comment: String,
    /// Packets that the interface or the operating system dropped, by its last statistics.
    pub dropped: Option<u64>,
}

/// Unit of timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// 10^-n seconds.
    Decimal(u8),
    /// 2^-n seconds.
    Binary(u8),
}

impl Default for Resolution {
    /// Microseconds, the default of pcapng.
    fn default() -> Self {
        Self::Decimal(6)
    }
}

/// What the frames are wrapped in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// The capture format.
    pub container: Container,
    /// The compression around it.
    pub compression: Compression,
}

/// A capture file format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Container {
    /// Not read yet.
    #[default]
    Unknown,
    /// Classic pcap.
    Pcap {
        /// Timestamps in nanoseconds, else microseconds.
        nanos: bool,
        /// Written on a big-endian machine.
        big_endian: bool,
        /// With the longer record header of a patched libpcap of the 1990s.
        modified: bool,
    },
    /// pcapng; endianness and units belong to its sections and interfaces.
    PcapNg,
}

/// Compression around a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// None.
    #[default]
    None,
    /// gzip, one or several members (RFC 1952).
    Gzip,
    /// Zstandard, one or several frames (RFC 8878).
    Zstd,
}

impl FileInfo {
    /// Counts the frames of a batch, before any filter.
    pub(super) fn count(&mut self, frames: &[Frame]) {
        self.packets += frames.len() as u64;
        self.bytes += frames.iter().map(|frame| u64::from(frame.caplen)).sum::<u64>();
    }

    /// Adds an interface unless there are too many.
    pub(super) fn add_interface(&mut self, interface: Interface) {
        if self.interfaces.len() < INTERFACES_KEPT {
            self.interfaces.push(interface);
        }
    }

    /// Adds a comment of the file.
    pub(super) fn add_comment(&mut self, comment: &[u8]) {
        if self.comments.len() < COMMENTS_KEPT {
            self.comments.push(text(comment));
        }
    }

    /// Adds a comment of packet `number`.
    pub(super) fn add_packet_comment(&mut self, number: u64, comment: &[u8]) {
        if self.packet_comments.len() < COMMENTS_KEPT {
            self.packet_comments.push((number, text(comment)));
        }
    }

    /// Takes the latest drop counter of interface `index`, and sums them up.
    pub(super) fn set_dropped(&mut self, index: usize, dropped: u64) {
        if let Some(interface) = self.interfaces.get_mut(index) {
            interface.dropped = Some(dropped);
            self.dropped =
                Some(self.interfaces.iter().filter_map(|i| i.dropped).fold(0, u64::saturating_add));
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.container {
            Container::Unknown => f.write_str("unknown")?,
            Container::Pcap { nanos, big_endian, modified } => {
                f.write_str(if modified { "modified pcap" } else { "pcap" })?;
                f.write_str(if nanos { " ns" } else { " µs" })?;
                f.write_str(if big_endian { " big-endian" } else { " little-endian" })?;
            }
            Container::PcapNg => f.write_str("pcapng")?,
        }
        match self.compression {
            Compression::None => Ok(()),
            Compression::Gzip => f.write_str(", gzip"),
            Compression::Zstd => f.write_str(", zstd"),
        }
    }
}

/// Text from a file: valid UTF-8, without the NULs that some writers count in, and not endless.
pub(super) fn text(bytes: &[u8]) -> String {
    let kept = &bytes[..bytes.len().min(TEXT_KEPT)];
    let text = String::from_utf8_lossy(kept);
    text.trim_end_matches('\0').trim_end_matches('\u{fffd}').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_file_is_bounded_and_valid() {
        assert_eq!(text(b"eth0\0"), "eth0");
        assert_eq!(text(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(text(&[b'x'; 100_000]).len(), TEXT_KEPT);
        let cut_inside_a_character = "ä".repeat(TEXT_KEPT).into_bytes();
        assert_eq!(text(&cut_inside_a_character[1..]).chars().last(), Some('ä'));
    }

    #[test]
    fn comments_and_interfaces_are_bounded() {
        let mut info = FileInfo::default();
        for i in 0..5000 {
            info.add_interface(Interface::default());
            info.add_comment(b"c");
            info.add_packet_comment(i, b"c");
        }
        assert_eq!(info.interfaces.len(), INTERFACES_KEPT);
        assert_eq!((info.comments.len(), info.packet_comments.len()), (COMMENTS_KEPT, COMMENTS_KEPT));
    }

    #[test]
    fn drops_are_the_sum_of_the_latest_counters() {
        let mut info = FileInfo::default();
        info.add_interface(Interface::default());
        info.add_interface(Interface::default());
        assert_eq!(info.dropped, None);
        info.set_dropped(0, 5);
        info.set_dropped(1, u64::MAX);
        info.set_dropped(1, 10);
        info.set_dropped(0, 7);
        info.set_dropped(9, 100);
        assert_eq!(info.dropped, Some(17));
    }

    #[test]
    fn a_format_is_told_in_words() {
        let container = Container::Pcap { nanos: true, big_endian: true, modified: false };
        assert_eq!(
            Format { container, compression: Compression::Gzip }.to_string(),
            "pcap ns big-endian, gzip"
        );
        let format = Format { container: Container::PcapNg, compression: Compression::None };
        assert_eq!(format.to_string(), "pcapng");
    }
}
