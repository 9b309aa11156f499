//! What policies and rules select: several fields, the namespace among them, become one selector.

use std::sync::Arc;

use super::objects::object;
use super::policies::policy;
use super::{good, problems, refused};
use crate::resource::{Policy, PolicyKind};

const WORKLOAD: &str = "---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: n-k8s-p-eth0, namespace: shop}
spec: {node: n, orchestrator: k8s, pod: p, endpoint: eth0, interfaceName: cali1, ipNetworks: [10.0.0.1/32], serviceAccountName: sa}
";

fn only(text: &str) -> Policy {
    Arc::unwrap_or_clone(good(&format!("{text}{WORKLOAD}")).policies.remove(0))
}

fn namespaced(spec: &str) -> String {
    object("NetworkPolicy", "{name: p, namespace: shop}", spec)
}

#[test]
fn of_a_policy() {
    for (spec, subject) in [
        ("{}", "all()"),
        ("{selector: ''}", "all()"),
        ("{selector: ' '}", "all()"),
        ("{selector: a == 'b'}", r#"a == "b""#),
        // In the user's own selector `all()` is everything, in a namespace or not.
        ("{selector: all()}", "all()"),
        ("{selector: all() || has(a)}", "(all() || has(a))"),
        ("{namespaceSelector: all()}", "has(projectcalico.org/namespace)"),
        (
            "{selector: all(), namespaceSelector: all()}",
            "has(projectcalico.org/namespace)",
        ),
        (
            "{namespaceSelector: !has(a) || (all() && b != 'c')}",
            r#"(!has(pcns.a) || (has(projectcalico.org/namespace) && pcns.b != "c"))"#,
        ),
        (
            "{serviceAccountSelector: all()}",
            "has(projectcalico.org/serviceaccount)",
        ),
        (
            "{selector: has(a), namespaceSelector: b == 'c', serviceAccountSelector: d in {'e'}}",
            r#"(has(a) && pcns.b == "c" && pcsa.d in {"e"})"#,
        ),
    ] {
        let spec = spec.replace(
            ": !has(a) || (all() && b != 'c')",
            ": \"!has(a) || (all() && b != 'c')\"",
        );
        let spec = spec.replace("d in {'e'}", "\"d in {'e'}\"");
        for kind in ["GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"] {
            let policy = only(&object(kind, "{name: p}", &spec));
            assert_eq!(policy.selector.to_string(), subject, "{spec}");
            assert_eq!(policy.written_kind(), kind);
        }
    }
    for (spec, subject) in [
        ("{}", r#"projectcalico.org/namespace == "shop""#),
        ("{selector: all()}", r#"projectcalico.org/namespace == "shop""#),
        (
            "{selector: has(a) || has(b)}",
            r#"((has(a) || has(b)) && projectcalico.org/namespace == "shop")"#,
        ),
        (
            "{selector: has(a), serviceAccountSelector: has(b)}",
            r#"(has(a) && projectcalico.org/namespace == "shop" && has(pcsa.b))"#,
        ),
    ] {
        for kind in ["NetworkPolicy", "StagedNetworkPolicy"] {
            let policy = only(&object(kind, "{name: p, namespace: shop}", spec));
            assert_eq!(policy.selector.to_string(), subject, "{spec}");
            assert_eq!(policy.written_kind(), kind);
            assert_eq!(policy.id.kind, PolicyKind::NetworkPolicy);
            assert_eq!(policy.id.namespace.as_deref(), Some("shop"));
        }
    }
}

#[test]
fn of_an_entity() {
    let own = r#"projectcalico.org/namespace == "shop""#;
    let and = |left: &str, right: &str| format!("({left} && {right})");
    let in_any = "has(projectcalico.org/namespace)";
    for (entity, global, in_namespace) in [
        ("nets: [10.0.0.0/8]", "-", "-"),
        ("selector: ''", "-", "-"),
        ("selector: '', namespaceSelector: ''", "-", "-"),
        ("selector: has(a)", "has(a)", &*and("has(a)", own)),
        ("selector: all()", "all()", own),
        ("notSelector: has(a)", "- has(a)", &*format!("{own} has(a)")),
        (
            "selector: has(a), notSelector: has(b)",
            "has(a) has(b)",
            &*format!("{} has(b)", and("has(a)", own)),
        ),
        ("namespaceSelector: all()", in_any, in_any),
        (
            "namespaceSelector: x == 'y', selector: all()",
            r#"pcns.x == "y""#,
            r#"pcns.x == "y""#,
        ),
        (
            "namespaceSelector: x == 'y', selector: has(a)",
            r#"(has(a) && pcns.x == "y")"#,
            r#"(has(a) && pcns.x == "y")"#,
        ),
        (
            "namespaceSelector: global()",
            "!has(projectcalico.org/namespace)",
            "!has(projectcalico.org/namespace)",
        ),
        (
            "namespaceSelector: '  global( ) ', selector: has(a)",
            "(has(a) && !has(projectcalico.org/namespace))",
            "(has(a) && !has(projectcalico.org/namespace))",
        ),
        (
            "namespaceSelector: global(), notSelector: has(b)",
            "!has(projectcalico.org/namespace) has(b)",
            "!has(projectcalico.org/namespace) has(b)",
        ),
        (
            "serviceAccounts: {names: [b, a]}",
            r#"projectcalico.org/serviceaccount in {"a", "b"}"#,
            &*and(own, r#"projectcalico.org/serviceaccount in {"a", "b"}"#),
        ),
        (
            "serviceAccounts: {selector: all()}",
            "has(projectcalico.org/serviceaccount)",
            &*and(own, "has(projectcalico.org/serviceaccount)"),
        ),
        (
            "namespaceSelector: all(), serviceAccounts: {names: [a], selector: has(x)}",
            r#"(has(projectcalico.org/namespace) && has(pcsa.x) && projectcalico.org/serviceaccount in {"a"})"#,
            r#"(has(projectcalico.org/namespace) && has(pcsa.x) && projectcalico.org/serviceaccount in {"a"})"#,
        ),
    ] {
        for side in ["source", "destination"] {
            let rules = format!("{{ingress: [{{action: Allow, {side}: {{{entity}}}}}]}}");
            let composed = |text: &str| {
                let mut policy = only(text);
                let rule = policy.ingress.remove(0);
                let entity = if side == "source" {
                    rule.source
                } else {
                    rule.destination
                };
                let positive = entity
                    .selector
                    .map_or_else(|| "-".to_owned(), |it| it.to_string());
                let negative = entity
                    .not_selector
                    .map_or_else(String::new, |it| format!(" {it}"));
                positive + &negative
            };
            assert_eq!(composed(&policy(&rules)), global, "{entity}");
            assert_eq!(composed(&namespaced(&rules)), in_namespace, "{entity}");
        }
    }
}

#[test]
fn what_namespace_selectors_and_service_accounts_must_not_say() {
    let long = "a".repeat(1025);
    let label = "a".repeat(510);
    for (field, code, path, words) in [
        (
            "namespaceSelector: a ==",
            "selector-syntax",
            "namespaceSelector",
            "not valid",
        ),
        (
            "namespaceSelector: 5",
            "wrong-type",
            "namespaceSelector",
            "quotes",
        ),
        (
            &format!("namespaceSelector: {long}"),
            "too-long",
            "namespaceSelector",
            "1025",
        ),
        (
            &format!("namespaceSelector: has({label})"),
            "too-long",
            "namespaceSelector",
            "with `pcns.` before it",
        ),
        (
            "namespaceSelector: global() || has(a)",
            "selector-global",
            "namespaceSelector",
            "must stand alone",
        ),
        (
            "namespaceSelector: (global())",
            "selector-global",
            "namespaceSelector",
            "must stand alone",
        ),
        (
            "selector: global()",
            "selector-global",
            "selector",
            "in the namespaceSelector of a rule only",
        ),
        (
            "serviceAccounts: {selector: global()}",
            "selector-global",
            "serviceAccounts.selector",
            "",
        ),
        (
            &format!("serviceAccounts: {{selector: has({label})}}"),
            "too-long",
            "serviceAccounts.selector",
            "with `pcsa.` before it",
        ),
        (
            "serviceAccounts: {}",
            "missing-field",
            "serviceAccounts",
            "needs `names` or `selector`",
        ),
        (
            "serviceAccounts: {names: [], selector: all()}",
            "empty-list",
            "serviceAccounts.names",
            "is empty",
        ),
        (
            "serviceAccounts: {names: [A]}",
            "invalid-name",
            "serviceAccounts.names[0]",
            "not a name of a service account",
        ),
        (
            "serviceAccounts: {names: [a, a]}",
            "duplicate-entry",
            "serviceAccounts.names[1]",
            "twice",
        ),
        (
            "serviceAccounts: {name: a, selector: all()}",
            "unknown-field",
            "serviceAccounts.name",
            "did you mean `names`?",
        ),
        (
            "serviceAccounts: [a]",
            "wrong-type",
            "serviceAccounts",
            "the fields of `serviceAccounts`",
        ),
    ] {
        let text = policy(&format!("{{ingress: [{{action: Allow, source: {{{field}}}}}]}}"));
        let path = format!("spec.ingress[0].source.{path}");
        refused(&format!("{text}{WORKLOAD}"), code, &path, words);
    }
    for field in ["selector", "namespaceSelector", "serviceAccountSelector"] {
        let path = format!("spec.{field}");
        refused(
            &policy(&format!("{{{field}: global()}}")),
            "selector-global",
            &path,
            "of a rule only",
        );
        refused(
            &policy(&format!("{{{field}: a b}}")),
            "selector-syntax",
            &path,
            "",
        );
        refused(
            &policy(&format!("{{{field}: {long}}}")),
            "too-long",
            &path,
            "1025",
        );
    }
    // What a person wrote is deep enough to be read, but not with the namespace beside it.
    let deep = format!("{}b==''{}", "a==''||(a==''&&(".repeat(50), "))".repeat(50));
    good(&policy(&format!("{{selector: \"{deep}\"}}")));
    assert_eq!(
        problems(&namespaced(&format!("{{selector: \"{deep}\"}}"))).len(),
        1
    );
}

#[test]
fn what_only_global_policies_have() {
    for (field, words) in [
        (
            "namespaceSelector: all()",
            "the policy applies in its own namespace",
        ),
        ("applyOnForward: true", "it is about host endpoints"),
        ("preDNAT: true", "it is about host endpoints"),
        ("doNotTrack: false", "it is about host endpoints"),
    ] {
        let name = field.split(':').next().unwrap();
        for kind in ["NetworkPolicy", "StagedNetworkPolicy"] {
            let text = object(kind, "{name: p, namespace: shop}", &format!("{{{field}}}"));
            refused(&text, "unknown-field", &format!("spec.{name}"), words);
            let (_, diagnostics, files) = super::decode_text(&text);
            let rendered = diagnostics.render(&files, false);
            assert!(
                rendered.contains(&format!("a {kind} has no `{name}`")),
                "{rendered}"
            );
        }
    }
}
