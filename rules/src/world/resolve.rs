//! From a snapshot to worlds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{
    AddressSets, Attachment, Endpoint, Host, Network, World, WorldEntity, WorldPolicy, WorldRule, WorldTier,
    Worlds,
};
use crate::net::{Direction, Family, PortRange};
use crate::resource::{
    Action, DEFAULT_ALLOW_PROFILE, Entity, HostEndpoint, InterfaceName, Policy, PolicyId, PolicyKind, Rule,
    StagedAction, Tier,
};
use crate::snapshot::Snapshot;

/// A GlobalNetworkPolicy from this order on, selecting everything, whose only rule in each of its types is an
/// unconditional Allow, is a safety net.
const SAFETY_NET_ORDER: f64 = 100_000.0;

/// Resolves a snapshot for one host, in both worlds.
pub fn resolve(snapshot: &Snapshot, host: Host) -> Worlds {
    let endpoints = endpoints(snapshot, &host);
    let networks: Vec<Network> = snapshot
        .network_sets
        .values()
        .map(|set| Network {
            name: set.name.clone(),
            labels: set.labels.clone(),
            nets: set.nets.clone(),
        })
        .collect();
    let mut tiers: Vec<&Tier> = snapshot.tiers.values().collect();
    tiers.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));

    let mut resolver = Resolver {
        snapshot,
        tiers,
        endpoints,
        networks,
        address_sets: AddressSets::default(),
    };
    let enforced = resolver.world(&enforced_policies(snapshot));
    let pending = resolver.world(&pending_policies(snapshot));
    let Resolver {
        endpoints,
        networks,
        address_sets,
        ..
    } = resolver;
    Worlds {
        host,
        endpoints,
        networks,
        address_sets,
        enforced,
        pending,
    }
}

/// The endpoints of all hosts, with those of this one attached to their interfaces.
fn endpoints(snapshot: &Snapshot, host: &Host) -> Vec<Endpoint> {
    let local: Vec<&HostEndpoint> = snapshot
        .host_endpoints
        .values()
        .filter(|endpoint| host.node.as_deref() == Some(endpoint.node.as_str()))
        .collect();
    let attachments = attachments(&local, host);
    let mut endpoints: Vec<Endpoint> = snapshot
        .host_endpoints
        .values()
        .map(|written| {
            let attachment = attachments.get(written.name.as_str()).cloned();
            let addresses = if written.expected_ips.is_empty() {
                attachment
                    .as_ref()
                    .map(|attachment| live_addresses(attachment, host, &attachments))
                    .unwrap_or_default()
            } else {
                written.expected_ips.clone()
            };
            Endpoint {
                name: written.name.clone(),
                node: written.node.clone(),
                labels: written.labels.clone(),
                addresses,
                profiles: written.profiles.clone(),
                wildcard: written.interface == Some(InterfaceName::Any),
                attachment,
                position: Some(written.position.clone()),
            }
        })
        .collect();
    if let Some(node) = host.node.as_deref().filter(|_| local.is_empty()) {
        endpoints.push(Endpoint {
            name: format!("{node}-auto-hep"),
            node: node.to_owned(),
            labels: host.labels.clone(),
            addresses: live_addresses(&Attachment::Rest, host, &BTreeMap::new()),
            profiles: vec![DEFAULT_ALLOW_PROFILE.to_owned()],
            wildcard: true,
            attachment: Some(Attachment::Rest),
            position: None,
        });
    }
    endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    endpoints
}

/// Which local endpoint has which interface: the one it names, or without a name those that have an expected address.
/// Where several claim one, the lowest name wins; an endpoint that loses every claim hangs nowhere.
fn attachments<'a>(local: &[&'a HostEndpoint], host: &Host) -> BTreeMap<&'a str, Attachment> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for endpoint in local {
        let is_expected = |ip: &IpAddr| endpoint.expected_ips.contains(ip);
        let claims: Vec<&str> = match &endpoint.interface {
            Some(InterfaceName::Any) => Vec::new(),
            Some(InterfaceName::Named(interface)) => vec![interface.as_str()],
            None => {
                let interfaces = host.interfaces.iter();
                interfaces
                    .filter(|(_, addresses)| addresses.iter().any(is_expected))
                    .map(|(interface, _)| interface.as_str())
                    .collect()
            }
        };
        for interface in claims {
            owners.entry(interface).or_insert(&endpoint.name);
        }
    }
    let mut attachments: BTreeMap<&str, Attachment> = BTreeMap::new();
    for endpoint in local {
        let interfaces: Vec<String> = owners
            .iter()
            .filter(|(_, owner)| **owner == endpoint.name)
            .map(|(interface, _)| (*interface).to_owned())
            .collect();
        if !interfaces.is_empty() {
            attachments.insert(&endpoint.name, Attachment::Interfaces(interfaces));
        }
    }
    if let Some(rest) = local
        .iter()
        .find(|endpoint| endpoint.interface == Some(InterfaceName::Any))
    {
        attachments.insert(&rest.name, Attachment::Rest);
    }
    attachments
}

/// The addresses of an endpoint's interfaces at the moment, without loopback and link-local ones, which say nothing
/// about who it is.
fn live_addresses(
    attachment: &Attachment,
    host: &Host,
    attachments: &BTreeMap<&str, Attachment>,
) -> Vec<IpAddr> {
    let named: BTreeSet<&str> = attachments
        .values()
        .filter_map(|attachment| match attachment {
            Attachment::Interfaces(interfaces) => Some(interfaces.iter().map(String::as_str)),
            Attachment::Rest => None,
        })
        .flatten()
        .collect();
    let has = |interface: &str| match attachment {
        Attachment::Interfaces(interfaces) => interfaces.iter().any(|name| name == interface),
        Attachment::Rest => !named.contains(interface),
    };
    let identifies = |address: &IpAddr| {
        !address.is_loopback() && !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
    };
    let addresses: BTreeSet<IpAddr> = host
        .interfaces
        .iter()
        .filter(|(interface, _)| has(interface))
        .flat_map(|(_, addresses)| addresses.iter().copied().filter(identifies))
        .collect();
    addresses.into_iter().collect()
}

/// Indices of the policies of the enforced world.
fn enforced_policies(snapshot: &Snapshot) -> Vec<usize> {
    (0..snapshot.policies.len())
        .filter(|&index| snapshot.policies[index].staged.is_none())
        .collect()
}

/// Indices of the policies of the pending world: a staged object stands in for the enforced one of that identity, or
/// takes it away.
fn pending_policies(snapshot: &Snapshot) -> Vec<usize> {
    let replaced: BTreeSet<&PolicyId> = snapshot
        .policies
        .iter()
        .filter(|policy| {
            matches!(
                policy.staged,
                Some(StagedAction::Set | StagedAction::Learn | StagedAction::Delete)
            )
        })
        .map(|policy| &policy.id)
        .collect();
    (0..snapshot.policies.len())
        .filter(|&index| match snapshot.policies[index].staged {
            None => !replaced.contains(&snapshot.policies[index].id),
            Some(StagedAction::Set | StagedAction::Learn) => true,
            Some(StagedAction::Delete | StagedAction::Ignore) => false,
        })
        .collect()
}

struct Resolver<'a> {
    snapshot: &'a Snapshot,
    tiers: Vec<&'a Tier>,
    endpoints: Vec<Endpoint>,
    networks: Vec<Network>,
    address_sets: AddressSets,
}

impl Resolver<'_> {
    fn world(&mut self, members: &[usize]) -> World {
        let mut policies: Vec<WorldPolicy> = members.iter().map(|&source| self.policy(source)).collect();
        policies.sort_by_cached_key(|policy| {
            // A policy without order comes after every number, the safety net after all.
            let order = (Reverse(policy.order.is_some()), policy.order);
            (policy.tier, policy.safety_net, order, policy.id.tie_break())
        });
        let mut place = 0;
        for index in 0..policies.len() {
            place = if index > 0 && policies[index].tier == policies[index - 1].tier {
                place + 1
            } else {
                0
            };
            policies[index].place = place;
        }
        let selects = |policy: &WorldPolicy, endpoint: &Endpoint| {
            self.snapshot.policies[policy.source]
                .selector
                .matches(&endpoint.labels)
        };
        let by_endpoint = self
            .endpoints
            .iter()
            .map(|endpoint| {
                (0..policies.len())
                    .filter(|&index| selects(&policies[index], endpoint))
                    .collect()
            })
            .collect();
        let tiers = self
            .tiers
            .iter()
            .map(|tier| WorldTier {
                name: tier.name.clone(),
                default_action: tier.default_action,
            })
            .collect();
        World {
            tiers,
            policies,
            by_endpoint,
        }
    }

    fn policy(&mut self, source: usize) -> WorldPolicy {
        let snapshot = self.snapshot;
        let policy = &snapshot.policies[source];
        let tier = self
            .tiers
            .iter()
            .position(|tier| tier.name == policy.tier)
            .expect("a snapshot holds no policy whose tier does not exist");
        let mut rules = |direction| {
            policy.governs(direction).then(|| {
                policy
                    .rules(direction)
                    .iter()
                    .enumerate()
                    .map(|(index, rule)| self.rule(index, rule))
                    .collect()
            })
        };
        WorldPolicy {
            ingress: rules(Direction::Ingress),
            egress: rules(Direction::Egress),
            id: policy.id.clone(),
            written_kind: policy.written_kind(),
            tier,
            place: 0,
            order: policy.order,
            source,
            staged: policy.staged.is_some(),
            safety_net: is_safety_net(policy),
            position: policy.position.clone(),
        }
    }

    fn rule(&mut self, index: usize, rule: &Rule) -> WorldRule {
        WorldRule {
            index,
            name: rule.name.clone(),
            action: rule.action,
            family: family(rule),
            protocol: rule.protocol.map(|protocol| protocol.protocol),
            not_protocol: rule.not_protocol.map(|protocol| protocol.protocol),
            icmp: rule.icmp,
            not_icmp: rule.not_icmp,
            source: self.entity(&rule.source),
            destination: self.entity(&rule.destination),
            text: rule_text(rule),
            position: rule.position.clone(),
        }
    }

    fn entity(&mut self, entity: &Entity) -> WorldEntity {
        let mut intern = |selector| {
            self.address_sets
                .intern(selector, &self.endpoints, &self.networks)
        };
        // With a selector, notSelector narrows the objects; alone, it excludes addresses, so that one nobody knows
        // still matches.
        let (set, not_set) = match (&entity.selector, &entity.not_selector) {
            (Some(selector), Some(not_selector)) => (Some(intern(&selector.and_not(not_selector))), None),
            (Some(selector), None) => (Some(intern(selector)), None),
            (None, Some(not_selector)) => (None, Some(intern(not_selector))),
            (None, None) => (None, None),
        };
        WorldEntity {
            nets: entity.nets.clone(),
            not_nets: entity.not_nets.clone(),
            set,
            not_set,
            ports: entity.ports.clone(),
            not_ports: entity.not_ports.clone(),
        }
    }
}

/// Whether a policy is a safety net.
fn is_safety_net(policy: &Policy) -> bool {
    let allows_all = |direction| {
        !policy.governs(direction)
            || matches!(policy.rules(direction), [rule] if rule.action == Action::Allow && is_unconditional(rule))
    };
    policy.id.kind == PolicyKind::GlobalNetworkPolicy
        && policy
            .order
            .is_some_and(|order| order.value() >= SAFETY_NET_ORDER)
        && policy.selector.is_all()
        && Direction::BOTH.into_iter().all(allows_all)
}

fn is_unconditional(rule: &Rule) -> bool {
    rule.ip_version.is_none()
        && rule.protocol.is_none()
        && rule.not_protocol.is_none()
        && rule.icmp.is_none()
        && rule.not_icmp.is_none()
        && rule.source == Entity::default()
        && rule.destination == Entity::default()
}

/// The only family a rule is about, if it says one: by number, or by a protocol's name.
fn family(rule: &Rule) -> Option<Family> {
    rule.ip_version
        .or_else(|| rule.protocol.and_then(|protocol| protocol.family))
}

/// A rule in one canonical line, by which it is known across edits elsewhere in its policy.
fn rule_text(rule: &Rule) -> String {
    let mut words = vec![rule.action.as_str().to_lowercase()];
    words.extend(family(rule).map(|family| family.to_string()));
    if let Some(protocol) = rule.protocol {
        words.push(protocol.protocol.to_string());
    }
    if let Some(protocol) = rule.not_protocol {
        words.push(format!("not {}", protocol.protocol));
    }
    if let Some(icmp) = rule.icmp {
        words.push(format!("type {icmp}"));
    }
    if let Some(icmp) = rule.not_icmp {
        words.push(format!("not icmp type {icmp}"));
    }
    for (side, entity) in [("from", &rule.source), ("to", &rule.destination)] {
        let conditions = entity_text(entity);
        if !conditions.is_empty() {
            words.push(format!("{side} {conditions}"));
        }
    }
    words.join(" ")
}

fn entity_text(entity: &Entity) -> String {
    fn list<T: ToString>(word: &str, items: Option<&Vec<T>>) -> Option<String> {
        items.map(|items| {
            format!(
                "{word} {}",
                items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
            )
        })
    }
    [
        list("nets", entity.nets.as_ref()),
        list("not nets", entity.not_nets.as_ref()),
        entity
            .selector
            .as_ref()
            .map(|selector| format!("selector {selector}")),
        entity
            .not_selector
            .as_ref()
            .map(|selector| format!("not selector {selector}")),
        list::<PortRange>("ports", entity.ports.as_ref()),
        list::<PortRange>("not ports", entity.not_ports.as_ref()),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" ")
}
