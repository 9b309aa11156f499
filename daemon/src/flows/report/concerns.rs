//! Which connections a staged policy has a say in, and whether it is what decides.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use palisade_rules::analysis::StepReport;
use palisade_rules::evaluate::Verdict;
use palisade_rules::net::Direction;
use palisade_rules::resource::{Policy, PolicyStage, StagedAction};
use palisade_rules::world::EndpointId;

use super::since;
use crate::apply::{EndpointKey, Generation, StagedSince};
use crate::flows::attribute::Attribution;
use crate::flows::observe::Connection;

/// A staged policy, and where it has a say.
pub(super) struct Concern<'p> {
    /// Since when it is staged as it is.
    pub(super) since: StagedSince,
    /// Its endpoints.
    pub(super) endpoints: &'p BTreeSet<EndpointId>,
    policy: &'p Policy,
    /// The enforced policy that it takes the place of, or away.
    replaced: Option<&'p Policy>,
    keys: BTreeSet<Arc<EndpointKey>>,
}

/// The verdicts that matter of an attribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Said {
    pub(super) action: Verdict,
    pub(super) pending_action: Verdict,
    pub(super) pending_without_net: Verdict,
}

impl Said {
    pub(super) fn of(attribution: &Attribution) -> Self {
        Said {
            action: attribution.action,
            pending_action: attribution.pending_action,
            pending_without_net: attribution.pending_without_net,
        }
    }

    pub(super) fn would_allow(self, count: u64) -> u64 {
        if self.pending_action == Verdict::Allow {
            count
        } else {
            0
        }
    }

    pub(super) fn would_deny(self, count: u64) -> u64 {
        self.changes_to_deny(self.pending_action, count)
    }

    pub(super) fn would_deny_without_net(self, count: u64) -> u64 {
        self.changes_to_deny(self.pending_without_net, count)
    }

    fn changes_to_deny(self, pending: Verdict, count: u64) -> u64 {
        if self.action == Verdict::Allow && pending == Verdict::Deny {
            count
        } else {
            0
        }
    }
}

impl<'p> Concern<'p> {
    pub(super) fn new(
        generation: &'p Generation,
        policy: &'p Policy,
        endpoints: &'p BTreeSet<EndpointId>,
    ) -> Self {
        let mut policies = generation.snapshot.policies.iter().map(Arc::as_ref);
        let replaced = policies.find(|other| other.staged.is_none() && other.id == policy.id);
        let key = |id: &EndpointId| Arc::new(EndpointKey::from(generation.worlds.endpoint(*id)));
        Concern {
            since: since(generation, policy),
            endpoints,
            policy,
            replaced,
            keys: endpoints.iter().map(key).collect(),
        }
    }

    /// Whether it is asked about connections of this direction, or what it replaces is.
    pub(super) fn governs(&self, direction: Direction) -> bool {
        self.meant().any(|policy| policy.governs(direction))
    }

    /// Whether it is asked about what only goes through the host, or what it replaces is.
    pub(super) fn applies_on_forward(&self) -> bool {
        self.meant().any(|policy| {
            !matches!(
                policy.stage,
                PolicyStage::Normal {
                    apply_on_forward: false
                }
            )
        })
    }

    /// Whether it may have a say in a connection.
    pub(super) fn is_asked(&self, connection: &Connection) -> bool {
        self.governs(connection.direction)
            && (!connection.forwarded || self.applies_on_forward())
            && self.keys.contains(&connection.endpoint)
    }

    /// The step by which it has a part in the verdict: in the pending world, or there without the safety net; for a
    /// staged Delete, in the enforced world. The end of a tier speaks for each policy that is staged in the tier, and a
    /// Pass for whoever passed, where that makes a deny of an allow; whoever denies what the replaced policy was asked
    /// about speaks for its absence.
    pub(super) fn spoke<'a>(&self, attribution: &'a Attribution) -> Option<&'a StepReport> {
        let traces = &attribution.policies;
        let trace = |with: &'a Vec<StepReport>, without: &'a Option<Vec<StepReport>>| {
            [with.as_slice(), without.as_deref().unwrap_or_default()]
        };
        let enforced = trace(&traces.enforced, &traces.enforced_without_safety_net);
        let pending = trace(&traces.pending, &traces.pending_without_safety_net);
        let deletes = self.deletes();
        let [with, without] = if deletes { enforced } else { pending };
        let decided = |steps: &'a [StepReport]| steps.last().filter(|step| self.is_ours(step));
        let said = Said::of(attribution);
        let had_a_part = |steps: &'a [StepReport]| {
            let passed = steps.iter().any(|step| self.is_ours(step));
            let last = steps.last()?;
            let ends = last.kind == "EndOfTier" && last.tier == self.policy.tier && !deletes;
            (ends || passed).then_some(last)
        };
        decided(with)
            .or_else(|| decided(without))
            .or_else(|| had_a_part(with).filter(|_| said.would_deny(1) > 0))
            .or_else(|| had_a_part(without).filter(|_| said.would_deny_without_net(1) > 0))
            .or_else(|| {
                let replaced = self.replaced?;
                let mut steps = enforced.into_iter().flatten();
                steps.find(|step| is_of(step, replaced))?;
                let [with, without] = pending;
                if said.would_deny(1) > 0 {
                    with.last()
                } else if said.would_deny_without_net(1) > 0 {
                    without.last().or(with.last())
                } else {
                    None
                }
            })
    }

    fn deletes(&self) -> bool {
        self.policy.staged == Some(StagedAction::Delete)
    }

    /// What says where it speaks: itself, unless it deletes, and what it replaces.
    fn meant(&self) -> impl Iterator<Item = &'p Policy> {
        let itself = (!self.deletes() || self.replaced.is_none()).then_some(self.policy);
        itself.into_iter().chain(self.replaced)
    }

    fn is_ours(&self, step: &StepReport) -> bool {
        let replaced = self.replaced.filter(|_| self.deletes());
        is_of(step, replaced.unwrap_or(self.policy))
    }
}

/// Whether a step is one of a policy, or the end of a tier that it is named for.
fn is_of(step: &StepReport, policy: &Policy) -> bool {
    let kind = policy.written_kind();
    let (named, namespace, name) = match &step.trigger {
        Some(trigger) => (&trigger.kind, &trigger.namespace, &trigger.name),
        None => (&step.kind, &step.namespace, &step.name),
    };
    named == kind && *namespace == policy.id.namespace && *name == policy.id.name
}
