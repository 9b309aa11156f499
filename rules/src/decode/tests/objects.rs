//! Documents, lists, metadata, and the kinds that are not policies.

use std::net::IpAddr;

use super::{good, problems, refused};
use crate::resource::{InterfaceName, Order, TierAction};

fn object(kind: &str, metadata: &str, spec: &str) -> String {
    format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n")
}

fn host_endpoint(metadata: &str, spec: &str) -> String {
    object("HostEndpoint", metadata, &format!("{{node: n, {spec}}}"))
}

fn tier(name: &str, spec: &str) -> String {
    object("Tier", &format!("{{name: {name}}}"), spec)
}

fn set(metadata: &str, nets: &str) -> String {
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
fn nothing_is_fine() {
    for text in [
        "",
        "# empty\n",
        "---\n---\n",
        "[]\n",
        "kind: List\napiVersion: v1\nitems: []\n",
    ] {
        let snapshot = good(text);
        assert_eq!(
            snapshot.tiers.keys().collect::<Vec<_>>(),
            ["default", "kube-admin", "kube-baseline"]
        );
    }
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
fn lists_of_every_shape() {
    let item = "{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: NAME}}";
    let [a, b] = ["a", "b"].map(|name| item.replace("NAME", name));
    for text in [
        format!("[{a}, {b}]"),
        format!("{{apiVersion: v1, kind: List, items: [{a}, {b}]}}"),
        format!("{{apiVersion: projectcalico.org/v3, kind: List, items: [{a}, {b}]}}"),
        "{apiVersion: projectcalico.org/v3, kind: TierList, items: [{metadata: {name: a}}, {metadata: {name: b}}]}".to_owned(),
        format!("{a}\n---\n{b}\n"),
        r#"[{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"a"}},
            {"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"b"}}]"#.to_owned(),
    ] {
        assert_eq!(good(&text).tiers.len(), 5, "{text}");
    }
    assert_eq!(
        problems("apiVersion: v1\nkind: List\nitem: []\n"),
        ["1:1 missing-field -", "3:1 unknown-field -"]
    );
    assert_eq!(
        problems(
            "{apiVersion: v1, kind: List, items: [{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {nam: a}}]}"
        ),
        ["1:85 missing-field metadata", "1:96 unknown-field metadata.nam"]
    );
}

#[test]
fn kinds_and_versions() {
    let named = |version: &str, kind: &str| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n")
    };
    let calico = "projectcalico.org/v3";
    for (version, kind, code, path, words) in [
        (
            calico,
            "GlobalNetworkPolcy",
            "unknown-kind",
            "kind",
            "did you mean `GlobalNetworkPolicy`?",
        ),
        (
            calico,
            "globalnetworkpolicy",
            "unknown-kind",
            "kind",
            "did you mean `GlobalNetworkPolicy`?",
        ),
        (
            "v1",
            "ConfigMap",
            "unknown-kind",
            "kind",
            "it is one of GlobalNetworkPolicy, Staged",
        ),
        (calico, "ConfigMapList", "unknown-kind", "kind", "it is one of"),
        (
            calico,
            "NetworkPolicy",
            "unsupported",
            "kind",
            "does not enforce the kind `NetworkPolicy`",
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "unsupported",
            "kind",
            "does not enforce",
        ),
        (
            calico,
            "StagedNetworkPolicy",
            "unsupported",
            "kind",
            "does not enforce",
        ),
        (
            calico,
            "StagedKubernetesNetworkPolicy",
            "unsupported",
            "kind",
            "does not enforce",
        ),
        (calico, "NetworkSet", "unsupported", "kind", "does not enforce"),
        (
            calico,
            "WorkloadEndpoint",
            "unsupported",
            "kind",
            "does not enforce",
        ),
        (calico, "Profile", "unsupported", "kind", "does not enforce"),
        (
            "palisade.dev/v1",
            "ServiceEndpoint",
            "unsupported",
            "kind",
            "does not enforce",
        ),
        (
            calico,
            "FelixConfiguration",
            "unsupported",
            "kind",
            "has no use for the kind",
        ),
        (
            "crd.projectcalico.org/v1",
            "Tier",
            "unknown-api-version",
            "apiVersion",
            "write `apiVersion: projectcalico.org/v3`",
        ),
    ] {
        refused(&named(version, kind), code, path, words);
    }
    refused(
        "metadata: {name: a}\nkind: Tier\n",
        "missing-field",
        "",
        "needs `apiVersion`",
    );
    assert_eq!(problems("hello\n"), ["1:1 wrong-type -"]);
    assert_eq!(
        problems("apiVersion: projectcalico.org/v3\n"),
        ["1:1 missing-field -"]
    );
    assert_eq!(
        problems("apiVersion: projectcalico.org/v3\nkind: 5\n"),
        ["2:7 wrong-type -"]
    );
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
fn tiers() {
    for (spec, order, action) in [
        ("{}", 1_000_000.0, TierAction::Deny),
        ("{order: ~, defaultAction: Pass}", 1_000_000.0, TierAction::Pass),
        ("{order: -1.5, defaultAction: Deny}", -1.5, TierAction::Deny),
        ("{order: 0x10}", 16.0, TierAction::Deny),
    ] {
        let snapshot = good(&tier("a", spec));
        assert_eq!(
            (snapshot.tiers["a"].order, snapshot.tiers["a"].default_action),
            (Order::new(order), action)
        );
        assert_eq!(
            snapshot.tiers["a"].position.as_ref().unwrap().to_string(),
            "t:3:18"
        );
    }
    for (spec, code, path, words) in [
        (
            "{order: '5'}",
            "wrong-type",
            "spec.order",
            "a finite number, found the text `5`",
        ),
        ("{order: .inf}", "wrong-type", "spec.order", "finite"),
        ("{order: .nan}", "wrong-type", "spec.order", "finite"),
        (
            "{defaultAction: deny}",
            "invalid-value",
            "spec.defaultAction",
            "did you mean `Deny`?",
        ),
        (
            "{defaultAction: Allow}",
            "invalid-value",
            "spec.defaultAction",
            "one of Deny, Pass",
        ),
        ("{oder: 5}", "unknown-field", "spec.oder", "did you mean `order`?"),
        ("[]", "wrong-type", "spec", "found a list"),
    ] {
        refused(&tier("a", spec), code, path, words);
    }
    for (name, spec) in [
        ("default", "{}"),
        ("default", "{order: 1000000, defaultAction: Deny}"),
        ("kube-admin", "{order: 1000, defaultAction: Pass}"),
        ("kube-baseline", "{order: 1e7, defaultAction: Pass}"),
    ] {
        let snapshot = good(&tier(name, spec));
        assert_eq!(snapshot.tiers.len(), 3);
        assert!(snapshot.tiers[name].position.is_some());
    }
    for (name, spec, words) in [
        (
            "default",
            "{order: 5}",
            "always has order 1000000 and default action Deny",
        ),
        ("default", "{defaultAction: Pass}", "always has"),
        (
            "kube-admin",
            "{}",
            "write `order: 1000` and `defaultAction: Pass`",
        ),
        ("kube-admin", "{order: 1000}", "always has"),
        (
            "kube-baseline",
            "{defaultAction: Pass}",
            "always has order 10000000",
        ),
    ] {
        refused(&tier(name, spec), "built-in-tier", "metadata.name", words);
    }
}

#[test]
fn network_sets() {
    let text = set(
        "{name: a, labels: {b: c}}",
        "[10.1.2.3/8, 192.0.2.1, 'fd00::1/64', '::1']",
    );
    let snapshot = good(&text);
    let nets = snapshot.network_sets["a"].nets.iter().map(ToString::to_string);
    assert_eq!(
        nets.collect::<Vec<_>>(),
        ["10.0.0.0/8", "192.0.2.1/32", "fd00::/64", "::1/128"]
    );
    assert_eq!(snapshot.network_sets["a"].labels["b"], "c");
    assert!(
        good(&object("GlobalNetworkSet", "{name: a}", "~")).network_sets["a"]
            .nets
            .is_empty()
    );
    good(&set("{name: a}", "[0.0.0.0/0, '::/0']"));
    for (nets, code, path, words) in [
        ("[10.0.0.0/33]", "invalid-net", "spec.nets[0]", "is not a prefix"),
        ("[10.0.0]", "invalid-net", "spec.nets[0]", "is not a prefix"),
        (
            "[010.0.0.1]",
            "invalid-net",
            "spec.nets[0]",
            "without leading zeros",
        ),
        ("[example.com]", "invalid-net", "spec.nets[0]", "is not a prefix"),
        (
            "['::ffff:10.0.0.1']",
            "invalid-net",
            "spec.nets[0]",
            "write the IPv4 address: `10.0.0.1`",
        ),
        (
            "['::ffff:10.0.0.0/104']",
            "invalid-net",
            "spec.nets[0]",
            "IPv6 form",
        ),
        (
            "[10.0.0.0/8, 10.0.0.0/8]",
            "duplicate-entry",
            "spec.nets[1]",
            "there twice",
        ),
        ("[10]", "wrong-type", "spec.nets[0]", "found the number `10`"),
        ("10.0.0.0/8", "wrong-type", "spec.nets", "expected a list"),
    ] {
        refused(&set("{name: a}", nets), code, path, words);
    }
    refused(
        &object("GlobalNetworkSet", "{name: a}", "{net: []}"),
        "unknown-field",
        "spec.net",
        "did you mean `nets`?",
    );
}

#[test]
fn host_endpoints() {
    for spec in [
        "interfaceName: eth0",
        "interfaceName: '*'",
        "interfaceName: br-lan.10_x",
        "expectedIPs: [10.0.0.1, 'fd00::1']",
        "interfaceName: '', expectedIPs: [10.0.0.1]",
        "interfaceName: e, profiles: [], ports: []",
        "interfaceName: e, profiles: [projectcalico-default-allow]",
    ] {
        good(&host_endpoint("{name: a}", spec));
    }
    let any = good(&host_endpoint("{name: a}", "interfaceName: '*'"));
    assert_eq!(any.host_endpoints["a"].interface, Some(InterfaceName::Any));
    for (spec, code, path, words) in [
        (
            "profiles: []",
            "missing-field",
            "spec",
            "`interfaceName` or `expectedIPs`",
        ),
        (
            "expectedIPs: []",
            "missing-field",
            "spec",
            "`interfaceName` or `expectedIPs`",
        ),
        (
            "interfaceName: waytoolongforlinux",
            "invalid-name",
            "spec.interfaceName",
            "1 to 15",
        ),
        (
            "interfaceName: 'eth 0'",
            "invalid-name",
            "spec.interfaceName",
            "1 to 15",
        ),
        (
            "interfaceName: eth*",
            "invalid-name",
            "spec.interfaceName",
            "1 to 15",
        ),
        ("interfaceName: 0", "wrong-type", "spec.interfaceName", "quotes"),
        (
            "expectedIPs: [10.0.0.1/24]",
            "invalid-address",
            "spec.expectedIPs[0]",
            "write `10.0.0.1`",
        ),
        (
            "expectedIPs: [host]",
            "invalid-address",
            "spec.expectedIPs[0]",
            "not an IP address",
        ),
        (
            "expectedIPs: [10.0.0.1, 10.0.0.1]",
            "duplicate-entry",
            "spec.expectedIPs[1]",
            "twice",
        ),
        (
            "expectedIPs: ['fd00::1', 'fd00:0::1']",
            "duplicate-entry",
            "spec.expectedIPs[1]",
            "twice",
        ),
        (
            "interfaceName: e, profiles: [mine]",
            "unknown-profile",
            "spec.profiles[0]",
            "no profile `mine`",
        ),
        (
            "interfaceName: e, profiles: [projectcalico-default-allow, projectcalico-default-allow]",
            "duplicate-entry",
            "spec.profiles[1]",
            "twice",
        ),
        (
            "interfaceName: e, ports: [{name: http, protocol: TCP, port: 80}]",
            "unsupported",
            "spec.ports",
            "named ports",
        ),
        (
            "interfacename: e, expectedIPs: [10.0.0.1]",
            "unknown-field",
            "spec.interfacename",
            "did you mean `interfaceName`?",
        ),
    ] {
        refused(&host_endpoint("{name: a}", spec), code, path, words);
    }
    let with_node = |node: &str| {
        object(
            "HostEndpoint",
            "{name: a}",
            &format!("{{node: {node}, interfaceName: e}}"),
        )
    };
    good(&with_node("Host_1.example.com"));
    refused(
        &with_node("'a b'"),
        "invalid-name",
        "spec.node",
        "not a name of a host",
    );
    refused(&with_node(&"n".repeat(254)), "invalid-name", "spec.node", "253");
    refused(&with_node("''"), "invalid-name", "spec.node", "1 to 253");
    refused(&with_node("~"), "missing-field", "spec.node", "no value");
    refused(
        &object("HostEndpoint", "{name: a}", "~"),
        "missing-field",
        "spec",
        "no value",
    );
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
}
