//! The labels that an endpoint or a set has besides its own (reference 2.5).
//!
//! An own label beats an inherited one, and an earlier profile beats a later one.

use crate::resource::{
    Labels, NAMESPACE_LABEL, NetworkSet, ORCHESTRATOR_LABEL, SERVICE_ACCOUNT_LABEL, WorkloadEndpoint,
};
use crate::snapshot::Snapshot;

/// The labels of an endpoint that has these of its own, and these profiles.
pub(super) fn inherited<'a>(
    snapshot: &Snapshot,
    own: &Labels,
    profiles: impl IntoIterator<Item = &'a str>,
) -> Labels {
    let mut labels = own.clone();
    for profile in profiles {
        let Some(profile) = snapshot.profiles.get(profile) else {
            continue;
        };
        for (key, value) in &profile.labels_to_apply {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    labels
}

/// The labels of a workload endpoint: where it is and what it runs as is not for its own labels to say.
pub(super) fn of_workload(snapshot: &Snapshot, endpoint: &WorkloadEndpoint) -> Labels {
    let mut own = endpoint.labels.clone();
    let namespace = endpoint.id.namespace.clone().unwrap_or_default();
    own.insert(NAMESPACE_LABEL.to_owned(), namespace);
    own.insert(ORCHESTRATOR_LABEL.to_owned(), endpoint.orchestrator.clone());
    if let Some(account) = &endpoint.service_account {
        own.insert(SERVICE_ACCOUNT_LABEL.to_owned(), account.clone());
    }
    inherited(snapshot, &own, endpoint.profiles.iter().map(String::as_str))
}

/// The labels of a network set: one in a namespace inherits the namespace's.
pub(super) fn of_set(snapshot: &Snapshot, set: &NetworkSet) -> Labels {
    let Some(namespace) = &set.id.namespace else {
        return set.labels.clone();
    };
    let mut own = set.labels.clone();
    own.insert(NAMESPACE_LABEL.to_owned(), namespace.clone());
    inherited(snapshot, &own, [format!("kns.{namespace}").as_str()])
}
