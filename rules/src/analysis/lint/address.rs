//! Network sets.

use super::finding::Finding;
use super::input::Input;
use crate::diagnostic::quoted;

/// Network sets without members.
pub(super) fn empty_network_sets(input: &Input<'_>) -> Vec<Finding> {
    let sets = input.snapshot.network_sets.values();
    let empty = sets.filter(|set| set.nets.is_empty()).map(|set| {
        let kind = match set.id.namespace {
            Some(_) => "NetworkSet",
            None => "GlobalNetworkSet",
        };
        let message = format!("{} has no members", quoted(&set.id.to_string()));
        Finding::new("empty-network-set", message)
            .of(kind, &set.id.name, Some(&set.position))
            .label("has no `nets`")
    });
    empty.collect()
}
