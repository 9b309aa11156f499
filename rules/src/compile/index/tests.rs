//! What the index takes from rules, how it tells packets apart, and how large it gets. That it changes no verdict is tested
//! with random policies in `tests/ruleset`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::Limits;
use super::region::{Addresses, Region, Services};
use super::split::{Classes, Dimension, Item, Regions, Split, split};
use crate::compile::{Compiled, Options, compile, compile_from};
use crate::net::{Direction, Family, Protocol};
use crate::ruleset::{Chain, Name, Side, Statement};
use crate::testing::{network, policy};
use crate::world::Worlds;

/// A network with one policy of these rules for every endpoint.
fn with_rules(rules: &[&str]) -> Worlds {
    let rules: Vec<String> = rules
        .iter()
        .map(|rule| format!("{{action: Allow, {rule}}}"))
        .collect();
    network(&[policy("p", &format!("ingress: [{}]", rules.join(", ")))])
}

/// The regions of its rules, each with the rule's place.
fn regions(worlds: &Worlds) -> Vec<(usize, Region)> {
    let rules = worlds.enforced.policies[0].rules(Direction::Ingress).unwrap();
    let each = rules.iter().enumerate();
    each.flat_map(|(place, rule)| {
        Region::of(worlds, rule)
            .into_iter()
            .map(move |region| (place, region))
    })
    .collect()
}

mod region {
    use super::*;

    /// Each region of a rule in words.
    fn of(rule: &str) -> Vec<String> {
        let worlds = with_rules(&[rule]);
        let addresses = |region: &Region, side| {
            let nets = |family| match region.addresses(side).of_family(&worlds.address_sets, family) {
                Some(nets) => nets.map(|net| net.to_string()).collect::<Vec<_>>().join(" "),
                None => "any".to_owned(),
            };
            let families = Family::BOTH.into_iter().filter(|family| region.has(*family));
            families.map(nets).collect::<Vec<_>>().join(" | ")
        };
        let each = regions(&worlds);
        let word = |(_, region): &(usize, Region)| {
            let services = match &region.services {
                Services::Any => "any".to_owned(),
                Services::Protocol(protocol) => protocol.to_string(),
                Services::Ports(protocol, ranges) => {
                    let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
                    format!("{protocol} {}", ranges.join(" "))
                }
            };
            let [from, to] = [Side::Source, Side::Destination].map(|side| addresses(region, side));
            format!("{services}, from {from}, to {to}")
        };
        each.iter().map(word).collect()
    }

    #[test]
    fn holds_what_a_rule_asks_for() {
        let ports = "protocol: TCP, destination: {ports: [443, 80, '81:82']}";
        assert_eq!(of(ports), ["tcp 80-82 443, from any | any, to any | any"]);
        assert_eq!(of("protocol: UDP"), ["udp, from any | any, to any | any"]);
        assert_eq!(
            of("source: {nets: [10.0.0.0/25, 10.0.0.128/25]}"),
            ["any, from 10.0.0.0/24, to any"],
            "of the only family that the rule exists for"
        );
        assert_eq!(
            of("source: {selector: net == 'lan'}"),
            ["any, from 10.9.0.0/16 | fd09::/32, to any | any"]
        );
    }

    #[test]
    fn what_is_ruled_out_narrows_nothing() {
        for rule in [
            "notProtocol: TCP",
            "source: {notSelector: net == 'lan'}",
            "destination: {notSelector: net == 'lan'}",
        ] {
            assert_eq!(of(rule), ["any, from any | any, to any | any"], "{rule}");
        }
        assert_eq!(
            of("protocol: TCP, destination: {notPorts: [80]}"),
            ["tcp, from any | any, to any | any"]
        );
    }

    #[test]
    fn of_icmp_there_is_one_for_each_family() {
        assert_eq!(of("protocol: ICMP, icmp: {type: 8}"), ["icmp, from any, to any"]);
        let [v4, v6] = Family::BOTH.map(Protocol::icmp_of);
        assert_eq!(
            of("notICMP: {type: 8}"),
            [
                format!("{v4}, from any, to any"),
                format!("{v6}, from any, to any")
            ]
        );
    }

    #[test]
    fn a_set_may_change_while_the_rule_stays() {
        let worlds = with_rules(&["source: {selector: net == 'lan'}"]);
        assert!(matches!(
            regions(&worlds)[0].1.addresses(Side::Source),
            Addresses::Set(_)
        ));
    }
}

mod splitting {
    use super::*;

    fn split_of(rules: &[&str], dimension: Dimension, most: usize) -> Option<Split> {
        let worlds = with_rules(rules);
        let owned = regions(&worlds);
        let all: Vec<(usize, &Region)> = owned.iter().map(|(place, region)| (*place, region)).collect();
        let regions = Regions {
            all: &all,
            sets: &worlds.address_sets,
        };
        let items: Vec<Item> = (0..).take(all.len()).collect();
        split(regions, &items, dimension, most)
    }

    /// Every class with its rules.
    fn words(split: &Split) -> Vec<String> {
        let word = |classes: &Classes| -> Vec<String> {
            match classes {
                Classes::Services(classes) => {
                    let each = classes.iter();
                    each.map(|((protocol, port), items)| format!("{protocol} {port}: {items:?}"))
                        .collect()
                }
                Classes::Protocols(classes) => {
                    let each = classes.iter();
                    each.map(|(protocol, items)| format!("{protocol}: {items:?}"))
                        .collect()
                }
                Classes::Ports(protocol, classes) => {
                    let each = classes.iter();
                    each.map(|(range, items)| format!("{protocol} {range}: {items:?}"))
                        .collect()
                }
                Classes::Addresses(_, _, classes) => {
                    let each = classes.iter();
                    each.map(|(address, items)| format!("{address}: {items:?}"))
                        .collect()
                }
                Classes::Ranges(_, _, classes) => {
                    let each = classes.iter();
                    each.map(|((first, last), items)| format!("{first}-{last}: {items:?}"))
                        .collect()
                }
            }
        };
        let rest = format!("rest: {:?}", split.rest);
        split.lookups.iter().flat_map(word).chain([rest]).collect()
    }

    const SERVICES: [&str; 5] = [
        "protocol: TCP, destination: {ports: [80]}",
        "protocol: TCP, destination: {ports: [80, 443]}",
        "protocol: UDP",
        "source: {selector: net == 'lan'}",
        "protocol: TCP, destination: {ports: ['100:60000']}",
    ];

    #[test]
    fn by_protocol_and_port() {
        let split = split_of(&SERVICES, Dimension::Services, 100).unwrap();
        assert_eq!(
            words(&split),
            [
                "tcp 80: [0, 1]",
                "tcp 443: [1, 4]",
                "tcp: [4]",
                "udp: [2]",
                "rest: [3]"
            ]
        );
        assert_eq!(
            split.below_ports[&Protocol::UDP],
            [2, 3],
            "of udp's ports, if one were named"
        );
        assert!(
            split_of(&SERVICES, Dimension::Services, 2).is_none(),
            "three ports are named"
        );
    }

    #[test]
    fn by_ranges_of_ports_that_overlap() {
        let ranges = [
            "protocol: TCP, destination: {ports: ['100:300']}",
            "protocol: TCP, destination: {ports: ['200:400']}",
            "protocol: UDP, destination: {ports: ['100:300']}",
            "protocol: TCP",
        ];
        let split = split_of(&ranges, Dimension::Ports(Protocol::TCP), 100).unwrap();
        assert_eq!(
            words(&split),
            [
                "tcp 100-199: [0]",
                "tcp 200-300: [0, 1]",
                "tcp 301-400: [1]",
                "rest: [3]"
            ]
        );
    }

    #[test]
    fn by_addresses_of_both_families() {
        let rules = [
            "source: {nets: [10.0.0.1/32]}",
            "source: {nets: [10.0.0.0/24]}",
            "source: {nets: [10.0.0.128/25]}",
            "source: {nets: ['fd00::/128', 'fd01::/127']}",
            "protocol: TCP",
            "source: {nets: [0.0.0.0/0]}",
        ];
        let split = split_of(&rules, Dimension::Addresses(Side::Source), 100).unwrap();
        assert_eq!(
            words(&split),
            [
                "10.0.0.1: [0, 1]",
                "10.0.0.0-10.0.0.127: [1]",
                "10.0.0.128-10.0.0.255: [1, 2]",
                "fd00::: [3]",
                "fd01::-fd01::1: [3]",
                "rest: [4, 5]"
            ]
        );
    }

    #[test]
    fn the_last_address_of_a_family_has_nothing_behind_it() {
        let rules = [
            "source: {nets: [255.255.255.0/24]}",
            "source: {nets: ['ff00::/8']}",
        ];
        let split = split_of(&rules, Dimension::Addresses(Side::Source), 100).unwrap();
        let last: IpAddr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(
            words(&split),
            [
                "255.255.255.0-255.255.255.255: [0]".to_owned(),
                format!("ff00::-{last}: [1]"),
                "rest: []".to_owned()
            ]
        );
    }
}

mod trees {
    use super::*;

    /// As many policies for `web`, each with one rule by its place.
    fn policies(count: usize, rule: impl Fn(usize) -> String) -> Worlds {
        let policies: Vec<String> = (0..count)
            .map(|place| {
                let rule = rule(place);
                let spec =
                    format!("order: {place}, selector: role == 'web', ingress: [{{action: Allow, {rule}}}]");
                policy(&format!("p{place}"), &spec)
            })
            .collect();
        network(&policies)
    }

    fn port(place: usize) -> String {
        format!("protocol: TCP, destination: {{ports: [{}]}}", 1_000 + place)
    }

    fn net(place: usize) -> String {
        format!("source: {{nets: [10.{}.{}.0/24]}}", place / 200, place % 200)
    }

    fn options(walked: usize) -> Options {
        Options {
            index: Limits {
                walked,
                ..Limits::default()
            },
            ..Options::default()
        }
    }

    /// The chains of the index, by what their names have behind the tier's.
    fn chains(compiled: &Compiled) -> Vec<(&str, &Arc<Chain>)> {
        let each = compiled.ruleset.chains.iter();
        each.filter_map(|chain| Some((chain.name.as_str().split("/eth0/").nth(1)?, chain)))
            .collect()
    }

    fn jumps(chain: &Chain) -> Vec<&str> {
        let statements = chain.rules.iter().flat_map(|rule| &rule.statements);
        statements
            .filter_map(|statement| match statement {
                Statement::Jump(to) => Some(to.as_str()),
                _ => None,
            })
            .collect()
    }

    fn longest(compiled: &Compiled) -> usize {
        let lengths = chains(compiled).into_iter().map(|(_, chain)| jumps(chain).len());
        lengths.max().unwrap()
    }

    fn size(compiled: &Compiled) -> usize {
        let elements = compiled
            .ruleset
            .maps
            .values()
            .map(|map| map.ways.chains().count());
        let rules = chains(compiled).into_iter().map(|(_, chain)| chain.rules.len());
        elements.sum::<usize>() + rules.sum::<usize>()
    }

    /// The last parts of the names of the policies' chains that a chain jumps to.
    fn walked<'c>(chain: &'c Chain) -> Vec<&'c str> {
        let last = |name: &'c str| name.trim_end_matches('/').rsplit(['/', '-']).next();
        jumps(chain).into_iter().filter_map(last).collect()
    }

    #[test]
    fn a_service_leads_to_its_policies_alone() {
        let compiled = compile(&policies(20, |place| port(place % 10)), &options(2));
        let [tier, index, port] = [0, 1, 2].map(|place| chains(&compiled)[place]);
        assert_eq!(walked(tier.1), ["index"]);
        assert_eq!(
            (index.0, walked(index.1)),
            ("02-default/index", vec![]),
            "what no rule is for meets the end of the tier"
        );
        assert_eq!(
            (port.0, walked(port.1)),
            ("02-default/tcp-1000", vec!["p0", "p10"])
        );
        assert_eq!(compiled.ruleset.maps.len(), 1);
    }

    #[test]
    fn a_service_of_one_policy_leads_to_its_chain() {
        let compiled = compile(&policies(20, port), &options(2));
        let names: Vec<&str> = chains(&compiled).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["02-default", "02-default/index"]);
        let map = compiled.ruleset.maps.values().next().unwrap();
        assert!(
            map.ways
                .chains()
                .all(|chain| chain.as_str().starts_with("enforced/in/02-default/"))
        );
    }

    #[test]
    fn what_matches_every_packet_first_or_last_is_in_no_list() {
        let ends = |place: usize| match place {
            0 | 19 => "notProtocol: UDP".to_owned(),
            _ => port(place),
        };
        let compiled = compile(&policies(20, ends), &options(2));
        let names: Vec<&str> = chains(&compiled).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["02-default", "02-default/index"]);
        assert_eq!(walked(chains(&compiled)[0].1), ["p0", "index", "p19"]);
    }

    #[test]
    fn a_short_tier_has_no_index() {
        let compiled = compile(&policies(6, port), &options(6));
        assert!(compiled.ruleset.maps.is_empty());
    }

    #[test]
    fn ports_and_addresses_by_turns_are_not_multiplied() {
        let mixed = |place: usize| {
            if place.is_multiple_of(2) {
                port(place)
            } else {
                net(place)
            }
        };
        let sizes = [100, 200, 400].map(|count| {
            let compiled = compile(&policies(count, mixed), &options(4));
            assert!(longest(&compiled) <= 30, "{}", longest(&compiled));
            size(&compiled)
        });
        assert!(sizes[1] < sizes[0] * 3 && sizes[2] < sizes[1] * 3, "{sizes:?}");
    }

    #[test]
    fn what_cannot_be_looked_up_leaves_the_others_their_index() {
        let untied = |place: usize| match place % 10 {
            0 => "notProtocol: UDP".to_owned(),
            5 => "protocol: ICMP, icmp: {type: 8}".to_owned(),
            _ => port(place),
        };
        let compiled = compile(&policies(200, untied), &options(4));
        let (name, of_port) = chains(&compiled)
            .into_iter()
            .find(|(name, _)| name.ends_with("/tcp-1011"))
            .unwrap();
        // The 20 without a protocol, some of them in blocks, and the one that has the port.
        assert!(jumps(of_port).len() <= 21, "{name}");
    }

    #[test]
    fn ranges_that_overlap_too_much_are_cut_into_stretches() {
        let overlapping = |place: usize| {
            let first = 1_000 + place * 37 % 400 * 100;
            let last = first + 19_999;
            format!("protocol: TCP, destination: {{ports: ['{first}:{last}']}}")
        };
        let compiled = compile(&policies(400, overlapping), &options(4));
        assert!(size(&compiled) < 400 * 64, "{}", size(&compiled));
        assert!(longest(&compiled) <= 100, "{}", longest(&compiled));
    }

    #[test]
    fn rules_that_match_all_are_walked() {
        let compiled = compile(&policies(50, |_| "notProtocol: UDP".to_owned()), &options(4));
        assert!(compiled.ruleset.maps.is_empty());
        assert_eq!(longest(&compiled), 50);
    }

    /// The policy at the place says what the next one says.
    fn change(worlds: &Worlds, place: usize) -> Worlds {
        let mut worlds = worlds.clone();
        let other = worlds.enforced.policies[place + 1].ingress.clone();
        let policies = Arc::make_mut(&mut worlds.enforced.policies);
        Arc::make_mut(&mut policies[place].policy).ingress = other;
        worlds
    }

    #[test]
    fn lists_without_a_changed_policy_are_shared_with_the_generation_before() {
        let before = policies(200, port);
        let old = compile(&before, &options(4));
        let after = change(&before, 100);
        let new = compile_from(Some((&before, &old)), &after, &options(4));
        assert_eq!(new, compile(&after, &options(4)));
        let shared = |chain: &Arc<Chain>| old.ruleset.chains.iter().any(|other| Arc::ptr_eq(chain, other));
        let other: BTreeSet<&str> = chains(&new)
            .into_iter()
            .filter(|(_, chain)| !shared(chain))
            .map(|(name, _)| name.rsplit('/').next().unwrap())
            .collect();
        // The port that policy 100 no longer has leads nowhere; the one that it has now leads to both.
        assert_eq!(other, BTreeSet::from(["tcp-1101"]));
        let same = compile_from(Some((&before, &old)), &before, &options(4));
        let maps = |compiled: &Compiled| compiled.ruleset.maps.values().cloned().collect::<Vec<_>>();
        assert!(
            maps(&same)
                .iter()
                .zip(maps(&old))
                .all(|(map, other)| Arc::ptr_eq(map, &other))
        );
    }

    #[test]
    fn names_say_what_leads_there() {
        let compiled = compile(&policies(20, |place| port(place % 10)), &options(2));
        let names: Vec<&Name> = compiled.ruleset.maps.keys().collect();
        assert!(names[0].as_str().ends_with("/by-service"), "{names:?}");
        assert!(chains(&compiled)[0].1.name.as_str().ends_with("default"));
    }
}
