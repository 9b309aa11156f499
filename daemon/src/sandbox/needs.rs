//! What a configuration takes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::{Check, Config};

/// What the daemon must be able to do besides changing the ruleset and reading files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Directories below which it writes.
    pub written: BTreeSet<PathBuf>,
    /// Whether it opens TCP connections or ports: a collector, a port for metrics, probes.
    pub internet: bool,
    /// Whether it runs programs: probes.
    pub programs: bool,
    /// Whether it looks at the sockets of other processes.
    pub processes: bool,
}

impl Needs {
    /// What this configuration takes, which is in this file.
    pub fn of(file: &Path, config: &Config) -> Self {
        let flows = &config.flows;
        let checks = || config.rollout.probes.iter().map(|probe| &probe.check);
        // Rolling back puts the bytes of policies and configuration back.
        let rewritten = [Some(config.policy_dir.as_path()), file.parent()];
        let rewritten = rewritten.into_iter().flatten();
        Needs {
            written: made(config)
                .chain(rewritten)
                // The configuration's path may be relative.
                .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
                .collect(),
            internet: flows.prometheus.is_some()
                || flows.sinks.otlp.is_some()
                || checks().any(|check| matches!(check, Check::Tcp { .. })),
            programs: checks().any(|check| matches!(check, Check::Command(_))),
            processes: flows.owners,
        }
    }

    /// Makes the directories that are the daemon's own to make: what is not there cannot be named to the kernel.
    pub fn make_directories(config: &Config) {
        for directory in made(config) {
            // Whoever writes there says what is wrong, and why that matters.
            let _ = std::fs::create_dir_all(directory);
        }
    }

    /// A unit that was not told of what the configuration needs would let it fail where nobody looks.
    pub(super) fn warn_of_what_others_refuse(&self) {
        let inet = || {
            socket(
                AddressFamily::Inet,
                SockType::Stream,
                SockFlag::SOCK_CLOEXEC,
                None,
            )
        };
        if self.internet
            && let Err(error) = inet()
        {
            warn!(
                %error,
                "the configuration asks for network connections (flows.prometheus, flows.otlp, a probe with tcp), which palisaded may not \
                 open here: its unit needs the drop-in network.conf"
            );
        }
    }
}

/// What the daemon makes where it is not there.
fn made(config: &Config) -> impl Iterator<Item = &Path> {
    let log = config.flows.sinks.file.as_deref().and_then(Path::parent);
    let made = [Some(config.state_dir.as_path()), log, config.socket.parent()];
    made.into_iter().flatten()
}
