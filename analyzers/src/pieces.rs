//! Bytes that come in pieces, in any order and more than once, put together.
//!
//! In: pieces with their offsets (QUIC's CRYPTO frames, DTLS fragments). Out: what is known without a hole from the first byte on. The
//! memory is bounded whatever the offsets say.

/// Bytes kept: hellos are below 4 KiB, chains of certificates below 12 KiB.
const BYTES_MAX: usize = 16_384;
/// Stretches kept apart from each other; Chrome cuts a hello into some ten.
const STRETCHES_MAX: usize = 64;

/// The pieces of one message or stream.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    /// Parts of `bytes` that have come, in order and apart.
    stretches: Vec<(usize, usize)>,
}

impl Pieces {
    /// Takes the piece that belongs at `offset`; one that would exceed the bounds is left out.
    pub fn insert(&mut self, offset: usize, piece: &[u8]) {
        let end = offset.saturating_add(piece.len());
        if end > BYTES_MAX || piece.is_empty() || self.stretches.len() >= STRETCHES_MAX {
            return;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(room) = self.bytes.get_mut(offset..end) {
            room.copy_from_slice(piece);
        }
        self.stretches.push((offset, end));
        self.stretches.sort_unstable();
        self.stretches.dedup_by(|next, before| {
            let touches = next.0 <= before.1;
            if touches {
                before.1 = before.1.max(next.1);
            }
            touches
        });
    }

    /// All bytes from the first on up to the first hole.
    #[must_use]
    pub fn known(&self) -> &[u8] {
        match self.stretches.first() {
            Some((0, end)) => self.bytes.get(..*end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_any_order_with_overlaps_make_the_whole() {
        let mut pieces = Pieces::default();
        pieces.insert(6, b"ghij");
        assert_eq!(pieces.known(), b"");
        pieces.insert(0, b"abc");
        assert_eq!(pieces.known(), b"abc");
        pieces.insert(2, b"cdefgh");
        assert_eq!(pieces.known(), b"abcdefghij");
        pieces.insert(4, b"ef");
        assert_eq!(pieces.known(), b"abcdefghij");
    }

    #[test]
    fn hostile_offsets_and_many_stretches_take_bounded_memory() {
        let mut pieces = Pieces::default();
        pieces.insert(usize::MAX, b"x");
        pieces.insert(BYTES_MAX, b"x");
        assert_eq!(pieces.bytes.capacity(), 0);
        for i in 0..1000 {
            pieces.insert(i * 2 + 1, b"x");
        }
        assert_eq!(pieces.stretches.len(), STRETCHES_MAX);
        assert!(pieces.bytes.len() <= BYTES_MAX);
    }
}
