//! A stretch of bytes on its way down the layers. In: a frame and its length on the wire. Out: headers as fixed-size
//! arrays, and the one decision every layer needs: are bytes missing because the capture cut them, or because the
//! packet lies?

use super::outcome::{Ignored, Layer, Stop, Why};

/// What is left of a frame or datagram below some layer.
#[derive(Clone, Copy)]
pub(super) struct Region<'b> {
    /// The whole buffer up to the region's captured end, so that offsets stay those of the buffer.
    bytes: &'b [u8],
    at: usize,
    /// Where the region ends on the wire; beyond `bytes` when the capture was cut.
    end: usize,
}

impl<'b> Region<'b> {
    pub(super) fn new(bytes: &'b [u8], wire: usize) -> Self {
        Self { bytes, at: 0, end: wire.max(bytes.len()) }
    }

    /// Offset of the region in its buffer.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes of it that were captured.
    pub(super) fn captured(&self) -> &'b [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Bytes of it that were on the wire.
    pub(super) fn wire(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// The first `N` bytes if they were captured.
    #[inline]
    pub(super) fn peek<const N: usize>(&self) -> Option<&'b [u8; N]> {
        self.bytes.get(self.at..)?.first_chunk()
    }

    /// The first `N` bytes; an error tells a cut capture from a packet that is too short.
    #[inline]
    pub(super) fn header<const N: usize>(&self, layer: Layer) -> Result<&'b [u8; N], Stop> {
        match self.peek() {
            Some(header) => Ok(header),
            None => Err(self.missing(N, layer)),
        }
    }

    /// The region behind a header of `len` bytes, which must have been on the wire.
    #[inline]
    pub(super) fn after(self, len: usize, layer: Layer) -> Result<Self, Stop> {
        if len > self.wire() {
            return Err(Stop::malformed(layer, Why::TooShort));
        }
        Ok(Self { at: self.at + len, ..self })
    }

    /// The region ended after `len` bytes on the wire: padding or a trailer is left out, and a length beyond the old
    /// end (a mirrored packet that its mirror cut) reads like a cut capture.
    #[inline]
    pub(super) fn of_length(self, len: usize) -> Self {
        let end = self.at.saturating_add(len);
        Self { bytes: self.bytes.get(..end).unwrap_or(self.bytes), end, ..self }
    }

    #[cold]
    fn missing(&self, need: usize, layer: Layer) -> Stop {
        if self.wire() < need {
            Stop::malformed(layer, Why::TooShort)
        } else {
            Stop::Ignored(Ignored::Snaplen)
        }
    }
}

/// The two bytes at `at` of a header, big-endian.
#[inline]
pub(super) fn be16<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

/// The four bytes at `at` of a header, big-endian.
#[inline]
pub(super) fn be32<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_capture_is_told_from_a_short_packet() {
        let cut = Region::new(&[1, 2, 3], 60);
        assert_eq!(cut.header::<4>(Layer::Ipv4), Err(Stop::Ignored(Ignored::Snaplen)));
        let short = Region::new(&[1, 2, 3], 3);
        assert_eq!(short.header::<4>(Layer::Ipv4), Err(Stop::malformed(Layer::Ipv4, Why::TooShort)));
        assert_eq!(short.header::<3>(Layer::Ipv4), Ok(&[1, 2, 3]));
    }

    #[test]
    fn a_length_leaves_padding_out_and_reaches_past_a_mirrors_cut() {
        let region = Region::new(&[1, 2, 3, 0, 0], 5);
        assert_eq!(region.of_length(3).captured(), [1, 2, 3]);
        assert_eq!(region.of_length(3).wire(), 3);
        let cut = region.of_length(1500);
        assert_eq!((cut.captured().len(), cut.wire()), (5, 1500));
    }

    #[test]
    fn stepping_behind_the_captured_bytes_leaves_an_empty_region() {
        let Ok(region) = Region::new(&[1, 2, 3], 60).after(20, Layer::Ipv4) else { panic!("20 of 60 bytes") };
        assert_eq!((region.captured().len(), region.wire(), region.at()), (0, 40, 20));
        assert!(region.after(41, Layer::Ipv4).is_err());
    }
}
