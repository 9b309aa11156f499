//! The bytes that a generation is made of: the configuration and every resource file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ReloadError;
use crate::config::{Config, ConfigError};
use crate::source::{Decoder, Reader, Reading, SourceFile};

/// The bytes that a generation is made of, as they were read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The configuration.
    pub config: SourceFile,
    /// The resource files, by name.
    pub files: Vec<SourceFile>,
}

impl Sources {
    /// Reads the configuration, and the files of its policy directory, which `reader` may know.
    pub fn read(config_path: &Path, reader: &mut Reader) -> Result<(Self, Config), ReloadError> {
        let (config, decoded) = read_config(config_path)?;
        let files = reader.read(&decoded.policy_dir)?;
        Ok((Sources { config, files }, decoded))
    }

    /// The same as far as the kernel tells what has changed ([`Reader::read_told`]); `None` where a look at every file is
    /// needed.
    pub fn read_told(config_path: &Path, reader: &mut Reader) -> Option<(Self, Config)> {
        let (config, decoded) = read_config(config_path).ok()?;
        let files = reader.read_told(&decoded.policy_dir)?;
        Some((Sources { config, files }, decoded))
    }

    /// What the resource files say.
    pub fn decode(&self) -> Reading {
        Decoder::default().read(&self.files)
    }

    /// Every file with its path, the configuration first.
    pub fn all(&self) -> impl Iterator<Item = &SourceFile> {
        std::iter::once(&self.config).chain(&self.files)
    }

    /// The file of this path.
    pub fn at(&self, path: &str) -> Option<&SourceFile> {
        self.all().find(|file| file.name() == path)
    }

    /// The same with other texts of some files.
    #[must_use]
    pub fn with(&self, changed: impl IntoIterator<Item = SourceFile>) -> Self {
        let mut sources = self.clone();
        for file in changed {
            let mut old = sources.files.iter_mut();
            match old.find(|old| old.name() == file.name()) {
                Some(old) => *old = file,
                None if sources.config.name() == file.name() => sources.config = file,
                None => sources.files.push(file),
            }
        }
        sources
    }

    /// The paths of the files that are not the same in the other, or not there in one of the two.
    pub fn differing(&self, other: &Sources) -> Vec<PathBuf> {
        let (mine, theirs) = self.apart(other);
        let of_theirs: BTreeMap<&str, &SourceFile> = theirs.iter().map(|&file| (file.name(), file)).collect();
        let of_mine: BTreeMap<&str, &SourceFile> = mine.iter().map(|&file| (file.name(), file)).collect();
        let differs = |file: &&SourceFile| of_theirs.get(file.name()).is_none_or(|same| *same != *file);
        let mine = mine.iter().copied().filter(differs);
        let theirs = theirs
            .iter()
            .copied()
            .filter(|file| !of_mine.contains_key(file.name()));
        mine.chain(theirs)
            .map(|file| PathBuf::from(file.name()))
            .collect()
    }

    /// The files of both, without those before and behind that they share.
    fn apart<'s>(&'s self, other: &'s Sources) -> (Vec<&'s SourceFile>, Vec<&'s SourceFile>) {
        let is_shared = |(mine, theirs): &(&SourceFile, &SourceFile)| mine.is_shared_with(theirs);
        let before = self.files.iter().zip(&other.files).take_while(is_shared).count();
        let (mine, theirs) = (&self.files[before..], &other.files[before..]);
        let behind = mine
            .iter()
            .rev()
            .zip(theirs.iter().rev())
            .take_while(is_shared)
            .count();
        let (mine, theirs) = (&mine[..mine.len() - behind], &theirs[..theirs.len() - behind]);
        (
            std::iter::once(&self.config).chain(mine).collect(),
            std::iter::once(&other.config).chain(theirs).collect(),
        )
    }
}

fn read_config(path: &Path) -> Result<(SourceFile, Config), ReloadError> {
    let bytes = std::fs::read(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let config = SourceFile::new(path.display().to_string(), &bytes);
    let decoded = Config::of(&config)?;
    Ok((config, decoded))
}
