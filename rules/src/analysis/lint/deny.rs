//! Denials: of everything, and in vain.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::input::{Input, Place, in_worlds, listed};
use super::reach::groups;
use super::region::{self, Region};
use crate::diagnostic::quoted;
use crate::net::Direction;
use crate::resource::{Action, TierAction};
use crate::world::{EndpointId, EndpointKind, PlacedPolicy, Stage, World, WorldRule};

/// A policy in one direction, by its index in the snapshot.
type Side = (usize, Direction);

/// Policies without Allow or Pass at whose endpoints nothing is allowed by anything else, so that all is denied.
pub(super) fn denies_everything(input: &Input<'_>) -> Vec<Finding> {
    let mut found: BTreeMap<Side, [BTreeSet<EndpointId>; 2]> = BTreeMap::new();
    for (index, (_, world)) in input.both_worlds().into_iter().enumerate() {
        for (_, endpoints) in groups(input.worlds, world) {
            for direction in Direction::BOTH {
                for policy in walls(input, index, endpoints[0], direction) {
                    let at = found.entry((policy.source, direction)).or_default();
                    at[index].extend(&endpoints);
                }
            }
        }
    }
    let policies: BTreeMap<usize, &PlacedPolicy> =
        input.policies().map(|policy| (policy.source, policy)).collect();
    let findings = found.into_iter().filter_map(|((source, direction), at)| {
        let policy = policies.get(&source)?;
        Some(denies_all(input, policy, direction, &at))
    });
    findings.collect()
}

fn denies_all(
    input: &Input<'_>,
    policy: &PlacedPolicy,
    direction: Direction,
    at: &[BTreeSet<EndpointId>; 2],
) -> Finding {
    let worlds = input.both_worlds().map(|(_, world)| world);
    let all: Vec<EndpointId> = at[0].union(&at[1]).copied().collect();
    let has_net = |id: &EndpointId| {
        let mut governing = worlds[1].governing(*id, direction, Stage::Normal);
        governing.any(|other| other.safety_net && other.tier <= policy.tier)
    };
    let rest = match all.iter().filter(|id| has_net(id)).count() {
        0 => "",
        count if count == all.len() => ", but for the safety net",
        _ => ", but for the safety net where there is one",
    };
    let exists = worlds.map(|world| is_in(world, policy));
    let denies = if policy.staged { "would deny" } else { "denies" };
    let message = format!(
        "{} has no Allow or Pass and {denies} all {direction} of {}{}{rest}",
        quoted(&policy.id.to_string()),
        input.endpoints(&all),
        in_worlds([!at[0].is_empty(), !at[1].is_empty()], exists)
    );
    let label = format!("nothing that is asked by then allows any {direction}");
    Finding::new("denies-everything", message)
        .of_policy(policy)
        .label(label)
}

/// The policies without Allow or Pass in a tier at whose end everything is denied, because nothing of it or before it
/// lets anything pass.
fn walls<'a>(input: &Input<'a>, world: usize, id: EndpointId, direction: Direction) -> Vec<&'a PlacedPolicy> {
    let (_, in_world) = input.both_worlds()[world];
    let reaches = |policy: &PlacedPolicy, rule: &WorldRule| {
        let reach = input.reach[world].get(&(policy.source, direction, rule.index));
        reach.is_none_or(|reach| reach.is_reached_at(id))
    };
    let lets = |policies: &[&PlacedPolicy], actions: &[Action]| {
        let rules = policies.iter().flat_map(|policy| {
            let rules = policy.rules(direction).unwrap_or_default();
            rules.iter().map(move |rule| (policy, rule))
        });
        let mut rules = rules.filter(|(_, rule)| actions.contains(&rule.action));
        rules.any(|(policy, rule)| reaches(policy, rule))
    };
    let early = Stage::Normal.early(direction).iter();
    let early: Vec<&PlacedPolicy> = early
        .flat_map(|&stage| in_world.governing(id, direction, stage))
        .collect();
    if lets(&early, &[Action::Allow]) {
        return Vec::new();
    }
    let normal = in_world.governing(id, direction, Stage::Normal);
    let normal: Vec<&PlacedPolicy> = normal.filter(|policy| !policy.safety_net).collect();
    for tier in normal.chunk_by(|a, b| a.tier == b.tier) {
        let denies = in_world.tiers[tier[0].tier].default_action == TierAction::Deny;
        let is_wall = |policy: &&PlacedPolicy| {
            let rules = policy.rules(direction).unwrap_or_default();
            let lets = rules
                .iter()
                .any(|rule| matches!(rule.action, Action::Allow | Action::Pass));
            let ends = rules
                .iter()
                .any(|rule| rule.action == Action::Deny && rule.is_unconditional());
            !lets && (denies || ends)
        };
        if lets(tier, &[Action::Allow]) {
            return Vec::new();
        }
        if !lets(tier, &[Action::Pass]) && (denies || tier.iter().any(is_wall)) {
            return tier.iter().copied().filter(is_wall).collect();
        }
    }
    Vec::new()
}

fn is_in(world: &World, policy: &PlacedPolicy) -> bool {
    world.policies.iter().any(|other| other.source == policy.source)
}

/// Rules that deny, by port or by peer, what a failsafe lets pass at host endpoints. What denies everything, or all of a
/// protocol, is not meant to shut what stays open.
pub(super) fn failsafe_wins(input: &Input<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in input
        .table
        .iter()
        .filter(|entry| entry.rule.action == Action::Deny)
    {
        let place = Place::of(entry);
        let peer = match entry.direction {
            Direction::Ingress => &entry.rule.source,
            Direction::Egress => &entry.rule.destination,
        };
        let is_specific = entry.rule.destination.ports.is_some() || peer.looks_at_addresses();
        let Some(region) = entry.region.as_ref().filter(|_| is_specific) else {
            continue;
        };
        let hosts = input
            .governed(entry.policy)
            .filter(|(_, endpoint)| endpoint.kind == EndpointKind::Host);
        let hosts: Vec<EndpointId> = hosts.map(|(id, _)| id).collect();
        let winning = winning(input, entry.direction, region);
        if hosts.is_empty() || winning.is_empty() {
            continue;
        }
        let why = if winning.len() == 1 {
            "a failsafe, which comes"
        } else {
            "failsafes, which come"
        };
        let message = format!(
            "{place} does not shut {} at {}: {why} before every policy",
            listed(&winning),
            input.endpoints(&hosts),
        );
        findings.push(place.finding("failsafe-wins", message).label("the failsafe wins"));
    }
    findings
}

/// The failsafes of a direction that let some of these packets pass.
fn winning(input: &Input<'_>, direction: Direction, region: &Region) -> Vec<String> {
    let failsafes = input.worlds.host.failsafes.ports(direction).iter();
    let winning = failsafes
        .filter(|failsafe| region::overlaps(&region::of_failsafe(failsafe, direction, false), region));
    winning.map(|failsafe| quoted(&failsafe.to_string())).collect()
}
