//! Ranges that overlap.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::{Groups, Item};
use crate::net::Family;

/// A region's range on the number line: the first number, and the last.
pub(super) type Span = (u128, u128, Item);

/// For each of some groups the regions of the spans that its key is in, if there are any; `None` if those are more than
/// `most`.
pub(super) fn covering<K: Copy>(
    groups: &Groups<K>,
    within: Range<usize>,
    spans: &[Span],
    most: usize,
    number: impl Fn(&K) -> u128,
) -> Option<Vec<(usize, Vec<Item>)>> {
    let pieces = pieces(spans, most)?;
    let mut added = 0;
    let mut all = Vec::new();
    if pieces.is_empty() {
        return Some(all);
    }
    for place in within {
        let number = number(&groups.key(place));
        let before = pieces.partition_point(|(first, ..)| *first <= number);
        let piece = pieces[..before].last().filter(|(_, last, _)| number <= *last);
        if let Some((.., items)) = piece {
            added += items.len();
            if added > most {
                return None;
            }
            all.push((place, items.clone()));
        }
    }
    Some(all)
}

/// Cuts the number line at every end of a span. Each piece that a span covers comes with the items of all that do;
/// neighbours that have the same are one. `None` if the pieces have more than `most` items together.
pub(super) fn pieces(spans: &[Span], most: usize) -> Option<Vec<(u128, u128, Vec<Item>)>> {
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

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number; beyond the last one of its family, the last.
pub(super) fn address(number: u128, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        Family::V6 => Ipv6Addr::from_bits(number).into(),
    }
}
