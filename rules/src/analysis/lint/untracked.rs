//! `doNotTrack` policies: what they allow has no connection, so its answers must be allowed too.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::input::{Input, Place};
use super::reach::{exempt, groups};
use super::region::{self, Region};
use crate::net::Direction;
use crate::resource::Action;
use crate::world::{EndpointId, EndpointKind, Stage, World};

/// Rules that allow untracked packets whose answers are not, or not all, allowed the other way.
pub(super) fn one_way(input: &Input<'_>) -> Vec<Finding> {
    let mut found: BTreeMap<(usize, Direction, usize), (Place<'_>, Vec<EndpointId>)> = BTreeMap::new();
    for (_, world) in input.both_worlds() {
        for (kind, endpoints) in groups(input.worlds, world) {
            if kind != EndpointKind::Host {
                continue;
            }
            for direction in Direction::BOTH {
                for policy in world.governing(endpoints[0], direction, Stage::Untracked) {
                    for id in input.table.ids(policy, direction) {
                        let entry = input.table.get(id);
                        if entry.rule.action != Action::Allow || entry.rule.icmp.is_some() {
                            continue;
                        }
                        let Some(region) = &entry.region else { continue };
                        if !is_answered(input, world, endpoints[0], direction, region) {
                            let key = (policy.source, direction, entry.rule.index);
                            let (_, at) = found.entry(key).or_insert_with(|| (Place::of(entry), Vec::new()));
                            at.extend(
                                endpoints
                                    .iter()
                                    .filter(|id| !at.contains(id))
                                    .copied()
                                    .collect::<Vec<_>>(),
                            );
                        }
                    }
                }
            }
        }
    }
    let findings = found.into_values().map(|(place, mut at)| {
        at.sort_unstable();
        let back = opposite(place.direction);
        let message = format!(
            "{place} allows packets without tracking them, and no `doNotTrack` policy allows all of their answers as \
             {back} at {}",
            input.endpoints(&at)
        );
        place
            .finding("untracked-one-way", message)
            .label(format!("needs the same as {back}, source and destination exchanged"))
    });
    findings.collect()
}

/// Whether what answers these packets is allowed untracked; also where that cannot be reckoned.
fn is_answered(
    input: &Input<'_>,
    world: &World,
    endpoint: EndpointId,
    direction: Direction,
    region: &Region,
) -> bool {
    let seen = region::minus(region.clone(), &exempt(input.worlds, Stage::Untracked, direction));
    let Some(seen) = seen else { return true };
    let back = opposite(direction);
    let answers = region::without_icmp(region::reversed(&seen));
    let mut left = answers;
    for policy in world.governing(endpoint, back, Stage::Untracked) {
        for id in input.table.ids(policy, back) {
            let entry = input.table.get(id);
            if let (Action::Allow, Some(region)) = (entry.rule.action, &entry.region) {
                match region::minus(left, region) {
                    Some(rest) => left = rest,
                    None => return true,
                }
            }
        }
    }
    left.is_empty()
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    }
}
