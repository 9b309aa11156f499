//! What the kernel tells of a directory: the names of the files in it that may have changed (`inotify(7)`).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs,
};

/// File systems that nobody but this kernel writes to: what another host changes is told of to nobody.
const LOCAL: [FsType; 5] = [
    BTRFS_SUPER_MAGIC,
    EXT4_SUPER_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
    TMPFS_MAGIC,
    XFS_SUPER_MAGIC,
];

/// From so many names on, a look at every file costs no more.
const MANY: usize = 1000;

/// What happens in one directory.
#[derive(Debug)]
pub(super) struct Events {
    inotify: Inotify,
    directory: Identity,
    /// Names told of and not forgotten; `None` once not all of them are known.
    told: Option<BTreeSet<OsString>>,
}

/// Which directory a path leads to: its device and inode.
type Identity = (u64, u64);

impl Events {
    /// Listens from now on, as `earlier` did if that is still to be had; what was told until now is forgotten. `None` where
    /// the kernel does not tell everything.
    pub(super) fn from_now_on(earlier: Option<Self>, directory: &Path) -> Option<Self> {
        if let Some(mut earlier) = earlier
            && earlier.told(directory).is_some()
        {
            earlier.forget();
            return Some(earlier);
        }
        Events::open(directory)
    }

    fn open(directory: &Path) -> Option<Self> {
        let file_system = statfs(directory).ok()?.filesystem_type();
        if !LOCAL.contains(&file_system) {
            return None;
        }
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        let what = AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let identity = identity(directory)?;
        inotify.add_watch(directory, what).ok()?;
        (identity == self::identity(directory)?).then_some(Events {
            inotify,
            directory: identity,
            told: Some(BTreeSet::new()),
        })
    }

    /// The names that may have changed since they were last forgotten. Whoever writes a file has been told of before the
    /// write returns to it. `None` if they are too many, or not known, as when the path leads elsewhere by now.
    pub(super) fn told(&mut self, directory: &Path) -> Option<&BTreeSet<OsString>> {
        self.take_note();
        if identity(directory) != Some(self.directory) {
            self.told = None;
        }
        self.told.as_ref()
    }

    /// What was told has been looked at.
    pub(super) fn forget(&mut self) {
        if let Some(told) = &mut self.told {
            told.clear();
        }
    }

    /// Takes note of what has been told since the last time.
    fn take_note(&mut self) {
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    self.told = None;
                    return;
                }
            };
            for event in events {
                // Without a name it is of the directory itself, or says that events were lost.
                let told = self.told.take().zip(event.name);
                self.told = told.and_then(|(mut told, name)| {
                    told.insert(name);
                    (told.len() < MANY).then_some(told)
                });
            }
        }
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    let metadata = fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
