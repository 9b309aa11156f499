//! Worlds without the rules that a protocol and port cannot match: most rules name a port, and most ports few rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::blocks::{Blocks, rules};
use crate::analysis::Side;
use crate::net::{Direction, Protocol};
use crate::world::{World, WorldPolicy, WorldRule};

/// What is left of two worlds for the endpoints of this host, one protocol and one block of ports.
#[derive(Debug)]
pub(super) struct Reduced {
    /// The addresses that the rules that are left tell apart.
    pub(super) blocks: Blocks,
    /// The worlds without the other rules: policies and their order stay, and so do the ends of tiers.
    pub(super) worlds: [World; 2],
}

impl Reduced {
    /// What is left for packets to any of these ports, which stand for their blocks.
    pub(super) fn new(sides: [Side<'_>; 2], protocol: Protocol, ports: [u16; 2]) -> Self {
        let worlds = sides.map(|side| reduced(side, |rule| can_match(rule, protocol, ports)));
        let left = sides.iter().zip(&worlds).flat_map(|(side, world)| {
            world
                .policies
                .iter()
                .flat_map(rules)
                .map(|rule| (side.worlds, rule))
        });
        Reduced {
            blocks: Blocks::of_rules(left),
            worlds,
        }
    }
}

fn reduced(side: Side<'_>, is_left: impl Fn(&WorldRule) -> bool) -> World {
    let world = side.worlds.world(side.world);
    let left = |policy: &WorldPolicy, direction| {
        let rules = policy.rules(direction)?;
        Some(rules.iter().filter(|rule| is_left(rule)).cloned().collect())
    };
    let local = || side.worlds.local().map(|(id, ..)| id);
    let selecting: BTreeSet<u32> = local()
        .flat_map(|id| world.selecting(id).iter().copied())
        .collect();
    let places: BTreeMap<u32, u32> = selecting.iter().copied().zip(0..).collect();
    let mut by_endpoint = vec![Arc::from([]); side.worlds.endpoints.len()];
    for id in local() {
        let selecting = world.selecting(id).iter();
        by_endpoint[id.0] = selecting.map(|policy| places[policy]).collect();
    }
    let policies = selecting.iter().map(|&policy| &world.policies[policy as usize]);
    let policies = policies.map(|policy| {
        policy.with(WorldPolicy {
            ingress: left(policy, Direction::Ingress),
            egress: left(policy, Direction::Egress),
            ..WorldPolicy::clone(policy)
        })
    });
    World::of_lists(Arc::clone(&world.tiers), policies.collect(), by_endpoint)
}

/// Whether a rule may match a packet of this protocol to one of these ports; a named port may be any.
fn can_match(rule: &WorldRule, protocol: Protocol, ports: [u16; 2]) -> bool {
    let has_port = || {
        rule.destination.ports.as_ref().is_none_or(|wanted| {
            let mut ranges = wanted.ranges.iter();
            wanted.named.is_some() || ranges.any(|range| ports.iter().any(|port| range.contains(*port)))
        })
    };
    rule.protocol.is_none_or(|wanted| wanted == protocol)
        && rule.not_protocol.is_none_or(|unwanted| unwanted != protocol)
        && has_port()
}
