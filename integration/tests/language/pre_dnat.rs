//! `preDNAT`: before the destination is translated.

use palisade_integration::{Ask, Counter, Daemon, Setup, Site, nft};

use crate::Marks;
use crate::resources::{ALLOW, global, host_endpoint, neighbours, policy, site};

/// The administrator's own table: port 7000 of the router leads to the web's 8080, port 7001 to the router's own 8080.
const NAT: &str = "
table inet nat {
    chain prerouting {
        type nat hook prerouting priority dstnat
        iifname eth0 ip daddr 10.42.0.1 tcp dport 7000 dnat ip to 10.44.1.2:8080
        iifname eth0 ip6 daddr fd00:42::1 tcp dport 7000 dnat ip6 to [fd00:44:1::2]:8080
        iifname eth0 tcp dport 7001 redirect to :8080
    }
}
";

/// Through the translation to the web, and to the router itself.
const WEB_7000: Ask<'_> = ("stranger", "router", "tcp 7000");
const ROUTER_7001: Ask<'_> = ("stranger", "router", "tcp 7001");
/// Past the translation.
const WEB_8080: Ask<'_> = ("stranger", "web", "tcp 8080");
const ROUTER_8080: Ask<'_> = ("stranger", "router", "tcp 8080");
const ROUTER_22: Ask<'_> = ("stranger", "router", "tcp 22");
/// From somebody else.
const FRIEND_7000: Ask<'_> = ("friend", "router", "tcp 7000");

const ALL: [Ask<'_>; 6] = [
    WEB_7000,
    ROUTER_7001,
    WEB_8080,
    ROUTER_8080,
    ROUTER_22,
    FRIEND_7000,
];

/// Closed to all but the failsafe, and what goes through is closed too.
const CLOSED: &str = "selector: side == 'outer', applyOnForward: true, types: [Ingress], order: 10";

/// Open, before anything else.
const OPEN: &str =
    "selector: side == 'outer', applyOnForward: true, types: [Ingress], order: 1, ingress: [{action: Allow}]";

/// The rules of a preDNAT policy, what else is in force, what of it all is answered, and how often its first rule counts.
const CASES: [(&str, &str, &[Ask<'_>], u64); 5] = [
    (
        // It sees the port that was asked for; an Allow that comes later does not bring back what it denies.
        "{action: Deny, protocol: TCP, source: {selector: role == 'stranger'}, destination: {ports: [7000]}}",
        OPEN,
        &[ROUTER_7001, WEB_8080, ROUTER_8080, ROUTER_22, FRIEND_7000],
        2,
    ),
    (
        // And not the one that it is translated to.
        "{action: Deny, protocol: TCP, destination: {ports: [8080]}}",
        OPEN,
        &[WEB_7000, ROUTER_7001, ROUTER_22, FRIEND_7000],
        4,
    ),
    (
        // What it allows is not asked again, neither for the host nor for what goes through it.
        "{action: Allow, protocol: TCP, destination: {ports: ['7000:7001']}}",
        CLOSED,
        &[WEB_7000, ROUTER_7001, ROUTER_22, FRIEND_7000],
        6,
    ),
    (
        // What it does not decide goes on to the others: it has no end of a tier.
        "{action: Pass, protocol: TCP, destination: {ports: [7000]}}",
        CLOSED,
        &[ROUTER_22],
        4,
    ),
    // The failsafe holds here too.
    ("{action: Deny}", OPEN, &[ROUTER_22], 10),
];

#[test]
fn it_decides_before_the_translation() -> anyhow::Result<()> {
    let place = Site::new()?;
    let interface = |name: &str, side: &str, addresses: [&str; 2]| {
        host_endpoint("router", name, &format!("side: {side}"), &addresses, ALLOW)
    };
    let resources = [
        interface("eth0", "outer", ["10.42.0.1", "fd00:42::1"]),
        interface("web", "inner", ["10.44.1.1", "fd00:44:1::1"]),
        neighbours(),
    ];
    let setup = Setup::new("router").resource("site.yaml", resources.concat());
    let router = Daemon::start(place.router(), &setup)?;
    nft(router.namespace(), &["-f", "-"], NAT)?;
    let marks = Marks::watch(&router)?;
    for (rules, other, answered, counted) in CASES {
        let spec = pre_dnat("side == 'outer'", rules);
        router.apply(
            "10-case.yaml",
            &[policy("case", &spec), policy("other", other)].concat(),
        )?;
        assert_eq!(
            place.answered(&ALL)?,
            answered.iter().copied().collect(),
            "{rules}"
        );
        let counters = router.counters()?;
        let counter = counters.rule("enforced", "ingress", "case", 0)?;
        assert_eq!(
            (counter.packets_total, counter.stage.as_str()),
            (counted, "pre-dnat"),
            "{rules}"
        );

        // The same staged: nothing changes, and it counts as much.
        let staged = global("StagedGlobalNetworkPolicy", "staged", &spec);
        router.apply("10-case.yaml", &[staged, policy("other", other)].concat())?;
        let without = router.counters()?;
        let open: &[Ask<'_>] = if other == OPEN { &ALL } else { &[ROUTER_22] };
        assert_eq!(
            place.answered(&ALL)?,
            open.iter().copied().collect(),
            "staged {rules}"
        );
        let counters = router.counters()?;
        let of = |counters: &palisade_integration::Counters| {
            anyhow::Ok(counters.rule("pending", "ingress", "staged", 0)?.packets_total)
        };
        assert_eq!(of(&counters)? - of(&without)?, counted, "staged {rules}");
        let denied = |row: &Counter| row.world == "enforced" && row.stage == "pre-dnat";
        assert!(!counters.rows().iter().any(denied), "staged {rules}");
    }
    assert_eq!(marks.seen()?, 0);
    Ok(())
}

/// A workload's own policy is asked whatever its host has allowed before.
#[test]
fn it_does_not_speak_for_a_workload() -> anyhow::Result<()> {
    let place = Site::new()?;
    let allow = pre_dnat("role == 'router'", "{action: Allow}");
    let resources = [
        policy("allow", &allow),
        policy(
            "web",
            "selector: app == 'web', types: [Ingress], ingress: [{action: Allow, source: {selector: role == 'friend'}}]",
        ),
        policy("router", "selector: role == 'router', types: [Ingress]"),
    ];
    let setup = Setup::new("router")
        .resource("site.yaml", site())
        .resource("policies.yaml", resources.concat());
    let router = Daemon::start(place.router(), &setup)?;
    nft(router.namespace(), &["-f", "-"], NAT)?;
    let marks = Marks::watch(&router)?;
    assert_eq!(
        place.answered(&ALL)?,
        [ROUTER_7001, ROUTER_8080, ROUTER_22, FRIEND_7000].into()
    );
    assert_eq!(marks.seen()?, 0);
    let counters = router.counters()?;
    assert_eq!(counters.rule("enforced", "ingress", "web", 0)?.packets_total, 2);
    assert_eq!(
        counters
            .end_of_tier("enforced", "ingress", "default")?
            .packets_total,
        4
    );
    Ok(())
}

/// An endpoint for every other interface sees what workloads send, and a workload's own policy is still asked.
#[test]
fn a_wildcard_endpoint_sees_what_workloads_send() -> anyhow::Result<()> {
    let place = Site::new()?;
    let wildcard = site().replace(
        "interfaceName: 'eth0', expectedIPs: ['10.42.0.1'",
        "interfaceName: '*', expectedIPs: ['10.42.0.1'",
    );
    let rules = "{action: Deny, protocol: TCP, source: {selector: app == 'web'}, destination: {ports: [8080]}}, \
                 {action: Allow, source: {selector: app == 'api'}}";
    let resources = [
        policy("early", &pre_dnat("role == 'router'", rules)),
        policy(
            "closed",
            "selector: role == 'router', types: [Ingress], order: 10, applyOnForward: true",
        ),
        policy(
            "api",
            "selector: app == 'api', egress: [{action: Deny, protocol: TCP, destination: {ports: [9090]}}, {action: Allow}]",
        ),
    ];
    let setup = Setup::new("router")
        .resource("site.yaml", wildcard)
        .resource("policies.yaml", resources.concat());
    let router = Daemon::start(place.router(), &setup)?;
    let marks = Marks::watch(&router)?;
    let allowed = [
        ("api", "router", "tcp 8080"),
        ("api", "stranger", "tcp 8080"),
        ("api", "web", "tcp 8080"),
        ("api", "router", "tcp 22"),
        ("web", "router", "tcp 22"),
    ];
    let denied = [
        // By the early policy,
        ("web", "router", "tcp 8080"),
        ("web", "stranger", "tcp 8080"),
        // by the workload's own,
        ("api", "router", "tcp 9090"),
        ("api", "stranger", "tcp 9090"),
        // and because nothing allows it.
        ("web", "router", "tcp 9090"),
        ("stranger", "router", "tcp 8080"),
    ];
    assert_eq!(
        place.answered(&[&allowed[..], &denied[..]].concat())?,
        allowed.into()
    );
    assert_eq!(marks.seen()?, 0);
    let counters = router.counters()?;
    assert_eq!(counters.rule("enforced", "ingress", "early", 0)?.packets_total, 4);
    assert_eq!(counters.rule("enforced", "egress", "api", 0)?.packets_total, 4);
    Ok(())
}

fn pre_dnat(selector: &str, rules: &str) -> String {
    format!(
        "selector: {selector}, applyOnForward: true, preDNAT: true, order: 100, types: [Ingress], ingress: [{rules}]"
    )
}
