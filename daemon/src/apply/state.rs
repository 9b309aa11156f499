//! What outlives the daemon: the number of the last generation.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::warn;

/// The state directory.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Last {
    generation: u64,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
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
        let last = match fs::read(directory.join("generation.json")) {
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
            last,
        })
    }

    /// The number of the last generation; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.last.map_or(0, |last| last.generation)
    }

    /// When the last generation came into force.
    pub fn generation_at(&self) -> Option<OffsetDateTime> {
        self.last.map(|last| last.at)
    }

    /// Keeps the number of a generation that came into force, so that a crash leaves the old or the new one.
    pub fn record(&mut self, generation: u64, at: OffsetDateTime) -> Result<(), StateError> {
        if self.generation() == generation {
            return Ok(());
        }
        let last = Last { generation, at };
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            serde_json::to_writer(&mut file, &last)?;
            file.as_file().sync_all()?;
            file.persist(self.directory.join("generation.json"))?;
            io::Result::Ok(())
        };
        write().map_err(|source| StateError {
            directory: self.directory.clone(),
            source,
        })?;
        self.last = Some(last);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = State::open(directory.path()).unwrap();
        assert_eq!(state.generation(), 0);
        state.record(7, OffsetDateTime::UNIX_EPOCH).unwrap();
        assert_eq!(State::open(directory.path()).unwrap().generation(), 7);
        fs::write(directory.path().join("generation.json"), "{").unwrap();
        assert_eq!(State::open(directory.path()).unwrap().generation(), 0);
    }
}
