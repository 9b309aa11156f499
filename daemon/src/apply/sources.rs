//! The bytes that a generation is made of: the configuration and every resource file.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ReloadError;
use crate::config::{Config, ConfigError};
use crate::source::{self, Reading, SourceFile};

/// The bytes that a generation is made of, as they were read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The configuration.
    pub config: SourceFile,
    /// The resource files, by name.
    pub files: Vec<SourceFile>,
}

impl Sources {
    /// Reads the configuration, and the files of its policy directory.
    pub fn read(config_path: &Path) -> Result<(Self, Config), ReloadError> {
        let bytes = std::fs::read(config_path).map_err(|source| ConfigError::Read {
            path: config_path.to_owned(),
            source,
        })?;
        let config = SourceFile {
            name: config_path.display().to_string(),
            bytes,
        };
        let decoded = Config::of(&config)?;
        let files = source::read_files(std::slice::from_ref(&decoded.policy_dir))?;
        Ok((Sources { config, files }, decoded))
    }

    /// What the resource files say.
    pub fn decode(&self) -> Reading {
        source::decode_files(&self.files)
    }

    /// Every file with its path, the configuration first.
    pub fn all(&self) -> impl Iterator<Item = &SourceFile> {
        std::iter::once(&self.config).chain(&self.files)
    }

    /// The file of this path.
    pub fn at(&self, path: &str) -> Option<&SourceFile> {
        self.all().find(|file| file.name == path)
    }

    /// The same with other texts of some files.
    #[must_use]
    pub fn with(&self, changed: impl IntoIterator<Item = SourceFile>) -> Self {
        let mut sources = self.clone();
        for file in changed {
            let mut old = sources.files.iter_mut();
            match old.find(|old| old.name == file.name) {
                Some(old) => old.bytes = file.bytes,
                None if sources.config.name == file.name => sources.config = file,
                None => sources.files.push(file),
            }
        }
        sources
    }

    /// The paths of the files that are not the same in the other, or not there in one of the two.
    pub fn differing(&self, other: &Sources) -> Vec<PathBuf> {
        let differs = |file: &&SourceFile, other: &Sources| {
            other.at(&file.name).is_none_or(|same| same.bytes != file.bytes)
        };
        let mine = self.all().filter(|file| differs(file, other));
        let theirs = other.all().filter(|file| self.at(&file.name).is_none());
        mine.chain(theirs).map(|file| PathBuf::from(&file.name)).collect()
    }
}

/// The SHA-256 of these bytes, in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
