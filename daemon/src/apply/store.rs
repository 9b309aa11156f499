//! The generations that can be gone back to: `generations/N.json` of the state directory says what generation N was made of,
//! and `generations/files` has the exact bytes, each once, under their SHA-256. So a generation costs what differs from the
//! one before it, however many files there are.
//!
//! A generation that only follows the host (an address, a service that was started) is made of the same bytes as the one
//! before it, and has no file of its own: that one says up to which number it goes.

mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use entry::StoredFile;
pub use entry::{Entry, Standing, Who};

use super::sources::Sources;
use super::state::replace_file;
use crate::source::SourceFile;

/// Generations that are kept.
const KEPT: usize = 20;

/// So many files are synced one by one.
const FEW: usize = 32;

const DIRECTORY: &str = "generations";
const FILES: &str = "files";

/// Why generations cannot be kept, or one cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk will not take it.
    #[error("generation {number} cannot be kept in {directory}: {source}")]
    Write {
        /// Which.
        number: u64,
        /// Where.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The disk does not give it back.
    #[error("generation {number} cannot be read: {path}: {source}")]
    Read {
        /// Which.
        number: u64,
        /// What of it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what was stored.
    #[error("generation {number} is damaged: {path} is not what was stored; it cannot be gone back to")]
    Damaged {
        /// Which.
        number: u64,
        /// What of it.
        path: PathBuf,
    },
    /// There is no such generation.
    #[error("generation {number} is not kept: there are {}", list(.kept))]
    Unknown {
        /// What was asked for.
        number: u64,
        /// What there is.
        kept: Vec<u64>,
    },
}

fn list(numbers: &[u64]) -> String {
    if numbers.is_empty() {
        return "none".to_owned();
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// The generations of a state directory.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    entries: BTreeMap<u64, Entry>,
    /// A generation whose files this process has seen to be there, and to be right.
    seen: Option<u64>,
}

impl Store {
    /// Finds those that are there; one that is damaged is passed over, and the log says so.
    pub(super) fn open(state_dir: &Path) -> Self {
        let directory = state_dir.join(DIRECTORY);
        let mut entries = BTreeMap::new();
        let mut texts = BTreeSet::new();
        let mut is_damaged = false;
        for found in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = found.path();
            let name = found.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                // What a daemon that was killed has left half written.
                let _ = fs::remove_file(&path);
                continue;
            }
            let number = name.to_str().and_then(|name| name.strip_suffix(".json"));
            let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else {
                continue;
            };
            let entry = fs::read(&path)
                .and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).map_err(io::Error::from));
            match entry {
                Ok(mut entry) if entry.number == number => {
                    entry.share(&mut texts);
                    entries.insert(number, entry);
                }
                Ok(_) => {
                    is_damaged = true;
                    warn!(file = %path.display(), "not generation {number}: passed over");
                }
                Err(error) => {
                    is_damaged = true;
                    warn!(%error, file = %path.display(), "generation {number} is damaged: passed over");
                }
            }
        }
        let store = Store {
            directory,
            entries,
            seen: None,
        };
        // What nobody names may be what is left of one that is damaged.
        if !is_damaged {
            store.tidy(&texts);
        }
        store
    }

    /// Removes the files that no generation has: what was written for one that was never finished.
    fn tidy(&self, known: &BTreeSet<Arc<str>>) {
        for found in fs::read_dir(self.files()).into_iter().flatten().flatten() {
            let name = found.file_name();
            if !name.to_str().is_some_and(|name| known.contains(name)) {
                let _ = fs::remove_file(found.path());
            }
        }
    }

    /// All of them, the oldest first.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    /// The stored generation of a number: that itself, or that whose resources it had.
    pub(super) fn find(&self, number: u64) -> Result<&Entry, StoreError> {
        let before = self.entries.range(..=number).next_back();
        let found = before.filter(|(_, entry)| entry.number == number || number <= entry.last);
        found.map(|(_, entry)| entry).ok_or_else(|| StoreError::Unknown {
            number,
            kept: self.entries.keys().copied().collect(),
        })
    }

    /// The newest that is made of these bytes and was confirmed, if no other was confirmed since.
    pub(super) fn latest(&self, sources: &Sources) -> Option<&Entry> {
        let mut confirmed = self.entries.values().rev();
        let latest = confirmed.find(|entry| entry.state == Standing::Confirmed)?;
        latest.is_of(sources).then_some(latest)
    }

    /// The bytes that a generation was made of.
    pub(super) fn sources(&self, number: u64) -> Result<Sources, StoreError> {
        let entry = self.find(number)?;
        let read = |stored: &StoredFile| {
            let path = self.file(stored);
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(source) => return Err(StoreError::Read { number, path, source }),
            };
            let file = SourceFile::new(Arc::clone(&stored.path), &bytes);
            if *file.sha256() != stored.sha256 {
                return Err(StoreError::Damaged { number, path });
            }
            Ok(file)
        };
        Ok(Sources {
            config: read(&entry.config)?,
            files: entry.files.iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    /// Keeps a generation, on disk when this returns; one of its number is replaced. Files that others have as well take no
    /// room, and no time if the last one has them.
    pub(super) fn keep(&mut self, entry: Entry, sources: &Sources) -> Result<(), StoreError> {
        let written = self.write(&entry, sources);
        written.map_err(|source| StoreError::Write {
            number: entry.number,
            directory: self.directory.clone(),
            source,
        })?;
        self.seen = Some(entry.number);
        if let Some(replaced) = self.entries.insert(entry.number, entry) {
            self.remove_files(&replaced);
        }
        self.forget();
        Ok(())
    }

    /// Notes what became of a generation.
    pub(super) fn note(&mut self, number: u64, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(&number) else {
            return;
        };
        // There may be thousands of files, of which none changes.
        let files = std::mem::take(&mut entry.files);
        let before = entry.clone();
        change(entry);
        let is_as_it_was = *entry == before;
        entry.files = files;
        if is_as_it_was {
            return;
        }
        let written = write_entry(&self.directory, entry);
        if let Err(error) = written {
            warn!(%error, "what became of generation {number} could not be noted; `palisade history` knows it until the next restart");
        }
    }

    /// Forgets a generation that never came into force.
    pub(super) fn remove(&mut self, number: u64) {
        let _ = self.take_out(number);
    }

    /// Forgets what was kept to come into force, and never did: nothing is unconfirmed.
    pub(super) fn forget_unconfirmed(&mut self) {
        let unconfirmed = self
            .entries
            .values()
            .filter(|entry| entry.state == Standing::Unconfirmed);
        let numbers: Vec<u64> = unconfirmed.map(|entry| entry.number).collect();
        for number in numbers {
            self.remove(number);
        }
    }

    fn write(&self, entry: &Entry, sources: &Sources) -> io::Result<()> {
        let directory = self.files();
        fs::create_dir_all(&directory)?;
        let mut written = Vec::new();
        let done = self
            .write_files(entry, sources, &mut written)
            .and_then(|()| sync(&written, &directory))
            .and_then(|()| write_entry(&self.directory, entry));
        if done.is_err() {
            // A disk that is full has no room for half of it.
            for path in &written {
                let _ = fs::remove_file(path);
            }
        }
        done
    }

    /// Writes the files that are not there; `written` gets the paths of those that are yet to be synced.
    fn write_files(&self, entry: &Entry, sources: &Sources, written: &mut Vec<PathBuf>) -> io::Result<()> {
        let seen = self.seen.and_then(|number| self.entries.get(&number));
        let others = seen.map(|seen| entry.sums_beside(seen));
        for (stored, file) in entry.all().zip(sources.all()) {
            if others
                .as_ref()
                .is_some_and(|others| !others.contains(&*stored.sha256))
            {
                continue;
            }
            let path = self.file(stored);
            // Only what is still as it was stored is worth having. What is not is put right, for all that have it.
            if !fs::read(&path).is_ok_and(|bytes| bytes == file.bytes()) {
                written.push(path.clone());
                File::create(&path)?.write_all(file.bytes())?;
            }
        }
        Ok(())
    }

    /// Where the files of all generations are.
    fn files(&self) -> PathBuf {
        self.directory.join(FILES)
    }

    /// Where a file is, whichever generations have it.
    fn file(&self, stored: &StoredFile) -> PathBuf {
        self.files().join(&*stored.sha256)
    }

    /// Forgets the oldest, as far as there are too many, but not what every window goes back to: the last that was
    /// confirmed.
    fn forget(&mut self) {
        let mut confirmed = self.entries.values().rev();
        let confirmed = confirmed.find(|entry| entry.state == Standing::Confirmed);
        let confirmed = confirmed.map(|entry| entry.number);
        while self.entries.len() > KEPT {
            let mut oldest = self.entries.keys().copied();
            let Some(number) = oldest.find(|number| Some(*number) != confirmed) else {
                break;
            };
            if let Err(error) = self.take_out(number) {
                warn!(%error, "generation {number} is forgotten, but its file stays");
            }
        }
    }

    fn take_out(&mut self, number: u64) -> io::Result<()> {
        let Some(entry) = self.entries.remove(&number) else {
            return Ok(());
        };
        // First what names its files: one that is named and not there would be damage.
        fs::remove_file(self.directory.join(entry_name(number)))?;
        self.remove_files(&entry);
        Ok(())
    }

    /// Removes the files that no other generation has.
    fn remove_files(&self, gone: &Entry) {
        let mut others = self.entries.values();
        let unused: BTreeSet<&str> = match others.next() {
            None => gone.all().map(|stored| &*stored.sha256).collect(),
            Some(first) => {
                let mut unused = gone.sums_beside(first);
                for stored in first.all() {
                    unused.remove(&*stored.sha256);
                }
                // Each of the others has little that the one before it does not have.
                others.fold(first, |before, other| {
                    for sum in other.sums_beside(before) {
                        unused.remove(sum);
                    }
                    other
                });
                unused
            }
        };
        for sum in unused {
            let _ = fs::remove_file(self.files().join(sum));
        }
    }
}

/// How the file is called that says what a generation was made of.
fn entry_name(number: u64) -> String {
    format!("{number}.json")
}

fn write_entry(directory: &Path, entry: &Entry) -> io::Result<()> {
    replace_file(directory, &entry_name(entry.number), &serde_json::to_vec(entry)?)
}

/// Brings files of a directory to the disk, and their names: all that its file system has yet to write, where that is
/// quicker than to wait for one file after the other.
fn sync(files: &[PathBuf], directory: &Path) -> io::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let directory = File::open(directory)?;
    if files.len() > FEW {
        return Ok(nix::unistd::syncfs(directory)?);
    }
    files.iter().try_for_each(|file| File::open(file)?.sync_all())?;
    directory.sync_all()
}

#[cfg(test)]
mod tests;
