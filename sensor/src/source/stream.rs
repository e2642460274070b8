//! A stream of chunks, seen as one window that moves on.
//!
//! In: the chunks of [`super::chunks`]. Out: the current chunk with the unread tail of the one before in
//! front, so that a frame never straddles two windows.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crossbeam::channel::Receiver;

use super::{
    chunks::{self, Item, OpenStreams},
    info::Compression,
    problem::ProblemKind,
    region::Region,
};

/// A capture that comes in chunks.
pub(super) struct Stream {
    items: Receiver<Item>,
    taken: Arc<AtomicU64>,
    region: Region,
    base: u64,
    last: bool,
}

/// What asking for more gave.
pub(super) enum More {
    /// The window changed: it has more bytes, or is the last now.
    Window,
    Compression(Compression),
    /// Nothing follows, because the stream cannot be read.
    Failed(ProblemKind, String),
}

impl Stream {
    /// See [`chunks::spawn`].
    pub(super) fn new(input: Box<dyn Read + Send>, live: bool, open: OpenStreams) -> io::Result<Self> {
        let (items, taken) = chunks::spawn(input, live, open)?;
        Ok(Self { items, taken, region: Region::default(), base: 0, last: false })
    }

    /// The current chunk.
    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    /// Offset of the chunk's first byte in the capture.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Whether no chunk follows.
    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// Bytes read of what the stream comes from.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Waits for the next chunk and puts the current one's bytes from `at` on in front of it; `at` becomes 0.
    pub(super) fn more(&mut self, at: &mut usize) -> More {
        match self.items.recv() {
            Ok(Item::Compression(compression)) => More::Compression(compression),
            Ok(Item::Chunk(mut chunk)) => {
                chunk.prepend(&self.region.bytes()[*at..]);
                self.base += *at as u64;
                *at = 0;
                self.region = Region::from(chunk);
                More::Window
            }
            Ok(Item::End) => {
                self.last = true;
                More::Window
            }
            Ok(Item::Failed(kind, detail)) => More::Failed(kind, detail),
            Err(_) => More::Failed(ProblemKind::Unreadable, "reading stopped".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use super::{
        super::{
            Batch, Inputs, Options, Source, Status,
            fixtures::{Order, Reading, THEN, gzip, pcap, pcap_at, pcapng, zstd},
        },
        *,
    };

    fn piped() -> (Inputs, io::PipeWriter) {
        let (reader, writer) = io::pipe().unwrap();
        (Inputs::from_stream("-", Box::new(reader), &Options::default()).unwrap(), writer)
    }

    /// Frames of one batch, by their only byte.
    fn batch_of(source: &mut Inputs, batch: &mut Batch) -> Vec<u8> {
        assert_eq!(source.next_batch(batch, 1000), Status::More);
        batch.iter().map(|(_, bytes)| bytes[0]).collect()
    }

    #[test]
    fn packets_of_a_pipe_are_handed_out_as_they_arrive() {
        for file in [pcap_at(&[1, 2, 3]), pcapng(Order::Big, &[&[1], &[2], &[3]])] {
            let (mut source, mut pipe) = piped();
            let mut batch = Batch::default();
            let record = if file[0] == 0x0a { 36 } else { 17 };
            let first = file.len() - 2 * record;
            // Each write waits for the packet before: were anything held back, this would wait for ever.
            pipe.write_all(&file[..first]).unwrap();
            assert_eq!(batch_of(&mut source, &mut batch), [1]);
            pipe.write_all(&file[first..first + record + 5]).unwrap();
            assert_eq!(batch_of(&mut source, &mut batch), [2]);
            pipe.write_all(&file[first + record + 5..]).unwrap();
            assert_eq!(batch_of(&mut source, &mut batch), [3]);
            drop(pipe);
            assert_eq!(source.next_batch(&mut batch, 1000), Status::End);
            assert_eq!(source.problems(), []);
            assert_eq!(source.progress().bytes_total, None);
        }
    }

    #[test]
    fn packets_of_a_compressed_pipe_are_handed_out_as_they_are_flushed() {
        let file = pcap_at(&[1, 2]);
        let (mut source, pipe) = piped();
        let mut batch = Batch::default();
        let mut encoder = flate2::write::GzEncoder::new(pipe, flate2::Compression::fast());
        encoder.write_all(&file[..41]).unwrap();
        encoder.flush().unwrap();
        assert_eq!(batch_of(&mut source, &mut batch), [1]);
        encoder.write_all(&file[41..]).unwrap();
        drop(encoder.finish().unwrap());
        assert_eq!(batch_of(&mut source, &mut batch), [2]);
        assert_eq!(source.next_batch(&mut batch, 1000), Status::End);
        assert_eq!(source.files()[0].format.to_string(), "pcap µs little-endian, gzip");
    }

    #[test]
    fn a_pipe_that_ends_before_anything_is_no_capture() {
        let (source, pipe) = piped();
        drop(pipe);
        assert_eq!(Reading::new(source, 1).kinds(), [ProblemKind::NotACapture]);
    }

    #[test]
    fn a_reader_that_nobody_listens_to_ends_its_thread() {
        let (source, mut pipe) = piped();
        drop(source);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while pipe.write_all(&pcap_at(&[1])).is_ok() {
            assert!(std::time::Instant::now() < deadline, "the thread still reads");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_pipe_that_breaks_is_unreadable_from_there_on() {
        struct Breaks(Vec<u8>);
        impl Read for Breaks {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let count = self.0.len().min(into.len());
                into[..count].copy_from_slice(&self.0[..count]);
                self.0.drain(..count);
                if count == 0 { Err(io::Error::other("unplugged")) } else { Ok(count) }
            }
        }
        for bytes in [pcap_at(&[1, 2]), gzip(&pcap_at(&[1, 2]))[..40].to_vec()] {
            let stream = Box::new(Breaks(bytes));
            let reading = Reading::new(Inputs::from_stream("-", stream, &Options::default()).unwrap(), 1000);
            assert_eq!(reading.kinds(), [ProblemKind::Unreadable]);
            assert!(reading.problems()[0].detail.contains("unplugged"));
        }
    }

    /// Frames of all sizes, 3 MB, more than two large chunks.
    fn large() -> Vec<u8> {
        let bytes: Vec<u8> = (0..1500u32).map(|i| (i * i % 253) as u8).collect();
        let records: Vec<_> = (0..4000).map(|i| (THEN, i as u32, &bytes[..i * 7 % 1500])).collect();
        pcap(Order::Little, 0xa1b2_c3d4, 1, &records)
    }

    #[test]
    fn frames_that_straddle_chunks_come_out_whole() {
        let file = large();
        let plain = Reading::of(&file);
        assert_eq!(plain.frames.len(), 4000);
        for compressed in [gzip(&file), zstd(&file)] {
            let reading = Reading::of(&compressed);
            assert!(reading.bytes() == plain.bytes());
            assert_eq!(reading.times(), plain.times());
            assert_eq!(reading.kinds(), []);
        }
    }

    #[test]
    fn a_frame_larger_than_a_chunk_comes_out_whole() {
        let bytes = vec![9; 256 << 10];
        let file = pcap(Order::Big, 0xa1b2_c3d4, 1, &[(THEN, 0, &bytes), (THEN, 0, b"x"), (THEN, 0, &bytes)]);
        let reading = Reading::of(&zstd(&file));
        assert!(reading.bytes() == [&bytes[..], b"x", &bytes]);
    }

    #[test]
    fn several_members_and_frames_are_one_capture() {
        let file = large();
        let (one, rest) = file.split_at(100_003);
        let (two, three) = rest.split_at(1);
        let skippable = [&[0x57, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"12345"].concat();
        for compressed in [
            [gzip(one), gzip(two), gzip(three)].concat(),
            [gzip(one), gzip(two), gzip(three), vec![0; 1000]].concat(),
            [zstd(one), skippable.clone(), zstd(two), zstd(three)].concat(),
            [skippable, zstd(&file)].concat(),
        ] {
            let reading = Reading::of(&compressed);
            assert_eq!((reading.frames.len(), reading.kinds()), (4000, vec![]));
        }
    }

    #[test]
    fn compressed_data_cut_at_any_byte_keeps_the_packets_before() {
        let file = pcap_at(&[1, 2, 3, 4, 5, 6, 7, 8]);
        for (compressed, whole) in [(gzip(&file), 8), (zstd(&file), 8)] {
            let mut before = 0;
            for cut in 1..compressed.len() {
                let reading = Reading::of(&compressed[..cut]);
                assert_eq!(reading.kinds().len(), 1, "cut at {cut}: {:?}", reading.problems());
                let kind = reading.kinds()[0];
                assert!(
                    kind == ProblemKind::Truncated || (cut < 4 && kind == ProblemKind::NotACapture),
                    "cut at {cut}: {kind:?}"
                );
                assert!(reading.frames.len() >= before, "cut at {cut}: fewer packets than in less");
                before = reading.frames.len();
            }
            assert_eq!(Reading::of(&compressed).frames.len(), whole);
        }
    }

    #[test]
    fn of_two_members_the_second_of_which_is_cut_the_first_is_whole() {
        for compress in [gzip, zstd] {
            let second = compress(&pcap_at(&[4])[24..]);
            let cut = [compress(&pcap_at(&[1, 2, 3])), second[..second.len() - 6].to_vec()].concat();
            let reading = Reading::of(&cut);
            assert!(reading.bytes().starts_with(&[&[1], &[2], &[3]]));
            assert_eq!(reading.kinds(), [ProblemKind::Truncated]);
        }
    }

    #[test]
    fn corrupt_compressed_data_keeps_the_packets_before_and_says_so() {
        let file = large();
        for compress in [gzip, zstd] {
            let mut bytes = compress(&file);
            let middle = bytes.len() / 2;
            for byte in &mut bytes[middle..middle + 64] {
                *byte ^= 0xa5;
            }
            let reading = Reading::of(&bytes);
            assert!(reading.frames.len() < 4000);
            assert_eq!(reading.kinds().len(), 1, "{:?}", reading.problems());
            let garbage = [compress(&pcap_at(&[1, 2])), b"garbage!".to_vec()].concat();
            let reading = Reading::of(&garbage);
            assert_eq!((reading.frames.len(), reading.kinds()), (2, vec![ProblemKind::Corrupt]));
        }
    }
}
