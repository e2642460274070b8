//! Bad input, as a user meets it: each bad file is one line with its name and offset, and the rest is read.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use farend::source::{self, Batch, OpenError, Options, Problem, ProblemKind, Source, Status};

/// A little-endian capture in microseconds with an Ethernet packet of one byte at each of these seconds.
fn pcap(seconds: &[u8]) -> Vec<u8> {
    let mut file =
        vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
    for &second in seconds {
        file.extend([second, 0, 0, 0x65, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, second]);
    }
    file
}

/// The only byte of every frame, and the problems.
fn read(source: &mut dyn Source) -> (Vec<u8>, Vec<Problem>) {
    let mut batch = Batch::default();
    let mut bytes = Vec::new();
    while source.next_batch(&mut batch, 64) == Status::More {
        bytes.extend(batch.iter().map(|(_, frame)| frame[0]));
    }
    (bytes, source.problems().to_vec())
}

fn open(paths: &[PathBuf]) -> Box<dyn Source + Send> {
    source::open(paths, &Options::default()).unwrap()
}

/// Problems as lines, without the directory.
fn lines(problems: &[Problem], root: &Path) -> Vec<String> {
    let root = format!("{}/", root.display());
    problems.iter().map(|problem| problem.to_string().replace(&root, "")).collect()
}

#[test]
fn every_bad_file_is_one_line_and_the_rest_is_read() {
    let root = tempfile::tempdir().unwrap();
    let mut garbage = pcap(&[3, 4]);
    garbage[24 + 17..].fill(0xff);
    let files: [(&str, Vec<u8>); 6] = [
        ("good.pcap", pcap(&[1, 9])),
        ("empty.pcap", vec![]),
        ("text.pcap", b"this is not the file you are looking for".to_vec()),
        ("cut.pcap", pcap(&[2, 5])[..24 + 17 + 16].to_vec()),
        ("garbage.pcap", garbage),
        (
            "magic.pcapng",
            b"\n\r\r\n\x1c\0\0\0????\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0".to_vec(),
        ),
    ];
    let mut paths: Vec<PathBuf> = files.iter().map(|(name, _)| root.path().join(name)).collect();
    for (path, (_, bytes)) in paths.iter().zip(&files) {
        fs::write(path, bytes).unwrap();
    }
    paths.push(root.path().join("missing.pcap"));
    let mut source = open(&paths);
    let (bytes, problems) = read(&mut *source);
    assert_eq!(bytes, [1, 2, 3, 9], "the readable frames of all files, in the order of time");
    assert_eq!(
        lines(&problems, root.path()),
        [
            "missing.pcap: no such file or directory",
            "empty.pcap: not a capture: it is empty",
            "text.pcap: not a capture: it begins with 74 68 69 73; pcap and pcapng are read",
            "magic.pcapng: not a capture: it begins with 0a 0d 0d 0a; pcap and pcapng are read",
            "cut.pcap: offset 41: ends inside a record (16 of 17 bytes)",
            "garbage.pcap: offset 41: record claims 4294967295 captured bytes, more than 262144: \
             this is no record header; the rest of the file is not read",
        ]
    );
    assert!(problems.iter().all(|problem| !problem.kind.is_note()));
    // In a directory, what is no capture is no problem.
    let mut source = open(&[root.path().to_owned()]);
    let (again, problems) = read(&mut *source);
    assert_eq!(again, bytes);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(source.counters().skipped_files, 3);
}

#[test]
fn without_any_path_that_exists_nothing_is_opened() {
    let error = source::open(&["/nonexistent/x.pcap".into()], &Options::default()).err().unwrap();
    assert!(matches!(error, OpenError::NoInput(_)));
    assert_eq!(error.to_string(), "/nonexistent/x.pcap: no such file or directory");
}

#[test]
fn a_file_that_may_not_be_read_is_a_problem() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("secret.pcap");
    fs::write(&path, pcap(&[1])).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    let may_read_everything = File::open(&path).is_ok();
    let (bytes, problems) = read(&mut *open(&[path]));
    if may_read_everything {
        assert_eq!(bytes, [1]);
    } else {
        assert_eq!(problems[0].kind, ProblemKind::Unreadable);
        assert!(
            problems[0].to_string().ends_with("secret.pcap: cannot be read: Permission denied (os error 13)")
        );
    }
}

#[test]
fn a_named_pipe_is_read_as_it_is_written() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let writer = {
        let path = path.clone();
        thread::spawn(move || {
            let mut pipe = File::options().write(true).open(path).unwrap();
            for piece in pcap(&[1, 2, 3]).chunks(10) {
                pipe.write_all(piece).unwrap();
            }
        })
    };
    // In a directory a pipe is not even opened.
    let mut source = open(&[root.path().to_owned()]);
    assert_eq!((read(&mut *source), source.counters().skipped_files), ((vec![], vec![]), 1));
    assert_eq!(read(&mut *open(&[path])), (vec![1, 2, 3], vec![]));
    writer.join().unwrap();
}

/// Runs [`child_that_reads_standard_input`] with this standard input and returns what it prints.
fn child(stdin: Stdio, feed: Option<&[u8]>) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_reads_standard_input", "--ignored", "--nocapture"])
        .stdin(stdin)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    if let Some(bytes) = feed {
        child.stdin.take().unwrap().write_all(bytes).unwrap();
    }
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
#[ignore = "run by the tests of standard input"]
fn child_that_reads_standard_input() {
    let mut source = open(&["-".into()]);
    let total = source.progress().bytes_total;
    println!("read: {:?} of {total:?} bytes", read(&mut *source));
}

#[test]
fn standard_input_may_be_a_pipe_or_a_file() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.pcap");
    fs::write(&path, pcap(&[7, 8])).unwrap();
    let piped = child(Stdio::piped(), Some(&pcap(&[7, 8])));
    assert!(piped.contains("read: ([7, 8], []) of None bytes"), "{piped}");
    let redirected = child(File::open(&path).unwrap().into(), None);
    assert!(redirected.contains("read: ([7, 8], []) of Some(58) bytes"), "{redirected}");
    let nothing = child(Stdio::null(), None);
    assert!(nothing.contains("not a capture: it is empty"), "{nothing}");
}

#[test]
fn every_prefix_and_every_changed_byte_of_a_capture_is_survived() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("x");
    let whole = pcap(&[1, 2, 3]);
    for at in 0..whole.len() {
        fs::write(&path, &whole[..at]).unwrap();
        let (bytes, problems) = read(&mut *open(std::slice::from_ref(&path)));
        let frames = at.saturating_sub(24) / 17;
        assert_eq!(bytes, whole_frames(frames), "{at} bytes");
        let at_boundary = at >= 24 && (at - 24).is_multiple_of(17);
        assert_eq!(problems.len(), usize::from(!at_boundary), "{at} bytes: {problems:?}");
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            fs::write(&path, &changed).unwrap();
            let mut source = open(std::slice::from_ref(&path));
            let mut batch = Batch::default();
            let mut frames = 0;
            while source.next_batch(&mut batch, 64) == Status::More {
                frames += batch.iter().count();
            }
            assert!(frames <= 6, "{frames} frames with {value:#x} at {at}");
        }
    }
}

fn whole_frames(count: usize) -> Vec<u8> {
    (1..=count as u8).collect()
}
