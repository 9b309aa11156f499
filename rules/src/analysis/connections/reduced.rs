//! Worlds without the rules that a protocol and port cannot match: most rules name a port, and most ports few rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Tracked;
use super::blocks::{Blocks, rules};
use crate::analysis::Side;
use crate::net::{Direction, PortRange, Protocol};
use crate::world::{PlacedPolicy, PortMask, World, WorldPolicy, WorldRule};

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

/// What is left of two worlds for the endpoints of this host and all of these connections: whole policies, the very same.
/// Those of which no rule can match are left out, but for the last of each tier, which may be why the tier ends.
pub(super) fn for_few(sides: [Side<'_>; 2], connections: &[Tracked]) -> [World; 2] {
    let wanted = Wanted::of(connections);
    let worlds = sides.map(|side| side.worlds.world(side.world));
    let mask = PortMask::of_ports(wanted.ports.iter().copied());
    // Most policies are known not to match without a look at their rules.
    let asked =
        |policy: &PlacedPolicy| policy.may_match(mask) && rules(policy).any(|rule| wanted.can_match(rule));
    let [before, after] = worlds.map(|world| &world.policies[..]);
    let was: Vec<bool> = before.iter().map(asked).collect();
    // Most policies are there before and after.
    let is: Vec<bool> = after
        .iter()
        .enumerate()
        .map(|(place, policy)| match before.get(place) {
            Some(same) if Arc::ptr_eq(&same.policy, &policy.policy) => was[place],
            _ => asked(policy),
        })
        .collect();
    [some_of(sides[0], &was), some_of(sides[1], &is)]
}

/// What connections have of what rules name.
struct Wanted {
    protocols: BTreeSet<Protocol>,
    /// Their destination ports, before and after translation; sorted.
    ports: Vec<u16>,
}

impl Wanted {
    fn of(connections: &[Tracked]) -> Self {
        let packets = || {
            let both = connections.iter();
            both.flat_map(|connection| [&connection.arriving, &connection.packet])
        };
        let ports: BTreeSet<u16> = packets().map(|packet| packet.destination_port).collect();
        Wanted {
            protocols: packets().map(|packet| packet.protocol).collect(),
            ports: ports.into_iter().collect(),
        }
    }

    /// Whether a rule may match one of them; a named port may be any.
    fn can_match(&self, rule: &WorldRule) -> bool {
        let has_port = |range: &PortRange| {
            let next = self.ports.partition_point(|port| *port < range.first);
            self.ports.get(next).is_some_and(|port| *port <= range.last)
        };
        let ports = rule.destination.ports.as_ref();
        ports.is_none_or(|ports| ports.named.is_some() || ports.ranges.iter().any(has_port))
            && rule
                .protocol
                .is_none_or(|protocol| self.protocols.contains(&protocol))
    }
}

/// A world with some of its policies and all the last ones of a tier, for the endpoints of this host.
fn some_of(side: Side<'_>, is_left: &[bool]) -> World {
    let world = side.worlds.world(side.world);
    let mut by_endpoint = vec![Vec::new(); side.worlds.endpoints.len()];
    for (id, ..) in side.worlds.local() {
        // What is last of its kind is last in every list that has it.
        let mut kinds = Vec::new();
        let left = &mut by_endpoint[id.0];
        for &index in world.selecting(id).iter().rev() {
            let policy = &world.policies[index as usize];
            let governs = Direction::BOTH.map(|direction| policy.rules(direction).is_some());
            let kind = (policy.tier, policy.stage, governs, policy.safety_net);
            let is_last = !kinds.contains(&kind);
            if is_last {
                kinds.push(kind);
            }
            if is_last || is_left[index as usize] {
                left.push(index);
            }
        }
        left.reverse();
    }
    let selecting: BTreeSet<u32> = by_endpoint.iter().flatten().copied().collect();
    let places: BTreeMap<u32, u32> = selecting.iter().copied().zip(0..).collect();
    let lists = by_endpoint.into_iter();
    let lists = lists.map(|list| list.iter().map(|policy| places[policy]).collect());
    let policies = selecting
        .iter()
        .map(|&policy| world.policies[policy as usize].clone());
    World::of_lists(Arc::clone(&world.tiers), policies.collect(), lists.collect())
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
