//! Ranges of ports, cut into parts within which no rule tells two ports apart.

use std::collections::BTreeSet;

use crate::net::{Direction, PortRange};
use crate::world::{WorldKind, WorldPorts, Worlds};

/// Where the meaning of a destination port may change: each of these ports may be decided differently from the one before.
pub(super) fn boundaries(worlds: &Worlds) -> BTreeSet<u16> {
    let mut boundaries = BTreeSet::new();
    let mut add = |range: PortRange| {
        boundaries.insert(range.first);
        boundaries.extend(range.last.checked_add(1));
    };
    for failsafe in Direction::BOTH
        .iter()
        .flat_map(|&direction| worlds.host.failsafes.ports(direction))
    {
        add(failsafe.ports);
    }
    let mut lists: Vec<&WorldPorts> = Vec::new();
    for direction in Direction::BOTH {
        let policies = WorldKind::BOTH
            .into_iter()
            .flat_map(|kind| worlds.world(kind).policies.iter());
        let policies = policies.flat_map(|policy| policy.rules(direction).unwrap_or_default());
        let profiles = worlds
            .profiles
            .iter()
            .flat_map(|profile| profile.rules(direction));
        for rule in policies.chain(profiles) {
            lists.extend(
                [&rule.destination.ports, &rule.destination.not_ports]
                    .into_iter()
                    .flatten(),
            );
        }
    }
    for ports in lists {
        ports.ranges.iter().copied().for_each(&mut add);
        let named = ports.named.map(|named| worlds.named_ports.get(named));
        for &(_, port) in named.iter().flat_map(|named| &named.members) {
            add(PortRange::one(port));
        }
    }
    boundaries
}

/// The parts of a range.
pub(super) fn parts(range: PortRange, boundaries: &BTreeSet<u16>) -> Vec<PortRange> {
    let mut parts = Vec::new();
    let mut first = range.first;
    let inner = range.first.saturating_add(1)..=range.last;
    if range.first < range.last {
        for &boundary in boundaries.range(inner) {
            parts.push(PortRange {
                first,
                last: boundary - 1,
            });
            first = boundary;
        }
    }
    parts.push(PortRange {
        first,
        last: range.last,
    });
    parts
}
