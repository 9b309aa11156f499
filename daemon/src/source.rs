//! Where resources come from: files and directories.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use palisade_rules::decode::decode;
use palisade_rules::diagnostic::Diagnostics;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::{FileId, Files};
use palisade_rules::yaml;

/// The endings that a file in a directory must have to be read.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What was read, and what came of it.
pub struct Reading {
    /// Every file, for showing places in them.
    pub files: Files,
    /// Those that could be read as text, in order.
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

/// A file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// What diagnostics call it.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Reads and decodes files, directories (their `*.yaml`, `*.yml` and `*.json`, not hidden, not below) and `-` for
/// standard input.
pub fn read(paths: &[PathBuf]) -> Result<Reading, SourceError> {
    Ok(decode_files(&read_files(paths)?))
}

/// Decodes files that have been read.
pub fn decode_files(sources: &[SourceFile]) -> Reading {
    let Texts {
        files,
        ids,
        mut diagnostics,
    } = Texts::of(sources);
    let (snapshot, decoded) = decode(&files, &ids);
    let readable = !diagnostics.has_errors();
    diagnostics.append(decoded);
    Reading {
        snapshot: snapshot.filter(|_| readable),
        diagnostics: diagnostics.sorted(),
        files,
        ids,
    }
}

/// Reads what [`read`] does, without making anything of it.
pub fn texts(paths: &[PathBuf]) -> Result<Texts, SourceError> {
    Ok(Texts::of(&read_files(paths)?))
}

/// Reads the bytes of the files that [`read`] would decode.
pub fn read_files(paths: &[PathBuf]) -> Result<Vec<SourceFile>, SourceError> {
    let mut files = Vec::new();
    let mut add = |path: &Path, bytes: std::io::Result<Vec<u8>>| {
        let bytes = bytes.map_err(|source| SourceError::Read {
            path: path.to_owned(),
            source,
        })?;
        let name = path.display().to_string();
        files.push(SourceFile { name, bytes });
        Ok(())
    };
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes).map(|_| bytes);
            add(Path::new("<stdin>"), read)?;
        } else if path.is_dir() {
            for path in directory(path)? {
                add(&path, std::fs::read(&path))?;
            }
        } else {
            add(path, std::fs::read(path))?;
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
            match yaml::add(&mut texts.files, source.name.clone(), &source.bytes) {
                Ok(id) => texts.ids.push(id),
                Err(diagnostic) => texts.diagnostics.push(*diagnostic),
            }
        }
        texts
    }
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
        if hidden || !ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            continue;
        }
        match std::fs::metadata(&entry) {
            Ok(metadata) if metadata.is_file() => paths.push(entry),
            Ok(_) => {}
            // Gone since the directory was read, as an editor's temporary files are.
            Err(gone) if gone.kind() == ErrorKind::NotFound && !entry.is_symlink() => {}
            // A policy that cannot be read must not be absent in silence.
            Err(source) => {
                return Err(SourceError::Read { path: entry, source });
            }
        }
    }
    paths.sort();
    Ok(paths)
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
