//! WorkloadEndpoint: traffic to and from workloads, through their host and with it.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use palisade_integration::{Ask, Daemon, ICMP, Packet, Setup, Site, Witness, eventually};

use crate::counted_denials;
use crate::resources::{policy, site};

const PATIENCE: Duration = Duration::from_secs(10);

const ALL: [Ask<'_>; 13] = [
    ("stranger", "web", "tcp 8080"),
    ("stranger", "web", "tcp 22"),
    ("stranger", "web", "udp 5353"),
    ("stranger", "web", ICMP),
    ("web", "stranger", "tcp 8080"),
    ("web", "api", "tcp 8080"),
    ("web", "api", "tcp 9090"),
    ("api", "web", "tcp 8080"),
    ("api", "stranger", "tcp 8080"),
    ("web", "router", "tcp 8080"),
    ("router", "web", "tcp 8080"),
    ("api", "router", "tcp 8080"),
    ("router", "api", "tcp 8080"),
];

/// Policies by name and `spec`.
type Policies = &'static [(&'static str, &'static str)];

/// Policies, and what they deny of all this.
const CASES: [(Policies, &[Ask<'_>]); 5] = [
    (
        // No failsafe holds for a workload, and its host is no friend of it.
        &[("web", "selector: app == 'web', types: [Ingress]")],
        &[
            ("stranger", "web", "tcp 8080"),
            ("stranger", "web", "tcp 22"),
            ("stranger", "web", "udp 5353"),
            ("stranger", "web", ICMP),
            ("api", "web", "tcp 8080"),
            ("router", "web", "tcp 8080"),
        ],
    ),
    (
        &[("web", "selector: app == 'web', types: [Egress]")],
        &[
            ("web", "stranger", "tcp 8080"),
            ("web", "api", "tcp 8080"),
            ("web", "api", "tcp 9090"),
            ("web", "router", "tcp 8080"),
        ],
    ),
    (
        // A name of a port is that of the workload it is asked of.
        &[(
            "web",
            "selector: app == 'web', types: [Ingress, Egress], \
             ingress: [{action: Allow, protocol: TCP, destination: {ports: [http]}}, {action: Allow, protocol: ICMP}, \
             {action: Allow, protocol: ICMPv6}], \
             egress: [{action: Allow, protocol: TCP, destination: {selector: app == 'api', ports: [http]}}]",
        )],
        &[
            ("stranger", "web", "tcp 22"),
            ("stranger", "web", "udp 5353"),
            ("web", "stranger", "tcp 8080"),
            ("web", "api", "tcp 8080"),
            ("web", "router", "tcp 8080"),
        ],
    ),
    (
        // What one end allows, the other may still deny.
        &[
            (
                "web",
                "selector: app == 'web', ingress: [{action: Allow}], egress: [{action: Allow}]",
            ),
            (
                "api",
                "selector: app == 'api', ingress: [{action: Deny, source: {selector: app == 'web'}}, {action: Allow}]",
            ),
        ],
        &[("web", "api", "tcp 8080"), ("web", "api", "tcp 9090")],
    ),
    (
        // What the host's own endpoint denies, it denies to and from the host; workloads only pass through.
        &[(
            "router",
            "selector: role == 'router', types: [Ingress, Egress], applyOnForward: false",
        )],
        &[],
    ),
];

#[test]
fn each_workload_has_its_own_say() -> anyhow::Result<()> {
    let place = Site::new()?;
    let setup = Setup::new("router").resource("site.yaml", site());
    let router = Daemon::start(place.router(), &setup)?;
    for (policies, denied) in CASES {
        let policies: String = policies.iter().map(|(name, spec)| policy(name, spec)).collect();
        router.apply("10-case.yaml", &policies)?;
        let before = counted_denials(&router)?;
        let expected: BTreeSet<_> = ALL.into_iter().filter(|ask| !denied.contains(ask)).collect();
        assert_eq!(place.answered(&ALL)?, expected, "{policies}");
        let counted = counted_denials(&router)? - before;
        assert_eq!(counted, 2 * denied.len() as u64, "{policies}");
    }
    Ok(())
}

/// Nobody has asked for a neighbour's address before the policy is there.
#[test]
fn ipv6_finds_its_neighbours_under_default_deny() -> anyhow::Result<()> {
    let place = Site::new()?;
    let only = "types: [Ingress, Egress], ingress: [{action: Allow, protocol: TCP, destination: {ports: [8080]}}], \
                egress: [{action: Allow, protocol: TCP, destination: {ports: [8080]}}]";
    let setup = Setup::new("router").resource("site.yaml", site()).resource(
        "policy.yaml",
        policy("only-8080", &format!("selector: all(), {only}")),
    );
    let router = Daemon::start(place.router(), &setup)?;
    let expected: BTreeSet<_> = ALL
        .into_iter()
        .filter(|(_, _, what)| *what == "tcp 8080")
        .collect();
    assert_eq!(place.answered(&ALL)?, expected);
    let neighbours = router
        .namespace()
        .output(Command::new("ip").args(["-6", "neigh"]), "")?;
    let neighbours = String::from_utf8(neighbours.stdout)?;
    for address in ["fd00:44:1::2", "fd00:44:2::2"] {
        assert!(
            neighbours.contains(address),
            "{address} is not among {neighbours}"
        );
    }
    Ok(())
}

/// An endpoint for every other interface of the host stands at the workloads' too, behind their own policies.
#[test]
fn a_wildcard_endpoint_of_the_host_has_a_say_in_what_its_workloads_send_to_it() -> anyhow::Result<()> {
    let place = Site::new()?;
    let wildcard = site().replace(
        "interfaceName: 'eth0', expectedIPs: ['10.42.0.1'",
        "interfaceName: '*', expectedIPs: ['10.42.0.1'",
    );
    let policies = [
        policy(
            "router",
            "selector: role == 'router', ingress: [{action: Deny, source: {selector: app == 'api'}}, {action: Allow}]",
        ),
        policy(
            "web",
            "selector: app == 'web', egress: [{action: Deny, protocol: TCP, destination: {ports: [9090]}}, {action: Allow}]",
        ),
    ];
    let setup = Setup::new("router")
        .resource("site.yaml", wildcard)
        .resource("policies.yaml", policies.concat());
    let router = Daemon::start(place.router(), &setup)?;
    let asks = [
        ("web", "router", "tcp 8080"),
        ("web", "router", "tcp 9090"),
        ("api", "router", "tcp 8080"),
        ("api", "router", "tcp 22"),
        ("stranger", "router", "tcp 8080"),
        ("api", "stranger", "tcp 8080"),
    ];
    let expected = [asks[0], asks[3], asks[4], asks[5]].into();
    assert_eq!(place.answered(&asks)?, expected);
    let counters = router.counters()?;
    for (direction, name) in [("ingress", "router"), ("egress", "web")] {
        assert_eq!(
            counters.rule("enforced", direction, name, 0)?.packets_total,
            2,
            "{name}"
        );
    }
    Ok(())
}

/// A workload asks its host for a router, and gets to know one: also where nothing else passes. Elsewhere the host is no
/// router.
#[test]
fn a_host_is_the_router_of_its_workloads_under_default_deny() -> anyhow::Result<()> {
    const SOLICITATION: u8 = 133;
    const ADVERTISEMENT: u8 = 134;
    let place = Site::new()?;
    let wildcard = site().replace(
        "interfaceName: 'eth0', expectedIPs: ['10.42.0.1'",
        "interfaceName: '*', expectedIPs: ['10.42.0.1'",
    );
    let closed = policy("closed", "selector: all(), types: [Ingress, Egress]");
    let early = policy(
        "early",
        "selector: role == 'router', applyOnForward: true, preDNAT: true, ingress: [{action: Deny, notProtocol: TCP}]",
    );
    let setup = Setup::new("router").resource("site.yaml", [wildcard, closed, early].concat());
    let router = Daemon::start(place.router(), &setup)?;
    let asked = Witness::new(
        router.namespace(),
        "input",
        &[
            ("inside", "ip6 saddr fd00:44:1::2 icmpv6 type nd-router-solicit"),
            ("outside", "ip6 saddr fd00:42::/64 icmpv6 type nd-router-solicit"),
        ],
    )?;
    let told = Witness::new(
        router.namespace(),
        "output",
        &[
            ("inside", "ip6 daddr fd00:44:1::2 icmpv6 type nd-router-advert"),
            ("outside", "ip6 daddr fd00:42::/64 icmpv6 type nd-router-advert"),
        ],
    )?;
    for host in ["web", "stranger"] {
        let own = place.address("router", host, 6);
        let routers = place.address(host, "router", 6);
        Packet::icmp(own, routers, SOLICITATION, 0).send(place.namespace(host))?;
        // What palisade drops on its way out, the sender is told of.
        let sent = Packet::icmp(routers, own, ADVERTISEMENT, 0).send(place.namespace("router"));
        assert_eq!(sent.is_ok(), host == "web", "{sent:?}");
    }
    eventually(PATIENCE, || {
        ensure!(asked.seen("inside")? == 1, "the solicitation has not arrived");
        Ok(())
    })?;
    assert_eq!((told.seen("inside")?, told.seen("outside")?), (1, 0));
    eventually(PATIENCE, || {
        let dropped = router
            .counters()?
            .rule("enforced", "ingress", "early", 0)?
            .packets_total;
        // Kernels ask for routers on their own as well.
        ensure!(dropped >= 1, "nothing has come from outside");
        Ok(())
    })?;
    assert_eq!(asked.seen("outside")?, 0);
    Ok(())
}

/// One without a profile, and without a policy: nothing in, nothing out.
#[test]
fn without_profile_and_policy_everything_is_denied() -> anyhow::Result<()> {
    let place = Site::new()?;
    let closed = site().replace(", profiles: [kns.blog]", "");
    let setup = Setup::new("router").resource("site.yaml", closed);
    let router = Daemon::start(place.router(), &setup)?;
    let expected: BTreeSet<_> = ALL
        .into_iter()
        .filter(|(from, to, _)| *from != "api" && *to != "api")
        .collect();
    assert_eq!(place.answered(&ALL)?, expected);
    let denied = ALL.len() - expected.len();
    assert_eq!(counted_denials(&router)?, 2 * denied as u64);
    Ok(())
}
