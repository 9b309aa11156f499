//! Random rules: every condition, alone and with others.

use ipnet::IpNet;
use palisade_rules::net::{Family, PortRange, Protocol};
use palisade_rules::resource::{Action, Entity, IcmpMatch, Ports, ProtocolMatch, Rule};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::{NETS_V4, NETS_V6, net, position, selector};

pub(super) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    vec(rule(), 0..4).prop_map(|mut rules| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.index = index;
        }
        rules
    })
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
        (action, weighted(0.1, select(vec!["n", "o"]))),
        weighted(0.1, family.clone()),
        weighted(0.6, protocol.clone()),
        weighted(0.1, protocol),
        [weighted(0.2, icmp()), weighted(0.1, icmp())],
        family.prop_flat_map(sides),
    )
        .prop_map(
            |(
                (action, name),
                ip_version,
                protocol,
                not_protocol,
                [icmp, not_icmp],
                [source, destination],
            )| {
                let is_icmp = |protocol: ProtocolMatch| [1, 58].contains(&protocol.protocol.0);
                let mut rule = Rule {
                    action,
                    ip_version,
                    protocol,
                    not_protocol,
                    icmp: icmp.filter(|_| protocol.is_some_and(is_icmp)),
                    not_icmp,
                    source,
                    destination,
                    name: name.map(str::to_owned),
                    annotations: Vec::new(),
                    index: 0,
                    position: position(),
                };
                if rule.source == Entity::default() && rule.destination == Entity::default() {
                    (rule.not_protocol, rule.not_icmp) = (None, None);
                }
                make_ports_valid(&mut rule);
                rule
            },
        )
}

/// Ports go with a protocol that has them; without any protocol, only by name.
fn make_ports_valid(rule: &mut Rule) {
    let protocol = rule.protocol.map(|protocol| protocol.protocol);
    for entity in [&mut rule.source, &mut rule.destination] {
        for ports in [&mut entity.ports, &mut entity.not_ports] {
            match protocol {
                Some(protocol) if protocol.has_ports() => {}
                Some(_) => *ports = None,
                None => {
                    for ports in ports.iter_mut() {
                        ports.ranges.clear();
                    }
                    ports.take_if(|ports| ports.names.is_empty());
                }
            }
        }
    }
}

fn icmp() -> impl Strategy<Value = IcmpMatch> {
    let code = select(vec![None, None, Some(0), Some(1)]);
    (select(vec![8, 128, 135]), code).prop_map(|(icmp_type, code)| IcmpMatch { icmp_type, code })
}

/// Both sides of a rule. Where every rule has many conditions, few packets come far, and fewer meet any one of them.
fn sides(family: Family) -> impl Strategy<Value = [Entity; 2]> {
    let one_condition = (only(family), any::<bool>()).prop_map(|(entity, is_source)| {
        if is_source {
            [entity, Entity::default()]
        } else {
            [Entity::default(), entity]
        }
    });
    prop_oneof![
        3 => Just([Entity::default(), Entity::default()]),
        4 => one_condition,
        3 => [entity(family), entity(family)],
    ]
}

/// One side of a rule, with one condition.
fn only(family: Family) -> impl Strategy<Value = Entity> {
    let nets = move || nets(family).prop_map(Some);
    let none = Entity::default;
    prop_oneof![
        nets().prop_map(move |nets| Entity { nets, ..none() }),
        nets().prop_map(move |not_nets| Entity { not_nets, ..none() }),
        selector().prop_map(move |selector| Entity {
            selector: Some(selector),
            ..none()
        }),
        selector().prop_map(move |selector| Entity {
            not_selector: Some(selector),
            ..none()
        }),
        ports().prop_map(move |ports| Entity {
            ports: Some(ports),
            ..none()
        }),
        ports().prop_map(move |ports| Entity {
            not_ports: Some(ports),
            ..none()
        }),
    ]
}

fn nets(family: Family) -> impl Strategy<Value = Vec<IpNet>> {
    match family {
        Family::V4 => vec(net(&NETS_V4), 1..4),
        Family::V6 => vec(net(&NETS_V6), 1..4),
    }
}

/// One side of a rule; all its nets are of one family, as in every rule that is valid.
fn entity(family: Family) -> impl Strategy<Value = Entity> {
    let nets = move || nets(family);
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

/// By number, by name, or both.
fn ports() -> impl Strategy<Value = Ports> {
    let range = select(vec![
        (80, 80),
        (443, 443),
        (1, 1023),
        (81, 442),
        (1, 65535),
        (8000, 8100),
    ]);
    let ranges = vec(range.prop_map(|(first, last)| PortRange { first, last }), 0..3);
    let names = vec(select(vec!["web", "web", "dns", "nobody"]), 0..3);
    (ranges, names)
        .prop_filter("at least one", |(ranges, names)| {
            !ranges.is_empty() || !names.is_empty()
        })
        .prop_map(|(ranges, names)| Ports {
            ranges,
            names: names.into_iter().map(str::to_owned).collect(),
        })
}
