//! IPv4 and IPv6: what is said of one and not of the other.

use super::finding::Finding;
use super::input::{Input, Place};
use crate::diagnostic::quoted;
use crate::net::{Family, Protocol};
use crate::world::{AddressSet, WorldEntity, WorldRule};

/// Selectors in rules that stand for addresses of one family, where the rule is for both and so are its endpoints.
pub(super) fn one_family_peers(input: &Input<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, _) in input.rules() {
        for (field, side) in [
            ("source", &place.rule.source),
            ("destination", &place.rule.destination),
        ] {
            let Some(set) = side.set.map(|set| input.worlds.address_sets.get(set)) else {
                continue;
            };
            let Some(family) = missing(input, place, set) else {
                continue;
            };
            let selector = quoted(&set.selector.to_string());
            let message = format!(
                "{selector} stands for no {family} address, and {place} governs endpoints that have some"
            );
            let label = format!("for {family}, this is nobody");
            findings.push(
                place
                    .finding("one-family-peer", message)
                    .field(&[field])
                    .label(label),
            );
        }
    }
    findings
}

/// The family of which a set has nothing, though it is not empty, and the rule and its endpoints would have use for it.
fn missing(input: &Input<'_>, place: Place<'_>, set: &AddressSet) -> Option<Family> {
    let rule = place.rule;
    let is_missing = |family: &Family| {
        !set.nets.is_empty()
            && set.of_family(*family).next().is_none()
            && rule.exists_for(*family)
            && ![Protocol::ICMP, Protocol::ICMPV6]
                .map(Some)
                .contains(&rule.protocol)
            && input.governs_family(place.policy, *family)
    };
    Family::BOTH.into_iter().find(is_missing)
}

/// Rules that are absent for a family because of their prefixes, where that is likely a surprise.
///
/// `notNets` reads like "everyone but these", and excludes the other family altogether. A prefix of length 0 reads like
/// "everyone". Any other prefix is a surprise only at endpoints that have addresses of both families.
pub(super) fn one_family_rules(input: &Input<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, _) in input.rules() {
        let rule = place.rule;
        let absent = Family::BOTH.into_iter().find(|&family| !rule.exists_for(family));
        let Some(family) = absent.filter(|_| rule.family.is_none()) else {
            continue;
        };
        if !is_surprising(input, place, family) || has_twin(place, family) {
            continue;
        }
        let field = if looks_at_nets(&rule.source) {
            "source"
        } else {
            "destination"
        };
        let message = format!("{place} does not exist for {family}: its prefixes are of the other family");
        let label = format!("nothing of {family}");
        findings.push(
            place
                .finding("one-family-rule", message)
                .field(&[field])
                .label(label),
        );
    }
    findings
}

fn is_surprising(input: &Input<'_>, place: Place<'_>, family: Family) -> bool {
    let sides = [&place.rule.source, &place.rule.destination];
    let is_whole = |side: &&WorldEntity| side.nets.iter().flatten().any(|net| net.prefix_len() == 0);
    let mut governed = input.governed(place.policy);
    let is_unknown = governed.all(|(_, endpoint)| endpoint.addresses.is_empty());
    sides.iter().any(|side| side.not_nets.is_some())
        || input.governs_family(place.policy, family)
        || (is_unknown && sides.iter().any(is_whole))
}

/// Whether a rule beside this one does the same for a family.
fn has_twin(place: Place<'_>, family: Family) -> bool {
    let rule = place.rule;
    let is_twin = |other: &WorldRule| {
        let ports = |rule: &WorldRule| rule.destination.ports.clone();
        other.action == rule.action
            && other.exists_for(family)
            && other
                .protocol
                .is_none_or(|protocol| Some(protocol) == rule.protocol)
            && (other.destination.ports.is_none() || ports(other) == ports(rule))
    };
    let beside = place.policy.rules(place.direction).unwrap_or_default();
    beside.iter().any(is_twin)
}

fn looks_at_nets(side: &WorldEntity) -> bool {
    side.nets.is_some() || side.not_nets.is_some()
}
