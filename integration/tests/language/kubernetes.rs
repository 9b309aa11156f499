//! Policies of Kubernetes, staged ones too.

use palisade_integration::{Ask, Counter, Daemon, ICMP, Setup, Site};

use crate::resources::site;

/// What is asked of the web, and by it.
const ALL: [Ask<'_>; 11] = [
    ("stranger", "web", "tcp 8080"),
    ("friend", "web", "tcp 8080"),
    ("friend", "web", "tcp 9090"),
    ("friend", "web", "udp 5353"),
    ("api", "web", "tcp 8080"),
    ("api", "web", "tcp 22"),
    ("api", "web", ICMP),
    ("web", "friend", "tcp 8080"),
    ("web", "api", "tcp 8080"),
    ("web", "api", "tcp 9090"),
    ("stranger", "api", "tcp 8080"),
];

/// The `spec` of a policy in the namespace `shop`, and what it denies.
const CASES: [(&str, &[Ask<'_>]); 5] = [
    (
        // Without policyTypes, it governs what there are rules for, and ingress in any case.
        "podSelector: {matchLabels: {app: web}}",
        &[
            ("stranger", "web", "tcp 8080"),
            ("friend", "web", "tcp 8080"),
            ("friend", "web", "tcp 9090"),
            ("friend", "web", "udp 5353"),
            ("api", "web", "tcp 8080"),
            ("api", "web", "tcp 22"),
            ("api", "web", ICMP),
        ],
    ),
    (
        "podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.42.0.0/24, except: [10.42.0.30/32]}}, \
         {ipBlock: {cidr: 'fd00:42::/64', except: ['fd00:42::30/128']}}], \
         ports: [{port: http}, {protocol: UDP, port: 5353}]}]",
        &[
            ("stranger", "web", "tcp 8080"),
            ("friend", "web", "tcp 9090"),
            ("api", "web", "tcp 8080"),
            ("api", "web", "tcp 22"),
            ("api", "web", ICMP),
        ],
    ),
    (
        "podSelector: {matchExpressions: [{key: app, operator: In, values: [web, shop]}]}, \
         ingress: [{from: [{namespaceSelector: {matchLabels: {stage: test}}, podSelector: {matchLabels: {app: api}}}], \
         ports: [{port: 8000, endPort: 8100}]}]",
        &[
            ("stranger", "web", "tcp 8080"),
            ("friend", "web", "tcp 8080"),
            ("friend", "web", "tcp 9090"),
            ("friend", "web", "udp 5353"),
            ("api", "web", "tcp 22"),
            ("api", "web", ICMP),
        ],
    ),
    (
        // Pods of its own namespace only, of which there is no other; and egress rules bring egress with them.
        "podSelector: {}, ingress: [{from: [{podSelector: {}}]}, {}], \
         egress: [{to: [{namespaceSelector: {}}], ports: [{port: http}]}]",
        &[("web", "friend", "tcp 8080"), ("web", "api", "tcp 8080")],
    ),
    (
        "podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}, policyTypes: [Ingress, Egress]",
        &[],
    ),
];

#[test]
fn a_policy_allows_what_its_rules_name() -> anyhow::Result<()> {
    let place = Site::new()?;
    let setup = Setup::new("router").resource("site.yaml", site());
    let router = Daemon::start(place.router(), &setup)?;
    for (spec, denied) in CASES {
        router.apply(
            "10-case.yaml",
            &kubernetes("networking.k8s.io/v1", "NetworkPolicy", spec),
        )?;
        let expected = ALL.into_iter().filter(|ask| !denied.contains(ask)).collect();
        assert_eq!(place.answered(&ALL)?, expected, "{spec}");
    }
    Ok(())
}

#[test]
fn staged_it_counts_and_denies_nothing() -> anyhow::Result<()> {
    let place = Site::new()?;
    let (spec, denied) = CASES[1];
    let setup = Setup::new("router").resource("site.yaml", site()).resource(
        "10-case.yaml",
        kubernetes("projectcalico.org/v3", "StagedKubernetesNetworkPolicy", spec),
    );
    let router = Daemon::start(place.router(), &setup)?;
    assert_eq!(place.answered(&ALL)?, ALL.into());
    let counters = router.counters()?;
    let end = counters.end_of_tier("pending", "ingress", "default")?;
    assert_eq!(end.packets_total, 2 * denied.len() as u64);
    // One rule for each peer and protocol, all of them the rule that was written.
    let of_rule = |row: &&Counter| row.kind == "StagedKubernetesNetworkPolicy" && row.rule_index == 0;
    let allowed: u64 = counters
        .rows()
        .iter()
        .filter(of_rule)
        .map(|row| row.packets_total)
        .sum();
    assert_eq!(allowed, 4, "{counters:#?}");

    // Promoted, it denies just that.
    router.apply(
        "10-case.yaml",
        &kubernetes("networking.k8s.io/v1", "NetworkPolicy", spec),
    )?;
    let expected = ALL.into_iter().filter(|ask| !denied.contains(ask)).collect();
    assert_eq!(place.answered(&ALL)?, expected);
    Ok(())
}

fn kubernetes(version: &str, kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{namespace: shop, name: case}}\nspec: {{{spec}}}\n"
    )
}
