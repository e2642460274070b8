//! The thread that reads a stream, decompresses it where it is compressed, and cuts it into chunks.
//!
//! In: a pipe or a mapped file. Out: [`Item`]s in a bounded channel; the buffers of chunks come back and are
//! filled again. Of a pipe every read is passed on at once, so a live capture is seen as it happens; of a
//! file chunks are filled.

use std::{
    io::{self, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::{
    decompress::{compression, decoder},
    info::Compression,
    problem::ProblemKind,
    region::Chunk,
};

/// Chunks that wait between the threads; with the one being filled and the one being read, four exist.
const CHUNKS_WAITING: usize = 2;

/// Bytes of the first chunk, for small files and a quick start, and of the smallest when many files are open
/// at once.
const SMALL_CHUNK: usize = 64 << 10;

/// Bytes of the chunks that follow.
const LARGE_CHUNK: usize = 1 << 20;

/// Bytes of all chunks of all streams open at once, as long as they are at most 64.
const CHUNK_BUDGET: usize = 16 << 20;

/// Part of a chunk kept free for the tail of the chunk before: 64 KiB of the large ones, more than most
/// frames have.
const HEADROOM_SHARE: usize = 16;

/// Bytes of a compressed stream read at once.
const READ_BUFFER: usize = 64 << 10;

/// What the thread sends.
pub(super) enum Item {
    /// The compression of the stream, first of all.
    Compression(Compression),
    /// The next bytes of the capture.
    Chunk(Chunk),
    /// Nothing follows, because the stream cannot be read.
    Failed(ProblemKind, String),
    /// Nothing follows.
    End,
}

/// Streams open at once, which share [`CHUNK_BUDGET`].
pub(super) type OpenStreams = Arc<AtomicUsize>;

/// Reads `input` on a thread of its own; `live` passes on what every single read gives.
///
/// Returns the items, and the bytes read of `input` so far.
///
/// # Errors
/// When the system has no more threads.
pub(super) fn spawn(
    input: Box<dyn Read + Send>,
    live: bool,
    open: OpenStreams,
) -> io::Result<(Receiver<Item>, Arc<AtomicU64>)> {
    let (items, received) = bounded(CHUNKS_WAITING);
    let (home, returned) = bounded(CHUNKS_WAITING + 2);
    let taken = Arc::new(AtomicU64::new(0));
    let failed = Arc::new(AtomicBool::new(false));
    let tap = Tap { input, taken: Arc::clone(&taken), failed: Arc::clone(&failed) };
    open.fetch_add(1, Ordering::Relaxed);
    let filler = Filler { items, home, returned, open, live, buffer: Vec::new(), filled: 0, large: false };
    thread::Builder::new().name("capture-stream".into()).spawn(move || filler.run(tap, &failed))?;
    Ok((received, taken))
}

/// Fills chunks and sends them.
struct Filler {
    items: Sender<Item>,
    home: Sender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    open: OpenStreams,
    live: bool,
    /// The chunk being filled: bytes up to `filled`, those before the headroom unused; empty if there is
    /// none.
    buffer: Vec<u8>,
    filled: usize,
    large: bool,
}

/// Why the thread stops.
enum Stop {
    /// Nobody listens any more.
    Unheard,
    Failed(ProblemKind, String),
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Filler {
    fn run(mut self, tap: Tap, input_failed: &AtomicBool) {
        let done = self.read(tap, input_failed).and_then(|()| self.send());
        let last = match done {
            Ok(()) => Item::End,
            Err(Stop::Unheard) => return,
            Err(Stop::Failed(kind, detail)) => {
                // What was read before the failure is still good.
                if self.send().is_err() {
                    return;
                }
                Item::Failed(kind, detail)
            }
        };
        let _ = self.items.send(last);
    }

    fn read(&mut self, mut tap: Tap, input_failed: &AtomicBool) -> Result<(), Stop> {
        let mut magic = [0; 4];
        let mut have = 0;
        while have < magic.len() {
            match tap.read(&mut magic[have..]) {
                Ok(0) => break,
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error, Compression::None, true)),
            }
        }
        let compression = compression(&magic[..have]);
        self.items.send(Item::Compression(compression)).map_err(|_| Stop::Unheard)?;
        let input = magic[..have].chain(tap);
        let explain = |error: &io::Error| failed(error, compression, input_failed.load(Ordering::Relaxed));
        if compression == Compression::None {
            // Without a buffer between: chunks are large enough to be read into.
            let mut input = input;
            return self.pump(&mut input, explain);
        }
        let mut decoded = decoder(compression, BufReader::with_capacity(READ_BUFFER, input))
            .map_err(|error| explain(&error))?;
        self.pump(&mut decoded, explain)
    }

    /// Sends all that can be read.
    fn pump(&mut self, from: &mut dyn Read, explain: impl Fn(&io::Error) -> Stop) -> Result<(), Stop> {
        loop {
            if self.buffer.is_empty() {
                self.begin();
            }
            match from.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    self.filled += read;
                    if self.live || self.filled == self.buffer.len() {
                        self.send()?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(explain(&error)),
            }
        }
    }

    /// Takes a buffer that came back, or a new one.
    fn begin(&mut self) {
        let fair = CHUNK_BUDGET / (CHUNKS_WAITING + 2) / self.open.load(Ordering::Relaxed).max(1);
        let size = if self.large { fair.clamp(SMALL_CHUNK, LARGE_CHUNK) } else { SMALL_CHUNK };
        self.buffer = match self.returned.try_iter().find(|buffer| buffer.len() >= size) {
            Some(buffer) => buffer,
            None => vec![0; size],
        };
        self.filled = self.buffer.len() / HEADROOM_SHARE;
    }

    /// Sends the chunk being filled, if there is anything in it.
    fn send(&mut self) -> Result<(), Stop> {
        let headroom = self.buffer.len() / HEADROOM_SHARE;
        if self.filled == headroom {
            return Ok(());
        }
        // Small reads of a pipe stay in small buffers.
        self.large |= self.filled == self.buffer.len();
        let chunk = Chunk::new(std::mem::take(&mut self.buffer), headroom, self.filled, self.home.clone());
        self.filled = 0;
        self.items.send(Item::Chunk(chunk)).map_err(|_| Stop::Unheard)
    }
}

fn failed(error: &io::Error, compression: Compression, input_failed: bool) -> Stop {
    let name = match compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::None => "",
    };
    match error.kind() {
        _ if input_failed || compression == Compression::None => {
            Stop::Failed(ProblemKind::Unreadable, format!("reading failed: {error}"))
        }
        io::ErrorKind::UnexpectedEof => {
            Stop::Failed(ProblemKind::Truncated, format!("the {name} data ends too early"))
        }
        _ => Stop::Failed(ProblemKind::Corrupt, format!("the {name} data is corrupt: {error}")),
    }
}

/// Counts what is read, and remembers whether it was reading that failed or what was made of it.
struct Tap {
    input: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl Read for Tap {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.input.read(into) {
            Ok(read) => {
                self.taken.fetch_add(read as u64, Ordering::Relaxed);
                Ok(read)
            }
            Err(error) => {
                let interrupted = error.kind() == io::ErrorKind::Interrupted;
                self.failed.store(!interrupted, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}
