//! What staged policies would have done: observed connections, decided by the worlds as they are now.

use std::collections::{BTreeMap, BTreeSet};

use palisade_rules::analysis::StepReport;
use palisade_rules::evaluate::Verdict;
use palisade_rules::net::{Direction, Protocol};
use palisade_rules::resource::{Policy, StagedAction};
use palisade_rules::world::{EndpointId, WorldKind};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::attribute::{Attribution, attribute, parties};
use super::observe::{Kept, Missing, Tally};
use super::record::CounterRow;
use crate::apply::{Generation, StagedSince, concerned, is_staged};

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
    /// `Set`, `Delete` or `Learn`.
    pub staged_action: String,
    /// Where it is written.
    pub source: String,
    /// Since when it has been as it is, as far as this daemon knows.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The local endpoints it applies to.
    pub endpoints: Vec<String>,
    /// Whether a safety net stands in the pending world, on one of these endpoints.
    pub safety_net: bool,
    /// First packets that it would have allowed.
    pub would_allow: u64,
    /// First packets that are allowed and that promoting it would deny.
    pub would_deny: u64,
    /// First packets that are allowed and that promoting it, and then removing the safety net, would deny.
    pub would_deny_without_safety_net: u64,
    /// Who, worst first.
    pub flows: Vec<StagedFlow>,
    /// Its counters in the kernel, and those of the end of its tier.
    pub counters: Vec<CounterRow>,
    /// What is missing from the flows.
    pub missing: Missing,
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
    /// When the first was seen.
    #[serde(with = "time::serde::rfc3339")]
    pub first_seen: OffsetDateTime,
    /// When the last was seen.
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen: OffsetDateTime,
}

/// Reports on every staged policy of a generation.
pub fn staged_reports(
    generation: &Generation,
    kept: &Kept,
    counters: &BTreeMap<String, CounterRow>,
) -> Vec<StagedReport> {
    let concerned = concerned(&generation.snapshot, &generation.worlds);
    let policies = generation.snapshot.policies.iter().zip(&concerned);
    policies
        .filter(|(policy, _)| is_staged(policy))
        .map(|(policy, endpoints)| staged_report(generation, policy, endpoints, kept, counters))
        .collect()
}

fn staged_report(
    generation: &Generation,
    policy: &Policy,
    endpoints: &BTreeSet<EndpointId>,
    kept: &Kept,
    counters: &BTreeMap<String, CounterRow>,
) -> StagedReport {
    let worlds = &generation.worlds;
    let since = generation
        .staged_since
        .get(&policy.id)
        .copied()
        .unwrap_or(StagedSince {
            generation: generation.number,
            at: generation.at,
        });
    let safety_net = endpoints.iter().any(|id| {
        let policies = worlds.pending.by_endpoint[id.0].iter();
        policies
            .map(|&index| &worlds.pending.policies[index])
            .any(|policy| policy.safety_net)
    });
    let mut report = StagedReport {
        kind: policy.written_kind().to_owned(),
        tier: policy.tier.clone(),
        namespace: policy.id.namespace.clone(),
        name: policy.id.name.clone(),
        staged_action: match policy.staged {
            Some(StagedAction::Delete) => "Delete",
            Some(StagedAction::Learn) => "Learn",
            _ => "Set",
        }
        .to_owned(),
        source: policy.position.to_string(),
        since: since.at,
        endpoints: endpoints
            .iter()
            .map(|&id| worlds.endpoint(id).to_string())
            .collect(),
        safety_net,
        would_allow: 0,
        would_deny: 0,
        would_deny_without_safety_net: 0,
        flows: Vec::new(),
        counters: own_counters(policy, counters),
        missing: kept.missing(),
    };
    let mut flows: BTreeMap<StagedKey, Tally> = BTreeMap::new();
    for (connection, tally) in kept.since(since.generation) {
        let Some(attribution) = attribute(worlds, connection) else {
            continue;
        };
        let Some(step) = decided_by(policy, &attribution) else {
            continue;
        };
        report.count(&attribution, tally.packets);
        let (source, destination) = parties(worlds, connection);
        let key = StagedKey {
            direction: connection.direction,
            from: source.to_string(),
            to: destination.to_string(),
            protocol: connection.packet.protocol,
            port: connection.packet.destination_port,
            verdicts: [
                attribution.action,
                attribution.pending_action,
                attribution.pending_without_net,
            ],
            because: step.phrase(),
        };
        flows
            .entry(key)
            .and_modify(|sum| sum.add(&tally))
            .or_insert(tally);
    }
    report.flows = flows.into_iter().map(|(key, tally)| key.flow(tally)).collect();
    report.flows.sort_by_key(|flow| {
        let harmless = flow.pending_action != "deny";
        let harmless_without = flow.pending_without_safety_net != "deny";
        (harmless, harmless_without, std::cmp::Reverse(flow.packets))
    });
    report
}

/// The step of the trace in which the policy speaks: in the pending world, or there without the safety net; for a
/// staged Delete, in the enforced world.
fn decided_by<'a>(policy: &Policy, attribution: &'a Attribution) -> Option<&'a StepReport> {
    let traces = &attribution.policies;
    let deletes = policy.staged == Some(StagedAction::Delete);
    let kind = if deletes {
        policy.id.kind.as_str()
    } else {
        policy.written_kind()
    };
    let is_ours = |step: &&StepReport| match &step.trigger {
        Some(trigger) => {
            trigger.kind == kind && trigger.namespace == policy.id.namespace && trigger.name == policy.id.name
        }
        None => step.kind == kind && step.namespace == policy.id.namespace && step.name == policy.id.name,
    };
    let (with, without) = if deletes {
        (&traces.enforced, &traces.enforced_without_safety_net)
    } else {
        (&traces.pending, &traces.pending_without_safety_net)
    };
    with.last()
        .filter(is_ours)
        .or_else(|| without.iter().flatten().last().filter(is_ours))
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

impl StagedReport {
    fn count(&mut self, attribution: &Attribution, packets: u64) {
        if attribution.pending_action == Verdict::Allow {
            self.would_allow += packets;
        }
        if attribution.action == Verdict::Allow && attribution.pending_action == Verdict::Deny {
            self.would_deny += packets;
        }
        if attribution.action == Verdict::Allow && attribution.pending_without_net == Verdict::Deny {
            self.would_deny_without_safety_net += packets;
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct StagedKey {
    direction: Direction,
    from: String,
    to: String,
    protocol: Protocol,
    port: u16,
    verdicts: [Verdict; 3],
    because: String,
}

impl StagedKey {
    fn flow(self, tally: Tally) -> StagedFlow {
        let [action, pending_action, pending_without_safety_net] =
            self.verdicts.map(|verdict| verdict.as_str().to_owned());
        StagedFlow {
            direction: self.direction.as_str().to_owned(),
            from: self.from,
            to: self.to,
            proto: self.protocol.to_string(),
            port: self.port,
            action,
            pending_action,
            pending_without_safety_net,
            because: self.because,
            packets: tally.packets,
            first_seen: tally.first_seen,
            last_seen: tally.last_seen,
        }
    }
}
