//! The tree as maps and chains.

use std::net::IpAddr;

use super::tree::{Key, Lookup, Node, To};
use crate::net::Family;
use crate::ruleset::{Comment, LookupKey, Match, Name, Op, Rule, Side, Statement, Ways};

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

/// The lookups of a node, whose chain is `parent`, and their maps; `chain` gives the name of where they lead.
pub(super) fn lookups(node: &Node, parent: &Name, chain: impl Fn(&To) -> Name) -> Vec<(Rule, Name, Ways)> {
    let each = node.lookups.iter().map(|lookup| {
        let (key, matches, what, ways) = said(lookup, &chain);
        let map = Name::new(&format!("{parent}/by-{what}"));
        let rule = Rule {
            matches,
            statements: vec![Statement::Lookup(key, map.clone())],
            comment: Comment::new("only policies that can match"),
        };
        (rule, map, ways)
    });
    each.collect()
}

/// A lookup in nftables' words: by what, under which conditions, its name, and the elements.
fn said(lookup: &Lookup, chain: impl Fn(&To) -> Name) -> (LookupKey, Vec<Match>, String, Ways) {
    match lookup {
        Lookup::Services(ways) => {
            let ways = ways.iter().map(|(service, to)| (*service, chain(to)));
            let ways = Ways::Services(ways.collect());
            (LookupKey::Service, Vec::new(), "service".to_owned(), ways)
        }
        Lookup::Protocols(ways) => {
            let ways = ways.iter().map(|(protocol, to)| (*protocol, chain(to)));
            let ways = Ways::Protocols(ways.collect());
            (LookupKey::Protocol, Vec::new(), "protocol".to_owned(), ways)
        }
        Lookup::Ports(protocol, ways) => {
            let ways = ways.iter().map(|(range, to)| (*range, chain(to)));
            let matches = vec![Match::Protocol(Op::Is, *protocol)];
            (
                LookupKey::Port,
                matches,
                "port".to_owned(),
                Ways::Ports(ways.collect()),
            )
        }
        Lookup::Addresses(side, family, ways) => {
            let v4 = ways.iter().filter_map(|(address, to)| match address {
                IpAddr::V4(address) => Some((*address, chain(to))),
                IpAddr::V6(_) => None,
            });
            let v6 = ways.iter().filter_map(|(address, to)| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some((*address, chain(to))),
            });
            let ways = match family {
                Family::V4 => Ways::Ipv4Addresses(v4.collect()),
                Family::V6 => Ways::Ipv6Addresses(v6.collect()),
            };
            address_lookup(*side, *family, "", ways)
        }
        Lookup::Ranges(side, family, ways) => {
            let v4 = ways.iter().filter_map(|((first, last), to)| match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => Some(((*first, *last), chain(to))),
                _ => None,
            });
            let v6 = ways.iter().filter_map(|((first, last), to)| match (first, last) {
                (IpAddr::V6(first), IpAddr::V6(last)) => Some(((*first, *last), chain(to))),
                _ => None,
            });
            let ways = match family {
                Family::V4 => Ways::Ipv4Ranges(v4.collect()),
                Family::V6 => Ways::Ipv6Ranges(v6.collect()),
            };
            address_lookup(*side, *family, "-net", ways)
        }
    }
}

fn address_lookup(
    side: Side,
    family: Family,
    kind: &str,
    ways: Ways,
) -> (LookupKey, Vec<Match>, String, Ways) {
    let version = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    (
        LookupKey::Address(side, family),
        vec![Match::Family(family)],
        format!("{}{kind}{version}", side_word(side)),
        ways,
    )
}

fn side_word(side: Side) -> &'static str {
    match side {
        Side::Source => "from",
        Side::Destination => "to",
    }
}
