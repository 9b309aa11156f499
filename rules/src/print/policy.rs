//! Policies and their rules.

use serde_yaml::Value;

use super::{Fields, calico, kubernetes, metadata, number};
use crate::net::{Family, Protocol};
use crate::resource::{
    DEFAULT_TIER, Entity, IcmpMatch, Labels, NAMESPACE_LABEL, NAMESPACE_PREFIX, ObjectName, Policy,
    PolicyKind, PolicyStage, Ports, ProtocolMatch, Rule, StagedAction,
};
use crate::selector::Selector;

/// A policy as a document, in the form of its kind.
pub fn policy(policy: &Policy) -> String {
    if policy.id.kind == PolicyKind::KubernetesNetworkPolicy {
        return kubernetes::policy(policy);
    }
    let namespace = policy.id.namespace.as_deref();
    let mut spec = Fields::default()
        .with_some("stagedAction", policy.staged.map(staged_action))
        .with_some(
            "tier",
            (policy.tier != DEFAULT_TIER).then_some(policy.tier.as_str()),
        );
    if policy.staged != Some(StagedAction::Delete) {
        let (forward, pre_dnat, untracked) = match policy.stage {
            PolicyStage::Normal { apply_on_forward } => (apply_on_forward, false, false),
            PolicyStage::PreDnat => (true, true, false),
            PolicyStage::Untracked => (true, false, true),
        };
        spec = spec
            .with_some("order", policy.order.map(|order| number(order.value())))
            // In a namespace it demands the namespace already, and demanding it again changes nothing.
            .with_some("selector", (!policy.selector.is_all()).then(|| policy.selector.to_string()))
            .with_some("applyOnForward", forward.then_some(true))
            .with_some("preDNAT", pre_dnat.then_some(true))
            .with_some("doNotTrack", untracked.then_some(true))
            .with_texts("types", types(policy))
            .with_list("ingress", policy.ingress.iter().map(|it| rule(it, namespace)))
            .with_list("egress", policy.egress.iter().map(|it| rule(it, namespace)));
    }
    calico(policy.written_kind(), metadata_of(policy), spec)
}

/// The metadata of a policy; a name that a server's prefix begins is written where it is safe from being cut.
fn metadata_of(policy: &Policy) -> Fields {
    let id = ObjectName {
        namespace: policy.id.namespace.clone(),
        name: policy.id.name.clone(),
    };
    let metadata = metadata(&id, &Labels::new());
    if policy.tier != DEFAULT_TIER || !id.name.starts_with("default.") {
        return metadata;
    }
    let original = format!("{{\"name\":\"{}\"}}", id.name);
    metadata.with(
        "annotations",
        Fields::default().with("projectcalico.org/metadata", original),
    )
}

/// Calico's word for what a staged object stands for.
pub(super) fn staged_action(action: StagedAction) -> &'static str {
    match action {
        StagedAction::Set => "Set",
        StagedAction::Delete => "Delete",
        StagedAction::Learn => "Learn",
        StagedAction::Ignore => "Ignore",
    }
}

/// The directions that a policy governs.
pub(super) fn types(policy: &Policy) -> impl Iterator<Item = &'static str> {
    let ingress = policy.types.ingress.then_some("Ingress");
    ingress.into_iter().chain(policy.types.egress.then_some("Egress"))
}

/// A rule of a policy in this namespace, or of none.
pub(super) fn rule(rule: &Rule, namespace: Option<&str>) -> Fields {
    let annotations: Vec<(String, String)> = rule
        .name
        .iter()
        .map(|name| ("palisade.dev/rule-name".to_owned(), name.clone()))
        .chain(rule.annotations.iter().cloned())
        .collect();
    let annotations = annotations.iter().map(|(key, value)| (key, value));
    let metadata = Fields::default().with_pairs("annotations", annotations);
    Fields::default()
        .with("action", rule.action.as_str())
        .with_some("metadata", filled(metadata))
        .with_some(
            "ipVersion",
            rule.ip_version
                .map(|family| if family == Family::V4 { 4 } else { 6 }),
        )
        .with_some("protocol", rule.protocol.map(protocol))
        .with_some("notProtocol", rule.not_protocol.map(protocol))
        .with_some("icmp", rule.icmp.map(icmp))
        .with_some("notICMP", rule.not_icmp.map(icmp))
        .with_some("source", filled(entity(&rule.source, namespace)))
        .with_some("destination", filled(entity(&rule.destination, namespace)))
}

fn filled(fields: Fields) -> Option<Fields> {
    (!fields.0.is_empty()).then_some(fields)
}

fn protocol(written: ProtocolMatch) -> Value {
    let belongs_to_one = matches!(written.protocol, Protocol::ICMP | Protocol::ICMPV6);
    match protocol_name(written.protocol) {
        // By number it belongs to either family.
        Some(name) if written.family.is_some() || !belongs_to_one => name.into(),
        _ => written.protocol.0.into(),
    }
}

/// Calico's word for a protocol, if it has one.
pub(super) fn protocol_name(protocol: Protocol) -> Option<&'static str> {
    let known = Protocol::NAMES.iter().find(|(_, known)| *known == protocol);
    known.map(|(name, _)| *name)
}

fn icmp(icmp: IcmpMatch) -> Fields {
    Fields::default()
        .with("type", icmp.icmp_type)
        .with_some("code", icmp.code)
}

fn entity(entity: &Entity, namespace: Option<&str>) -> Fields {
    let selector = entity.selector.as_ref();
    let namespaces = selector
        .zip(namespace)
        .and_then(|(selector, namespace)| namespace_selector(selector, namespace));
    Fields::default()
        .with_texts("nets", entity.nets.iter().flatten())
        .with_texts("notNets", entity.not_nets.iter().flatten())
        .with_some("selector", selector.map(Selector::to_string))
        .with_some("namespaceSelector", namespaces)
        .with_some(
            "notSelector",
            entity.not_selector.as_ref().map(Selector::to_string),
        )
        .with_some("ports", entity.ports.as_ref().map(ports))
        .with_some("notPorts", entity.not_ports.as_ref().map(ports))
}

/// What has to stand beside a selector, so that a policy in this namespace does not add the namespace to it: one of the
/// conditions that the selector holds already, as it is said of namespaces. None where the namespace is among them.
fn namespace_selector(selector: &Selector, namespace: &str) -> Option<String> {
    let own = Selector::equals(NAMESPACE_LABEL, namespace);
    let in_none = Selector::has(NAMESPACE_LABEL).negated();
    if selector.conjuncts().any(|condition| condition == own) {
        return None;
    }
    selector.conjuncts().find_map(|condition| {
        if condition == in_none {
            return Some("global()".to_owned());
        }
        let within = condition.within_group(NAMESPACE_PREFIX, NAMESPACE_LABEL)?;
        Some(within.to_string())
    })
}

fn ports(ports: &Ports) -> Vec<Value> {
    let ranges = ports.ranges.iter().map(|range| {
        if range.first == range.last {
            range.first.into()
        } else {
            format!("{}:{}", range.first, range.last).into()
        }
    });
    let names = ports.names.iter().map(|name| name.as_str().into());
    ranges.chain(names).collect()
}
