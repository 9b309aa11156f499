//! Ways to tell packets apart by one lookup.

mod column;
mod groups;
mod pieces;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::memo::Remembered;
use super::region::{Region, Services};
use crate::net::{Family, PortRange, Protocol};
use crate::ruleset::Side;
use crate::world::AddressSets;
pub(super) use column::{Column, Columns, Moved};
use column::{Tied, TiedTo};
pub(super) use groups::Groups;
use pieces::{Span, address, covering, number, pieces};

/// A region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// Its policy, by its place in the tier.
    pub(super) policy: u32,
    /// Its place among the regions of its policy.
    pub(super) region: u32,
}

/// The regions of a tier's policies, in order.
#[derive(Clone, Copy)]
pub(in crate::compile) struct Regions<'r> {
    /// The policies, in order.
    pub(in crate::compile) policies: &'r [Arc<Remembered>],
    /// The addresses of the sets that they name.
    pub(in crate::compile) sets: &'r AddressSets,
}

impl<'r> Regions<'r> {
    pub(super) fn get(self, item: Item) -> &'r Region {
        &self.policies[item.policy as usize].regions[item.region as usize]
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
#[derive(Debug)]
pub(super) enum Classes {
    /// `meta l4proto . th dport`.
    Services(Groups<(Protocol, u16)>),
    /// `meta l4proto`.
    Protocols(Groups<Protocol>),
    /// `th dport`, of a protocol.
    Ports(Protocol, Groups<PortRange>),
    /// `ip saddr` and the like: single addresses.
    Addresses(Side, Family, Groups<IpAddr>),
    /// `ip saddr` and the like: ranges, first to last.
    Ranges(Side, Family, Groups<(IpAddr, IpAddr)>),
}

impl Classes {
    /// The regions of all classes together, those of several classes several times.
    pub(super) fn entries(&self) -> usize {
        match self {
            Classes::Services(classes) => classes.entries(),
            Classes::Protocols(classes) => classes.entries(),
            Classes::Ports(_, classes) => classes.entries(),
            Classes::Addresses(_, _, classes) => classes.entries(),
            Classes::Ranges(_, _, classes) => classes.entries(),
        }
    }
}

/// Tells packets apart by what a column says; `None` if that would take more than `most` entries in all classes together.
pub(super) fn split(regions: Regions<'_>, column: &Column, most: usize) -> Option<Split> {
    if !column.fits(most) {
        return None;
    }
    let mut split = match &column.tied {
        Tied::Services(tied) => services(regions, tied, most),
        Tied::Addresses(side, families) => addresses(*side, families, most)?,
    };
    split.looks_into_sets = column.looks_into_sets;
    split.lookups.retain(|classes| classes.entries() > 0);
    Some(split)
}

/// The same, by ranges of the destination ports of one protocol.
pub(super) fn split_ports(
    regions: Regions<'_>,
    items: &[Item],
    protocol: Protocol,
    most: usize,
) -> Option<Split> {
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
    let classes: Groups<PortRange> = pieces(&spans, most)?
        .into_iter()
        .map(|(first, last, items)| {
            let (first, last) = (port(first), port(last));
            (PortRange { first, last }, items)
        })
        .collect();
    let mut split = Split {
        rest,
        ..Split::default()
    };
    if classes.entries() > 0 {
        split.lookups.push(Classes::Ports(protocol, classes));
    }
    Some(split)
}

fn services(regions: Regions<'_>, tied: &TiedTo<(Protocol, u16)>, most: usize) -> Split {
    let mut rest = Vec::new();
    let mut of_protocol: BTreeMap<Protocol, Vec<Item>> = BTreeMap::new();
    let mut wide: BTreeMap<Protocol, Vec<Span>> = BTreeMap::new();
    for &item in &tied.others {
        match &regions.get(item).services {
            Services::Any => rest.push(item),
            Services::Protocol(protocol) => of_protocol.entry(*protocol).or_default().push(item),
            Services::Ports(protocol, ranges) => {
                let ranges = ranges.iter();
                let spans = ranges.map(|range| (range.first.into(), range.last.into(), item));
                wide.entry(*protocol).or_default().extend(spans);
            }
        }
    }
    let exact = Groups::of(&tied.exact);
    let mut below_ports = of_protocol.clone();
    let mut more = Vec::new();
    for (protocol, spans) in &wide {
        let begin = exact.partition_point(|(of, _)| of < protocol);
        let end = exact.partition_point(|(of, _)| of <= protocol);
        let all = spans.iter().map(|(.., item)| *item);
        of_protocol.entry(*protocol).or_default().extend(all.clone());
        if begin == end {
            continue;
        }
        match covering(&exact, begin..end, spans, most, |(_, port)| (*port).into()) {
            Some(covering) => more.extend(covering),
            // Too many of them: then they count everywhere, whether they have the port or not.
            None => below_ports.entry(*protocol).or_default().extend(all),
        }
    }
    for below in below_ports.values_mut() {
        below.extend(&rest);
    }
    for items in of_protocol.values_mut().chain(below_ports.values_mut()) {
        tidy(items);
    }
    Split {
        lookups: vec![
            Classes::Services(exact.with(more)),
            Classes::Protocols(of_protocol.into_iter().collect()),
        ],
        rest,
        below_ports,
        ..Split::default()
    }
}

fn addresses(side: Side, families: &[TiedTo<IpAddr>; 2], most: usize) -> Option<Split> {
    let mut lookups = Vec::new();
    let mut rest = Vec::new();
    for (family, tied) in Family::BOTH.into_iter().zip(families) {
        rest.extend(&tied.others);
        let exact = Groups::of(&tied.exact);
        let all = 0..exact.len();
        let more = covering(&exact, all, &tied.spans, most, |address| number(*address))?;
        let ranges = pieces(&tied.spans, most)?
            .into_iter()
            .map(|(first, last, items)| ((address(first, family), address(last, family)), items));
        lookups.push(Classes::Addresses(side, family, exact.with(more)));
        lookups.push(Classes::Ranges(side, family, ranges.collect()));
    }
    tidy(&mut rest);
    Some(Split {
        lookups,
        rest,
        ..Split::default()
    })
}

pub(super) fn tidy(items: &mut Vec<Item>) {
    items.sort_unstable();
    items.dedup();
}
