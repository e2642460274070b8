//! Zstandard (RFC 8878): frames one after the other, skippable ones among them.

use std::io::{self, BufRead, Read};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::fill;

/// Largest window of a frame, as a power of two: 128 MiB, the limit of the `zstd` program itself. Memory is
/// taken only as a frame asks for it; the levels 1 to 19 need 8 MiB at most.
const WINDOW_LOG: u32 = 27;

/// Bytes to begin a frame with: no frame, not even an empty one, has fewer.
const FRAME_START: usize = 5;

/// Bytes of a block header. The decoder asks for a block together with the header of the next.
const BLOCK_HEADER: usize = 3;

/// Decompresses frames, fed with a block, then with the next header: so the decoder never meets an error in a
/// call in which it has given something.
pub(super) struct Unzstd<R> {
    input: R,
    decoder: Decoder<'static>,
    /// Bytes that the decoder can use now.
    wanted: usize,
    /// Between frames, where the data may end.
    at_boundary: bool,
    /// The decoder may have more to give than there was room for.
    flushing: bool,
    failed: bool,
}

impl<R: BufRead> Unzstd<R> {
    pub(super) fn new(input: R) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Self { input, decoder, wanted: FRAME_START, at_boundary: true, flushing: false, failed: false })
    }
}

impl<R: BufRead> Read for Unzstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !into.is_empty() && !self.failed {
            let available = if self.flushing { &[] } else { fill(&mut self.input)? };
            let step = self.wanted.saturating_sub(BLOCK_HEADER).max(1);
            let available = &available[..available.len().min(step)];
            if available.is_empty() && !self.flushing {
                return if self.at_boundary { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            let mut compressed = InBuffer::around(available);
            let mut output = OutBuffer::around(&mut *into);
            let wanted = self.decoder.run(&mut compressed, &mut output);
            let (taken, given) = (compressed.pos(), output.pos());
            if !self.flushing {
                self.input.consume(taken);
            }
            match wanted {
                Ok(wanted) => {
                    self.at_boundary = wanted == 0;
                    self.wanted = if wanted == 0 { FRAME_START } else { wanted };
                }
                Err(error) => {
                    self.failed = true;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
            self.flushing = given == into.len();
            if given > 0 {
                return Ok(given);
            }
        }
        if into.is_empty() { Ok(0) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
