use std::os::unix::fs::MetadataExt;

use super::*;

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

#[test]
fn what_is_kept_is_found_again_and_equal_files_take_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path());
    let one = sources(&[("a.yaml", "a\n"), ("b.yaml", "b\r\n")]);
    let two = sources(&[("a.yaml", "a\n"), ("b.yaml", "other")]);
    store.keep(entry(3, &one), &one).unwrap();
    store.keep(entry(4, &two), &two).unwrap();
    store.note(4, |entry| entry.last = 6);
    let store = Store::open(directory.path());
    assert_eq!(store.sources(3).unwrap(), one);
    assert_eq!(store.sources(6).unwrap(), two);
    assert_eq!(store.latest(&two).map(|entry| entry.number), Some(4));
    assert!(store.latest(&one).is_none(), "another was confirmed since");
    assert!(matches!(store.find(7), Err(StoreError::Unknown { .. })));
    let inode = |place: &str| fs::metadata(directory.path().join(place)).unwrap().ino();
    assert_eq!(
        inode("generations/3/policy.d/a.yaml"),
        inode("generations/4/policy.d/a.yaml")
    );
}

#[test]
fn a_damaged_file_is_not_gone_back_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path());
    let one = sources(&[("a.yaml", "a\n")]);
    store.keep(entry(1, &one), &one).unwrap();
    fs::write(directory.path().join("generations/1/policy.d/a.yaml"), "b\n").unwrap();
    assert!(matches!(store.sources(1), Err(StoreError::Damaged { .. })));
    fs::write(directory.path().join("generations/1/generation.json"), "{").unwrap();
    assert_eq!(Store::open(directory.path()).entries().count(), 0);
}

#[test]
fn the_last_twenty_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path());
    for number in 1..=25 {
        let text = number.to_string();
        let of = sources(&[("a.yaml", &text)]);
        store.keep(entry(number, &of), &of).unwrap();
    }
    let store = Store::open(directory.path());
    let kept: Vec<u64> = store.entries().map(|entry| entry.number).collect();
    assert_eq!(kept, (6..=25).collect::<Vec<_>>());
}
