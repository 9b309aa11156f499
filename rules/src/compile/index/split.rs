//! Ways to tell packets apart by one lookup.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::region::{Addresses, Region, Services};
use crate::net::{Family, PortRange, Protocol};
use crate::ruleset::Side;
use crate::world::AddressSets;

/// A region, by its number. Regions are numbered in order of their policies.
pub(super) type Item = u32;

/// The regions of a tier's policies, in order.
#[derive(Clone, Copy)]
pub(in crate::compile) struct Regions<'r> {
    /// Each with its policy, by its place in the tier.
    pub(in crate::compile) all: &'r [(usize, &'r Region)],
    /// The addresses of the sets that they name.
    pub(in crate::compile) sets: &'r AddressSets,
}

impl<'r> Regions<'r> {
    pub(super) fn get(self, item: Item) -> &'r Region {
        self.all[item as usize].1
    }

    pub(super) fn policy(self, item: Item) -> usize {
        self.all[item as usize].0
    }
}

/// What packets can be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dimension {
    /// Protocol and destination port.
    Services,
    /// Ranges of destination ports of one protocol: where [`Dimension::Services`] found too many to name each.
    Ports(Protocol),
    /// The address of one side.
    Addresses(Side),
}

/// Packets told apart: a class for each key, with the regions that are tied to it, sorted.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// The classes of every lookup, which are asked one after the other.
    pub(super) lookups: Vec<Classes>,
    /// Whether it depends on what address sets hold.
    pub(super) looks_into_sets: bool,
    /// The regions that are tied to nothing here: they count in every class, and are all there is for packets that no
    /// lookup finds.
    pub(super) rest: Vec<Item>,
    /// What counts in every class of single ports of a protocol, instead of `rest`.
    pub(super) below_ports: BTreeMap<Protocol, Vec<Item>>,
}

/// The classes of one lookup, sorted by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Classes {
    /// `meta l4proto . th dport`.
    Services(Vec<((Protocol, u16), Vec<Item>)>),
    /// `meta l4proto`.
    Protocols(Vec<(Protocol, Vec<Item>)>),
    /// `th dport`, of a protocol.
    Ports(Protocol, Vec<(PortRange, Vec<Item>)>),
    /// `ip saddr` and the like: single addresses.
    Addresses(Side, Family, Vec<(IpAddr, Vec<Item>)>),
    /// `ip saddr` and the like: ranges, first to last.
    Ranges(Side, Family, Vec<((IpAddr, IpAddr), Vec<Item>)>),
}

impl Classes {
    /// The regions of each class.
    pub(super) fn items(&self) -> Box<dyn Iterator<Item = &Vec<Item>> + '_> {
        match self {
            Classes::Services(classes) => Box::new(classes.iter().map(|(_, items)| items)),
            Classes::Protocols(classes) => Box::new(classes.iter().map(|(_, items)| items)),
            Classes::Ports(_, classes) => Box::new(classes.iter().map(|(_, items)| items)),
            Classes::Addresses(_, _, classes) => Box::new(classes.iter().map(|(_, items)| items)),
            Classes::Ranges(_, _, classes) => Box::new(classes.iter().map(|(_, items)| items)),
        }
    }
}

/// Ports of one rule that are named each; more are a range.
const MOST_PORTS: usize = 64;

/// Tells packets apart by one dimension; `None` if that would take more than `most` entries in all classes together.
pub(super) fn split(
    regions: Regions<'_>,
    items: &[Item],
    dimension: Dimension,
    most: usize,
) -> Option<Split> {
    let mut split = match dimension {
        Dimension::Services => services(regions, items, most),
        Dimension::Ports(protocol) => ports(regions, items, protocol, most),
        Dimension::Addresses(side) => addresses(regions, items, side, most),
    }?;
    split.lookups.retain(|classes| classes.items().next().is_some());
    Some(split)
}

fn services(regions: Regions<'_>, items: &[Item], most: usize) -> Option<Split> {
    let mut rest = Vec::new();
    let mut exact: Vec<((Protocol, u16), Item)> = Vec::new();
    let mut of_protocol: BTreeMap<Protocol, Vec<Item>> = BTreeMap::new();
    let mut wide: BTreeMap<Protocol, Vec<(u128, u128, Item)>> = BTreeMap::new();
    for &item in items {
        match &regions.get(item).services {
            Services::Any => rest.push(item),
            Services::Protocol(protocol) => of_protocol.entry(*protocol).or_default().push(item),
            Services::Ports(protocol, ranges) => {
                if ranges.iter().copied().map(ports_in).sum::<usize>() <= MOST_PORTS {
                    let ports = ranges.iter().flat_map(|range| range.first..=range.last);
                    exact.extend(ports.map(|port| ((*protocol, port), item)));
                } else {
                    let ranges = ranges.iter();
                    let spans = ranges.map(|range| (range.first.into(), range.last.into(), item));
                    wide.entry(*protocol).or_default().extend(spans);
                }
            }
        }
    }
    if exact.len() > most {
        return None;
    }
    let mut exact = grouped(exact);
    let mut below_ports = of_protocol.clone();
    for (protocol, spans) in &wide {
        let begin = exact.partition_point(|((of, _), _)| of < protocol);
        let end = exact.partition_point(|((of, _), _)| of <= protocol);
        let all = spans.iter().map(|(.., item)| *item);
        of_protocol.entry(*protocol).or_default().extend(all.clone());
        let named = &mut exact[begin..end];
        if !named.is_empty() && !cover(named, spans, most, |(_, port)| (*port).into()) {
            // Too many of them: then they count everywhere, whether they have the port or not.
            below_ports.entry(*protocol).or_default().extend(all);
        }
    }
    for below in below_ports.values_mut() {
        below.extend(&rest);
    }
    for items in of_protocol.values_mut().chain(below_ports.values_mut()) {
        tidy(items);
    }
    Some(Split {
        lookups: vec![
            Classes::Services(exact),
            Classes::Protocols(of_protocol.into_iter().collect()),
        ],
        rest,
        below_ports,
        looks_into_sets: false,
    })
}

fn ports(regions: Regions<'_>, items: &[Item], protocol: Protocol, most: usize) -> Option<Split> {
    let mut rest = Vec::new();
    let mut spans = Vec::new();
    for &item in items {
        match &regions.get(item).services {
            Services::Ports(of, ranges) if *of == protocol => {
                let ranges = ranges.iter();
                spans.extend(ranges.map(|range| (range.first.into(), range.last.into(), item)));
            }
            Services::Ports(..) => {}
            Services::Any | Services::Protocol(_) => rest.push(item),
        }
    }
    let port = |number: u128| u16::try_from(number).unwrap_or(u16::MAX);
    let classes = pieces(&spans, most)?
        .into_iter()
        .map(|(first, last, items)| {
            let (first, last) = (port(first), port(last));
            (PortRange { first, last }, items)
        })
        .collect();
    Some(Split {
        lookups: vec![Classes::Ports(protocol, classes)],
        rest,
        ..Split::default()
    })
}

fn addresses(regions: Regions<'_>, items: &[Item], side: Side, most: usize) -> Option<Split> {
    let mut lookups = Vec::new();
    let mut rest = Vec::new();
    let mut looks_into_sets = false;
    for family in Family::BOTH {
        let mut exact: Vec<(IpAddr, Item)> = Vec::new();
        let mut spans = Vec::new();
        for &item in items {
            let region = regions.get(item);
            if !region.has(family) {
                continue;
            }
            let addresses = region.addresses(side);
            looks_into_sets |= matches!(addresses, Addresses::Set(_));
            match addresses.of_family(regions.sets, family) {
                None => rest.push(item),
                Some(nets) => {
                    for net in nets {
                        if net.prefix_len() == family.bits() {
                            exact.push((net.addr(), item));
                        } else {
                            spans.push((number(net.network()), number(net.broadcast()), item));
                        }
                    }
                }
            }
            if exact.len() + spans.len() > most {
                return None;
            }
        }
        let mut exact = grouped(exact);
        if !cover(&mut exact, &spans, most, |address| number(*address)) {
            return None;
        }
        let ranges = pieces(&spans, most)?
            .into_iter()
            .map(|(first, last, items)| ((address(first, family), address(last, family)), items));
        lookups.push(Classes::Addresses(side, family, exact));
        lookups.push(Classes::Ranges(side, family, ranges.collect()));
    }
    tidy(&mut rest);
    Some(Split {
        lookups,
        looks_into_sets,
        rest,
        ..Split::default()
    })
}

/// The items of each key, both sorted.
fn grouped<K: Ord + Copy>(mut entries: Vec<(K, Item)>) -> Vec<(K, Vec<Item>)> {
    entries.sort_unstable();
    entries.dedup();
    let groups = entries.chunk_by(|(key, _), (next, _)| key == next);
    groups
        .map(|group| (group[0].0, group.iter().map(|(_, item)| *item).collect()))
        .collect()
}

/// Adds to single keys the items of the spans that they are in; `false`, and nothing added, if those are more than
/// `most`.
fn cover<K>(
    exact: &mut [(K, Vec<Item>)],
    spans: &[(u128, u128, Item)],
    most: usize,
    number: impl Fn(&K) -> u128,
) -> bool {
    let Some(pieces) = pieces(spans, most) else {
        return false;
    };
    let covering = |key: &K| {
        let number = number(key);
        let before = pieces.partition_point(|(first, ..)| *first <= number);
        let piece = pieces[..before].last().filter(|(_, last, _)| number <= *last);
        piece.map_or(&[][..], |(.., items)| items)
    };
    let added: usize = exact.iter().map(|(key, _)| covering(key).len()).sum();
    if added > most {
        return false;
    }
    for (key, own) in exact {
        let covering = covering(key);
        if !covering.is_empty() {
            own.extend(covering);
            tidy(own);
        }
    }
    true
}

/// Cuts the number line at every end of a span. Each piece that a span covers comes with the items of all that do;
/// neighbours that have the same are one. `None` if the pieces have more than `most` items together.
fn pieces(spans: &[(u128, u128, Item)], most: usize) -> Option<Vec<(u128, u128, Vec<Item>)>> {
    // What begins and what is over, in order; the end of the number line has nothing behind it.
    let mut edges: BTreeMap<u128, (Vec<Item>, Vec<Item>)> = BTreeMap::new();
    for &(first, last, item) in spans {
        edges.entry(first).or_default().0.push(item);
        if let Some(behind) = last.checked_add(1) {
            edges.entry(behind).or_default().1.push(item);
        }
    }
    let mut pieces: Vec<(u128, u128, Vec<Item>)> = Vec::new();
    let mut entries = 0;
    // How many spans of an item are open.
    let mut open: BTreeMap<Item, usize> = BTreeMap::new();
    let mut edges = edges.into_iter().peekable();
    while let Some((first, (begin, over))) = edges.next() {
        for item in begin {
            *open.entry(item).or_default() += 1;
        }
        for item in over {
            if let Some(count) = open.get_mut(&item) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&item);
                }
            }
        }
        if open.is_empty() {
            continue;
        }
        let last = edges.peek().map_or(u128::MAX, |(next, _)| next - 1);
        entries += open.len();
        if entries > most {
            return None;
        }
        let items: Vec<Item> = open.keys().copied().collect();
        match pieces.last_mut() {
            Some((_, before, same)) if *before + 1 == first && *same == items => *before = last,
            _ => pieces.push((first, last, items)),
        }
    }
    Some(pieces)
}

pub(super) fn tidy(items: &mut Vec<Item>) {
    items.sort_unstable();
    items.dedup();
}

fn ports_in(range: PortRange) -> usize {
    usize::from(range.last - range.first) + 1
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number; beyond the last one of its family, the last.
fn address(number: u128, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        Family::V6 => Ipv6Addr::from_bits(number).into(),
    }
}
