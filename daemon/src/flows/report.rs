//! What staged policies would have done: observed and live connections, decided by the worlds as they are now.

mod alive;
mod concerns;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use palisade_rules::net::{Direction, Protocol};
use palisade_rules::resource::{Policy, StagedAction};
use palisade_rules::world::{EndpointId, WorldKind, Worlds, resolve};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use self::concerns::{Concern, Said};
use super::attribute::{Attribution, attribute, parties};
use super::kept::add_owner;
use super::observe::{Connection, Kept, Missing, Tally};
use super::record::CounterRow;
use crate::apply::{Generation, StagedSince, concerned, is_staged};
use crate::live::{Alive, Owner};

pub use self::alive::{LiveConnections, LiveFlow};
pub use self::verdict::{EVIDENCE, Judgement, Verdict, connections};

/// What counts as recently: see [`StagedReport::new_in_last_hour`].
const RECENT: Duration = Duration::from_hours(1);

/// Staged policies up to which each is also judged as if it were promoted by itself: that takes worlds of its own.
const JUDGED_ALONE: usize = 16;

/// What one staged policy would have done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StagedReport {
    /// The kind as written.
    pub kind: String,
    /// The tier.
    pub tier: String,
    /// The namespace, if the kind has one.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// Whether it may be promoted as the host is: with the safety net where one stands.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Whether it may be promoted and the safety net then be removed; `None` where no net stands.
    pub without_safety_net: Option<Judgement>,
    /// `Set`, `Delete` or `Learn`.
    pub staged_action: String,
    /// Where it is written.
    pub source: String,
    /// Since when it has been as it is, as far as this daemon knows.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// How long that is, in seconds; the time in which the daemon did not run is in it.
    pub observed_seconds: u64,
    /// Whether first packets are being observed at all.
    pub observing: bool,
    /// The local endpoints it applies to, and those of the enforced policy that it replaces or deletes.
    pub endpoints: Vec<String>,
    /// Whether a safety net stands in the pending world, on one of these endpoints.
    pub safety_net: bool,
    /// First packets at its endpoints, in the directions it governs, whichever policy decides about them. Not counted are
    /// those that no policy is asked about: failsafes and loopback.
    pub evaluated: u64,
    /// First packets that it would have allowed.
    pub would_allow: u64,
    /// First packets that are allowed and that promoting it would deny.
    pub would_deny: u64,
    /// First packets that are allowed and that promoting it, and then removing the safety net, would deny.
    pub would_deny_without_safety_net: u64,
    /// The same if it were promoted and the other staged policies were not; `None` where no other one is staged at its
    /// endpoints.
    pub alone: Option<Alone>,
    /// When the first connection was seen that it would have decided.
    #[serde(with = "time::serde::rfc3339::option")]
    pub first_seen: Option<OffsetDateTime>,
    /// When the last one was seen.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_seen: Option<OffsetDateTime>,
    /// What would be denied and was not seen before the last hour.
    pub new_in_last_hour: Recent,
    /// Connections that are alive at its endpoints; `None` where they cannot be read.
    pub live: Option<LiveConnections>,
    /// Who, worst first.
    pub flows: Vec<StagedFlow>,
    /// Its counters in the kernel, and those of the end of its tier.
    pub counters: Vec<CounterRow>,
    /// What is missing from the observations of all policies, since the evidence began: that outlives the daemon.
    pub missing: Missing,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// What a policy would deny if it alone were promoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alone {
    /// The other policies that are staged at its endpoints.
    pub others: Vec<String>,
    /// First packets that are allowed and that promoting it alone would deny; `None` where too many policies are staged
    /// for each to be looked at alone.
    pub would_deny: Option<u64>,
    /// The same, with the safety net removed as well.
    pub would_deny_without_safety_net: Option<u64>,
}

/// Flows that were seen for the first time a short while ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// Flows that promotion would deny.
    pub would_deny: u64,
    /// Flows that promotion, and then removing the safety net, would deny.
    pub would_deny_without_safety_net: u64,
}

/// Connections that one staged policy would have decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFlow {
    /// `ingress` or `egress`.
    pub direction: String,
    /// The source's name.
    pub from: String,
    /// The destination's name.
    pub to: String,
    /// The protocol.
    pub proto: String,
    /// The destination port; 0 for protocols without.
    pub port: u16,
    /// The verdict in force.
    pub action: String,
    /// The verdict with the staged objects applied.
    pub pending_action: String,
    /// The pending verdict without the safety net.
    pub pending_without_safety_net: String,
    /// What would decide, in a few words.
    pub because: String,
    /// First packets.
    pub packets: u64,
    /// Who held the sockets of this host's end, most first, as far as they were found.
    #[serde(default)]
    pub owners: Vec<Owner>,
    /// When the first was seen.
    #[serde(with = "time::serde::rfc3339")]
    pub first_seen: OffsetDateTime,
    /// When the last was seen.
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen: OffsetDateTime,
}

impl StagedFlow {
    /// Whether promotion would deny what is allowed.
    pub fn would_be_denied(&self) -> bool {
        self.action == "allow" && self.pending_action == "deny"
    }

    /// Whether promotion, and then removing the safety net, would deny what is allowed.
    pub fn would_be_denied_without_safety_net(&self) -> bool {
        self.action == "allow" && self.pending_without_safety_net == "deny"
    }
}

/// All that reports are made of.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'o> {
    /// The generation in force: its worlds decide.
    pub generation: &'o Generation,
    /// The connections that were seen.
    pub kept: &'o Kept,
    /// The counters by name.
    pub counters: &'o BTreeMap<String, CounterRow>,
    /// The connections that are alive, or why they cannot be read.
    pub alive: Result<&'o Alive, &'o str>,
    /// Whether first packets are being observed.
    pub reading: bool,
    /// The moment of the report.
    pub now: OffsetDateTime,
}

/// Reports on every staged policy of a generation. One must have been observed for as long as `evidence` to be ready.
pub fn staged_reports(observed: &Observed<'_>, evidence: Duration) -> Vec<StagedReport> {
    let generation = observed.generation;
    let all = concerned(&generation.snapshot, &generation.worlds);
    let policies = generation.snapshot.policies.iter().map(Arc::as_ref).zip(&all);
    let staged: Vec<(&Policy, &BTreeSet<EndpointId>)> =
        policies.filter(|(policy, _)| is_staged(policy)).collect();
    let alive = observed
        .alive
        .map(|alive| (alive::group(generation, alive), &alive.notes));
    // Decided once, however many policies are staged.
    let mut decided = Decided::default();
    staged
        .iter()
        .map(|&(policy, endpoints)| {
            let others: Vec<&Policy> = staged
                .iter()
                .filter(|(other, theirs)| other.id != policy.id && !endpoints.is_disjoint(theirs))
                .map(|(other, _)| *other)
                .collect();
            let mut report = staged_report(observed, policy, endpoints, &others, staged.len(), &mut decided);
            match &alive {
                Ok((alive, notes)) => {
                    report.notes.extend_from_slice(notes);
                    let concern = Concern::new(generation, policy, endpoints);
                    report.live = Some(alive::look(observed, &concern, alive, &mut decided));
                }
                Err(error) => report
                    .notes
                    .push(format!("live connections are left out: {error}")),
            }
            (report.judgement, report.without_safety_net) = verdict::judge(&report, evidence);
            report
        })
        .collect()
}

/// What the worlds in force say of a connection, asked once.
#[derive(Default)]
struct Decided<'k>(BTreeMap<&'k Connection, Option<Attribution>>);

impl<'k> Decided<'k> {
    fn of(&mut self, worlds: &Worlds, connection: &'k Connection) -> Option<&Attribution> {
        let said = self.0.entry(connection);
        said.or_insert_with(|| attribute(worlds, connection)).as_ref()
    }
}

fn staged_report<'o>(
    observed: &Observed<'o>,
    policy: &Policy,
    endpoints: &BTreeSet<EndpointId>,
    others: &[&Policy],
    staged: usize,
    decided: &mut Decided<'o>,
) -> StagedReport {
    let generation = observed.generation;
    let worlds = &generation.worlds;
    let mut report = StagedReport::nothing_seen(observed, policy, endpoints);
    // What it means by itself: the others may allow what the end of its tier denies.
    let by_itself = (!others.is_empty() && staged <= JUDGED_ALONE).then(|| {
        let promoted = generation.snapshot.promoted(|other| other.id == policy.id);
        resolve(&promoted, worlds.host.clone())
    });
    let mut denied_alone = [0; 2];
    let concern = Concern::new(generation, policy, endpoints);
    let mut flows: BTreeMap<StagedKey, (Tally, Vec<Owner>)> = BTreeMap::new();
    for (connection, tally) in observed.kept.since(concern.since.generation) {
        if !concern.is_asked(connection) {
            continue;
        }
        let attribution = decided.of(worlds, connection);
        let Some(attribution) = attribution.filter(|said| said.is_left_to_policy()) else {
            continue;
        };
        report.evaluated += tally.packets;
        if let Some(promoted) = by_itself
            .as_ref()
            .and_then(|worlds| attribute(worlds, connection))
        {
            let said = Said {
                action: attribution.action,
                pending_action: promoted.action,
                pending_without_net: promoted.action_without_net,
            };
            denied_alone[0] += said.would_deny(tally.packets);
            denied_alone[1] += said.would_deny_without_net(tally.packets);
        }
        let Some(step) = concern.spoke(attribution) else {
            continue;
        };
        let said = Said::of(attribution);
        report.would_allow += said.would_allow(tally.packets);
        report.would_deny += said.would_deny(tally.packets);
        report.would_deny_without_safety_net += said.would_deny_without_net(tally.packets);
        let (source, destination) = parties(worlds, connection);
        let key = StagedKey {
            direction: connection.direction,
            from: source.to_string(),
            to: destination.to_string(),
            protocol: connection.packet.protocol,
            port: connection.packet.destination_port,
            said,
            because: step.phrase(),
        };
        let seen = flows.entry(key).and_modify(|(sum, _)| sum.add(&tally));
        let (_, owners) = seen.or_insert((tally, Vec::new()));
        add_owners(owners, observed.kept.owners(connection));
    }
    let known = by_itself.is_some();
    report.alone = (!others.is_empty()).then(|| Alone {
        others: others.iter().map(|other| other.id.to_string()).collect(),
        would_deny: known.then_some(denied_alone[0]),
        would_deny_without_safety_net: known.then_some(denied_alone[1]),
    });
    report.flows = flows.into_iter().map(|(key, seen)| key.flow(seen)).collect();
    report.summarise(observed.now);
    report
}

/// Adds up who holds how many, most first.
fn add_owners(owners: &mut Vec<Owner>, more: &[Owner]) {
    for owner in more {
        add_owner(owners, owner);
    }
}

impl StagedReport {
    /// The report of a policy of which nothing was seen yet.
    fn nothing_seen(observed: &Observed<'_>, policy: &Policy, endpoints: &BTreeSet<EndpointId>) -> Self {
        let generation = observed.generation;
        let worlds = &generation.worlds;
        let since = since(generation, policy);
        let has_net = |id: &EndpointId| {
            let mut policies = worlds.pending.selecting(*id).iter();
            policies.any(|&index| worlds.pending.policies[index as usize].safety_net)
        };
        StagedReport {
            kind: policy.written_kind().to_owned(),
            tier: policy.tier.clone(),
            namespace: policy.id.namespace.clone(),
            name: policy.id.name.clone(),
            judgement: Judgement::default(),
            without_safety_net: None,
            staged_action: match policy.staged {
                Some(StagedAction::Delete) => "Delete",
                Some(StagedAction::Learn) => "Learn",
                _ => "Set",
            }
            .to_owned(),
            source: policy.position.to_string(),
            since: since.at,
            observed_seconds: (observed.now - since.at).whole_seconds().try_into().unwrap_or(0),
            observing: observed.reading,
            endpoints: endpoints
                .iter()
                .map(|&id| worlds.endpoint(id).to_string())
                .collect(),
            safety_net: endpoints.iter().any(has_net),
            evaluated: 0,
            would_allow: 0,
            would_deny: 0,
            would_deny_without_safety_net: 0,
            alone: None,
            first_seen: None,
            last_seen: None,
            new_in_last_hour: Recent::default(),
            live: None,
            flows: Vec::new(),
            counters: own_counters(policy, observed.counters),
            missing: observed.kept.missing(),
            notes: Vec::new(),
        }
    }

    /// Sorts the flows, worst first, and says of all of them what can be said of each.
    fn summarise(&mut self, now: OffsetDateTime) {
        self.flows.sort_by_key(|flow| {
            let harmless = flow.pending_action != "deny";
            let harmless_without = flow.pending_without_safety_net != "deny";
            (harmless, harmless_without, std::cmp::Reverse(flow.packets))
        });
        self.first_seen = self.flows.iter().map(|flow| flow.first_seen).min();
        self.last_seen = self.flows.iter().map(|flow| flow.last_seen).max();
        let recent = |flow: &&StagedFlow| now - flow.first_seen <= RECENT;
        for flow in self.flows.iter().filter(recent) {
            let new = &mut self.new_in_last_hour;
            new.would_deny += u64::from(flow.would_be_denied());
            new.would_deny_without_safety_net += u64::from(flow.would_be_denied_without_safety_net());
        }
    }
}

/// Since when a policy is staged as it is.
fn since(generation: &Generation, policy: &Policy) -> StagedSince {
    let since = generation.staged_since.get(&policy.id).copied();
    since.unwrap_or(StagedSince {
        generation: generation.number,
        at: generation.at,
    })
}

/// The counters of the policy in the pending world, then those of the ends of its tier that it can reach.
fn own_counters(policy: &Policy, counters: &BTreeMap<String, CounterRow>) -> Vec<CounterRow> {
    let pending = counters
        .values()
        .filter(|row| row.world == WorldKind::Pending.as_str());
    let mut rows: Vec<CounterRow> = pending
        .filter(|row| {
            let governs = (row.direction == "ingress" && policy.types.ingress)
                || (row.direction == "egress" && policy.types.egress);
            row.is_of(policy) || governs && row.kind == "EndOfTier" && row.tier == policy.tier
        })
        .cloned()
        .collect();
    rows.sort_by_key(|row| (row.kind == "EndOfTier", row.direction.clone(), row.rule_index));
    rows
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct StagedKey {
    direction: Direction,
    from: String,
    to: String,
    protocol: Protocol,
    port: u16,
    said: Said,
    because: String,
}

impl StagedKey {
    fn flow(self, (tally, owners): (Tally, Vec<Owner>)) -> StagedFlow {
        let word = |verdict: palisade_rules::evaluate::Verdict| verdict.as_str().to_owned();
        StagedFlow {
            direction: self.direction.as_str().to_owned(),
            from: self.from,
            to: self.to,
            proto: self.protocol.to_string(),
            port: self.port,
            action: word(self.said.action),
            pending_action: word(self.said.pending_action),
            pending_without_safety_net: word(self.said.pending_without_net),
            because: self.because,
            packets: tally.packets,
            owners,
            first_seen: tally.first_seen,
            last_seen: tally.last_seen,
        }
    }
}
