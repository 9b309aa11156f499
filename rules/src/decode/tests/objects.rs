//! Names and metadata, and what is there twice.

use std::net::IpAddr;

use super::{good, refused};
use crate::resource::{InterfaceName, Order, TierAction};

pub(super) fn object(kind: &str, metadata: &str, spec: &str) -> String {
    format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n")
}

pub(super) fn host_endpoint(metadata: &str, spec: &str) -> String {
    object("HostEndpoint", metadata, &format!("{{node: n, {spec}}}"))
}

pub(super) fn tier(name: &str, spec: &str) -> String {
    object("Tier", &format!("{{name: {name}}}"), spec)
}

pub(super) fn set(metadata: &str, nets: &str) -> String {
    object("GlobalNetworkSet", metadata, &format!("{{nets: {nets}}}"))
}

#[test]
fn examples_decode() {
    for text in [
        include_str!("../../../../examples/00-safety-net.yaml"),
        include_str!("../../../../examples/10-database.yaml"),
        include_str!("../../../../examples/20-backend-lockdown.yaml"),
    ] {
        assert_eq!(good(text).policies.len(), 1);
    }
    let hosts = good(include_str!("../../../../examples/hosts.yaml"));
    let backend = &hosts.host_endpoints["backend-eth0"];
    assert_eq!(backend.node, "backend");
    assert_eq!(backend.interface, Some(InterfaceName::Named("eth0".to_owned())));
    assert_eq!(
        backend.expected_ips,
        ["10.42.0.10", "fd00:42::10"].map(|ip| ip.parse::<IpAddr>().unwrap())
    );
    assert_eq!(backend.profiles, ["projectcalico-default-allow"]);
    assert_eq!(backend.labels["app"], "backend");
    assert_eq!(backend.position.to_string(), "t:4:9");
    assert_eq!(hosts.host_endpoints.len(), 3);
}

#[test]
fn what_calicoctl_prints() {
    let text = r#"
apiVersion: projectcalico.org/v3
items:
- apiVersion: projectcalico.org/v3
  kind: Tier
  metadata:
    annotations:
      projectcalico.org/metadata: '{"name":"first"}'
    creationTimestamp: "2026-01-01T00:00:00Z"
    finalizers: [projectcalico.org/tier-controller]
    generation: 1
    labels: {}
    managedFields: [{manager: x}]
    name: first
    ownerReferences: []
    resourceVersion: "123"
    uid: 0a1b
  spec:
    defaultAction: Pass
    order: 5.5
  status:
    conditions: []
- kind: Tier
  apiVersion: projectcalico.org/v3
  metadata: {name: second}
kind: TierList
metadata:
  resourceVersion: "456"
"#;
    let snapshot = good(text);
    let first = &snapshot.tiers["first"];
    assert_eq!(
        (first.order, first.default_action),
        (Order::new(5.5), TierAction::Pass)
    );
    let second = &snapshot.tiers["second"];
    assert_eq!(
        (second.order, second.default_action),
        (Order::new(1_000_000.0), TierAction::Deny)
    );
    assert_eq!(snapshot.tiers.len(), 5);
}

#[test]
fn names() {
    let long = "a".repeat(254);
    for (kind, spec, good_names, bad_names) in [
        (
            "GlobalNetworkPolicy",
            "{}",
            &["a", "a.b", "0-a"][..],
            &["a.b.c", "A", "-a", "a_b", "'a b'", "''", long.as_str()][..],
        ),
        ("StagedGlobalNetworkPolicy", "{}", &["a", "a.b"], &["a.b.c", "A"]),
        ("Tier", "{}", &["a", "a-b"], &["a.b", "A", &long[..64]]),
        ("Profile", "{}", &["a", "kns.b", "ksa.b.c"], &["A", "a..b", "''"]),
        ("GlobalNetworkSet", "{}", &["a", "a.b.c"], &["A", "a..b", "a/b"]),
        (
            "HostEndpoint",
            "{node: n, interfaceName: e}",
            &["a", "a.b.c"],
            &["A", "a..b"],
        ),
    ] {
        for name in good_names {
            good(&object(kind, &format!("{{name: {name}}}"), spec));
        }
        for name in bad_names {
            refused(
                &object(kind, &format!("{{name: {name}}}"), spec),
                "invalid-name",
                "metadata.name",
                "not a valid name",
            );
        }
    }
    // What reads as a number or a boolean needs quotes.
    for (name, words) in [("8080", "\"8080\""), ("true", "\"true\""), ("1e3", "\"1e3\"")] {
        refused(
            &object("Tier", &format!("{{name: {name}}}"), "{}"),
            "wrong-type",
            "metadata.name",
            words,
        );
    }
    good(&object("Tier", "{name: \"8080\"}", "{}"));
    good(&object("Tier", "{name: yes}", "{}"));
    refused(
        &object("Tier", "{name: ~}", "{}"),
        "missing-field",
        "metadata.name",
        "has no value",
    );
    refused(
        &object("Tier", "{labels: {}}", "{}"),
        "missing-field",
        "metadata",
        "needs `name`",
    );
    refused(
        "apiVersion: projectcalico.org/v3\nkind: Tier\n",
        "missing-field",
        "",
        "needs `metadata`",
    );
}

#[test]
fn metadata() {
    let long = "a".repeat(64);
    for labels in [
        "{}",
        "~",
        "{a: b}",
        "{a: ''}",
        "{example.com/App: v1.2.3}",
        "{a: yes, b: on, c: \"5\"}",
    ] {
        good(&host_endpoint(
            &format!("{{name: a, labels: {labels}}}"),
            "interfaceName: e",
        ));
    }
    for (labels, code, path, words) in [
        (
            "{a: 5}",
            "wrong-type",
            "metadata.labels.a",
            "put it in quotes: \"5\"",
        ),
        (
            "{a: true}",
            "wrong-type",
            "metadata.labels.a",
            "put it in quotes: \"true\"",
        ),
        (
            "{a: 1.10}",
            "wrong-type",
            "metadata.labels.a",
            "put it in quotes: \"1.10\"",
        ),
        (
            "{a: [b]}",
            "wrong-type",
            "metadata.labels.a",
            "expected a label value, found a list",
        ),
        ("[a]", "wrong-type", "metadata.labels", "expected a map of labels"),
        (
            "{a: 'b c'}",
            "invalid-label",
            "metadata.labels.a",
            "not a valid label value",
        ),
        (
            "{'a b': c}",
            "invalid-label",
            "metadata.labels.a b",
            "not a valid label key",
        ),
        (
            &format!("{{a: {long}}}"),
            "invalid-label",
            "metadata.labels.a",
            "at most 63",
        ),
        (
            "{projectcalico.org/namespace: x}",
            "reserved-label",
            "metadata.labels.projectcalico.org/namespace",
            "must not",
        ),
        (
            "{projectcalico.org/orchestrator: x}",
            "reserved-label",
            "metadata.labels.projectcalico.org/orchestrator",
            "",
        ),
        (
            "{projectcalico.org/serviceaccount: x}",
            "reserved-label",
            "metadata.labels.projectcalico.org/serviceaccount",
            "",
        ),
        ("{pcns.x: x}", "reserved-label", "metadata.labels.pcns.x", ""),
        ("{pcsa.x: x}", "reserved-label", "metadata.labels.pcsa.x", ""),
    ] {
        refused(
            &host_endpoint(&format!("{{name: a, labels: {labels}}}"), "interfaceName: e"),
            code,
            path,
            words,
        );
    }
    refused(
        &set("{name: a, labels: {pcns.x: x}}", "[]"),
        "reserved-label",
        "metadata.labels.pcns.x",
        "GlobalNetworkSet must not",
    );
    good(&object(
        "GlobalNetworkPolicy",
        "{name: a, labels: {projectcalico.org/tier: default}}",
        "{}",
    ));

    good(&object(
        "Tier",
        "{name: a, namespace: '', annotations: {A/b: 'x y', c: ~}}",
        "{}",
    ));
    for (fields, code, path) in [
        ("namespace: x", "unexpected-namespace", "metadata.namespace"),
        ("annotations: {a: 5}", "wrong-type", "metadata.annotations.a"),
        (
            "annotations: {'a b': c}",
            "invalid-annotation",
            "metadata.annotations.a b",
        ),
        ("lables: {}", "unknown-field", "metadata.lables"),
    ] {
        refused(
            &object("Tier", &format!("{{name: a, {fields}}}"), "{}"),
            code,
            path,
            "",
        );
    }
    let large = format!("{{name: a, annotations: {{a: {}}}}}", "x".repeat(300_000));
    refused(
        &object("Tier", &large, "{}"),
        "too-long",
        "metadata.annotations",
        "262144",
    );
}

#[test]
fn names_of_kinds_in_a_namespace() {
    let long = "a".repeat(254);
    for (kind, spec, good_names, bad_names) in [
        (
            "NetworkPolicy",
            "{}",
            &["a", "a.b", "knp.default.a.b.c", "ossg.default.a.b.c"][..],
            &["a.b.c", "A", "knp.default.A", "knp.default.", long.as_str()][..],
        ),
        (
            "StagedNetworkPolicy",
            "{}",
            &["a.b", "knp.default.a.b.c"],
            &["a.b.c"],
        ),
        (
            "StagedKubernetesNetworkPolicy",
            "{podSelector: {}}",
            &["a", "a.b.c"],
            &["A", "a_b"],
        ),
        ("NetworkSet", "{}", &["a", "a.b.c"], &["A", "a..b"]),
    ] {
        for name in good_names {
            good(&object(kind, &format!("{{name: {name}, namespace: x}}"), spec));
        }
        for name in bad_names {
            refused(
                &object(kind, &format!("{{name: {name}, namespace: x}}"), spec),
                "invalid-name",
                "metadata.name",
                "not a valid name",
            );
        }
        refused(
            &object(kind, "{name: a}", spec),
            "missing-field",
            "metadata",
            "needs `metadata.namespace`",
        );
        for namespace in ["A", "a.b", "'a b'", &long[..64]] {
            let metadata = format!("{{name: a, namespace: {namespace}}}");
            refused(
                &object(kind, &metadata, spec),
                "invalid-name",
                "metadata.namespace",
                "a namespace",
            );
        }
    }
}

#[test]
fn the_same_object_twice() {
    let a = tier("a", "{}");
    refused(
        &format!("{a}---\n{a}"),
        "duplicate-object",
        "metadata.name",
        "Tier `a` is there twice",
    );
    // Different kinds are different objects, the staged form included.
    let policy = |kind| object(kind, "{name: a}", "{}");
    good(
        &[
            a,
            policy("GlobalNetworkPolicy"),
            policy("StagedGlobalNetworkPolicy"),
            set("{name: a}", "[]"),
        ]
        .join("---\n"),
    );
    // In another namespace it is another object.
    let set = |namespace| {
        object(
            "NetworkSet",
            &format!("{{name: a, namespace: {namespace}}}"),
            "{}",
        )
    };
    good(&[set("x"), set("y")].join("---\n"));
    refused(
        &[set("x"), set("y"), set("x")].join("---\n"),
        "duplicate-object",
        "metadata.name",
        "NetworkSet `x/a` is there twice",
    );
    // Calico's NetworkPolicy and that of Kubernetes are different kinds.
    let kubernetes = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}, spec: {podSelector: {}}}\n";
    good(
        &[
            object("NetworkPolicy", "{name: a, namespace: default}", "{}"),
            kubernetes.to_owned(),
        ]
        .join("---\n"),
    );
    refused(
        &[kubernetes, kubernetes].join("---\n"),
        "duplicate-object",
        "metadata.name",
        "KubernetesNetworkPolicy `default/a` is there twice",
    );
    // Under the name that it was written with, the same policy.
    refused(
        &[
            policy("GlobalNetworkPolicy"),
            object("GlobalNetworkPolicy", "{name: default.a}", "{}"),
        ]
        .join("---\n"),
        "duplicate-object",
        "metadata.name",
        "GlobalNetworkPolicy `a` is there twice",
    );
}
