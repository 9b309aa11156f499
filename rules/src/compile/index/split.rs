//! Ways to tell packets apart by one lookup.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::region::{Region, Services};
use crate::net::{Family, PortRange, Protocol};
use crate::ruleset::Side;

/// A region, by its number.
pub(super) type Item = u32;

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

/// Packets told apart: a class for each key, with the regions that they may be in.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// The classes of every lookup, which are asked one after the other.
    pub(super) lookups: Vec<Classes>,
    /// The regions of packets that no lookup finds.
    pub(super) rest: Vec<Item>,
}

/// The classes of one lookup.
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
    pub(super) fn items(&self) -> Vec<&Vec<Item>> {
        match self {
            Classes::Services(classes) => classes.iter().map(|(_, items)| items).collect(),
            Classes::Protocols(classes) => classes.iter().map(|(_, items)| items).collect(),
            Classes::Ports(_, classes) => classes.iter().map(|(_, items)| items).collect(),
            Classes::Addresses(_, _, classes) => classes.iter().map(|(_, items)| items).collect(),
            Classes::Ranges(_, _, classes) => classes.iter().map(|(_, items)| items).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.items().is_empty()
    }
}

/// Ports of one rule that are named each; more are a range.
const MOST_PORTS: usize = 64;

/// Tells packets apart by one dimension; `None` if that would take more than `most` entries in all classes together.
pub(super) fn split(
    regions: &[Region<'_>],
    items: &[Item],
    dimension: Dimension,
    most: usize,
) -> Option<Split> {
    let mut split = match dimension {
        Dimension::Services => services(regions, items, most),
        Dimension::Ports(protocol) => ports(regions, items, protocol, most),
        Dimension::Addresses(side) => addresses(regions, items, side, most),
    }?;
    split.lookups.retain(|classes| !classes.is_empty());
    Some(split)
}

fn services(regions: &[Region<'_>], items: &[Item], most: usize) -> Option<Split> {
    let mut any = Vec::new();
    let mut exact: BTreeMap<(Protocol, u16), Vec<Item>> = BTreeMap::new();
    let mut of_protocol: BTreeMap<Protocol, Vec<Item>> = BTreeMap::new();
    let mut wide: Vec<(Protocol, PortRange, Item)> = Vec::new();
    for &item in items {
        match &regions[item as usize].services {
            Services::Any => any.push(item),
            Services::Protocol(protocol) => of_protocol.entry(*protocol).or_default().push(item),
            Services::Ports(protocol, ranges) => {
                let few = ranges.iter().copied().map(ports_in).sum::<usize>() <= MOST_PORTS;
                for range in ranges {
                    if few {
                        for port in range.first..=range.last {
                            exact.entry((*protocol, port)).or_default().push(item);
                        }
                    } else {
                        wide.push((*protocol, *range, item));
                    }
                }
            }
        }
    }
    let mut protocols = of_protocol.clone();
    for (protocol, _, item) in &wide {
        protocols.entry(*protocol).or_default().push(*item);
    }
    let none = Vec::new();
    let on_top = |protocol: &Protocol| protocols.get(protocol).unwrap_or(&none).len() + any.len();
    let entries = exact
        .iter()
        .map(|((protocol, _), own)| own.len() + on_top(protocol));
    if entries.sum::<usize>() > most {
        return None;
    }
    for ((protocol, port), own) in &mut exact {
        let covering = wide
            .iter()
            .filter(|(of, range, _)| of == protocol && range.contains(*port));
        own.extend(covering.map(|(.., item)| *item));
        own.extend(of_protocol.get(protocol).unwrap_or(&none));
        own.extend(&any);
        tidy(own);
    }
    for own in protocols.values_mut() {
        own.extend(&any);
        tidy(own);
    }
    Some(Split {
        lookups: vec![
            Classes::Services(exact.into_iter().collect()),
            Classes::Protocols(protocols.into_iter().collect()),
        ],
        rest: any,
    })
}

fn ports(regions: &[Region<'_>], items: &[Item], protocol: Protocol, most: usize) -> Option<Split> {
    let mut rest = Vec::new();
    let mut spans = Vec::new();
    for &item in items {
        match &regions[item as usize].services {
            Services::Ports(of, ranges) if *of == protocol => {
                spans.extend(
                    ranges
                        .iter()
                        .map(|range| (range.first.into(), range.last.into(), item)),
                );
            }
            Services::Ports(..) => {}
            Services::Any | Services::Protocol(_) => rest.push(item),
        }
    }
    let port = |number: u128| u16::try_from(number).unwrap_or(u16::MAX);
    let classes = pieces(&spans, &rest, most)?
        .into_iter()
        .map(|(first, last, items)| {
            let (first, last) = (port(first), port(last));
            (PortRange { first, last }, items)
        })
        .collect();
    Some(Split {
        lookups: vec![Classes::Ports(protocol, classes)],
        rest,
    })
}

fn addresses(regions: &[Region<'_>], items: &[Item], side: Side, most: usize) -> Option<Split> {
    let mut lookups = Vec::new();
    let mut rest = BTreeSet::new();
    for family in Family::BOTH {
        let mut any = Vec::new();
        let mut exact: BTreeMap<IpAddr, Vec<Item>> = BTreeMap::new();
        let mut spans = Vec::new();
        for &item in items {
            let region = &regions[item as usize];
            if !region.has(family) {
                continue;
            }
            match region.addresses(side).of_family(family) {
                None => any.push(item),
                Some(nets) => {
                    for net in nets {
                        if net.prefix_len() == family.bits() {
                            exact.entry(net.addr()).or_default().push(item);
                        } else {
                            spans.push((number(net.network()), number(net.broadcast()), item));
                        }
                    }
                }
            }
        }
        let entries = exact.values().map(|own| own.len() + any.len());
        if entries.sum::<usize>() > most {
            return None;
        }
        let pieces = pieces(&spans, &any, most)?;
        for (address, own) in &mut exact {
            let address = number(*address);
            let before = pieces.partition_point(|(first, ..)| *first <= address);
            match pieces[..before].last().filter(|(_, last, _)| address <= *last) {
                Some((.., covering)) => own.extend(covering),
                None => own.extend(&any),
            }
            tidy(own);
        }
        let ranges = pieces
            .into_iter()
            .map(|(first, last, items)| ((address(first, family), address(last, family)), items));
        lookups.push(Classes::Addresses(side, family, exact.into_iter().collect()));
        lookups.push(Classes::Ranges(side, family, ranges.collect()));
        rest.extend(any);
    }
    Some(Split {
        lookups,
        rest: rest.into_iter().collect(),
    })
}

/// Cuts the number line at every end of a span. Each piece that a span covers comes with the items of all that do, and
/// with those of everywhere; neighbours that have the same are one.
fn pieces(
    spans: &[(u128, u128, Item)],
    everywhere: &[Item],
    most: usize,
) -> Option<Vec<(u128, u128, Vec<Item>)>> {
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
        let mut items: Vec<Item> = open.keys().chain(everywhere).copied().collect();
        tidy(&mut items);
        entries += items.len();
        if entries > most {
            return None;
        }
        match pieces.last_mut() {
            Some((_, before, same)) if *before + 1 == first && *same == items => *before = last,
            _ => pieces.push((first, last, items)),
        }
    }
    Some(pieces)
}

fn tidy(items: &mut Vec<Item>) {
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
