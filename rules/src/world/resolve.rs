//! From a snapshot to worlds.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::endpoints::endpoints;
use super::named_ports::NamedPortKey;
use super::objects::Objects;
use super::{
    AddressSets, Directory, Endpoint, Host, NamedPortSets, Network, PlacedPolicy, PolicyRef, World,
    WorldEntity, WorldPolicy, WorldPorts, WorldProfile, WorldRule, WorldTier, Worlds, labels, rule_text,
};
use crate::net::{Direction, Protocol};
use crate::resource::{
    Action, Entity, Policy, PolicyId, PolicyKind, PolicyStage, Ports, Rule, StagedAction, Tier,
};
use crate::snapshot::Snapshot;

/// A GlobalNetworkPolicy from this order on, selecting everything, whose only rule in each of its types is an
/// unconditional Allow, is a safety net.
const SAFETY_NET_ORDER: f64 = 100_000.0;

/// Resolves a snapshot for one host, in both worlds.
pub fn resolve(snapshot: &Snapshot, host: Host) -> Worlds {
    let endpoints: Vec<Arc<Endpoint>> = endpoints(snapshot, &host).into_iter().map(Arc::new).collect();
    let networks: Vec<Arc<Network>> = snapshot
        .network_sets
        .values()
        .map(|set| {
            Arc::new(Network {
                namespace: set.id.namespace.clone(),
                name: set.id.name.clone(),
                labels: labels::of_set(snapshot, set),
                nets: set.nets.clone(),
            })
        })
        .collect();
    let mut tiers: Vec<&Tier> = snapshot.tiers.values().collect();
    tiers.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));

    let mut resolver = Resolver {
        snapshot,
        tiers,
        objects: Objects::new(&endpoints, &networks),
        address_sets: AddressSets::default(),
        named_ports: NamedPortSets::default(),
    };
    // The built-in profile comes into the rules' texts like any other.
    let profiles = resolver.profiles();
    let policies = resolver.policies();
    let selected = resolver.selected();
    let tiers = resolver.tiers();
    let enforced = resolver.world(&policies, &selected, &enforced_policies(snapshot), &tiers);
    let pending = resolver.world(&policies, &selected, &pending_policies(snapshot), &tiers);
    let Resolver {
        address_sets,
        named_ports,
        ..
    } = resolver;
    Worlds {
        directory: Directory::new(&endpoints, &networks),
        host,
        endpoints: endpoints.into(),
        networks: networks.into(),
        address_sets,
        named_ports,
        profiles,
        enforced,
        pending,
    }
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
    objects: Objects<'a>,
    address_sets: AddressSets,
    named_ports: NamedPortSets,
}

impl Resolver<'_> {
    fn profiles(&mut self) -> Arc<[Arc<WorldProfile>]> {
        let profiles = self.snapshot.profiles.values();
        profiles
            .map(|profile| {
                Arc::new(WorldProfile {
                    name: profile.name.clone(),
                    ingress: self.rules(&profile.ingress),
                    egress: self.rules(&profile.egress),
                })
            })
            .collect()
    }

    fn tiers(&self) -> Arc<[WorldTier]> {
        let tiers = self.tiers.iter();
        tiers
            .map(|tier| WorldTier {
                name: tier.name.clone(),
                default_action: tier.default_action,
            })
            .collect()
    }

    /// Every policy of the snapshot, resolved once for both worlds.
    fn policies(&mut self) -> Vec<Arc<WorldPolicy>> {
        let policies = self.snapshot.policies.iter();
        policies.map(|policy| Arc::new(self.policy(policy))).collect()
    }

    fn policy(&mut self, policy: &Policy) -> WorldPolicy {
        let tier = self
            .tiers
            .iter()
            .position(|tier| tier.name == policy.tier)
            // A staged deletion needs no tier, and is in neither world.
            .unwrap_or_default();
        let mut rules = |direction| {
            let rules = policy.governs(direction).then(|| policy.rules(direction))?;
            Some(Arc::from(self.rules(rules)))
        };
        WorldPolicy {
            ingress: rules(Direction::Ingress),
            egress: rules(Direction::Egress),
            id: policy.id.clone(),
            written_kind: policy.written_kind(),
            named: Arc::new(PolicyRef {
                kind: policy.written_kind(),
                tier: policy.tier.clone(),
                namespace: policy.id.namespace.clone(),
                name: policy.id.name.clone(),
            }),
            tier,
            stage: policy.stage,
            order: policy.order,
            staged: policy.staged.is_some(),
            safety_net: is_safety_net(policy),
            position: policy.position.clone(),
        }
    }

    /// For each policy of the snapshot, the endpoints that it selects and is asked at, in order.
    fn selected(&self) -> Vec<Vec<usize>> {
        let Objects {
            endpoints,
            endpoints_by_label,
            ..
        } = &self.objects;
        let asked = |policy: &Policy, endpoint: &Endpoint| {
            let mut stages = endpoint.kind.stages().iter();
            stages.any(|stage| stage.asks(policy.stage))
        };
        let policies = self.snapshot.policies.iter();
        policies
            .map(|policy| {
                let mut selected = endpoints_by_label.matching(&policy.selector);
                selected.retain(|&index| asked(policy, &endpoints[index]));
                selected
            })
            .collect()
    }

    /// The world of these policies of the snapshot.
    fn world(
        &self,
        resolved: &[Arc<WorldPolicy>],
        selected: &[Vec<usize>],
        members: &[usize],
        tiers: &Arc<[WorldTier]>,
    ) -> World {
        let mut policies: Vec<PlacedPolicy> = members
            .iter()
            .map(|&source| PlacedPolicy {
                source,
                place: 0,
                policy: Arc::clone(&resolved[source]),
            })
            .collect();
        policies.sort_by_cached_key(|policy| {
            // A policy without order comes after every number, the safety net after all.
            let order = (Reverse(policy.order.is_some()), policy.order);
            (policy.tier, policy.safety_net, order, policy.id.tie_break())
        });
        for index in 1..policies.len() {
            if policies[index].tier == policies[index - 1].tier {
                policies[index].place = policies[index - 1].place + 1;
            }
        }
        let mut selecting = vec![Vec::new(); self.objects.endpoints.len()];
        for (index, policy) in (0_u32..).zip(&policies) {
            for &endpoint in &selected[policy.source] {
                selecting[endpoint].push(index);
            }
        }
        let selecting = selecting.into_iter().map(Arc::from).collect();
        World::new(Arc::clone(tiers), policies, selecting)
    }

    fn rules(&mut self, rules: &[Rule]) -> Vec<WorldRule> {
        rules.iter().map(|rule| self.rule(rule)).collect()
    }

    fn rule(&mut self, rule: &Rule) -> WorldRule {
        let protocol = rule.protocol.map(|protocol| protocol.protocol);
        WorldRule {
            index: rule.index,
            name: rule.name.clone(),
            annotations: rule
                .annotations
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
            action: rule.action,
            family: rule_text::family(rule),
            protocol,
            not_protocol: rule.not_protocol.map(|protocol| protocol.protocol),
            icmp: rule.icmp,
            not_icmp: rule.not_icmp,
            source: self.entity(&rule.source, protocol),
            destination: self.entity(&rule.destination, protocol),
            text: rule_text::rule_text(rule),
            position: rule.position.clone(),
        }
    }

    fn entity(&mut self, entity: &Entity, protocol: Option<Protocol>) -> WorldEntity {
        let mut ports =
            |ports: &Option<Ports>| ports.as_ref().map(|ports| self.ports(ports, entity, protocol));
        let (ports, not_ports) = (ports(&entity.ports), ports(&entity.not_ports));
        let mut intern = |selector| self.address_sets.intern(selector, &self.objects);
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
            ports,
            not_ports,
        }
    }

    fn ports(&mut self, ports: &Ports, entity: &Entity, protocol: Option<Protocol>) -> WorldPorts {
        let named = (!ports.names.is_empty()).then(|| {
            let key = NamedPortKey {
                names: ports.names.iter().cloned().collect(),
                // Without a protocol a named port is TCP's, as in Calico.
                protocol: protocol.unwrap_or(Protocol::TCP),
                selector: entity.selector.clone(),
                not_selector: entity.not_selector.clone(),
            };
            self.named_ports.intern(key, &self.objects)
        });
        WorldPorts {
            ranges: ports.ranges.clone(),
            named,
        }
    }
}

/// Whether a policy is a safety net: known by what it is, and not by its name.
pub fn is_safety_net(policy: &Policy) -> bool {
    let allows_all = |direction| {
        !policy.governs(direction)
            || matches!(policy.rules(direction), [rule] if rule.action == Action::Allow && rule.is_unconditional())
    };
    policy.id.kind == PolicyKind::GlobalNetworkPolicy
        && matches!(policy.stage, PolicyStage::Normal { .. })
        && policy
            .order
            .is_some_and(|order| order.value() >= SAFETY_NET_ORDER)
        && policy.selector.is_all()
        && Direction::BOTH.into_iter().all(allows_all)
}
