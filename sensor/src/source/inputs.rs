//! The capture files of a replay, as one source.
//!
//! In: paths and a filter. Out: [`Inputs`], a [`Source`]. Everything that can be said before the first frame
//! is read (what is missing, what is no capture, what the files are) is known when it is opened.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use super::{
    Batch, Counters, FileInfo, OpenError, Options, Problem, ProblemKind, Progress, Source, Status,
    filter::Filter,
    info::{Compression, Container},
    mapped::Mapped,
    merge::{Merge, Waiting},
    pcapng::losses,
    reader::{Ledger, Origin},
    sniff::{Refused, Sniffed, sniff},
    walk::{Found, Kind, Walk},
};

/// Files that stay mapped from the first look until their turn; more are mapped a second time.
const MAPPED_WHILE_WAITING: usize = 512;

/// Capture files and streams as one timeline.
#[derive(Default)]
pub struct Inputs {
    ledger: Ledger,
    merge: Merge,
    frames: u64,
    skipped_files: u64,
    /// Packets lost and packets there were, as files say at their ends.
    losses: Option<[u64; 2]>,
    /// Bytes of all files, unless a pipe is among them.
    bytes_total: Option<u64>,
}

impl Inputs {
    /// See [`super::open`].
    ///
    /// # Errors
    /// When no path exists, or the filter does not compile.
    pub fn open(paths: &[PathBuf], options: &Options) -> Result<Self, OpenError> {
        let Walk { found, problems, skipped, exists, .. } = Walk::new(paths);
        if !exists {
            return Err(OpenError::NoInput(problems));
        }
        let mut inputs = Self { skipped_files: skipped, ..Self::default() };
        inputs.ledger.problems = problems;
        let (mut waiting, mut dlts) = (Vec::new(), Vec::new());
        for found in &found {
            match look(found) {
                Ok((origin, size, sniffed)) => {
                    inputs.add_losses(found, &sniffed);
                    let keep = waiting.len() < MAPPED_WHILE_WAITING || !matches!(origin, Origin::Mapped(_));
                    let origin = if keep { origin } else { Origin::Path(found.path.clone()) };
                    dlts.extend(&sniffed.dlts);
                    waiting.push(inputs.add(&found.path, origin, size, &sniffed));
                }
                Err(Refused { kind: ProblemKind::NotACapture, .. }) if !found.named => {
                    inputs.skipped_files += 1;
                }
                Err(Refused { kind, at, detail }) => {
                    let path = found.path.display().to_string();
                    inputs.ledger.problems.push(Problem { input: None, path, at, kind, detail });
                }
            }
        }
        dlts.sort_unstable();
        dlts.dedup();
        inputs.begin(waiting, options, &dlts)
    }

    /// A capture that comes from anything that can be read, frame by frame as it comes.
    ///
    /// # Errors
    /// When the filter does not compile.
    pub fn from_stream(
        name: &str,
        stream: Box<dyn Read + Send>,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let mut inputs = Self::default();
        let waiting = inputs.add(Path::new(name), Origin::Stream(stream), None, &Sniffed::default());
        inputs.begin(vec![waiting], options, &[])
    }

    fn add_losses(&mut self, found: &Found, sniffed: &Sniffed) {
        let plain = sniffed.format.compression == Compression::None && matches!(found.kind, Kind::Regular);
        if plain && sniffed.format.container == Container::PcapNg {
            let [lost, all] = self.losses.get_or_insert([0; 2]);
            let [theirs, of] = end_of(&found.path).ok().and_then(|end| losses(&end)).unwrap_or_default();
            (*lost, *all) = (lost.saturating_add(theirs), all.saturating_add(of));
        }
    }

    fn add(&mut self, path: &Path, origin: Origin, size: Option<u64>, sniffed: &Sniffed) -> Waiting {
        // The walk finds no more inputs than have a number.
        let input = u16::try_from(self.ledger.files.len()).unwrap_or(u16::MAX);
        let path = path.display().to_string();
        self.ledger.files.push(FileInfo { path, size, format: sniffed.format, ..FileInfo::default() });
        Waiting { input, first_ns: sniffed.first_ns.unwrap_or(i64::MIN), origin }
    }

    fn begin(mut self, waiting: Vec<Waiting>, options: &Options, dlts: &[u16]) -> Result<Self, OpenError> {
        if let Some(expression) = &options.filter {
            self.ledger.filter = Some(Filter::new(expression, dlts)?);
        }
        self.bytes_total = self.ledger.files.iter().map(|file| file.size).sum();
        self.merge = Merge::new(waiting);
        Ok(self)
    }
}

impl Source for Inputs {
    fn next_batch(&mut self, batch: &mut Batch, limit: usize) -> Status {
        let limit = limit.max(1);
        batch.frames.clear();
        batch.frames.reserve(limit);
        let status = self.merge.next_batch(batch, limit, &mut self.ledger);
        self.frames += batch.frames.len() as u64;
        status
    }

    fn problems(&self) -> &[Problem] {
        &self.ledger.problems
    }

    fn files(&self) -> &[FileInfo] {
        &self.ledger.files
    }

    fn progress(&self) -> Progress {
        Progress {
            bytes_done: self.ledger.finished_bytes + self.merge.position(),
            bytes_total: self.bytes_total,
        }
    }

    fn losses(&self) -> Option<[u64; 2]> {
        self.losses
    }

    fn counters(&self) -> Counters {
        Counters {
            frames: self.frames,
            filtered: self.ledger.files.iter().map(|file| file.filtered).sum(),
            skipped_files: self.skipped_files,
            finished_files: self.ledger.finished_files,
            kernel_drops: self.ledger.files.iter().filter_map(|file| file.dropped).sum(),
            ..Counters::default()
        }
    }
}

/// Opens what was found and has a first look at it, except at pipes: what is read of them is gone.
fn look(found: &Found) -> Result<(Origin, Option<u64>, Sniffed), Refused> {
    let unreadable = |error: io::Error| Refused {
        kind: ProblemKind::Unreadable,
        at: None,
        detail: format!("cannot be read: {error}"),
    };
    let (file, mappable) = match found.kind {
        Kind::StandardInput => {
            let file = standard_input().map_err(unreadable)?;
            let mappable = is_whole_file(&file);
            (file, mappable)
        }
        Kind::Regular => (File::open(&found.path).map_err(unreadable)?, true),
        Kind::Special => (File::open(&found.path).map_err(unreadable)?, false),
    };
    if mappable && let Ok(mut mapped) = Mapped::new(&file) {
        let sniffed = sniff(&mut mapped)?;
        let size = mapped.len() as u64;
        return Ok((Origin::Mapped(mapped), Some(size), sniffed));
    }
    Ok((Origin::Stream(Box::new(file)), None, Sniffed::default()))
}

/// The last bytes of a file: read and not mapped, for it may be cut off meanwhile.
fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    const BYTES: u64 = 16 << 10;
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(BYTES)))?;
    let mut end = Vec::new();
    file.take(BYTES).read_to_end(&mut end)?;
    Ok(end)
}

/// Standard input without the standard library's buffer.
fn standard_input() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Whether standard input is a file from its beginning, as after `<`.
fn is_whole_file(mut file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file()) && file.stream_position().is_ok_and(|at| at == 0)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::{
        super::fixtures::{Order, Reading, gzip, pcap_at, pcapng},
        *,
    };

    #[test]
    fn what_is_wrong_with_a_path_is_known_before_the_first_frame() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir(root.join("captures")).unwrap();
        fs::write(root.join("captures/one.pcap"), pcap_at(&[1])).unwrap();
        fs::write(root.join("captures/notes.txt"), "nothing to see here").unwrap();
        fs::write(root.join("captures/empty.pcap"), "").unwrap();
        fs::write(root.join("notes.txt"), "nothing to see here").unwrap();
        fs::write(root.join("empty.pcap"), "").unwrap();
        let names = ["captures", "notes.txt", "missing.pcap", "empty.pcap", "captures/notes.txt"];
        let paths: Vec<PathBuf> = names.iter().map(|name| root.join(name)).collect();
        let source = Inputs::open(&paths, &Options::default()).unwrap();
        let said: Vec<String> = source
            .problems()
            .iter()
            .map(|problem| problem.to_string().replace(&format!("{}/", root.display()), ""))
            .collect();
        assert_eq!(
            said,
            [
                "missing.pcap: no such file or directory",
                "captures/notes.txt: the same as captures/notes.txt, read once",
                "notes.txt: not a capture: it begins with 6e 6f 74 68; pcap and pcapng are read",
                "empty.pcap: not a capture: it is empty",
            ]
        );
        assert_eq!(source.counters().skipped_files, 2);
        assert_eq!(source.files().len(), 1);
        assert_eq!(source.files()[0].format.to_string(), "pcap µs little-endian");
        assert_eq!(Reading::new(source, 10).bytes(), [[1]]);
    }

    #[test]
    fn nothing_at_all_is_an_error() {
        let Err(OpenError::NoInput(problems)) =
            Inputs::open(&["/nonexistent/a".into(), "/nonexistent/b".into()], &Options::default())
        else {
            panic!("opened what does not exist");
        };
        assert_eq!(problems.len(), 2);
        assert_eq!(
            OpenError::NoInput(problems).to_string(),
            "/nonexistent/a: no such file or directory\n/nonexistent/b: no such file or directory"
        );
    }

    #[test]
    fn a_directory_without_captures_is_an_empty_timeline() {
        let root = tempfile::tempdir().unwrap();
        let reading = Reading::new(Inputs::open(&[root.path().into()], &Options::default()).unwrap(), 10);
        assert_eq!((reading.frames.len(), reading.kinds()), (0, vec![]));
        assert_eq!(reading.source.progress(), Progress { bytes_done: 0, bytes_total: Some(0) });
    }

    #[test]
    fn a_named_device_is_read_like_a_pipe() {
        for (device, expected) in [("/dev/null", "it is empty"), ("/dev/zero", "it begins with 00 00 00 00")]
        {
            let reading = Reading::new(Inputs::open(&[device.into()], &Options::default()).unwrap(), 10);
            assert!(reading.problems()[0].detail.contains(expected), "{}", reading.problems()[0]);
        }
    }

    #[test]
    fn what_is_appended_while_reading_is_not_seen() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("growing.pcap");
        fs::write(&path, pcap_at(&[1, 2])).unwrap();
        let source = Inputs::open(std::slice::from_ref(&path), &Options::default()).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&pcap_at(&[3])[24..]).unwrap();
        let reading = Reading::new(source, 10);
        assert_eq!((reading.bytes(), reading.kinds()), (vec![&[1][..], &[2]], vec![]));
    }

    #[test]
    fn progress_is_in_bytes_on_disk() {
        let root = tempfile::tempdir().unwrap();
        let files = [pcap_at(&[1, 2]), gzip(&pcap_at(&[3])), pcapng(Order::Big, &[b"x"])];
        for (i, bytes) in files.iter().enumerate() {
            fs::write(root.path().join(i.to_string()), bytes).unwrap();
        }
        let mut source = Inputs::open(&[root.path().into()], &Options::default()).unwrap();
        let total = files.iter().map(|bytes| bytes.len() as u64).sum();
        assert_eq!(source.progress(), Progress { bytes_done: 0, bytes_total: Some(total) });
        let mut batch = Batch::default();
        let mut before = 0;
        while source.next_batch(&mut batch, 1) == Status::More {
            let done = source.progress().bytes_done;
            assert!(before <= done && done <= total);
            before = done;
        }
        assert_eq!(source.progress().bytes_done, total);
    }

    #[test]
    fn batches_keep_their_memory() {
        let mut source =
            Inputs::from_stream("-", Box::new(io::Cursor::new(pcap_at(&[7; 200]))), &Options::default())
                .unwrap();
        let mut batch = Batch::with_capacity(16);
        let capacity = batch.frames.capacity();
        while source.next_batch(&mut batch, 16) == Status::More {}
        assert_eq!(batch.frames.capacity(), capacity);
        assert_eq!(source.counters().frames, 200);
    }
}
