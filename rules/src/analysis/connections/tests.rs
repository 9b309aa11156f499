//! Live connections on a host with everything that a connection can belong to.

use super::*;
use crate::testing::{NETWORK, labelled, policy, safety_net, service, snapshot, staged, workload};
use crate::world::{Host, resolve};

/// A host endpoint for what the others leave, a workload and a service, all of node `one`.
fn site(resources: &[String]) -> Worlds {
    let rest = labelled(
        "HostEndpoint",
        "rest",
        "role: rest",
        "node: one, interfaceName: '*', profiles: [projectcalico-default-allow]",
    );
    let pod = workload(
        "pod",
        "role: pod",
        "interfaceName: cali1, ipNetworks: [10.1.0.7/32], profiles: [projectcalico-default-allow]",
    );
    let unit = service("api", "role: api", "node: one, unit: api.service");
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let addresses = |texts: &[&str]| texts.iter().map(|text| address(text)).collect::<Vec<_>>();
    let host = Host {
        node: Some("one".to_owned()),
        interfaces: [
            ("lo".to_owned(), addresses(&["127.0.0.1", "::1"])),
            ("eth0".to_owned(), addresses(&["10.0.0.1", "fd00::1", "fe80::1"])),
            ("eth2".to_owned(), addresses(&["10.2.0.1"])),
        ]
        .into(),
        cgroups: [("system.slice/api.service".to_owned(), 7)].into(),
        ..Host::default()
    };
    resolve(
        &snapshot(&[NETWORK, &rest, &pod, &unit, &resources.concat()]),
        host,
    )
}

/// `tcp 10.0.0.2:5000 10.0.0.1:80`, and behind it `via 192.0.2.1:8080`, where it was sent to before translation.
fn tracked(text: &str) -> Tracked {
    let words: Vec<&str> = text.split(' ').collect();
    let end = |text: &str| match text.parse::<SocketAddr>() {
        Ok(end) => (end.ip(), end.port()),
        Err(_) => (text.parse().unwrap(), 0),
    };
    let ((source, source_port), (destination, destination_port)) = (end(words[1]), end(words[2]));
    let packet = Packet {
        source,
        destination,
        protocol: Protocol::parse(words[0]).unwrap(),
        source_port,
        destination_port,
        icmp_type: if words[0] == "icmp" { 8 } else { 0 },
        icmp_code: 0,
    };
    let (destination, destination_port) = words
        .get(4)
        .map_or((destination, destination_port), |text| end(text));
    Tracked {
        arriving: Packet {
            destination,
            destination_port,
            ..packet
        },
        packet,
        answered: true,
        expected: false,
        from_cgroup: None,
        to_cgroup: None,
    }
}

/// What promotion does to connections, a line for each group.
fn promote(worlds: &Worlds, connections: &[Tracked]) -> Vec<String> {
    let side = |world| Side { worlds, world };
    let swept = sweep(side(WorldKind::Enforced), side(WorldKind::Pending), connections);
    let affected: usize = swept.affected.iter().map(|group| group.connections).sum();
    assert_eq!(swept.exempt + swept.unaffected + affected, connections.len());
    let line = |group: &Affected| {
        format!(
            "{} {:?}: {} to {} {}{} by {} {}{}",
            group.connections,
            group.effect,
            group.from,
            group.to,
            group.protocol,
            group.port.map(|port| format!("/{port}")).unwrap_or_default(),
            group.because.endpoint,
            group.because.phrase(),
            if group.depends_on_interface {
                ", perhaps"
            } else {
                ""
            },
        )
    };
    swept.affected.iter().map(line).collect()
}

/// As [`promote`], for one connection; empty where nothing is done to it.
fn promote_one(worlds: &Worlds, connection: &str) -> String {
    promote(worlds, &[tracked(connection)]).join("; ")
}

fn deny(name: &str, selector: &str, types: &str) -> String {
    staged(name, &format!("selector: {selector}, types: [{types}]"))
}

#[test]
fn who_has_the_destination_decides_about_what_comes_in() {
    let web = site(&[deny("p", "role == 'web'", "Ingress")]);
    for (connection, from) in [
        ("tcp 10.0.0.2:5000 10.0.0.1:80", "db"),
        ("tcp [fd00::2]:5000 [fd00::1]:80", "db"),
        ("udp 198.51.100.7:5000 10.0.0.1:53", "public"),
        ("tcp 10.9.1.1:5000 10.0.0.1:443", "lan"),
        ("icmp 192.168.1.1 10.0.0.1", "private"),
    ] {
        let said = promote_one(&web, connection);
        assert!(
            said.starts_with(&format!("1 Denied: {from} to web ")),
            "{connection}: {said}"
        );
    }
    for other in [
        "tcp 10.0.0.1:5000 10.0.0.2:80",
        "tcp 10.0.0.2:5000 10.2.0.1:80",
        "tcp 10.0.0.2:9 10.1.0.7:80",
    ] {
        assert_eq!(promote_one(&web, other), "", "{other}");
    }
    // A link-local address says nothing of who a host is, but its interface does.
    assert_eq!(
        promote_one(&web, "tcp [fe80::9]:5000 [fe80::1]:80"),
        "1 Denied: private to web tcp/80 by web p (end of tier default)"
    );
    let rest = site(&[deny("p", "role == 'rest'", "Ingress")]);
    assert_eq!(
        promote_one(&rest, "tcp 10.0.0.2:5000 10.2.0.1:80"),
        "1 Denied: db to rest tcp/80 by rest p (end of tier default)"
    );
}

#[test]
fn who_has_the_source_decides_about_what_goes_out() {
    let worlds = site(&[deny("p", "has(role)", "Egress")]);
    assert_eq!(
        promote_one(&worlds, "tcp 10.0.0.1:5000 10.0.0.2:5432"),
        "1 Denied: web to db tcp/5432 by web p (end of tier default)"
    );
    // Its own host decides about a connection from elsewhere, if it is there that it is to be decided.
    assert_eq!(promote_one(&worlds, "tcp 10.0.0.2:5000 10.0.0.1:80"), "");
    assert_eq!(
        promote_one(&worlds, "udp 10.0.0.1:5353 224.0.0.251:5353"),
        "1 Denied: web to public udp/5353 by web p (end of tier default)"
    );
}

#[test]
fn loopback_and_what_is_expected_are_exempt() {
    let worlds = site(&[deny("p", "all()", "Ingress, Egress")]);
    let mut expected = tracked("tcp 10.0.0.2:20 10.0.0.1:4000");
    expected.expected = true;
    let own = [
        tracked("tcp 127.0.0.1:5000 127.0.0.1:80"),
        tracked("tcp 127.0.0.1:5000 127.8.0.1:80"),
        tracked("tcp [::1]:5000 [::1]:80"),
        tracked("tcp 10.0.0.1:5000 10.2.0.1:80"),
        expected,
    ];
    let side = |world| Side {
        worlds: &worlds,
        world,
    };
    let swept = sweep(side(WorldKind::Enforced), side(WorldKind::Pending), &own);
    assert_eq!((swept.exempt, swept.connections), (5, 5), "{swept:?}");
}

#[test]
fn a_workload_decides_about_its_own_and_its_host_about_what_it_forwards() {
    let pod = site(&[deny("p", "role == 'pod'", "Ingress, Egress")]);
    let by_pod = |direction: &str| format!("{direction} by red/one-cni-pod-e p (end of tier default)");
    assert_eq!(
        promote_one(&pod, "tcp 10.0.0.2:5000 10.1.0.7:80"),
        by_pod("1 Denied: db to red/one-cni-pod-e tcp/80")
    );
    assert_eq!(
        promote_one(&pod, "tcp 10.1.0.7:5000 10.0.0.2:5432"),
        by_pod("1 Denied: red/one-cni-pod-e to db tcp/5432")
    );
    // Between neither: by which interface it comes is not known, and only one of them has something against it.
    let forward = site(&[staged(
        "p",
        "selector: role == 'web', applyOnForward: true, types: [Ingress], ingress: [{action: Deny}]",
    )]);
    assert_eq!(
        promote_one(&forward, "tcp 10.0.0.2:5000 198.51.100.7:443"),
        "1 Denied: db to public tcp/443 by web p (ingress rule 0), perhaps"
    );
}

#[test]
fn a_service_is_known_by_the_cgroup_of_its_socket() {
    let worlds = site(&[deny("p", "role == 'api'", "Ingress")]);
    let mut connection = tracked("tcp 10.0.0.2:5000 10.0.0.1:8080");
    assert_eq!(promote(&worlds, &[connection.clone()]), [] as [&str; 0]);
    connection.to_cgroup = Some("system.slice/api.service/worker".into());
    assert_eq!(
        promote(&worlds, &[connection.clone()]),
        ["1 Denied: db to api tcp/8080 by api p (end of tier default)"]
    );
    connection.to_cgroup = Some("system.slice/api.service.d".into());
    assert_eq!(promote(&worlds, &[connection]), [] as [&str; 0]);
}

#[test]
fn policies_see_the_destination_translated_and_early_ones_as_it_was() {
    let normal = site(&[staged(
        "p",
        "selector: role == 'web', types: [Ingress], ingress: [{action: Deny, protocol: TCP, destination: {ports: [8080]}}, {action: Allow}]",
    )]);
    let said = "1 Denied: db to web tcp/8080 by web p (ingress rule 0)";
    assert_eq!(
        promote_one(&normal, "tcp 10.0.0.2:5000 10.0.0.1:8080 via 10.2.0.1:80"),
        said
    );
    assert_eq!(
        promote_one(&normal, "tcp 10.0.0.2:5000 10.0.0.1:80 via 10.2.0.1:8080"),
        ""
    );
    let early = site(&[staged(
        "p",
        "selector: role == 'web', preDNAT: true, applyOnForward: true, types: [Ingress], ingress: [{action: Deny, protocol: TCP, destination: {ports: [80]}}]",
    )]);
    assert_eq!(
        promote_one(&early, "tcp 10.0.0.2:5000 10.0.0.1:8080 via 10.2.0.1:80"),
        "1 Denied: db to web tcp/8080 by web p (ingress rule 0)"
    );
    assert_eq!(
        promote_one(&early, "tcp 10.0.0.2:5000 10.0.0.1:80 via 10.2.0.1:8080"),
        ""
    );
    // A failsafe of the translated port comes too late for an early policy.
    assert_eq!(
        promote_one(&early, "tcp 10.0.0.2:5000 10.0.0.1:22 via 10.2.0.1:80"),
        "1 Denied: db to web tcp/22 by web p (ingress rule 0)"
    );
}

#[test]
fn every_effect_is_told_from_the_others() {
    let connection = "tcp 10.0.0.2:5000 10.0.0.1:80";
    let said = |resources: &[String]| {
        let said = promote_one(&site(resources), connection);
        let mut words = said.split([' ', ':']);
        words.nth(1).unwrap_or("-").to_owned()
    };
    let enforced = policy("p", "selector: role == 'web', types: [Ingress]");
    let lockdown = deny("p", "role == 'web'", "Ingress");
    let opening = staged(
        "p",
        "selector: role == 'web', types: [Ingress], ingress: [{action: Allow}]",
    );
    assert_eq!(said(&[]), "-");
    assert_eq!(said(&[safety_net()]), "-");
    assert_eq!(said(std::slice::from_ref(&lockdown)), "Denied");
    assert_eq!(said(&[lockdown, safety_net()]), "DeniedWithoutSafetyNet");
    assert_eq!(said(std::slice::from_ref(&enforced)), "AlreadyDenied");
    assert_eq!(
        said(&[enforced.clone(), safety_net()]),
        "AlreadyDeniedWithoutSafetyNet"
    );
    assert_eq!(said(&[enforced, opening]), "AllowedAgain");
}

#[test]
fn connections_that_are_alike_are_put_together() {
    let worlds = site(&[deny("p", "role == 'web'", "Ingress")]);
    let many: Vec<Tracked> = (0..200)
        .flat_map(|number| {
            [
                tracked(&format!(
                    "tcp 198.51.100.{number}:{} 10.0.0.1:80",
                    40_000 + number
                )),
                tracked(&format!("tcp 10.0.0.2:{} 10.0.0.1:80", 40_000 + number)),
            ]
        })
        .collect();
    assert_eq!(
        promote(&worlds, &many),
        [
            "200 Denied: public to web tcp/80 by web p (end of tier default)",
            "200 Denied: db to web tcp/80 by web p (end of tier default)",
        ]
    );
    // Unless a rule tells them apart.
    let worlds = site(&[staged(
        "p",
        "selector: role == 'web', types: [Ingress], ingress: [{action: Allow, protocol: TCP, source: {ports: ['40000:40009'], nets: [198.51.100.0/30]}}]",
    )]);
    let counts: Vec<_> = promote(&worlds, &many)
        .iter()
        .map(|line| line[..3].to_owned())
        .collect();
    assert_eq!(counts, ["200", "196"]);
}

#[test]
fn the_sweep_agrees_with_explain() {
    let resources = [
        policy(
            "a",
            "selector: role == 'web', order: 1, types: [Ingress, Egress], ingress: [{action: Allow, protocol: TCP, source: {selector: role == 'db'}}, {action: Pass, protocol: UDP}], egress: [{action: Allow}]",
        ),
        staged(
            "b",
            "selector: role == 'web', order: 2, types: [Ingress], ingress: [{action: Allow, protocol: UDP, source: {nets: [10.9.0.0/17]}}]",
        ),
        safety_net(),
    ];
    let worlds = site(&resources);
    // Of ends that are nobody's: `explain` asks the endpoints of other hosts as well.
    for from in ["10.9.0.1", "10.9.200.1", "192.0.2.1", "fd00::7", "fd09::1"] {
        for (protocol, port) in [("tcp", 80), ("udp", 53), ("tcp", 22)] {
            let from: IpAddr = from.parse().unwrap();
            let to: IpAddr = if from.is_ipv4() { "10.0.0.1" } else { "fd00::1" }
                .parse()
                .unwrap();
            let query = crate::analysis::Query {
                from: from.to_string(),
                to: to.to_string(),
                protocol: Protocol::parse(protocol).unwrap(),
                port: Some(port),
                source_port: None,
                icmp_type: None,
                icmp_code: None,
            };
            let answer = crate::analysis::explain(&worlds, &query).unwrap();
            let ends = [SocketAddr::new(from, 49_152), SocketAddr::new(to, port)];
            let connection = tracked(&format!("{protocol} {} {}", ends[0], ends[1]));
            for (world, answer) in [
                (WorldKind::Enforced, &answer.enforced),
                (WorldKind::Pending, &answer.pending),
            ] {
                let judge = Judge::new(Side {
                    worlds: &worlds,
                    world,
                });
                let bare = answer.without_safety_net.as_ref();
                let expected = Fate {
                    verdict: answer.verdict.clone(),
                    without_safety_net: bare.map_or(&answer.verdict, |bare| &bare.verdict).clone(),
                };
                let whole = judge.judge(worlds.world(world), &connection);
                assert_eq!(whole.fate(), expected, "{connection:?}");
                let side = Side {
                    worlds: &worlds,
                    world,
                };
                let left = Reduced::new([side, side], connection.packet.protocol, [port, port]);
                assert_eq!(judge.judge(&left.worlds[0], &connection), whole, "{connection:?}");
            }
        }
    }
}
