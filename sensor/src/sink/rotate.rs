//! A file of records that begins anew by size and by time.
//!
//! In: bytes, and word of where records end. Out: the file under the name that was asked for, and finished ones beside it, named
//! after the second (UTC) in which they began. No record is split, no file is overwritten, and nothing but what has such a name
//! is removed.

mod name;
#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Records, compact};
use name::{Names, Order};

/// Bytes gathered before the system gets them.
const BUFFER: usize = 1 << 16;

/// When a file is finished, and how many finished ones stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// At this many bytes or more, after the record that reaches them. `None` or 0: at any size.
    pub bytes: Option<u64>,
    /// At every multiple of this since the epoch (UTC), so that hourly is on the hour; a file with nothing in it goes on.
    /// `None` or less than a millisecond: at no time.
    pub every: Option<Duration>,
    /// Finished files that stay, the latest ones. `None`: all of them.
    pub keep: Option<u32>,
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is overwritten.
    Fresh,
    /// If anything is in it, it is finished first and named after the time it was last written: a sensor that is started
    /// again destroys nothing, and its first record never joins half a line.
    Kept,
}

/// The file. Devices and pipes are written to as they are and never finished.
#[derive(Debug)]
pub struct RotatingFile {
    /// Where it lies, symbolic links followed: a link in the place of the file stays, what it points to is renamed.
    path: PathBuf,
    names: Names,
    rotation: Rotation,
    out: BufWriter<File>,
    /// Which file `out` writes to; `None`: a device or a pipe.
    identity: Option<Identity>,
    /// Bytes in the file, those still gathered among them.
    bytes: u64,
    began: SystemTime,
}

type Identity = (u64, u64);

impl RotatingFile {
    /// Opens `path` for writing.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn create(path: &Path, rotation: Rotation, opening: Opening) -> io::Result<Self> {
        Self::create_at(path, rotation, opening, SystemTime::now())
    }

    fn create_at(path: &Path, rotation: Rotation, opening: Opening, now: SystemTime) -> io::Result<Self> {
        if opening == Opening::Kept {
            keep_what_is_there(path)?;
        }
        let special = fs::metadata(path).is_ok_and(|m| !m.is_file());
        let file = match opening {
            Opening::Kept if !special => append(path),
            _ => File::create(path),
        }
        .map_err(|e| located(path, e))?;
        let meta = file.metadata().map_err(|e| located(path, e))?;
        // After opening, since only now does it exist for certain.
        let path = if special { path.to_owned() } else { real(path)? };
        let this = Self {
            names: Names::of(&path),
            path,
            rotation,
            identity: meta.is_file().then(|| identity(&meta)),
            bytes: meta.len(),
            out: BufWriter::with_capacity(BUFFER, file),
            began: now,
        };
        this.prune()?;
        Ok(this)
    }

    fn boundary_at(&mut self, now: SystemTime) -> io::Result<()> {
        if self.identity.is_none() {
            return Ok(());
        }
        if !self.full() && !self.due(now) {
            return Ok(());
        }
        if self.bytes == 0 {
            self.began = now;
            return Ok(());
        }
        self.flush().map_err(|e| located(&self.path, e))?;
        if self.in_place()? {
            finish(&self.path, &self.names, self.began)?;
        }
        self.begin(now)?;
        self.prune()
    }

    fn full(&self) -> bool {
        self.rotation.bytes.is_some_and(|most| most > 0 && self.bytes >= most)
    }

    /// Whether a multiple of `every` lies between the file's beginning and now.
    fn due(&self, now: SystemTime) -> bool {
        let period = |at: SystemTime| {
            let every = self.rotation.every?.as_millis();
            at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis().checked_div(every)
        };
        // Not "later than": a clock that was put back must not keep a file open until it has caught up.
        self.rotation.every.is_some() && period(self.began) != period(now)
    }

    /// Whether the path still names the file that is written to.
    fn in_place(&self) -> io::Result<bool> {
        match fs::symlink_metadata(&self.path) {
            Ok(meta) => Ok(self.identity == Some(identity(&meta))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(located(&self.path, e)),
        }
    }

    /// Goes on with the file of that name, which somebody else may have created. Everything written must have been flushed.
    fn begin(&mut self, now: SystemTime) -> io::Result<()> {
        let file = append(&self.path).map_err(|e| located(&self.path, e))?;
        let meta = file.metadata().map_err(|e| located(&self.path, e))?;
        self.out = BufWriter::with_capacity(BUFFER, file);
        self.identity = meta.is_file().then(|| identity(&meta));
        self.bytes = meta.len();
        self.began = now;
        Ok(())
    }

    /// Removes the earliest finished files beyond those that stay.
    fn prune(&self) -> io::Result<()> {
        let Some(keep) = self.rotation.keep.filter(|_| self.identity.is_some()) else { return Ok(()) };
        let mut finished = finished(folder(&self.path), &self.names)?;
        finished.retain(|(_, path)| fs::symlink_metadata(path).is_ok_and(|m| m.is_file()));
        finished.sort_unstable();
        let beyond = finished.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
        for (_, path) in &finished[..beyond] {
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(located(path, e)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Errors of writing are those of the system as they are; whoever opened the file knows which it is.
impl Write for RotatingFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buf)?;
        self.bytes += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Errors name the file or folder they are about. Whatever fails, what has been written is in a file or still gathered, and
/// writing goes on where it was.
impl Records for RotatingFile {
    fn boundary(&mut self) -> io::Result<()> {
        // The clock is read once a record only where it matters.
        let now = if self.rotation.every.is_some() || self.full() { SystemTime::now() } else { self.began };
        self.boundary_at(now)
    }

    fn reopen(&mut self) -> io::Result<()> {
        if self.identity.is_none() {
            return Ok(());
        }
        self.flush().map_err(|e| located(&self.path, e))?;
        if self.in_place()? {
            return Ok(());
        }
        self.begin(SystemTime::now())
    }
}

/// Finishes a file that an earlier run has left.
fn keep_what_is_there(path: &Path) -> io::Result<()> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(located(path, e)),
    };
    if !meta.is_file() || meta.len() == 0 {
        return Ok(());
    }
    let last = meta.modified().map_err(|e| located(path, e))?;
    let path = real(path)?;
    finish(&path, &Names::of(&path), last)
}

/// Renames the file at `path` after the second in which it began, behind all others of that second.
fn finish(path: &Path, names: &Names, began: SystemTime) -> io::Result<()> {
    let ns = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let stamp = compact(i64::try_from(ns).unwrap_or(i64::MAX));
    let folder = folder(path);
    // Not the first free number: where earlier ones were removed, the latest file would be taken for the earliest.
    let same = finished(folder, names)?.into_iter().filter(|((of, _), _)| of == stamp.as_bytes());
    let mut nth = same.map(|((_, nth), _)| nth.saturating_add(1)).max().unwrap_or(0);
    loop {
        let to = folder.join(names.finished(&stamp, nth));
        // Renaming overwrites. An empty file of our own takes the name first, which fails where there is one.
        match File::create_new(&to) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && nth < u32::MAX => {
                nth += 1;
                continue;
            }
            Err(e) => return Err(located(&to, e)),
        }
        return fs::rename(path, &to).map_err(|e| {
            let _ = fs::remove_file(&to);
            located(path, e)
        });
    }
}

/// Everything in a folder that has the name of a finished file.
fn finished(folder: &Path, names: &Names) -> io::Result<Vec<(Order, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| located(folder, e))? {
        let entry = entry.map_err(|e| located(folder, e))?;
        found.extend(names.order(&entry.file_name()).map(|order| (order, entry.path())));
    }
    Ok(found)
}

/// Each write goes to the end, whatever else is done to the file (logrotate's `copytruncate`).
fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

fn real(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path).map_err(|e| located(path, e))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn identity(meta: &Metadata) -> Identity {
    (meta.dev(), meta.ino())
}

/// An error that says which file it is about.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", path.display(), crate::config::in_words(source))]
struct Located {
    path: PathBuf,
    source: io::Error,
}

fn located(path: &Path, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Located { path: path.to_owned(), source })
}
