use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use flate2::read::GzDecoder;

use super::*;
use crate::flows::record::Record;
use crate::flows::sinks::tests::{ALL, batch, read};

const NEVER: RotateConfig = RotateConfig {
    size: None,
    every: None,
    keep: 1,
    compress: false,
};

fn sink(path: &Path, rotate: RotateConfig, bytes_per_day: Option<u64>) -> FileSink {
    FileSink::new(path.to_owned(), rotate, bytes_per_day)
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn write(sink: &mut FileSink, flows: u16, rules: u64) -> Outcome {
    let batch = batch(flows, rules);
    let outcome = sink.write_at(&ALL.part(&batch, 0), at(10));
    sink.tidy().unwrap();
    outcome
}

fn records(path: &Path) -> Vec<Record> {
    read(&fs::read_to_string(path).unwrap())
}

#[test]
fn a_file_that_was_moved_away_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log/flows.jsonl");
    let mut sink = sink(&path, NEVER, None);
    assert_eq!(write(&mut sink, 1, 1), Outcome::default());
    let moved = path.with_extension("1");
    fs::rename(&path, &moved).unwrap();
    assert_eq!(write(&mut sink, 0, 1), Outcome::default());
    assert_eq!((records(&moved).len(), records(&path).len()), (3, 2));
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert_eq!(write(&mut sink, 0, 2), Outcome::default());
    assert!(matches!(
        &records(&path)[..],
        [Record::Rule(_), Record::Rule(_), Record::Interval(_)]
    ));
}

#[test]
fn rotation_loses_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flows.jsonl");
    let rotate = RotateConfig {
        size: Some(8 << 10),
        every: None,
        keep: 1_000,
        compress: true,
    };
    let mut sink = sink(&path, rotate, None);
    let mut expected = 0;
    for round in 0..50 {
        assert_eq!(write(&mut sink, round % 7, 3), Outcome::default());
        expected += usize::from(round % 7) + 4;
    }
    let mut found = records(&path).len();
    let full = sink.rotation.all().unwrap();
    assert!(full.len() > 3, "{full:?}");
    for file in full {
        let mut text = String::new();
        let mut whole = GzDecoder::new(File::open(file.path).unwrap());
        whole.read_to_string(&mut text).unwrap();
        assert!(text.len() <= 8 << 10, "{} bytes", text.len());
        found += read(&text).len();
    }
    assert_eq!(found, expected);
}

#[test]
fn a_file_that_cannot_be_moved_away_is_written_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flows.jsonl");
    let rotate = RotateConfig {
        size: Some(1),
        ..NEVER
    };
    let mut sink = sink(&path, rotate, None);
    write(&mut sink, 1, 0);
    let blocked = |number: u16| {
        directory
            .path()
            .join(format!("flows.jsonl-19700101T000010Z-{number:03}"))
    };
    fs::write(directory.path().join("flows.jsonl-19700101T000010Z"), "").unwrap();
    for number in 1..=999 {
        fs::write(blocked(number), "").unwrap();
    }
    let batch = batch(1, 0);
    let outcome = sink.write_at(&ALL.part(&batch, 0), at(10));
    assert_eq!(outcome.missed, 0);
    assert!(outcome.error.unwrap().contains("cannot be moved away"));
    assert_eq!(records(&path).len(), 4);
}

#[test]
fn a_spent_budget_leaves_room_for_the_counters_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flows.jsonl");
    let limit = 40 << 10;
    let mut sink = sink(&path, NEVER, Some(limit));
    let mut missed = 0;
    for _ in 0..4 {
        let outcome = write(&mut sink, 20, 1);
        missed += outcome.missed;
        assert_eq!(outcome.missed > 0, outcome.error.is_some(), "{outcome:?}");
    }
    assert!(missed > 0);
    let length = fs::metadata(&path).unwrap().len();
    assert!(length <= limit, "{length}");
    let all = records(&path);
    let of = |kind: fn(&Record) -> bool| all.iter().filter(|record| kind(record)).count() as u64;
    assert_eq!(of(|record| matches!(record, Record::Rule(_))), 4);
    assert_eq!(of(|record| matches!(record, Record::Flow(_))), 80 - missed);
    let Some(Record::Interval(last)) = all.last() else {
        panic!("{:?}", all.last())
    };
    assert_eq!(
        last.missed_total, 20,
        "those of this batch; the worker adds the others"
    );

    // The records are of 1970: what another daemon finds there is spent, and midnight gives it back.
    let mut next = self::sink(&path, NEVER, Some(limit));
    assert_eq!(write(&mut next, 20, 1).missed, 20);
    let batch = batch(20, 1);
    let tomorrow = next.write_at(&ALL.part(&batch, 0), at(24 * 60 * 60));
    assert_eq!(tomorrow, Outcome::default());
}

#[test]
fn a_fifo_never_makes_it_wait_for_a_reader() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut sink = sink(&path, NEVER, None);
    let outcome = write(&mut sink, 1, 1);
    assert_eq!(
        (outcome.missed, outcome.error.as_deref()),
        (3, Some("nobody reads the FIFO"))
    );
    let reader = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    assert_eq!(write(&mut sink, 1, 1), Outcome::default());
    drop(sink);
    let text = io::read_to_string(reader).unwrap();
    assert_eq!(read(&text).len(), 3);
}

#[test]
fn a_full_disk_costs_whole_batches() {
    let mut sink = sink(Path::new("/dev/full"), NEVER, None);
    let outcome = write(&mut sink, 2, 2);
    assert_eq!(outcome.missed, 5);
    assert!(outcome.error.unwrap().contains("No space left"));
}
