//! Documents, lists and kinds.

use super::{good, problems, refused};

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
        ["1:1 missing-field ", "3:1 unknown-field item"]
    );
    assert_eq!(
        problems(
            "{apiVersion: v1, kind: List, items: [{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {nam: a}}]}"
        ),
        ["1:85 missing-field metadata", "1:96 unknown-field metadata.nam"]
    );
}

#[test]
fn lists_of_kinds_with_one_name() {
    let item = "metadata: {name: a, namespace: x}";
    for (version, spec, kind) in [
        ("projectcalico.org/v3", "{}", "NetworkPolicy"),
        ("v1", "{}", "NetworkPolicy"),
        (
            "networking.k8s.io/v1",
            "{podSelector: {}}",
            "KubernetesNetworkPolicy",
        ),
    ] {
        let text =
            format!("{{apiVersion: {version}, kind: NetworkPolicyList, items: [{{{item}, spec: {spec}}}]}}");
        assert_eq!(good(&text).policies[0].written_kind(), kind, "{text}");
    }
    refused(
        "{apiVersion: apps/v1, kind: TierList, items: []}",
        "unknown-api-version",
        "apiVersion",
        "write `apiVersion: v1` or `apiVersion: projectcalico.org/v3`",
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
            "it is one of GlobalNetworkPolicy, GlobalNetworkSet, Host",
        ),
        (calico, "ConfigMapList", "unknown-kind", "kind", "it is one of"),
        (
            "policy.networking.k8s.io/v1alpha2",
            "ClusterNetworkPolicy",
            "unsupported",
            "kind",
            "does not enforce the kind `ClusterNetworkPolicy`",
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
        (
            "networking.k8s.io/v1",
            "Tier",
            "unknown-api-version",
            "apiVersion",
            "Tier is a kind of projectcalico.org/v3, not of `networking.k8s.io/v1`",
        ),
        (
            "palisade.dev/v1",
            "GlobalNetworkPolicy",
            "unknown-api-version",
            "apiVersion",
            "projectcalico.org/v3",
        ),
    ] {
        refused(&named(version, kind), code, path, words);
    }
    refused(
        "{apiVersion: v1, kind: NetworkPolicy, metadata: {name: a, namespace: b}, spec: {podSelector: {}}}",
        "unknown-api-version",
        "apiVersion",
        "a kind of projectcalico.org/v3 or networking.k8s.io/v1",
    );
    refused(
        "{apiVersion: projectcalico.org/v3, kind: ServiceEndpoint, metadata: {name: a}, spec: {node: n, unit: a.service}}",
        "unknown-api-version",
        "apiVersion",
        "write `apiVersion: palisade.dev/v1`",
    );
    refused(
        "metadata: {name: a}\nkind: Tier\n",
        "missing-field",
        "",
        "needs `apiVersion`",
    );
    assert_eq!(problems("hello\n"), ["1:1 wrong-type "]);
    assert_eq!(
        problems("apiVersion: projectcalico.org/v3\n"),
        ["1:1 missing-field "]
    );
    assert_eq!(
        problems("apiVersion: projectcalico.org/v3\nkind: 5\n"),
        ["2:7 wrong-type kind"]
    );
}
