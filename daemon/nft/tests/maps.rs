//! Verdict maps on the real kernel: each kind, what comes and goes, and chains that go from under them. Needs root.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use common::{base_chain, chain, in_namespace, listing, load, name, nft, open, rule};
use palisade_nft::{Image, KernelTable, diff};
use palisade_rules::net::{Family, PortRange, Protocol};
use palisade_rules::ruleset::{
    Comment, HookPoint, LookupKey, Match, Op, Rule, Ruleset, Side, Statement, VerdictMap, Ways,
};

fn map(ways: Ways, comment: &str) -> Arc<VerdictMap> {
    let comment = Comment::new(comment);
    Arc::new(VerdictMap { ways, comment })
}

fn look(matches: Vec<Match>, key: LookupKey, into: &str) -> Rule {
    Rule {
        matches,
        statements: vec![Statement::Lookup(key, name(into))],
        ..Rule::default()
    }
}

fn range(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A map of each kind and a rule that looks into it; `leaf` and `other` are where they lead.
fn every_kind() -> Ruleset {
    let (leaf, other) = (name("leaf"), name("other"));
    let port = |number| (number, leaf.clone());
    let input = vec![
        look(vec![], LookupKey::Service, "services"),
        look(vec![], LookupKey::Protocol, "protocols"),
        look(
            vec![Match::Protocol(Op::Is, Protocol::TCP)],
            LookupKey::Port,
            "ports",
        ),
        look(
            vec![Match::Family(Family::V4)],
            LookupKey::Address(Side::Source, Family::V4),
            "addresses4",
        ),
        look(
            vec![Match::Family(Family::V6)],
            LookupKey::Address(Side::Destination, Family::V6),
            "addresses6",
        ),
        look(
            vec![Match::Family(Family::V4)],
            LookupKey::Address(Side::Destination, Family::V4),
            "ranges4",
        ),
        look(
            vec![Match::Family(Family::V6)],
            LookupKey::Address(Side::Source, Family::V6),
            "ranges6",
        ),
        look(vec![], LookupKey::Protocol, "nothing"),
    ];
    let maps = [
        (
            "services",
            Ways::Services(
                [
                    ((Protocol::TCP, 22), leaf.clone()),
                    ((Protocol::TCP, 443), other.clone()),
                    ((Protocol::UDP, 53), leaf.clone()),
                ]
                .into(),
            ),
        ),
        (
            "protocols",
            Ways::Protocols(
                [
                    (Protocol::ICMP, leaf.clone()),
                    (Protocol::TCP, other.clone()),
                    (Protocol(253), leaf.clone()),
                ]
                .into(),
            ),
        ),
        (
            "ports",
            Ways::Ports(
                [
                    port(range(0, 21)),
                    (range(22, 22), other.clone()),
                    port(range(23, 1023)),
                    port(range(8000, 8080)),
                    (range(65000, u16::MAX), other.clone()),
                ]
                .into(),
            ),
        ),
        (
            "addresses4",
            Ways::Ipv4Addresses([(v4("10.0.0.1"), leaf.clone()), (v4("10.0.0.2"), other.clone())].into()),
        ),
        (
            "addresses6",
            Ways::Ipv6Addresses([(v6("fd00::1"), leaf.clone())].into()),
        ),
        (
            "ranges4",
            Ways::Ipv4Ranges(
                [
                    ((v4("10.0.0.0"), v4("10.0.0.255")), leaf.clone()),
                    ((v4("10.0.1.0"), v4("10.0.1.9")), other.clone()),
                    ((v4("224.0.0.0"), v4("255.255.255.255")), leaf.clone()),
                ]
                .into(),
            ),
        ),
        (
            "ranges6",
            Ways::Ipv6Ranges(
                [
                    ((v6("::"), v6("::1")), leaf.clone()),
                    (
                        (v6("fd00::"), v6("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
                        other,
                    ),
                ]
                .into(),
            ),
        ),
    ];
    let maps = maps.into_iter().map(|(key, ways)| (name(key), map(ways, key)));
    Ruleset {
        chains: vec![
            base_chain("input", HookPoint::Input, input),
            chain("leaf", vec![rule(vec![Statement::Accept])]),
            chain("other", vec![rule(vec![Statement::Drop])]),
        ],
        maps: maps
            .chain([(name("nothing"), map(Ways::Protocols([].into()), ""))])
            .collect(),
        ..Ruleset::default()
    }
}

/// A table without what nobody wrote: the kernel's numbers of rules.
fn dumped() -> KernelTable {
    let mut table = open().dump().unwrap().unwrap();
    let rules = table.chains.iter_mut().flat_map(|chain| &mut chain.rules);
    rules.for_each(|rule| rule.handle = 0);
    table
}

#[test]
fn every_kind_lists_as_the_text_says_and_loads_from_it() {
    let desired = every_kind();
    let made = in_namespace({
        let desired = desired.clone();
        move || {
            let mut kernel = open();
            kernel.replace(&desired, &mut ()).unwrap();
            kernel.verify(&desired).unwrap();
            assert_eq!(kernel.replace(&desired, &mut ()).unwrap().changes, 0);
            assert_eq!(listing(), desired.to_string());
            dumped()
        }
    });
    let text = desired.to_string();
    let loaded = in_namespace(move || {
        load(&text);
        open().verify(&desired).unwrap();
        dumped()
    });
    assert_eq!(loaded, made);
    in_namespace(move || {
        let (desired, mut kernel) = (every_kind(), open());
        let image = Image::of(&desired).unwrap();
        kernel.load(&image, &mut ()).unwrap();
        assert_eq!(dumped(), made);
    });
}

/// Base chain `input` that looks into `services`, and the chains that it leads to.
fn leading(ways: &[(u16, &str)], chains: &[&str]) -> Ruleset {
    let services = ways.iter().map(|(port, to)| ((Protocol::TCP, *port), name(to)));
    let input = base_chain(
        "input",
        HookPoint::Input,
        vec![look(vec![], LookupKey::Service, "services")],
    );
    let leaves = chains
        .iter()
        .map(|name| chain(name, vec![rule(vec![Statement::Accept])]));
    Ruleset {
        chains: std::iter::once(input).chain(leaves).collect(),
        maps: [(name("services"), map(Ways::Services(services.collect()), ""))].into(),
        ..Ruleset::default()
    }
}

#[test]
fn elements_come_and_go_with_the_chains_they_lead_to() {
    let generations = [
        leading(&[(22, "a"), (80, "b")], &["a", "b"]),
        // Another element, another chain for one, a chain that goes, and one that comes before others.
        leading(&[(22, "a"), (80, "b"), (443, "a")], &["a", "b"]),
        leading(&[(22, "b"), (80, "b"), (443, "c")], &["b", "c"]),
        leading(&[(22, "a"), (443, "c")], &["a", "c"]),
        leading(&[(22, "c"), (23, "a"), (80, "b")], &["c", "b", "a"]),
        leading(&[], &[]),
        leading(&[(1, "z")], &["z"]),
    ];
    for update in [false, true] {
        let generations = generations.clone();
        in_namespace(move || {
            let mut kernel = open();
            for desired in &generations {
                if update {
                    kernel.update(desired, &mut ()).unwrap();
                } else {
                    kernel.replace(desired, &mut ()).unwrap();
                }
                open().verify(desired).unwrap();
                assert_eq!(listing(), desired.to_string());
            }
        });
    }
}

#[test]
fn an_element_more_is_one_operation() {
    in_namespace(|| {
        let mut kernel = open();
        kernel.replace(&leading(&[(22, "a")], &["a"]), &mut ()).unwrap();
        let desired = leading(&[(22, "a"), (80, "a")], &["a"]);
        let words: Vec<String> = diff(&desired, kernel.dump().unwrap().as_ref(), &())
            .operations()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(words, ["adding 1 elements to map services"]);
        assert_eq!(kernel.update(&desired, &mut ()).unwrap().changes, 1);
    });
}

#[test]
fn what_somebody_does_to_a_map_is_told_and_put_right() {
    in_namespace(|| {
        let desired = every_kind();
        let mut kernel = open();
        kernel.replace(&desired, &mut ()).unwrap();
        for (change, told) in [
            (
                "add element inet palisade services { tcp . 1 : goto leaf }",
                "map services lacks 0 elements and has 1 too many",
            ),
            (
                "delete element inet palisade ports { 8000-8080 : goto leaf }",
                "map ports lacks 1 elements and has 0 too many",
            ),
            (
                "add element inet palisade services { tcp . 1 : jump leaf }",
                "map services holds elements that palisade does not make",
            ),
            (
                "add map inet palisade more { type inet_proto : verdict; }",
                "map more should not be there",
            ),
            (
                "add map inet palisade marks { type inet_proto : mark; }",
                "map marks should not be there",
            ),
            ("flush map inet palisade ranges6", "map ranges6 lacks 2 elements"),
        ] {
            nft(&[change], "").unwrap();
            let repaired = kernel.repair(&desired, &mut ()).unwrap().unwrap();
            let words = repaired.mismatch.to_string();
            assert!(words.contains(told), "{words}");
            open().verify(&desired).unwrap();
            assert_eq!(listing(), desired.to_string());
        }
    });
}

/// A map's comment and kind are fixed when it is made.
#[test]
fn a_map_that_becomes_another_is_made_anew() {
    in_namespace(|| {
        let mut kernel = open();
        let of = |ways: Ways, key: LookupKey, comment: &str| {
            let mut desired = leading(&[], &["a"]);
            desired.maps.insert(name("services"), map(ways, comment));
            desired.chains[0] = base_chain("input", HookPoint::Input, vec![look(vec![], key, "services")]);
            desired
        };
        let to = || name("a");
        for desired in [
            of(
                Ways::Protocols([(Protocol::TCP, to())].into()),
                LookupKey::Protocol,
                "",
            ),
            of(
                Ways::Protocols([(Protocol::TCP, to())].into()),
                LookupKey::Protocol,
                "other",
            ),
            of(
                Ways::Services([((Protocol::TCP, 80), to())].into()),
                LookupKey::Service,
                "other",
            ),
        ] {
            kernel.update(&desired, &mut ()).unwrap();
            open().verify(&desired).unwrap();
            assert_eq!(listing(), desired.to_string());
        }
    });
}
