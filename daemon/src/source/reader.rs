//! Reading the same directory again and again, of which few files have changed.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::{Builder, ScopedJoinHandle, available_parallelism};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    name: OsString,
    /// What tells that it has changed; `None` if nothing would.
    stamp: Option<Stamp>,
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
    stamp: Stamp,
}

impl Reader {
    /// The resource files of a directory, by name: its `*.yaml`, `*.yml` and `*.json`, not hidden, not below.
    pub fn read(&mut self, directory: &Path) -> Result<Vec<SourceFile>, SourceError> {
        let now = SystemTime::now();
        let found = list(directory)?;
        if self.directory != directory {
            *self = Reader {
                directory: directory.to_owned(),
                known: Vec::new(),
            };
        }
        let mut known = self.known.iter().enumerate().peekable();
        let mut taken = Vec::with_capacity(found.len());
        for Found { name, stamp } in found {
            while known.next_if(|(_, known)| known.name < name).is_some() {}
            let earlier = known.next_if(|(_, known)| known.name == name);
            if let Some((index, _)) = earlier.filter(|(_, earlier)| earlier.stamp == Some(stamp)) {
                taken.push(Taken::Unread(index));
                continue;
            }
            let path = directory.join(&name);
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(source) => return Err(SourceError::Read { path, source }),
            };
            let same = earlier.map(|(_, earlier)| &earlier.file);
            let same = same.filter(|file| file.bytes() == bytes).cloned();
            taken.push(Taken::Read(Known {
                name,
                stamp: stamp.is_older_than(now).then_some(stamp),
                file: same.unwrap_or_else(|| SourceFile::new(path.display().to_string(), &bytes)),
            }));
        }
        let mut known: Vec<Option<Known>> = self.known.drain(..).map(Some).collect();
        let as_it_was = |taken| match taken {
            Taken::Unread(index) => known[index].take(),
            Taken::Read(known) => Some(known),
        };
        self.known = taken.into_iter().filter_map(as_it_was).collect();
        Ok(self.known.iter().map(|known| known.file.clone()).collect())
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
    let stamps = stamps(&named);
    for ((name, _), stamp) in named.into_iter().zip(stamps) {
        match stamp {
            Ok(stamp) => found.extend(stamp.map(|stamp| Found { name, stamp })),
            // A policy that cannot be read must not be absent in silence.
            Err(source) => {
                let path = directory.join(name);
                return Err(SourceError::Read { path, source });
            }
        }
    }
    Ok(found)
}

/// The stamp of each entry; `None` of one that is no file, or that is gone since the directory was read, as an editor's
/// temporary files are.
fn stamps(named: &[(OsString, DirEntry)]) -> Vec<std::io::Result<Option<Stamp>>> {
    let stamp = |(_, entry): &(OsString, DirEntry)| match metadata(entry) {
        Ok(metadata) => Ok(metadata.is_file().then(|| Stamp::of(&metadata))),
        Err(gone) if gone.kind() == ErrorKind::NotFound && !entry.path().is_symlink() => Ok(None),
        Err(error) => Err(error),
    };
    // The kernel takes two microseconds for each, and does as many at a time as there are processors.
    let threads = match available_parallelism() {
        Ok(processors) if named.len() >= MANY => processors.get().min(MOST_THREADS),
        _ => 1,
    };
    let stamps_of = |share: &[(OsString, DirEntry)]| share.iter().map(stamp).collect::<Vec<_>>();
    let (own, others) = named.split_at(named.len().div_ceil(threads));
    std::thread::scope(|scope| {
        let others: Vec<_> = others
            .chunks(own.len().max(1))
            .map(|share| {
                let thread = Builder::new().spawn_scoped(scope, move || stamps_of(share));
                (share, thread)
            })
            .collect();
        let mut stamps = stamps_of(own);
        for (share, thread) in others {
            match thread.map(ScopedJoinHandle::join) {
                Ok(Ok(others)) => stamps.extend(others),
                Ok(Err(panic)) => resume_unwind(panic),
                // The host has no thread to spare.
                Err(_) => stamps.extend(stamps_of(share)),
            }
        }
        stamps
    })
}

/// What is known of a file, or of what a link leads to.
fn metadata(entry: &DirEntry) -> std::io::Result<Metadata> {
    // Without the way through the directories, for all but links.
    if entry.file_type()?.is_symlink() {
        fs::metadata(entry.path())
    } else {
        entry.metadata()
    }
}

/// Whether a file of this name is read: by its ending, unless it is hidden.
fn is_resource(name: &OsStr) -> bool {
    let ending = Path::new(name).extension().and_then(OsStr::to_str);
    !name.as_encoded_bytes().starts_with(b".") && ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests;
