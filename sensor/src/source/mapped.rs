//! A file mapped into memory, opened window by window.
//!
//! In: an open regular file. Out: its bytes up to the length it had when it was opened; what is appended
//! later is not seen.
//!
//! The only `unsafe` code of the sources is here. A mapping of a file that somebody truncates while it is
//! read is a SIGBUS waiting to happen. Each window is therefore prefaulted with `MADV_POPULATE_READ` before
//! it is parsed (Linux 5.14+), which turns that signal, and that of a failing disk, into an error, and saves
//! a page fault every 64 KiB. What remains is a truncation inside the few milliseconds between a window's
//! check and the end of the work on its frames.

use std::{
    fs::File,
    io::{self, Read},
};

use memmap2::{Advice, Mmap, MmapOptions};

use super::region::Region;

/// Bytes of the first window: enough for any file header and the first frames, little enough for thousands of
/// files.
const FIRST_WINDOW: usize = 64 << 10;

/// Bytes of the windows that follow: large against a system call, small against what a machine has as page
/// cache.
const WINDOW: usize = 4 << 20;

/// A mapped file of which a prefix has been checked to be readable.
pub(super) struct Mapped {
    region: Region,
    ready: usize,
    prefault: bool,
}

impl Mapped {
    /// Maps the whole file.
    ///
    /// # Errors
    /// Those of `fstat` and `mmap`; some file systems cannot map files.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if len == 0 {
            return Ok(Self { region: Region::default(), ready: 0, prefault: false });
        }
        // SAFETY: the mapping is private and read-only, its length is that of the file, and it lives as long
        // as the last Region. That other processes may change or truncate the file is inherent in reading by
        // mmap: changed bytes are hostile bytes like any others (every length is checked against the very
        // bytes it was read from, once), and for truncation see the head of this module.
        let map = unsafe { MmapOptions::new().len(len).map(file)? };
        let _ = map.advise(Advice::Sequential);
        Ok(Self { region: Region::from(map), ready: 0, prefault: cfg!(target_os = "linux") })
    }

    /// The region of the whole file; only [`Mapped::bytes`] of it have been checked.
    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    /// The prefix of the file that may be read.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.region.bytes()[..self.ready]
    }

    /// Length of the file when it was opened.
    pub(super) fn len(&self) -> usize {
        self.region.bytes().len()
    }

    /// Whether the whole file may be read.
    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        self.ready == self.len()
    }

    /// Makes the next window readable.
    ///
    /// # Errors
    /// When the file has become shorter than it was, or its device fails.
    pub(super) fn more(&mut self) -> io::Result<()> {
        let window = if self.ready == 0 { FIRST_WINDOW } else { WINDOW };
        let next = self.len().min(self.ready + window);
        if let Some(map) = self.region.map()
            && self.prefault
        {
            match populate(map, self.ready, next - self.ready) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.prefault = false,
                done => done?,
            }
        }
        self.ready = next;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn populate(map: &Mmap, at: usize, len: usize) -> io::Result<()> {
    map.advise_range(Advice::PopulateRead, at, len)
}

#[cfg(not(target_os = "linux"))]
fn populate(_: &Mmap, _: usize, _: usize) -> io::Result<()> {
    Ok(())
}

/// Reads a mapped file as a stream, for decompression.
pub(super) struct MappedRead {
    mapped: Mapped,
    at: usize,
}

impl From<Mapped> for MappedRead {
    fn from(mapped: Mapped) -> Self {
        Self { mapped, at: 0 }
    }
}

impl Read for MappedRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.mapped.bytes().len() && !self.mapped.is_whole() {
            self.mapped.more()?;
        }
        let read = (&self.mapped.bytes()[self.at..]).read(into)?;
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn windows_grow_to_the_length_at_opening() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; FIRST_WINDOW + 10]).unwrap();
        let mut mapped = Mapped::new(&file).unwrap();
        file.write_all(&[8; 10]).unwrap();
        assert!(mapped.bytes().is_empty());
        mapped.more().unwrap();
        assert_eq!(mapped.bytes().len(), FIRST_WINDOW);
        assert!(!mapped.is_whole());
        mapped.more().unwrap();
        assert_eq!(mapped.bytes().len(), FIRST_WINDOW + 10);
        assert!(mapped.is_whole());
    }

    #[test]
    fn an_empty_file_is_whole_and_empty() {
        let mapped = Mapped::new(&tempfile::tempfile().unwrap()).unwrap();
        assert!(mapped.is_whole());
        assert!(mapped.bytes().is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_shrinks_under_the_reader_is_an_error_and_no_signal() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; FIRST_WINDOW * 3]).unwrap();
        let mut mapped = Mapped::new(&file).unwrap();
        mapped.more().unwrap();
        file.set_len(FIRST_WINDOW as u64).unwrap();
        assert!(mapped.more().is_err(), "the second window is gone");
        assert_eq!(mapped.bytes().len(), FIRST_WINDOW);
    }

    #[test]
    fn reading_as_a_stream_gives_the_same_bytes() {
        let bytes: Vec<u8> = (0..FIRST_WINDOW as u32 * 2).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut read = Vec::new();
        MappedRead::from(Mapped::new(&file).unwrap()).read_to_end(&mut read).unwrap();
        assert!(read == bytes);
    }
}
