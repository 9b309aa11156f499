//! One applied ruleset and everything it was made from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use palisade_rules::compile::Compiled;
use palisade_rules::resource::{Policy, PolicyId, StagedAction};
use palisade_rules::ruleset::fnv1a;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{Attachment, Endpoint, EndpointId, EndpointKind, WorldKind, Worlds};
use time::OffsetDateTime;

/// What is, or was, in force.
#[derive(Debug)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// When it came into force.
    pub at: OffsetDateTime,
    /// The resources.
    pub snapshot: Arc<Snapshot>,
    /// Both worlds.
    pub worlds: Worlds,
    /// Whether source ports tell connections apart in its worlds.
    pub looks_at_source_ports: bool,
    /// The ruleset, and what its counters mean.
    pub compiled: Compiled,
    /// Since when each staged policy has been as it is.
    pub staged_since: BTreeMap<PolicyId, StagedSince>,
    /// By [`Way`].
    places: [BTreeMap<String, Arc<EndpointKey>>; 3],
}

/// Which endpoint: what it is and what it is called, in every generation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKey {
    /// What it is.
    pub kind: EndpointKind,
    /// Its namespace; `None` for a global kind.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl EndpointKey {
    /// The endpoint of this name in these worlds, if it is on this host.
    pub fn find(&self, worlds: &Worlds) -> Option<EndpointId> {
        // They are in this order.
        let order = |endpoint: &Arc<Endpoint>| {
            (&endpoint.name, &endpoint.namespace, endpoint.kind).cmp(&(
                &self.name,
                &self.namespace,
                self.kind,
            ))
        };
        let index = worlds.endpoints.binary_search_by(order).ok()?;
        worlds.endpoints[index]
            .attachment
            .is_some()
            .then_some(EndpointId(index))
    }
}

impl From<&Endpoint> for EndpointKey {
    fn from(endpoint: &Endpoint) -> Self {
        EndpointKey {
            kind: endpoint.kind,
            namespace: endpoint.namespace.clone(),
            name: endpoint.name.clone(),
        }
    }
}

/// By which of its ways the first packet of a connection came to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `in`, `out`: to or from a host or workload, by an interface.
    Interface,
    /// `forward-in`, `forward-out`: through a host, by an interface.
    Forward,
    /// `service-in`, `service-out`: to or from a service.
    Service,
}

/// Since when a staged policy has been as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagedSince {
    /// The first generation that had it.
    pub generation: u64,
    /// When it was brought into force with it.
    pub at: OffsetDateTime,
}

impl Generation {
    /// A generation; `known` is since when those of its staged policies that are not new have been as they are, `now` is
    /// when the others begin to be observed.
    pub fn new(
        number: u64,
        at: OffsetDateTime,
        now: OffsetDateTime,
        snapshot: Arc<Snapshot>,
        worlds: Worlds,
        compiled: Compiled,
        known: &BTreeMap<PolicyId, StagedSince>,
    ) -> Self {
        let mut generation = Generation {
            number,
            at,
            snapshot,
            looks_at_source_ports: worlds.looks_at_source_ports(),
            places: places(&worlds),
            worlds,
            compiled,
            staged_since: BTreeMap::new(),
        };
        let since = |policy: &Policy| {
            let known = known.get(&policy.id).copied();
            let since = known.unwrap_or(StagedSince {
                generation: number,
                at: now,
            });
            (policy.id.clone(), since)
        };
        let staged_since = generation.staged().map(since).collect();
        generation.staged_since = staged_since;
        generation
    }

    /// What the next generation can be resolved from.
    pub fn was_resolved(&self) -> (&Snapshot, &Worlds) {
        (&self.snapshot, &self.worlds)
    }

    /// What the next generation can be compiled from.
    pub fn was_compiled(&self) -> (&Worlds, &Compiled) {
        (&self.worlds, &self.compiled)
    }

    /// The local endpoint at a place: an interface, `*` for all the others, or the name of a service.
    pub fn endpoint_at(&self, way: Way, place: &str) -> Option<Arc<EndpointKey>> {
        self.places[way as usize].get(place).cloned()
    }

    /// The staged policies that have an effect in the pending world.
    pub fn staged(&self) -> impl Iterator<Item = &Policy> {
        let policies = self.snapshot.policies.iter().map(Arc::as_ref);
        policies.filter(|policy| is_staged(policy))
    }
}

/// Whether a policy is staged, and not parked.
pub fn is_staged(policy: &Policy) -> bool {
    !matches!(policy.staged, None | Some(StagedAction::Ignore))
}

/// The local endpoints by place, for each [`Way`].
fn places(worlds: &Worlds) -> [BTreeMap<String, Arc<EndpointKey>>; 3] {
    let mut places = [const { BTreeMap::new() }; 3];
    for (_, endpoint, attachment) in worlds.local() {
        let key = Arc::new(EndpointKey::from(endpoint));
        let names = match attachment {
            Attachment::Rest => vec!["*".to_owned()],
            Attachment::Interfaces(interfaces) => interfaces.clone(),
            Attachment::Cgroups(_) => vec![endpoint.name.clone()],
        };
        let ways: &[Way] = match endpoint.kind {
            EndpointKind::Host => &[Way::Interface, Way::Forward],
            EndpointKind::Workload => &[Way::Interface],
            EndpointKind::Service => &[Way::Service],
        };
        for &way in ways {
            let named = names.iter().map(|name| (name.clone(), Arc::clone(&key)));
            places[way as usize].extend(named);
        }
    }
    places
}

/// For each policy of the snapshot, by its index, the local endpoints for which it changes something, in order: those it
/// selects in a world that it is in and, for a staged one, those of the enforced policy that it replaces or takes away.
pub fn concerned(snapshot: &Snapshot, worlds: &Worlds) -> Vec<BTreeSet<EndpointId>> {
    let mut concerned = vec![BTreeSet::new(); snapshot.policies.len()];
    for (id, ..) in worlds.local() {
        for kind in WorldKind::BOTH {
            let world = worlds.world(kind);
            for &policy in world.selecting(id) {
                concerned[world.policies[policy as usize].source].insert(id);
            }
        }
    }
    let enforced: BTreeMap<&PolicyId, usize> = (0..)
        .zip(&snapshot.policies)
        .filter(|(_, policy)| policy.staged.is_none())
        .map(|(index, policy)| (&policy.id, index))
        .collect();
    for (index, policy) in (0..).zip(&snapshot.policies) {
        if let Some(&replaced) = enforced.get(&policy.id).filter(|_| is_staged(policy)) {
            let theirs = concerned[replaced].clone();
            concerned[index].extend(theirs);
        }
    }
    concerned
}

/// What a policy means, wherever it is written, as a number that outlives the daemon. It may be another one for another
/// version of palisade: then the policy counts as changed, which forgets what it was but claims nothing.
pub(super) fn meaning(policy: &Policy) -> u64 {
    let mut policy = policy.clone();
    let nowhere = palisade_rules::source::Position {
        file: "".into(),
        line: 0,
        column: 0,
    };
    for rule in policy.ingress.iter_mut().chain(&mut policy.egress) {
        rule.position = nowhere.clone();
    }
    policy.position = nowhere;
    fnv1a(&format!("{policy:?}"))
}
