//! What lint calls unreachable never decides: not for any packet, at any stage, with the safety net or without.

use std::collections::BTreeSet;
use std::env;
use std::sync::Arc;

use palisade_cases::case;
use palisade_rules::analysis::lint::{Unreachable, unreachable};
use palisade_rules::evaluate::{
    Decision, Packet, PolicyRef, Step, StepBy, evaluate, evaluate_beside_workload, evaluate_forwarded,
};
use palisade_rules::net::Direction;
use palisade_rules::resource::{Policy, Rule};
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{EndpointId, EndpointKind, PlacedPolicy, World, WorldKind, Worlds, resolve};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::differential::JOURNEYS;

/// As many random hosts as `PROPTEST_CASES` says, or else `cases`; each is asked about two dozen packets.
fn config(cases: u32) -> ProptestConfig {
    let given = env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: given.unwrap_or(cases),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn an_unreachable_rule_is_never_the_one_that_matches(case in case(JOURNEYS)) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let unreachable: BTreeSet<Unreachable> = unreachable(&worlds).into_iter().collect();
        for journey in &case.journeys {
            for hit in hits(&worlds, &journey.packet) {
                prop_assert!(!unreachable.contains(&hit), "{:?} by {:?}", hit, journey.packet);
            }
        }
    }

}

proptest! {
    // Every rule of a host is asked about alone.
    #![proptest_config(config(40))]

    /// A rule, and behind it the same rule with one condition less: what only the second one matches reaches it, so each
    /// condition must count for what it is.
    #[test]
    fn a_rule_covers_no_more_than_it_matches(case in case(JOURNEYS), dropped in 0..CONDITIONS) {
        let policies = case.snapshot.policies.iter();
        let rules = policies.flat_map(|policy| Direction::BOTH.map(|direction| policy.rules(direction)));
        for rule in rules.flatten() {
            let both = [Rule { index: 0, ..rule.clone() }, Rule { index: 1, ..relaxed(rule, dropped) }];
            let worlds = resolve(&alone(&case.snapshot, &both), case.host.clone());
            let unreachable: BTreeSet<Unreachable> = unreachable(&worlds).into_iter().collect();
            for journey in case.journeys.iter().filter(|_| !unreachable.is_empty()) {
                for hit in hits(&worlds, &journey.packet) {
                    prop_assert!(!unreachable.contains(&hit), "{:?} by {:?}", hit, journey.packet);
                }
            }
        }
    }
}

#[test]
fn there_are_rules_to_ask_about() {
    let mut runner = TestRunner::deterministic();
    let cases = (0..100).map(|_| case(JOURNEYS).new_tree(&mut runner).unwrap().current());
    let found = cases.map(|case| unreachable(&resolve(&case.snapshot, case.host)).len());
    assert!(found.sum::<usize>() > 100);
}

/// How many conditions [`relaxed`] knows.
const CONDITIONS: usize = 17;

/// The rule without one of its conditions, or without what rests on it.
fn relaxed(rule: &Rule, condition: usize) -> Rule {
    let mut rule = rule.clone();
    match condition {
        0 => rule.ip_version = None,
        1 => rule.protocol = None,
        2 => rule.not_protocol = None,
        3 => rule.icmp = None,
        4 => rule.not_icmp = None,
        _ => {
            let side = if condition < 11 {
                &mut rule.source
            } else {
                &mut rule.destination
            };
            match (condition - 5) % 6 {
                0 => side.nets = None,
                1 => side.not_nets = None,
                2 => side.selector = None,
                3 => side.not_selector = None,
                4 => side.ports = None,
                _ => side.not_ports = None,
            }
        }
    }
    if rule.protocol.is_none() {
        rule.icmp = None;
        for side in [&mut rule.source, &mut rule.destination] {
            side.ports.take_if(|ports| !ports.ranges.is_empty());
            side.not_ports.take_if(|ports| !ports.ranges.is_empty());
        }
    }
    rule
}

/// The snapshot with these rules for everyone and both directions, and no other policy.
fn alone(snapshot: &Snapshot, rules: &[Rule; 2]) -> Snapshot {
    let mut policy = Policy::safety_net("alone");
    policy.order = None;
    policy.ingress = rules.to_vec();
    policy.egress = rules.to_vec();
    Snapshot {
        policies: vec![Arc::new(policy)],
        ..snapshot.clone()
    }
}

/// Every rule of a policy that a packet matches, at any endpoint, in either direction and world.
fn hits(worlds: &Worlds, packet: &Packet) -> Vec<Unreachable> {
    let mut hits = Vec::new();
    for kind in WorldKind::BOTH {
        let world = worlds.world(kind);
        for endpoint in (0..worlds.endpoints.len()).map(EndpointId) {
            for direction in Direction::BOTH {
                let mut decisions = vec![evaluate(worlds, world, endpoint, direction, packet)];
                if worlds.endpoint(endpoint).kind == EndpointKind::Host {
                    decisions.push(evaluate_forwarded(worlds, world, endpoint, direction, packet));
                }
                if worlds.endpoint(endpoint).wildcard {
                    decisions.push(evaluate_beside_workload(
                        worlds, world, endpoint, direction, packet,
                    ));
                }
                let steps = decisions.iter().flat_map(steps);
                hits.extend(steps.filter_map(|step| hit(kind, world, step)));
            }
        }
    }
    hits
}

fn steps(decision: &Decision) -> impl Iterator<Item = &Step> {
    let outcomes = [Some(&decision.outcome), decision.without_safety_net.as_ref()];
    outcomes.into_iter().flatten().flat_map(|outcome| &outcome.steps)
}

fn hit(kind: WorldKind, world: &World, step: &Step) -> Option<Unreachable> {
    let StepBy::Rule {
        policy, rule_index, ..
    } = &step.by
    else {
        return None;
    };
    Some(Unreachable {
        world: kind,
        policy: source(world, policy),
        direction: step.direction,
        rule_index: *rule_index,
        endpoint: step.endpoint,
    })
}

fn source(world: &World, named: &PolicyRef) -> usize {
    let is_named = |policy: &&PlacedPolicy| {
        (policy.written_kind, &policy.id.namespace, &policy.id.name)
            == (named.kind, &named.namespace, &named.name)
    };
    world.policies.iter().find(is_named).unwrap().source
}
