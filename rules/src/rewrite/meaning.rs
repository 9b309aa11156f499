//! Whether two readings mean the same, wherever things are written.

use std::sync::Arc;

use crate::resource::{Policy, Rule};
use crate::snapshot::Snapshot;
use crate::source::Position;

/// Whether these resources are the same but for their places. The order of policies does not matter: nothing is decided
/// by where a policy is written.
pub(super) fn is_same(one: &Snapshot, other: &Snapshot) -> bool {
    placeless(one) == placeless(other)
}

fn placeless(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    let nowhere = Position {
        file: "".into(),
        line: 0,
        column: 0,
    };
    let forget_rules = |rules: &mut Vec<Rule>| {
        for rule in rules {
            rule.position = nowhere.clone();
        }
    };
    for policy in snapshot.policies.iter_mut().map(Arc::make_mut) {
        policy.position = nowhere.clone();
        forget_rules(&mut policy.ingress);
        forget_rules(&mut policy.egress);
    }
    for profile in snapshot.profiles.values_mut() {
        profile.position = None;
        forget_rules(&mut profile.ingress);
        forget_rules(&mut profile.egress);
    }
    // A written built-in tier means what the unwritten one does.
    snapshot.tiers.values_mut().for_each(|tier| tier.position = None);
    let sets = snapshot.network_sets.values_mut().map(Arc::make_mut);
    sets.for_each(|set| set.position = nowhere.clone());
    let hosts = snapshot.host_endpoints.values_mut().map(Arc::make_mut);
    hosts.for_each(|endpoint| endpoint.position = nowhere.clone());
    let workloads = snapshot.workload_endpoints.values_mut().map(Arc::make_mut);
    workloads.for_each(|endpoint| endpoint.position = nowhere.clone());
    let services = snapshot.service_endpoints.values_mut();
    services.for_each(|endpoint| endpoint.position = nowhere.clone());
    let key = |policy: &Arc<Policy>| (policy.id.clone(), policy.staged.is_some());
    snapshot.policies.sort_by_cached_key(key);
    snapshot
}
