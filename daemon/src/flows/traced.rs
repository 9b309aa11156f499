//! A packet that the kernel has traced: what it did, in the words of policies, and whether the evaluator agrees.

use std::net::IpAddr;

use palisade_rules::analysis::StepReport;
use palisade_rules::compile::{Counted, CountedBy};
use palisade_rules::evaluate::{Packet, Verdict};
use palisade_rules::net::Protocol;
use palisade_rules::ruleset::Name;
use serde::{Deserialize, Serialize};

use super::attribute::{Attribution, attribute, parties};
use super::observe::Connection;
use super::record::CounterRow;
use crate::apply::Generation;

/// `POST /v1/explain/trace`: what the kernel did with a packet in one hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// The prefix of the copy for flow records, which says where.
    pub prefix: String,
    /// Where from.
    pub source: IpAddr,
    /// Where to.
    pub destination: IpAddr,
    /// The protocol, by number.
    pub protocol: u8,
    /// The source port; 0 where the protocol has none.
    pub source_port: u16,
    /// The destination port; 0 where the protocol has none.
    pub destination_port: u16,
    /// The ICMP type.
    pub icmp_type: u8,
    /// The ICMP code.
    pub icmp_code: u8,
    /// The counters that it met in enforced chains, in order.
    pub enforced: Vec<String>,
    /// The counters that it met in the preview; `None` if there was none.
    pub pending: Option<Vec<String>>,
    /// Whether it was let through.
    pub allowed: bool,
}

/// What policies say of a traced packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceReport {
    /// The source's name.
    pub from: String,
    /// The destination's name.
    pub to: String,
    /// The endpoint that was asked.
    pub endpoint: String,
    /// `ingress` or `egress`, seen from it.
    pub direction: String,
    /// The verdict in force.
    pub enforced: TracedWorld,
    /// The preview; `None` where nothing is staged.
    pub pending: Option<TracedWorld>,
}

/// What the kernel and the evaluator say of one world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedWorld {
    /// `allow` or `deny`, as the kernel did it; in the preview, as it counted it.
    pub verdict: String,
    /// The steps, as the kernel took them.
    pub steps: Vec<StepReport>,
    /// The evaluator's verdict.
    pub expected_verdict: String,
    /// The evaluator's steps.
    pub expected_steps: Vec<StepReport>,
    /// Whether both say the same.
    pub agrees: bool,
}

impl Traced {
    /// The packet as policies see it.
    pub fn packet(&self) -> Packet {
        Packet {
            source: self.source,
            destination: self.destination,
            protocol: Protocol(self.protocol),
            source_port: self.source_port,
            destination_port: self.destination_port,
            icmp_type: self.icmp_type,
            icmp_code: self.icmp_code,
        }
    }
}

/// Translates what the kernel did at a connection's endpoint, and compares. `None` if the endpoint is no longer there.
pub fn judge(generation: &Generation, connection: &Connection, traced: &Traced) -> Option<TraceReport> {
    let Attribution {
        action,
        pending_action,
        pending_without_net,
        policies,
        ..
    } = attribute(&generation.worlds, connection)?;
    let (from, to) = parties(&generation.worlds, connection);
    let enforced = counted(generation, &traced.enforced);
    let verdict = if traced.allowed {
        Verdict::Allow
    } else {
        Verdict::Deny
    };
    let pending = traced.pending.as_ref().map(|counters| {
        let mut met = counted(generation, counters);
        // The net only counts in the preview, and the walk goes on as if it were absent.
        met.retain(|counted| !matches!(counted.by, CountedBy::Rule { safety_net: true, .. }));
        let (expected, steps) = match policies.pending_without_safety_net.clone() {
            Some(bare) => (pending_without_net, bare),
            None => (pending_action, policies.pending.clone()),
        };
        let last = met.last().map_or(expected, |last| match last.action {
            palisade_rules::resource::Action::Deny => Verdict::Deny,
            _ => Verdict::Allow,
        });
        world(last, &met, expected, steps)
    });
    let name = |party: super::record::Party| match party.namespace {
        Some(namespace) => format!("{namespace}/{}", party.name),
        None => party.name,
    };
    Some(TraceReport {
        from: name(from),
        to: name(to),
        endpoint: connection.endpoint.name.clone(),
        direction: connection.direction.as_str().to_owned(),
        enforced: world(verdict, &enforced, action, policies.enforced.clone()),
        pending,
    })
}

/// What the counters of our rules stand for; others have none.
fn counted<'g>(generation: &'g Generation, counters: &[String]) -> Vec<&'g Counted> {
    let counted = |name: &String| generation.compiled.counters.get(&Name::new(name));
    counters.iter().filter_map(counted).collect()
}

fn world(
    verdict: Verdict,
    met: &[&Counted],
    expected_verdict: Verdict,
    expected_steps: Vec<StepReport>,
) -> TracedWorld {
    let mut steps: Vec<StepReport> = met.iter().map(|counted| step(counted)).collect();
    let same = |(step, expected): (&StepReport, &StepReport)| {
        step.kind == expected.kind
            && step.namespace == expected.namespace
            && step.tier == expected.tier
            && step.name == expected.name
            && step.rule_index == expected.rule_index
            && step.action == expected.action
    };
    let agrees = verdict == expected_verdict
        && steps.len() == expected_steps.len()
        && steps.iter().zip(&expected_steps).all(same);
    if agrees {
        // The same steps, and these know where they are written.
        steps.clone_from(&expected_steps);
    }
    TracedWorld {
        verdict: verdict.as_str().to_owned(),
        steps,
        expected_verdict: expected_verdict.as_str().to_owned(),
        expected_steps,
        agrees,
    }
}

fn step(counted: &Counted) -> StepReport {
    let row = CounterRow::new("", counted, 0, 0);
    StepReport {
        endpoint: String::new(),
        direction: row.direction.into(),
        stage: None,
        tier: row.tier,
        kind: row.kind.into(),
        namespace: row.namespace,
        name: row.name,
        rule_index: row.rule_index,
        rule_name: row.rule_name,
        action: row.action.into(),
        trigger: None,
        source: None,
    }
}
