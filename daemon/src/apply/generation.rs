//! One applied ruleset and everything it was made from.

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_rules::compile::Compiled;
use palisade_rules::resource::{Policy, PolicyId, StagedAction};
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{Attachment, Worlds};
use time::OffsetDateTime;

/// What is, or was, in force.
#[derive(Debug)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// When it came into force.
    pub at: OffsetDateTime,
    /// The resources.
    pub snapshot: Snapshot,
    /// Both worlds.
    pub worlds: Worlds,
    /// Whether source ports tell connections apart in its worlds.
    pub looks_at_source_ports: bool,
    /// The ruleset, and what its counters mean.
    pub compiled: Compiled,
    /// Since when each staged policy has been as it is.
    pub staged_since: BTreeMap<PolicyId, StagedSince>,
    places: BTreeMap<String, Arc<str>>,
}

/// Since when a staged policy has been as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagedSince {
    /// The first generation that had it.
    pub generation: u64,
    /// When it was brought into force with it, by this daemon.
    pub at: OffsetDateTime,
}

impl Generation {
    /// A generation, after the one before it; `now` is when its staged policies begin to be observed.
    pub fn new(
        number: u64,
        at: OffsetDateTime,
        now: OffsetDateTime,
        snapshot: Snapshot,
        worlds: Worlds,
        compiled: Compiled,
        previous: Option<&Generation>,
    ) -> Self {
        let mut places = BTreeMap::new();
        for (_, endpoint, attachment) in worlds.local() {
            let name: Arc<str> = endpoint.name.as_str().into();
            match attachment {
                Attachment::Rest => places.extend([("*".to_owned(), name)]),
                Attachment::Interfaces(interfaces) => {
                    places.extend(
                        interfaces
                            .iter()
                            .map(|interface| (interface.clone(), Arc::clone(&name))),
                    );
                }
            }
        }
        let mut generation = Generation {
            number,
            at,
            snapshot,
            looks_at_source_ports: worlds.looks_at_source_ports(),
            worlds,
            compiled,
            staged_since: BTreeMap::new(),
            places,
        };
        let mut staged_since = BTreeMap::new();
        for policy in generation.staged() {
            let unchanged = previous
                .filter(|previous| previous.staged().any(|earlier| same_meaning(earlier, policy)))
                .and_then(|previous| previous.staged_since.get(&policy.id));
            let since = unchanged.copied().unwrap_or(StagedSince {
                generation: number,
                at: now,
            });
            staged_since.insert(policy.id.clone(), since);
        }
        generation.staged_since = staged_since;
        generation
    }

    /// The name of the local endpoint at an interface; `*` is the one that stands for all the others.
    pub fn endpoint_at(&self, place: &str) -> Option<Arc<str>> {
        self.places.get(place).cloned()
    }

    /// The staged policies that have an effect in the pending world.
    pub fn staged(&self) -> impl Iterator<Item = &Policy> {
        let has_effect = |policy: &&Policy| !matches!(policy.staged, None | Some(StagedAction::Ignore));
        self.snapshot.policies.iter().filter(has_effect)
    }
}

/// Whether two policies mean the same, wherever they are written.
fn same_meaning(a: &Policy, b: &Policy) -> bool {
    let bare = |policy: &Policy| {
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
        policy
    };
    a.id == b.id && bare(a) == bare(b)
}
