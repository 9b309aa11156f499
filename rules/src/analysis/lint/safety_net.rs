//! Safety nets, and what comes between them and the packets they are there for.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::input::{Input, in_worlds};
use super::reach::{Cover, Walker, groups};
use super::way::Way;
use crate::diagnostic::quoted;
use crate::net::Direction;
use crate::resource::TierAction;
use crate::world::{EndpointId, PlacedPolicy, Stage};

/// What keeps packets from a safety net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    /// The end of a tier, with the last policy of it that governs the direction, by its index in the snapshot.
    Tier(usize, usize),
    /// Rules, which leave nothing for it.
    Rules,
}

/// Where that is so.
#[derive(Default)]
struct At {
    endpoints: BTreeSet<EndpointId>,
    worlds: [bool; 2],
}

/// Safety nets that packets never get to, because they are denied before.
pub(super) fn cut_off(input: &Input<'_>) -> Vec<Finding> {
    let walker = Walker::new(input.worlds, &input.table);
    let mut found: BTreeMap<(usize, Direction, Obstacle), At> = BTreeMap::new();
    for (index, (_, world)) in input.both_worlds().into_iter().enumerate() {
        for (_, endpoints) in groups(input.worlds, world) {
            for direction in Direction::BOTH {
                let mut governing = world.governing(endpoints[0], direction, Stage::Normal);
                let Some(net) = governing.find(|policy| policy.safety_net) else {
                    continue;
                };
                let way = Way::of(
                    input.worlds,
                    &input.table,
                    world,
                    endpoints[0],
                    direction,
                    Stage::Normal,
                );
                let Some(walked) = walker.through(&way, direction, net.tier) else {
                    continue;
                };
                let mut obstacles: Vec<Obstacle> = (walked.covers.iter())
                    .filter_map(|cover| match *cover {
                        Cover::EndOfTier(tier, last) => Some(Obstacle::Tier(tier, last)),
                        Cover::Rule(_) => None,
                    })
                    .collect();
                if walked.left.is_empty() && obstacles.is_empty() {
                    obstacles.push(Obstacle::Rules);
                }
                for obstacle in obstacles {
                    let at = found.entry((net.source, direction, obstacle)).or_default();
                    at.endpoints.extend(&endpoints);
                    at.worlds[index] = true;
                }
            }
        }
    }
    let findings = found
        .into_iter()
        .map(|((net, direction, obstacle), at)| finding(input, net, direction, obstacle, &at));
    findings.collect()
}

fn finding(input: &Input<'_>, net: usize, direction: Direction, obstacle: Obstacle, at: &At) -> Finding {
    let net = &input.snapshot.policies[net];
    let name = quoted(&net.id.to_string());
    let ids: Vec<EndpointId> = at.endpoints.iter().copied().collect();
    let place = format!(
        "{direction} at {}{}",
        input.endpoints(&ids),
        in_worlds(at.worlds, [true, true])
    );
    match obstacle {
        Obstacle::Tier(tier, last) => {
            let tier = &input.worlds.enforced.tiers[tier].name;
            let last = &input.snapshot.policies[last];
            let message = format!(
                "tier {} ends in Deny before the safety net {name} is asked: {place}",
                quoted(tier)
            );
            let written = input
                .snapshot
                .tiers
                .get(tier)
                .and_then(|tier| tier.position.as_ref());
            let finding = Finding::new("safety-net-cut-off", message);
            let finding = match written {
                Some(position) => finding
                    .of("Tier", tier, Some(position))
                    .related(&last.position, format!("its last policy for {direction}")),
                None => finding.of(last.written_kind(), &last.id.name, Some(&last.position)),
            };
            finding
                .label("what no policy of the tier decides is denied")
                .related(&net.position, "the safety net")
        }
        Obstacle::Rules => {
            let message = format!("rules before the safety net {name} leave nothing for it: {place}");
            let finding = Finding::new("safety-net-cut-off", message);
            finding
                .of(net.written_kind(), &net.id.name, Some(&net.position))
                .label("never reached")
        }
    }
}

/// Ends of tiers that deny what goes through hosts, where only the hosts themselves have a safety net.
pub(super) fn not_on_forward(input: &Input<'_>) -> Vec<Finding> {
    let mut found: BTreeMap<(usize, usize, Direction), At> = BTreeMap::new();
    for (index, (_, world)) in input.both_worlds().into_iter().enumerate() {
        for (_, endpoints) in groups(input.worlds, world) {
            for direction in Direction::BOTH {
                let governing = |stage| world.governing(endpoints[0], direction, stage);
                let net = governing(Stage::Normal).find(|policy| policy.safety_net);
                let Some(net) = net.filter(|_| !governing(Stage::Forward).any(|policy| policy.safety_net))
                else {
                    continue;
                };
                let denies =
                    |policy: &&PlacedPolicy| world.tiers[policy.tier].default_action == TierAction::Deny;
                // The last of each tier that governs the direction is what its end is put down to.
                let forwarding: Vec<&PlacedPolicy> = governing(Stage::Forward).filter(denies).collect();
                for tier in forwarding.chunk_by(|a, b| a.tier == b.tier) {
                    if let Some(last) = tier.last() {
                        let at = found.entry((last.source, net.source, direction)).or_default();
                        at.endpoints.extend(&endpoints);
                        at.worlds[index] = true;
                    }
                }
            }
        }
    }
    let findings = found.into_iter().map(|((last, net, direction), at)| {
        let (policy, net) = (&input.snapshot.policies[last], &input.snapshot.policies[net]);
        let ids: Vec<EndpointId> = at.endpoints.iter().copied().collect();
        let message = format!(
            "the end of the tier of {} denies what goes through {}{}: the safety net {} has no `applyOnForward`",
            quoted(&policy.id.to_string()),
            input.endpoints(&ids),
            in_worlds(at.worlds, [true, true]),
            quoted(&net.id.to_string())
        );
        Finding::new("safety-net-not-on-forward", message)
            .of(policy.written_kind(), &policy.id.name, Some(&policy.position))
            .label(format!("the last policy of its tier for forwarded {direction}"))
            .related(&net.position, "the safety net")
    });
    findings.collect()
}

/// Policies that Calico would ask after a safety net.
pub(super) fn behind_net_in_calico(input: &Input<'_>) -> Vec<Finding> {
    let mut findings: BTreeMap<usize, Finding> = BTreeMap::new();
    for (_, world) in input.both_worlds() {
        for net in world.policies.iter().filter(|policy| policy.safety_net) {
            let is_behind = |policy: &&PlacedPolicy| {
                let behind =
                    |other: &PlacedPolicy| (other.order.is_none(), other.order, other.id.tie_break());
                let shares = Direction::BOTH
                    .into_iter()
                    .any(|direction| policy.rules(direction).is_some() && net.rules(direction).is_some());
                policy.tier == net.tier
                    && Stage::Normal.asks(policy.stage)
                    && !policy.safety_net
                    && shares
                    && behind(policy) > behind(net)
            };
            for policy in world.policies.iter().filter(is_behind) {
                let (name, net_name) = (quoted(&policy.id.to_string()), quoted(&net.id.to_string()));
                let why = match policy.order {
                    Some(order) => format!("order {order}"),
                    None => "no order".to_owned(),
                };
                let message = format!(
                    "{name} has {why}: Calico would ask it after {net_name}, which decides everything; here it is asked before"
                );
                let finding = || {
                    Finding::new("behind-net-in-calico", message)
                        .of_policy(policy)
                        .label(why)
                        .related(&net.position, "the safety net")
                };
                findings.entry(policy.source).or_insert_with(finding);
            }
        }
    }
    findings.into_values().collect()
}
