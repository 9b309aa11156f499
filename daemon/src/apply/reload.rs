//! Reading everything anew, and following the host.

use std::sync::Arc;

use palisade_nft::Nft;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::Host;
use time::OffsetDateTime;
use tracing::{info, warn};

use super::road::part;
use super::{Applied, Engine, Interfaces, ReloadError, Sources, Terms};
use crate::config::Config;
use crate::guard::GuardReport;

impl Engine {
    /// Takes note of the host's interfaces and addresses; they count from the next reload on.
    pub fn set_interfaces(&mut self, interfaces: Interfaces) {
        self.interfaces = interfaces;
    }

    /// Reads the configuration and all resources anew and brings them into force, or changes nothing.
    ///
    /// What the kernel has told of is in force before every file has been looked at; should one have changed of which it has
    /// told nothing, that one follows.
    pub fn reload(&mut self, terms: &Terms<'_>) -> Result<Applied, ReloadError> {
        self.refuse_while_unconfirmed()?;
        if let Some((sources, config)) = self.read_told(terms)
            && let Ok(next) = self.next(config, sources)
        {
            let sources = Arc::clone(&next.sources);
            let applied = self.bring_into_force(next, terms, "reload".to_owned());
            if self.is_all_told(&sources) {
                return applied;
            }
        }
        let (sources, config) = self.read()?;
        let next = self.next(config, sources)?;
        let why = if self.current().is_some() {
            "reload"
        } else {
            "start"
        };
        self.bring_into_force(next, terms, why.to_owned())
    }

    /// Whether no other file has changed than those that the kernel has told of.
    fn is_all_told(&mut self, sources: &Sources) -> bool {
        let _looking = part("look at every file");
        let files = match self.reader.look_again() {
            Ok(files) => files,
            // Something is on the way that the next reload is to find, and to be clear about.
            Err(error) => {
                warn!(%error, "not every file could be looked at after the reload");
                return true;
            }
        };
        let config = sources.config.clone();
        let mut untold = sources.differing(&Sources { config, files });
        // What was told of by now was written later: it is for the next reload.
        untold.retain(|path| !self.reader.is_told_of(path));
        if untold.is_empty() {
            return true;
        }
        let untold: Vec<_> = untold.iter().map(|path| path.display().to_string()).collect();
        info!(
            "the kernel has not told of a change to {}: all files are read once more",
            untold.join(", ")
        );
        false
    }

    /// Brings the same resources into force for the host as it is now; `None` if it is as it was, or if a panic keeps
    /// everything out of force. After an error, the same host may be followed once more.
    pub fn follow(&mut self, interfaces: Interfaces) -> Result<Option<Applied>, ReloadError> {
        self.set_interfaces(interfaces);
        let Some(current) = self.current().map(Arc::clone) else {
            return self.reload(&Terms::at_once(None)).map(Some);
        };
        if self.rollout.window().is_some() {
            return self.follow_unconfirmed();
        }
        let config = self.config.clone();
        let host = self.host(&config, &[&current.snapshot])?;
        if self.settled && current.worlds.host == host || self.panicked() {
            return Ok(None);
        }
        let snapshot = Arc::clone(&current.snapshot);
        let made = self.made(&config, snapshot, host, OffsetDateTime::now_utc());
        let (number, changes) = self.put_and_adopt(made, Nft::update)?;
        Ok(Some(Applied {
            generation: number,
            changes,
            warnings: String::new(),
            guard: GuardReport::default(),
            window: None,
        }))
    }

    /// The host as it is now, as far as these resources look at it.
    pub(super) fn host(&self, config: &Config, snapshots: &[&Snapshot]) -> Result<Host, ReloadError> {
        let here = snapshots
            .iter()
            .flat_map(|snapshot| snapshot.service_endpoints.values());
        let services = here
            .filter(|endpoint| endpoint.node == config.node)
            .map(|endpoint| endpoint.unit.clone())
            .collect();
        Ok(Host {
            node: Some(config.node.clone()),
            interfaces: self.interfaces.clone(),
            cgroups: self.cgroups.read(&services)?,
            labels: config.host_labels.clone(),
            failsafes: config.failsafes.clone(),
            filter_loopback: config.filter_loopback,
        })
    }
}
