//! `doNotTrack`: before conntrack.

use std::time::Duration;

use palisade::lab::{Connection, Outcome, Probe, UdpServer};
use palisade_integration::{DENIED_PORTS, Daemon, Setup, Site, ThreeHosts, Witness, denied, examples};

use crate::resources::{ALLOW, global, host_endpoint, neighbours, policy, site};
use crate::{Marks, answered};

/// Nothing passes that is not allowed before.
const CLOSED: &str = "selector: app == 'backend', order: 1, types: [Ingress, Egress]";

const IN: &str =
    "{action: Allow, protocol: UDP, source: {selector: app == 'frontend'}, destination: {ports: [5353]}}";
const OUT: &str =
    "{action: Allow, protocol: UDP, source: {ports: [5353]}, destination: {selector: app == 'frontend'}}";

fn untracked(types: &str, rules: &str) -> String {
    format!(
        "selector: app == 'backend', applyOnForward: true, doNotTrack: true, order: 100, types: [{types}], {rules}"
    )
}

#[test]
fn what_it_allows_is_not_tracked_and_needs_a_way_back() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let both = untracked("Ingress, Egress", &format!("ingress: [{IN}], egress: [{OUT}]"));
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-closed.yaml", policy("closed", CLOSED))
        .resource("20-case.yaml", policy("case", &both));
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let witness = Witness::new(
        backend.namespace(),
        "input",
        &[
            ("untracked", "udp dport 5353 ct state untracked"),
            ("tracked", "udp dport 5353 ct state != untracked"),
        ],
    )?;
    assert_eq!(
        answered(&hosts.between("frontend", "backend")?),
        ["tcp 22", "udp 5353"].into()
    );
    assert_eq!(
        answered(&hosts.between("database", "backend")?),
        ["tcp 22"].into()
    );
    assert_eq!((witness.seen("untracked")?, witness.seen("tracked")?), (2, 0));
    let counters = backend.counters()?;
    for direction in ["ingress", "egress"] {
        let counter = counters.rule("enforced", direction, "case", 0)?;
        assert_eq!((counter.packets_total, counter.stage.as_str()), (2, "untracked"));
    }

    // Without the way back the answer belongs to no connection that anybody knows.
    let half = untracked("Ingress", &format!("ingress: [{IN}]"));
    backend.apply("20-case.yaml", &policy("case", &half))?;
    assert_eq!(
        answered(&hosts.between("frontend", "backend")?),
        ["tcp 22"].into()
    );
    assert_eq!(
        (witness.seen("untracked")?, witness.seen("tracked")?),
        (2, 0),
        "it arrived"
    );
    assert_eq!(
        backend
            .counters()?
            .rule("enforced", "ingress", "case", 0)?
            .packets_total,
        4
    );
    Ok(())
}

#[test]
fn what_it_denies_no_later_policy_allows_and_failsafes_hold() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource(
            "10-open.yaml",
            policy(
                "open",
                "order: 1, ingress: [{action: Allow}], egress: [{action: Allow}]",
            ),
        );
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let _names = UdpServer::start(hosts.host("frontend").namespace(), "names", &[53])?;
    let to_ssh = hosts
        .host("backend")
        .sockets(22)
        .next()
        .expect("it has an address");
    let session = Connection::open(hosts.host("frontend").namespace(), to_ssh)?;
    let mut session = session.expect("a connection");

    let deny = "{action: Deny, source: {selector: app == 'frontend'}}";
    backend.apply(
        "20-case.yaml",
        &policy("case", &untracked("Ingress", &format!("ingress: [{deny}]"))),
    )?;
    assert_eq!(
        answered(&hosts.between("frontend", "backend")?),
        ["tcp 22"].into()
    );
    assert!(denied(&hosts.between("database", "backend")?).is_empty());
    let counter = backend
        .counters()?
        .rule("enforced", "ingress", "case", 0)?
        .clone();
    assert_eq!(
        (counter.packets_total, counter.stage.as_str()),
        (2 * DENIED_PORTS.len() as u64, "untracked")
    );

    // Both ways: SSH goes on, and so do the questions that failsafes let out, answers included.
    let all = untracked(
        "Ingress, Egress",
        "ingress: [{action: Deny}], egress: [{action: Deny}]",
    );
    backend.apply("20-case.yaml", &policy("case", &all))?;
    assert_eq!(
        answered(&hosts.between("frontend", "backend")?),
        ["tcp 22"].into()
    );
    assert_eq!(answered(&hosts.between("backend", "database")?), [].into());
    assert_eq!(
        session.exchange("still there?", Duration::from_secs(5))?,
        Outcome::Answered("still there?".to_owned())
    );
    for to in hosts.host("frontend").sockets(53) {
        let outcome = Probe::udp(hosts.host("backend").namespace(), to).run()?;
        assert_eq!(outcome, Outcome::Answered("names:53".to_owned()), "{to}");
    }
    Ok(())
}

#[test]
fn staged_it_counts_and_leaves_everything_tracked() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let rules = format!("ingress: [{IN}, {{action: Deny, protocol: TCP}}], egress: [{OUT}]");
    let staged = global(
        "StagedGlobalNetworkPolicy",
        "case",
        &untracked("Ingress, Egress", &rules),
    );
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-case.yaml", staged);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let witness = Witness::new(
        backend.namespace(),
        "input",
        &[("untracked", "ct state untracked meta l4proto udp")],
    )?;
    let matrix = hosts.between("frontend", "backend")?;
    assert!(denied(&matrix).is_empty(), "{matrix:#?}");
    assert_eq!(witness.seen("untracked")?, 0);
    let counters = backend.counters()?;
    let counted =
        |direction, index| anyhow::Ok(counters.rule("pending", direction, "case", index)?.packets_total);
    assert_eq!(counted("ingress", 0)?, 2);
    // Every packet of a connection comes by here, not only the first.
    assert!(counted("ingress", 1)? > 4, "{counters:#?}");
    assert_eq!(counted("egress", 0)?, 2);
    Ok(())
}

/// Through a host too: what is allowed early is not asked again, and what is not goes on to the others.
#[test]
fn what_goes_through_a_host_may_go_untracked() -> anyhow::Result<()> {
    let place = Site::new()?;
    let router = |interface: &str, side: &str, addresses: &[&str]| {
        host_endpoint("router", interface, &format!("side: {side}"), addresses, ALLOW)
    };
    let both_ways = "{action: Allow, protocol: UDP, source: {selector: role == 'stranger'}}";
    let back = "{action: Allow, protocol: UDP, source: {ports: [5353]}}";
    let untracked = |name: &str, side: &str, rule: &str| {
        let spec = format!(
            "selector: side == '{side}', applyOnForward: true, doNotTrack: true, types: [Ingress], ingress: [{rule}]"
        );
        policy(name, &spec)
    };
    let resources = [
        router("eth0", "outer", &["10.42.0.1", "fd00:42::1"]),
        router("web", "inner", &["10.44.1.1", "fd00:44:1::1"]),
        neighbours(),
        untracked("there", "outer", both_ways),
        untracked("back", "inner", back),
        policy(
            "closed",
            "selector: has(side), applyOnForward: true, types: [Ingress], order: 10",
        ),
    ];
    let setup = Setup::new("router").resource("site.yaml", resources.concat());
    let daemon = Daemon::start(place.router(), &setup)?;
    let marks = Marks::watch(&daemon)?;
    let asks = [
        ("stranger", "web", "udp 5353"),
        ("friend", "web", "udp 5353"),
        ("stranger", "web", "tcp 8080"),
        ("stranger", "router", "udp 5353"),
        ("friend", "router", "tcp 22"),
    ];
    assert_eq!(place.answered(&asks)?, [asks[0], asks[3], asks[4]].into());
    assert_eq!(marks.seen()?, 0);
    let counters = daemon.counters()?;
    assert_eq!(counters.rule("enforced", "ingress", "there", 0)?.packets_total, 4);
    assert_eq!(counters.rule("enforced", "ingress", "back", 0)?.packets_total, 2);
    Ok(())
}

/// A server of names on a host may go untracked, and what its workloads ask is tracked all the same, of it and of others:
/// their answers need no policy, and their addresses can be translated.
#[test]
fn what_workloads_ask_is_tracked_whatever_their_host_does_not_track() -> anyhow::Result<()> {
    let place = Site::new()?;
    let wildcard = site().replace(
        "interfaceName: 'eth0', expectedIPs: ['10.42.0.1'",
        "interfaceName: '*', expectedIPs: ['10.42.0.1'",
    );
    let untracked = policy(
        "names",
        "selector: role == 'router', applyOnForward: true, doNotTrack: true, \
         ingress: [{action: Allow, protocol: UDP, destination: {ports: [5353]}}], \
         egress: [{action: Allow, protocol: UDP, source: {ports: [5353]}}]",
    );
    let closed = policy(
        "closed",
        "selector: app == 'web', types: [Ingress, Egress], egress: [{action: Allow}]",
    );
    let setup = Setup::new("router").resource("site.yaml", [wildcard, untracked, closed].concat());
    let daemon = Daemon::start(place.router(), &setup)?;
    let marks = Marks::watch(&daemon)?;
    let counted = [("untracked", "udp dport 5353 ct state untracked")];
    let to_router = Witness::new(daemon.namespace(), "input", &counted)?;
    let through_router = Witness::new(daemon.namespace(), "forward", &counted)?;
    let asks = [
        ("web", "router", "udp 5353"),
        ("web", "api", "udp 5353"),
        ("web", "stranger", "udp 5353"),
    ];
    assert_eq!(place.answered(&asks)?, asks.into());
    assert_eq!(
        (to_router.seen("untracked")?, through_router.seen("untracked")?),
        (0, 0)
    );
    let outside = [("stranger", "router", "udp 5353")];
    assert_eq!(place.answered(&outside)?, outside.into());
    assert_eq!(to_router.seen("untracked")?, 2);
    assert_eq!(marks.seen()?, 0);
    let counters = daemon.counters()?;
    for direction in ["ingress", "egress"] {
        let counter = counters.rule("enforced", direction, "names", 0)?;
        assert_eq!(counter.packets_total, 2, "{direction}");
    }
    Ok(())
}
