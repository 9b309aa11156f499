//! Policies and rules without labels.

use std::sync::Arc;

use super::named_ports::NamedPortKey;
use super::objects::Objects;
use super::selections::Selections;
use super::{
    AddressSets, NamedPortSets, PlacedPolicy, PolicyRef, WorldEntity, WorldPolicy, WorldPorts, WorldProfile,
    WorldRule, rule_text,
};
use crate::net::{Direction, Protocol};
use crate::resource::{Action, Entity, Policy, PolicyKind, PolicyStage, Ports, Profile, Rule};

/// A GlobalNetworkPolicy from this order on, selecting everything, whose only rule in each of its types is an
/// unconditional Allow, is a safety net.
const SAFETY_NET_ORDER: f64 = 100_000.0;

/// Puts sets in the place of selectors.
pub(super) struct Resolver<'a> {
    /// What there is to be selected.
    pub(super) objects: &'a Objects<'a>,
    /// The sets that were asked for.
    pub(super) address_sets: AddressSets,
    /// The named ports that were asked for.
    pub(super) named_ports: NamedPortSets,
    /// What policies select.
    pub(super) selections: Selections,
}

impl Resolver<'_> {
    /// A profile.
    pub(super) fn profile(&mut self, profile: &Profile) -> WorldProfile {
        WorldProfile {
            name: profile.name.clone(),
            ingress: self.rules(&profile.ingress),
            egress: self.rules(&profile.egress),
        }
    }

    /// A policy of this tier, not placed yet.
    pub(super) fn placed(&mut self, policy: &Policy, tier: usize) -> PlacedPolicy {
        let group = self
            .selections
            .intern(&policy.selector, policy.stage, self.objects);
        PlacedPolicy::new(Arc::new(self.policy(policy, tier)), group)
    }

    fn policy(&mut self, policy: &Policy, tier: usize) -> WorldPolicy {
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
            text: rule_text::rule_text(rule).into(),
            position: rule.position.clone(),
        }
    }

    fn entity(&mut self, entity: &Entity, protocol: Option<Protocol>) -> WorldEntity {
        let mut ports =
            |ports: &Option<Ports>| ports.as_ref().map(|ports| self.ports(ports, entity, protocol));
        let (ports, not_ports) = (ports(&entity.ports), ports(&entity.not_ports));
        let mut intern = |selector| self.address_sets.intern(selector, self.objects);
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
            self.named_ports.intern(key, self.objects)
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
