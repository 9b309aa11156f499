//! All valid resources, immutable: what a reload reads, whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::resource::{
    DEFAULT_ALLOW_PROFILE, HostEndpoint, NetworkSet, ObjectName, Policy, PolicyId, Profile, ServiceEndpoint,
    StagedAction, Tier, WorkloadEndpoint,
};

/// Every resource of one reading. Names are unique within a kind; every tier, profile and named port that is
/// named exists: see
/// [`crate::decode`], the only maker. What there can be thousands of is shared: a reading keeps what the one before found
/// in files that have not changed, so that unchanged resources can be told by their pointer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Tiers by name, the built-in ones included.
    pub tiers: BTreeMap<String, Tier>,
    /// Policies, enforced and staged, in the order they were read.
    pub policies: Vec<Arc<Policy>>,
    /// Network sets.
    pub network_sets: BTreeMap<ObjectName, Arc<NetworkSet>>,
    /// Profiles by name, the built-in one included.
    pub profiles: BTreeMap<String, Profile>,
    /// Host endpoints by name.
    pub host_endpoints: BTreeMap<String, Arc<HostEndpoint>>,
    /// Workload endpoints.
    pub workload_endpoints: BTreeMap<ObjectName, Arc<WorkloadEndpoint>>,
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
    /// The same resources with some staged policies promoted: each comes in place of the enforced one of its identity,
    /// or takes it away. Parked ones stay as they are.
    #[must_use]
    pub fn promoted(&self, is_promoted: impl Fn(&Policy) -> bool) -> Snapshot {
        let promoted = |policy: &Policy| {
            !matches!(policy.staged, None | Some(StagedAction::Ignore)) && is_promoted(policy)
        };
        let replaced: BTreeSet<&PolicyId> = self
            .policies
            .iter()
            .filter(|policy| promoted(policy))
            .map(|policy| &policy.id)
            .collect();
        let policies = self.policies.iter().filter_map(|policy| match policy.staged {
            None if replaced.contains(&policy.id) => None,
            Some(StagedAction::Delete) if promoted(policy) => None,
            Some(_) if promoted(policy) => Some(Arc::new(Policy {
                staged: None,
                ..Policy::clone(policy)
            })),
            _ => Some(Arc::clone(policy)),
        });
        Snapshot {
            policies: policies.collect(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NETWORK, host, policy, snapshot, staged};
    use crate::world::resolve;

    #[test]
    fn everything_promoted_is_the_pending_world() {
        let snapshot = snapshot(&[
            NETWORK,
            &policy("replaced", "order: 1"),
            &staged("replaced", "order: 2"),
            &policy("deleted", "order: 3"),
            &staged("deleted", "stagedAction: Delete"),
            &staged("parked", "stagedAction: Ignore"),
            &staged("added", "order: 4"),
        ]);
        let names = |snapshot: &Snapshot, pending: bool| {
            let worlds = resolve(snapshot, host("one"));
            let world = if pending { worlds.pending } else { worlds.enforced };
            let policies = world.policies.iter();
            policies
                .map(|policy| (policy.id.to_string(), policy.order))
                .collect::<Vec<_>>()
        };
        let promoted = snapshot.promoted(|_| true);
        assert_eq!(names(&promoted, false), names(&snapshot, true));
        assert_eq!(names(&promoted, true), names(&snapshot, true));
        assert_eq!(promoted.policies.len(), 3, "the parked one stays");
        let one = snapshot.promoted(|policy| policy.id.name == "added");
        assert_eq!(names(&one, true), names(&snapshot, true));
        assert_eq!(names(&one, false).len(), 3);
        assert_eq!(snapshot.promoted(|_| false), snapshot);
    }
}
