//! The cgroups of a case, real ones, and sockets in them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use palisade_cases::{CGROUPS, Case, Journey, PORTS, Way};
use palisade_rules::net::Protocol;
use palisade_rules::resource::ServiceUnit;

use super::lab::INTERFACES;
use crate::unit;

/// What the cgroup of a process is called, but for the process.
const PREFIX: &str = "palisade-fuzz-";

/// The cgroups of [`CGROUPS`], below one that is of this process alone. Gone when dropped.
pub(super) struct Services {
    name: String,
    root: PathBuf,
    /// Their ids by path, those that only hold others included; the one of all others is the empty path.
    ids: BTreeMap<String, u64>,
}

impl Services {
    /// Makes them.
    ///
    /// # Errors
    /// Without a cgroup v2 hierarchy that may be written.
    pub(super) fn new() -> anyhow::Result<Self> {
        let hierarchy = unit::hierarchy()?;
        sweep(&hierarchy)?;
        let name = format!("{PREFIX}{}", std::process::id());
        let mut services = Services {
            root: hierarchy.join(&name),
            name,
            ids: BTreeMap::new(),
        };
        for (path, _) in CGROUPS {
            let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
            for path in [""].into_iter().chain(parents).chain([path]) {
                let directory = services.root.join(path);
                fs::create_dir_all(&directory)
                    .with_context(|| format!("cannot make {}", directory.display()))?;
                services
                    .ids
                    .insert(path.to_owned(), fs::metadata(directory)?.ino());
            }
        }
        Ok(services)
    }

    /// Does something as a process of a cgroup.
    pub(super) fn inside<T>(
        &self,
        cgroup: Option<&str>,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        match cgroup {
            Some(path) => unit::inside(&self.root.join(path), work),
            None => work(),
        }
    }

    /// The case as it is with these cgroups.
    pub(super) fn adapt(&self, case: &Case) -> Case {
        let mut case = case.clone();
        let below = |path: &str| format!("{}/{path}", self.name);
        case.host.cgroups = CGROUPS
            .into_iter()
            .map(|(path, _)| (below(path), self.ids[path]))
            .collect();
        for endpoint in case.snapshot.service_endpoints.values_mut() {
            if let ServiceUnit::Cgroup(path) = &mut endpoint.unit {
                *path = below(path);
            }
        }
        for journey in &mut case.journeys {
            let cgroup = cgroup(journey);
            journey.cgroups = cgroup.map_or_else(Vec::new, |path| self.ancestry(path));
        }
        case
    }

    /// The cgroup that a journey's socket is in, once it is adapted.
    pub(super) fn cgroup_of(&self, journey: &Journey) -> Option<&'static str> {
        let own = journey.cgroups.last()?;
        CGROUPS
            .into_iter()
            .map(|(path, _)| path)
            .find(|path| self.ids[*path] == *own)
    }

    /// The ids from level 1 down.
    fn ancestry(&self, path: &str) -> Vec<u64> {
        let is_above = |ancestor: &str| {
            let below = path.strip_prefix(ancestor);
            below.is_some_and(|below| ancestor.is_empty() || below.is_empty() || below.starts_with('/'))
        };
        let above = self.ids.iter().filter(|(ancestor, _)| is_above(ancestor));
        above.map(|(_, id)| *id).collect()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

/// Removes what processes left behind that were killed.
fn sweep(hierarchy: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(hierarchy)? {
        let name = entry?.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some(process) = process else { continue };
        if !Path::new("/proc").join(process).exists() {
            remove(&hierarchy.join(&name));
        }
    }
    Ok(())
}

/// Removes a cgroup and those below it, as far as nobody is in them: there is nobody left to tell.
fn remove(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}

/// Who listens on a port of an interface, if anybody does. A packet to a host meets the socket it would get to, and that
/// is the same for all of them.
pub(super) fn listener(interface: &str, protocol: Protocol, port: u16) -> Option<&'static str> {
    let place = INTERFACES.iter().position(|name| *name == interface);
    let place = place.unwrap_or(INTERFACES.len());
    let port = PORTS.iter().position(|known| *known == port && port > 0)?;
    let kind = [Protocol::TCP, Protocol::UDP]
        .iter()
        .position(|known| *known == protocol)?;
    let listeners = CGROUPS.map(|(path, _)| Some(path));
    let index = (place * 5 + port * 3 + kind) % (listeners.len() + 2);
    listeners.get(index).copied().flatten()
}

/// The cgroup of a journey that is not adapted yet.
fn cgroup(journey: &Journey) -> Option<&'static str> {
    match journey.way {
        Way::In { from } => listener(from, journey.packet.protocol, journey.packet.destination_port),
        Way::Out { .. } => {
            let own = journey.cgroups.last()?;
            CGROUPS
                .into_iter()
                .find(|(_, id)| id == own)
                .map(|(path, _)| path)
        }
        Way::Through { .. } => None,
    }
}
