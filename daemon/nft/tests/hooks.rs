//! Base chains side by side, chains that they share, and the statements and sets that they need, with real packets.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use common::{
    at, base_chain, chain, counting, in_namespace, jump, listed_chains, listing, loopback, loopback_up, name,
    open, packets, rule, ruleset_of, set,
};
use palisade_nft::diff;
use palisade_rules::net::{Family, Protocol};
use palisade_rules::ruleset::{CtState, Elements, HookPoint, Match, Op, Rule, Ruleset, Side, Statement};

fn expected<const N: usize>(counters: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counters.map(|(name, packets)| (name.to_owned(), packets)).into()
}

/// Sends one datagram to this port of the loopback address of a family.
fn send(family: Family, port: u16) {
    let host = loopback(family);
    let socket = UdpSocket::bind((host, 0)).unwrap();
    socket.send_to(b"x", (host, port)).unwrap();
}

#[test]
fn base_chains_on_one_hook_run_by_priority_and_list_in_order() {
    in_namespace(|| {
        loopback_up();
        let mut kernel = open();
        let input = |priority, label: &str| {
            let mut rules = vec![counting(label, vec![])];
            if priority == 0 {
                rules.push(rule(vec![Statement::Drop]));
            }
            at(HookPoint::Input, priority, label, rules)
        };
        let desired = ruleset_of(vec![
            at(HookPoint::Prerouting, -300, "raw", vec![counting("raw", vec![])]),
            at(
                HookPoint::Prerouting,
                -150,
                "mangle",
                vec![counting("mangle", vec![])],
            ),
            input(1, "after"),
            input(-1, "before"),
            input(0, "filter"),
        ]);
        kernel.replace(&desired, &mut ()).unwrap();
        assert_eq!(listed_chains(), ["raw", "mangle", "after", "before", "filter"]);
        send(Family::V4, 9);
        assert_eq!(
            packets(&mut kernel),
            expected([
                ("after", 0),
                ("before", 1),
                ("filter", 1),
                ("mangle", 1),
                ("raw", 1)
            ])
        );

        // A base chain between the others comes and goes, and they stay.
        let mut more = desired.clone();
        more.chains
            .insert(3, at(HookPoint::Input, 1, "after-too", vec![]));
        let words = |desired: &Ruleset| -> Vec<String> {
            let table = open().dump().unwrap();
            let operations = diff(desired, table.as_ref(), &());
            operations.operations().iter().map(ToString::to_string).collect()
        };
        assert_eq!(words(&more), ["creating base chain after-too"]);
        kernel.replace(&more, &mut ()).unwrap();
        kernel.verify(&more).unwrap();
        assert_eq!(words(&desired), ["deleting chain after-too"]);
        kernel.replace(&desired, &mut ()).unwrap();
        assert_eq!(packets(&mut kernel)["raw"], 1, "the counters stay");
    });
}

#[test]
fn one_chain_serves_every_hook() {
    in_namespace(|| {
        loopback_up();
        let bases = [
            (HookPoint::Prerouting, -300),
            (HookPoint::Prerouting, -150),
            (HookPoint::Input, 0),
            (HookPoint::Forward, 0),
            (HookPoint::Output, -300),
            (HookPoint::Output, 0),
        ]
        .map(|(point, priority)| {
            at(
                point,
                priority,
                &format!("{point:?}{priority}"),
                vec![jump("shared")],
            )
        });
        let shared = chain("shared", vec![rule(vec![Statement::Goto(name("deeper"))])]);
        let mut deeper = chain("deeper", vec![counting("seen", vec![])]);
        // The kernel takes these wherever they are reached from.
        Arc::make_mut(&mut deeper).rules.push(Rule {
            matches: vec![Match::OutputInterface(Op::Is, "none".to_owned())],
            statements: vec![Statement::Notrack, Statement::Reject],
            ..Rule::default()
        });
        let desired = ruleset_of([&bases[..], &[shared, deeper]].concat());
        let mut kernel = open();
        kernel.replace(&desired, &mut ()).unwrap();
        kernel.verify(&desired).unwrap();
        send(Family::V4, 9);
        // The datagram at every hook but forward, and the ICMP error that answers it.
        assert_eq!(packets(&mut kernel), expected([("seen", 10)]));
    });
}

#[test]
fn a_socket_match_is_refused_where_packets_are_forwarded() {
    in_namespace(|| {
        let cgroup = Rule {
            matches: vec![Match::SocketCgroup {
                level: 1,
                id: 4711,
                path: "gone".to_owned(),
            }],
            statements: vec![Statement::Accept],
            ..Rule::default()
        };
        let reached_from = |point| {
            ruleset_of(vec![
                base_chain("base", point, vec![jump("services")]),
                chain("services", vec![cgroup.clone()]),
            ])
        };
        let mut kernel = open();
        for point in [HookPoint::Prerouting, HookPoint::Input, HookPoint::Output] {
            kernel.replace(&reached_from(point), &mut ()).unwrap();
            kernel.verify(&reached_from(point)).unwrap();
        }
        // A cgroup that is gone is shown by its number.
        assert!(
            listing().contains("socket cgroupv2 level 1 4711 accept"),
            "{}",
            listing()
        );
        let answer = kernel
            .replace(&reached_from(HookPoint::Forward), &mut ())
            .unwrap_err();
        assert!(answer.to_string().contains("not supported"), "{answer}");
        kernel.verify(&reached_from(HookPoint::Output)).unwrap();
    });
}

#[test]
fn gotos_count_towards_the_depth() {
    in_namespace(|| {
        let nested = |depth: usize| {
            let mut chains = vec![base_chain("input", HookPoint::Input, vec![jump("c1")])];
            for level in 1..depth {
                let next = Statement::Goto(name(&format!("c{}", level + 1)));
                chains.push(chain(&format!("c{level}"), vec![rule(vec![next])]));
            }
            chains.push(chain(&format!("c{depth}"), vec![rule(vec![Statement::Accept])]));
            ruleset_of(chains)
        };
        let mut kernel = open();
        kernel.replace(&nested(15), &mut ()).unwrap();
        let answer = kernel.replace(&nested(16), &mut ()).unwrap_err().to_string();
        assert!(answer.contains("Too many links"), "{answer}");
    });
}

#[test]
fn conntrack_does_not_see_what_notrack_takes_out_before_it() {
    in_namespace(|| {
        loopback_up();
        let untracked = |priority, families: &[Family]| {
            let notrack = families.iter().map(|&family| Rule {
                matches: vec![Match::Family(family)],
                statements: vec![Statement::Notrack],
                ..Rule::default()
            });
            ruleset_of(vec![
                at(HookPoint::Output, priority, "raw", notrack.collect()),
                base_chain(
                    "input",
                    HookPoint::Input,
                    vec![
                        counting("untracked", vec![Match::CtState(&[CtState::Untracked])]),
                        counting("new", vec![Match::CtState(&[CtState::New])]),
                        rule(vec![Statement::Drop]),
                    ],
                ),
            ])
        };
        let mut kernel = open();
        kernel.replace(&untracked(-300, &[Family::V6]), &mut ()).unwrap();
        send(Family::V4, 9);
        assert_eq!(packets(&mut kernel), expected([("new", 1), ("untracked", 0)]));
        send(Family::V6, 9);
        assert_eq!(packets(&mut kernel), expected([("new", 1), ("untracked", 1)]));
        // Behind conntrack it is too late.
        kernel.replace(&untracked(0, &Family::BOTH), &mut ()).unwrap();
        send(Family::V4, 9);
        assert_eq!(packets(&mut kernel), expected([("new", 2), ("untracked", 1)]));
    });
}

#[test]
fn a_limit_ends_the_rule_for_what_is_too_much() {
    in_namespace(|| {
        loopback_up();
        let limited = Rule {
            statements: vec![
                Statement::Counter(name("all")),
                Statement::Limit {
                    per_second: 1,
                    burst: 7,
                },
                Statement::Counter(name("few")),
            ],
            ..Rule::default()
        };
        let desired = ruleset_of(vec![base_chain(
            "input",
            HookPoint::Input,
            vec![limited, rule(vec![Statement::Drop])],
        )]);
        let mut kernel = open();
        kernel.replace(&desired, &mut ()).unwrap();
        for _ in 0..100 {
            send(Family::V4, 9);
        }
        let seen = packets(&mut kernel);
        assert_eq!(seen["all"], 100);
        assert!((7..20).contains(&seen["few"]), "{seen:?}");
        // What the bucket holds is no part of the comparison.
        kernel.verify(&desired).unwrap();
    });
}

type NamedPorts = (Vec<(Ipv4Addr, Protocol, u16)>, Vec<(Ipv6Addr, Protocol, u16)>);

fn named_ports((v4, v6): NamedPorts) -> Ruleset {
    let rules = [Side::Source, Side::Destination].into_iter().flat_map(|side| {
        Family::BOTH.into_iter().flat_map(move |family| {
            let set = match family {
                Family::V4 => "named4",
                Family::V6 => "named6",
            };
            [(Op::Is, "in"), (Op::IsNot, "not in")].map(|(op, word)| {
                counting(
                    &format!("{family} {side:?} {word}"),
                    vec![
                        Match::Family(family),
                        Match::NamedPortSet(side, op, family, name(set)),
                    ],
                )
            })
        })
    });
    let mut desired = ruleset_of(vec![base_chain("input", HookPoint::Input, rules.collect())]);
    desired
        .sets
        .insert(name("named4"), set(Elements::Ipv4NamedPorts(v4)));
    desired
        .sets
        .insert(name("named6"), set(Elements::Ipv6NamedPorts(v6)));
    desired
}

#[test]
fn named_ports_match_address_protocol_and_port_together() {
    in_namespace(|| {
        loopback_up();
        let sockets = [Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::LOCALHOST)].map(|host| {
            let tcp = TcpListener::bind((host, 0)).unwrap();
            let udp = UdpSocket::bind((host, 0)).unwrap();
            (tcp, udp)
        });
        let port = |address: SocketAddr| address.port();
        let udp_ports = sockets.each_ref().map(|(_, udp)| port(udp.local_addr().unwrap()));
        let tcp_ports = sockets.each_ref().map(|(tcp, _)| port(tcp.local_addr().unwrap()));
        let desired = named_ports((
            vec![
                (Ipv4Addr::LOCALHOST, Protocol::UDP, udp_ports[0]),
                (Ipv4Addr::LOCALHOST, Protocol::UDP, tcp_ports[0]),
                (Ipv4Addr::BROADCAST, Protocol::TCP, tcp_ports[0]),
            ],
            vec![
                (Ipv6Addr::LOCALHOST, Protocol::TCP, tcp_ports[1]),
                (Ipv6Addr::UNSPECIFIED, Protocol::UDP, udp_ports[1]),
            ],
        ));
        let mut kernel = open();
        kernel.replace(&desired, &mut ()).unwrap();
        kernel.verify(&desired).unwrap();

        // Towards the set: the datagram is in it.
        send(Family::V4, udp_ports[0]);
        let seen = packets(&mut kernel);
        assert_eq!(
            (seen["IPv4_Destination_in"], seen["IPv4_Destination_not_in"]),
            (1, 0)
        );
        assert_eq!((seen["IPv4_Source_in"], seen["IPv4_Source_not_in"]), (0, 1));
        // From the set.
        let (_, udp) = &sockets[0];
        udp.send_to(b"x", (Ipv4Addr::LOCALHOST, 9)).unwrap();
        assert_eq!(packets(&mut kernel)["IPv4_Source_in"], 1);
        // The same port with another protocol, or another address, is not in it.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, tcp_ports[0])).unwrap());
        send(Family::V6, udp_ports[1]);
        let seen = packets(&mut kernel);
        assert_eq!(seen["IPv4_Destination_in"], 1);
        assert_eq!(seen["IPv6_Destination_in"], 0);
        assert!(seen["IPv4_Destination_not_in"] >= 3 && seen["IPv6_Destination_not_in"] >= 1);
        drop(TcpStream::connect((Ipv6Addr::LOCALHOST, tcp_ports[1])).unwrap());
        let seen = packets(&mut kernel);
        assert!(seen["IPv6_Destination_in"] >= 2, "{seen:?}");
        assert!(seen["IPv6_Source_in"] >= 1, "{seen:?}");
    });
}

#[test]
fn named_ports_change_by_elements() {
    in_namespace(|| {
        let mut kernel = open();
        let v4 = |last: u8, port| (Ipv4Addr::new(10, 0, 0, last), Protocol::TCP, port);
        let v6 = |last: u128, port| (Ipv6Addr::from_bits(last), Protocol::UDP, port);
        let before = named_ports((vec![v4(1, 80), v4(2, 80)], vec![]));
        kernel.replace(&before, &mut ()).unwrap();
        let after = named_ports((
            vec![v4(1, 80), v4(2, 443), v4(3, 80)],
            (0..5_000).map(|last| v6(last, 53)).collect(),
        ));
        let table = kernel.dump().unwrap();
        let plan: Vec<String> = diff(&after, table.as_ref(), &())
            .operations()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            plan,
            [
                "deleting 1 elements of set named4",
                "adding 2 elements to set named4",
                "adding 5000 elements to set named6",
            ]
        );
        kernel.replace(&after, &mut ()).unwrap();
        kernel.verify(&after).unwrap();
        assert!(listing().contains("10.0.0.2 . tcp . 443"));
        assert_eq!(listing(), after.to_string(), "the pure text is what nft lists");
        kernel.replace(&before, &mut ()).unwrap();
        kernel.verify(&before).unwrap();
    });
}
