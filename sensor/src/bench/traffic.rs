//! What is measured on: a capture made for it, or one that was given.
//!
//! In: the kind of traffic and how many packets. Out: [`Traffic`], a file that can be opened again and again. A file made here has no name, so
//! it is gone with the program, however that ends.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::source::{self, OpenError, Options, Source};
use crate::traffic::{Workload, generate, mix};

/// The same everywhere, so that figures of two machines are of the same bytes.
pub const SEED: u64 = 1;

/// Where packets come from.
#[derive(Debug)]
pub enum Kind {
    /// Made up.
    Made(Workload),
    /// Captures, multiplied.
    Mix(mix::Captures),
}

/// A capture to be measured on.
#[derive(Debug)]
pub struct Traffic {
    path: PathBuf,
    /// Keeps a file that was made.
    made: Option<Made>,
    /// What is in it, where captures were multiplied.
    pub mixed: Option<mix::Written>,
}

impl Traffic {
    /// Makes a capture of about `packets` packets in the folder for temporary files.
    ///
    /// # Errors
    /// What the system says of that folder.
    pub fn make(kind: &Kind, packets: u64) -> io::Result<Self> {
        let made = Made::new()?;
        let mut out = BufWriter::with_capacity(1 << 20, made.file());
        let mixed = match kind {
            Kind::Made(workload) => {
                generate(*workload, packets, SEED, &mut out)?;
                None
            }
            Kind::Mix(captures) => Some(mix::write(captures, packets, SEED, &mut out)?),
        };
        out.flush()?;
        drop(out);
        Ok(Self { path: made.path(), made: Some(made), mixed })
    }

    /// A capture that is there.
    #[must_use]
    pub fn given(path: &Path) -> Self {
        Self { path: path.to_owned(), made: None, mixed: None }
    }

    /// Whether it was made here.
    #[must_use]
    pub const fn is_made(&self) -> bool {
        self.made.is_some()
    }

    /// Opens it from its beginning.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn open(&self) -> Result<Box<dyn Source + Send>, OpenError> {
        source::open(std::slice::from_ref(&self.path), &Options::default())
    }
}

/// A file that goes when the program does.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Made(File);

#[cfg(target_os = "linux")]
impl Made {
    fn new() -> io::Result<Self> {
        tempfile::tempfile().map(Self)
    }

    fn file(&self) -> &File {
        &self.0
    }

    fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// A file that goes when the program ends; elsewhere than on Linux a file without a name cannot be opened again.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Made(tempfile::NamedTempFile);

#[cfg(not(target_os = "linux"))]
impl Made {
    fn new() -> io::Result<Self> {
        tempfile::NamedTempFile::new().map(Self)
    }

    fn file(&self) -> &File {
        self.0.as_file()
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }
}
