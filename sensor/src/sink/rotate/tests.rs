use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use crate::sink::eve::{Eve, Types};

/// 2026-11-24 13:59:58 UTC.
const BEGAN: u64 = 1_795_528_798;
const HOURLY: Rotation = Rotation { bytes: None, every: Some(Duration::from_secs(3_600)), keep: None };
const AT_20: Rotation = Rotation { bytes: Some(20), every: None, keep: None };

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn record(file: &mut RotatingFile, text: &str, now: u64) {
    file.write_all(text.as_bytes()).expect("written");
    file.boundary_at(at(now)).expect("rotated");
}

/// File names and contents of a folder.
fn contents(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let text = fs::read_to_string(entry.path()).expect("text");
            (entry.file_name().into_string().expect("a name"), text)
        })
        .collect()
}

fn files<const N: usize>(expected: [(&str, &str); N]) -> BTreeMap<String, String> {
    expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into()
}

#[test]
fn a_full_file_is_finished_after_the_record_that_fills_it_and_none_is_split() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    let mut file = RotatingFile::create_at(&path, AT_20, Opening::Fresh, at(BEGAN)).expect("created");
    record(&mut file, "first record\n", BEGAN);
    assert_eq!(contents(dir.path()).len(), 1, "13 bytes are fewer than 20");
    record(&mut file, "second record\n", BEGAN + 1);
    record(&mut file, "a record of more than twenty bytes\n", BEGAN + 1);
    record(&mut file, "another of more than twenty bytes\n", BEGAN + 1);
    record(&mut file, "last\n", BEGAN + 9);
    file.flush().expect("flushed");
    assert_eq!(
        contents(dir.path()),
        files([
            ("eve-20261124T135958Z.json", "first record\nsecond record\n"),
            ("eve-20261124T135959Z.json", "a record of more than twenty bytes\n"),
            ("eve-20261124T135959Z-1.json", "another of more than twenty bytes\n"),
            ("eve.json", "last\n"),
        ])
    );
}

#[test]
fn an_hourly_file_is_finished_on_the_hour_and_named_after_its_beginning() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    let mut file = RotatingFile::create_at(&path, HOURLY, Opening::Fresh, at(BEGAN)).expect("created");
    record(&mut file, "13:59:59\n", BEGAN + 1);
    record(&mut file, "14:00:00\n", BEGAN + 2);
    record(&mut file, "14:59:59\n", BEGAN + 3_601);
    record(&mut file, "15:00:00\n", BEGAN + 3_602);
    file.flush().expect("flushed");
    assert_eq!(
        contents(dir.path()),
        files([
            ("eve-20261124T135958Z.json", "13:59:59\n14:00:00\n"),
            ("eve-20261124T140000Z.json", "14:59:59\n15:00:00\n"),
            ("eve.json", ""),
        ])
    );
}

#[test]
fn a_file_with_nothing_in_it_is_not_finished() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    let mut file = RotatingFile::create_at(&path, HOURLY, Opening::Fresh, at(BEGAN)).expect("created");
    for hour in 0..5 {
        file.boundary_at(at(BEGAN + hour * 3_600)).expect("rotated");
    }
    record(&mut file, "one\n", BEGAN + 4 * 3_600);
    assert_eq!(contents(dir.path()).len(), 1);
    file.boundary_at(at(BEGAN + 5 * 3_600)).expect("rotated");
    assert_eq!(
        contents(dir.path()),
        files([("eve-20261124T175958Z.json", "one\n"), ("eve.json", "")]),
        "it begins when the hour did in which something was written"
    );
}

#[test]
fn a_clock_that_is_put_back_does_not_keep_a_file_open() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    let mut file = RotatingFile::create_at(&path, HOURLY, Opening::Fresh, at(BEGAN)).expect("created");
    record(&mut file, "one\n", BEGAN - 86_400);
    record(&mut file, "two\n", BEGAN - 86_400 + 60);
    file.flush().expect("flushed");
    let expected =
        [("eve-20261124T135958Z.json", "one\n"), ("eve-20261123T135958Z.json", "two\n"), ("eve.json", "")];
    assert_eq!(contents(dir.path()), files(expected));
}

#[test]
fn only_the_latest_finished_files_stay_and_no_other_file_is_touched() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    let others = ["eve-20200101T000000Z.json.gz", "eve-wan-20200101T000000Z.json", "eve-old.json"];
    for other in others {
        fs::write(dir.path().join(other), "kept").expect("written");
    }
    fs::create_dir(dir.path().join("eve-20200101T000000Z.json")).expect("a folder");
    let rotation = Rotation { keep: Some(2), ..AT_20 };
    let mut file = RotatingFile::create_at(&path, rotation, Opening::Fresh, at(BEGAN)).expect("created");
    for n in 0..12 {
        record(&mut file, &format!("record {n:02} of many records\n"), BEGAN);
    }
    fs::remove_dir(dir.path().join("eve-20200101T000000Z.json")).expect("the folder is still there");
    assert_eq!(
        contents(dir.path()),
        files([
            (others[0], "kept"),
            (others[1], "kept"),
            (others[2], "kept"),
            ("eve-20261124T135958Z-10.json", "record 10 of many records\n"),
            ("eve-20261124T135958Z-11.json", "record 11 of many records\n"),
            ("eve.json", ""),
        ])
    );
}

#[test]
fn a_name_that_was_freed_is_not_given_before_later_ones() {
    // With one kept, the names of a second must go on counting: the latest is the one that stays.
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    let rotation = Rotation { keep: Some(1), ..AT_20 };
    let mut file = RotatingFile::create_at(&path, rotation, Opening::Fresh, at(BEGAN)).expect("created");
    for n in 0..4 {
        record(&mut file, &format!("record {n:02} of many records\n"), BEGAN);
    }
    let kept = contents(dir.path());
    assert!(kept.values().any(|text| text.starts_with("record 03")), "{kept:?}");
    assert_eq!(kept.len(), 2);
}

#[test]
fn what_an_earlier_run_wrote_is_kept_under_the_time_it_was_last_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    fs::write(&path, "whole\nhal").expect("written");
    File::options().write(true).open(&path).expect("open").set_modified(at(BEGAN)).expect("time set");
    let mut file = RotatingFile::create(&path, Rotation::default(), Opening::Kept).expect("created");
    record(&mut file, "new\n", BEGAN);
    file.flush().expect("flushed");
    let expected = [("eve-20261124T135958Z.json", "whole\nhal"), ("eve.json", "new\n")];
    assert_eq!(contents(dir.path()), files(expected));
    drop(file);

    RotatingFile::create(&path, Rotation::default(), Opening::Fresh).expect("created");
    assert_eq!(contents(dir.path()), files([expected[0], ("eve.json", "")]), "fresh overwrites");
}

#[test]
fn a_start_with_an_empty_file_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    for _ in 0..3 {
        drop(RotatingFile::create(&path, Rotation::default(), Opening::Kept).expect("created"));
    }
    assert_eq!(contents(dir.path()), files([("eve.json", "")]));
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_and_no_byte_is_lost() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    let mut file = RotatingFile::create(&path, Rotation::default(), Opening::Kept).expect("created");
    file.write_all(b"before\n").expect("written");
    file.reopen().expect("reopened");
    file.write_all(b"still there\n").expect("written");
    fs::rename(&path, dir.path().join("eve.json.1")).expect("moved");
    file.write_all(b"after the move\n").expect("written");
    file.reopen().expect("reopened");
    file.write_all(b"new\n").expect("written");
    file.flush().expect("flushed");
    let expected = [("eve.json", "new\n"), ("eve.json.1", "before\nstill there\nafter the move\n")];
    assert_eq!(contents(dir.path()), files(expected));
}

#[test]
fn a_file_that_somebody_put_in_its_place_is_added_to_and_not_renamed() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    let mut file = RotatingFile::create_at(&path, AT_20, Opening::Fresh, at(BEGAN)).expect("created");
    fs::rename(&path, dir.path().join("moved")).expect("moved");
    fs::write(&path, "theirs\n").expect("written");
    record(&mut file, "a record of more than twenty bytes\n", BEGAN);
    record(&mut file, "ours\n", BEGAN);
    file.flush().expect("flushed");
    let expected = [("eve.json", "theirs\nours\n"), ("moved", "a record of more than twenty bytes\n")];
    assert_eq!(contents(dir.path()), files(expected));
}

#[test]
fn a_link_stays_and_what_it_points_to_is_renamed_where_it_lies() {
    let (links, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (link, path) = (links.path().join("eve.json"), data.path().join("wan.json"));
    symlink(&path, &link).expect("a link");
    let mut file = RotatingFile::create_at(&link, AT_20, Opening::Kept, at(BEGAN)).expect("created");
    record(&mut file, "a record of more than twenty bytes\n", BEGAN);
    record(&mut file, "next\n", BEGAN);
    file.flush().expect("flushed");
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    let expected =
        [("wan-20261124T135958Z.json", "a record of more than twenty bytes\n"), ("wan.json", "next\n")];
    assert_eq!(contents(data.path()), files(expected));
}

#[test]
fn a_device_is_written_to_and_never_renamed() {
    let mut file = RotatingFile::create(Path::new("/dev/null"), AT_20, Opening::Kept).expect("opened");
    for n in 0..3 {
        record(&mut file, "a record of more than twenty bytes\n", BEGAN + n * 3_600);
        file.reopen().expect("nothing to do");
    }
    assert!(!fs::metadata("/dev/null").expect("there").is_file());
}

#[test]
fn a_full_disk_is_told_when_the_buffer_is_handed_over_and_again_afterwards() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: this system has no /dev/full");
        return;
    }
    let mut file = RotatingFile::create(Path::new("/dev/full"), AT_20, Opening::Kept).expect("opened");
    file.write_all(b"a record of more than twenty bytes\n").expect("gathered");
    for _ in 0..2 {
        let error = file.flush().expect_err("a full disk");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_folder_that_is_gone_is_named_and_writing_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let sub = dir.path().join("log");
    fs::create_dir(&sub).expect("a folder");
    let path = sub.join("eve.json");
    let mut file = RotatingFile::create_at(&path, AT_20, Opening::Fresh, at(BEGAN)).expect("created");
    let moved = dir.path().join("moved");
    fs::rename(&sub, &moved).expect("moved");
    file.write_all(b"a record of more than twenty bytes\n").expect("written");
    for error in [file.boundary_at(at(BEGAN)).expect_err("no folder"), file.reopen().expect_err("no folder")]
    {
        let real = fs::canonicalize(dir.path()).expect("there").join("log/eve.json");
        assert_eq!(error.to_string(), format!("{}: no such file or directory", real.display()));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
    record_fails_but_is_written(&mut file);
    assert_eq!(contents(&moved), files([("eve.json", "a record of more than twenty bytes\nmore\n")]));
}

fn record_fails_but_is_written(file: &mut RotatingFile) {
    file.write_all(b"more\n").expect("written");
    file.flush().expect("flushed");
}

#[test]
fn records_of_an_eve_are_whole_in_every_file_and_reopening_loses_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("eve.json");
    let rotation = Rotation { bytes: Some(150), ..Rotation::default() };
    let file = RotatingFile::create(&path, rotation, Opening::Kept).expect("created");
    let mut eve = Eve::new(file, Types::default(), Vec::new());
    for n in 0..10 {
        eve.stats(0, &serde_json::json!({ "n": n }), &serde_json::Value::Null);
        if n == 4 {
            fs::rename(&path, dir.path().join("moved")).expect("moved");
            eve.reopen().expect("reopened");
        }
    }
    eve.finish().expect("written");
    let files = contents(dir.path());
    assert!(files.len() > 3, "{files:?}");
    let mut seen: Vec<u64> = files
        .values()
        .flat_map(|text| text.lines())
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a whole record"))
        .map(|record| record["stats"]["n"].as_u64().expect("a number"))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<u64>>());
}
