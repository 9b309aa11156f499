//! Rules whose conditions no packet meets, or none that policy decides about.

use super::finding::Finding;
use super::input::{Input, Place};
use super::table::Entry;
use crate::net::Protocol;
use crate::resource::PolicyStage;
use crate::world::{WorldEntity, WorldPorts, Worlds};

/// Types of ICMP that conntrack calls new: requests for an echo, a timestamp, information and an address mask.
const NEW_ICMP: [u8; 4] = [8, 13, 15, 17];

/// The same of ICMPv6: requests for an echo, and queries for a node's information.
const NEW_ICMPV6: [u8; 2] = [128, 139];

/// Rules whose conditions contradict each other. Where a selector or a named port stands for nothing, that is said
/// elsewhere.
pub(super) fn never_matching(input: &Input<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let entries: Vec<_> = input.table.iter().collect();
    let same = |a: &&Entry<'_>, b: &&Entry<'_>| {
        (a.policy.source, a.direction, a.rule.index) == (b.policy.source, b.direction, b.rule.index)
    };
    for written in entries.chunk_by(same) {
        let is_empty = |entry: &&Entry<'_>| entry.region.as_ref().is_some_and(Vec::is_empty);
        let for_want_of_members = |entry: &&Entry<'_>| {
            let sides = [&entry.rule.source, &entry.rule.destination];
            sides
                .into_iter()
                .any(|side| stands_for_nothing(input.worlds, side))
        };
        if !written.iter().all(is_empty) || written.iter().any(for_want_of_members) {
            continue;
        }
        let place = Place::of(written[0]);
        let message = format!("{place} matches no packet: its conditions rule each other out");
        findings.push(
            place
                .finding("never-matching-rule", message)
                .label("no packet meets all of this"),
        );
    }
    findings
}

fn stands_for_nothing(worlds: &Worlds, side: &WorldEntity) -> bool {
    let is_empty_set = |set| worlds.address_sets.get(set).nets.is_empty();
    let is_empty_port = |ports: &WorldPorts| {
        ports
            .named
            .is_some_and(|set| worlds.named_ports.get(set).members.is_empty())
    };
    side.set.is_some_and(is_empty_set) || side.ports.as_ref().is_some_and(is_empty_port)
}

/// Rules on types of ICMP that conntrack never calls new. Before conntrack, policy decides about all of them.
pub(super) fn icmp_never_new(input: &Input<'_>) -> Vec<Finding> {
    let tracked = input
        .rules()
        .filter(|(place, _)| place.policy.stage != PolicyStage::Untracked);
    tracked
        .filter_map(|(place, _)| {
            let icmp_type = place.rule.icmp?.icmp_type;
            let (name, is_new) = match place.rule.protocol? {
                Protocol::ICMPV6 => ("ICMPv6", NEW_ICMPV6.contains(&icmp_type)),
                _ => ("ICMP", NEW_ICMP.contains(&icmp_type)),
            };
            let message = format!("{place} never decides: conntrack calls no {name} of type {icmp_type} new");
            let finding = || place.finding("icmp-never-new", message).field(&["icmp"]);
            (!is_new).then(|| finding().label("never the first packet of a connection"))
        })
        .collect()
}
