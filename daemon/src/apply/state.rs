//! What outlives the daemon: the number of the last generation, and since when its staged policies are as they are.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use palisade_rules::resource::{Policy, PolicyId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::warn;

use super::generation::{Generation, StagedSince, meaning};

/// The file of the state directory that is read and written here.
const GENERATION: &str = "generation.json";

/// The state directory.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    last: Last,
    /// Whether the file says the same.
    is_kept: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Last {
    /// 0 before the first.
    generation: u64,
    #[serde(with = "time::serde::rfc3339::option")]
    at: Option<OffsetDateTime>,
    /// The highest number that any generation has had: one that was rolled back has one too.
    #[serde(default)]
    used: u64,
    #[serde(default)]
    staged: Vec<Staged>,
}

/// A staged policy, and since when it has meant what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Staged {
    kind: String,
    namespace: Option<String>,
    name: String,
    meaning: u64,
    generation: u64,
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot use the state directory {directory}: {source}; create it, writable for palisaded, or set stateDir"
)]
pub struct StateError {
    directory: PathBuf,
    source: io::Error,
}

impl State {
    /// Opens the directory, creating it if need be. A damaged file counts as none: the numbers start again, and the log
    /// says so.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let error = |source| StateError {
            directory: directory.to_owned(),
            source,
        };
        fs::create_dir_all(directory).map_err(error)?;
        let last = match fs::read(directory.join(GENERATION)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .inspect_err(|error| {
                    warn!(%error, directory = %directory.display(), "generation.json is damaged: generations are numbered from 1 again");
                })
                .ok(),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => None,
            Err(other) => return Err(error(other)),
        };
        Ok(State {
            directory: directory.to_owned(),
            is_kept: last.is_some(),
            last: last.unwrap_or_default(),
        })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The number of the last generation; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.last.generation
    }

    /// The highest number that any generation has had; the next has a higher one.
    pub fn used(&self) -> u64 {
        self.last.used.max(self.last.generation)
    }

    /// No other generation gets this number. It is kept on disk with the next that is recorded.
    pub fn use_up(&mut self, number: u64) {
        if number > self.used() {
            self.last.used = number;
            self.is_kept = false;
        }
    }

    /// When the last generation came into force.
    pub fn generation_at(&self) -> Option<OffsetDateTime> {
        self.last.at
    }

    /// Since when the staged policies of the last generation have been as they are, for those that still are.
    pub fn staged_since<'p>(
        &self,
        policies: impl Iterator<Item = &'p Policy>,
    ) -> BTreeMap<PolicyId, StagedSince> {
        let key = |staged: &Staged| (staged.name.clone(), staged.namespace.clone(), staged.kind.clone());
        let known: BTreeMap<_, &Staged> = self
            .last
            .staged
            .iter()
            .map(|staged| (key(staged), staged))
            .collect();
        let same = |policy: &Policy| {
            policy.staged?;
            let id = &policy.id;
            let staged = known.get(&(id.name.clone(), id.namespace.clone(), id.kind.to_string()))?;
            let since = StagedSince {
                generation: staged.generation,
                at: staged.since,
            };
            (staged.meaning == meaning(policy)).then(|| (id.clone(), since))
        };
        policies.filter_map(same).collect()
    }

    /// Keeps what is to be known of a generation that came into force, so that a crash leaves the old or the new one.
    pub fn record(&mut self, generation: &Generation) -> Result<(), StateError> {
        let last = Last {
            generation: generation.number,
            at: Some(generation.at),
            used: self.used().max(generation.number),
            staged: self.staged(generation),
        };
        if self.last != last {
            self.last = last;
            self.is_kept = false;
        }
        if !self.is_kept {
            let written = serde_json::to_vec(&self.last)
                .map_err(io::Error::from)
                .and_then(|bytes| replace_file(&self.directory, GENERATION, &bytes));
            written.map_err(|source| StateError {
                directory: self.directory.clone(),
                source,
            })?;
            self.is_kept = true;
        }
        Ok(())
    }
}

impl State {
    /// The staged policies of a generation. What is as it was means what it meant.
    fn staged(&self, generation: &Generation) -> Vec<Staged> {
        let since = generation.staged_since.iter();
        if self
            .last
            .staged
            .iter()
            .map(Staged::identity)
            .eq(since.map(identity))
        {
            return self.last.staged.clone();
        }
        let staged = generation.staged().filter_map(|policy| {
            let since = generation.staged_since.get_key_value(&policy.id)?;
            Some((since, meaning(policy)))
        });
        let staged: BTreeMap<_, _> = staged
            .map(|((id, since), meaning)| (id, (since, meaning)))
            .collect();
        staged
            .into_iter()
            .map(|(id, (since, meaning))| Staged {
                kind: id.kind.to_string(),
                namespace: id.namespace.clone(),
                name: id.name.clone(),
                meaning,
                generation: since.generation,
                since: since.at,
            })
            .collect()
    }
}

impl Staged {
    fn identity(&self) -> (&str, Option<&str>, &str, u64, OffsetDateTime) {
        let namespace = self.namespace.as_deref();
        (&self.kind, namespace, &self.name, self.generation, self.since)
    }
}

fn identity<'g>(
    (id, since): (&'g PolicyId, &StagedSince),
) -> (&'g str, Option<&'g str>, &'g str, u64, OffsetDateTime) {
    let namespace = id.namespace.as_deref();
    (id.kind.as_str(), namespace, &id.name, since.generation, since.at)
}

/// Replaces a file as a whole: after a crash or a loss of power it has the old text or the new one.
pub(super) fn replace_file(directory: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist(directory.join(name))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let write = |text: &str| fs::write(directory.path().join(GENERATION), text).unwrap();
        assert_eq!(State::open(directory.path()).unwrap().generation(), 0);
        write(r#"{"generation":7,"at":"2024-01-01T00:00:00Z"}"#);
        let state = State::open(directory.path()).unwrap();
        assert_eq!(state.generation(), 7);
        assert_eq!(state.generation_at().unwrap().year(), 2024);
        write("{");
        assert_eq!(State::open(directory.path()).unwrap().generation(), 0);
    }
}
