//! What records are written to. In: whole records, and word of where each ends. Out: bytes, where they are wanted.

use std::io::{self, Write};

/// A writer that is told where records end, so that it can begin a new file between two of them.
pub trait Records: Write {
    /// A whole record has been written, or nothing yet: a new file may begin here.
    ///
    /// # Errors
    /// What keeps a new file from beginning.
    fn boundary(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Somebody may have moved the file away: goes on under the name that was asked for.
    ///
    /// # Errors
    /// What keeps the file from being opened anew.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Records for Vec<u8> {}

impl<W: Write> Records for io::BufWriter<W> {}

impl<R: Records + ?Sized> Records for Box<R> {
    fn boundary(&mut self) -> io::Result<()> {
        (**self).boundary()
    }

    fn reopen(&mut self) -> io::Result<()> {
        (**self).reopen()
    }
}
