//! Working on resources from files: without root, daemon or kernel.

use std::path::PathBuf;

use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::{FileId, Files};
use palisade_rules::world::{Host, Worlds, resolve};

use super::args::FromFiles;
use super::{Failure, output};
use crate::config::Config;
use crate::exit::Exit;
use crate::source::{self, Reading};

/// The worlds of the resources given with `-f`, and the configuration that goes with them.
pub(super) fn worlds(from: &FromFiles) -> Result<(Worlds, Option<Config>), Failure> {
    let all = all(from)?;
    Ok((all.worlds, all.config))
}

/// The resources given with `-f`, and their worlds.
pub(super) fn snapshot_and_worlds(from: &FromFiles) -> Result<(Snapshot, Worlds), Failure> {
    let all = all(from)?;
    Ok((all.snapshot, all.worlds))
}

/// Everything about the resources given with `-f`.
pub(super) struct All {
    /// What was read, for showing places in it.
    pub(super) files: Files,
    /// The files that are resources.
    pub(super) ids: Vec<FileId>,
    /// What they say.
    pub(super) snapshot: Snapshot,
    /// What comes of it.
    pub(super) worlds: Worlds,
    /// The configuration that goes with them.
    pub(super) config: Option<Config>,
}

/// The resources given with `-f`, with all that goes with them.
pub(super) fn all(from: &FromFiles) -> Result<All, Failure> {
    let reading = read(&from.files)?;
    let Some(snapshot) = reading.snapshot else {
        return Err(Failure::new(
            Exit::Invalid,
            reading
                .diagnostics
                .render(&reading.files, output::is_coloured(&std::io::stderr())),
        ));
    };
    let config = from.config.as_deref().map(Config::load).transpose();
    let config = config.map_err(|error| Failure::new(Exit::Invalid, error.to_string()))?;
    let host = match &config {
        Some(config) => Host {
            node: Some(from.node.clone().unwrap_or_else(|| config.node.clone())),
            labels: config.host_labels.clone(),
            failsafes: config.failsafes.clone(),
            filter_loopback: config.filter_loopback,
            ..Host::default()
        },
        None => Host {
            node: from.node.clone(),
            ..Host::default()
        },
    };
    let worlds = resolve(&snapshot, host);
    Ok(All {
        files: reading.files,
        ids: reading.ids,
        snapshot,
        worlds,
        config,
    })
}

/// Reads files and directories.
pub(super) fn read(paths: &[PathBuf]) -> Result<Reading, Failure> {
    source::read(paths).map_err(|error| Failure::new(Exit::Invalid, error.to_string()))
}
