//! Changes of files that can be taken back, whatever happens in between.
//!
//! Before anything is changed, `unconfirmed.json` in the state directory says what is about to be, and beside each file
//! that changes a copy of what it was is put, hidden (`.10-web.yaml.previous`). From then on going back takes no room on
//! the disk: a file is renamed to what it was. Nothing is lost on the way: what was unconfirmed is in `generations/N`, and
//! what somebody has written meanwhile is kept beside, under another name.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::warn;

use super::sources::Sources;
use super::state::replace_file;
use super::store::Who;
use crate::source::{SourceFile, sha256};

/// The note in the state directory, there as long as a generation is unconfirmed.
const NOTE: &str = "unconfirmed.json";

/// What is changed, and what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The unconfirmed generation.
    pub generation: u64,
    /// The generation that it goes back to.
    pub previous: u64,
    /// The stored generation whose files that one was made of.
    pub previous_files: u64,
    /// When the window began.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// How long it is.
    pub window_ms: u64,
    /// The share of connections of a canary, in percent.
    pub canary: Option<u8>,
    /// What made it.
    pub why: String,
    /// Who asked for it.
    pub who: Who,
    /// The files that change.
    pub files: Vec<Changed>,
}

/// A file that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Changed {
    /// How it is called where it is read.
    pub name: String,
    /// Where it really is.
    pub path: PathBuf,
    /// The SHA-256 of what it was; `None` if there was none.
    pub before: Option<String>,
    /// The SHA-256 of what it becomes; `None` if there is to be none.
    pub after: Option<String>,
}

/// Why a file cannot be changed, or changed back.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {path}: {source}")]
pub struct WayBackError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WayBackError {
    let path = path.to_owned();
    move |source| WayBackError { doing, path, source }
}

impl Changed {
    /// What differs between these sources, as it is on the disk.
    pub(super) fn between(previous: &Sources, next: &Sources) -> Vec<Changed> {
        let sum = |sources: &Sources, name: &str| sources.at(name).map(|file| file.sha256().to_string());
        let changed = |path: PathBuf| {
            let name = path.display().to_string();
            Changed {
                // What a link leads to is changed, and not the link.
                path: fs::canonicalize(&path).unwrap_or(path),
                before: sum(previous, &name),
                after: sum(next, &name),
                name,
            }
        };
        previous.differing(next).into_iter().map(changed).collect()
    }

    /// Where the copy of what it was is.
    fn copy(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".previous");
        self.path.with_file_name(name)
    }

    fn on_disk(&self) -> Result<Option<String>, WayBackError> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(sha256(&bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &self.path)(error)),
        }
    }

    /// Puts a copy of what it was beside it.
    fn save(&self, previous: &Sources) -> Result<(), WayBackError> {
        let Some(before) = &self.before else { return Ok(()) };
        let copy = self.copy();
        discard(&copy)?;
        let is_there = self.on_disk()?.as_ref() == Some(before);
        // A link takes no room, and keeps owner, mode and all else that is known of the file.
        if is_there && fs::hard_link(&self.path, &copy).is_ok() {
            return Ok(());
        }
        let bytes = previous.at(&self.name).map(SourceFile::bytes);
        write(
            &copy,
            bytes.unwrap_or_default(),
            fs::metadata(&self.path).ok().as_ref(),
        )
    }

    /// Makes it what it is to become. What somebody has written meanwhile is kept, and told.
    fn change(
        &self,
        wanted: Option<&str>,
        from: Option<&str>,
        bytes: impl FnOnce() -> Result<Vec<u8>, WayBackError>,
        generation: u64,
    ) -> Result<Option<String>, WayBackError> {
        let is = self.on_disk()?;
        if is.as_deref() == wanted {
            return Ok(None);
        }
        let like = fs::metadata(&self.path).ok();
        let mut note = None;
        if is.is_some() && is.as_deref() != from {
            let aside = aside(&self.path, generation);
            fs::rename(&self.path, &aside).map_err(failed("rename", &self.path))?;
            note = Some(format!(
                "{} had been edited meanwhile: the edited one is now {}",
                self.name,
                aside.display()
            ));
        }
        if wanted.is_some() {
            write(&self.path, &bytes()?, like.as_ref())?;
        } else {
            discard(&self.path)?;
        }
        Ok(note)
    }

    /// Makes it what it was. What somebody has written meanwhile is kept, and told.
    fn change_back(
        &self,
        previous: &impl Fn(&str) -> Option<Vec<u8>>,
        generation: u64,
    ) -> Result<Option<String>, WayBackError> {
        let copy = self.copy();
        let saved = fs::read(&copy).ok().map(|bytes| sha256(&bytes));
        let is = self.on_disk()?;
        if self.before.is_none() || saved != self.before || is == self.before {
            let bytes = || {
                previous(&self.name).ok_or_else(|| {
                    failed("restore", &self.path)(io::Error::other("what it was is not kept any more"))
                })
            };
            return self.change(self.before.as_deref(), self.after.as_deref(), bytes, generation);
        }
        let mut note = None;
        if is.is_some() && is != self.after {
            let aside = aside(&self.path, generation);
            // A second name first, so that there is a file of this name at every moment.
            let kept = fs::hard_link(&self.path, &aside).or_else(|_| fs::rename(&self.path, &aside));
            kept.map_err(failed("rename", &self.path))?;
            note = Some(format!(
                "{} had been edited meanwhile: the edited one is now {}",
                self.name,
                aside.display()
            ));
        }
        fs::rename(&copy, &self.path).map_err(failed("restore", &self.path))?;
        Ok(note)
    }
}

impl Note {
    /// The note that an earlier daemon has left, if there is one.
    pub(super) fn load(state_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(state_dir.join(NOTE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a note aside that cannot be understood.
    pub(super) fn set_aside(state_dir: &Path) -> io::Result<()> {
        let note = state_dir.join(NOTE);
        fs::rename(&note, note.with_extension("json.damaged"))
    }

    /// Makes everything ready for going back, and writes the note. Nothing else is changed.
    pub(super) fn write(&self, state_dir: &Path, previous: &Sources) -> Result<(), WayBackError> {
        let saved = self.files.iter().try_for_each(|file| file.save(previous));
        let written = saved.and_then(|()| {
            let text = serde_json::to_vec_pretty(self).map_err(io::Error::from);
            let written = text.and_then(|text| replace_file(state_dir, NOTE, &text));
            written.map_err(failed("write", &state_dir.join(NOTE)))
        });
        if written.is_err() {
            self.forget_copies();
        }
        written
    }

    /// Makes the files what they are to become.
    pub(super) fn change_files(&self, next: &Sources) -> Result<Vec<String>, WayBackError> {
        let mut notes = Vec::new();
        for file in &self.files {
            let bytes = || {
                Ok(next
                    .at(&file.name)
                    .map(|file| file.bytes().to_vec())
                    .unwrap_or_default())
            };
            notes.extend(file.change(
                file.after.as_deref(),
                file.before.as_deref(),
                bytes,
                self.generation,
            )?);
        }
        self.sync();
        Ok(notes)
    }

    /// Makes the files what they were; `previous` knows what that was. Says what is worth knowing.
    pub(super) fn change_files_back(
        &self,
        previous: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<Vec<String>, WayBackError> {
        let mut notes = Vec::new();
        let mut failed = None;
        for file in &self.files {
            match file.change_back(&previous, self.generation) {
                Ok(note) => notes.extend(note),
                // The others go back all the same.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        self.sync();
        failed.map_or(Ok(notes), Err)
    }

    /// The note has done its work.
    pub(super) fn remove(&self, state_dir: &Path) -> Result<(), WayBackError> {
        let note = state_dir.join(NOTE);
        discard(&note)?;
        let synced = File::open(state_dir).and_then(|directory| directory.sync_all());
        synced.map_err(failed("remove", &note))?;
        self.forget_copies();
        Ok(())
    }

    fn forget_copies(&self) {
        for file in &self.files {
            // A hidden file too many is no harm.
            let _ = discard(&file.copy());
        }
    }

    fn sync(&self) {
        for directory in self.files.iter().filter_map(|file| file.path.parent()) {
            // Where a directory cannot be synced, its file system does it in its own time.
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
    }
}

/// Another name for what somebody has edited: one that is not read as a resource.
fn aside(path: &Path, generation: u64) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".edited-in-{generation}"));
        if number > 1 {
            name.push(format!("-{number}"));
        }
        path.with_file_name(name)
    };
    let mut names = (1..).map(name);
    let free = names.find(|name| fs::symlink_metadata(name).is_err());
    free.unwrap_or_else(|| path.with_extension("edited"))
}

/// Writes a file as a whole, like the one that it replaces in owner and mode.
fn write(path: &Path, bytes: &[u8], like: Option<&Metadata>) -> Result<(), WayBackError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let written = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".palisade-")
            .tempfile_in(directory)?;
        file.write_all(bytes)?;
        let like = match like {
            Some(like) => Some(like.clone()),
            // As readable as its directory is.
            None => fs::metadata(directory).ok(),
        };
        if let Some(like) = like {
            let mode = like.mode() & 0o666;
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            file.as_file().set_permissions(permissions)?;
            let owned = std::os::unix::fs::fchown(file.as_file(), Some(like.uid()), Some(like.gid()));
            if owned.is_err() {
                // That takes CAP_CHOWN, which the daemon does not keep.
                warn!(
                    "{} is root's now, and no longer of user {} and group {}, whose palisaded may not make it: chown it if they \
                     need it",
                    path.display(),
                    like.uid(),
                    like.gid()
                );
            }
        }
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(directory)?.sync_all()
    };
    written().map_err(failed("write", path))
}

fn discard(path: &Path) -> Result<(), WayBackError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        state: tempfile::TempDir,
        policies: tempfile::TempDir,
        previous: Sources,
        next: Sources,
        note: Note,
    }

    /// `a.yaml` changes, `gone.yaml` goes, `come.yaml` comes.
    fn case() -> Case {
        let state = tempfile::tempdir().unwrap();
        let policies = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = policies.path().join(name);
            SourceFile::new(path.display().to_string(), text.as_bytes())
        };
        let config = file("palisade.yaml", "");
        let previous = Sources {
            config: config.clone(),
            files: vec![
                file("a.yaml", "old"),
                file("gone.yaml", "gone"),
                file("same.yaml", "same"),
            ],
        };
        let next = Sources {
            config,
            files: vec![
                file("a.yaml", "new"),
                file("come.yaml", "come"),
                file("same.yaml", "same"),
            ],
        };
        for file in previous.all() {
            fs::write(file.name(), file.bytes()).unwrap();
        }
        let note = Note {
            generation: 7,
            previous: 6,
            previous_files: 5,
            at: OffsetDateTime::UNIX_EPOCH,
            window_ms: 60_000,
            canary: None,
            why: "reload".to_owned(),
            who: Who::Daemon,
            files: Changed::between(&previous, &next),
        };
        Case {
            state,
            policies,
            previous,
            next,
            note,
        }
    }

    impl Case {
        fn text(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.policies.path().join(name)).ok()
        }

        fn back(&self) -> Vec<String> {
            let note = Note::load(self.state.path()).unwrap().unwrap();
            assert_eq!(note, self.note);
            let bytes = |name: &str| self.previous.at(name).map(|file| file.bytes().to_vec());
            let notes = note.change_files_back(bytes).unwrap();
            note.remove(self.state.path()).unwrap();
            assert_eq!(Note::load(self.state.path()).unwrap(), None);
            notes
        }

        fn assert_previous(&self) {
            for file in self.previous.all() {
                assert_eq!(fs::read(file.name()).unwrap(), file.bytes(), "{}", file.name());
            }
            assert_eq!(self.text("come.yaml"), None);
            let hidden = fs::read_dir(self.policies.path()).unwrap().flatten();
            let hidden = hidden.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."));
            assert_eq!(hidden.count(), 0);
        }
    }

    #[test]
    fn files_go_there_and_back() {
        let case = case();
        let inode = || fs::metadata(case.policies.path().join("a.yaml")).unwrap().ino();
        let before = inode();
        case.note.write(case.state.path(), &case.previous).unwrap();
        assert!(case.note.change_files(&case.next).unwrap().is_empty());
        assert_eq!(case.text("a.yaml").as_deref(), Some("new"));
        assert_eq!(case.text("gone.yaml"), None);
        assert_eq!(case.text("come.yaml").as_deref(), Some("come"));
        assert!(case.back().is_empty());
        case.assert_previous();
        assert_eq!(inode(), before, "it is the very file that it was");
    }

    #[test]
    fn going_back_from_anywhere_in_between() {
        // Killed before any file, after one, and after one has gone back.
        for (there, back) in [(0, 0), (1, 0), (3, 1), (3, 3)] {
            let case = case();
            case.note.write(case.state.path(), &case.previous).unwrap();
            let part = |count| Note {
                files: case.note.files[..count].to_vec(),
                ..case.note.clone()
            };
            part(there).change_files(&case.next).unwrap();
            let bytes = |name: &str| case.previous.at(name).map(|file| file.bytes().to_vec());
            part(back).change_files_back(bytes).unwrap();
            assert!(case.back().is_empty());
            case.assert_previous();
        }
    }

    #[test]
    fn what_is_edited_meanwhile_is_kept() {
        let case = case();
        case.note.write(case.state.path(), &case.previous).unwrap();
        case.note.change_files(&case.next).unwrap();
        fs::write(case.policies.path().join("a.yaml"), "edited").unwrap();
        fs::write(case.policies.path().join("come.yaml"), "edited too").unwrap();
        assert_eq!(case.back().len(), 2);
        assert_eq!(case.text("a.yaml.edited-in-7").as_deref(), Some("edited"));
        assert_eq!(case.text("come.yaml.edited-in-7").as_deref(), Some("edited too"));
        case.assert_previous();
    }

    #[test]
    fn a_link_stays_a_link() {
        let case = case();
        let real = case.state.path().join("real.yaml");
        let link = case.policies.path().join("a.yaml");
        fs::rename(&link, &real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let case = Case {
            note: Note {
                files: Changed::between(&case.previous, &case.next),
                ..case.note.clone()
            },
            ..case
        };
        case.note.write(case.state.path(), &case.previous).unwrap();
        case.note.change_files(&case.next).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(link.is_symlink());
        case.back();
        assert!(link.is_symlink());
        case.assert_previous();
    }
}
