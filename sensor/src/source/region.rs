//! Memory that frames lie in.
//!
//! In: a mapped file or a chunk of a stream. Out: [`Region`], a cheap handle that keeps the bytes where they
//! are until the last batch that points into them is gone; a chunk's buffer then goes back to the thread that
//! fills chunks.

use std::sync::Arc;

use crossbeam::channel::Sender;
use memmap2::Mmap;

/// Bytes that the frames of one batch point into; cheap to clone, and free to go to other threads.
#[derive(Clone, Default)]
pub struct Region(Arc<Bytes>);

#[derive(Default)]
enum Bytes {
    #[default]
    None,
    Map(Mmap),
    Chunk(Chunk),
    Owned(Vec<u8>),
    #[cfg(target_os = "linux")]
    Ring(super::live::Block),
}

impl Region {
    /// All bytes of the region.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match &*self.0 {
            Bytes::None => &[],
            Bytes::Map(map) => map,
            Bytes::Chunk(chunk) => chunk.bytes(),
            Bytes::Owned(bytes) => bytes,
            #[cfg(target_os = "linux")]
            Bytes::Ring(block) => block.bytes(),
        }
    }

    /// Whether both are handles to the same memory.
    #[inline]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The mapping, if the region is one.
    pub(super) fn map(&self) -> Option<&Mmap> {
        match &*self.0 {
            Bytes::Map(map) => Some(map),
            _ => None,
        }
    }
}

impl From<Vec<u8>> for Region {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Bytes::Owned(bytes)))
    }
}

impl From<Mmap> for Region {
    fn from(map: Mmap) -> Self {
        Self(Arc::new(Bytes::Map(map)))
    }
}

#[cfg(target_os = "linux")]
impl From<super::live::Block> for Region {
    fn from(block: super::live::Block) -> Self {
        Self(Arc::new(Bytes::Ring(block)))
    }
}

impl From<Chunk> for Region {
    fn from(chunk: Chunk) -> Self {
        Self(Arc::new(Bytes::Chunk(chunk)))
    }
}

/// A piece of a stream in a buffer that has room before it for the tail of the piece before.
pub(super) struct Chunk {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    home: Sender<Vec<u8>>,
}

impl Chunk {
    /// The bytes `start..end` of a buffer that returns to `home` when the chunk is dropped.
    ///
    /// # Panics
    /// When the range is not inside the buffer.
    pub(super) fn new(buffer: Vec<u8>, start: usize, end: usize, home: Sender<Vec<u8>>) -> Self {
        assert!(start <= end && end <= buffer.len());
        Self { buffer, start, end, home }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Puts the unread tail of the chunk before in front, in the headroom where it fits.
    pub(super) fn prepend(&mut self, tail: &[u8]) {
        if tail.len() <= self.start {
            let start = self.start - tail.len();
            self.buffer[start..self.start].copy_from_slice(tail);
            self.start = start;
        } else {
            let mut joined = Vec::with_capacity(tail.len() + self.bytes().len());
            joined.extend_from_slice(tail);
            joined.extend_from_slice(self.bytes());
            let end = joined.len();
            let small = std::mem::replace(&mut self.buffer, joined);
            let _ = self.home.try_send(small);
            (self.start, self.end) = (0, end);
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let _ = self.home.try_send(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam::channel::bounded;

    use super::*;

    #[test]
    fn a_tail_goes_into_the_headroom_or_into_a_larger_buffer() {
        let (home, returned) = bounded(4);
        let mut chunk = Chunk::new(vec![0, 0, 3, 4, 0], 2, 4, home.clone());
        chunk.prepend(&[2]);
        assert_eq!(chunk.bytes(), [2, 3, 4]);
        assert!(returned.is_empty(), "the tail fits, so the buffer must not change");
        chunk.prepend(&[9, 0, 1]);
        assert_eq!(chunk.bytes(), [9, 0, 1, 2, 3, 4]);
        assert_eq!(returned.try_recv().unwrap().len(), 5);
    }

    #[test]
    fn a_buffer_returns_when_the_last_batch_that_points_into_it_is_gone() {
        let (home, returned) = bounded(1);
        let region = Region::from(Chunk::new(vec![7; 8], 0, 8, home));
        let held = region.clone();
        drop(region);
        assert_eq!(held.bytes(), [7; 8]);
        assert!(returned.is_empty());
        drop(held);
        assert_eq!(returned.try_recv().unwrap(), [7; 8]);
    }
}
