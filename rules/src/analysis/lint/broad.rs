//! Rules that let everyone in.

use super::finding::Finding;
use super::input::{Input, Place};
use crate::net::{Direction, Family, PortRange, merge_ports};
use crate::resource::Action;
use crate::world::{WorldEntity, WorldPorts, WorldRule, Worlds};

/// Allow from anywhere to every port of what is here, but for safety nets, which are there for just that.
pub(super) fn broad_allows(input: &Input<'_>) -> Vec<Finding> {
    let rules = input.rules().filter(|(place, _)| {
        place.direction == Direction::Ingress
            && place.rule.action == Action::Allow
            && !place.policy.safety_net
    });
    rules.filter_map(|(place, _)| broad(input, place)).collect()
}

fn broad(input: &Input<'_>, place: Place<'_>) -> Option<Finding> {
    let rule = place.rule;
    let families: Vec<String> = Family::BOTH
        .into_iter()
        .filter(|&family| rule.exists_for(family) && is_anyone(input.worlds, &rule.source, family))
        .map(|family| family.to_string())
        .collect();
    if families.is_empty() || !is_every_port(rule) {
        return None;
    }
    let who = if families.len() == Family::BOTH.len() {
        String::new()
    } else {
        format!(" over {}", families.join(" and "))
    };
    let what = match rule.protocol {
        Some(protocol) => format!("every port of {protocol}"),
        None => "everything".to_owned(),
    };
    let message = format!("{place} lets anyone{who} reach {what}");
    Some(
        place
            .finding("broad-allow", message)
            .label("for anyone, and every port"),
    )
}

/// Whether every address of a family is among these.
fn is_anyone(worlds: &Worlds, entity: &WorldEntity, family: Family) -> bool {
    let is_whole = |nets: &Vec<ipnet::IpNet>| {
        nets.iter()
            .any(|net| net.prefix_len() == 0 && Family::of_net(*net) == family)
    };
    entity.not_nets.is_none()
        && entity.not_set.is_none()
        && entity.nets.as_ref().is_none_or(is_whole)
        && entity
            .set
            .is_none_or(|set| worlds.address_sets.get(set).is_everything(family))
        && is_every(entity.ports.as_ref())
        && entity.not_ports.is_none()
}

/// Whether a rule is about protocols with ports, and about all of these.
fn is_every_port(rule: &WorldRule) -> bool {
    rule.protocol.is_none_or(crate::net::Protocol::has_ports)
        && rule.not_icmp.is_none()
        && is_every(rule.destination.ports.as_ref())
        && rule.destination.not_ports.is_none()
}

fn is_every(ports: Option<&WorldPorts>) -> bool {
    let all = PortRange {
        first: 1,
        last: u16::MAX,
    };
    ports.is_none_or(|ports| {
        let merged = merge_ports(&ports.ranges);
        merged
            .iter()
            .any(|range| range.first <= all.first && range.last == all.last)
    })
}
