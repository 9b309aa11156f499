//! Working on resources from files: without root, daemon or kernel.

use std::path::PathBuf;

use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{Host, Worlds, resolve};

use super::Failure;
use super::args::FromFiles;
use crate::config::Config;
use crate::exit::Exit;
use crate::source::{self, Reading};

/// The worlds of the resources given with `-f`, and the configuration that goes with them.
pub(super) fn worlds(from: &FromFiles) -> Result<(Worlds, Option<Config>), Failure> {
    let (_, worlds, config) = all(from)?;
    Ok((worlds, config))
}

/// The resources given with `-f`, and their worlds.
pub(super) fn snapshot_and_worlds(from: &FromFiles) -> Result<(Snapshot, Worlds), Failure> {
    let (snapshot, worlds, _) = all(from)?;
    Ok((snapshot, worlds))
}

fn all(from: &FromFiles) -> Result<(Snapshot, Worlds, Option<Config>), Failure> {
    let reading = read(&from.files)?;
    let Some(snapshot) = reading.snapshot else {
        return Err(Failure::new(
            Exit::Invalid,
            reading.diagnostics.render(&reading.files, colour()),
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
    Ok((snapshot, worlds, config))
}

/// Reads files and directories.
pub(super) fn read(paths: &[PathBuf]) -> Result<Reading, Failure> {
    source::read(paths).map_err(|error| Failure::new(Exit::Invalid, error.to_string()))
}

/// Whether diagnostics may have colours.
pub(super) fn colour() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
