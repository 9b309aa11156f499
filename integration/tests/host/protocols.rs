//! TCP, UDP and ICMP over both IP versions. Needs root.

use std::collections::BTreeSet;

use palisade::lab::Outcome;
use palisade_integration::{Daemon, ICMP, Setup, ThreeHosts, denied, examples};

/// Questions, each with the IP versions over which it gets through.
type Allowed = &'static [(&'static str, &'static [u8])];

/// Each rule, as the only one of a policy on the backend's ingress, and what the frontend gets through by it.
#[test]
fn a_rule_allows_its_protocol_and_nothing_else() -> anyhow::Result<()> {
    let cases: &[(&str, Allowed)] = &[
        ("protocol: TCP", &[("tcp 8080", &[4, 6]), ("tcp 9090", &[4, 6])]),
        (
            "protocol: 6, destination: {ports: [9090]}",
            &[("tcp 9090", &[4, 6])],
        ),
        (
            "protocol: TCP, destination: {ports: ['9000:9999']}",
            &[("tcp 9090", &[4, 6])],
        ),
        (
            "protocol: TCP, destination: {notPorts: [9090]}",
            &[("tcp 8080", &[4, 6])],
        ),
        ("protocol: UDP", &[("udp 5353", &[4, 6])]),
        ("protocol: UDP, destination: {ports: [8080]}", &[]),
        ("protocol: ICMP", &[(ICMP, &[4])]),
        ("protocol: ICMPv6", &[(ICMP, &[6])]),
        ("protocol: ICMP, icmp: {type: 8}", &[(ICMP, &[4])]),
        ("protocol: ICMP, icmp: {type: 8, code: 0}", &[(ICMP, &[4])]),
        ("protocol: ICMP, icmp: {type: 8, code: 1}", &[]),
        ("protocol: ICMP, icmp: {type: 13}", &[]),
        ("protocol: 58, icmp: {type: 128}", &[(ICMP, &[6])]),
        ("protocol: 1, icmp: {type: 128}", &[]),
        ("notICMP: {type: 8}", &[(ICMP, &[6])]),
        ("notICMP: {type: 128, code: 0}", &[(ICMP, &[4])]),
        ("notICMP: {type: 128, code: 1}", &[(ICMP, &[4, 6])]),
        ("protocol: TCP, notICMP: {type: 8}", &[]),
        ("notProtocol: TCP", &[("udp 5353", &[4, 6]), (ICMP, &[4, 6])]),
        (
            "source: {nets: [10.42.0.30/32]}",
            &[
                ("tcp 8080", &[4]),
                ("tcp 9090", &[4]),
                ("udp 5353", &[4]),
                (ICMP, &[4]),
            ],
        ),
        (
            "protocol: UDP, source: {nets: ['fd00:42::/64']}",
            &[("udp 5353", &[6])],
        ),
        ("protocol: UDP, source: {notNets: ['fd00:42::30/128']}", &[]),
        (
            "protocol: UDP, source: {nets: [10.42.0.0/24], notNets: [10.42.0.30/32]}",
            &[],
        ),
        (
            "protocol: UDP, source: {selector: app == 'frontend'}",
            &[("udp 5353", &[4, 6])],
        ),
        ("protocol: UDP, source: {notSelector: app == 'frontend'}", &[]),
        (
            "protocol: UDP, destination: {selector: app == 'backend'}",
            &[("udp 5353", &[4, 6])],
        ),
    ];
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend").resource("hosts.yaml", examples::HOSTS);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    for (rule, allowed) in cases {
        backend.apply("10-case.yaml", &policy(rule))?;
        let matrix = hosts.between("frontend", "backend")?;
        let expected: BTreeSet<String> = allowed
            .iter()
            .flat_map(|(what, versions)| versions.iter().map(|version| (*what, *version)))
            // The failsafe.
            .chain([("tcp 22", 4), ("tcp 22", 6)])
            .map(|(what, version)| ThreeHosts::question("frontend", "backend", what, version))
            .collect();
        let denied = denied(&matrix);
        let answered: BTreeSet<String> = matrix
            .keys()
            .filter(|question| !denied.contains(question.as_str()))
            .cloned()
            .collect();
        assert_eq!(answered, expected, "{rule}");
    }
    Ok(())
}

/// The same on the way out, where a denied sender learns it at once.
#[test]
fn egress_is_filtered_alike() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let egress = policy("protocol: TCP, destination: {selector: app == 'database', ports: [8080]}")
        .replace("ingress:", "egress:")
        .replace("types: [Ingress]", "types: [Egress]");
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-case.yaml", egress);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let matrix = hosts.matrix()?;
    let denied = denied(&matrix);
    for version in [4, 6] {
        let question = |to, what| ThreeHosts::question("backend", to, what, version);
        assert!(
            !denied.contains(question("database", "tcp 8080").as_str()),
            "{matrix:#?}"
        );
        for what in ["tcp 22", "tcp 9090", "udp 5353", ICMP] {
            assert!(
                denied.contains(question("database", what).as_str()),
                "{what}: {matrix:#?}"
            );
        }
        assert!(
            denied.contains(question("frontend", "tcp 8080").as_str()),
            "{matrix:#?}"
        );
    }
    assert!(
        denied.iter().all(|question| question.starts_with("backend to ")),
        "{denied:?}"
    );
    let counters = backend.counters()?;
    assert_eq!(counters.rule("enforced", "egress", "case", 0)?.packets_total, 2);
    Ok(())
}

/// With `denyAction: reject` a denied client learns it at once, over both IP versions.
#[test]
fn a_rejected_client_is_told() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-case.yaml", policy("protocol: UDP"))
        .config("safetyNet: false\ndenyAction: reject");
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let matrix = hosts.between("frontend", "backend")?;
    for version in [4, 6] {
        let question = ThreeHosts::question("frontend", "backend", "tcp 8080", version);
        assert_eq!(matrix[&question], Outcome::Refused, "{question}");
        let question = ThreeHosts::question("frontend", "backend", "udp 5353", version);
        assert!(matrix[&question].is_answered(), "{question}");
    }
    // Answered, so not sent again: one packet for each of two ports, both IP versions, and two pings.
    assert_eq!(
        backend
            .counters()?
            .end_of_tier("enforced", "ingress", "default")?
            .packets_total,
        6
    );
    Ok(())
}

fn policy(rule: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: case}}\nspec:\n  \
         selector: app == 'backend'\n  types: [Ingress]\n  ingress:\n    - {{action: Allow, {rule}}}\n"
    )
}
