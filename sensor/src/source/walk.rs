//! Paths as a user gives them, become files.
//!
//! In: files, directories (read recursively, in the order of their names) and `-`. Out: what to read, in a
//! fixed order. A file that is named twice, or reached over symbolic links again, is found once.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Problem, ProblemKind};

/// The name of standard input among paths.
const STANDARD_INPUT: &str = "-";

/// Inputs that a [`super::Frame`] can tell apart.
const MAX_INPUTS: usize = 1 << 16;

/// Directories below each other that are entered; links in circles end earlier, as each directory is entered
/// once.
const MAX_DEPTH: usize = 256;

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// Named by the user, not found in a directory: then it is a problem if it is no capture.
    pub(super) named: bool,
}

/// How a file has to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    /// A pipe or a device.
    Special,
    StandardInput,
}

/// What there is to read.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) found: Vec<Found>,
    pub(super) problems: Vec<Problem>,
    /// Entries of directories that are neither files nor directories.
    pub(super) skipped: u64,
    /// Whether any of the paths exists.
    pub(super) exists: bool,
    /// Device and inode of what was found, and its path.
    seen: HashMap<(u64, u64), PathBuf>,
    too_many: bool,
}

impl Walk {
    /// Looks at all paths.
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let mut walk = Self::default();
        for path in paths {
            walk.named(path);
        }
        walk
    }

    fn named(&mut self, path: &Path) {
        if path.as_os_str() == STANDARD_INPUT {
            self.exists = true;
            if self.found.iter().any(|found| found.kind == Kind::StandardInput) {
                self.problem(path, ProblemKind::Duplicate, "standard input is named twice and read once");
            } else {
                self.push(path, Kind::StandardInput, true);
            }
            return;
        }
        match fs::metadata(path) {
            Ok(metadata) => {
                self.exists = true;
                self.add(path, &metadata, true, 0);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.problem(path, ProblemKind::Missing, "no such file or directory");
            }
            Err(error) => {
                // It may well exist behind a directory that must not be entered.
                self.exists |= error.kind() == io::ErrorKind::PermissionDenied;
                self.problem(path, ProblemKind::Unreadable, format!("cannot be read: {error}"));
            }
        }
    }

    fn add(&mut self, path: &Path, metadata: &Metadata, named: bool, depth: usize) {
        let kind = if metadata.is_file() { Kind::Regular } else { Kind::Special };
        if !named && !metadata.is_dir() && kind == Kind::Special {
            self.skipped += 1;
            return;
        }
        if let Some(first) = self.seen.insert((metadata.dev(), metadata.ino()), path.to_owned()) {
            // What the paths have in common is told only where the user has written both.
            if named {
                let detail = format!("the same as {}, read once", first.display());
                self.problem(path, ProblemKind::Duplicate, detail);
            }
            self.seen.insert((metadata.dev(), metadata.ino()), first);
        } else if metadata.is_dir() {
            self.directory(path, depth);
        } else {
            self.push(path, kind, named);
        }
    }

    fn directory(&mut self, path: &Path, depth: usize) {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(_) if depth >= MAX_DEPTH => {
                return self.problem(path, ProblemKind::Unreadable, "too many directories below each other");
            }
            Ok(entries) => entries,
            Err(error) => {
                return self.problem(path, ProblemKind::Unreadable, format!("cannot be read: {error}"));
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            match fs::metadata(&path) {
                Ok(metadata) => self.add(&path, &metadata, false, depth + 1),
                // A link to nowhere or to itself is no capture.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.skipped += 1,
                Err(error) if error.raw_os_error() == Some(libc::ELOOP) => self.skipped += 1,
                Err(error) => {
                    self.problem(&path, ProblemKind::Unreadable, format!("cannot be read: {error}"));
                }
            }
        }
    }

    fn push(&mut self, path: &Path, kind: Kind, named: bool) {
        if self.found.len() < MAX_INPUTS {
            self.found.push(Found { path: path.to_owned(), kind, named });
        } else if !std::mem::replace(&mut self.too_many, true) {
            let detail = format!("this and what follows is not read: there are more than {MAX_INPUTS} files");
            self.problem(path, ProblemKind::Unreadable, detail);
        }
    }

    fn problem(&mut self, path: &Path, kind: ProblemKind, detail: impl Into<String>) {
        let path = path.display().to_string();
        self.problems.push(Problem { input: None, path, at: None, kind, detail: detail.into() });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(walk: &Walk, root: &Path) -> Vec<String> {
        let relative =
            |found: &Found| found.path.strip_prefix(root).unwrap_or(&found.path).display().to_string();
        walk.found.iter().map(relative).collect()
    }

    #[test]
    fn directories_are_read_in_the_order_of_names_and_links_in_circles_end() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("b/deep")).unwrap();
        for file in ["c", "a", "b/2", "b/10", "b/deep/x"] {
            fs::write(root.join(file), file).unwrap();
        }
        symlink(root, root.join("b/up")).unwrap();
        symlink("self", root.join("self")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("a", root.join("latest")).unwrap();
        let walk = Walk::new(&[root.to_owned()]);
        assert_eq!(found(&walk, root), ["a", "b/10", "b/2", "b/deep/x", "c"]);
        assert_eq!(walk.skipped, 2, "the link to itself and the one to nowhere");
        assert_eq!(walk.problems, []);
    }

    #[test]
    fn a_file_that_is_named_twice_is_read_once_with_a_note() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::write(root.join("a"), "a").unwrap();
        let walk = Walk::new(&[root.join("a"), root.to_owned(), root.join("a")]);
        assert_eq!(found(&walk, root), ["a"]);
        assert!(walk.found[0].named);
        assert_eq!(walk.problems.len(), 1);
        assert_eq!(walk.problems[0].kind, ProblemKind::Duplicate);
        assert!(walk.problems[0].kind.is_note());
    }

    #[test]
    fn what_is_missing_is_a_problem_beside_what_is_there() {
        let walk = Walk::new(&["/nonexistent/a.pcap".into(), "-".into()]);
        assert!(walk.exists);
        assert_eq!(walk.problems[0].to_string(), "/nonexistent/a.pcap: no such file or directory");
        assert_eq!(walk.found[0].kind, Kind::StandardInput);
        assert!(!Walk::new(&["/nonexistent/a.pcap".into()]).exists);
    }

    #[test]
    fn devices_are_read_when_named_and_skipped_in_directories() {
        let root = tempfile::tempdir().unwrap();
        symlink("/dev/null", root.path().join("null")).unwrap();
        let walk = Walk::new(&[root.path().to_owned()]);
        assert_eq!((walk.found.len(), walk.skipped), (0, 1));
        assert_eq!(Walk::new(&["/dev/null".into()]).found[0].kind, Kind::Special);
    }
}
