//! `applyOnForward`: what goes through a host.

use std::collections::BTreeSet;

use palisade_integration::{Ask, Counter, Daemon, Setup, Site};

use crate::counted_denials;
use crate::resources::{ALLOW, global, host_endpoint, neighbours, policy};

const THROUGH: [Ask<'_>; 7] = [
    ("friend", "web", "tcp 8080"),
    ("friend", "web", "tcp 22"),
    ("stranger", "web", "tcp 8080"),
    ("web", "friend", "tcp 8080"),
    ("web", "stranger", "tcp 8080"),
    ("web", "stranger", "udp 5353"),
    ("api", "web", "tcp 8080"),
];

const TO_THE_ROUTER: [Ask<'_>; 5] = [
    ("friend", "router", "tcp 8080"),
    ("stranger", "router", "tcp 8080"),
    ("stranger", "router", "tcp 22"),
    ("api", "router", "tcp 8080"),
    ("api", "router", "tcp 22"),
];

/// A policy for the interface to the neighbours, and what it denies of all this.
const CASES: [(&str, &[Ask<'_>]); 5] = [
    (
        // Without the flag, what goes through is not its business.
        "selector: side == 'outer', types: [Ingress, Egress]",
        &[
            ("friend", "router", "tcp 8080"),
            ("stranger", "router", "tcp 8080"),
        ],
    ),
    (
        // With it, there and at the router itself; the failsafe for port 22 holds only there.
        "selector: side == 'outer', applyOnForward: true, types: [Ingress], ingress: [{action: Allow, \
         protocol: TCP, source: {selector: role == 'friend'}, destination: {ports: [8080]}}]",
        &[
            ("friend", "web", "tcp 22"),
            ("stranger", "web", "tcp 8080"),
            ("stranger", "router", "tcp 8080"),
        ],
    ),
    (
        "selector: side == 'outer', applyOnForward: true, types: [Egress], egress: [{action: Allow, \
         protocol: TCP, destination: {selector: role == 'friend'}}]",
        &[("web", "stranger", "tcp 8080"), ("web", "stranger", "udp 5353")],
    ),
    (
        // What goes out of the interface to the web goes to the web.
        "selector: side == 'inner', applyOnForward: true, types: [Egress], egress: [{action: Deny, \
         source: {selector: role == 'friend'}}, {action: Allow}]",
        &[("friend", "web", "tcp 8080"), ("friend", "web", "tcp 22")],
    ),
    (
        "selector: side == 'inner', applyOnForward: true, types: [Ingress], ingress: [{action: Allow, protocol: UDP}]",
        &[("web", "friend", "tcp 8080"), ("web", "stranger", "tcp 8080")],
    ),
];

/// The interface to the api has no profile: what comes to the router by it is denied, what goes through is not.
const WITHOUT_A_PROFILE: Ask<'_> = ("api", "router", "tcp 8080");

#[test]
fn what_goes_through_meets_policies_that_say_so() -> anyhow::Result<()> {
    let place = Site::new()?;
    let router = Daemon::start(place.router(), &setup())?;
    let asks = [&THROUGH[..], &TO_THE_ROUTER[..]].concat();
    for (spec, denied) in CASES {
        router.apply("10-case.yaml", &policy("case", spec))?;
        let before = counted_denials(&router)?;
        let is_open = |ask: &Ask<'_>| !denied.contains(ask) && *ask != WITHOUT_A_PROFILE;
        let expected: BTreeSet<_> = asks.iter().copied().filter(is_open).collect();
        assert_eq!(place.answered(&asks)?, expected, "{spec}");
        let counted = counted_denials(&router)? - before;
        assert_eq!(counted, 2 * (denied.len() as u64 + 1), "{spec}");
    }
    Ok(())
}

#[test]
fn the_counters_say_which_way_a_packet_went() -> anyhow::Result<()> {
    let place = Site::new()?;
    let (spec, _) = CASES[1];
    let setup = setup().resource("10-case.yaml", policy("case", spec));
    let router = Daemon::start(place.router(), &setup)?;
    place.answered(&[
        ("friend", "web", "tcp 8080"),
        ("friend", "router", "tcp 8080"),
        ("stranger", "web", "tcp 8080"),
        ("stranger", "web", "udp 5353"),
        ("stranger", "router", "tcp 8080"),
    ])?;
    let counters = router.counters()?;
    assert_eq!(
        counters.rule("enforced", "ingress", "case", 0)?.packets_total,
        4,
        "one chain, both ways"
    );
    let end = |stage: &str| {
        let is_it =
            |row: &Counter| row.kind == "EndOfTier" && row.direction == "ingress" && row.stage == stage;
        anyhow::Ok(counters.only(is_it)?.packets_total)
    };
    assert_eq!((end("forward")?, end("normal")?), (4, 2));
    Ok(())
}

#[test]
fn staged_it_counts_what_it_would_deny_and_denies_nothing() -> anyhow::Result<()> {
    let place = Site::new()?;
    let (spec, _) = CASES[1];
    let setup = setup().resource("10-case.yaml", global("StagedGlobalNetworkPolicy", "case", spec));
    let router = Daemon::start(place.router(), &setup)?;
    let asks = [&THROUGH[..], &TO_THE_ROUTER[..]].concat();
    let expected: BTreeSet<_> = asks
        .iter()
        .copied()
        .filter(|ask| *ask != WITHOUT_A_PROFILE)
        .collect();
    assert_eq!(place.answered(&asks)?, expected);
    let counters = router.counters()?;
    let end = |stage: &str| {
        let is_it = |row: &Counter| row.kind == "EndOfTier" && row.world == "pending" && row.stage == stage;
        anyhow::Ok(counters.only(is_it)?.packets_total)
    };
    // As if enforced: friend to web:22 and stranger to web; stranger to the router.
    assert_eq!((end("forward")?, end("normal")?), (4, 2));
    assert_eq!(counters.rule("pending", "ingress", "case", 0)?.packets_total, 4);
    Ok(())
}

fn setup() -> Setup {
    let interface = |name: &str, side: &str, addresses: [&str; 2], rest: &str| {
        host_endpoint("router", name, &format!("side: {side}"), &addresses, rest)
    };
    let resources = [
        interface("eth0", "outer", ["10.42.0.1", "fd00:42::1"], ALLOW),
        interface("web", "inner", ["10.44.1.1", "fd00:44:1::1"], ALLOW),
        interface("api", "none", ["10.44.2.1", "fd00:44:2::1"], ""),
        neighbours(),
    ];
    Setup::new("router").resource("site.yaml", resources.concat())
}
