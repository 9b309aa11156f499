//! The NetworkPolicy of Kubernetes and its staged form: from rules of Calico's back to what was written.

use super::policy::{protocol_name, staged_action, types};
use super::{Fields, calico, document, metadata};
use crate::net::Direction;
use crate::resource::{
    Entity, Labels, NAMESPACE_LABEL, NAMESPACE_PREFIX, ORCHESTRATOR_LABEL, ObjectName, Policy, Rule,
    StagedAction,
};
use crate::schema::KUBERNETES;
use crate::selector::{Condition, Selector};

/// A policy of Kubernetes as a document.
pub(super) fn policy(policy: &Policy) -> String {
    let namespace = policy.id.namespace.as_deref().unwrap_or_default();
    let mut spec = Fields::default().with_some("stagedAction", policy.staged.map(staged_action));
    if policy.staged != Some(StagedAction::Delete) {
        let list = |rules: &[Rule], direction| {
            let rules = rules.chunk_by(|a, b| a.index == b.index);
            rules
                .map(|of_one| rule(of_one, direction, namespace))
                .collect::<Vec<_>>()
        };
        spec = spec
            .with("podSelector", subject(&policy.selector, namespace))
            .with_texts("policyTypes", types(policy))
            .with_list("ingress", list(&policy.ingress, Direction::Ingress))
            .with_list("egress", list(&policy.egress, Direction::Egress));
    }
    let id = ObjectName {
        namespace: policy.id.namespace.clone(),
        name: policy.id.name.clone(),
    };
    let metadata = metadata(&id, &Labels::new());
    match policy.staged {
        Some(_) => calico(policy.written_kind(), metadata, spec),
        None => document(KUBERNETES, "NetworkPolicy", metadata, spec),
    }
}

/// The `podSelector` of a policy: its selector without what every one has.
fn subject(selector: &Selector, namespace: &str) -> Fields {
    let mut conditions = conditions(selector);
    conditions.pop_if(|last| *last == own(namespace));
    label_selector(&conditions)
}

/// A rule of Kubernetes, from all that it became: each protocol with each peer, protocol by protocol.
fn rule(rules: &[Rule], direction: Direction, namespace: &str) -> Fields {
    let by_protocol: Vec<&[Rule]> = rules.chunk_by(|a, b| a.protocol == b.protocol).collect();
    let far = |rule: &Rule| match direction {
        Direction::Ingress => rule.source.clone(),
        Direction::Egress => Entity {
            ports: None,
            ..rule.destination.clone()
        },
    };
    let peers = by_protocol.first().copied().unwrap_or_default().iter().map(far);
    let peers = peers.filter(|peer| *peer != Entity::default());
    let name = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    let ports = by_protocol
        .iter()
        .filter_map(|rules| rules.first())
        .flat_map(ports);
    Fields::default()
        .with_list(name, peers.map(|entity| peer(&entity, namespace)))
        .with_list("ports", ports)
}

/// The ports of one protocol.
fn ports(rule: &Rule) -> Vec<Fields> {
    let Some(protocol) = rule.protocol else {
        return Vec::new();
    };
    let protocol = || Fields::default().with_some("protocol", protocol_name(protocol.protocol));
    let Some(ports) = &rule.destination.ports else {
        return vec![protocol()];
    };
    let ranges = ports.ranges.iter().map(|range| {
        let end = (range.first != range.last).then_some(range.last);
        protocol().with("port", range.first).with_some("endPort", end)
    });
    let names = ports
        .names
        .iter()
        .map(|name| protocol().with("port", name.as_str()));
    ranges.chain(names).collect()
}

fn peer(entity: &Entity, namespace: &str) -> Fields {
    if let Some(cidr) = entity.nets.iter().flatten().next() {
        let block = Fields::default()
            .with("cidr", cidr.to_string())
            .with_texts("except", entity.not_nets.iter().flatten());
        return Fields::default().with("ipBlock", block);
    }
    let conditions = entity.selector.as_ref().map_or_else(Vec::new, conditions);
    let (pods, namespaces) = pods_and_namespaces(&conditions, namespace);
    Fields::default()
        .with_some(
            "namespaceSelector",
            namespaces.map(|namespaces| label_selector(&namespaces)),
        )
        .with("podSelector", label_selector(&pods))
}

/// Which of the conditions are about workloads, and which about namespaces; none about namespaces means the policy's
/// own. They stand in this order, and the labels of a workload may look like those of a namespace: so the namespace
/// gets all that both sides can be written with.
fn pods_and_namespaces(conditions: &[Selector], namespace: &str) -> (Vec<Selector>, Option<Vec<Selector>>) {
    if let Some((last, pods)) = conditions.split_last()
        && *last == own(namespace)
    {
        return (pods.to_vec(), None);
    }
    let in_any = Selector::has(NAMESPACE_LABEL);
    for first in 0..conditions.len() {
        let (pods, namespaces) = conditions.split_at(first);
        let within: Option<Vec<Selector>> = namespaces
            .iter()
            .map(|condition| condition.within_group(NAMESPACE_PREFIX, NAMESPACE_LABEL))
            .collect();
        // `{}` stands alone.
        if let Some(within) = within
            && (within.len() == 1 || !within.contains(&Selector::all()))
            && is_written(pods)
            && is_written(&within)
        {
            return (pods.to_vec(), Some(within));
        }
    }
    if conditions.contains(&own(namespace)) {
        return (conditions.to_vec(), None);
    }
    let all = conditions.contains(&in_any).then(Vec::new);
    (conditions.to_vec(), all)
}

/// Whether the conditions stand as they are read: labels by their keys, then expressions.
fn is_written(conditions: &[Selector]) -> bool {
    let key = |condition: &Selector| match condition.as_condition() {
        Some(Condition::Equals(key, _)) => (0, key.to_owned()),
        _ => (1, String::new()),
    };
    conditions
        .windows(2)
        .all(|pair| key(&pair[0]) < key(&pair[1]) || (key(&pair[0]).0 == 1 && key(&pair[1]).0 == 1))
}

/// What a selector demands, without that its objects are workloads of Kubernetes.
fn conditions(selector: &Selector) -> Vec<Selector> {
    let of_kubernetes = Selector::equals(ORCHESTRATOR_LABEL, "k8s");
    selector
        .conjuncts()
        .filter(|condition| *condition != of_kubernetes)
        .collect()
}

fn own(namespace: &str) -> Selector {
    Selector::equals(NAMESPACE_LABEL, namespace)
}

fn label_selector(conditions: &[Selector]) -> Fields {
    let mut labels = Labels::new();
    let mut expressions = Vec::new();
    for condition in conditions.iter().filter_map(Selector::as_condition) {
        let expression =
            |key: &str, operator: &str| Fields::default().with("key", key).with("operator", operator);
        match condition {
            Condition::Equals(key, value) => {
                labels.insert(key.to_owned(), value.to_owned());
            }
            Condition::OneOf(key, values) => {
                expressions.push(expression(key, "In").with_texts("values", values));
            }
            Condition::NoneOf(key, values) => {
                expressions.push(expression(key, "NotIn").with_texts("values", values));
            }
            Condition::Has(key) => expressions.push(expression(key, "Exists")),
            Condition::HasNot(key) => expressions.push(expression(key, "DoesNotExist")),
        }
    }
    Fields::default()
        .with_pairs("matchLabels", &labels)
        .with_list("matchExpressions", expressions)
}
