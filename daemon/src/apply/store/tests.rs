use time::OffsetDateTime;

use super::*;
use crate::source::sha256;

fn sources(files: &[(&str, &str)]) -> Sources {
    let file = |(name, text): &(&str, &str)| {
        SourceFile::new(format!("/etc/palisade/policy.d/{name}"), text.as_bytes())
    };
    Sources {
        config: SourceFile::new("/etc/palisade/palisade.yaml", b""),
        files: files.iter().map(file).collect(),
    }
}

fn entry(number: u64, sources: &Sources) -> Entry {
    let at = OffsetDateTime::UNIX_EPOCH;
    Entry::new(
        number,
        at,
        "reload".to_owned(),
        Who::Signal,
        Standing::Confirmed,
        sources,
    )
}

/// The sums of the files that are there.
fn files(directory: &Path) -> BTreeSet<String> {
    let found = fs::read_dir(directory.join("generations/files")).unwrap();
    found
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn place(directory: &Path, text: &str) -> PathBuf {
    directory.join("generations/files").join(sha256(text.as_bytes()))
}

#[test]
fn what_is_kept_is_found_again_and_equal_files_take_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path());
    let one = sources(&[("a.yaml", "a\n"), ("b.yaml", "b\r\n"), ("c.yaml", "a\n")]);
    let two = sources(&[("a.yaml", "a\n"), ("b.yaml", "other"), ("c.yaml", "a\n")]);
    store.keep(entry(3, &one), &one).unwrap();
    store.keep(entry(4, &two), &two).unwrap();
    store.note(4, |entry| entry.last = 6);
    let store = Store::open(directory.path());
    assert_eq!(store.sources(3).unwrap(), one);
    assert_eq!(store.sources(6).unwrap(), two);
    assert_eq!(store.latest(&two).map(|entry| entry.number), Some(4));
    assert!(store.latest(&one).is_none(), "another was confirmed since");
    assert!(matches!(store.find(7), Err(StoreError::Unknown { .. })));
    let texts = ["", "a\n", "b\r\n", "other"].map(|text| sha256(text.as_bytes()));
    assert_eq!(files(directory.path()), texts.into());
}

#[test]
fn a_damaged_file_is_not_gone_back_to_and_put_right_when_it_is_kept_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path());
    let one = sources(&[("a.yaml", "a\n")]);
    store.keep(entry(1, &one), &one).unwrap();
    fs::write(place(directory.path(), "a\n"), "b\n").unwrap();
    assert!(matches!(store.sources(1), Err(StoreError::Damaged { .. })));
    fs::remove_file(place(directory.path(), "")).unwrap();
    assert!(matches!(store.sources(1), Err(StoreError::Read { .. })));

    let mut store = Store::open(directory.path());
    let two = sources(&[("a.yaml", "a\n"), ("b.yaml", "b\n")]);
    store.keep(entry(2, &two), &two).unwrap();
    assert_eq!(store.sources(1).unwrap(), one);
    assert_eq!(store.sources(2).unwrap(), two);

    fs::write(directory.path().join("generations/1.json"), "{").unwrap();
    assert_eq!(Store::open(directory.path()).entries().count(), 1);
}

#[test]
fn the_last_twenty_are_kept_and_no_file_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path());
    // Each has a text of its own, one of the generation before it in another place, and one that comes back.
    let of = |number: u64| {
        let texts = [number, number + 1, 1000 + number % 23].map(|number| number.to_string());
        let [own, next, again] = texts.each_ref();
        sources(&[
            ("a.yaml", own),
            ("b.yaml", next),
            ("c.yaml", again),
            ("d.yaml", "d"),
        ])
    };
    for number in 1..=25 {
        store.keep(entry(number, &of(number)), &of(number)).unwrap();
    }
    let kept = |store: &Store| store.entries().map(|entry| entry.number).collect::<Vec<_>>();
    assert_eq!(kept(&store), (6..=25).collect::<Vec<_>>());
    store.remove(25);
    let store = Store::open(directory.path());
    assert_eq!(kept(&store), (6..=24).collect::<Vec<_>>());
    let mut texts = BTreeSet::new();
    for number in 6..=24 {
        assert_eq!(store.sources(number).unwrap(), of(number));
        texts.extend(of(number).all().map(|file| file.sha256().to_string()));
    }
    assert_eq!(files(directory.path()), texts);
}

#[test]
fn what_was_never_finished_is_removed_unless_it_may_be_of_one_that_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path());
    let one = sources(&[("a.yaml", "a\n")]);
    store.keep(entry(1, &one), &one).unwrap();
    let unfinished = place(directory.path(), "half");
    fs::write(&unfinished, "ha").unwrap();
    let path = directory.path().join("generations/1.json");
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    Store::open(directory.path());
    assert!(unfinished.exists());
    fs::write(&path, good).unwrap();
    let store = Store::open(directory.path());
    assert!(!unfinished.exists());
    assert_eq!(store.sources(1).unwrap(), one);
}
