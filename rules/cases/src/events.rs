//! What is counted, in words that steps of a trace and counters of a ruleset have in common.

use std::fmt::Write as _;

use palisade_rules::compile::{Counted, CountedBy};
use palisade_rules::evaluate::{Outcome, PolicyRef, Step, StepBy};
use palisade_rules::net::Direction;
use palisade_rules::world::{PlacedPolicy, Stage, World};

/// What a counter counts, in the words of [`crate::Expected`].
pub fn event(counted: &Counted) -> String {
    let what = match &counted.by {
        CountedBy::Invalid => format!("{}invalid", forwarded(counted.stage)),
        CountedBy::Failsafe(text) => format!("failsafe {text}"),
        CountedBy::Rule {
            policy,
            rule_index,
            rule_name,
            ..
        } => rule_of(policy, *rule_index, rule_name.as_ref()),
        CountedBy::EndOfTier(tier) => format!("{}end of {tier}", forwarded(counted.stage)),
        CountedBy::Profile {
            name,
            rule_index,
            rule_name,
            ..
        } => format!("profile {name} {rule_index} {rule_name:?}"),
        CountedBy::NoProfile => "no profile".to_owned(),
    };
    format!("{}: {what} {}", counted.direction, counted.action)
}

/// What a step says.
pub(crate) fn step_event(step: &Step) -> String {
    let what = match &step.by {
        StepBy::Loopback => "loopback".to_owned(),
        StepBy::Failsafe(text) => format!("failsafe {text}"),
        StepBy::Rule {
            policy,
            rule_index,
            rule_name,
            ..
        } => rule_of(policy, *rule_index, rule_name.as_ref()),
        StepBy::EndOfTier { tier, .. } => format!("{}end of {tier}", forwarded(step.stage)),
        StepBy::Profile {
            name,
            rule_index,
            rule_name,
        } => format!("profile {name} {rule_index} {rule_name:?}"),
        StepBy::NoProfile => "no profile".to_owned(),
    };
    format!("{what} {}", step.action)
}

/// What a safety net says, by its only rule.
pub(crate) fn net_event(world: &World, net: &PlacedPolicy, direction: Direction) -> String {
    let tier = &world.tiers[net.tier].name;
    let allow = &net.rules(direction).unwrap()[0];
    let what = rule(
        net.written_kind,
        tier,
        None,
        &net.id.name,
        allow.index,
        allow.name.as_ref(),
    );
    format!("{what} Allow")
}

/// The whole trace, kinds as after promotion.
pub fn describe(outcome: &Outcome) -> String {
    let mut text = outcome.verdict.as_str().to_owned();
    for step in &outcome.steps {
        write!(text, ", {} {}", step.stage.as_str(), step_event(step)).unwrap();
        if let StepBy::EndOfTier { trigger, .. } = &step.by {
            write!(
                text,
                " by {} {:?} {}",
                trigger.kind, trigger.namespace, trigger.name
            )
            .unwrap();
        }
    }
    text.replace("Staged", "")
}

fn rule_of(policy: &PolicyRef, index: usize, rule_name: Option<&String>) -> String {
    let namespace = policy.namespace.as_ref();
    rule(
        policy.kind,
        &policy.tier,
        namespace,
        &policy.name,
        index,
        rule_name,
    )
}

fn rule(
    kind: &str,
    tier: &str,
    namespace: Option<&String>,
    name: &str,
    index: usize,
    rule_name: Option<&String>,
) -> String {
    format!("{kind} {tier} {namespace:?} {name} {index} {rule_name:?}")
}

/// Ends of tiers and invalid packets are counted apart where they are forwarded.
fn forwarded(stage: Stage) -> &'static str {
    if stage == Stage::Forward { "forwarded " } else { "" }
}
