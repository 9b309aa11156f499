//! What is known of a generation that is stored, and of its files.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::super::sources::Sources;
use crate::source::SourceFile;

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

impl Entry {
    /// An entry of these bytes.
    pub(in super::super) fn new(
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
    pub(super) fn share(&mut self, texts: &mut BTreeSet<Arc<str>>) {
        let files = std::iter::once(&mut self.config).chain(&mut self.files);
        for text in files.flat_map(|file| [&mut file.path, &mut file.sha256]) {
            if let Some(known) = texts.get(&**text) {
                *text = Arc::clone(known);
            } else {
                texts.insert(Arc::clone(text));
            }
        }
    }

    /// Every file, the configuration first.
    pub(super) fn all(&self) -> impl Iterator<Item = &StoredFile> {
        std::iter::once(&self.config).chain(&self.files)
    }

    /// The sums of the files that the other does not have; there may be some that it has elsewhere.
    pub(super) fn sums_beside<'e>(&'e self, other: &'e Entry) -> BTreeSet<&'e str> {
        let is_same = |(file, same): &(&StoredFile, &StoredFile)| file == same;
        let before = self.files.iter().zip(&other.files).take_while(is_same).count();
        let (mine, others) = (&self.files[before..], &other.files[before..]);
        let behind = mine
            .iter()
            .rev()
            .zip(others.iter().rev())
            .take_while(is_same)
            .count();
        let (mine, others) = (&mine[..mine.len() - behind], &others[..others.len() - behind]);
        let sums = |config: &'e StoredFile, files: &'e [StoredFile]| -> BTreeSet<&'e str> {
            let files = std::iter::once(config).chain(files);
            files.map(|stored| &*stored.sha256).collect()
        };
        &sums(&self.config, mine) - &sums(&other.config, others)
    }

    /// Whether it is made of these bytes.
    pub(in super::super) fn is_of(&self, sources: &Sources) -> bool {
        self.files.len() == sources.files.len()
            && self
                .all()
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
