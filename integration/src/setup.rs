//! What a daemon under test starts with.

use std::collections::BTreeMap;

/// Configuration and resources of a [`crate::Daemon`].
#[derive(Clone, Debug)]
pub struct Setup {
    pub(crate) node: String,
    pub(crate) config: String,
    pub(crate) resources: BTreeMap<String, String>,
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
        }
    }

    /// Adds a file to `policy.d`.
    #[must_use]
    pub fn resource(mut self, file: &str, text: impl Into<String>) -> Self {
        self.resources.insert(file.to_owned(), text.into());
        self
    }

    /// Writes these lines into the configuration instead of `safetyNet: false`.
    #[must_use]
    pub fn config(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.config);
        self
    }
}
