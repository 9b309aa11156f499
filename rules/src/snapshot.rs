//! All valid resources, immutable: what a reload reads, whole or not at all.

use std::collections::BTreeMap;

use crate::resource::{
    DEFAULT_ALLOW_PROFILE, HostEndpoint, NetworkSet, ObjectName, Policy, Profile, ServiceEndpoint, Tier,
    WorkloadEndpoint,
};

/// Every resource of one reading. Names are unique within a kind; every tier, profile and named port that is
/// named exists: see
/// [`crate::decode`], the only maker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Tiers by name, the built-in ones included.
    pub tiers: BTreeMap<String, Tier>,
    /// Policies, enforced and staged, in the order they were read.
    pub policies: Vec<Policy>,
    /// Network sets.
    pub network_sets: BTreeMap<ObjectName, NetworkSet>,
    /// Profiles by name, the built-in one included.
    pub profiles: BTreeMap<String, Profile>,
    /// Host endpoints by name.
    pub host_endpoints: BTreeMap<String, HostEndpoint>,
    /// Workload endpoints.
    pub workload_endpoints: BTreeMap<ObjectName, WorkloadEndpoint>,
    /// Service endpoints by name.
    pub service_endpoints: BTreeMap<String, ServiceEndpoint>,
}

impl Snapshot {
    /// No resources but the built-in tiers and the built-in profile.
    pub fn empty() -> Self {
        Snapshot {
            tiers: Tier::built_in()
                .into_iter()
                .map(|tier| (tier.name.clone(), tier))
                .collect(),
            profiles: BTreeMap::from([(DEFAULT_ALLOW_PROFILE.to_owned(), Profile::default_allow())]),
            ..Snapshot::default()
        }
    }
}
