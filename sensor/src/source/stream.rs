//! A stream of chunks, seen as one window that moves on.
//!
//! In: the chunks of [`super::decompress`]. Out: the current chunk with the unread tail of the one before in front, so that a
//! frame never straddles two windows.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crossbeam::channel::Receiver;

use super::{
    decompress::{self, Item, OpenStreams},
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
    /// See [`decompress::spawn`].
    pub(super) fn new(input: Box<dyn Read + Send>, live: bool, open: OpenStreams) -> io::Result<Self> {
        let (items, taken) = decompress::spawn(input, live, open)?;
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
