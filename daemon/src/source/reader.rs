//! Reading the same directory again and again, of which few files have changed.
//!
//! There are two ways to find out which. [`Reader::read`] looks at every file. [`Reader::read_told`] looks at those that the
//! kernel has told of, at a cost that follows the change: it is right about all that is written in the directory by name,
//! which is nearly everything, and not about all that there is. Who takes its answer looks at every file later.

mod events;

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::{Builder, ScopedJoinHandle, available_parallelism};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::events::Events;
use super::{ENDINGS, SourceError, SourceFile};

/// A file that was changed so short a time before it was read may be changed once more without a sign of it: the clock of
/// a file system ticks every few milliseconds, that of some every two seconds.
const TICK: Duration = Duration::from_secs(2);

/// So many files are not looked at by one thread alone.
const MANY: usize = 1000;

/// The most threads that look at files.
const MOST_THREADS: usize = 4;

/// Reads the resource files of a directory, and remembers them: a file that by all signs is as it was is not read again.
#[derive(Debug, Default)]
pub struct Reader {
    directory: PathBuf,
    /// By name.
    known: Vec<Known>,
    /// Whether the kernel is asked to tell of changes.
    listens: bool,
    /// What it tells of since all files were looked at last; `None` where it does not.
    events: Option<Events>,
}

#[derive(Debug)]
struct Known {
    name: OsString,
    /// What tells that it has changed; `None` if nothing would.
    stamp: Option<Stamp>,
    /// Whether the kernel tells of a change wherever it is made.
    is_told_of: bool,
    file: SourceFile,
}

/// The signs of a change. What writes a file sets its time of change, which nobody can set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file of a directory that is to be read.
struct Found {
    name: OsString,
    signs: Signs,
}

/// What can be seen of a file from outside.
#[derive(Clone, Copy)]
struct Signs {
    stamp: Stamp,
    /// Whether it stands in the directory, under one name alone: no other way leads to what is in it.
    has_one_name: bool,
}

impl Reader {
    /// A reader that has the kernel tell of changes, for [`Reader::read_told`].
    pub fn listening() -> Self {
        Reader {
            listens: true,
            ..Reader::default()
        }
    }

    /// The resource files of a directory, by name: its `*.yaml`, `*.yml` and `*.json`, not hidden, not below.
    pub fn read(&mut self, directory: &Path) -> Result<Vec<SourceFile>, SourceError> {
        if self.directory != directory {
            *self = Reader {
                directory: directory.to_owned(),
                listens: self.listens,
                ..Reader::default()
            };
        }
        // From here on: what changes while the files are looked at is looked at once more. After an error, nothing counts.
        let earlier = self.events.take();
        let events = self
            .listens
            .then(|| Events::from_now_on(earlier, directory))
            .flatten();
        self.look()?;
        self.events = events;
        Ok(self.files())
    }

    /// As [`Reader::read`], as far as the kernel tells what has changed since that; `None` where only a look at every file
    /// can say, or say what is wrong.
    ///
    /// It does not tell of a file that is written through a mapping, that has been given a second name elsewhere and is
    /// written by that, or that a mount has come to cover.
    pub fn read_told(&mut self, directory: &Path) -> Option<Vec<SourceFile>> {
        let now = SystemTime::now();
        if self.directory != directory {
            return None;
        }
        let told = self.events.as_mut()?.told(directory)?;
        let untold = self.known.iter().filter(|known| !known.is_told_of);
        let untold = untold.map(|known| known.name.clone());
        let told = told.iter().filter(|name| is_resource(name)).cloned();
        let names: Vec<OsString> = told.chain(untold).collect();
        for name in names {
            let signs = signs(&directory.join(&name)).ok()?;
            let place = self.known.binary_search_by(|known| known.name.cmp(&name));
            let earlier = place.ok().map(|at| &self.known[at]);
            let found = signs.map(|signs| Found { name, signs });
            let found = found.map(|found| found.read(directory, earlier, now));
            match (place, found.transpose().ok()?) {
                (Ok(at), Some(known)) => self.known[at] = known,
                (Err(at), Some(known)) => self.known.insert(at, known),
                (Ok(at), None) => drop(self.known.remove(at)),
                (Err(_), None) => {}
            }
        }
        self.events.as_mut()?.forget();
        Some(self.files())
    }

    /// As [`Reader::read`], in the directory that was read last. What the kernel has told of since [`Reader::read_told`] is
    /// still to be read.
    pub fn look_again(&mut self) -> Result<Vec<SourceFile>, SourceError> {
        // After an error, nothing counts.
        let events = self.events.take();
        self.look()?;
        self.events = events;
        Ok(self.files())
    }

    /// Whether the kernel has told of this file since [`Reader::read_told`].
    pub fn is_told_of(&mut self, path: &Path) -> bool {
        let told = self
            .events
            .as_mut()
            .and_then(|events| events.told(&self.directory));
        let name = path.file_name();
        told.zip(name).is_some_and(|(told, name)| told.contains(name))
    }

    /// Looks at every file, and reads those that are not known as they are.
    fn look(&mut self) -> Result<(), SourceError> {
        let now = SystemTime::now();
        let found = list(&self.directory)?;
        let mut known = self.known.iter().enumerate().peekable();
        let mut taken = Vec::with_capacity(found.len());
        for found in found {
            while known.next_if(|(_, known)| known.name < found.name).is_some() {}
            let earlier = known.next_if(|(_, known)| known.name == found.name);
            let same = earlier.filter(|(_, earlier)| earlier.stamp == Some(found.signs.stamp));
            taken.push(match same {
                Some((index, earlier)) if earlier.is_told_of == found.signs.has_one_name => {
                    Taken::Unread(index)
                }
                _ => Taken::Read(found.read(&self.directory, earlier.map(|(_, earlier)| earlier), now)?),
            });
        }
        let mut known: Vec<Option<Known>> = self.known.drain(..).map(Some).collect();
        let as_it_was = |taken| match taken {
            Taken::Unread(index) => known[index].take(),
            Taken::Read(known) => Some(known),
        };
        self.known = taken.into_iter().filter_map(as_it_was).collect();
        Ok(())
    }

    fn files(&self) -> Vec<SourceFile> {
        self.known.iter().map(|known| known.file.clone()).collect()
    }
}

impl Found {
    /// Reads it. What has the same bytes as `earlier` is the same file.
    fn read(self, directory: &Path, earlier: Option<&Known>, now: SystemTime) -> Result<Known, SourceError> {
        let path = directory.join(&self.name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(SourceError::Read { path, source }),
        };
        let same = earlier.map(|earlier| &earlier.file);
        let same = same.filter(|file| file.bytes() == bytes).cloned();
        let Signs { stamp, has_one_name } = self.signs;
        Ok(Known {
            name: self.name,
            stamp: stamp.is_older_than(now).then_some(stamp),
            is_told_of: has_one_name,
            file: same.unwrap_or_else(|| SourceFile::new(path.display().to_string(), &bytes)),
        })
    }
}

/// What becomes of a file that is there.
enum Taken {
    /// It is the known one of this index.
    Unread(usize),
    /// It was read.
    Read(Known),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether whatever changes the file from now on gives it another stamp.
    fn is_older_than(&self, now: SystemTime) -> bool {
        let latest = self.modified.max(self.changed);
        let Ok(seconds) = u64::try_from(latest.0) else {
            return true;
        };
        // A time that is yet to come says nothing of the clock that the file system goes by.
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds) + TICK);
        at.is_some_and(|at| at < now)
    }
}

impl Signs {
    fn of(metadata: &Metadata, is_link: bool) -> Self {
        Signs {
            stamp: Stamp::of(metadata),
            has_one_name: !is_link && metadata.nlink() == 1,
        }
    }
}

/// The resource files of a directory, by name.
fn list(directory: &Path) -> Result<Vec<Found>, SourceError> {
    let error = |source| SourceError::Read {
        path: directory.to_owned(),
        source,
    };
    let mut named = Vec::new();
    for entry in fs::read_dir(directory).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        if is_resource(&name) {
            named.push((name, entry));
        }
    }
    named.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut found = Vec::with_capacity(named.len());
    let signs = signs_of_all(&named);
    for ((name, _), signs) in named.into_iter().zip(signs) {
        match signs {
            Ok(signs) => found.extend(signs.map(|signs| Found { name, signs })),
            // A policy that cannot be read must not be absent in silence.
            Err(source) => {
                let path = directory.join(name);
                return Err(SourceError::Read { path, source });
            }
        }
    }
    Ok(found)
}

/// The signs of each entry.
fn signs_of_all(named: &[(OsString, DirEntry)]) -> Vec<std::io::Result<Option<Signs>>> {
    let signs_of_one = |(_, entry): &(OsString, DirEntry)| match entry.file_type() {
        // Without the way through the directories, for all but links.
        Ok(kind) if !kind.is_symlink() => if_there(entry.metadata(), false, || entry.path()),
        _ => signs(&entry.path()),
    };
    // The kernel takes two microseconds for each, and does as many at a time as there are processors.
    let threads = match available_parallelism() {
        Ok(processors) if named.len() >= MANY => processors.get().min(MOST_THREADS),
        _ => 1,
    };
    let signs_of = |share: &[(OsString, DirEntry)]| share.iter().map(signs_of_one).collect::<Vec<_>>();
    let (own, others) = named.split_at(named.len().div_ceil(threads));
    std::thread::scope(|scope| {
        let others: Vec<_> = others
            .chunks(own.len().max(1))
            .map(|share| {
                let thread = Builder::new().spawn_scoped(scope, move || signs_of(share));
                (share, thread)
            })
            .collect();
        let mut signs = signs_of(own);
        for (share, thread) in others {
            match thread.map(ScopedJoinHandle::join) {
                Ok(Ok(others)) => signs.extend(others),
                Ok(Err(panic)) => resume_unwind(panic),
                // The host has no thread to spare.
                Err(_) => signs.extend(signs_of(share)),
            }
        }
        signs
    })
}

/// The signs of a file, or of what a link leads to.
fn signs(path: &Path) -> std::io::Result<Option<Signs>> {
    let is_link = path.is_symlink();
    if_there(fs::metadata(path), is_link, || path.to_owned())
}

/// `None` of what is no file, or is gone since the directory was read, as an editor's temporary files are.
fn if_there(
    metadata: std::io::Result<Metadata>,
    is_link: bool,
    path: impl FnOnce() -> PathBuf,
) -> std::io::Result<Option<Signs>> {
    match metadata {
        Ok(metadata) => Ok(metadata.is_file().then(|| Signs::of(&metadata, is_link))),
        Err(gone) if gone.kind() == ErrorKind::NotFound && !path().is_symlink() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file of this name is read: by its ending, unless it is hidden.
fn is_resource(name: &OsStr) -> bool {
    let ending = Path::new(name).extension().and_then(OsStr::to_str);
    !name.as_encoded_bytes().starts_with(b".") && ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests;
