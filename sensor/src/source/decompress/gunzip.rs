//! gzip (RFC 1952): members one after the other.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::{GZIP_MAGIC, fill};

/// Largest window that deflate knows: 32 KiB, as a power of two.
const WINDOW_BITS: u8 = 15;

/// Decompresses gzip members; zeros between and behind them are padding (of tapes, once).
pub(super) struct Gunzip<R> {
    input: R,
    /// `None` between members.
    member: Option<Decompress>,
}

impl<R: BufRead> Gunzip<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, member: Some(Decompress::new_gzip(WINDOW_BITS)) }
    }

    /// Looks for another member; whether there is one.
    fn begin_member(&mut self) -> io::Result<bool> {
        loop {
            match fill(&mut self.input)? {
                [] => return Ok(false),
                [0, rest @ ..] => {
                    let zeros = 1 + rest.iter().take_while(|&&byte| byte == 0).count();
                    self.input.consume(zeros);
                }
                [first, ..] if *first == GZIP_MAGIC[0] => {
                    self.member = Some(Decompress::new_gzip(WINDOW_BITS));
                    return Ok(true);
                }
                _ => return Err(invalid("something else follows")),
            }
        }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.member else {
                if self.begin_member()? {
                    continue;
                }
                return Ok(0);
            };
            let compressed = fill(&mut self.input)?;
            let at_end = compressed.is_empty();
            let (taken, given) = (member.total_in(), member.total_out());
            let status = member.decompress(compressed, into, FlushDecompress::None);
            let taken = (member.total_in() - taken) as usize;
            let given = (member.total_out() - given) as usize;
            self.input.consume(taken);
            if matches!(status, Ok(Status::StreamEnd)) {
                self.member = None;
            }
            // An error comes again with the next call; what was decompressed before it is still good.
            match status {
                _ if given > 0 || into.is_empty() => return Ok(given),
                Err(error) => return Err(invalid(&error.to_string())),
                Ok(Status::StreamEnd) => {}
                Ok(_) if at_end => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
            }
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
