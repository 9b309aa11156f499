//! All valid resources, immutable: what a reload reads, whole or not at all.

use std::collections::BTreeMap;

use crate::resource::{GlobalNetworkSet, HostEndpoint, Policy, Tier};

/// Every resource of one reading. Names are unique within a kind and every policy's tier exists: see
/// [`crate::decode`], the only maker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Tiers by name, the built-in ones included.
    pub tiers: BTreeMap<String, Tier>,
    /// Policies, enforced and staged, in the order they were read.
    pub policies: Vec<Policy>,
    /// Sets by name.
    pub network_sets: BTreeMap<String, GlobalNetworkSet>,
    /// Host endpoints by name.
    pub host_endpoints: BTreeMap<String, HostEndpoint>,
}

impl Snapshot {
    /// No resources but the built-in tiers.
    pub fn empty() -> Self {
        Snapshot {
            tiers: Tier::built_in()
                .into_iter()
                .map(|tier| (tier.name.clone(), tier))
                .collect(),
            ..Snapshot::default()
        }
    }
}
