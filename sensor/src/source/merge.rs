//! Several inputs as one timeline.
//!
//! In: inputs with the time of their first frame where it is known. Out: batches, each a run of frames of one input, in the
//! order (time, input, number); inside an input frames keep the order of the file, whatever their times. An input is
//! opened when its first frame is due, so of a directory of captures that follow each other one is open at a time. A
//! single input is passed straight through: nothing is compared and nothing copied.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use super::{
    Batch, Frame, Status,
    reader::{Ledger, Origin, Reader},
};

/// Most open inputs whose frames are read ahead as far as a batch goes; with more, [`SHORT_LOOK_AHEAD`] frames are.
const FEW_INPUTS: usize = 16;

/// Frames read ahead per input when many are open: 2.5 KiB each.
const SHORT_LOOK_AHEAD: usize = 64;

/// Place on the timeline of an input's next frame.
type Due = (i64, u16);

/// An input that is not open yet.
pub(super) struct Waiting {
    pub(super) input: u16,
    /// Time of the first frame; the earliest there is when it is not known.
    pub(super) first_ns: i64,
    pub(super) origin: Origin,
}

/// The inputs of a timeline.
#[derive(Default)]
pub(super) struct Merge {
    /// The latest first.
    waiting: Vec<Waiting>,
    /// Open inputs that have frames read ahead.
    open: BinaryHeap<Reverse<Box<Open>>>,
    /// The input whose last frame that was read ahead has been handed out. It is read on only when the next batch is asked
    /// for: what is handed out must not wait for what comes next, which in a live capture is not there yet.
    emptied: Option<Box<Open>>,
}

/// An open input with frames read ahead; ordered by the next of them.
struct Open {
    reader: Reader,
    ahead: Batch,
    next: usize,
}

impl Merge {
    pub(super) fn new(mut waiting: Vec<Waiting>) -> Self {
        waiting.sort_by_key(|waiting| Reverse(waiting.due()));
        Self { waiting, ..Self::default() }
    }

    /// See [`super::Source::next_batch`].
    pub(super) fn next_batch(&mut self, batch: &mut Batch, limit: usize, ledger: &mut Ledger) -> Status {
        batch.frames.clear();
        if let Some(mut open) = self.emptied.take() {
            if self.waiting.is_empty() && self.open.is_empty() {
                if !open.reader.next_batch(batch, limit, ledger) {
                    ledger.finish(open.reader.input());
                    return Status::End;
                }
                self.emptied = Some(open);
                return Status::More;
            }
            self.read_ahead(open, limit, ledger);
        }
        self.open_what_is_due(limit, ledger);
        let bound = self.second_due();
        let Some(mut first) = self.open.peek_mut() else { return Status::End };
        first.0.take_run(bound, batch, limit);
        if first.0.next_frame().is_none() {
            self.emptied = Some(PeekMut::pop(first).0);
        }
        Status::More
    }

    /// Bytes read of the open inputs.
    pub(super) fn position(&self) -> u64 {
        let open = self.open.iter().map(|open| &open.0);
        open.chain(&self.emptied).map(|open| open.reader.position()).sum()
    }

    fn open_what_is_due(&mut self, limit: usize, ledger: &mut Ledger) {
        while let Some(next) = self.waiting.last() {
            if self.open.peek().is_some_and(|first| first.0.due() < next.due()) {
                return;
            }
            let Some(Waiting { input, origin, .. }) = self.waiting.pop() else { return };
            match Reader::new(input, origin, ledger) {
                Some(reader) => {
                    let open = Open { reader, ahead: Batch::default(), next: 0 };
                    self.read_ahead(Box::new(open), limit, ledger);
                }
                None => ledger.finish(input),
            }
        }
    }

    /// Reads the next frames of an input that has none ahead, and lets it wait for its turn.
    fn read_ahead(&mut self, mut open: Box<Open>, limit: usize, ledger: &mut Ledger) {
        let limit = if self.open.len() < FEW_INPUTS { limit } else { limit.min(SHORT_LOOK_AHEAD) };
        open.next = 0;
        while open.reader.next_batch(&mut open.ahead, limit, ledger) {
            if !open.ahead.frames.is_empty() {
                self.open.push(Reverse(open));
                return;
            }
        }
        ledger.finish(open.reader.input());
    }

    /// When the first of the other inputs is due.
    fn second_due(&self) -> Option<Due> {
        // The heap keeps the second smallest right below the smallest.
        let below = self.open.as_slice().iter().skip(1).take(2).map(|open| open.0.due());
        below.chain(self.waiting.last().map(Waiting::due)).min()
    }
}

impl Waiting {
    fn due(&self) -> Due {
        (self.first_ns, self.input)
    }
}

impl Open {
    fn next_frame(&self) -> Option<&Frame> {
        self.ahead.frames.get(self.next)
    }

    fn due(&self) -> Due {
        self.next_frame().map_or((i64::MAX, u16::MAX), |frame| (frame.ts_ns, frame.input))
    }

    /// Moves the frames that come before `bound` into an empty batch, at most `limit` of them.
    fn take_run(&mut self, bound: Option<Due>, batch: &mut Batch, limit: usize) {
        let ahead = &self.ahead.frames[self.next..];
        let ahead = &ahead[..ahead.len().min(limit)];
        let comes_later = |frame: &Frame| bound.is_some_and(|bound| (frame.ts_ns, frame.input) > bound);
        let run = ahead.iter().position(comes_later).unwrap_or(ahead.len());
        if run == self.ahead.frames.len() {
            std::mem::swap(batch, &mut self.ahead);
            return;
        }
        batch.frames.extend_from_slice(&ahead[..run]);
        if !batch.region.is(&self.ahead.region) {
            batch.region = self.ahead.region.clone();
        }
        self.next += run;
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.due() == other.due()
    }
}

impl Eq for Open {}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due().cmp(&other.due())
    }
}
