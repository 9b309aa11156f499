//! What a daemon under test starts with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Configuration and resources of a [`crate::Daemon`].
#[derive(Clone, Debug)]
pub struct Setup {
    pub(crate) node: String,
    pub(crate) config: String,
    pub(crate) resources: BTreeMap<String, String>,
    pub(crate) environment: BTreeMap<String, OsString>,
    pub(crate) under: Vec<String>,
    pub(crate) disk: Option<usize>,
    pub(crate) state_dir: Option<PathBuf>,
}

impl Setup {
    /// No resources, no safety net but the one in a resource, flow records every 200 ms, for the node of that name.
    ///
    /// Most tests want to see a default deny deny; the net, which is in the default configuration, would catch it.
    pub fn new(node: &str) -> Self {
        Setup {
            node: node.to_owned(),
            config: "safetyNet: false\n".to_owned(),
            resources: BTreeMap::new(),
            environment: BTreeMap::new(),
            under: Vec::new(),
            disk: None,
            state_dir: None,
        }
    }

    /// Adds a file to `policy.d`.
    #[must_use]
    pub fn resource(mut self, file: &str, text: impl Into<String>) -> Self {
        self.resources.insert(file.to_owned(), text.into());
        self
    }

    /// Starts the daemon with this variable in its environment.
    #[must_use]
    pub fn environment(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(key.to_owned(), value.into());
        self
    }

    /// Starts the daemon with these words before its own: a program that looks on while the process becomes the daemon, as `strace -D`
    /// does.
    #[must_use]
    pub fn under(mut self, words: Vec<String>) -> Self {
        self.under = words;
        self
    }

    /// Keeps everything on a disk of its own, of so many kilobytes, which can be full.
    #[must_use]
    pub fn disk(mut self, kilobytes: usize) -> Self {
        self.disk = Some(kilobytes);
        self
    }

    /// Uses the state directory of another daemon.
    #[must_use]
    pub fn state_dir(mut self, directory: &Path) -> Self {
        self.state_dir = Some(directory.to_owned());
        self
    }

    /// Writes these lines into the configuration instead of `safetyNet: false`.
    #[must_use]
    pub fn config(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.config);
        self
    }
}
