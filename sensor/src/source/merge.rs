//! Several inputs as one timeline.
//!
//! In: inputs with the time of their first frame where it is known. Out: batches, each a run of frames of one
//! input, in the order (time, input, number); inside an input frames keep the order of the file, whatever
//! their times. An input is opened when its first frame is due, so of a directory of captures that follow
//! each other one is open at a time. A single input is passed straight through: nothing is compared and
//! nothing copied.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use super::{
    Batch, Frame, Status,
    reader::{Ledger, Origin, Reader},
};

/// Most open inputs whose frames are read ahead as far as a batch goes; with more, [`SHORT_LOOK_AHEAD`]
/// frames are.
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
    /// The input whose last frame that was read ahead has been handed out. It is read on only when the next
    /// batch is asked for: what is handed out must not wait for what comes next, which in a live capture is
    /// not there yet.
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

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use proptest::prelude::*;

    use super::{
        super::{
            Inputs, Options, ProblemKind, Source,
            fixtures::{Order, Reading, THEN, gzip, pcap, pcap_at, pcapng},
        },
        *,
    };

    /// The second and the input of every frame, files being given by the seconds of their packets.
    fn merged(files: &[&[u8]], limit: usize) -> Vec<(u8, u16)> {
        let root = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            (0..files.len()).map(|i| root.path().join(format!("{i:05}.pcap"))).collect();
        for (path, seconds) in paths.iter().zip(files) {
            fs::write(path, pcap_at(seconds)).unwrap();
        }
        let reading = Reading::new(Inputs::open(&paths, &Options::default()).unwrap(), limit);
        assert_eq!(reading.kinds(), []);
        for (frame, bytes) in &reading.frames {
            let second = files[usize::from(frame.input)][frame.number as usize - 1];
            assert_eq!(bytes, &[second], "the bytes of another frame");
        }
        reading.frames.iter().map(|(frame, bytes)| (bytes[0], frame.input)).collect()
    }

    #[test]
    fn frames_come_in_the_order_of_time_then_input_then_number() {
        let files: [&[u8]; 3] = [&[2, 4, 4, 9], &[1, 4, 5], &[4, 4, 30]];
        let expected = [(1, 1), (2, 0), (4, 0), (4, 0), (4, 1), (4, 2), (4, 2), (5, 1), (9, 0), (30, 2)];
        for limit in [1, 2, 1000] {
            assert_eq!(merged(&files, limit), expected, "batches of {limit}");
        }
    }

    #[test]
    fn inside_a_file_the_order_of_the_file_counts() {
        assert_eq!(merged(&[&[5, 1, 3], &[2, 4, 6]], 10), [(2, 1), (4, 1), (5, 0), (1, 0), (3, 0), (6, 1)]);
        assert_eq!(merged(&[&[5, 1, 3]], 10), [(5, 0), (1, 0), (3, 0)]);
    }

    #[test]
    fn files_without_packets_are_passed_over() {
        assert_eq!(merged(&[&[], &[1, 2], &[], &[1]], 10), [(1, 1), (1, 3), (2, 1)]);
        assert_eq!(merged(&[&[], &[]], 10), []);
    }

    #[test]
    fn files_that_follow_each_other_come_in_whole_batches() {
        let root = tempfile::tempdir().unwrap();
        // The names are in the opposite order of the times.
        fs::write(root.path().join("b"), pcap_at(&[1, 2, 3])).unwrap();
        fs::write(root.path().join("a"), gzip(&pcap_at(&[4, 5, 6]))).unwrap();
        let mut source = Inputs::open(&[root.path().into()], &Options::default()).unwrap();
        let mut batch = Batch::default();
        let mut batches = Vec::new();
        while source.next_batch(&mut batch, 100) == Status::More {
            batches.push(batch.iter().map(|(_, bytes)| bytes[0]).collect::<Vec<_>>());
        }
        assert_eq!(batches, [[1, 2, 3], [4, 5, 6]]);
        assert_eq!(source.files()[0].path, root.path().join("a").display().to_string());
        assert_eq!(source.counters().finished_files, 2);
        let progress = source.progress();
        assert_eq!(Some(progress.bytes_done), progress.bytes_total);
    }

    #[test]
    fn thousands_of_files_are_one_timeline() {
        let seconds: Vec<[u8; 2]> = (0..1500u32).map(|i| [(i * 7 % 250) as u8, 250]).collect();
        let files: Vec<&[u8]> = seconds.iter().map(|seconds| &seconds[..]).collect();
        let merged = merged(&files, 100);
        assert_eq!(merged.len(), 3000);
        assert!(merged.is_sorted());
    }

    #[test]
    fn a_file_that_is_gone_when_its_turn_comes_is_a_problem_beside_the_others() {
        let root = tempfile::tempdir().unwrap();
        for i in 0..520u32 {
            let records = [(THEN + i, 0, &b"x"[..])];
            fs::write(root.path().join(format!("{i:05}")), pcap(Order::Big, 0xa1b2_c3d4, 1, &records))
                .unwrap();
        }
        let source = Inputs::open(&[root.path().into()], &Options::default()).unwrap();
        fs::remove_file(root.path().join("00515")).unwrap();
        let reading = Reading::new(source, 100);
        assert_eq!(reading.frames.len(), 519);
        assert_eq!(reading.kinds(), [ProblemKind::Unreadable]);
        assert_eq!(reading.problems()[0].input, Some(515));
    }

    #[test]
    fn a_broken_file_does_not_end_the_others() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), &pcapng(Order::Big, &[b"1234", b"5678"])[..100]).unwrap();
        fs::write(root.path().join("b"), pcap_at(&[0, 200])).unwrap();
        let reading = Reading::new(Inputs::open(&[root.path().into()], &Options::default()).unwrap(), 100);
        assert_eq!(reading.bytes(), [&b"1234"[..], &[0], &[200]]);
        assert_eq!(reading.kinds(), [ProblemKind::Truncated]);
    }

    proptest! {
        #[test]
        fn merging_is_taking_the_least_head_again_and_again(
            files in prop::collection::vec(prop::collection::vec(0u8..40, 0..20), 1..6),
            limit in 1usize..8,
        ) {
            let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
            let mut heads = vec![0; files.len()];
            let mut expected = Vec::new();
            while let Some((second, input)) =
                (0..files.len()).filter_map(|i| Some((*files[i].get(heads[i])?, i))).min()
            {
                heads[input] += 1;
                expected.push((second, input as u16));
            }
            prop_assert_eq!(merged(&files, limit), expected);
        }
    }
}
