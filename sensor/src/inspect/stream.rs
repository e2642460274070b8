//! One direction of a TCP connection: its first bytes in order, with gaps accepted.
//!
//! In: segments as captured (late, twice, overlapping, missing). Out: runs of bytes in order, each flagged where bytes before it
//! were lost. Holds at most [`MAX_HELD`] segments that came early; when one more comes, the hole before them is taken as lost.

/// Segments held because one before them is missing.
const MAX_HELD: usize = 4;

/// A segment that came early.
#[derive(Debug, Default)]
struct Held {
    seq: u32,
    bytes: Vec<u8>,
    packet: u64,
    ts_ns: i64,
}

/// A run of in-order bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes before it were lost.
    pub(super) gap: bool,
    /// Number and time of the packet that brought it.
    pub(super) packet: u64,
    pub(super) ts_ns: i64,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Half {
    started: bool,
    next: u32,
    gap: bool,
    held: Vec<Held>,
    /// Buffers of held segments, kept for the next ones.
    spare: Vec<Vec<u8>>,
}

impl Half {
    /// Forgets everything but its buffers.
    pub(super) fn reset(&mut self) {
        (self.started, self.next, self.gap) = (false, 0, false);
        while let Some(mut held) = self.held.pop() {
            held.bytes.clear();
            self.spare.push(held.bytes);
        }
    }

    /// Gives back the memory of buffers that are larger than `keep` bytes.
    pub(super) fn shed(&mut self, keep: usize) {
        self.reset();
        self.spare.retain(|buffer| buffer.capacity() <= keep);
        self.spare.truncate(MAX_HELD);
    }

    /// The sequence number of the first payload byte is known.
    pub(super) fn start_at(&mut self, seq: u32) {
        (self.started, self.next) = (true, seq);
    }

    /// Whether a first sequence number is known.
    pub(super) const fn started(&self) -> bool {
        self.started
    }

    /// The beginning was not seen: the first byte to come follows lost ones.
    pub(super) fn start_in_the_middle(&mut self, seq: u32) {
        (self.started, self.next, self.gap) = (true, seq, true);
    }

    /// Payload bytes held.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.iter().map(|h| h.bytes.len()).sum()
    }

    /// Takes a segment and calls `each` for every run that is now in order.
    pub(super) fn push(
        &mut self,
        seq: u32,
        bytes: &[u8],
        packet: u64,
        ts_ns: i64,
        mut each: impl FnMut(Run<'_>),
    ) {
        let ahead = seq.wrapping_sub(self.next).cast_signed();
        if ahead > 0 {
            self.hold(seq, bytes, packet, ts_ns);
            if self.held.len() > MAX_HELD {
                self.accept_gap(&mut each);
            }
            return;
        }
        let known = ahead.unsigned_abs() as usize;
        let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) else { return };
        self.deliver(new, packet, ts_ns, &mut each);
        self.drain(&mut each);
    }

    /// The flow has ended: whatever is held comes out, holes taken as lost.
    pub(super) fn finish(&mut self, mut each: impl FnMut(Run<'_>)) {
        while !self.held.is_empty() {
            self.accept_gap(&mut each);
        }
    }

    fn deliver(&mut self, bytes: &[u8], packet: u64, ts_ns: i64, each: &mut impl FnMut(Run<'_>)) {
        self.next = self.next.wrapping_add(bytes.len() as u32);
        each(Run { bytes, gap: std::mem::take(&mut self.gap), packet, ts_ns });
    }

    fn hold(&mut self, seq: u32, bytes: &[u8], packet: u64, ts_ns: i64) {
        if self.held.iter().any(|h| h.seq == seq && h.bytes.len() >= bytes.len()) {
            return;
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(bytes);
        let next = self.next;
        let distance = |s: u32| s.wrapping_sub(next);
        let at = self.held.partition_point(|h| distance(h.seq) <= distance(seq));
        self.held.insert(at, Held { seq, bytes: buffer, packet, ts_ns });
    }

    fn accept_gap(&mut self, each: &mut impl FnMut(Run<'_>)) {
        if let Some(first) = self.held.first() {
            self.next = first.seq;
            self.gap = true;
        }
        self.drain(each);
    }

    /// Delivers held segments that have become due.
    fn drain(&mut self, each: &mut impl FnMut(Run<'_>)) {
        while let Some(first) = self.held.first() {
            let ahead = first.seq.wrapping_sub(self.next).cast_signed();
            if ahead > 0 {
                return;
            }
            let mut held = self.held.remove(0);
            if let Some(new) = held.bytes.get(ahead.unsigned_abs() as usize..).filter(|new| !new.is_empty()) {
                self.deliver(new, held.packet, held.ts_ns, each);
            }
            held.bytes.clear();
            self.spare.push(held.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(half: &mut Half, segments: &[(u32, &[u8])]) -> Vec<(Vec<u8>, bool)> {
        let mut runs = Vec::new();
        for (n, (seq, bytes)) in segments.iter().enumerate() {
            half.push(*seq, bytes, n as u64, 0, |r| runs.push((r.bytes.to_vec(), r.gap)));
        }
        half.finish(|r| runs.push((r.bytes.to_vec(), r.gap)));
        runs
    }

    fn joined(runs: &[(Vec<u8>, bool)]) -> Vec<u8> {
        runs.iter().flat_map(|(b, _)| b.clone()).collect()
    }

    #[test]
    fn late_repeated_and_overlapping_segments_come_out_once_and_in_order() {
        let mut half = Half::default();
        half.start_at(u32::MAX - 1);
        let runs = collect(
            &mut half,
            &[(2, b"efg"), (u32::MAX - 1, b"ab"), (u32::MAX - 1, b"ab"), (0, b"cdef"), (4, b"gh")],
        );
        assert_eq!(joined(&runs), b"abcdefgh");
        assert!(runs.iter().all(|(_, gap)| !gap));
    }

    #[test]
    fn a_hole_is_taken_as_lost_when_too_much_is_held_and_flagged_once() {
        let mut half = Half::default();
        half.start_at(0);
        let runs = collect(
            &mut half,
            &[(0, b"a"), (2, b"c"), (3, b"d"), (4, b"e"), (5, b"f"), (6, b"g"), (7, b"h")],
        );
        assert_eq!(joined(&runs), b"acdefgh");
        assert_eq!(
            runs.iter().map(|(_, gap)| *gap).collect::<Vec<_>>(),
            [false, true, false, false, false, false, false]
        );
    }

    #[test]
    fn at_the_end_held_bytes_come_out_behind_their_gap() {
        let mut half = Half::default();
        half.start_at(0);
        assert_eq!(collect(&mut half, &[(10, b"x")]), [(b"x".to_vec(), true)]);
    }

    #[test]
    fn a_start_in_the_middle_is_a_gap() {
        let mut half = Half::default();
        half.start_in_the_middle(77);
        assert_eq!(
            collect(&mut half, &[(77, b"x"), (78, b"y")]),
            [(b"x".to_vec(), true), (b"y".to_vec(), false)]
        );
    }
}
