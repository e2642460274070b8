//! How one side of a session under way writes its WebSocket frames: MeshCentral's agent writes header, mask and payload one by one.
//!
//! In: lengths of one side's records, with whatever encryption adds. Out: whether several frames in a row were written so.

use super::{HEADER, LONG_HEADER, MASK, SHORT_PAYLOAD_MAX};
use crate::inside_tls::OVERHEADS;

/// Frames in a row, written piece by piece, that make an agent of a session under way; each fixes two lengths.
pub(super) const PIECEWISE: u8 = 4;
/// Records of one side without such frames after which it is something else.
pub(super) const WHOLE_MAX: u8 = 12;

/// How one side of a session under way writes.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The last two records.
    last: [u16; 2],
    /// Frames written piece by piece, in a row.
    frames: u8,
    /// Records since the last of them was over.
    since: u8,
    pub(super) others: u8,
}

impl Writer {
    /// Takes a record's length; whether enough frames have come in a row.
    pub(super) fn push(&mut self, len: u16) -> bool {
        let [header, mask] = self.last;
        let whole = |o: u16| {
            let payload = len.saturating_sub(o);
            let short = header == o.saturating_add(HEADER) && payload <= SHORT_PAYLOAD_MAX;
            let long = header == o.saturating_add(LONG_HEADER) && payload > SHORT_PAYLOAD_MAX;
            mask == o.saturating_add(MASK) && payload > 0 && (short || long)
        };
        self.since = self.since.saturating_add(1);
        if self.since >= 3 && OVERHEADS.into_iter().any(whole) {
            // The first may stand behind the end of one that the capture has only part of.
            self.frames = if self.since == 3 || self.frames == 0 { self.frames.saturating_add(1) } else { 1 };
            self.since = 0;
        } else if self.since > 3 {
            self.frames = 0;
            self.others = self.others.saturating_add(1);
        }
        self.last = [mask, len];
        self.frames >= PIECEWISE
    }
}
