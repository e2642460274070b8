//! A hand at work inside TLS that was under way when the capture began, for the rules of desktops that write every stroke by itself.
//!
//! In: records of either side. Out: how many of each small length a side has sent, and whether the other side answers as a screen does.

use super::Record;
use crate::tls_record::content;
use crate::{Basis, Out, Side};

/// Records of an operator that must have come.
const RECORDS: u16 = 24;
/// Sizes of the operated side that must differ: a screen's do. Any of them is longer than this.
const SIZES: u32 = 6;
const ANSWER_LEAST: u16 = 20;

/// Records of either side.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    sides: [Lengths; 2],
}

impl Hands {
    /// Takes a record in. The lengths of the side that sent it, once it has sent enough and the other side answers as a screen does.
    pub(crate) fn push(&mut self, record: &Record) -> Option<&Lengths> {
        if record.kind != content::APPLICATION_DATA {
            return None;
        }
        let [opener, called] = &mut self.sides;
        let (mine, other) = if record.from_client { (opener, called) } else { (called, opener) };
        mine.add(record.len);
        let screen = u32::from(other.total) >= SIZES && other.sizes.count_ones() >= SIZES;
        (screen && mine.total >= RECORDS).then_some(mine)
    }
}

/// Says that the side that sent `record` operates the other one.
pub(crate) fn operates(record: &Record, out: &mut Out) {
    let operator = if record.from_client { Side::Src } else { Side::Dest };
    out.client = Some(operator);
    out.controlled = Some(operator.other());
    out.basis = Basis::Midstream;
}

/// How many records of each small length one side has sent.
#[derive(Debug)]
pub(crate) struct Lengths {
    counts: [u8; Self::BINS],
    total: u16,
    /// A bit for each of the lengths that an answer may have, folded: enough to tell few from many.
    sizes: u64,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { counts: [0; Self::BINS], total: 0, sizes: 0 }
    }
}

impl Lengths {
    /// Longer ones are only in the total: what hands do is short.
    const BINS: usize = 64;

    fn add(&mut self, len: u16) {
        self.total = self.total.saturating_add(1);
        if let Some(count) = self.counts.get_mut(usize::from(len)) {
            *count = count.saturating_add(1);
        }
        if len > ANSWER_LEAST {
            self.sizes |= 1 << (len & 63);
        }
    }

    /// Records of this length, at most 255.
    pub(crate) fn of(&self, len: u16) -> u16 {
        self.counts.get(usize::from(len)).copied().unwrap_or_default().into()
    }

    /// All records.
    pub(crate) const fn total(&self) -> u16 {
        self.total
    }
}
