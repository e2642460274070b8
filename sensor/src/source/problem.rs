//! What could not be read, and where.
//!
//! In: what the readers meet. Out: one [`Problem`] a line for people, and a kind for the exit code. A hostile
//! file cannot make the list long: each file adds at most [`PROBLEMS_PER_FILE`], the rest is counted in its
//! [`FileInfo`].

use std::fmt;

use super::info::FileInfo;

/// Problems kept per file; a capture of nothing but garbage blocks must not fill memory.
const PROBLEMS_PER_FILE: u64 = 8;

/// What kind of problem, as far as a program needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The path does not exist.
    Missing,
    /// The path exists and cannot be read: permissions, a failing disk, a kind of file that has no content.
    Unreadable,
    /// The content is not a capture in a format that is read here.
    NotACapture,
    /// The file ends inside a record, a block or compressed data.
    Truncated,
    /// The content contradicts its format.
    Corrupt,
    /// Note: timestamps before 1970, after 2200, or with a fraction of more than a second; the frames are
    /// kept.
    AbsurdTimestamp,
    /// Note: an interface changed, or is there again.
    Interface,
    /// Note: an interface went down or away; it is waited for.
    InterfaceLost,
    /// Note: the same file was named twice and is read once.
    Duplicate,
    /// Note: the filter means nothing for a link type, so all its frames are rejected.
    FilterNotApplicable,
}

impl ProblemKind {
    /// Whether nothing is missing in spite of it, so that it is told and fails nothing.
    pub fn is_note(self) -> bool {
        matches!(
            self,
            Self::AbsurdTimestamp
                | Self::Interface
                | Self::InterfaceLost
                | Self::Duplicate
                | Self::FilterNotApplicable
        )
    }
}

/// One thing that could not be read, or that somebody should know about what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Index into [`super::Source::files`]; `None` for a path that is no input.
    pub input: Option<u16>,
    /// The path as given or as found in a directory.
    pub path: String,
    /// Byte offset in the capture; of a compressed file, in what it decompresses to.
    pub at: Option<u64>,
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// What is wrong, in words.
    pub detail: String,
}

impl fmt::Display for Problem {
    /// One line: `path: offset N: what`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.path.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        f.write_str(": ")?;
        if let Some(at) = self.at {
            write!(f, "offset {at}: ")?;
        }
        f.write_str(&self.detail)
    }
}

/// Where the reader of one file writes what it finds.
pub(super) struct Log<'a> {
    pub(super) input: u16,
    pub(super) info: &'a mut FileInfo,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Log<'_> {
    /// Adds a problem of the file, unless it has had its share.
    pub(super) fn problem(
        &mut self,
        kind: ProblemKind,
        at: impl Into<Option<u64>>,
        detail: impl fmt::Display,
    ) {
        self.info.problems += 1;
        if self.info.problems <= PROBLEMS_PER_FILE {
            let path = self.info.path.clone();
            let detail = detail.to_string();
            self.problems.push(Problem { input: Some(self.input), path, at: at.into(), kind, detail });
        }
    }

    /// Counts a timestamp that cannot be true, and notes the first of the file.
    #[cold]
    pub(super) fn absurd_timestamp(&mut self, at: u64, number: u64, why: &str) {
        self.info.absurd_timestamps += 1;
        if self.info.absurd_timestamps == 1 {
            let detail = format_args!("timestamp of packet {number} {why}; the packet is kept");
            self.problem(ProblemKind::AbsurdTimestamp, at, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_even_for_a_hostile_file_name() {
        let problem = Problem {
            input: None,
            path: "a\n\x1b[31m.pcap".into(),
            at: Some(24),
            kind: ProblemKind::Truncated,
            detail: "ends".into(),
        };
        assert_eq!(problem.to_string(), "a\\n\\u{1b}[31m.pcap: offset 24: ends");
        let problem = Problem { path: "Müll 'x'.pcap".into(), at: None, ..problem };
        assert_eq!(problem.to_string(), "Müll 'x'.pcap: ends");
    }

    #[test]
    fn a_file_of_garbage_fills_its_share_of_the_list_and_is_counted_on() {
        let mut info = FileInfo::default();
        let mut problems = Vec::new();
        let mut log = Log { input: 0, info: &mut info, problems: &mut problems };
        for at in 0..1000 {
            log.problem(ProblemKind::Corrupt, at, "garbage");
        }
        assert_eq!(problems.len() as u64, PROBLEMS_PER_FILE);
        assert_eq!(info.problems, 1000);
    }
}
