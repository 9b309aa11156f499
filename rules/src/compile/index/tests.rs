//! What the index takes from rules, how it tells packets apart, and how large it gets. That it changes no verdict is tested
//! with random policies in `tests/ruleset`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::Limits;
use super::memo::Remembered;
use super::region::{Addresses, Region, Services};
use super::split::{Classes, Column, Dimension, Groups, Item, Regions, Split, split, split_ports};
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

mod splitting;

mod trees;
