//! Steps that borrow what they say: who asks by the thousand does not copy every name.

use std::sync::Arc;

use super::{Step, StepBy};
use crate::failsafe::Failsafe;
use crate::net::Direction;
use crate::resource::Action;
use crate::source::Position;
use crate::world::{EndpointId, PlacedPolicy, Stage, WorldProfile, WorldRule, WorldTier};

/// A [`Step`] that borrows what it says. Two are equal if what they say is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Said<'w> {
    pub(crate) endpoint: EndpointId,
    pub(crate) direction: Direction,
    pub(crate) stage: Stage,
    pub(crate) by: SaidBy<'w>,
    pub(crate) action: Action,
    pub(crate) position: Option<&'w Position>,
}

/// A [`StepBy`] that borrows what it says.
#[derive(Clone, Copy)]
pub(crate) enum SaidBy<'w> {
    Loopback,
    Failsafe(OpenBy<'w>),
    Rule(&'w PlacedPolicy, &'w WorldRule),
    EndOfTier(&'w WorldTier, &'w PlacedPolicy),
    Profile(&'w WorldProfile, &'w WorldRule),
    NoProfile,
}

/// What keeps a packet's way open.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum OpenBy<'w> {
    Port(&'w Failsafe),
    Icmpv6,
}

impl Said<'_> {
    /// Whether a rule of a safety net says it.
    pub(crate) fn is_safety_net(&self) -> bool {
        matches!(self.by, SaidBy::Rule(policy, _) if policy.safety_net)
    }
}

impl PartialEq for SaidBy<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (SaidBy::Loopback, SaidBy::Loopback) | (SaidBy::NoProfile, SaidBy::NoProfile) => true,
            (SaidBy::Failsafe(one), SaidBy::Failsafe(other)) => one == other,
            (SaidBy::Rule(policy, one), SaidBy::Rule(other_policy, other)) => {
                policy.named == other_policy.named
                    && policy.safety_net == other_policy.safety_net
                    && same_rule(one, other)
            }
            (SaidBy::EndOfTier(tier, trigger), SaidBy::EndOfTier(other_tier, other)) => {
                tier.name == other_tier.name && trigger.named == other.named
            }
            (SaidBy::Profile(profile, one), SaidBy::Profile(other_profile, other)) => {
                profile.name == other_profile.name && same_rule(one, other)
            }
            _ => false,
        }
    }
}

impl From<Said<'_>> for Step {
    fn from(said: Said<'_>) -> Self {
        let by = match said.by {
            SaidBy::Loopback => StepBy::Loopback,
            SaidBy::Failsafe(OpenBy::Port(failsafe)) => StepBy::Failsafe(failsafe.to_string()),
            SaidBy::Failsafe(OpenBy::Icmpv6) => StepBy::Failsafe("icmpv6".to_owned()),
            SaidBy::Rule(policy, rule) => StepBy::Rule {
                policy: Arc::clone(&policy.named),
                rule_index: rule.index,
                rule_name: rule.name.clone(),
                safety_net: policy.safety_net,
            },
            SaidBy::EndOfTier(tier, trigger) => StepBy::EndOfTier {
                tier: tier.name.clone(),
                trigger: Arc::clone(&trigger.named),
            },
            SaidBy::Profile(profile, rule) => StepBy::Profile {
                name: profile.name.clone(),
                rule_index: rule.index,
                rule_name: rule.name.clone(),
            },
            SaidBy::NoProfile => StepBy::NoProfile,
        };
        Step {
            endpoint: said.endpoint,
            direction: said.direction,
            stage: said.stage,
            by,
            action: said.action,
            position: said.position.cloned(),
        }
    }
}

/// Whether they are the same rule of the same list.
fn same_rule(one: &WorldRule, other: &WorldRule) -> bool {
    one.index == other.index && one.name == other.name
}
