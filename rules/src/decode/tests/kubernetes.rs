//! The NetworkPolicy of Kubernetes: what it means in rules of Calico's.

mod refused;

use std::sync::Arc;

use super::objects::object;
use super::{good, problems, refused};
use crate::net::Direction;
use crate::resource::{Action, Entity, Order, Policy, PolicyKind, PolicyStage, Rule, StagedAction};

fn kubernetes(metadata: &str, spec: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {metadata}\nspec: {spec}\n")
}

fn spec(spec: &str) -> String {
    kubernetes("{name: p, namespace: shop}", spec)
}

fn only(text: &str) -> Policy {
    let endpoint = object(
        "HostEndpoint",
        "{name: h}",
        "{node: n, interfaceName: e, ports: [{name: http, protocol: TCP, port: 80}, {name: dns, protocol: UDP, port: 53}]}",
    );
    Arc::unwrap_or_clone(good(&format!("{text}---\n{endpoint}")).policies.remove(0))
}

/// `index protocol source -> destination`, an entity as its selector, nets, notNets and ports.
fn described(rule: &Rule) -> String {
    assert_eq!(
        (rule.action, rule.ip_version, &rule.name),
        (Action::Allow, None, &None)
    );
    let entity = |entity: &Entity| {
        let nets = |nets: &Option<Vec<_>>, sign: &str| {
            let nets = nets.iter().flatten();
            nets.map(|net: &ipnet::IpNet| format!("{sign}{net}"))
                .collect::<Vec<_>>()
        };
        let mut parts: Vec<String> = entity.selector.iter().map(ToString::to_string).collect();
        assert_eq!((&entity.not_selector, &entity.not_ports), (&None, &None));
        parts.extend(nets(&entity.nets, ""));
        parts.extend(nets(&entity.not_nets, "!"));
        parts.extend(entity.ports.iter().map(|ports| format!(":{ports}")));
        parts.join(" ")
    };
    let protocol = rule
        .protocol
        .map_or_else(|| "any".to_owned(), |it| it.protocol.to_string());
    format!(
        "{} {protocol} [{}] [{}]",
        rule.index,
        entity(&rule.source),
        entity(&rule.destination)
    )
}

const K8S: &str = r#"projectcalico.org/orchestrator == "k8s""#;
const OWN: &str = r#"projectcalico.org/namespace == "shop""#;

#[test]
fn a_whole_policy() {
    let text = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web.in, namespace: shop, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}}
spec:
  podSelector:
    matchLabels: {role: web, app: a}
    matchExpressions:
    - {key: tier, operator: In, values: [y, x]}
    - {key: env, operator: NotIn, values: [dev]}
    - {key: a, operator: Exists}
    - {key: b, operator: DoesNotExist}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - podSelector: {matchLabels: {role: proxy}}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    ports:
    - {port: 80}
    - {port: 8000, endPort: 8059, protocol: TCP}
    - {port: dns, protocol: UDP}
  - {}
  egress:
  - to: [{namespaceSelector: {}}]
";
    let policy = only(text);
    assert_eq!(policy.id.kind, PolicyKind::KubernetesNetworkPolicy);
    assert_eq!(policy.id.name, "web.in");
    assert_eq!(policy.id.namespace.as_deref(), Some("shop"));
    assert_eq!(policy.written_kind(), "KubernetesNetworkPolicy");
    assert_eq!(
        (policy.tier.as_str(), policy.order),
        ("default", Some(Order::new(1000.0)))
    );
    assert_eq!(
        (policy.staged, policy.types.ingress, policy.types.egress),
        (None, true, true)
    );
    assert_eq!(
        policy.stage,
        PolicyStage::Normal {
            apply_on_forward: false
        }
    );
    assert_eq!(policy.position.to_string(), "t:4:18");
    assert_eq!(
        policy.selector.to_string(),
        format!(
            r#"({K8S} && app == "a" && role == "web" && tier in {{"x", "y"}} && env not in {{"dev"}} && has(a) && !has(b) && {OWN})"#
        )
    );
    let proxy = format!(r#"({K8S} && role == "proxy" && {OWN})"#);
    assert_eq!(
        policy.ingress.iter().map(described).collect::<Vec<_>>(),
        [
            format!("0 tcp [{proxy}] [:80,8000-8059]"),
            "0 tcp [10.0.0.0/8 !10.1.0.0/16] [:80,8000-8059]".to_owned(),
            format!("0 udp [{proxy}] [:dns]"),
            "0 udp [10.0.0.0/8 !10.1.0.0/16] [:dns]".to_owned(),
            "1 any [] []".to_owned(),
        ]
    );
    assert_eq!(policy.ingress[1].position.to_string(), "t:15:5");
    assert_eq!(
        policy.egress.iter().map(described).collect::<Vec<_>>(),
        [format!("0 any [] [({K8S} && has(projectcalico.org/namespace))]")]
    );
}

#[test]
fn what_a_rule_matches() {
    let k8s = |rest: &str| format!("({K8S} && {rest})");
    for (rule, ingress) in [
        // Empty lists, and lists that are not there, match everything.
        ("{}", vec!["any [] []".to_owned()]),
        ("{peers: [], ports: []}", vec!["any [] []".to_owned()]),
        ("{peers: ~, ports: ~}", vec!["any [] []".to_owned()]),
        ("{ports: [{}]}", vec!["tcp [] []".to_owned()]),
        ("{ports: [{protocol: SCTP}]}", vec!["sctp [] []".to_owned()]),
        (
            "{ports: [{protocol: TCP}, {port: 80}]}",
            vec!["tcp [] []".to_owned()],
        ),
        (
            "{ports: [{port: 80, protocol: UDP}, {port: http}, {port: 1, endPort: 1}]}",
            vec!["tcp [] [:1,http]".to_owned(), "udp [] [:80]".to_owned()],
        ),
        (
            "{peers: [{podSelector: {}}]}",
            vec![format!("any [{}] []", k8s(OWN))],
        ),
        (
            "{peers: [{namespaceSelector: {}}]}",
            vec![format!("any [{}] []", k8s("has(projectcalico.org/namespace)"))],
        ),
        (
            "{peers: [{namespaceSelector: {matchLabels: {a: b}}}]}",
            vec![format!("any [{}] []", k8s(r#"pcns.a == "b""#))],
        ),
        (
            "{peers: [{namespaceSelector: {matchExpressions: [{key: a, operator: DoesNotExist}]}, podSelector: {matchLabels: {c: d}}}]}",
            vec![format!("any [{}] []", k8s(r#"c == "d" && !has(pcns.a)"#))],
        ),
        // Host bits are cleared, as Kubernetes does.
        (
            "{peers: [{ipBlock: {cidr: 10.1.2.3/8}}]}",
            vec!["any [10.0.0.0/8] []".to_owned()],
        ),
        (
            "{peers: [{ipBlock: {cidr: 'fd00::/8', except: []}}, {ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 192.168.0.0/16]}}]}",
            vec![
                "any [fd00::/8] []".to_owned(),
                "any [0.0.0.0/0 !10.0.0.0/8 !192.168.0.0/16] []".to_owned(),
            ],
        ),
    ] {
        let expected: Vec<String> = ingress.iter().map(|rule| format!("0 {rule}")).collect();
        let policy = only(&spec(&format!(
            "{{ingress: [{}]}}",
            rule.replace("peers:", "from:")
        )));
        assert_eq!(
            policy.ingress.iter().map(described).collect::<Vec<_>>(),
            expected,
            "{rule}"
        );
        // Egress is the mirror image, but for the ports, which are always the destination's.
        let egress = only(&spec(&format!("{{egress: [{}]}}", rule.replace("peers:", "to:")))).egress;
        assert_eq!(egress.len(), expected.len());
        for (ingress, egress) in policy.ingress.iter().zip(egress) {
            assert_eq!(egress.source, Entity::default());
            assert_eq!(egress.destination.ports, ingress.destination.ports);
            assert_eq!(
                Entity {
                    ports: None,
                    ..egress.destination
                },
                Entity {
                    ports: None,
                    ..ingress.source.clone()
                }
            );
            assert_eq!(egress.protocol, ingress.protocol);
        }
    }
}

#[test]
fn types_that_are_not_given() {
    for (fields, ingress, egress) in [
        ("", true, false),
        ("ingress: [], egress: []", true, false),
        ("policyTypes: []", true, false),
        ("policyTypes: ~, egress: ~", true, false),
        ("egress: [{}]", true, true),
        ("ingress: [{}], egress: [{}]", true, true),
        ("policyTypes: [Egress]", false, true),
        ("policyTypes: [Egress, Ingress]", true, true),
    ] {
        for text in [
            spec(&format!("{{{fields}}}")),
            object(
                "StagedKubernetesNetworkPolicy",
                "{name: p, namespace: shop}",
                &format!("{{{fields}}}"),
            ),
        ] {
            let policy = only(&text);
            assert_eq!(
                (
                    policy.governs(Direction::Ingress),
                    policy.governs(Direction::Egress)
                ),
                (ingress, egress),
                "{text}"
            );
            assert_eq!(policy.selector.to_string(), format!("({K8S} && {OWN})"));
        }
    }
    refused(
        &spec("{policyTypes: [Ingress], egress: [{}]}"),
        "unused-rules",
        "spec.egress",
        "`policyTypes` has no Egress",
    );
}

#[test]
fn namespaces_and_kinds() {
    let policy = only(&kubernetes("{name: p}", "{}"));
    assert_eq!(policy.id.namespace.as_deref(), Some("default"));
    let staged = |spec: &str| {
        object(
            "StagedKubernetesNetworkPolicy",
            "{name: p, namespace: shop}",
            spec,
        )
    };
    for (action, expected) in [
        ("{}", StagedAction::Set),
        ("{stagedAction: Learn}", StagedAction::Learn),
        ("{stagedAction: Delete}", StagedAction::Delete),
        (
            "{stagedAction: Delete, podSelector: ~, ingress: []}",
            StagedAction::Delete,
        ),
    ] {
        let policy = only(&staged(action));
        assert_eq!(policy.staged, Some(expected));
        assert_eq!(policy.written_kind(), "StagedKubernetesNetworkPolicy");
        assert_eq!(policy.id.kind, PolicyKind::KubernetesNetworkPolicy);
    }
    refused(
        &staged("{stagedAction: Delete, podSelector: {}}"),
        "staged-delete",
        "spec.podSelector",
        "nothing may stand beside it",
    );
    refused(
        &spec("{stagedAction: Set}"),
        "unknown-field",
        "spec.stagedAction",
        "",
    );
    // Calico's policy of this name is another object; Calico's fields are not those of Kubernetes.
    good(&format!(
        "{}---\n{}",
        spec("{}"),
        object("NetworkPolicy", "{name: p, namespace: shop}", "{}")
    ));
    refused(
        &spec("{selector: all()}"),
        "unknown-field",
        "spec.selector",
        "podSelector",
    );
    assert_eq!(
        problems(&format!(
            "{}---\n{}",
            kubernetes("{name: p}", "{}"),
            kubernetes("{name: p, namespace: default}", "{}")
        )),
        ["8:18 duplicate-object metadata.name"]
    );
}
