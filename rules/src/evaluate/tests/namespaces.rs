//! Workloads, services, and policies in a namespace.

use super::*;

fn pods() -> Vec<String> {
    let spec =
        |interface: &str, address: &str| format!("interfaceName: {interface}, ipNetworks: [{address}]");
    vec![
        workload("a", "role: pod", &spec("cali1", "10.1.0.1/32")),
        workload("b", "role: pod", &spec("cali2", "10.1.0.2/32"))
            .replace("namespace: red", "namespace: blue"),
    ]
}

/// What the pod of namespace red says.
fn check_pod(resources: &[String], table: &[(&str, &str)]) {
    let worlds = network(&[pods(), resources.to_vec()].concat());
    for (packet, expected) in table {
        let said = ask_at(&worlds, "one-cni-a-e", WorldKind::Enforced, packet);
        assert_eq!(said, *expected, "{packet} with\n{}", resources.concat());
    }
}

#[test]
fn a_workload_without_profiles_and_policies_is_shut_and_has_no_failsafes() {
    check_pod(
        &[],
        &[
            ("in tcp 10.0.0.2 22", "deny: Deny no profile"),
            ("out udp 10.0.0.2 53", "deny: Deny no profile"),
            ("in icmpv6 fd00::2 type 135", "deny: Deny no profile"),
        ],
    );
}

#[test]
fn policies_in_its_namespace_and_global_ones_govern_it() {
    check_pod(
        &[
            namespaced(
                "NetworkPolicy",
                "red",
                "own",
                "order: 2, ingress: [{action: Allow, protocol: TCP}]",
            ),
            namespaced(
                "NetworkPolicy",
                "blue",
                "other",
                "order: 1, ingress: [{action: Deny}]",
            ),
            policy(
                "global",
                "order: 3, selector: role == 'pod', ingress: [{action: Log}]",
            ),
        ],
        &[
            ("in tcp 10.0.0.2 80", "allow: Allow own/0"),
            (
                "in udp 10.0.0.2 80",
                "deny: Log global/0, Deny end of default (global)",
            ),
        ],
    );
}

#[test]
fn a_peer_is_looked_for_in_the_policys_own_namespace() {
    let rule = |source: &str| {
        let spec = format!("ingress: [{{action: Allow, source: {{{source}}}}}]");
        namespaced("NetworkPolicy", "red", "p", &spec)
    };
    let (own, other, unknown) = ("in tcp 10.1.0.1 80", "in tcp 10.1.0.2 80", "in tcp 10.9.0.1 80");
    let (yes, no) = ("allow: Allow p/0", "deny: Deny end of default (p)");
    check_pod(
        &[rule("selector: role == 'pod'")],
        &[(own, yes), (other, no), (unknown, no)],
    );
    check_pod(
        &[rule("notSelector: role == 'nothing'")],
        &[(own, yes), (other, no), (unknown, no)],
    );
    check_pod(
        &[rule("namespaceSelector: all()")],
        &[(own, yes), (other, yes), (unknown, no)],
    );
    // `global()` is what is in no namespace: hosts and global sets.
    check_pod(
        &[rule("namespaceSelector: global()")],
        &[(own, no), (unknown, yes), ("in tcp 10.0.0.2 80", yes)],
    );
    check_pod(&[rule("nets: [10.9.0.0/16]")], &[(own, no), (unknown, yes)]);
}

#[test]
fn early_policies_and_those_on_forward_are_not_about_workloads() {
    let deny = "ingress: [{action: Deny}], egress: [{action: Deny}]";
    check_pod(
        &[
            policy("raw", &format!("doNotTrack: true, applyOnForward: true, {deny}")),
            policy(
                "dnat",
                "preDNAT: true, applyOnForward: true, ingress: [{action: Deny}]",
            ),
        ],
        &[
            ("in tcp 10.0.0.2 80", "deny: Deny no profile"),
            ("out tcp 10.0.0.2 80", "deny: Deny no profile"),
        ],
    );
    check_pod(
        &[policy("forward", &format!("applyOnForward: true, {deny}"))],
        &[("in tcp 10.0.0.2 80", "deny: Deny forward/0")],
    );
}

#[test]
fn a_service_is_governed_like_any_endpoint_and_has_no_failsafes() {
    let resources = [
        service("nginx", "role: proxy", "node: one, unit: nginx.service"),
        service(
            "shut",
            "role: shut",
            "node: one, unit: shut.service, profiles: []",
        ),
        policy(
            "p",
            "selector: role == 'proxy', ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
        ),
    ];
    let worlds = network(&resources);
    for (name, packet, expected) in [
        ("nginx", "in tcp 10.0.0.2 80", "allow: Allow p/0"),
        ("nginx", "in tcp 10.0.0.2 22", "deny: Deny end of default (p)"),
        ("nginx", "out tcp 10.0.0.2 22", "allow: Allow profile"),
        ("shut", "out udp 10.0.0.2 53", "deny: Deny no profile"),
    ] {
        assert_eq!(
            ask_at(&worlds, name, WorldKind::Enforced, packet),
            expected,
            "{name} {packet}"
        );
    }
}

#[test]
fn a_peer_may_be_what_runs_as_a_service_account() {
    let clerk = workload(
        "c",
        "role: pod",
        "interfaceName: cali3, ipNetworks: [10.1.0.3/32], serviceAccountName: clerk, profiles: [ksa.red.clerk]",
    );
    let profile = object("Profile", "ksa.red.clerk", "labelsToApply: {pcsa.trusted: 'yes'}");
    let (is_clerk, is_nobody) = ("in tcp 10.1.0.3 80", "in tcp 10.1.0.2 80");
    let (yes, no) = ("allow: Allow p/0", "deny: Deny end of default (p)");
    for accounts in [
        "names: [clerk, other]",
        "selector: trusted == 'yes'",
        "selector: all()",
    ] {
        let rule = format!("action: Allow, source: {{serviceAccounts: {{{accounts}}}}}");
        let p = policy("p", &format!("selector: role == 'pod', ingress: [{{{rule}}}]"));
        check_pod(
            &[clerk.clone(), profile.clone(), p],
            &[(is_clerk, yes), (is_nobody, no)],
        );
    }
}

#[test]
fn a_kubernetes_policy_is_about_the_pods_of_its_namespace() {
    let pod = |name: &str, namespace: &str, address: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\n\
             metadata: {{name: one-k8s-{name}-e, namespace: {namespace}, labels: {{app: {name}}}}}\n\
             spec: {{node: one, orchestrator: k8s, pod: {name}, endpoint: e, interfaceName: cali-{name}, \
             ipNetworks: [{address}/32]}}\n"
        )
    };
    let policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
                  metadata: {name: p, namespace: red}\n\
                  spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}\n";
    let worlds = network(&[
        pod("web", "red", "10.1.0.1"),
        pod("db", "red", "10.1.0.2"),
        pod("far", "blue", "10.1.0.3"),
        policy.to_owned(),
    ]);
    for (name, packet, expected) in [
        ("one-k8s-web-e", "in tcp 10.1.0.2 80", "allow: Allow p/0"),
        (
            "one-k8s-web-e",
            "in udp 10.1.0.2 80",
            "deny: Deny end of default (p)",
        ),
        (
            "one-k8s-web-e",
            "in tcp 10.1.0.3 80",
            "deny: Deny end of default (p)",
        ),
        ("one-k8s-web-e", "out tcp 10.1.0.2 80", "deny: Deny no profile"),
        ("one-k8s-db-e", "in tcp 10.1.0.1 80", "deny: Deny no profile"),
    ] {
        let said = ask_at(&worlds, name, WorldKind::Enforced, packet);
        assert_eq!(said, expected, "{name} {packet}");
    }
}
