//! Where fragments lie until their datagram is complete: slots of one fixed size in one block of memory, chained in
//! the order of their offsets. In: byte ranges. Out: the bytes in order. Nothing is allocated after the start.

/// No slot, no datagram.
pub(super) const NONE: u32 = u32::MAX;

/// Bytes of a slot: the payload of a fragment on a 1,500-byte link is at most 1,480.
const SLOT: usize = 1536;

/// The pieces of one datagram, by offset, without overlap.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    head: u32,
    tail: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE };
}

struct Piece {
    offset: u32,
    len: u32,
    /// Whether its bytes are in the slot; a snapshot length may have cut them off.
    captured: bool,
    next: u32,
}

/// The block of slots.
pub(super) struct Store {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    free: u32,
}

impl Store {
    pub(super) fn new(bytes: usize) -> Self {
        // Room for one datagram of any size, or reassembly could never succeed.
        let slots = (bytes / SLOT).clamp(64, (NONE - 1) as usize);
        Self { bytes: vec![0; slots * SLOT], pieces: Vec::with_capacity(slots), free: NONE }
    }

    /// Adds the parts of `offset..end` that `chain` lacks and adds their length to `new`; `captured` are the first
    /// bytes of the range. False when the slots ran out part of the way: what is in stays in.
    pub(super) fn add(
        &mut self,
        chain: &mut Chain,
        offset: u32,
        captured: &[u8],
        end: u32,
        new: &mut u32,
    ) -> bool {
        // In order is the rule: begin at the tail if the range lies behind it.
        let mut before = match chain.tail {
            NONE => NONE,
            tail if self.end(tail) <= offset => tail,
            _ => NONE,
        };
        let mut at = offset;
        while at < end {
            let next = if before == NONE { chain.head } else { self.pieces[before as usize].next };
            if next != NONE && self.pieces[next as usize].offset <= at {
                at = at.max(self.end(next));
                before = next;
                continue;
            }
            let gap_end = if next == NONE { end } else { end.min(self.pieces[next as usize].offset) };
            let from = captured.get((at - offset) as usize..).unwrap_or_default();
            let Some(piece) = self.piece(at, gap_end, from) else { return false };
            let len = self.pieces[piece as usize].len;
            self.pieces[piece as usize].next = next;
            match before {
                NONE => chain.head = piece,
                before => self.pieces[before as usize].next = piece,
            }
            if next == NONE {
                chain.tail = piece;
            }
            before = piece;
            *new += len;
            at += len;
        }
        true
    }

    /// Appends the captured bytes of a complete chain to `out`, up to the first that a snapshot length cut.
    pub(super) fn read(&self, chain: Chain, out: &mut Vec<u8>) {
        let mut at = chain.head;
        while at != NONE {
            let piece = &self.pieces[at as usize];
            if !piece.captured {
                break;
            }
            let slot = at as usize * SLOT;
            out.extend_from_slice(&self.bytes[slot..slot + piece.len as usize]);
            at = piece.next;
        }
    }

    pub(super) fn release(&mut self, chain: Chain) {
        if chain.tail != NONE {
            self.pieces[chain.tail as usize].next = self.free;
            self.free = chain.head;
        }
    }

    fn end(&self, piece: u32) -> u32 {
        let piece = &self.pieces[piece as usize];
        piece.offset + piece.len
    }

    /// A slot for the beginning of `offset..end`, or for all of it when no byte of it was captured.
    fn piece(&mut self, offset: u32, end: u32, from: &[u8]) -> Option<u32> {
        let gap = (end - offset) as usize;
        let captured = from.len().min(gap).min(SLOT);
        let len = if captured == 0 { gap } else { captured };
        let piece = Piece { offset, len: len as u32, captured: captured != 0, next: NONE };
        let at = self.free;
        let at = if at != NONE {
            self.free = self.pieces[at as usize].next;
            self.pieces[at as usize] = piece;
            at
        } else if (self.pieces.len() + 1) * SLOT <= self.bytes.len() {
            self.pieces.push(piece);
            (self.pieces.len() - 1) as u32
        } else {
            return None;
        };
        let slot = at as usize * SLOT;
        self.bytes[slot..slot + captured].copy_from_slice(&from[..captured]);
        Some(at)
    }
}
