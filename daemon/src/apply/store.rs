//! The generations that can be gone back to: `generations/N/` of the state directory, with the exact bytes that each was
//! made of.
//!
//! A generation that only follows the host (an address, a service that was started) is made of the same bytes as the one
//! before it, and has no directory of its own: that one says up to which number it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::warn;

use super::sources::Sources;
use super::state::replace_file;
use crate::source::SourceFile;

/// Generations that are kept.
const KEPT: usize = 20;

/// So many files are synced one by one.
const FEW: usize = 32;

const DIRECTORY: &str = "generations";
const ENTRY: &str = "generation.json";
const CONFIG: &str = "palisade.yaml";
const FILES: &str = "policy.d";

/// What is known of a generation that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// Its number after the host's last change: the same resources, for other addresses or services.
    pub last: u64,
    /// When it came into force.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What made it: `start`, `reload`, `promote web`, `canary 10 % web`, `rollback to 9`, ...
    pub why: String,
    /// Who asked for it.
    pub who: Who,
    /// What became of it.
    pub state: Standing,
    /// Why it was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<String>,
    /// The configuration.
    pub config: StoredFile,
    /// The resource files.
    pub files: Vec<StoredFile>,
}

/// A file of a stored generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Where it was read.
    #[serde(with = "shared")]
    pub path: Arc<str>,
    /// The SHA-256 of its bytes.
    #[serde(with = "shared")]
    pub sha256: Arc<str>,
}

/// Whether a generation may be gone back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is, or was, in force without a timer.
    Confirmed,
    /// It is in force until its window ends.
    Unconfirmed,
    /// It was unconfirmed, and another is in force again.
    RolledBack,
    /// It was a canary, whose time is over.
    Ended,
}

impl Standing {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Confirmed => "confirmed",
            Standing::Unconfirmed => "unconfirmed",
            Standing::RolledBack => "rolled back",
            Standing::Ended => "ended",
        }
    }
}

/// Who asked for a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Who {
    /// The daemon itself.
    #[default]
    Daemon,
    /// SIGHUP: nobody knows who sent it.
    Signal,
    /// A process at the API's socket, as far as it is known.
    Process {
        /// Its process id.
        pid: Option<i32>,
        /// Its name.
        comm: Option<String>,
        /// Its user.
        uid: Option<u32>,
        /// The user's name.
        user: Option<String>,
    },
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Who::Daemon => f.write_str("palisaded"),
            Who::Signal => f.write_str("SIGHUP"),
            Who::Process { pid, comm, uid, user } => {
                match (user, uid) {
                    (Some(user), _) => f.write_str(user)?,
                    (None, Some(uid)) => write!(f, "uid {uid}")?,
                    (None, None) => f.write_str("somebody")?,
                }
                match (comm, pid) {
                    (Some(comm), Some(pid)) => write!(f, ", {comm}[{pid}]"),
                    (None, Some(pid)) => write!(f, ", pid {pid}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

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
}

impl Store {
    /// Finds those that are there; one that is damaged is passed over, and the log says so.
    pub(super) fn open(state_dir: &Path) -> Self {
        let directory = state_dir.join(DIRECTORY);
        let mut entries = BTreeMap::new();
        let mut texts = BTreeSet::new();
        for found in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = found.path();
            let number = found
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u64>().ok());
            let Some(number) = number else {
                // What a daemon that was killed has left half written.
                if found.file_name().as_encoded_bytes().starts_with(b".") {
                    let _ = fs::remove_dir_all(&path);
                }
                continue;
            };
            let entry = fs::read(path.join(ENTRY))
                .and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).map_err(io::Error::from));
            match entry {
                Ok(mut entry) if entry.number == number => {
                    entry.share(&mut texts);
                    entries.insert(number, entry);
                }
                Ok(_) => warn!(directory = %path.display(), "not generation {number}: passed over"),
                Err(error) => {
                    warn!(%error, directory = %path.display(), "generation {number} is damaged: passed over");
                }
            }
        }
        Store { directory, entries }
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
        let directory = self.directory.join(entry.number.to_string());
        let read = |stored: &StoredFile, place: PathBuf| {
            let bytes = fs::read(&place).map_err(|source| StoreError::Read {
                number,
                path: place.clone(),
                source,
            })?;
            let file = SourceFile::new(Arc::clone(&stored.path), &bytes);
            if *file.sha256() != stored.sha256 {
                return Err(StoreError::Damaged { number, path: place });
            }
            Ok(file)
        };
        let files = entry.files.iter();
        Ok(Sources {
            config: read(&entry.config, directory.join(CONFIG))?,
            files: files
                .map(|stored| read(stored, directory.join(FILES).join(file_name(&stored.path))))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Keeps a generation, on disk when this returns; one of its number is replaced. Files that the one before has as well
    /// take no room.
    pub(super) fn keep(&mut self, entry: Entry, sources: &Sources) -> Result<(), StoreError> {
        let written = self.write(&entry, sources);
        written.map_err(|source| StoreError::Write {
            number: entry.number,
            directory: self.directory.clone(),
            source,
        })?;
        self.entries.insert(entry.number, entry);
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
        let directory = self.directory.join(number.to_string());
        let written = serde_json::to_vec_pretty(entry)
            .map_err(io::Error::from)
            .and_then(|bytes| replace_file(&directory, ENTRY, &bytes));
        if let Err(error) = written {
            warn!(%error, "what became of generation {number} could not be noted; `palisade history` knows it until the next restart");
        }
    }

    /// Forgets a generation that never came into force.
    pub(super) fn remove(&mut self, number: u64) {
        if self.entries.remove(&number).is_some() {
            let _ = fs::remove_dir_all(self.directory.join(number.to_string()));
        }
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
        fs::create_dir_all(&self.directory)?;
        let whole = tempfile::Builder::new().prefix(".").tempdir_in(&self.directory)?;
        fs::create_dir(whole.path().join(FILES))?;
        let older: Vec<Older<'_>> = self.entries.values().rev().take(2).map(Older::of).collect();
        let mut written = Vec::new();
        written.extend(self.write_file(whole.path(), Path::new(CONFIG), &sources.config, &older)?);
        for file in &sources.files {
            let place = Path::new(FILES).join(file_name(file.name()));
            written.extend(self.write_file(whole.path(), &place, file, &older)?);
        }
        sync(&written, whole.path())?;
        write_synced(&whole.path().join(ENTRY), &serde_json::to_vec_pretty(entry)?)?;
        File::open(whole.path().join(FILES))?.sync_all()?;
        File::open(whole.path())?.sync_all()?;
        let place = self.directory.join(entry.number.to_string());
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(whole.path(), &place)?;
        // It has another name now.
        let _ = whole.keep();
        File::open(&self.directory)?.sync_all()
    }

    /// Gives the path of a file that is yet to be synced.
    fn write_file(
        &self,
        whole: &Path,
        place: &Path,
        file: &SourceFile,
        older: &[Older<'_>],
    ) -> io::Result<Option<PathBuf>> {
        let has_it = |entry: &&Older<'_>| entry.sums.get(file.name()) == Some(&&**file.sha256());
        if let Some(same) = older.iter().find(has_it) {
            let same = self.directory.join(same.number.to_string()).join(place);
            // Only what is still as it was stored is worth a link.
            if fs::read(&same).is_ok_and(|bytes| bytes == file.bytes())
                && fs::hard_link(&same, whole.join(place)).is_ok()
            {
                return Ok(None);
            }
        }
        let path = whole.join(place);
        File::create_new(&path)?.write_all(file.bytes())?;
        Ok(Some(path))
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
            self.entries.remove(&number);
            if let Err(error) = fs::remove_dir_all(self.directory.join(number.to_string())) {
                warn!(%error, "generation {number} is forgotten, but its directory stays");
            }
        }
    }
}

/// The files of an older generation, found by where they were read.
struct Older<'e> {
    number: u64,
    sums: BTreeMap<&'e str, &'e str>,
}

impl<'e> Older<'e> {
    fn of(entry: &'e Entry) -> Self {
        let files = std::iter::once(&entry.config).chain(&entry.files);
        Older {
            number: entry.number,
            sums: files.map(|file| (&*file.path, &*file.sha256)).collect(),
        }
    }
}

impl Entry {
    /// An entry of these bytes.
    pub(super) fn new(
        number: u64,
        at: OffsetDateTime,
        why: String,
        who: Who,
        state: Standing,
        sources: &Sources,
    ) -> Self {
        let stored = |file: &SourceFile| StoredFile {
            path: Arc::clone(file.file().name()),
            sha256: Arc::clone(file.sha256()),
        };
        Entry {
            number,
            last: number,
            at,
            why,
            who,
            state,
            rolled_back: None,
            config: stored(&sources.config),
            files: sources.files.iter().map(stored).collect(),
        }
    }

    /// Shares names and sums with other entries: most files are in all of them.
    fn share(&mut self, texts: &mut BTreeSet<Arc<str>>) {
        let files = std::iter::once(&mut self.config).chain(&mut self.files);
        for text in files.flat_map(|file| [&mut file.path, &mut file.sha256]) {
            if let Some(known) = texts.get(&**text) {
                *text = Arc::clone(known);
            } else {
                texts.insert(Arc::clone(text));
            }
        }
    }

    /// Whether it is made of these bytes.
    pub(super) fn is_of(&self, sources: &Sources) -> bool {
        let stored = std::iter::once(&self.config).chain(&self.files);
        self.files.len() == sources.files.len()
            && stored
                .zip(sources.all())
                .all(|(stored, file)| stored.sha256 == *file.sha256() && *stored.path == *file.name())
    }
}

/// A text that many entries share.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}

/// Resource files are of one directory: their names tell them apart.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Brings files of a directory to the disk: all that its file system has yet to write, where that is quicker than to wait
/// for one file after the other.
fn sync(files: &[PathBuf], directory: &Path) -> io::Result<()> {
    if files.len() > FEW {
        return Ok(nix::unistd::syncfs(File::open(directory)?)?);
    }
    files.iter().try_for_each(|file| File::open(file)?.sync_all())
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
