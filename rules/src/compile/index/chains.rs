//! The tree as maps and chains.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tree::{Key, Lookup, Node, To};
use crate::net::Family;
use crate::ruleset::{Comment, LookupKey, Match, Name, Op, Rule, Side, Statement, Ways};
use crate::shared_map::SharedMap;

/// The name of a node's chain, under that of its tier: what leads there, `in/eth0/02-default/tcp-443`, or `index` for the
/// first one. Where several keys do, it is the first. A block is called after a policy in it,
/// `in/eth0/02-default/other/around-000300-monitoring`; `policies` gives the last parts of the names of the tier's
/// policies.
pub(super) fn chain_name<'p>(tier: &Name, node: &Node, policies: impl Fn(usize) -> &'p str) -> Name {
    if node.by.is_empty() {
        return Name::new(&format!("{tier}/index"));
    }
    let words = node.by.iter().map(|key| match *key {
        Key::Other => "other".to_owned(),
        Key::Service(protocol, port) => format!("{protocol}-{port}"),
        Key::Protocol(protocol) => protocol.to_string(),
        Key::AnyPort(protocol) => format!("{protocol}-any"),
        Key::Around(policy) => format!("around-{}", policies(policy)),
        Key::Ports(range) => format!("ports-{range}"),
        Key::Address(side, address) => format!("{}-{address}", side_word(side)),
        Key::Range(side, first, last) => format!("{}-{first}-{last}", side_word(side)),
    });
    let name = words.fold(tier.to_string(), |name, word| format!("{name}/{word}"));
    Name::new(&name)
}

/// On to a node, for packets that no lookup has found.
pub(super) fn onward(next: Name) -> Rule {
    Rule {
        statements: vec![Statement::Goto(next)],
        comment: Comment::new("what has no list of its own here"),
        ..Rule::default()
    }
}

/// A lookup of the node whose chain is `parent` as a rule, and the name of its map.
pub(super) fn rule_of(lookup: &Lookup, parent: &Name) -> (Rule, Name) {
    let address = |side, family, kind: &str| {
        let version = match family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        (
            LookupKey::Address(side, family),
            vec![Match::Family(family)],
            format!("{}{kind}{version}", side_word(side)),
        )
    };
    let (key, matches, what) = match *lookup {
        Lookup::Services(_) => (LookupKey::Service, Vec::new(), "service".to_owned()),
        Lookup::Protocols(_) => (LookupKey::Protocol, Vec::new(), "protocol".to_owned()),
        Lookup::Ports(protocol, _) => {
            let matches = vec![Match::Protocol(Op::Is, protocol)];
            (LookupKey::Port, matches, "port".to_owned())
        }
        Lookup::Addresses(side, family, _) => address(side, family, ""),
        Lookup::Ranges(side, family, _) => address(side, family, "-net"),
    };
    let map = Name::new(&format!("{parent}/by-{what}"));
    let rule = Rule {
        matches,
        statements: vec![Statement::Lookup(key, map.clone())],
        comment: Comment::new("only policies that can match"),
    };
    (rule, map)
}

/// The elements of a lookup's map; `chain` gives the name of where a key leads.
pub(super) fn ways_of(lookup: &Lookup, chain: impl Fn(To) -> Name) -> Ways {
    fn each<K: Copy, W: Ord>(
        ways: &[(K, To)],
        key: impl Fn(K) -> Option<W>,
        chain: impl Fn(To) -> Name,
    ) -> SharedMap<W, Name> {
        let ways = ways.iter();
        ways.filter_map(|(of, to)| Some((key(*of)?, chain(*to))))
            .collect()
    }
    match lookup {
        Lookup::Services(ways) => Ways::Services(each(ways, Some, chain)),
        Lookup::Protocols(ways) => Ways::Protocols(each(ways, Some, chain)),
        Lookup::Ports(_, ways) => Ways::Ports(each(ways, Some, chain)),
        Lookup::Addresses(_, Family::V4, ways) => Ways::Ipv4Addresses(each(ways, v4, chain)),
        Lookup::Addresses(_, Family::V6, ways) => Ways::Ipv6Addresses(each(ways, v6, chain)),
        Lookup::Ranges(_, Family::V4, ways) => {
            Ways::Ipv4Ranges(each(ways, |(first, last)| v4(first).zip(v4(last)), chain))
        }
        Lookup::Ranges(_, Family::V6, ways) => {
            Ways::Ipv6Ranges(each(ways, |(first, last)| v6(first).zip(v6(last)), chain))
        }
    }
}

/// The same, made from the elements that an earlier lookup of this kind had, which `had` gives: they share what
/// `is_same` says leads to the chain that it did.
pub(super) fn followed(
    lookup: &Lookup,
    earlier: &Lookup,
    had: &Ways,
    is_same: impl Fn(To, To) -> bool,
    chain: impl Fn(To) -> Name,
) -> Option<Ways> {
    match (lookup, earlier, had) {
        (Lookup::Services(ways), Lookup::Services(earlier), Ways::Services(had)) => Some(Ways::Services(
            patched(had, changes(ways, earlier, is_same), Some, chain),
        )),
        (Lookup::Addresses(_, _, ways), Lookup::Addresses(_, _, earlier), Ways::Ipv4Addresses(had)) => Some(
            Ways::Ipv4Addresses(patched(had, changes(ways, earlier, is_same), v4, chain)),
        ),
        (Lookup::Addresses(_, _, ways), Lookup::Addresses(_, _, earlier), Ways::Ipv6Addresses(had)) => Some(
            Ways::Ipv6Addresses(patched(had, changes(ways, earlier, is_same), v6, chain)),
        ),
        // There are few of the others.
        _ => None,
    }
}

/// The keys that lead elsewhere than before, or nowhere any more.
fn changes<K: Ord + Copy>(
    ways: &[(K, To)],
    earlier: &[(K, To)],
    is_same: impl Fn(To, To) -> bool,
) -> Vec<(K, Option<To>)> {
    let mut place = 0;
    let mut changes = Vec::new();
    for &(key, to) in ways {
        while let Some((gone, _)) = earlier.get(place).filter(|(other, _)| *other < key) {
            changes.push((*gone, None));
            place += 1;
        }
        let was = earlier.get(place).filter(|(other, _)| *other == key);
        if was.is_some() {
            place += 1;
        }
        if !was.is_some_and(|(_, was)| is_same(to, *was)) {
            changes.push((key, Some(to)));
        }
    }
    changes.extend(earlier[place..].iter().map(|(gone, _)| (*gone, None)));
    changes
}

fn patched<K, W: Ord + Clone>(
    had: &SharedMap<W, Name>,
    changes: Vec<(K, Option<To>)>,
    key: impl Fn(K) -> Option<W>,
    chain: impl Fn(To) -> Name,
) -> SharedMap<W, Name> {
    let mut ways = had.clone();
    for (of, to) in changes {
        match (key(of), to) {
            (Some(key), Some(to)) => drop(ways.insert(key, chain(to))),
            (Some(key), None) => drop(ways.remove(&key)),
            (None, _) => {}
        }
    }
    ways
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    }
}

fn side_word(side: Side) -> &'static str {
    match side {
        Side::Source => "from",
        Side::Destination => "to",
    }
}
