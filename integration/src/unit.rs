//! The cgroup of a systemd unit, without systemd.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::eventually;

/// A process is in one cgroup at a time, and with it all of its threads.
static INSIDE: Mutex<()> = Mutex::new(());

/// Tells the units of one process apart.
static UNITS: AtomicUsize = AtomicUsize::new(0);

/// A unit in a slice of its own: its cgroup exists while it is started. Gone when dropped.
#[derive(Debug)]
pub struct Unit {
    name: String,
    slice: PathBuf,
}

impl Unit {
    /// A unit that is not started. Its name is unique.
    ///
    /// # Errors
    /// Without a cgroup v2 hierarchy that may be written.
    pub fn new() -> anyhow::Result<Self> {
        let number = UNITS.fetch_add(1, Ordering::Relaxed);
        let name = format!("palisade-test-{}-{number}", std::process::id());
        let slice = hierarchy()?.join(format!("{name}.slice"));
        std::fs::create_dir(&slice).with_context(|| format!("cannot make {}", slice.display()))?;
        Ok(Unit {
            name: format!("{name}.service"),
            slice,
        })
    }

    /// Its name as systemd has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes its cgroup.
    pub fn start(&self) -> anyhow::Result<()> {
        let cgroup = self.cgroup();
        std::fs::create_dir(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))
    }

    /// Removes its cgroup, as systemd does with the last process.
    pub fn stop(&self) -> anyhow::Result<()> {
        // What has just left counts for a moment longer.
        eventually(Duration::from_secs(10), || {
            Ok(std::fs::remove_dir(self.cgroup())?)
        })
    }

    /// Does something as a process of the unit: sockets that are made meanwhile are the unit's, for as long as they live.
    ///
    /// # Panics
    /// If this process cannot get back out.
    pub fn inside<T>(&self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        inside(&self.cgroup(), work)
    }

    fn cgroup(&self) -> PathBuf {
        self.slice.join(&self.name)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // There is nobody left to tell.
        if self.cgroup().exists() {
            let _ = self.stop();
        }
        let _ = std::fs::remove_dir(&self.slice);
    }
}

/// Does something as a process of a cgroup.
///
/// # Panics
/// If this process cannot get back out.
pub(crate) fn inside<T>(cgroup: &Path, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let _alone = INSIDE.lock().unwrap_or_else(PoisonError::into_inner);
    let home = home()?;
    enter(cgroup)?;
    let done = work();
    enter(&home).expect("the cgroup that this process was started in is still there");
    done
}

/// Where the cgroup v2 hierarchy is mounted.
pub(crate) fn hierarchy() -> anyhow::Result<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(point))
    });
    mount.context("no cgroup v2 hierarchy is mounted: these tests need one, as systemd does")
}

/// The cgroup that this process is in.
fn home() -> anyhow::Result<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(hierarchy()?.join(path.context("this process is in no cgroup v2")?))
}

fn enter(cgroup: &Path) -> anyhow::Result<()> {
    let procs = cgroup.join("cgroup.procs");
    let entered = std::fs::write(&procs, std::process::id().to_string());
    ensure!(
        entered.is_ok(),
        "cannot move this process by {}: {entered:?}",
        procs.display()
    );
    Ok(())
}
