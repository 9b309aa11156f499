//! HostEndpoint: by name, by address and `*`; and loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use palisade::lab::Probe;
use palisade_integration::{Ask, Daemon, Setup, Site};

use crate::resources::{ALLOW, host_endpoint, neighbours, policy, resource};

const BY_ETH0: Ask<'_> = ("stranger", "router", "tcp 8080");
const BY_WEB: Ask<'_> = ("web", "router", "tcp 8080");
const BY_API: Ask<'_> = ("api", "router", "tcp 8080");
const OUT_BY_ETH0: Ask<'_> = ("router", "stranger", "tcp 8080");
const OUT_BY_WEB: Ask<'_> = ("router", "web", "tcp 8080");

const ALL: [Ask<'_>; 5] = [BY_ETH0, BY_WEB, BY_API, OUT_BY_ETH0, OUT_BY_WEB];

/// Endpoints of the router by their `spec`, each with a label `is` of its place among them, the endpoint that a policy
/// closes, and what that denies.
const CASES: [(&[&str], usize, &[Ask<'_>]); 5] = [
    // For every interface.
    (&["interfaceName: '*'"], 0, &ALL),
    // One that is named takes its interface away from it,
    (
        &["interfaceName: '*'", "interfaceName: eth0"],
        0,
        &[BY_WEB, BY_API, OUT_BY_WEB],
    ),
    // and the other way round.
    (
        &["interfaceName: '*'", "interfaceName: eth0"],
        1,
        &[BY_ETH0, OUT_BY_ETH0],
    ),
    // By its addresses: the interfaces that have one of them. What no endpoint has is free.
    (
        &["expectedIPs: ['10.44.1.1', 'fd00:44:2::1']"],
        0,
        &[BY_WEB, BY_API, OUT_BY_WEB],
    ),
    // Of two that claim one, the lower name has it.
    (
        &["interfaceName: web", "expectedIPs: ['10.44.1.1', '10.44.2.1']"],
        1,
        &[BY_API],
    ),
];

#[test]
fn an_endpoint_has_its_interfaces_and_no_others() -> anyhow::Result<()> {
    let place = Site::new()?;
    let setup = Setup::new("router").resource("neighbours.yaml", neighbours());
    let router = Daemon::start(place.router(), &setup)?;
    for (endpoints, closed, denied) in CASES {
        let endpoints: String = endpoints
            .iter()
            .enumerate()
            .map(|(number, spec)| {
                let metadata = format!("name: endpoint-{number}, labels: {{is: 'number-{number}'}}");
                resource(
                    "HostEndpoint",
                    &metadata,
                    &format!("node: router, {spec}, {ALLOW}"),
                )
            })
            .collect();
        let close = policy(
            "close",
            &format!("selector: is == 'number-{closed}', types: [Ingress, Egress]"),
        );
        router.apply("10-case.yaml", &[endpoints.as_str(), close.as_str()].concat())?;
        let expected = ALL.into_iter().filter(|ask| !denied.contains(ask)).collect();
        assert_eq!(place.answered(&ALL)?, expected, "{endpoints}{close}");
    }
    Ok(())
}

/// Loopback is no business of a policy unless the configuration says so.
#[test]
fn loopback_is_exempt_unless_filtered() -> anyhow::Result<()> {
    let place = Site::new()?;
    let setup = Setup::new("router")
        .resource(
            "router.yaml",
            host_endpoint("router", "*", "role: router", &["10.42.0.1"], ALLOW),
        )
        .resource(
            "close.yaml",
            policy("close", "selector: role == 'router', types: [Ingress, Egress]"),
        );
    for (filtered, config) in [
        (false, "safetyNet: false"),
        (true, "safetyNet: false\nfilterLoopback: true"),
    ] {
        let router = Daemon::start(place.router(), &setup.clone().config(config))?;
        let own = place.address("stranger", "router", 6);
        for ip in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
            [10, 44, 1, 1].into(),
            own,
        ] {
            let outcome = Probe::tcp(router.namespace(), SocketAddr::new(ip, 8080)).run()?;
            assert_eq!(outcome.is_answered(), !filtered, "{ip}: {outcome}");
        }
        router.terminate()?;
    }
    Ok(())
}
