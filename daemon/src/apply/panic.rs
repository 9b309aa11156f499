//! The note that `palisade panic` leaves: as long as it is there, nothing is brought into force.

use std::io;
use std::path::{Path, PathBuf};

/// The note, there or not.
#[derive(Clone, Debug)]
pub struct Panic {
    path: PathBuf,
}

impl Panic {
    /// The note in this state directory.
    pub fn new(state_dir: &Path) -> Self {
        Panic {
            path: state_dir.join("panic"),
        }
    }

    /// Whether it is there.
    pub fn is_set(&self) -> bool {
        self.path.exists()
    }

    /// Leaves the note.
    pub fn set(&self) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(
            &self.path,
            "palisade panic was called; palisade resume takes it back\n",
        )
    }

    /// Takes the note away, if it is there.
    pub fn clear(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
