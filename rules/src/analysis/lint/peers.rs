//! Selectors and names that stand for nothing.

use super::finding::Finding;
use super::input::{Input, Place, listed};
use crate::diagnostic::quoted;
use crate::net::Protocol;
use crate::resource::{Entity, Ports, Rule};
use crate::selector::Selector;
use crate::world::Endpoint;

/// Policies that select no endpoint; where there are no endpoints at all, that alone is said.
pub(super) fn selects_nothing(input: &Input<'_>) -> Vec<Finding> {
    let endpoints = &input.worlds.endpoints;
    if endpoints.is_empty() {
        let first = input.policies().next();
        let message = "there are no endpoints: what policies select could not be checked";
        return first
            .map(|_| Finding::new("no-endpoints", message))
            .into_iter()
            .collect();
    }
    let mut findings = Vec::new();
    for policy in input.policies() {
        let selector = &input.snapshot.policies[policy.source].selector;
        if endpoints
            .iter()
            .any(|endpoint| selector.matches(&endpoint.labels))
        {
            continue;
        }
        let name = quoted(&policy.id.to_string());
        let message = format!(
            "{name} selects no endpoint: {} matches none",
            quoted(&selector.to_string())
        );
        let mut finding = Finding::new("selects-nothing", message)
            .of_policy(policy)
            .label("selects nothing");
        finding.path = Some("spec.selector".to_owned());
        findings.push(finding);
    }
    findings
}

/// Selectors in rules that stand for no address.
pub(super) fn peers_that_select_nothing(input: &Input<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, _) in input.rules() {
        for (field, side) in [
            ("source", &place.rule.source),
            ("destination", &place.rule.destination),
        ] {
            let effect = if side.set.is_some() {
                "never matches"
            } else {
                "excludes nobody by it"
            };
            let Some(set) = side.set.or(side.not_set) else {
                continue;
            };
            let set = input.worlds.address_sets.get(set);
            if !set.nets.is_empty() {
                continue;
            }
            let nameless = selected(input, &set.selector);
            let what = if nameless.is_empty() {
                "selects nothing".to_owned()
            } else {
                format!("selects {}, without any address", listed(&nameless))
            };
            let message = format!("{} {what}: {place} {effect}", quoted(&set.selector.to_string()));
            findings.push(
                place
                    .finding("peer-selects-nothing", message)
                    .field(&[field])
                    .label("stands for no address"),
            );
        }
    }
    findings
}

/// The endpoints and sets that a selector selects.
fn selected(input: &Input<'_>, selector: &Selector) -> Vec<String> {
    let endpoints = input.worlds.endpoints.iter();
    let endpoints = endpoints
        .filter(|endpoint| selector.matches(&endpoint.labels))
        .map(|endpoint| format!("{} {endpoint}", endpoint.kind));
    let networks = input.worlds.networks.iter();
    let networks = networks
        .filter(|network| selector.matches(&network.labels))
        .map(|network| format!("network set {}", network.name));
    endpoints.chain(networks).collect()
}

/// Names of ports in rules that none of the endpoints meant has.
pub(super) fn unresolved_port_names(input: &Input<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, rule) in input.rules() {
        for (side, entity) in [("source", &rule.source), ("destination", &rule.destination)] {
            let lists = [("ports", &entity.ports), ("notPorts", &entity.not_ports)];
            for (field, ports) in lists
                .into_iter()
                .filter_map(|(field, ports)| Some((field, ports.as_ref()?)))
            {
                findings.extend(
                    unresolved(input, place, rule, entity, ports)
                        .map(|finding| finding.field(&[side, field])),
                );
            }
        }
    }
    findings
}

fn unresolved(
    input: &Input<'_>,
    place: Place<'_>,
    rule: &Rule,
    entity: &Entity,
    ports: &Ports,
) -> Option<Finding> {
    let protocol = rule.protocol.map_or(Protocol::TCP, |written| written.protocol);
    let is_meant = |endpoint: &&Endpoint| {
        let selected = |selector: &Selector| selector.matches(&endpoint.labels);
        entity.selector.as_ref().is_none_or(selected) && !entity.not_selector.as_ref().is_some_and(selected)
    };
    let has = |endpoint: &Endpoint, name: &str| {
        let mut ports = endpoint.ports.iter();
        !endpoint.addresses.is_empty() && ports.any(|port| port.name == name && port.protocol == protocol)
    };
    let is_unknown = |name: &&String| {
        let mut meant = input.worlds.endpoints.iter().map(AsRef::as_ref).filter(is_meant);
        !meant.any(|endpoint| has(endpoint, name))
    };
    let unknown: Vec<String> = ports
        .names
        .iter()
        .filter(is_unknown)
        .map(|name| quoted(name))
        .collect();
    if unknown.is_empty() {
        return None;
    }
    let of = match &entity.selector {
        Some(selector) => format!("that {} selects", quoted(&selector.to_string())),
        None => "with an address".to_owned(),
    };
    let message = format!(
        "no endpoint {of} has the {protocol} port {}: {place} looks for it in vain",
        listed(&unknown)
    );
    Some(
        place
            .finding("unresolved-port-name", message)
            .label("no such port there"),
    )
}
