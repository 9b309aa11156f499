//! `denyAction: reject`: whoever is denied learns it at once, wherever that is.

use palisade::lab::Outcome;
use palisade_integration::{Ask, Daemon, Setup, Site};

use crate::resources::{policy, site};

const REJECT: &str = "safetyNet: false\ndenyAction: reject";

#[test]
fn a_denied_client_is_told_by_workloads_and_on_the_way_through() -> anyhow::Result<()> {
    let place = Site::new()?;
    let policies = [
        policy("web", "selector: app == 'web', types: [Ingress, Egress]"),
        policy(
            "through",
            "selector: role == 'router', applyOnForward: true, ingress: [{action: Deny, protocol: TCP, \
             destination: {ports: [9090]}}, {action: Allow}]",
        ),
        // Before conntrack there is no answering: this one drops.
        policy(
            "early",
            "selector: role == 'router', applyOnForward: true, preDNAT: true, ingress: [{action: Deny, protocol: TCP, \
             source: {selector: role == 'stranger'}, destination: {ports: [8080]}}]",
        ),
    ];
    let setup = Setup::new("router")
        .resource("site.yaml", site())
        .resource("policies.yaml", policies.concat())
        .config(REJECT);
    let _router = Daemon::start(place.router(), &setup)?;
    let cases: [(Ask<'_>, Outcome); 8] = [
        (("friend", "web", "tcp 8080"), Outcome::Refused),
        (("api", "web", "tcp 8080"), Outcome::Refused),
        (("router", "web", "tcp 8080"), Outcome::Refused),
        (("web", "router", "tcp 8080"), Outcome::Refused),
        (("friend", "api", "tcp 9090"), Outcome::Refused),
        (
            ("friend", "api", "udp 5353"),
            Outcome::Answered("api:5353".to_owned()),
        ),
        (("stranger", "api", "tcp 8080"), Outcome::TimedOut),
        (("friend", "web", "udp 5353"), Outcome::Unreachable),
    ];
    for (ask, expected) in cases {
        for version in [4, 6] {
            assert_eq!(
                place.probe(ask, version)?.run()?,
                expected,
                "{ask:?} over IPv{version}"
            );
        }
    }
    Ok(())
}
