use std::fs::File;
use std::os::unix::fs::symlink;

use super::*;

/// A directory with these files, all of long ago but for what the test makes later.
struct Case {
    directory: tempfile::TempDir,
    reader: Reader,
}

impl Case {
    fn new(files: &[(&str, &str)]) -> Self {
        let case = Case {
            directory: tempfile::tempdir().unwrap(),
            reader: Reader::listening(),
        };
        for (name, text) in files {
            fs::write(case.path(name), text).unwrap();
        }
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&mut self) -> Vec<SourceFile> {
        let files = self.reader.read(self.directory.path()).unwrap();
        let fresh = Reader::default().read(self.directory.path()).unwrap();
        assert_eq!(files, fresh);
        files
    }

    /// As if the last reading had been long after the last change.
    fn let_time_pass(&mut self) {
        for known in &mut self.reader.known {
            let path = self.directory.path().join(&known.name);
            known.stamp = Some(Stamp::of(&fs::metadata(path).unwrap()));
        }
    }
}

#[test]
fn what_was_not_changed_is_not_read_again() {
    let mut case = Case::new(&[
        ("a.yaml", "one"),
        ("b.yml", "two"),
        ("c.txt", "not read"),
        (".d.yaml", "hidden"),
    ]);
    let first = case.read();
    assert_eq!(first.len(), 2);
    case.let_time_pass();
    // A reading would say so.
    let (a, b) = (case.path("a.yaml"), case.path("b.yml"));
    let stamp = Stamp::of(&fs::metadata(&a).unwrap());
    fs::write(&a, "won").unwrap();
    case.reader.known[0].stamp = Some(Stamp::of(&fs::metadata(&a).unwrap()));
    let again = case.reader.read(case.directory.path()).unwrap();
    assert_eq!(
        again[0].bytes(),
        b"one",
        "it has the stamp of what is known, and was not read"
    );
    case.reader.known[0].stamp = Some(stamp);
    assert_eq!(
        case.read()[0].bytes(),
        b"won",
        "size and name say nothing, the times do"
    );

    fs::rename(&b, case.path("a.json")).unwrap();
    fs::write(case.path("z.json"), "{}").unwrap();
    let names: Vec<_> = case.read().iter().map(|file| file.name().to_owned()).collect();
    let names: Vec<&str> = names
        .iter()
        .map(|name| name.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(names, ["a.json", "a.yaml", "z.json"]);
}

#[test]
fn of_many_files_each_is_found_in_its_place() {
    let mut case = Case::new(&[]);
    let names: Vec<String> = (0..2 * MANY).map(|number| format!("{number:05}.yaml")).collect();
    for name in &names {
        fs::write(case.path(name), name).unwrap();
    }
    case.read();
    case.let_time_pass();
    fs::write(case.path(&names[MANY]), "another").unwrap();
    fs::remove_file(case.path(&names[0])).unwrap();
    let files = case.read();
    assert_eq!(files.len(), names.len() - 1);
    for (file, name) in files.iter().zip(&names[1..]) {
        assert!(file.name().ends_with(name.as_str()));
        let text = if *name == names[MANY] { "another" } else { name };
        assert_eq!(file.bytes(), text.as_bytes());
    }
}

#[test]
fn the_same_bytes_are_the_same_file() {
    let mut case = Case::new(&[("a.yaml", "one"), ("b.yaml", "two")]);
    let first = case.read();
    fs::write(case.path("a.yaml"), "one").unwrap();
    fs::write(case.path("b.yaml"), "owt").unwrap();
    let second = case.read();
    assert!(first[0].is_shared_with(&second[0]));
    assert!(!first[1].is_shared_with(&second[1]));
}

#[test]
fn what_was_changed_a_moment_ago_is_read_again() {
    let mut case = Case::new(&[("a.yaml", "one"), ("b.yaml", "two")]);
    let old = File::options().write(true).open(case.path("b.yaml")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_hours(1))
        .unwrap();
    case.read();
    // Its time of change is of this moment, whatever its time of modification is made to say.
    assert!(case.reader.known.iter().all(|known| known.stamp.is_none()));
    let metadata = fs::metadata(case.path("b.yaml")).unwrap();
    assert!(!Stamp::of(&metadata).is_older_than(SystemTime::now()));
    assert!(Stamp::of(&metadata).is_older_than(SystemTime::now() + 2 * TICK));
}

#[test]
fn a_link_is_what_it_leads_to() {
    let mut case = Case::new(&[("target", "one"), ("b.yaml", "two")]);
    symlink(case.path("target"), case.path("a.yaml")).unwrap();
    assert_eq!(case.read()[0].bytes(), b"one");
    case.let_time_pass();
    fs::write(case.path("target"), "another").unwrap();
    assert_eq!(case.read()[0].bytes(), b"another");
    case.let_time_pass();
    fs::remove_file(case.path("target")).unwrap();
    let gone = case.reader.read(case.directory.path());
    assert!(matches!(gone, Err(SourceError::Read { path, .. }) if path == case.path("a.yaml")));
    fs::remove_file(case.path("a.yaml")).unwrap();
    assert_eq!(
        case.read().len(),
        1,
        "what was known before the error is still right"
    );
}

/// What the kernel has told of, which must be all that there is.
fn told(case: &mut Case) -> Vec<SourceFile> {
    let files = case
        .reader
        .read_told(case.directory.path())
        .expect("the kernel tells");
    assert_eq!(files, Reader::default().read(case.directory.path()).unwrap());
    assert_eq!(case.reader.look_again().unwrap(), files);
    files
}

#[test]
fn the_kernel_tells_of_whatever_is_done_by_name() {
    let mut case = Case::new(&[("a.yaml", "one"), ("b.yaml", "two"), ("c.txt", "not read")]);
    assert!(
        case.reader.read_told(case.directory.path()).is_none(),
        "nothing is known yet"
    );
    case.read();
    let mut silent = Reader::default();
    silent.read(case.directory.path()).unwrap();
    assert!(
        silent.read_told(case.directory.path()).is_none(),
        "it does not listen"
    );
    let first = told(&mut case);
    fs::write(case.path("b.yaml"), "owt").unwrap();
    fs::write(case.path("d.yaml"), "four").unwrap();
    let second = told(&mut case);
    assert_eq!(second.len(), 3);
    assert!(second[0].is_shared_with(&first[0]), "nobody has told of it");
    fs::write(case.path(".e.yaml.swp"), "five").unwrap();
    fs::rename(case.path(".e.yaml.swp"), case.path("e.yaml")).unwrap();
    fs::rename(case.path("d.yaml"), case.path("0.yaml")).unwrap();
    fs::remove_file(case.path("a.yaml")).unwrap();
    fs::create_dir(case.path("f.yaml")).unwrap();
    let third = told(&mut case);
    let texts: Vec<&[u8]> = third.iter().map(SourceFile::bytes).collect();
    assert_eq!(texts, [b"four".as_slice(), b"owt", b"five"]);
    // A whole look in between forgets nothing that has happened since.
    case.read();
    fs::write(case.path("b.yaml"), "two").unwrap();
    assert_eq!(told(&mut case)[1].bytes(), b"two");
}

#[test]
fn a_file_with_another_way_to_it_is_looked_at_each_time() {
    let mut case = Case::new(&[("target", "one"), ("b.yaml", "two"), ("c.yaml", "three")]);
    symlink(case.path("target"), case.path("a.yaml")).unwrap();
    let elsewhere = tempfile::tempdir_in(case.directory.path()).unwrap();
    fs::hard_link(case.path("b.yaml"), elsewhere.path().join("b")).unwrap();
    case.read();
    fs::write(case.path("target"), "uno").unwrap();
    fs::write(elsewhere.path().join("b"), "due").unwrap();
    let texts: Vec<Vec<u8>> = told(&mut case).iter().map(|file| file.bytes().to_vec()).collect();
    assert_eq!(texts, [b"uno".as_slice(), b"due", b"three"]);
}

#[test]
fn what_nobody_tells_of_is_found_by_a_look_at_every_file() {
    let mut case = Case::new(&[("a.yaml", "one"), ("b.yaml", "two")]);
    case.read();
    let elsewhere = tempfile::tempdir_in(case.directory.path()).unwrap();
    fs::hard_link(case.path("a.yaml"), elsewhere.path().join("a")).unwrap();
    fs::write(elsewhere.path().join("a"), "another").unwrap();
    let files = case.reader.read_told(case.directory.path()).unwrap();
    assert_eq!(files[0].bytes(), b"one");
    // What is written after that, and told of, is for the next reading.
    fs::write(case.path("b.yaml"), "later").unwrap();
    let looked = case.reader.look_again().unwrap();
    assert_eq!(
        [looked[0].bytes(), looked[1].bytes()],
        [b"another".as_slice(), b"later"]
    );
    let (a, b) = (case.path("a.yaml"), case.path("b.yaml"));
    assert_eq!(
        [case.reader.is_told_of(&a), case.reader.is_told_of(&b)],
        [false, true]
    );
    let texts: Vec<Vec<u8>> = told(&mut case).iter().map(|file| file.bytes().to_vec()).collect();
    assert_eq!(texts, [b"another".as_slice(), b"later"]);
}

#[test]
fn another_directory_in_the_place_of_the_first_is_read_whole() {
    let mut case = Case::new(&[]);
    let policies = case.path("policies");
    fs::create_dir(&policies).unwrap();
    fs::write(policies.join("a.yaml"), "one").unwrap();
    case.reader.read(&policies).unwrap();
    assert!(case.reader.read_told(&policies).is_some());
    assert!(case.reader.read_told(case.directory.path()).is_none());
    fs::rename(&policies, case.path("before")).unwrap();
    assert!(case.reader.read_told(&policies).is_none());
    fs::create_dir(&policies).unwrap();
    fs::write(policies.join("a.yaml"), "another").unwrap();
    assert!(case.reader.read_told(&policies).is_none());
    assert_eq!(case.reader.read(&policies).unwrap()[0].bytes(), b"another");
    assert!(case.reader.read_told(&policies).is_some());
}

#[test]
fn an_error_forgets_nothing_that_was_told() {
    let mut case = Case::new(&[("a.yaml", "one"), ("b.yaml", "two")]);
    case.read();
    fs::write(case.path("a.yaml"), "another").unwrap();
    symlink(case.path("nowhere"), case.path("c.yaml")).unwrap();
    assert!(case.reader.read_told(case.directory.path()).is_none());
    assert!(case.reader.read(case.directory.path()).is_err());
    fs::remove_file(case.path("c.yaml")).unwrap();
    assert!(case.reader.read_told(case.directory.path()).is_none());
    assert_eq!(case.read()[0].bytes(), b"another");
    assert_eq!(told(&mut case)[0].bytes(), b"another");
}
