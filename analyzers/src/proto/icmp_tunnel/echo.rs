//! Who asked what: which echo payloads repeat one of the other side, and which answer with something else.

use crate::Dir;

/// Payloads of each direction that are remembered: a ping has one or two on the way, a flood more.
const ASKED_MAX: usize = 16;
/// Bytes of each that are kept.
const HEAD: usize = 32;
/// Payloads of fewer bytes say nothing.
const LEAST: usize = 4;
/// Bytes that may hold times and numbers before the filling, and the filling that is enough to be one.
const TIMES: [usize; 3] = [8, 16, 24];
const FILLED_MIN: usize = 8;
/// Different lengths of answers that are kept.
const SIZES_MAX: usize = 4;
/// Patterns that a ping repeats: `ping -p` takes up to 16 bytes.
const PERIOD_MAX: usize = 16;

/// Whether a payload is filled as pings fill theirs: nothing, one pattern of up to 16 bytes over and over, or bytes or letters that
/// count up, behind a time.
pub(super) fn is_plain(data: &[u8]) -> bool {
    let behind =
        |times: usize| data.get(times..).is_some_and(|tail| tail.len() >= FILLED_MIN && filled(tail));
    filled(data) || TIMES.iter().any(|times| behind(*times))
}

fn filled(tail: &[u8]) -> bool {
    let counts = tail.windows(2).filter(|w| matches!(w, [a, b] if *b == a.wrapping_add(1))).count();
    // Windows counts from a to w and begins again.
    let pairs = tail.len().saturating_sub(1);
    if counts.saturating_add(pairs / 16).saturating_add(1) >= pairs {
        return true;
    }
    (1..=PERIOD_MAX)
        .any(|n| tail.len() > n && tail.iter().zip(tail.get(n..).unwrap_or_default()).all(|(a, b)| a == b))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    len: usize,
    head: Vec<u8>,
    /// Taken for an answer that differs.
    differs: bool,
}

/// What both sides sent lately.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    asked: [Vec<Asked>; 2],
    different: u32,
    /// Their lengths, each once.
    sizes: Vec<usize>,
}

impl Echoes {
    /// Takes a payload; how many of both sides so far are neither repeated nor repeat.
    pub(super) fn note(&mut self, dir: Dir, data: &[u8], len: usize) -> u32 {
        let [up, down] = &mut self.asked;
        let (mine, theirs) = if dir == Dir::ToServer { (up, down) } else { (down, up) };
        let head = data.get(..HEAD.min(data.len())).unwrap_or_default();
        // Repeats one of the other side's, or begins as one does: some answer with less than was asked.
        if let Some(at) = theirs.iter().position(|a| a.len >= len && a.head.starts_with(head)) {
            // So that one was a question, and no answer.
            if theirs.get(at).is_some_and(|a| a.differs) {
                self.different = self.different.saturating_sub(1);
            }
            theirs.remove(at);
            return self.different;
        }
        let unasked = !theirs.is_empty() && theirs.iter().all(|a| a.len != len);
        let differs = unasked && len >= LEAST && !is_plain(data);
        if differs {
            self.different = self.different.saturating_add(1);
            if self.sizes.len() < SIZES_MAX && !self.sizes.contains(&len) {
                self.sizes.push(len);
            }
        }
        if mine.len() >= ASKED_MAX {
            mine.remove(0);
        }
        mine.push(Asked { len, head: head.to_vec(), differs });
        self.different
    }

    /// How many lengths they have, of which four are told apart.
    pub(super) fn sizes(&self) -> usize {
        self.sizes.len()
    }

    pub(super) fn in_words(&self) -> String {
        format!("{} payloads of lengths like {:?}", self.different, self.sizes)
    }
}
