//! Profile: rules for what no policy decides, and labels for the endpoints that name it.

use std::collections::BTreeSet;

use palisade_integration::{DENIED_PORTS, Daemon, ICMP, Setup, ThreeHosts};

use crate::answered;
use crate::resources::{host_endpoint, policy, resource};

/// Gives its endpoints a label, and decides a little.
const FIRST: &str = "labelsToApply: {zone: inner, app: overridden}, ingress: [{action: Deny, protocol: TCP, \
                     destination: {ports: [9090]}}, {action: Pass, protocol: UDP}, {action: Deny, protocol: UDP}], \
                     egress: [{action: Allow}]";

/// Asked where the first does not decide, and where it passes.
const SECOND: &str = "labelsToApply: {zone: outer}, ingress: [{action: Allow, source: {selector: app == 'frontend'}}], \
                      egress: [{action: Deny}]";

#[test]
fn profiles_decide_in_order_what_no_policy_does() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend").resource("hosts.yaml", endpoints("profiles: [first, second]"));
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let from_frontend = hosts.between("frontend", "backend")?;
    assert_eq!(
        answered(&from_frontend),
        ["tcp 22", "tcp 8080", "udp 5353", ICMP].into()
    );
    assert_eq!(
        answered(&hosts.between("database", "backend")?),
        ["tcp 22"].into()
    );
    // The first allows all egress; the second is not asked.
    assert_eq!(answered(&hosts.between("backend", "database")?).len(), 5);
    let counters = backend.counters()?;
    let of_rule =
        |direction, name, index| anyhow::Ok(counters.rule("enforced", direction, name, index)?.packets_total);
    // TCP 9090 from both; UDP from both; what the frontend has left; nothing.
    assert_eq!(of_rule("ingress", "first", 0)?, 4);
    assert_eq!(of_rule("ingress", "first", 1)?, 4);
    assert_eq!(of_rule("ingress", "first", 2)?, 0);
    assert_eq!(of_rule("ingress", "second", 0)?, 6);
    assert_eq!(of_rule("egress", "second", 0)?, 0);
    // The rest of what the database asks: TCP 8080, UDP and a ping.
    let none =
        counters.only(|row| row.kind == "Profile" && row.name.is_empty() && row.direction == "ingress")?;
    assert_eq!(none.packets_total, 6);

    // A policy comes before them, and where it governs they have no say but for what it passes on.
    let spec = "selector: zone == 'inner', types: [Ingress], ingress: [{action: Allow, protocol: TCP, destination: \
                {ports: [9090]}}, {action: Pass, protocol: UDP}]";
    backend.apply("10-policy.yaml", &policy("inner", spec))?;
    assert_eq!(
        answered(&hosts.between("frontend", "backend")?),
        ["tcp 22", "tcp 9090", "udp 5353"].into()
    );
    Ok(())
}

/// Its own labels win over those of profiles, and an earlier profile wins over a later one.
#[test]
fn labels_of_profiles_are_selected_by() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("frontend").resource("hosts.yaml", endpoints("profiles: [first, second]"));
    let frontend = Daemon::start(hosts.host("frontend"), &setup)?;
    for (selector, is_meant) in [
        ("zone == 'inner'", true),
        ("zone == 'outer'", false),
        ("app == 'backend'", true),
        ("app == 'overridden'", false),
    ] {
        let spec = format!(
            "selector: app == 'frontend', types: [Egress], egress: [{{action: Deny, destination: {{selector: {selector}}}}}, \
             {{action: Allow}}]"
        );
        frontend.apply("10-policy.yaml", &policy("egress", &spec))?;
        let expected: BTreeSet<&str> = if is_meant { BTreeSet::new() } else { everything() };
        assert_eq!(
            answered(&hosts.between("frontend", "backend")?),
            expected,
            "{selector}"
        );
        let counters = frontend.counters()?;
        let counted = counters.rule("enforced", "egress", "egress", 0)?.packets_total;
        assert_eq!(counted > 0, is_meant, "{selector}");
    }
    Ok(())
}

/// With a default deny, failsafes and nothing else; with the built-in one, everything.
#[test]
fn without_a_profile_a_host_is_closed() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend").resource("hosts.yaml", endpoints(""));
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    assert_eq!(
        answered(&hosts.between("frontend", "backend")?),
        ["tcp 22"].into()
    );
    assert_eq!(answered(&hosts.between("backend", "frontend")?), BTreeSet::new());
    backend.apply(
        "hosts.yaml",
        &endpoints("profiles: [projectcalico-default-allow]"),
    )?;
    assert_eq!(answered(&hosts.between("frontend", "backend")?), everything());
    assert_eq!(answered(&hosts.between("backend", "frontend")?), everything());
    let counters = backend.counters()?;
    let allowed =
        counters.only(|row| row.name == "projectcalico-default-allow" && row.direction == "ingress")?;
    assert_eq!(allowed.packets_total, 2 * DENIED_PORTS.len() as u64);
    Ok(())
}

fn everything() -> BTreeSet<&'static str> {
    DENIED_PORTS.into_iter().chain(["tcp 22"]).collect()
}

fn endpoints(profiles: &str) -> String {
    let open = "profiles: [projectcalico-default-allow]";
    [
        host_endpoint(
            "backend",
            "eth0",
            "app: backend",
            &["10.42.0.10", "fd00:42::10"],
            profiles,
        ),
        host_endpoint(
            "database",
            "eth0",
            "app: database",
            &["10.42.0.20", "fd00:42::20"],
            open,
        ),
        host_endpoint(
            "frontend",
            "eth0",
            "app: frontend",
            &["10.42.0.30", "fd00:42::30"],
            open,
        ),
        resource("Profile", "name: first", FIRST),
        resource("Profile", "name: second", SECOND),
    ]
    .concat()
}
