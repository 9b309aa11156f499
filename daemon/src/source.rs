//! Where resources come from: files and directories.

mod file;
mod reader;

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_rules::decode;
use palisade_rules::diagnostic::Diagnostics;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::{FileId, Files};
use palisade_rules::yaml;

pub use file::{SourceFile, sha256};
pub use reader::Reader;

/// The endings that a file in a directory must have to be read.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What was read, and what came of it.
pub struct Reading {
    /// Every file, for showing places in them.
    pub files: Files,
    /// The ids of all of them, in order.
    pub ids: Vec<FileId>,
    /// The resources, or `None` if any is wrong.
    pub snapshot: Option<Snapshot>,
    /// What is wrong, or worth knowing.
    pub diagnostics: Diagnostics,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {source}{}", remedy(.source))]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Reads and decodes files, directories (their `*.yaml`, `*.yml` and `*.json`, not hidden, not below) and `-` for
/// standard input.
pub fn read(paths: &[PathBuf]) -> Result<Reading, SourceError> {
    Ok(decode_files(&read_files(paths)?))
}

/// Decodes files that have been read.
pub fn decode_files(sources: &[SourceFile]) -> Reading {
    Decoder::default().read(sources)
}

/// Decodes the same files again and again, of which few have changed.
#[derive(Debug, Default)]
pub struct Decoder(decode::Decoder);

impl Decoder {
    /// As [`decode_files`], at little cost for files that have not changed since the last time.
    pub fn read(&mut self, sources: &[SourceFile]) -> Reading {
        let (snapshot, diagnostics) = self.0.decode(sources.iter().map(SourceFile::file));
        let files = Files::of(sources.iter().map(|source| Arc::clone(source.file())).collect());
        Reading {
            snapshot,
            diagnostics,
            ids: files.ids().collect(),
            files,
        }
    }

    /// The resources alone, and what is to be said of them, ready to be shown.
    pub fn snapshot(&mut self, sources: &[SourceFile]) -> (Option<Snapshot>, String) {
        let (snapshot, diagnostics) = self.0.decode(sources.iter().map(SourceFile::file));
        if diagnostics.is_empty() {
            return (snapshot, String::new());
        }
        let files = Files::of(sources.iter().map(|source| Arc::clone(source.file())).collect());
        (snapshot, diagnostics.render(&files, false))
    }
}

/// Reads what [`read`] does, without making anything of it.
pub fn texts(paths: &[PathBuf]) -> Result<Texts, SourceError> {
    Ok(Texts::of(&read_files(paths)?))
}

/// Reads the bytes of the files that [`read`] would decode.
pub fn read_files(paths: &[PathBuf]) -> Result<Vec<SourceFile>, SourceError> {
    let mut files = Vec::new();
    let file = |path: &Path, bytes: std::io::Result<Vec<u8>>| {
        let bytes = bytes.map_err(|source| SourceError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(SourceFile::new(path.display().to_string(), &bytes))
    };
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes).map(|_| bytes);
            files.push(file(Path::new("<stdin>"), read)?);
        } else if path.is_dir() {
            files.extend(Reader::default().read(path)?);
        } else {
            files.push(file(path, std::fs::read(path))?);
        }
    }
    Ok(files)
}

/// Files as text, and what is wrong with their bytes.
#[derive(Default)]
pub struct Texts {
    /// Every file, for showing places in them.
    pub files: Files,
    /// Those that could be read as text, in order.
    pub ids: Vec<FileId>,
    /// What is wrong with the others.
    pub diagnostics: Diagnostics,
}

impl Texts {
    fn of(sources: &[SourceFile]) -> Self {
        let mut texts = Texts::default();
        for source in sources {
            let id = texts.files.push(Arc::clone(source.file()));
            match yaml::problem(&texts.files, id) {
                None => texts.ids.push(id),
                Some(diagnostic) => texts.diagnostics.push(diagnostic),
            }
        }
        texts
    }
}

/// What to do about it.
fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "; create it, or name another place",
        ErrorKind::PermissionDenied => "; make it readable, or be root",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_not_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("notes.txt"), "not read").unwrap();
        std::fs::create_dir(directory.path().join("below.yaml")).unwrap();
        let paths = [directory.path().to_owned()];
        assert!(read(&paths).unwrap().snapshot.is_some());
        let link = directory.path().join("10-web.yaml");
        std::os::unix::fs::symlink("/nonexistent", &link).unwrap();
        let Err(SourceError::Read { path, .. }) = read(&paths) else {
            panic!("the link was passed over");
        };
        assert_eq!(path, link);
    }
}
