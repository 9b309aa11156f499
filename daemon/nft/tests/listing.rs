//! Every condition and statement of a ruleset, as the kernel holds it and nft lists it.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;

use common::{at, base_chain, chain, in_namespace, listing, name, nft, open, set};
use palisade_nft::diff;
use palisade_rules::net::{Family, PortRange, Protocol};
use palisade_rules::ruleset::{
    Comment, CtState, Elements, HookPoint, Log, Match, Op, Rule, Ruleset, Side, Statement,
};

const EXPECTED: &str = include_str!("listing.nft");

#[test]
fn everything_lists_as_nft_writes_it() {
    let listed = in_namespace(|| {
        let desired = everything();
        let mut kernel = open();
        assert!(kernel.dump().unwrap().is_none());
        let applied = kernel.replace(&desired, &mut ()).unwrap();
        assert!(applied.changes > 50);
        assert!(diff(&desired, kernel.dump().unwrap().as_ref(), &()).is_empty());
        kernel.verify(&desired).unwrap();
        assert_eq!(kernel.replace(&desired, &mut ()).unwrap().changes, 0);
        listing()
    });
    assert_eq!(listed, EXPECTED);
    assert_eq!(
        listed,
        everything().to_string(),
        "the pure text is what nft lists"
    );
    in_namespace(move || nft(&["-c", "-f", "-"], &listed).unwrap());
}

#[test]
fn what_nft_loads_of_a_listing_is_what_we_make() {
    in_namespace(|| {
        // nft's own /24 is the one form that differs: it loads three bytes where we mask four.
        common::load(&EXPECTED.replace("10.1.2.0/24", "10.1.2.0/23"));
        let mut desired = everything();
        for rule in desired
            .chains
            .iter_mut()
            .flat_map(|chain| &mut Arc::make_mut(chain).rules)
        {
            for condition in &mut rule.matches {
                if let Match::Address(_, _, net) = condition
                    && net.to_string() == "10.1.2.0/24"
                {
                    *net = "10.1.2.0/23".parse().unwrap();
                }
            }
        }
        let mut kernel = open();
        kernel.verify(&desired).unwrap();
    });
}

fn everything() -> Ruleset {
    let mut input = base_chain("input", HookPoint::Input, conditions());
    let to_host = Arc::make_mut(&mut input);
    to_host.comment = Comment::new("to this host");
    to_host.rules[0].comment = Comment::new("loopback");
    let prerouting = at(
        HookPoint::Prerouting,
        -300,
        "prerouting",
        vec![
            common::rule(vec![Statement::Notrack]),
            Rule {
                matches: vec![
                    Match::Protocol(Op::Is, Protocol::UDP),
                    Match::Port(Side::Destination, Op::Is, PortRange::one(53)),
                ],
                statements: vec![Statement::Notrack, Statement::Accept],
                ..Rule::default()
            },
        ],
    );
    let out_by_interface = [Op::Is, Op::IsNot].map(|op| Rule {
        matches: vec![Match::OutputInterface(op, "eth0".into())],
        statements: vec![Statement::Drop],
        ..Rule::default()
    });
    let mut tier = chain("tier/default", vec![]);
    Arc::make_mut(&mut tier).comment = Comment::new("tier default");

    let mut ruleset = Ruleset {
        chains: vec![
            prerouting,
            at(HookPoint::Prerouting, -150, "prerouting/mangle", vec![]),
            at(
                HookPoint::Output,
                -300,
                "output/raw",
                vec![common::rule(vec![Statement::Notrack])],
            ),
            at(HookPoint::Input, 1, "input/after", vec![]),
            at(HookPoint::Input, -1, "input/before", vec![]),
            at(HookPoint::Output, -1, "output/before", vec![]),
            at(HookPoint::Output, 0, "output/filter", vec![]),
            at(HookPoint::Output, 1, "output/after", vec![]),
            at(HookPoint::Forward, 0, "forward/filter", vec![]),
            at(HookPoint::Forward, 1, "forward/after", vec![]),
            input,
            at(HookPoint::Forward, 10, "forward", out_by_interface.to_vec()),
            at(HookPoint::Output, -150, "output", statements()),
            tier,
        ],
        ..Ruleset::default()
    };
    ruleset
        .counters
        .insert(name("accepted"), Comment::new("what passed"));
    let range = |first, last| PortRange { first, last };
    for (key, elements, comment) in [
        (
            "addresses4",
            Elements::Ipv4Addresses(vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()]),
            "databases",
        ),
        (
            "addresses6",
            Elements::Ipv6Addresses(vec!["fd00::1".parse().unwrap()]),
            "",
        ),
        (
            "nets4",
            Elements::Ipv4Nets(
                ["0.0.0.0/8", "10.0.0.0/24", "10.0.1.0/25", "255.255.255.255/32"]
                    .map(|net| net.parse().unwrap())
                    .to_vec(),
            ),
            "the office",
        ),
        (
            "nets6",
            Elements::Ipv6Nets(vec!["fd00::/64".parse().unwrap(), "ff00::/8".parse().unwrap()]),
            "",
        ),
        (
            "named4",
            Elements::Ipv4NamedPorts(named(&[
                ("9.0.0.3", Protocol::TCP, 80),
                ("9.0.0.3", Protocol::SCTP, 1),
                ("10.0.0.1", Protocol::TCP, 1),
                ("10.0.0.1", Protocol::TCP, 80),
                ("10.0.0.1", Protocol::TCP, 256),
                ("10.0.0.1", Protocol::UDP, 53),
                ("10.0.0.1", Protocol(250), 65535),
                ("10.0.0.2", Protocol::TCP, 80),
                ("10.0.0.2", Protocol::UDP, 1),
            ])),
            "port http",
        ),
        (
            "named6",
            Elements::Ipv6NamedPorts(named(&[
                ("::1.2.3.4", Protocol::SCTP, 9),
                ("fd00::2", Protocol::TCP, 80),
                ("fd00::3", Protocol::TCP, 80),
                ("fd01::2", Protocol::TCP, 80),
            ])),
            "",
        ),
        ("no-ports", Elements::Ports(vec![]), ""),
        (
            "ports",
            Elements::Ports(vec![
                range(0, 10),
                range(80, 80),
                range(81, 90),
                range(65000, 65535),
            ]),
            "",
        ),
    ] {
        let mut set = set(elements);
        Arc::make_mut(&mut set).comment = Comment::new(comment);
        ruleset.sets.insert(name(key), set);
    }
    ruleset
}

fn named<A: FromStr<Err: Debug>>(elements: &[(&str, Protocol, u16)]) -> Vec<(A, Protocol, u16)> {
    elements
        .iter()
        .map(|(address, protocol, port)| (address.parse().unwrap(), *protocol, *port))
        .collect()
}

fn conditions() -> Vec<Rule> {
    use Op::{Is, IsNot};
    use Side::{Destination, Source};
    let v4 = |side, op, net: &str| {
        vec![
            Match::Family(Family::V4),
            Match::Address(side, op, net.parse().unwrap()),
        ]
    };
    let v6 = |side, op, net: &str| {
        vec![
            Match::Family(Family::V6),
            Match::Address(side, op, net.parse().unwrap()),
        ]
    };
    let in_set = |side, op, family, set: &str| {
        vec![
            Match::Family(family),
            Match::AddressSet(side, op, family, name(set)),
        ]
    };
    let port = |protocol, side, op, first, last| {
        vec![
            Match::Protocol(Is, protocol),
            Match::Port(side, op, PortRange { first, last }),
        ]
    };
    let port_set = |protocol, op, set: &str| {
        vec![
            Match::Protocol(Is, protocol),
            Match::PortSet(Destination, op, name(set)),
        ]
    };
    let icmp = |family, op, first, last| {
        let protocol = match family {
            Family::V4 => Protocol::ICMP,
            Family::V6 => Protocol::ICMPV6,
        };
        vec![
            Match::Family(family),
            Match::Protocol(Is, protocol),
            Match::IcmpType(family, op, first, last),
        ]
    };
    let icmp_code = |family, type_op, icmp_type, op, code| {
        let mut conditions = icmp(family, type_op, icmp_type, icmp_type);
        conditions.push(Match::IcmpCode(family, op, code));
        conditions
    };
    let tcp = Match::Protocol(Is, Protocol::TCP);
    let named_port = |side, op, family| {
        let set = match family {
            Family::V4 => "named4",
            Family::V6 => "named6",
        };
        Match::NamedPortSet(side, op, family, name(set))
    };
    let (v4_only, v6_only) = (Match::Family(Family::V4), Match::Family(Family::V6));
    let conditions = vec![
        vec![Match::InputInterface(Is, "lo".into())],
        vec![Match::InputInterface(IsNot, "eth0".into())],
        vec![Match::CtState(&[CtState::Established, CtState::Related])],
        vec![Match::CtState(&[CtState::Invalid])],
        vec![Match::CtState(&[CtState::New, CtState::Untracked])],
        vec![Match::Family(Family::V4)],
        vec![Match::Family(Family::V6)],
        vec![Match::Protocol(Is, Protocol::TCP)],
        vec![Match::Protocol(IsNot, Protocol::ICMP)],
        vec![Match::Protocol(Is, Protocol(250))],
        v4(Source, Is, "10.0.0.0/8"),
        v4(Source, Is, "10.1.0.0/16"),
        v4(Source, Is, "10.1.2.0/24"),
        v4(Source, IsNot, "10.1.2.0/24"),
        v4(Source, Is, "10.1.2.0/23"),
        v4(Destination, Is, "10.1.2.3/32"),
        v4(Destination, IsNot, "10.1.2.3/32"),
        v4(Source, Is, "0.0.0.0/0"),
        v6(Source, Is, "fd00::/64"),
        v6(Destination, IsNot, "fd00::/61"),
        v6(Destination, Is, "fd00::1/128"),
        in_set(Source, Is, Family::V4, "addresses4"),
        in_set(Destination, IsNot, Family::V4, "nets4"),
        in_set(Source, Is, Family::V6, "addresses6"),
        in_set(Destination, Is, Family::V6, "nets6"),
        port(Protocol::TCP, Destination, Is, 80, 80),
        port(Protocol::TCP, Source, Is, 8000, 8080),
        port(Protocol::UDP, Destination, IsNot, 8000, 8080),
        port(Protocol::UDP, Source, IsNot, 53, 53),
        port_set(Protocol::SCTP, Is, "ports"),
        port_set(Protocol::TCP, IsNot, "no-ports"),
        vec![v4_only.clone(), named_port(Destination, Is, Family::V4)],
        vec![v4_only.clone(), named_port(Source, IsNot, Family::V4)],
        vec![v6_only.clone(), named_port(Destination, IsNot, Family::V6)],
        vec![v6_only.clone(), named_port(Source, Is, Family::V6)],
        vec![v4_only.clone(), tcp, named_port(Destination, Is, Family::V4)],
        vec![
            Match::Protocol(Is, Protocol::UDP),
            Match::Port(Source, Is, PortRange::one(53)),
            v6_only,
            named_port(Destination, Is, Family::V6),
        ],
        vec![
            Match::Protocol(IsNot, Protocol::TCP),
            v4_only,
            named_port(Destination, Is, Family::V4),
        ],
        icmp(Family::V4, Is, 8, 8),
        icmp(Family::V4, Is, 8, 10),
        icmp(Family::V4, IsNot, 8, 10),
        icmp(Family::V6, Is, 130, 132),
        icmp(Family::V6, IsNot, 130, 130),
        icmp_code(Family::V4, Is, 3, IsNot, 5),
        icmp_code(Family::V6, Is, 1, IsNot, 4),
        icmp_code(Family::V6, IsNot, 1, Is, 7),
        vec![Match::Mark {
            mask: 0xff00,
            op: Is,
            value: 0x100,
        }],
        vec![Match::Mark {
            mask: 0x100,
            op: IsNot,
            value: 0x100,
        }],
        vec![Match::Mark {
            mask: u32::MAX,
            op: Is,
            value: 5,
        }],
    ];
    conditions
        .into_iter()
        .map(|matches| {
            let is_invalid = matches == [Match::CtState(&[CtState::Invalid])];
            Rule {
                matches,
                statements: vec![if is_invalid {
                    Statement::Drop
                } else {
                    Statement::Accept
                }],
                ..Rule::default()
            }
        })
        .collect()
}

fn statements() -> Vec<Rule> {
    let log = |prefix: &str, group, snaplen, queue_threshold| {
        Statement::Log(Log {
            prefix: prefix.into(),
            group,
            snaplen,
            queue_threshold,
        })
    };
    let limit = |per_second, burst| Statement::Limit { per_second, burst };
    let counter = || Statement::Counter(name("accepted"));
    let mut rules: Vec<Rule> = [
        vec![counter(), Statement::Accept],
        vec![log("palisade in/allow 3", 7, 128, 64)],
        vec![log("", 7, 0, 0)],
        vec![limit(10, 5), log("x", 7, 0, 0)],
        vec![limit(60, 1), log("", 7, 0, 0)],
        vec![limit(1, u32::MAX), counter(), log("", 7, 0, 0)],
        vec![Statement::SetMark {
            mask: 0xff00,
            value: 0x100,
        }],
        vec![Statement::SetMark {
            mask: 0x100,
            value: 0x100,
        }],
        vec![Statement::SetMark {
            mask: 0x100,
            value: 0,
        }],
        vec![Statement::SetMark {
            mask: u32::MAX,
            value: 7,
        }],
        vec![Statement::Return],
        vec![Statement::Jump(name("tier/default"))],
        vec![
            counter(),
            log("x", 1, 64, 1),
            Statement::Goto(name("tier/default")),
        ],
        vec![Statement::Reject],
        vec![Statement::RejectWithReset],
        vec![Statement::Drop],
    ]
    .into_iter()
    .map(common::rule)
    .collect();
    for rule in &mut rules {
        if rule.statements == [Statement::Jump(name("tier/default"))] {
            rule.comment = Comment::new("tier default");
        }
        if rule.statements.contains(&Statement::RejectWithReset) {
            rule.matches = vec![Match::Protocol(Op::Is, Protocol::TCP)];
        }
    }
    rules
}
