//! Which addresses a rule means: `ipVersion`, `nets`, `notNets`, and selectors of endpoints and sets.

use std::collections::BTreeSet;
use std::fmt::Write;

use palisade::lab::{Network, Probe, TcpServer, probe_all};
use palisade_integration::{Daemon, Setup};

use crate::resources::{ALLOW, host_endpoint, namespace, policy, resource, workload};

/// Everybody around the host: the name, and the last part of both addresses.
const PEERS: [(&str, &str); 7] = [
    ("frontend", "20"),
    ("database", "30"),
    ("till", "40"),
    ("blog", "50"),
    ("partner", "60"),
    ("vendor", "70"),
    // No resource has its address.
    ("nobody", "90"),
];

/// A rule's own fields, the fields of its entity, and the peers whose packets it matches: over both IP versions, or
/// only over one of them.
const CASES: [(&str, &str, &str); 26] = [
    (
        "ipVersion: 4",
        "",
        "frontend/4 database/4 till/4 blog/4 partner/4 vendor/4 nobody/4",
    ),
    (
        "ipVersion: 6",
        "",
        "frontend/6 database/6 till/6 blog/6 partner/6 vendor/6 nobody/6",
    ),
    (
        "",
        "nets: [10.42.0.20/32, 10.42.0.48/28]",
        "frontend/4 blog/4 partner/4",
    ),
    (
        "",
        "nets: ['fd00:42::20/128', 'fd00:42::50/124']",
        "frontend/6 blog/6",
    ),
    (
        "ipVersion: 6",
        "nets: ['fd00:42::/64']",
        "frontend/6 database/6 till/6 blog/6 partner/6 vendor/6 nobody/6",
    ),
    ("", "notNets: [10.42.0.0/26]", "vendor/4 nobody/4"),
    (
        "",
        "nets: ['fd00:42::/64'], notNets: ['fd00:42::40/122']",
        "frontend/6 database/6 nobody/6",
    ),
    ("", "selector: app == 'frontend'", "frontend"),
    (
        "",
        "selector: \"app in {'frontend', 'database'} && tier != 'front'\"",
        "database",
    ),
    (
        "",
        "selector: has(app), notSelector: app == 'frontend'",
        "database till blog",
    ),
    (
        "",
        "notSelector: app == 'frontend'",
        "database till blog partner vendor nobody",
    ),
    ("", "notSelector: has(app)", "partner vendor nobody"),
    (
        "",
        "selector: all()",
        "frontend database till blog partner vendor",
    ),
    ("", "selector: role == 'partner'", "partner"),
    (
        "",
        "selector: role starts with 'p' || role == 'vendor'",
        "partner vendor",
    ),
    (
        "",
        "namespaceSelector: projectcalico.org/name == 'shop'",
        "till vendor",
    ),
    ("", "namespaceSelector: stage == 'test'", "blog"),
    ("", "namespaceSelector: all()", "till blog vendor"),
    (
        "",
        "namespaceSelector: all(), selector: app == 'web'",
        "till blog",
    ),
    (
        "",
        "namespaceSelector: stage == 'live', notSelector: app == 'web'",
        "vendor",
    ),
    ("", "namespaceSelector: global()", "frontend database partner"),
    (
        "",
        "namespaceSelector: global(), notSelector: has(role)",
        "frontend database",
    ),
    ("", "serviceAccounts: {names: [cashier, writer]}", "till blog"),
    (
        "",
        "serviceAccounts: {names: [cashier, writer], selector: rank == 'junior'}",
        "till",
    ),
    (
        "",
        "serviceAccounts: {names: [cashier, writer]}, namespaceSelector: stage == 'test'",
        "blog",
    ),
    (
        "",
        "nets: [10.42.0.0/26], selector: all()",
        "frontend/4 database/4 till/4 blog/4 partner/4",
    ),
];

/// The port on which the rule of each case is tried.
const FIRST_PORT: u16 = 9000;

#[test]
fn ingress_rules_match_their_sources() -> anyhow::Result<()> {
    try_all_cases("ingress", |own, entity, port| {
        format!("source: {{{entity}}}, destination: {{ports: [{port}]}}{own}")
    })
}

#[test]
fn egress_rules_match_their_destinations() -> anyhow::Result<()> {
    try_all_cases("egress", |own, entity, port| {
        let entity = if entity.is_empty() {
            String::new()
        } else {
            format!("{entity}, ")
        };
        format!("destination: {{{entity}ports: [{port}]}}{own}")
    })
}

/// One policy with a rule for each case, each on its own port, and everybody tries all of them.
fn try_all_cases(direction: &str, rule: impl Fn(&str, &str, u16) -> String) -> anyhow::Result<()> {
    let peers = PEERS.iter().map(|(name, last)| (*name, *last));
    let network = peers
        .chain([("host", "10")])
        .fold(Network::builder(), |network, (name, last)| {
            network.host(
                name,
                [format!("10.42.0.{last}/24"), format!("fd00:42::{last}/64")],
            )
        })
        .build()?;
    let ports: Vec<u16> = (FIRST_PORT..).take(CASES.len()).collect();
    let listening: Vec<_> = match direction {
        "ingress" => vec![network.host("host")],
        _ => PEERS.iter().map(|(name, _)| network.host(name)).collect(),
    };
    let servers = listening
        .iter()
        .map(|host| TcpServer::start(host.namespace(), host.name(), &ports));
    let _servers = servers.collect::<Result<Vec<_>, _>>()?;

    let mut rules = String::new();
    for ((own, entity, _), port) in CASES.iter().zip(&ports) {
        let own = if own.is_empty() {
            String::new()
        } else {
            format!(", {own}")
        };
        write!(
            rules,
            "{{action: Allow, protocol: TCP, {}}}, ",
            rule(&own, entity, *port)
        )?;
    }
    let types = if direction == "ingress" {
        "Ingress"
    } else {
        "Egress"
    };
    let spec = format!("selector: app == 'host', types: [{types}], {direction}: [{rules}]");
    let setup = Setup::new("host")
        .resource("peers.yaml", resources())
        .resource("cases.yaml", policy("cases", &spec));
    let daemon = Daemon::start(network.host("host"), &setup)?;

    let mut asked = Vec::new();
    let mut probes = Vec::new();
    for (peer, _) in PEERS {
        let (from, to) = if direction == "ingress" {
            (peer, "host")
        } else {
            ("host", peer)
        };
        for (case, port) in ports.iter().enumerate() {
            for to in network.host(to).sockets(*port) {
                let version = if to.is_ipv4() { 4 } else { 6 };
                asked.push((case, format!("{peer}/{version}")));
                probes.push(Probe::tcp(network.host(from).namespace(), to));
            }
        }
    }
    let outcomes = probe_all(&probes)?;
    let counters = daemon.counters()?;
    let mut allowed = 0;
    for (case, (own, entity, expected)) in CASES.iter().enumerate() {
        let answers = asked
            .iter()
            .zip(&outcomes)
            .filter(|((asked, _), outcome)| *asked == case && outcome.is_answered());
        let answered: BTreeSet<&str> = answers.map(|((_, peer), _)| peer.as_str()).collect();
        let expected = over_both(expected);
        let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
        assert_eq!(answered, expected, "{direction}: {own} {entity}");
        let index = i64::try_from(case)?;
        let counted = counters
            .rule("enforced", direction, "cases", index)?
            .packets_total;
        assert_eq!(counted, expected.len() as u64, "{direction}: {own} {entity}");
        allowed += counted;
    }
    let denied = counters
        .end_of_tier("enforced", direction, "default")?
        .packets_total;
    assert_eq!(
        denied + allowed,
        asked.len() as u64,
        "each packet is counted once"
    );
    Ok(())
}

/// `frontend` is `frontend/4` and `frontend/6`.
fn over_both(peers: &str) -> Vec<String> {
    let each = |peer: &str| {
        if peer.contains('/') {
            vec![peer.to_owned()]
        } else {
            vec![format!("{peer}/4"), format!("{peer}/6")]
        }
    };
    peers.split_whitespace().flat_map(each).collect()
}

fn resources() -> String {
    let junior = resource(
        "Profile",
        "name: ksa.shop.cashier",
        "labelsToApply: {pcsa.rank: junior, pcsa.projectcalico.org/name: cashier}",
    );
    [
        host_endpoint("host", "eth0", "app: host", &["10.42.0.10", "fd00:42::10"], ALLOW),
        host_endpoint(
            "frontend",
            "eth0",
            "app: frontend, tier: front",
            &["10.42.0.20", "fd00:42::20"],
            "",
        ),
        host_endpoint(
            "database",
            "eth0",
            "app: database",
            &["10.42.0.30", "fd00:42::30"],
            "",
        ),
        namespace("shop", "pcns.stage: live"),
        namespace("blog", "pcns.stage: test"),
        junior,
        workload(
            ("shop", "till"),
            ("elsewhere", "cali1"),
            "app: web",
            &["10.42.0.40", "fd00:42::40"],
            "serviceAccountName: cashier, profiles: [kns.shop, ksa.shop.cashier]",
        ),
        workload(
            ("blog", "blog"),
            ("elsewhere", "cali2"),
            "app: web",
            &["10.42.0.50", "fd00:42::50"],
            "serviceAccountName: writer, profiles: [kns.blog]",
        ),
        resource(
            "GlobalNetworkSet",
            "name: partners, labels: {role: partner}",
            "nets: [10.42.0.60/31, 'fd00:42::60']",
        ),
        resource(
            "NetworkSet",
            "namespace: shop, name: vendors, labels: {role: vendor}",
            "nets: [10.42.0.70, 'fd00:42::70/124']",
        ),
    ]
    .concat()
}
