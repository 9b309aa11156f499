//! The cgroups (v2) of the host's services, and when they come and go.
//!
//! A unit has a cgroup only while it runs, and at each start another one: what the kernel compares is its id, which is
//! the inode of its directory. systemd puts every unit of the system into a slice, and slices into slices, so those are
//! the only directories that have to be looked into and watched.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use palisade_rules::resource::ServiceUnit;
use tokio::sync::Notify;
use tracing::warn;

/// Where systemd keeps what users start: no unit of the system is there.
const USER_SLICE: &str = "user.slice";

/// Slices below slices that are looked into. systemd nests them as deep as their names have dashes.
const MOST_LEVELS: usize = 16;

/// Directories that are looked into at most, whatever somebody makes there.
pub(super) const MOST_DIRECTORIES: usize = 4_096;

/// How often the cgroups are looked at where the kernel does not tell us of changes.
const POLL: Duration = Duration::from_secs(1);

/// The cgroups that services are looked for in.
pub struct Cgroups {
    /// Opened when the first service is looked for; `None` where it cannot be.
    inotify: OnceLock<Option<Inotify>>,
    hierarchy: Mutex<Option<PathBuf>>,
    /// The names of directories whose coming or going may matter, slices aside.
    names: Mutex<BTreeSet<String>>,
    watches: Mutex<BTreeSet<WatchDescriptor>>,
    /// Whether not everything that matters is watched.
    polling: AtomicBool,
    changed: Notify,
}

/// Why the cgroups cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CgroupsError {
    /// No hierarchy.
    #[error(
        "there are ServiceEndpoints for this host, but no whole cgroup v2 hierarchy is mounted, so that services cannot be told apart: boot with systemd.unified_cgroup_hierarchy=1, mount -t cgroup2 none /sys/fs/cgroup, or remove the ServiceEndpoints"
    )]
    NoHierarchy,
    /// A directory, or the list of mounts, cannot be read.
    #[error("there are ServiceEndpoints for this host, but {path} cannot be read: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Cgroups {
    /// Watches nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Cgroups {
            inotify: OnceLock::new(),
            hierarchy: Mutex::default(),
            names: Mutex::default(),
            watches: Mutex::default(),
            polling: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    /// The ids of the cgroups of these units that exist now, by path below the root. From here on, their coming and
    /// going wakes [`Cgroups::changed`]; nothing that happens during the call is missed.
    pub fn read(
        self: &Arc<Self>,
        units: &BTreeSet<ServiceUnit>,
    ) -> Result<BTreeMap<String, u64>, CgroupsError> {
        *lock(&self.names) = names(units);
        let inotify = if units.is_empty() {
            self.inotify.get().and_then(Option::as_ref)
        } else {
            self.inotify.get_or_init(|| self.open()).as_ref()
        };
        let mut walk = Walk {
            units,
            inotify,
            found: BTreeMap::new(),
            watches: BTreeSet::new(),
            unwatched: None,
        };
        if !units.is_empty() {
            walk.walk(&self.hierarchy()?)?;
        }
        let mut watches = lock(&self.watches);
        for stale in watches.difference(&walk.watches) {
            // The watch of a directory that is gone went with it.
            let _ = inotify.map(|inotify| inotify.rm_watch(*stale));
        }
        *watches = walk.watches;
        drop(watches);
        self.poll(walk.unwatched);
        Ok(walk.found)
    }

    /// Waits until the cgroups may no longer be those that were read last.
    pub async fn changed(&self) {
        if self.polling.load(Ordering::Relaxed) {
            tokio::time::sleep(POLL).await;
        } else {
            self.changed.notified().await;
        }
    }

    /// Wakes [`Cgroups::changed`]: what was read last was read for units that are not in force.
    pub fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Opens inotify, and reads it on a thread of its own until the process ends.
    fn open(self: &Arc<Self>) -> Option<Inotify> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).ok()?;
        let cgroups = Arc::clone(self);
        let reader = std::thread::Builder::new().name("cgroups".to_owned());
        reader.spawn(move || cgroups.follow()).ok()?;
        Some(inotify)
    }

    /// Reads events, and tells of those that matter.
    fn follow(&self) {
        let Some(inotify) = self.inotify.wait() else {
            return;
        };
        loop {
            let matters = match inotify.read_events() {
                Ok(events) => {
                    let names = lock(&self.names);
                    let mut events = events.iter();
                    events.any(|event| matters(&names, event.mask, event.name.as_deref()))
                }
                Err(Errno::EINTR) => false,
                // Whatever it is that fails, the cgroups themselves can be read.
                Err(_) => {
                    std::thread::sleep(POLL);
                    true
                }
            };
            if matters {
                self.changed.notify_one();
            }
        }
    }

    /// Takes note of whether everything that matters is watched.
    fn poll(&self, unwatched: Option<io::Error>) {
        let polling = unwatched.is_some();
        if self.polling.swap(polling, Ordering::Relaxed) == polling {
            return;
        }
        if let Some(error) = unwatched {
            warn!(
                "the cgroups of services cannot be watched ({error}): they are looked at every {POLL:?} instead; \
                 sysctl fs.inotify.max_user_watches and fs.inotify.max_user_instances set the limits"
            );
        }
        self.changed.notify_one();
    }

    /// Where the cgroup v2 hierarchy is mounted, from its root on.
    fn hierarchy(&self) -> Result<PathBuf, CgroupsError> {
        let mut hierarchy = lock(&self.hierarchy);
        if let Some(hierarchy) = &*hierarchy {
            return Ok(hierarchy.clone());
        }
        let path = Path::new("/proc/self/mountinfo");
        let mounts = std::fs::read_to_string(path).map_err(|source| CgroupsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let found = mounted(&mounts).ok_or(CgroupsError::NoHierarchy)?;
        Ok(hierarchy.insert(found).clone())
    }
}

/// The mount point of the first whole cgroup v2 hierarchy (`proc_pid_mountinfo(5)`: the fourth field is the root of the
/// mount within its file system, the fifth the mount point, and the type comes after a lone hyphen).
pub(super) fn mounted(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (file_system.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
    })
}

/// The names of directories that lead to these units, slices aside.
fn names(units: &BTreeSet<ServiceUnit>) -> BTreeSet<String> {
    let names = units.iter().flat_map(|unit| match unit {
        ServiceUnit::Unit(name) => vec![name.clone()],
        ServiceUnit::Cgroup(path) => path.split('/').map(str::to_owned).collect(),
    });
    names.collect()
}

/// Whether an event may be the coming or going of a cgroup that is looked for, or that one may come in.
fn matters(names: &BTreeSet<String>, mask: AddWatchFlags, name: Option<&std::ffi::OsStr>) -> bool {
    // Lost events may have been of any kind; where the hierarchy was unmounted, reading it says so.
    mask.intersects(AddWatchFlags::IN_Q_OVERFLOW | AddWatchFlags::IN_UNMOUNT)
        || mask.contains(AddWatchFlags::IN_ISDIR)
            && name
                .and_then(|name| name.to_str())
                .is_some_and(|name| is_slice(name) || names.contains(name))
}

fn is_slice(name: &str) -> bool {
    name.strip_suffix(".slice").is_some()
}

/// One reading of the hierarchy.
struct Walk<'a> {
    units: &'a BTreeSet<ServiceUnit>,
    inotify: Option<&'a Inotify>,
    found: BTreeMap<String, u64>,
    watches: BTreeSet<WatchDescriptor>,
    /// Why a directory is not watched.
    unwatched: Option<io::Error>,
}

impl Walk<'_> {
    /// Looks into the root, its slices and theirs, and whatever else leads to a path that is looked for.
    fn walk(&mut self, root: &Path) -> Result<(), CgroupsError> {
        let mut left = MOST_DIRECTORIES;
        // Paths below the root, and whether they are slices all the way.
        let mut open = vec![(String::new(), true)];
        while let Some((path, in_slices)) = open.pop() {
            let Some(fewer) = left.checked_sub(1) else {
                self.unwatched = Some(io::Error::other(format!(
                    "there are more than {MOST_DIRECTORIES} slices"
                )));
                break;
            };
            left = fewer;
            let directory = root.join(&path);
            // What comes from here on is noticed, what was there before is found.
            self.watch(&directory);
            let below = match subdirectories(&directory) {
                Err(gone) if !path.is_empty() && is_gone(&gone) => continue,
                below => below.map_err(|source| CgroupsError::Read {
                    path: directory,
                    source,
                })?,
            };
            for (name, id) in below {
                let child = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}/{name}")
                };
                if self.is_wanted(&child, &name, in_slices) {
                    self.found.insert(child.clone(), id);
                }
                let is_slice = in_slices
                    && is_slice(&name)
                    && child != USER_SLICE
                    && child.split('/').count() <= MOST_LEVELS;
                if is_slice && self.wants_units() || self.leads_on(&child) {
                    open.push((child, is_slice));
                }
            }
        }
        Ok(())
    }

    fn is_wanted(&self, path: &str, name: &str, in_slices: bool) -> bool {
        self.units.iter().any(|unit| match unit {
            ServiceUnit::Unit(unit) => in_slices && unit == name,
            ServiceUnit::Cgroup(cgroup) => cgroup == path,
        })
    }

    fn wants_units(&self) -> bool {
        self.units.iter().any(|unit| matches!(unit, ServiceUnit::Unit(_)))
    }

    /// Whether a path that is looked for is below this one.
    fn leads_on(&self, path: &str) -> bool {
        self.units.iter().any(|unit| match unit {
            ServiceUnit::Unit(_) => false,
            ServiceUnit::Cgroup(cgroup) => cgroup
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/')),
        })
    }

    fn watch(&mut self, directory: &Path) {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
        let watched = match self.inotify {
            Some(inotify) => inotify.add_watch(directory, flags).map_err(io::Error::from),
            None => Err(io::Error::from(Errno::EMFILE)),
        };
        match watched {
            Ok(watch) => {
                self.watches.insert(watch);
            }
            Err(gone) if is_gone(&gone) => {}
            Err(error) => self.unwatched = Some(error),
        }
    }
}

/// The names and inodes of the directories in a directory, without those that go meanwhile.
fn subdirectories(directory: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                // A unit's name is ASCII.
                found.extend(
                    entry
                        .file_name()
                        .into_string()
                        .ok()
                        .map(|name| (name, metadata.ino())),
                );
            }
            Ok(_) => {}
            Err(gone) if is_gone(&gone) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Whether a directory has been removed; one that is still open has no entries any more (`ENODEV` from kernfs).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is replaced whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
