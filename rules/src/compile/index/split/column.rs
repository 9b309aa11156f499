//! What regions have in one dimension, and how that follows a change of a few policies.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::pieces::{Span, number};
use super::{Dimension, Item, Regions};
use crate::compile::index::region::{Addresses, Services};
use crate::compile::index::tree::Key;
use crate::net::{Family, PortRange, Protocol};
use crate::ruleset::Side;

/// What a list of regions has in one dimension.
#[derive(Debug)]
pub(in crate::compile::index) struct Column {
    /// The regions.
    items: Vec<Item>,
    pub(super) tied: Tied,
    /// Whether it depends on what address sets hold.
    pub(super) looks_into_sets: bool,
}

/// Which regions are tied to what.
#[derive(Debug)]
pub(super) enum Tied {
    Services(TiedTo<(Protocol, u16)>),
    /// By family.
    Addresses(Side, Box<[TiedTo<IpAddr>; 2]>),
}

/// Which regions are tied to which single keys and ranges.
#[derive(Debug)]
pub(super) struct TiedTo<K> {
    /// By key, then by region.
    pub(super) exact: Vec<(K, Item)>,
    pub(super) spans: Vec<Span>,
    /// Those that are tied to none of these, or not in this way; sorted.
    pub(super) others: Vec<Item>,
}

/// The long columns of a tier, by what leads to the node that was made from them.
pub(in crate::compile::index) type Columns = BTreeMap<(Vec<Key>, Dimension), Arc<Column>>;

/// Where the policies of an earlier generation are now: those that are the same, and have the same order.
#[derive(Debug)]
pub(in crate::compile::index) struct Moved {
    /// By place of then.
    places: Vec<Option<u32>>,
    /// Whether all that stay are where they were.
    is_in_place: bool,
}

/// What of a list stays.
struct Stays<F> {
    /// Whether it stays as it is.
    is_in_place: bool,
    /// What a region is called now.
    to: F,
}

/// Ports of one rule that are named each; more are a range.
const MOST_PORTS: usize = 64;

impl Column {
    /// The column of these regions; `None` if it would have more than `most` keys and ranges.
    pub(in crate::compile::index) fn of(
        regions: Regions<'_>,
        items: &[Item],
        dimension: Dimension,
        most: usize,
    ) -> Option<Self> {
        let (mut tied, looks_into_sets) = Tied::of(regions, items, dimension, most)?;
        tied.sort();
        Some(Column {
            items: items.to_vec(),
            tied,
            looks_into_sets,
        })
    }

    /// Whether it has at most so many keys and ranges, of one family.
    pub(super) fn fits(&self, most: usize) -> bool {
        match &self.tied {
            Tied::Services(tied) => tied.len() <= most,
            Tied::Addresses(_, families) => families.iter().all(|tied| tied.len() <= most),
        }
    }

    /// The column of these regions, made from this one of an earlier generation; `None` where that is not worth it, or
    /// not possible.
    pub(in crate::compile::index) fn followed(
        &self,
        moved: &Moved,
        regions: Regions<'_>,
        items: &[Item],
    ) -> Option<Self> {
        if self.looks_into_sets {
            return None;
        }
        let (come, gone) = moved.differences(&self.items, items);
        if come.len() + gone.len() > items.len() / 4 {
            return None;
        }
        let dimension = match &self.tied {
            Tied::Services(_) => Dimension::Services,
            Tied::Addresses(side, _) => Dimension::Addresses(*side),
        };
        let (mut fresh, looks_into_sets) = Tied::of(regions, &come, dimension, usize::MAX)?;
        fresh.sort();
        let is_gone = |item: &Item| !gone.is_empty() && gone.binary_search(item).is_ok();
        let stays = Stays {
            is_in_place: moved.is_in_place,
            to: |item: Item| moved.to(item).filter(|item| !is_gone(item)),
        };
        let tied = match (&self.tied, fresh) {
            (Tied::Services(old), Tied::Services(fresh)) => Tied::Services(old.followed(fresh, &stays)),
            (Tied::Addresses(side, old), Tied::Addresses(_, fresh)) => {
                let [v4, v6] = *fresh;
                let families = [old[0].followed(v4, &stays), old[1].followed(v6, &stays)];
                Tied::Addresses(*side, Box::new(families))
            }
            _ => return None,
        };
        Some(Column {
            items: items.to_vec(),
            tied,
            looks_into_sets,
        })
    }
}

impl Tied {
    /// Not sorted, and whether address sets were looked into.
    fn of(regions: Regions<'_>, items: &[Item], dimension: Dimension, most: usize) -> Option<(Self, bool)> {
        match dimension {
            Dimension::Services => Some((Tied::Services(services(regions, items, most)?), false)),
            Dimension::Addresses(side) => {
                let mut looks_into_sets = false;
                let mut of_family =
                    |family| addresses(regions, items, side, family, most, &mut looks_into_sets);
                let families = [of_family(Family::V4)?, of_family(Family::V6)?];
                Some((Tied::Addresses(side, Box::new(families)), looks_into_sets))
            }
            Dimension::Ports(_) => None,
        }
    }

    fn sort(&mut self) {
        match self {
            Tied::Services(tied) => tied.exact.sort_unstable(),
            Tied::Addresses(_, families) => {
                for tied in families.iter_mut() {
                    tied.exact.sort_unstable();
                    tied.exact.dedup();
                }
            }
        }
    }
}

impl<K> Default for TiedTo<K> {
    fn default() -> Self {
        TiedTo {
            exact: Vec::new(),
            spans: Vec::new(),
            others: Vec::new(),
        }
    }
}

impl<K: Ord + Copy> TiedTo<K> {
    fn len(&self) -> usize {
        self.exact.len() + self.spans.len()
    }

    /// What stays of this, with what comes.
    fn followed<F: Fn(Item) -> Option<Item>>(&self, come: TiedTo<K>, stays: &Stays<F>) -> Self {
        let to = &stays.to;
        let spans = self.spans.iter();
        let spans = spans.filter_map(|&(first, last, item)| Some((first, last, to(item)?)));
        let spans = spans.chain(come.spans).collect();
        if stays.is_in_place {
            return TiedTo {
                exact: patched(&self.exact, &come.exact, |(_, item)| to(*item).is_none()),
                spans,
                others: patched(&self.others, &come.others, |item| to(*item).is_none()),
            };
        }
        let exact = self
            .exact
            .iter()
            .filter_map(|&(key, item)| Some((key, to(item)?)));
        let others = self.others.iter().filter_map(|&item| to(item));
        TiedTo {
            exact: merged(self.exact.len(), exact, come.exact),
            spans,
            others: merged(self.others.len(), others, come.others),
        }
    }
}

/// A sorted list without those that are gone, and with others that are sorted too: it is copied in long stretches.
fn patched<T: Ord + Copy>(list: &[T], come: &[T], is_gone: impl Fn(&T) -> bool) -> Vec<T> {
    let mut all = Vec::with_capacity(list.len() + come.len());
    let mut left = list;
    for one in come {
        let (before, behind) = left.split_at(left.partition_point(|other| other < one));
        before
            .split(&is_gone)
            .for_each(|stay| all.extend_from_slice(stay));
        all.push(*one);
        left = behind;
    }
    left.split(&is_gone).for_each(|stay| all.extend_from_slice(stay));
    all
}

/// Two sorted lists as one; the first has up to so many.
fn merged<T: Ord>(many: usize, some: impl Iterator<Item = T>, others: Vec<T>) -> Vec<T> {
    let mut all = Vec::with_capacity(many + others.len());
    let mut others = others.into_iter();
    let mut next = others.next();
    for one in some {
        while let Some(other) = next.take_if(|other| *other < one) {
            all.push(other);
            next = others.next();
        }
        all.push(one);
    }
    all.extend(next);
    all.extend(others);
    all
}

fn services(regions: Regions<'_>, items: &[Item], most: usize) -> Option<TiedTo<(Protocol, u16)>> {
    let mut tied = TiedTo::default();
    for &item in items {
        match &regions.get(item).services {
            Services::Ports(protocol, ranges)
                if ranges.iter().copied().map(ports_in).sum::<usize>() <= MOST_PORTS =>
            {
                let ports = ranges.iter().flat_map(|range| range.first..=range.last);
                tied.exact.extend(ports.map(|port| ((*protocol, port), item)));
            }
            _ => tied.others.push(item),
        }
        if tied.exact.len() > most {
            return None;
        }
    }
    Some(tied)
}

fn addresses(
    regions: Regions<'_>,
    items: &[Item],
    side: Side,
    family: Family,
    most: usize,
    looks_into_sets: &mut bool,
) -> Option<TiedTo<IpAddr>> {
    let mut tied = TiedTo::default();
    for &item in items {
        let region = regions.get(item);
        if !region.has(family) {
            continue;
        }
        let addresses = region.addresses(side);
        *looks_into_sets |= matches!(addresses, Addresses::Set(_));
        match addresses.of_family(regions.sets, family) {
            None => tied.others.push(item),
            Some(nets) => {
                for net in nets {
                    if net.prefix_len() == family.bits() {
                        tied.exact.push((net.addr(), item));
                    } else {
                        let (first, last) = (number(net.network()), number(net.broadcast()));
                        tied.spans.push((first, last, item));
                    }
                }
            }
        }
        if tied.len() > most {
            return None;
        }
    }
    Some(tied)
}

fn ports_in(range: PortRange) -> usize {
    usize::from(range.last - range.first) + 1
}

impl Moved {
    /// Where each policy is now, by where it was; `None` where their order is another.
    pub(in crate::compile::index) fn new(places: Vec<Option<u32>>) -> Option<Self> {
        let mut pairs = (0..).zip(&places);
        let is_in_place = pairs.all(|(place, now)| now.is_none_or(|now| now == place));
        let is_in_order = is_in_place || places.iter().flatten().is_sorted();
        is_in_order.then_some(Moved { places, is_in_place })
    }

    /// What a region of then is now, if its policy is the same.
    fn to(&self, item: Item) -> Option<Item> {
        let policy = self.places[item.policy as usize]?;
        Some(Item { policy, ..item })
    }

    /// The regions of now that were not there, and those that were there, as they would be now; each sorted.
    fn differences(&self, before: &[Item], now: &[Item]) -> (Vec<Item>, Vec<Item>) {
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        let mut place = 0;
        let before = if self.is_in_place {
            // Most of them are equal and stay: the others are among those between.
            let stays =
                |(old, new): &(&Item, &Item)| old == new && self.places[old.policy as usize].is_some();
            place = before.iter().zip(now).take_while(stays).count();
            &before[place..]
        } else {
            before
        };
        for &old in before {
            let Some(item) = self.to(old) else {
                continue;
            };
            while let Some(other) = now.get(place).filter(|other| **other < item) {
                come.push(*other);
                place += 1;
            }
            if now.get(place) == Some(&item) {
                place += 1;
            } else {
                gone.push(item);
            }
        }
        come.extend_from_slice(&now[place..]);
        (come, gone)
    }
}
