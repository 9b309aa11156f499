//! What becomes of totals, without a kernel.

use std::fs;
use std::path::Path;

use super::*;

fn value(packets: u64) -> CounterValue {
    CounterValue {
        packets,
        bytes: packets * 100,
    }
}

/// What the kernel has, as a reading gives it.
fn read(history: &mut History, table: u64, counters: &[(&str, Option<u64>)]) -> usize {
    let counters = counters.iter().map(|(name, held)| (*name, held.map(value)));
    history.observe(Some(table), counters)
}

fn packets(history: &History, names: &[&str]) -> Vec<(u64, u64)> {
    let totals = history.totals(names.iter().copied()).into_iter();
    totals
        .map(|total| (total.total.packets, total.delta.packets))
        .collect()
}

fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap()
}

fn saved(directory: &Path) -> String {
    fs::read_to_string(directory.join(HISTORY)).unwrap()
}

#[test]
fn totals_follow_the_kernel_and_deltas_the_interval() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::open(directory.path());
    read(&mut history, 1, &[("a", Some(5)), ("b", Some(0))]);
    assert_eq!(packets(&history, &["a", "b"]), [(5, 5), (0, 0)]);
    assert!(history.end_interval().is_empty());
    read(&mut history, 1, &[("a", Some(7)), ("b", Some(1))]);
    assert_eq!(packets(&history, &["a", "aa", "b"]), [(7, 2), (0, 0), (1, 1)]);
}

#[test]
fn a_reset_takes_nothing_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::open(directory.path());
    read(&mut history, 1, &[("a", Some(5)), ("b", Some(9))]);
    assert_eq!(read(&mut history, 1, &[("a", Some(2)), ("b", Some(9))]), 1);
    assert_eq!(packets(&history, &["a", "b"]), [(7, 7), (9, 9)]);
    assert_eq!(read(&mut history, 1, &[("a", Some(3)), ("b", Some(9))]), 0);
    assert_eq!(packets(&history, &["a"]), [(8, 8)]);
    // A reload makes it anew at its total, from which it goes on.
    assert_eq!(history.total("a", Some(value(4))), value(9));
    history.made("a", value(9));
    read(&mut history, 1, &[("a", Some(10)), ("b", Some(9))]);
    assert_eq!(packets(&history, &["a"]), [(10, 10)]);
}

#[test]
fn a_table_from_somewhere_else_adds_nothing_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::open(directory.path());
    read(&mut history, 1, &[("a", Some(500))]);
    // As `nft -f` loads a listing that was saved earlier.
    assert_eq!(read(&mut history, 2, &[("a", Some(400))]), 1);
    assert_eq!(packets(&history, &["a"]), [(500, 500)]);
    assert_eq!(history.total("a", Some(value(410))), value(510));
}

#[test]
fn a_counter_without_a_table_keeps_its_total() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::open(directory.path());
    read(&mut history, 1, &[("a", Some(5))]);
    history.observe(None, [("a", None)].into_iter());
    assert_eq!(packets(&history, &["a"]), [(5, 5)]);
    assert_eq!(history.total("a", None), value(5));
    assert_eq!(history.total("unknown", None), value(0));
    history.made("a", value(5));
    assert_eq!((history.take_resumed(), history.take_resumed()), (1, 0));
    read(&mut history, 2, &[("a", Some(6))]);
    assert_eq!(packets(&history, &["a"]), [(6, 6)]);
}

#[test]
fn what_is_kept_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::open(directory.path());
    assert!(history.unwritten().is_none());
    read(&mut history, 1, &[("a", Some(5)), ("b", Some(0)), ("c", Some(3))]);
    history.in_force(["a", "b"].into_iter(), at(7));
    assert!(history.due().unwrap().write());
    assert!(history.due().is_none() && history.unwritten().is_none());
    assert_eq!(
        saved(directory.path()),
        "{\"counters\":2}\n\
         {\"counter\":\"a\",\"packets\":5,\"bytes\":500}\n\
         {\"counter\":\"c\",\"packets\":3,\"bytes\":300,\"retired\":\"1970-01-01T00:00:07Z\"}\n"
    );
    let mut again = History::open(directory.path());
    assert_eq!(again.total("c", None), value(3));
    // What was counted while nobody looked is counted; what is known already is not counted twice.
    read(&mut again, 9, &[("a", Some(8))]);
    assert_eq!(again.total("a", None), value(8));
    read(&mut again, 9, &[("a", Some(8))]);
    assert_eq!(again.total("a", None), value(8));
}

#[test]
fn an_unchanged_reading_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::open(directory.path());
    read(&mut history, 1, &[("a", Some(5))]);
    assert!(history.due().unwrap().write());
    read(&mut history, 1, &[("a", Some(5))]);
    assert!(history.due().is_none());
}

#[test]
fn retired_counters_come_back_and_the_oldest_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::open(directory.path());
    let all = ["a", "b", "c", "d", "none"];
    read(
        &mut history,
        1,
        &[
            ("a", Some(1)),
            ("b", Some(2)),
            ("c", Some(3)),
            ("d", Some(4)),
            ("none", Some(0)),
        ],
    );
    history.in_force(all.into_iter(), at(0));
    history.end_interval();
    history.retire(&[("b".to_owned(), value(5)), ("none".to_owned(), value(0))]);
    history.in_force(["a", "c", "d"].into_iter(), at(1));
    let moved = history.end_interval();
    assert_eq!(moved.len(), 1);
    assert_eq!((moved[0].0.as_str(), moved[0].1.delta), ("b", value(3)));
    assert!(history.urgent().unwrap().write(), "to be written at once");
    assert!(history.urgent().is_none(), "and then no more");
    assert!(saved(directory.path()).contains("\"b\",\"packets\":5"));

    history.in_force(["a", "c"].into_iter(), at(2));
    assert_eq!(history.counters.len(), 4, "what never counted is not remembered");
    history.forget(3);
    assert_eq!(history.total("b", None), value(0), "gone longest");
    assert_eq!(history.total("d", None), value(4));
    // Those in force stay, however many they are.
    history.forget(1);
    assert_eq!(packets(&history, &["a", "c", "d"]), [(1, 0), (3, 0), (0, 0)]);
}

#[test]
fn a_damaged_file_is_set_aside_and_read_as_far_as_it_goes() {
    for (text, a) in [
        ("", 0),
        ("not JSON", 0),
        (
            "{\"counters\":2}\n{\"counter\":\"a\",\"packets\":5,\"bytes\":500}\n",
            5,
        ),
        ("{\"counters\":1}\n{\"counter\":\"a\",\"packets\":5,\"byt", 0),
        (
            "{\"counters\":2}\n\0\0\0\n{\"counter\":\"a\",\"packets\":5,\"bytes\":500}\n",
            5,
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(HISTORY), text).unwrap();
        let history = History::open(directory.path());
        assert_eq!(history.total("a", None), value(a), "{text:?}");
        let aside = directory.path().join(format!("{HISTORY}.damaged"));
        assert_eq!(fs::read_to_string(aside).unwrap(), text);
        assert!(history.unwritten().unwrap().write(), "a whole one is written");
        assert!(saved(directory.path()).starts_with("{\"counters\":"));
    }
}

#[test]
fn what_a_panic_left_is_taken_over_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::open(directory.path());
    read(&mut history, 1, &[("a", Some(5))]);
    let mut last_words = LastWords::new(directory.path());
    last_words.retire(&[("a".to_owned(), value(6)), ("b".to_owned(), value(1))]);
    last_words.kept.unwrap();
    history.absorb();
    history.absorb();
    assert_eq!(packets(&history, &["a", "b"]), [(6, 6), (1, 1)]);
    assert!(!directory.path().join(AT_PANIC).exists());
    assert_eq!(History::open(directory.path()).total("a", None), value(6));
}

#[test]
fn an_older_state_is_not_written_over_a_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::open(directory.path());
    read(&mut history, 1, &[("a", Some(5))]);
    let older = history.due().unwrap();
    read(&mut history, 1, &[("a", Some(6))]);
    assert!(history.due().unwrap().write());
    assert!(older.write());
    assert!(saved(directory.path()).contains("\"packets\":6"));
}
