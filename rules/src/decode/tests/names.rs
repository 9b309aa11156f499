//! Names and namespaces, as they are written and as servers store them.

use super::objects::{object, set, tier};
use super::{good, problems, refused};

fn policy_name(text: &str) -> String {
    good(text).policies[0].id.name.clone()
}

#[test]
fn a_policy_gets_back_its_own_name() {
    let app = format!("---\n{}", tier("app", "{}"));
    let annotated = |name: &str, annotation: &str| {
        format!("{{name: {name}, namespace: x, annotations: {{projectcalico.org/metadata: '{annotation}'}}}}")
    };
    for kind in [
        "GlobalNetworkPolicy",
        "StagedGlobalNetworkPolicy",
        "NetworkPolicy",
        "StagedNetworkPolicy",
    ] {
        let global = kind.contains("Global");
        let policy = |metadata: &str, spec: &str| {
            let metadata = if global {
                metadata.replace(", namespace: x", "")
            } else {
                metadata.to_owned()
            };
            policy_name(&format!("{}{app}", object(kind, &metadata, spec)))
        };
        for (name, spec, restored) in [
            ("web", "{}", "web"),
            ("default.web", "{}", "web"),
            ("default.web", "{tier: ''}", "web"),
            ("default.web", "{tier: default}", "web"),
            ("default.web", "{tier: app}", "default.web"),
            ("app.web", "{tier: app}", "app.web"),
            ("defaults.web", "{}", "defaults.web"),
        ] {
            assert_eq!(policy(&format!("{{name: {name}, namespace: x}}"), spec), restored);
        }
        for (name, annotation, restored) in [
            ("default.web", r#"{"name":"web"}"#, "web"),
            ("default.web", r#"{"name":"default.web"}"#, "default.web"),
            ("x", r#"{"name":"web","uid":"0","labels":{"a":"b"}}"#, "web"),
            // Without a name in it, it says nothing.
            ("default.web", r#"{"name":""}"#, "web"),
            ("default.web", "{}", "web"),
        ] {
            assert_eq!(
                policy(&annotated(name, annotation), "{}"),
                restored,
                "{annotation}"
            );
        }
    }
    let kubernetes = |metadata: &str| {
        format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {metadata}\nspec: {{}}\n")
    };
    assert_eq!(policy_name(&kubernetes("{name: default.web}")), "default.web");
    for (annotation, code, words) in [
        ("web", "invalid-annotation", "is not an object in JSON"),
        (r#"{"name":5}"#, "invalid-annotation", ""),
        (r#"{"name":"A b"}"#, "invalid-name", "`A b` is not a valid name"),
        (r#"{"name":"a.b.c"}"#, "invalid-name", "at most two labels"),
    ] {
        let metadata = annotated("web", annotation).replace(", namespace: x", "");
        refused(
            &object("GlobalNetworkPolicy", &metadata, "{}"),
            code,
            "metadata.annotations.projectcalico.org/metadata",
            words,
        );
    }
    // Both names are one policy.
    assert_eq!(
        problems(&format!(
            "{}---\n{}",
            object("GlobalNetworkPolicy", "{name: web}", "{}"),
            object("GlobalNetworkPolicy", "{name: default.web}", "{}")
        )),
        ["8:18 duplicate-object metadata.name"]
    );
    // Other kinds have their name, whatever the annotation says.
    let text = object(
        "Tier",
        "{name: a, annotations: {projectcalico.org/metadata: what}}",
        "{}",
    );
    assert!(good(&text).tiers.contains_key("a"));
}

#[test]
fn names_of_policies_in_namespaces() {
    for kind in ["NetworkPolicy", "StagedNetworkPolicy"] {
        let named = |name: &str| object(kind, &format!("{{name: {name}, namespace: x}}"), "{}");
        for name in [
            "a",
            "a.b",
            "knp.default.a",
            "knp.default.a.b.c",
            "ossg.default.a.b",
        ] {
            good(&named(name));
        }
        for name in ["a.b.c", "knp.default.", "knp.other.a.b", "A", "ossg.default.A"] {
            refused(&named(name), "invalid-name", "metadata.name", "`knp.default.`");
        }
    }
    let staged = |name: &str| {
        object(
            "StagedKubernetesNetworkPolicy",
            &format!("{{name: {name}, namespace: x}}"),
            "{}",
        )
    };
    good(&staged("a.b.c"));
    refused(&staged("A"), "invalid-name", "metadata.name", "");
}

#[test]
fn namespaces() {
    for kind in [
        "NetworkPolicy",
        "StagedNetworkPolicy",
        "StagedKubernetesNetworkPolicy",
        "NetworkSet",
    ] {
        let within = |namespace: &str| object(kind, &format!("{{name: a{namespace}}}"), "{}");
        good(&within(", namespace: x-1"));
        for missing in ["", ", namespace: ''", ", namespace: ~"] {
            refused(
                &within(missing),
                "missing-field",
                "metadata",
                &format!("{kind} needs `metadata.namespace`"),
            );
        }
        for (namespace, code) in [
            ("X", "invalid-name"),
            ("a.b", "invalid-name"),
            ("5", "wrong-type"),
        ] {
            refused(
                &within(&format!(", namespace: {namespace}")),
                code,
                "metadata.namespace",
                "",
            );
        }
    }
    for kind in [
        "GlobalNetworkPolicy",
        "StagedGlobalNetworkPolicy",
        "Tier",
        "GlobalNetworkSet",
        "Profile",
    ] {
        refused(
            &object(kind, "{name: a, namespace: x}", "{}"),
            "unexpected-namespace",
            "metadata.namespace",
            "has no namespace",
        );
        good(&object(kind, "{name: a, namespace: ''}", "{}"));
    }
    // The same name in two namespaces is two objects.
    let set = |namespace: &str| {
        object(
            "NetworkSet",
            &format!("{{name: a, namespace: {namespace}}}"),
            "{}",
        )
    };
    assert_eq!(
        good(&format!("{}---\n{}", set("x"), set("y"))).network_sets.len(),
        2
    );
    refused(
        &format!("{}---\n{}", set("x"), set("x")),
        "duplicate-object",
        "metadata.name",
        "NetworkSet `x/a` is there twice",
    );
}

#[test]
fn labels_of_namespaces_are_reserved() {
    for label in [
        "projectcalico.org/namespace",
        "projectcalico.org/orchestrator",
        "projectcalico.org/serviceaccount",
        "pcns.a",
        "pcsa.a",
    ] {
        let path = format!("metadata.labels.{label}");
        let labels = format!("labels: {{{label}: x}}");
        refused(
            &set(&format!("{{name: a, {labels}}}"), "[]"),
            "reserved-label",
            &path,
            "nothing else may pretend to be one",
        );
        refused(
            &object(
                "NetworkSet",
                &format!("{{name: a, namespace: x, {labels}}}"),
                "{}",
            ),
            "reserved-label",
            &path,
            "NetworkSet must not have the label",
        );
    }
    // What calicoctl adds is not reserved.
    good(&object(
        "GlobalNetworkPolicy",
        "{name: a, labels: {projectcalico.org/tier: default, projectcalico.org/kind: GlobalNetworkPolicy}}",
        "{}",
    ));
}

#[test]
fn labels_of_workloads() {
    let workload = |labels: &str| {
        object(
            "WorkloadEndpoint",
            &format!("{{name: n-k8s-p-eth0, namespace: shop, labels: {{{labels}}}}}"),
            "{node: n, orchestrator: k8s, pod: p, endpoint: eth0, interfaceName: c, ipNetworks: [10.0.0.1/32], \
             serviceAccountName: sa}",
        )
    };
    let text = workload(
        "a: b, pcns.x: y, pcsa.x: y, projectcalico.org/namespace: shop, projectcalico.org/orchestrator: k8s, \
         projectcalico.org/serviceaccount: sa",
    );
    let snapshot = good(&text);
    let endpoint = snapshot.workload_endpoints.values().next().unwrap();
    assert_eq!(
        endpoint.labels.iter().collect::<Vec<_>>(),
        [(&"a".to_owned(), &"b".to_owned())]
    );
    for (label, field) in [
        ("projectcalico.org/namespace", "metadata.namespace"),
        ("projectcalico.org/orchestrator", "spec.orchestrator"),
        ("projectcalico.org/serviceaccount", "spec.serviceAccountName"),
    ] {
        refused(
            &workload(&format!("{label}: other")),
            "reserved-label",
            &format!("metadata.labels.{label}"),
            field,
        );
    }
}
