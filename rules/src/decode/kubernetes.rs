//! The NetworkPolicy of Kubernetes, and its staged form: what it says, in rules of Calico's (reference 2.4 and 2.5).
//!
//! It selects workloads of Kubernetes in its own namespace, stands in the default tier and only allows. Each of its
//! rules becomes one for each peer and protocol, all with the index of the rule as it is written.

mod label_selector;

use std::collections::BTreeMap;

use ipnet::IpNet;

use self::label_selector::label_selector;
use super::fields::{Context, Field, Fields, Unique, is_default};
use super::found::Found;
use super::metadata::Metadata;
use super::{entity, net, policy, rule, selector};
use crate::diagnostic::{Diagnostic, quoted};
use crate::net::{Direction, Family, PortRange, Protocol};
use crate::resource::{
    Action, Entity, NAMESPACE_LABEL, NAMESPACE_PREFIX, ORCHESTRATOR_LABEL, Order, Policy, PolicyKind,
    PolicyTypes, Ports, ProtocolMatch, Rule, StagedAction,
};
use crate::schema::{
    IP_BLOCK, KUBERNETES_EGRESS_RULE, KUBERNETES_INGRESS_RULE, KUBERNETES_PEER, KUBERNETES_PORT, Kind,
};
use crate::selector::Selector;
use crate::source::Span;
use crate::yaml::{Core, Node, Value};

/// Where all policies of Kubernetes stand in their tier.
const ORDER: f64 = 1_000.0;

/// The most items of a list; Kubernetes has no limit but that of the whole object.
const MAX_ITEMS: usize = 1024;

/// The most ports of a rule times its peers: each peer becomes a rule with all ports.
const MAX_PORTS_OF_PEERS: usize = 16_384;

/// The orchestrator of the workloads that a policy of Kubernetes is about.
const ORCHESTRATOR: &str = "k8s";

const PROTOCOLS: [(&str, Protocol); 3] = [
    ("TCP", Protocol::TCP),
    ("UDP", Protocol::UDP),
    ("SCTP", Protocol::SCTP),
];

/// Reads a NetworkPolicy of Kubernetes or a StagedKubernetesNetworkPolicy.
pub(super) fn policy(
    context: &mut Context<'_>,
    metadata: &Metadata<'_>,
    spec: Option<Field<'_>>,
    kind: &'static Kind,
    found: &mut Found,
) -> Policy {
    let mut policy = policy::empty(metadata, PolicyKind::KubernetesNetworkPolicy, kind.is_staged());
    policy.order = Some(Order::new(ORDER));
    let fields = spec.and_then(|spec| Fields::of(context, spec.value, kind.spec, spec.key.span));
    let Some(mut fields) = fields else {
        return policy;
    };
    if kind.is_staged() {
        policy.staged = Some(policy::staged_action(context, &mut fields));
    }
    if policy.staged == Some(StagedAction::Delete) {
        policy::deletion(context, &mut fields, "nothing may stand beside it");
    } else {
        content(context, &mut fields, &mut policy, found);
    }
    fields.finish(context);
    policy
}

fn content(context: &mut Context<'_>, fields: &mut Fields<'_>, policy: &mut Policy, found: &mut Found) {
    let namespace = policy.id.namespace.clone().unwrap_or_default();
    let pods = fields.optional("podSelector");
    let place = pods.map_or(fields.place(), |field| field.key.span);
    let parts = [
        Some(Selector::equals(ORCHESTRATOR_LABEL, ORCHESTRATOR)),
        pods.and_then(|field| label_selector(context, field)),
        Some(Selector::equals(NAMESPACE_LABEL, &namespace)),
    ];
    if let Some(subject) = selector::together(context, place, parts) {
        policy.selector = subject;
    }
    let ingress = fields.optional("ingress");
    let egress = fields.optional("egress");
    let types = fields
        .optional("policyTypes")
        .filter(|types| !is_default(types.value));
    let mut rules = |field: Option<Field<'_>>, direction| {
        field.map_or_else(Vec::new, |field| {
            rules(context, field, direction, &namespace, found)
        })
    };
    policy.ingress = rules(ingress, Direction::Ingress);
    policy.egress = rules(egress, Direction::Egress);
    policy.types = match types {
        Some(types) => policy::types(context, types),
        None => PolicyTypes {
            ingress: true,
            egress: egress.is_some_and(|egress| !is_default(egress.value)),
        },
    };
    policy::check_unused(context, policy, "policyTypes", types, [ingress, egress]);
}

fn rules(
    context: &mut Context<'_>,
    field: Field<'_>,
    direction: Direction,
    namespace: &str,
    found: &mut Found,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (index, node) in rule::nodes(context, field).iter().enumerate() {
        for rule in rule(context, node, direction, namespace, found) {
            rules.push(Rule { index, ..rule });
        }
    }
    rules
}

/// The rules that one rule of Kubernetes becomes: one for each protocol and peer.
fn rule(
    context: &mut Context<'_>,
    node: &Node,
    direction: Direction,
    namespace: &str,
    found: &mut Found,
) -> Vec<Rule> {
    let (object, peers) = match direction {
        Direction::Ingress => (&KUBERNETES_INGRESS_RULE, "from"),
        Direction::Egress => (&KUBERNETES_EGRESS_RULE, "to"),
    };
    let Some(mut fields) = Fields::of(context, node, object, node.span) else {
        return Vec::new();
    };
    let peers = fields.optional(peers);
    let ports = fields.optional("ports");
    fields.finish(context);

    let peers = peers.map_or_else(Vec::new, |peers| self::peers(context, peers, namespace));
    let protocols = ports.map_or_else(BTreeMap::new, |ports| self::ports(context, ports, found));
    let each = protocols.values().flatten();
    let each: usize = each.map(|ports| ports.ranges.len() + ports.names.len()).sum();
    if each * peers.len() > MAX_PORTS_OF_PEERS {
        context.report(
            Diagnostic::error(
                "too-many",
                format!("a rule of {each} ports for each of {} peers is too large", peers.len()),
            )
            .at(node.span, "too many ports and peers")
            .help(format!(
                "split the rule, or write ranges with `endPort`: ports times peers may be {MAX_PORTS_OF_PEERS}"
            )),
        );
        return Vec::new();
    }
    // An empty list matches everything.
    let peers = if peers.is_empty() {
        vec![Entity::default()]
    } else {
        peers
    };
    let protocols = if protocols.is_empty() {
        vec![(None, None)]
    } else {
        protocols
            .into_iter()
            .map(|(protocol, ports)| (Some(protocol), ports))
            .collect()
    };
    let position = context.position(node);
    let mut rules = Vec::new();
    for (protocol, ports) in protocols {
        for peer in &peers {
            let mut rule = Rule::unconditional(Action::Allow, position.clone());
            rule.protocol = protocol.map(|protocol| ProtocolMatch {
                protocol,
                family: None,
            });
            let (near, far) = match direction {
                Direction::Ingress => (&mut rule.destination, &mut rule.source),
                Direction::Egress => (&mut rule.source, &mut rule.destination),
            };
            peer.clone_into(far);
            let at_destination = if direction == Direction::Ingress {
                near
            } else {
                far
            };
            at_destination.ports.clone_from(&ports);
            rules.push(rule);
        }
    }
    rules
}

fn peers(context: &mut Context<'_>, field: Field<'_>, namespace: &str) -> Vec<Entity> {
    items(context, field, "a list of peers")
        .iter()
        .map(|node| peer(context, node, namespace).unwrap_or_default())
        .collect()
}

/// Reads a peer: addresses, or workloads of Kubernetes, in the policy's own namespace unless it selects namespaces.
fn peer(context: &mut Context<'_>, node: &Node, namespace: &str) -> Option<Entity> {
    let mut fields = Fields::of(context, node, &KUBERNETES_PEER, node.span)?;
    let pods = fields.optional("podSelector");
    let namespaces = fields.optional("namespaceSelector");
    let block = fields.optional("ipBlock");
    fields.finish(context);

    let Some(block) = block else {
        if pods.is_none() && namespaces.is_none() {
            context.report(
                Diagnostic::error(
                    "missing-field",
                    "a peer needs `podSelector`, `namespaceSelector` or `ipBlock`",
                )
                .at(node.span, "nothing is selected")
                .help("`podSelector: {}` is every workload of the namespace; to match any address, remove the list"),
            );
            return None;
        }
        let parts = [
            Some(Selector::equals(ORCHESTRATOR_LABEL, ORCHESTRATOR)),
            pods.and_then(|field| label_selector(context, field)),
            Some(match namespaces {
                Some(field) => label_selector(context, field)
                    .unwrap_or_else(Selector::all)
                    .of_group(NAMESPACE_PREFIX, NAMESPACE_LABEL),
                None => Selector::equals(NAMESPACE_LABEL, namespace),
            }),
        ];
        return Some(Entity {
            selector: selector::together(context, node.span, parts),
            ..Entity::default()
        });
    };
    if let Some(other) = pods.or(namespaces) {
        let name = other.key.text().unwrap_or_default();
        context.report(
            Diagnostic::error(
                "conflicting-fields",
                format!("a peer cannot have both `ipBlock` and `{name}`"),
            )
            .at(other.key.span, "selects workloads")
            .related(block.key.span, "selects addresses")
            .help("write two peers: a packet then matches either"),
        );
    }
    ip_block(context, block)
}

fn ip_block(context: &mut Context<'_>, field: Field<'_>) -> Option<Entity> {
    let mut fields = Fields::of(context, field.value, &IP_BLOCK, field.key.span)?;
    let cidr = fields.required(context, "cidr");
    let except = fields.optional("except");
    fields.finish(context);

    let whole = cidr.and_then(|cidr| prefix(context, cidr.value));
    let mut unique = Unique::new();
    let mut excepted = Vec::new();
    for node in except.map_or(&[][..], |except| items(context, except, "a list of prefixes")) {
        let Some(net) = prefix(context, node) else {
            continue;
        };
        if let Some(whole) = whole {
            check_inside(context, node, net, whole);
        }
        if unique.insert(context, net, node) {
            excepted.push(net);
        }
    }
    Some(Entity {
        nets: Some(vec![whole?]),
        not_nets: (!excepted.is_empty()).then_some(excepted),
        ..Entity::default()
    })
}

/// A prefix as Kubernetes has it: with a length, and host bits are cleared.
fn prefix(context: &mut Context<'_>, node: &Node) -> Option<IpNet> {
    match node.text().and_then(|text| text.parse::<IpNet>().ok()) {
        Some(_) => net::prefix_or_address(context, node),
        None => net::prefix(context, node),
    }
}

fn check_inside(context: &mut Context<'_>, node: &Node, net: IpNet, whole: IpNet) {
    if Family::of_net(net) == Family::of_net(whole) && whole.contains(&net) && net != whole {
        return;
    }
    let problem = if net == whole {
        format!("{net} is all of the `cidr`, so the peer could never match")
    } else {
        format!("{net} is not within {whole}")
    };
    context.invalid(
        "invalid-net",
        node,
        problem,
        "`except` takes addresses away from `cidr`: each must be a smaller part of it",
    );
}

/// Reads ports by protocol; no ports is every port of the protocol. One that cannot be read is any port of TCP.
fn ports(
    context: &mut Context<'_>,
    field: Field<'_>,
    found: &mut Found,
) -> BTreeMap<Protocol, Option<Ports>> {
    let mut protocols = BTreeMap::new();
    for node in items(context, field, "a list of ports") {
        let (protocol, port) = port(context, node, found).unwrap_or((Protocol::TCP, None));
        let ports = protocols
            .entry(protocol)
            .or_insert_with(|| Some(Ports::default()));
        match (port, ports.as_mut()) {
            (None, _) => *ports = None,
            (_, None) => {}
            (Some(entity::Port::Range(range)), Some(ports)) => ports.ranges.push(range),
            (Some(entity::Port::Name(name)), Some(ports)) => ports.names.push(name),
        }
    }
    protocols
}

/// Reads a protocol and a port, or no port, which is every port.
fn port(
    context: &mut Context<'_>,
    node: &Node,
    found: &mut Found,
) -> Option<(Protocol, Option<entity::Port>)> {
    let mut fields = Fields::of(context, node, &KUBERNETES_PORT, node.span)?;
    let protocol = fields
        .optional("protocol")
        .filter(|protocol| protocol.value.text() != Some(""));
    let port = fields.optional("port");
    let end = fields.optional("endPort");
    fields.finish(context);

    let protocol = match protocol {
        Some(protocol) => context.choice(protocol.value, "a protocol that has ports", &PROTOCOLS)?,
        None => Protocol::TCP,
    };
    let first = match port {
        Some(port) => Some(single_port(context, port.value)?),
        None => None,
    };
    if let (Some(entity::Port::Name(name)), Some(port)) = (&first, port) {
        found.uses_port(name, protocol, port.value.span);
    }
    let Some(end) = end else {
        return Some((protocol, first));
    };
    let last = u16::try_from(context.integer(end.value, 1..=65535)?).ok()?;
    let problem = |message: String, place: Span| {
        Diagnostic::error("invalid-port", message)
            .at(place, "")
            .help("a range of ports is written `port: 8000` and `endPort: 8059`")
    };
    match first {
        Some(entity::Port::Range(PortRange { first, .. })) if first <= last => {
            Some((protocol, Some(entity::Port::Range(PortRange { first, last }))))
        }
        Some(entity::Port::Range(PortRange { first, .. })) => {
            context.report(problem(
                format!("the range ends at {last}, before it begins at {first}"),
                end.value.span,
            ));
            None
        }
        Some(entity::Port::Name(_)) | None => {
            context.report(problem(
                "`endPort` needs a `port` that is a number".to_owned(),
                end.key.span,
            ));
            None
        }
    }
}

/// A port by number or by name.
fn single_port(context: &mut Context<'_>, node: &Node) -> Option<entity::Port> {
    let port = entity::port(context, node)?;
    if let entity::Port::Range(range) = port
        && let Value::Scalar(scalar) = &node.value
        && let Core::Text(text) = scalar.core()
    {
        let help = if range.first == range.last {
            format!("write `{}` without quotes", range.first)
        } else {
            format!("write `port: {}` and `endPort: {}`", range.first, range.last)
        };
        context.invalid(
            "invalid-port",
            node,
            format!(
                "{} is text, and a port of Kubernetes is a number or a name",
                quoted(text)
            ),
            help,
        );
        return None;
    }
    Some(port)
}

/// The items of a list that is not too long.
fn items<'n>(context: &mut Context<'_>, field: Field<'n>, expected: &str) -> &'n [Node] {
    let nodes = context.list(field.value, expected);
    if nodes.len() > MAX_ITEMS {
        let name = field.key.text().unwrap_or_default();
        context.report(
            Diagnostic::error(
                "too-many",
                format!(
                    "`{name}` has {} entries, and {MAX_ITEMS} are allowed",
                    nodes.len()
                ),
            )
            .at(field.key.span, "too many")
            .help("split the rule"),
        );
        return &[];
    }
    nodes
}
