//! What nft 1.0.6 lists was taken from it, on Debian 12.

use ipnet::{Ipv4Net, Ipv6Net};

use std::sync::Arc;

use super::*;
use crate::net::PortRange;
use crate::ruleset::Log;

fn name(text: &str) -> Name {
    Name::new(text)
}

fn set(elements: Elements, comment: &str) -> Set {
    Set {
        elements,
        comment: Comment::new(comment),
    }
}

fn address(side: Side, op: Op, net: &str) -> Match {
    Match::Address(side, op, net.parse().unwrap())
}

fn port(side: Side, op: Op, first: u16, last: u16) -> Match {
    Match::Port(side, op, PortRange { first, last })
}

fn mark(mask: u32, op: Op, value: u32) -> Match {
    Match::Mark { mask, op, value }
}

/// The text of a rule that only compares.
fn matches(matches: Vec<Match>) -> String {
    Rule {
        matches,
        ..Rule::default()
    }
    .to_string()
}

#[test]
fn a_table_reads_as_nft_lists_it() {
    let mut ruleset = Ruleset::default();
    ruleset
        .counters
        .insert(name("in/web/0"), Comment::new("web rule 0"));
    ruleset.counters.insert(name("in/end"), Comment::default());
    ruleset.sets.insert(
        name("clients"),
        Arc::new(set(
            Elements::Ipv4Addresses(vec!["10.0.0.1".parse().unwrap()]),
            "app == 'web'",
        )),
    );
    ruleset.chains = vec![
        Arc::new(Chain {
            name: name("input"),
            hook: Some(Hook {
                point: HookPoint::Input,
                priority: 0,
            }),
            comment: Comment::new("packets to this host"),
            rules: vec![
                Rule {
                    matches: vec![Match::CtState(&[CtState::Established, CtState::Related])],
                    statements: vec![Statement::Accept],
                    comment: Comment::new("known connections"),
                },
                Rule {
                    statements: vec![Statement::Goto(name("in/web"))],
                    ..Rule::default()
                },
            ],
        }),
        Arc::new(Chain {
            name: name("in/web"),
            hook: None,
            comment: Comment::default(),
            rules: vec![Rule {
                matches: vec![
                    Match::Family(Family::V4),
                    Match::Protocol(Op::Is, Protocol::TCP),
                    port(Side::Destination, Op::Is, 80, 80),
                    Match::AddressSet(Side::Source, Op::Is, Family::V4, name("clients")),
                ],
                statements: vec![
                    Statement::Counter(name("in/web/0")),
                    Statement::Log(Log {
                        prefix: "A0".to_owned(),
                        group: 7,
                        snaplen: 128,
                        queue_threshold: 64,
                    }),
                    Statement::Accept,
                ],
                comment: Comment::new("web rule 0"),
            }],
        }),
        Arc::new(Chain {
            name: name("empty"),
            hook: None,
            comment: Comment::default(),
            rules: vec![],
        }),
    ];
    assert_eq!(
        ruleset.to_string(),
        r#"table inet palisade {
	comment "made by palisaded from /etc/palisade; changes made here are undone"
	counter in/end {
		packets 0 bytes 0
	}

	counter in/web/0 {
		comment "web rule 0"
		packets 0 bytes 0
	}

	set clients {
		type ipv4_addr
		comment "app == 'web'"
		elements = { 10.0.0.1 }
	}

	chain input {
		comment "packets to this host"
		type filter hook input priority filter; policy accept;
		ct state established,related accept comment "known connections"
		goto in/web
	}

	chain in/web {
		tcp dport 80 ip saddr @clients counter name "in/web/0" log prefix "A0" group 7 snaplen 128 queue-threshold 64 accept comment "web rule 0"
	}

	chain empty {
	}
}
"#
    );
}

#[test]
fn an_empty_table_is_a_table() {
    assert_eq!(
        Ruleset::default().to_string(),
        format!("table inet palisade {{\n\tcomment \"{TABLE_COMMENT}\"\n}}\n")
    );
}

#[test]
fn elements_break_where_nft_breaks_them() {
    let mut ruleset = Ruleset::default();
    let v4 = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse::<Ipv4Net>().unwrap())
            .collect()
    };
    let v6 = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse::<Ipv6Net>().unwrap())
            .collect()
    };
    let range = |first, last| PortRange { first, last };
    let port = PortRange::one;
    for (key, elements) in [
        (
            "1",
            Elements::Ipv4Nets(v4(&["0.0.0.0/8", "10.0.0.0/23", "192.168.1.1/32"])),
        ),
        (
            "2",
            Elements::Ipv6Addresses(vec!["::1".parse().unwrap(), "::ffff:1.2.3.4".parse().unwrap()]),
        ),
        (
            "3",
            Elements::Ipv6Nets(v6(&["::/112", "::1:0/112", "::102:304/128", "fd00::/8"])),
        ),
        (
            "4",
            Elements::Ports(vec![
                range(0, 5),
                port(22),
                port(80),
                port(443),
                range(1000, 2000),
                port(65535),
            ]),
        ),
        ("5", Elements::Ipv4Addresses(vec![])),
        (
            "6",
            Elements::Ipv4NamedPorts(vec![
                ([9, 0, 0, 2].into(), Protocol::TCP, 80),
                ([10, 0, 0, 1].into(), Protocol::TCP, 80),
                ([10, 0, 0, 1].into(), Protocol::TCP, 443),
                ([10, 0, 0, 1].into(), Protocol::UDP, 80),
                ([10, 0, 0, 1].into(), Protocol::SCTP, 256),
            ]),
        ),
        (
            "7",
            Elements::Ipv6NamedPorts(vec![
                ("::1.2.3.4".parse().unwrap(), Protocol(250), 9),
                ("fd00::1".parse().unwrap(), Protocol::TCP, 8),
            ]),
        ),
        ("8", Elements::Ipv6NamedPorts(vec![])),
    ] {
        ruleset
            .sets
            .insert(name(&format!("s{key}")), Arc::new(set(elements, "")));
    }
    assert_eq!(
        ruleset.to_string(),
        r#"table inet palisade {
	comment "made by palisaded from /etc/palisade; changes made here are undone"
	set s1 {
		type ipv4_addr
		flags interval
		elements = { 0.0.0.0/8, 10.0.0.0/23,
			     192.168.1.1 }
	}

	set s2 {
		type ipv6_addr
		elements = { ::1,
			     ::ffff:1.2.3.4 }
	}

	set s3 {
		type ipv6_addr
		flags interval
		elements = { ::/112,
			     ::0.1.0.0/112,
			     ::1.2.3.4,
			     fd00::/8 }
	}

	set s4 {
		type inet_service
		flags interval
		elements = { 0-5, 22, 80, 443, 1000-2000,
			     65535 }
	}

	set s5 {
		type ipv4_addr
	}

	set s6 {
		type ipv4_addr . inet_proto . inet_service
		elements = { 10.0.0.1 . sctp . 256,
			     10.0.0.1 . tcp . 80,
			     9.0.0.2 . tcp . 80,
			     10.0.0.1 . udp . 80,
			     10.0.0.1 . tcp . 443 }
	}

	set s7 {
		type ipv6_addr . inet_proto . inet_service
		elements = { fd00::1 . tcp . 8,
			     ::1.2.3.4 . 250 . 9 }
	}

	set s8 {
		type ipv6_addr . inet_proto . inet_service
	}
}
"#
    );
}

#[test]
fn priorities_are_named_where_nft_names_them() {
    for (point, priority, expected) in [
        (HookPoint::Prerouting, -300, "hook prerouting priority raw"),
        (HookPoint::Prerouting, -310, "hook prerouting priority raw - 10"),
        (HookPoint::Prerouting, -311, "hook prerouting priority -311"),
        (HookPoint::Prerouting, -99, "hook prerouting priority dstnat + 1"),
        (HookPoint::Prerouting, -150, "hook prerouting priority mangle"),
        (HookPoint::Output, -300, "hook output priority raw"),
        (HookPoint::Input, -1, "hook input priority filter - 1"),
        (HookPoint::Input, -100, "hook input priority -100"),
        (HookPoint::Forward, -150, "hook forward priority mangle"),
        (HookPoint::Forward, -5, "hook forward priority filter - 5"),
        (HookPoint::Output, 11, "hook output priority 11"),
        (HookPoint::Output, 51, "hook output priority security + 1"),
    ] {
        let ruleset = Ruleset {
            chains: vec![Arc::new(Chain {
                name: name("base"),
                hook: Some(Hook { point, priority }),
                comment: Comment::default(),
                rules: vec![],
            })],
            ..Ruleset::default()
        };
        assert_eq!(
            ruleset.to_string(),
            format!(
                "table inet palisade {{\n\tcomment \"{TABLE_COMMENT}\"\n\tchain base {{\n\t\ttype filter {expected}; policy accept;\n\t}}\n}}\n"
            )
        );
    }
}

#[test]
fn implied_conditions_are_left_out() {
    use Op::{Is, IsNot};
    use Side::{Destination, Source};
    let (v4, v6) = (Match::Family(Family::V4), Match::Family(Family::V6));
    let protocol = |op, protocol| Match::Protocol(op, protocol);
    let named_port = |side, op, family| Match::NamedPortSet(side, op, family, name("named"));
    for (conditions, expected) in [
        (vec![v4.clone()], "meta nfproto ipv4"),
        (
            vec![v6.clone(), protocol(Is, Protocol::TCP)],
            "meta nfproto ipv6 meta l4proto tcp",
        ),
        (
            vec![
                v4.clone(),
                protocol(Is, Protocol::UDP),
                address(Source, IsNot, "10.1.0.0/16"),
                port(Destination, IsNot, 80, 90),
            ],
            "ip saddr != 10.1.0.0/16 udp dport != 80-90",
        ),
        (
            vec![
                v6.clone(),
                Match::AddressSet(Destination, IsNot, Family::V6, name("x")),
                address(Source, Is, "fd00::1/128"),
            ],
            "ip6 daddr != @x ip6 saddr fd00::1",
        ),
        (
            vec![v4.clone(), protocol(Is, Protocol::SCTP), port(Source, Is, 9, 9)],
            "meta nfproto ipv4 sctp sport 9",
        ),
        (
            vec![
                protocol(Is, Protocol::TCP),
                port(Source, Is, 1, 1),
                Match::PortSet(Destination, IsNot, name("ports")),
            ],
            "tcp sport 1 tcp dport != @ports",
        ),
        (
            vec![v4.clone(), named_port(Destination, IsNot, Family::V4)],
            "ip daddr . meta l4proto . th dport != @named",
        ),
        (
            vec![
                v6.clone(),
                protocol(Is, Protocol::TCP),
                named_port(Source, Is, Family::V6),
            ],
            "ip6 saddr . meta l4proto . tcp sport @named",
        ),
        (
            vec![
                v4.clone(),
                named_port(Source, Is, Family::V4),
                protocol(Is, Protocol::UDP),
            ],
            "ip saddr . meta l4proto . th sport @named meta l4proto udp",
        ),
        (vec![protocol(IsNot, Protocol::TCP)], "meta l4proto != tcp"),
        (
            vec![v4.clone(), protocol(IsNot, Protocol::ICMP)],
            "meta nfproto ipv4 meta l4proto != icmp",
        ),
        (
            vec![v4.clone(), protocol(Is, Protocol::ICMP)],
            "meta l4proto icmp",
        ),
        (
            vec![v6.clone(), protocol(Is, Protocol::ICMP)],
            "meta nfproto ipv6 meta l4proto icmp",
        ),
        (
            vec![
                v4.clone(),
                protocol(Is, Protocol::ICMP),
                Match::IcmpType(Family::V4, Is, 8, 8),
            ],
            "icmp type echo-request",
        ),
        (
            vec![
                v6.clone(),
                protocol(Is, Protocol::ICMPV6),
                Match::IcmpType(Family::V6, IsNot, 134, 136),
            ],
            "icmpv6 type != 134-136",
        ),
        (
            vec![
                v6,
                protocol(Is, Protocol::ICMPV6),
                Match::IcmpType(Family::V6, Is, 200, 200),
            ],
            "icmpv6 type 200",
        ),
        (
            vec![
                Match::Family(Family::V6),
                Match::IcmpType(Family::V6, Is, 143, 143),
            ],
            "icmpv6 type mld2-listener-report",
        ),
        (
            vec![
                v4.clone(),
                protocol(Is, Protocol::ICMP),
                Match::IcmpType(Family::V4, Is, 3, 3),
                Match::IcmpCode(Family::V4, IsNot, 13),
            ],
            "icmp type destination-unreachable icmp code != admin-prohibited",
        ),
        (vec![protocol(Is, Protocol::ICMPV6)], "meta l4proto ipv6-icmp"),
        (vec![protocol(Is, Protocol::UDPLITE)], "meta l4proto udplite"),
        (vec![protocol(Is, Protocol(47))], "meta l4proto gre"),
        (vec![protocol(Is, Protocol(200))], "meta l4proto 200"),
    ] {
        assert_eq!(matches(conditions), expected);
    }
}

#[test]
fn other_conditions() {
    use Op::{Is, IsNot};
    for (condition, expected) in [
        (Match::InputInterface(Is, "lo".to_owned()), "iifname \"lo\""),
        (
            Match::OutputInterface(IsNot, "eth0".to_owned()),
            "oifname != \"eth0\"",
        ),
        (Match::CtState(&[CtState::Invalid]), "ct state invalid"),
        (
            Match::CtState(&[CtState::New, CtState::Established]),
            "ct state established,new",
        ),
        (Match::CtState(&[CtState::Untracked]), "ct state untracked"),
        (
            mark(0x3000_0000, Is, 0x1000_0000),
            "meta mark & 0x30000000 == 0x10000000",
        ),
        (
            mark(0x1000_0000, IsNot, 0),
            "meta mark & 0x10000000 != 0x00000000",
        ),
        (mark(u32::MAX, Is, 5), "meta mark 0x00000005"),
        (mark(u32::MAX, IsNot, 5), "meta mark != 0x00000005"),
        (port(Side::Source, Is, 1, 2), "th sport 1-2"),
        (
            Match::SocketCgroup {
                level: 2,
                id: 4711,
                path: "system.slice/nginx.service".to_owned(),
            },
            "socket cgroupv2 level 2 \"system.slice/nginx.service\"",
        ),
    ] {
        assert_eq!(condition.to_string(), expected);
        assert_eq!(matches(vec![condition]), expected);
    }
}

#[test]
fn statements() {
    let log = |prefix: &str, snaplen, queue_threshold| {
        Statement::Log(Log {
            prefix: prefix.to_owned(),
            group: 0,
            snaplen,
            queue_threshold,
        })
    };
    let limit = |per_second, burst| Statement::Limit { per_second, burst };
    let set_mark = |mask, value| Statement::SetMark { mask, value };
    for (statement, expected) in [
        (Statement::Counter(name("a/b")), "counter name \"a/b\""),
        (log("", 0, 0), "log group 0"),
        (log("P x", 0, 1), "log prefix \"P x\" group 0 queue-threshold 1"),
        (
            set_mark(0x1000_0000, 0x1000_0000),
            "meta mark set meta mark | 0x10000000",
        ),
        (
            set_mark(0x3000_0000, 0x1000_0000),
            "meta mark set meta mark & 0xdfffffff | 0x10000000",
        ),
        (set_mark(0x3000_0000, 0), "meta mark set meta mark & 0xcfffffff"),
        (
            set_mark(u32::MAX, 5),
            "meta mark set meta mark & 0x00000005 | 0x00000005",
        ),
        (limit(10, 5), "limit rate 10/second"),
        (limit(60, 20), "limit rate 60/second burst 20 packets"),
        (Statement::Notrack, "notrack"),
        (Statement::Drop, "drop"),
        (Statement::Reject, "reject with icmpx admin-prohibited"),
        (Statement::RejectWithReset, "reject with tcp reset"),
        (Statement::Return, "return"),
        (Statement::Jump(name("c")), "jump c"),
    ] {
        assert_eq!(statement.to_string(), expected);
    }
}
