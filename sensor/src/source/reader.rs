//! One input, from its first byte to its last.
//!
//! In: a mapped file or a stream. Out: batches of its frames, in file order and filtered; what is wrong with
//! it goes to the [`Ledger`].

use std::{fs::File, io::Read, path::PathBuf};

use super::{
    Batch, FileInfo, Problem,
    chunks::OpenStreams,
    filter::Filter,
    info::Compression,
    mapped::{Mapped, MappedRead},
    parser::{Parser, Step, Window},
    problem::{Log, ProblemKind},
    region::Region,
    stream::{More, Stream},
};

/// What all inputs of a timeline write to.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) files: Vec<FileInfo>,
    pub(super) problems: Vec<Problem>,
    pub(super) filter: Option<Filter>,
    pub(super) open_streams: OpenStreams,
    pub(super) finished_files: u64,
    /// Bytes of finished files as they lie on disk.
    pub(super) finished_bytes: u64,
}

impl Ledger {
    /// Counts an input that nothing follows from.
    pub(super) fn finish(&mut self, input: u16) {
        self.finished_files += 1;
        self.finished_bytes += self.files[usize::from(input)].size.unwrap_or(0);
    }

    /// The log of one file.
    pub(super) fn log(&mut self, input: u16) -> Log<'_> {
        Log { input, info: &mut self.files[usize::from(input)], problems: &mut self.problems }
    }
}

/// Where the bytes of an input come from.
pub(super) enum Origin {
    /// A file that is mapped already.
    Mapped(Mapped),
    /// A file to be mapped when its turn comes.
    Path(PathBuf),
    /// A pipe, a device, or a file that cannot be mapped.
    Stream(Box<dyn Read + Send>),
}

/// An input that is being read.
pub(super) struct Reader {
    input: u16,
    feed: Feed,
    at: usize,
    parser: Parser,
    ended: bool,
}

enum Feed {
    Mapped(Mapped),
    Stream(Stream),
}

impl Reader {
    /// Begins to read; problems with it are logged, and `None` returned.
    pub(super) fn new(input: u16, origin: Origin, ledger: &mut Ledger) -> Option<Self> {
        let compression = ledger.files[usize::from(input)].format.compression;
        let open = OpenStreams::clone(&ledger.open_streams);
        let feed = match origin {
            Origin::Path(path) => {
                File::open(path).and_then(|file| Mapped::new(&file)).map(|mapped| (mapped, open))
            }
            Origin::Mapped(mapped) => Ok((mapped, open)),
            Origin::Stream(read) => {
                return Self::with(input, Stream::new(read, true, open).map(Feed::Stream), ledger);
            }
        };
        let feed = feed.and_then(|(mapped, open)| match compression {
            Compression::None => Ok(Feed::Mapped(mapped)),
            _ => Stream::new(Box::new(MappedRead::from(mapped)), false, open).map(Feed::Stream),
        });
        Self::with(input, feed, ledger)
    }

    fn with(input: u16, feed: std::io::Result<Feed>, ledger: &mut Ledger) -> Option<Self> {
        match feed {
            Ok(feed) => Some(Self { input, feed, at: 0, parser: Parser::Start, ended: false }),
            Err(error) => {
                ledger.log(input).problem(ProblemKind::Unreadable, None, format!("cannot be read: {error}"));
                None
            }
        }
    }

    /// Index of the input.
    pub(super) fn input(&self) -> u16 {
        self.input
    }

    /// Bytes read of the file as it lies on disk.
    pub(super) fn position(&self) -> u64 {
        match &self.feed {
            Feed::Mapped(_) => self.at as u64,
            Feed::Stream(stream) => stream.taken(),
        }
    }

    /// Replaces the batch by the next frames, at most `limit`; empty if the filter rejects all of them.
    ///
    /// Returns whether more may follow; when not, the batch is empty.
    pub(super) fn next_batch(&mut self, batch: &mut Batch, limit: usize, ledger: &mut Ledger) -> bool {
        batch.frames.clear();
        while !self.ended {
            let window = self.feed.window();
            let mut log = ledger.log(self.input);
            let step = self.parser.read(&window, &mut self.at, &mut batch.frames, limit, &mut log);
            self.ended = step == Step::End;
            if !batch.frames.is_empty() {
                log.info.count(&batch.frames);
                if !batch.region.is(self.feed.region()) {
                    batch.region = self.feed.region().clone();
                }
                if ledger.filter.is_some() {
                    self.filter(batch, ledger);
                }
                return true;
            }
            if step == Step::NeedMore {
                self.more(ledger);
            }
        }
        false
    }

    /// Gets a window that reaches further, or ends.
    fn more(&mut self, ledger: &mut Ledger) {
        let at = self.feed.window().base + self.feed.window().bytes.len() as u64;
        match &mut self.feed {
            Feed::Mapped(mapped) => {
                if let Err(error) = mapped.more() {
                    let detail =
                        format!("the file became shorter while it was read, or its disk fails ({error})");
                    ledger.log(self.input).problem(ProblemKind::Truncated, at, detail);
                    self.ended = true;
                }
            }
            Feed::Stream(stream) => match stream.more(&mut self.at) {
                More::Window => {}
                More::Compression(compression) => {
                    ledger.log(self.input).info.format.compression = compression;
                }
                More::Failed(kind, detail) => {
                    ledger.log(self.input).problem(kind, (at > 0).then_some(at), detail);
                    self.ended = true;
                }
            },
        }
    }

    fn filter(&self, batch: &mut Batch, ledger: &mut Ledger) {
        let Ledger { files, problems, filter: Some(filter), .. } = ledger else { return };
        let mut log = Log { input: self.input, info: &mut files[usize::from(self.input)], problems };
        let bytes = batch.region.bytes();
        let before = batch.frames.len();
        batch.frames.retain(|frame| filter.accepts(frame, frame.of(bytes), &mut log));
        log.info.filtered += (before - batch.frames.len()) as u64;
    }
}

impl Feed {
    fn window(&self) -> Window<'_> {
        match self {
            Self::Mapped(mapped) => Window { bytes: mapped.bytes(), base: 0, last: mapped.is_whole() },
            Self::Stream(stream) => {
                Window { bytes: stream.region().bytes(), base: stream.base(), last: stream.is_last() }
            }
        }
    }

    fn region(&self) -> &Region {
        match self {
            Self::Mapped(mapped) => mapped.region(),
            Self::Stream(stream) => stream.region(),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::{
        Inputs, Options, ProblemKind, Source, Status,
        fixtures::{Order, Reading, THEN, pcap},
    };
    use super::Batch;

    #[test]
    fn a_file_that_shrinks_while_it_is_read_keeps_what_was_read_and_says_where_it_ends() {
        let bytes = [7; 1000];
        let records: Vec<_> = (0..1000).map(|i| (THEN, i, &bytes[..])).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pcap(Order::Little, 0xa1b2_c3d4, 1, &records)).unwrap();
        let mut source = Inputs::open(&[file.path().into()], &Options::default()).unwrap();
        let mut batch = Batch::default();
        assert_eq!(source.next_batch(&mut batch, 10), Status::More);
        file.as_file().set_len(64 << 10).unwrap();
        let reading = Reading::new(source, 10);
        assert_eq!(reading.frames.len() + 10, 64, "the frames of the first 64 KiB");
        assert_eq!(reading.kinds(), [ProblemKind::Truncated]);
        assert_eq!(reading.problems()[0].at, Some(64 << 10));
    }
}
