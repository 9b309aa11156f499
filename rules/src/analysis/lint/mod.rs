//! `lint`: what is valid and probably not what its writer means.
//!
//! Each kind of finding is one function, and has one line in [`codes::CODES`]. They look at the resources, at both
//! worlds, and at where packets can get to (`reach`); what they say of reachability is exact or not said.

pub mod codes;

mod address;
mod broad;
mod conditions;
mod deny;
mod families;
mod finding;
mod forward;
mod input;
mod peers;
mod profiles;
mod ranges;
mod reach;
mod region;
mod safety_net;
mod shadow;
mod staged;
mod table;
mod untracked;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use finding::{Finding, diagnostics};

use crate::net::Direction;
use crate::resource::PolicyId;
use crate::snapshot::Snapshot;
use crate::world::{EndpointId, WorldKind, Worlds};
use input::Input;

/// How long a policy may stay staged unless [`Options`] say otherwise: long enough for a monthly job to have run.
pub const STALE_AFTER: Duration = Duration::from_hours(35 * 24);

/// What the caller knows and wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How long each policy has been staged, where that is known.
    pub staged_for: BTreeMap<PolicyId, Duration>,
    /// From when on a staged policy is stale; `None` is never.
    pub stale_after: Option<Duration>,
    /// Codes of findings that are not wanted.
    pub allow: BTreeSet<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            staged_for: BTreeMap::new(),
            stale_after: Some(STALE_AFTER),
            allow: BTreeSet::new(),
        }
    }
}

/// Every finding, in the order of places; `worlds` are those of the snapshot.
pub fn lint(snapshot: &Snapshot, worlds: &Worlds, options: &Options) -> Vec<Finding> {
    let input = Input::new(snapshot, worlds);
    let mut findings = Vec::new();
    findings.extend(address::empty_network_sets(&input));
    findings.extend(broad::broad_allows(&input));
    findings.extend(conditions::never_matching(&input));
    findings.extend(conditions::icmp_never_new(&input));
    findings.extend(deny::denies_everything(&input));
    findings.extend(deny::failsafe_wins(&input));
    findings.extend(families::one_family_peers(&input));
    findings.extend(families::one_family_rules(&input));
    findings.extend(forward::no_forward_effect(&input));
    findings.extend(peers::selects_nothing(&input));
    findings.extend(peers::peers_that_select_nothing(&input));
    findings.extend(peers::unresolved_port_names(&input));
    findings.extend(profiles::passes(&input));
    findings.extend(safety_net::cut_off(&input));
    findings.extend(safety_net::not_on_forward(&input));
    findings.extend(safety_net::behind_net_in_calico(&input));
    findings.extend(shadow::covered(&input));
    findings.extend(staged::deletions_of_nothing(&input));
    findings.extend(staged::stale(&input, options));
    findings.extend(untracked::one_way(&input));
    findings.retain(|finding| !options.allow.contains(finding.code));
    findings.sort_by(|a, b| (&a.position, a.code, &a.message).cmp(&(&b.position, b.code, &b.message)));
    findings
}

/// A rule of a policy that no packet can reach at one endpoint, at any stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreachable {
    /// In which world.
    pub world: WorldKind,
    /// Which policy of the snapshot.
    pub policy: usize,
    /// The direction.
    pub direction: Direction,
    /// The index of the rule as written.
    pub rule_index: usize,
    /// Where.
    pub endpoint: EndpointId,
}

/// Every rule that lint calls unreachable, endpoint by endpoint: no packet makes the evaluator name it there, with the
/// safety net or without.
pub fn unreachable(worlds: &Worlds) -> Vec<Unreachable> {
    let table = table::Table::new(worlds);
    let mut walker = reach::Walker::new(worlds, &table);
    let mut found = Vec::new();
    for kind in WorldKind::BOTH {
        for ((policy, direction, rule_index), reach) in walker.reach(worlds.world(kind)) {
            found.extend(reach.covered().into_keys().map(|endpoint| Unreachable {
                world: kind,
                policy,
                direction,
                rule_index,
                endpoint,
            }));
        }
    }
    found
}
