//! The note that `palisade panic` leaves: as long as it is there, nothing is brought into force.

use std::io;
use std::path::{Path, PathBuf};

/// The note, there or not.
#[derive(Clone, Debug)]
pub struct Panic {
    directory: PathBuf,
}

impl Panic {
    /// The note in this state directory.
    pub fn new(state_dir: &Path) -> Self {
        Panic {
            directory: state_dir.to_owned(),
        }
    }

    /// The state directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether it is there.
    pub fn is_set(&self) -> bool {
        self.path().exists()
    }

    /// Leaves the note.
    pub fn set(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        std::fs::write(
            self.path(),
            "palisade panic was called; palisade resume takes it back\n",
        )
    }

    /// Takes the note away, if it is there.
    pub fn clear(&self) -> io::Result<()> {
        match std::fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("panic")
    }
}
