//! What can be wrong with a file of the user's, in one line that names the file and the place.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why an intelligence file could not be used; displays as one line: file, place, what was expected, the way out.
#[derive(Debug)]
pub enum Error {
    /// The file could not be opened, read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file was read and is not what it should be.
    Format {
        /// The file as the user gave it, with `:member` for a member of an archive.
        file: String,
        /// Where in it.
        place: Place,
        /// Expected and got.
        what: String,
    },
    /// What was asked for makes no sense, whatever the files say.
    Usage(String),
}

/// Where in a file something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line, counted from 1.
    Line(usize),
    /// A byte, counted from 0.
    Byte(usize),
}

impl Error {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn format(file: impl Into<String>, place: Place, what: impl Into<String>) -> Self {
        Self::Format { file: file.into(), place, what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Format { file, place, what } => match place {
                Place::File => write!(f, "{file}: {what}"),
                Place::Line(line) => write!(f, "{file}:{line}: {what}"),
                Place::Byte(byte) => write!(f, "{file}: byte {byte}: {what}"),
            },
            Self::Usage(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Format { .. } | Self::Usage(_) => None,
        }
    }
}
