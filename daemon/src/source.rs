//! Where resources come from: files and directories.

use std::path::{Path, PathBuf};

use palisade_rules::decode::decode;
use palisade_rules::diagnostic::Diagnostics;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::{FileId, Files};

/// The endings that a file in a directory must have to be read.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What was read, and what came of it.
pub struct Reading {
    /// Every file, for showing places in them.
    pub files: Files,
    /// The resources, or `None` if any is wrong.
    pub snapshot: Option<Snapshot>,
    /// What is wrong, or worth knowing.
    pub diagnostics: Diagnostics,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not text.
    #[error("{path} is not UTF-8 text (first bad byte at offset {offset}): save it as UTF-8")]
    NotText {
        /// Which.
        path: PathBuf,
        /// Where.
        offset: usize,
    },
}

/// Reads and decodes files, directories (their `*.yaml`, `*.yml` and `*.json`, not hidden, not below) and `-` for
/// standard input.
pub fn read(paths: &[PathBuf]) -> Result<Reading, SourceError> {
    let mut files = Files::default();
    let mut ids = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let bytes = std::io::read_to_string(std::io::stdin()).map(String::into_bytes);
            add(&mut files, &mut ids, Path::new("<stdin>"), bytes)?;
        } else if path.is_dir() {
            for path in directory(path)? {
                let bytes = std::fs::read(&path);
                add(&mut files, &mut ids, &path, bytes)?;
            }
        } else {
            add(&mut files, &mut ids, path, std::fs::read(path))?;
        }
    }
    let (snapshot, diagnostics) = decode(&files, &ids);
    Ok(Reading {
        files,
        snapshot,
        diagnostics,
    })
}

/// The resource files of a directory, by name.
fn directory(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let error = |source| SourceError::Read {
        path: path.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(error)? {
        let entry = entry.map_err(error)?.path();
        let hidden = entry
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = entry.extension().and_then(|ending| ending.to_str());
        if !hidden && ending.is_some_and(|ending| ENDINGS.contains(&ending)) && entry.is_file() {
            paths.push(entry);
        }
    }
    paths.sort();
    Ok(paths)
}

fn add(
    files: &mut Files,
    ids: &mut Vec<FileId>,
    path: &Path,
    bytes: std::io::Result<Vec<u8>>,
) -> Result<(), SourceError> {
    let bytes = bytes.map_err(|source| SourceError::Read {
        path: path.to_owned(),
        source,
    })?;
    let text = String::from_utf8(bytes).map_err(|error| SourceError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    ids.push(files.add(path.display().to_string(), text));
    Ok(())
}
