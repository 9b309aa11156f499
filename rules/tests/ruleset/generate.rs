//! Random resources, hosts and packets: small, and made to get in each other's way.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use palisade_rules::compile::{DenyAction, FlowLog, Options};
use palisade_rules::evaluate::Packet;
use palisade_rules::failsafe::Failsafes;
use palisade_rules::net::{Direction, Family, PortRange, Protocol};
use palisade_rules::resource::{
    Action, DEFAULT_ALLOW_PROFILE, DEFAULT_TIER, Entity, GlobalNetworkSet, HostEndpoint, IcmpMatch,
    InterfaceName, Labels, Order, Policy, PolicyId, PolicyKind, PolicyTypes, ProtocolMatch, Rule,
    StagedAction, Tier, TierAction,
};
use palisade_rules::ruleset::CtState;
use palisade_rules::selector::Selector;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::Position;
use palisade_rules::world::Host;
use proptest::collection::{btree_map, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::interpreter::Arrival;

/// One host and what comes and goes there.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) snapshot: Snapshot,
    pub(crate) host: Host,
    pub(crate) options: Options,
    pub(crate) arrivals: Vec<Arrival>,
}

const NODE: &str = "here";

const SELECTORS: [&str; 7] = [
    "all()",
    "a == 'x'",
    "a != 'x'",
    "has(b)",
    "!has(b) && has(a)",
    "a in {'x', 'y'}",
    "a == 'nobody'",
];

const NETS_V4: [&str; 6] = [
    "10.0.0.0/24",
    "10.0.0.1/32",
    "10.0.1.0/24",
    "10.0.0.0/8",
    "0.0.0.0/1",
    "128.0.0.0/1",
];

const NETS_V6: [&str; 5] = ["fd00::/64", "fd00::1/128", "fd00:1::/64", "::/1", "8000::/1"];

const ADDRESSES_V4: [&str; 6] = [
    "10.0.0.1",
    "10.0.1.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.9.9.9",
    "192.0.2.1",
];

const ADDRESSES_V6: [&str; 5] = ["fd00::1", "fd00:1::1", "fd00::2", "2001:db8::1", "fe80::1"];

const PORTS: [u16; 9] = [0, 1, 22, 53, 68, 80, 443, 8080, 65535];

pub(crate) fn case() -> impl Strategy<Value = Case> {
    (snapshot(), host(), options(), vec(arrival(), 24)).prop_map(|(snapshot, host, options, arrivals)| Case {
        snapshot,
        host,
        options,
        arrivals,
    })
}

fn host() -> impl Strategy<Value = Host> {
    let failsafes = prop_oneof![
        3 => Just(Failsafes::default()),
        1 => Just(Failsafes::none()),
        1 => Just(Failsafes {
            inbound: vec!["tcp:10.0.0.0/24:80-443".parse().unwrap()],
            outbound: vec!["udp:[fd00::/64]:53".parse().unwrap(), "tcp:0.0.0.0/0:8080".parse().unwrap()],
            icmpv6: true,
        }),
    ];
    (failsafes, prop::bool::weighted(0.2), labels()).prop_map(|(failsafes, filter_loopback, labels)| Host {
        node: Some(NODE.to_owned()),
        interfaces: [
            ("eth0", vec![ip("10.0.0.1"), ip("fd00::1")]),
            ("eth1", vec![ip("10.0.1.1"), ip("fe80::1")]),
            ("eth2", vec![ip("fd00:1::1")]),
            ("lo", vec![ip("127.0.0.1")]),
        ]
        .into_iter()
        .map(|(name, addresses)| (name.to_owned(), addresses))
        .collect(),
        labels,
        failsafes,
        filter_loopback,
    })
}

fn options() -> impl Strategy<Value = Options> {
    let deny = select(vec![DenyAction::Drop, DenyAction::Reject]);
    let flow_log = of(Just(FlowLog {
        group: 77,
        generation: 5,
    }));
    (deny, flow_log).prop_map(|(deny, flow_log)| Options { deny, flow_log })
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let network_sets = btree_map(
        select(vec!["s", "t"]),
        (labels(), vec(prop_oneof![net(&NETS_V4), net(&NETS_V6)], 1..4)),
        0..3,
    );
    (
        tiers(),
        vec(policy(), 0..8),
        vec(safety_net(), 0..3),
        network_sets,
        host_endpoints(),
    )
        .prop_map(|(tiers, policies, nets, network_sets, host_endpoints)| {
            let mut snapshot = Snapshot::empty();
            snapshot.tiers.extend(tiers);
            for policy in policies.into_iter().chain(nets) {
                let same = |other: &Policy| {
                    other.id == policy.id && other.staged.is_some() == policy.staged.is_some()
                };
                if !snapshot.policies.iter().any(same) {
                    snapshot.policies.push(policy);
                }
            }
            snapshot.network_sets = network_sets
                .into_iter()
                .map(|(name, (labels, nets))| {
                    let set = GlobalNetworkSet {
                        name: name.to_owned(),
                        labels,
                        nets,
                        position: position(),
                    };
                    (name.to_owned(), set)
                })
                .collect();
            snapshot.host_endpoints = host_endpoints;
            snapshot
        })
}

/// Tiers `p` and `q` around the built-in ones.
fn tiers() -> impl Strategy<Value = BTreeMap<String, Tier>> {
    let tier = (
        select(vec![1.0, 5.0, 999_999.0, 1_000_000.0, 2_000_000.0]),
        select(vec![TierAction::Deny, TierAction::Pass]),
    );
    [tier.clone(), tier].prop_map(|tiers| {
        ["p", "q"]
            .into_iter()
            .zip(tiers)
            .map(|(name, (order, default_action))| {
                let tier = Tier {
                    name: name.to_owned(),
                    order: Order::new(order),
                    default_action,
                    position: None,
                };
                (name.to_owned(), tier)
            })
            .collect()
    })
}

fn tier_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(DEFAULT_TIER), 2 => Just("p"), 1 => Just("q"), 1 => Just("kube-baseline")]
}

fn policy() -> impl Strategy<Value = Policy> {
    let action = prop_oneof![
        6 => Just(StagedAction::Set),
        1 => Just(StagedAction::Learn),
        2 => Just(StagedAction::Delete),
        1 => Just(StagedAction::Ignore),
    ];
    (
        select(vec!["a", "b", "c", "d", "e"]),
        of(action),
        tier_name(),
        of(select(vec![-1.0, 1.0, 2.0, 100_000.0])),
        prop_oneof![selector(), Just(Selector::all())],
        [rules(), rules()],
        select(vec![(true, false), (false, true), (true, true), (true, true)]),
    )
        .prop_map(
            |(name, staged, tier, order, selector, [ingress, egress], (is_ingress, is_egress))| Policy {
                id: id(name),
                staged,
                tier: tier.to_owned(),
                order: order.map(Order::new),
                selector,
                types: PolicyTypes {
                    ingress: is_ingress,
                    egress: is_egress,
                },
                ingress,
                egress,
                position: position(),
            },
        )
}

/// A safety net, of one direction or both, in any tier.
fn safety_net() -> impl Strategy<Value = Policy> {
    (
        select(vec!["m", "n"]),
        of(Just(StagedAction::Set)),
        tier_name(),
        select(vec![(true, false), (true, true), (true, true)]),
    )
        .prop_map(|(name, staged, tier, (ingress, egress))| Policy {
            staged,
            tier: tier.to_owned(),
            types: PolicyTypes { ingress, egress },
            ..Policy::safety_net(name)
        })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    vec(rule(), 0..4)
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![
        3 => Just(Action::Allow),
        3 => Just(Action::Deny),
        2 => Just(Action::Pass),
        2 => Just(Action::Log),
    ];
    let protocol = select(vec![
        (Protocol::TCP, None),
        (Protocol::TCP, None),
        (Protocol::UDP, None),
        (Protocol::SCTP, None),
        (Protocol::ICMP, Some(Family::V4)),
        (Protocol::ICMPV6, Some(Family::V6)),
        (Protocol::ICMP, None),
        (Protocol::ICMPV6, None),
        (Protocol(47), None),
    ])
    .prop_map(|(protocol, family)| ProtocolMatch { protocol, family });
    let family = select(Family::BOTH.to_vec());
    (
        action,
        weighted(0.1, family.clone()),
        weighted(0.6, protocol.clone()),
        weighted(0.1, protocol),
        [weighted(0.2, icmp()), weighted(0.1, icmp())],
        family.prop_flat_map(|family| [entity(family), entity(family)]),
    )
        .prop_map(
            |(
                action,
                ip_version,
                protocol,
                not_protocol,
                [icmp, not_icmp],
                [mut source, mut destination],
            )| {
                let is_icmp = |protocol: ProtocolMatch| [1, 58].contains(&protocol.protocol.0);
                if !protocol.is_some_and(|protocol| protocol.protocol.has_ports()) {
                    for entity in [&mut source, &mut destination] {
                        (entity.ports, entity.not_ports) = (None, None);
                    }
                }
                Rule {
                    action,
                    ip_version,
                    protocol,
                    not_protocol,
                    icmp: icmp.filter(|_| protocol.is_some_and(is_icmp)),
                    not_icmp,
                    source,
                    destination,
                    name: None,
                    position: position(),
                }
            },
        )
}

fn icmp() -> impl Strategy<Value = IcmpMatch> {
    let code = select(vec![None, None, Some(0), Some(1)]);
    (select(vec![8, 128, 135]), code).prop_map(|(icmp_type, code)| IcmpMatch { icmp_type, code })
}

/// One side of a rule; all its nets are of one family, as in every rule that is valid.
fn entity(family: Family) -> impl Strategy<Value = Entity> {
    let nets = move || match family {
        Family::V4 => vec(net(&NETS_V4), 1..4),
        Family::V6 => vec(net(&NETS_V6), 1..4),
    };
    (
        weighted(0.15, nets()),
        weighted(0.1, nets()),
        weighted(0.25, selector()),
        weighted(0.15, selector()),
        weighted(0.4, ports()),
        weighted(0.15, ports()),
    )
        .prop_map(
            |(nets, not_nets, selector, not_selector, ports, not_ports)| Entity {
                nets,
                not_nets,
                selector,
                not_selector,
                ports,
                not_ports,
            },
        )
}

fn ports() -> impl Strategy<Value = Vec<PortRange>> {
    let range = select(vec![
        (80, 80),
        (443, 443),
        (1, 1023),
        (81, 442),
        (1, 65535),
        (8000, 8100),
    ]);
    vec(range.prop_map(|(first, last)| PortRange { first, last }), 1..3)
}

fn selector() -> impl Strategy<Value = Selector> {
    select(SELECTORS.to_vec()).prop_map(|text| Selector::parse(text).unwrap())
}

fn labels() -> impl Strategy<Value = Labels> {
    let label = prop_oneof![Just(("a", "x")), Just(("a", "y")), Just(("b", "x"))];
    vec(label, 0..3).prop_map(|labels| {
        labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    })
}

fn net(nets: &'static [&'static str]) -> impl Strategy<Value = IpNet> {
    select(nets).prop_map(|net| net.parse().unwrap())
}

/// Some of: three endpoints here (by name, by expected address, all the rest), and two elsewhere.
fn host_endpoints() -> impl Strategy<Value = BTreeMap<String, HostEndpoint>> {
    let named = |interface: &str| Some(InterfaceName::Named(interface.to_owned()));
    let written = vec![
        ("by-name", NODE, named("eth0"), vec![]),
        ("by-address", NODE, None, vec![ip("10.0.1.1")]),
        ("rest", NODE, Some(InterfaceName::Any), vec![]),
        ("far", "there", named("eth0"), vec![ip("10.0.0.2"), ip("fd00::2")]),
        (
            "farther",
            "yonder",
            Some(InterfaceName::Any),
            vec![ip("10.0.0.3")],
        ),
    ];
    let all = written.len();
    (subsequence(written, 0..=all), vec((labels(), any::<bool>()), all)).prop_map(|(written, random)| {
        written
            .into_iter()
            .zip(random)
            .map(|((name, node, interface, expected_ips), (labels, allows))| {
                let endpoint = HostEndpoint {
                    name: name.to_owned(),
                    labels,
                    node: node.to_owned(),
                    interface,
                    expected_ips,
                    profiles: allows
                        .then(|| DEFAULT_ALLOW_PROFILE.to_owned())
                        .into_iter()
                        .collect(),
                    position: position(),
                };
                (name.to_owned(), endpoint)
            })
            .collect()
    })
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let pair = prop_oneof![
        [select(&ADDRESSES_V4[..]), select(&ADDRESSES_V4[..])],
        [select(&ADDRESSES_V6[..]), select(&ADDRESSES_V6[..])],
    ];
    let protocol = select(vec![
        Protocol::TCP,
        Protocol::TCP,
        Protocol::UDP,
        Protocol::SCTP,
        Protocol::ICMP,
        Protocol::ICMPV6,
        Protocol(47),
    ]);
    let state = prop_oneof![
        12 => Just(CtState::New),
        1 => Just(CtState::Untracked),
        1 => Just(CtState::Invalid),
        1 => Just(CtState::Established),
        1 => Just(CtState::Related),
    ];
    (
        pair,
        protocol,
        [select(&PORTS[..]), select(&PORTS[..])],
        (select(vec![8, 128, 135]), select(vec![0, 0, 1])),
        select(Direction::BOTH.to_vec()),
        select(vec!["eth0", "eth0", "eth1", "eth2", "lo"]),
        (state, select(vec![0, 7, u32::MAX])),
    )
        .prop_map(
            |(
                [source, destination],
                protocol,
                ports,
                (icmp_type, icmp_code),
                direction,
                interface,
                (state, mark),
            )| {
                let [source_port, destination_port] = if protocol.has_ports() { ports } else { [0, 0] };
                Arrival {
                    packet: Packet {
                        source: ip(source),
                        destination: ip(destination),
                        protocol,
                        source_port,
                        destination_port,
                        icmp_type,
                        icmp_code,
                    },
                    direction,
                    interface,
                    state,
                    mark,
                }
            },
        )
}

pub(crate) fn id(name: &str) -> PolicyId {
    PolicyId {
        kind: PolicyKind::GlobalNetworkPolicy,
        namespace: None,
        name: name.to_owned(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn position() -> Position {
    Position {
        file: "random".into(),
        line: 1,
        column: 1,
    }
}
