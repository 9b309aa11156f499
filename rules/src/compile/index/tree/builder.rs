//! How the tree is made.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::weave::Base;
use super::{Key, Limits, Lookup, Node, NodeId, Rest, Step, To, Tree};
use crate::compile::index::memo::Remembered;
use crate::compile::index::split::{
    Classes, Column, Columns, Dimension, Groups, Item, Moved, Regions, Split, split, split_ports, tidy,
};
use crate::net::Protocol;
use crate::ruleset::Side;

/// A tree that is being made.
pub(super) struct Builder<'r> {
    pub(super) regions: Regions<'r>,
    pub(super) limits: Limits,
    /// Those of the generation before, and where its policies are now.
    earlier: Option<(&'r Columns, &'r Moved)>,
    columns: Columns,
    /// Entries that may still be made.
    pub(super) left: usize,
    nodes: Vec<Node>,
    known: BTreeMap<(Vec<Item>, Vec<Dimension>), NodeId>,
    /// The latest node without lookups by a number that is the same for equal lists.
    lists: Vec<Option<NodeId>>,
    /// For each node the one before it that has the same number.
    before: Vec<Option<NodeId>>,
    looks_into_sets: bool,
}

/// What a list of regions can be told apart by.
pub(super) enum Best {
    Split(Dimension, Split),
    /// Something, but only if the list were shorter.
    TooLong,
    Nothing,
}

/// Columns of fewer regions than this, for each policy that is walked, are made anew each time.
const LONG: usize = 32;

impl<'r> Builder<'r> {
    pub(super) fn new(
        regions: Regions<'r>,
        limits: Limits,
        earlier: Option<(&'r Columns, &'r Moved)>,
    ) -> Self {
        let count = regions.policies.iter().map(|policy| policy.regions.len()).sum();
        Builder {
            regions,
            limits,
            earlier,
            columns: Columns::new(),
            left: limits.entries_per_region.saturating_mul(count),
            nodes: Vec::new(),
            known: BTreeMap::new(),
            lists: vec![None; count.max(1)],
            before: Vec::new(),
            looks_into_sets: false,
        }
    }

    /// The tree of all regions.
    pub(super) fn built(mut self) -> Tree {
        let dimensions = [
            Dimension::Services,
            Dimension::Addresses(Side::Source),
            Dimension::Addresses(Side::Destination),
        ];
        let policies = self.regions.policies;
        let matches_all = |policy: &&Arc<Remembered>| policy.matches_all;
        let head = policies.iter().take_while(matches_all).count();
        let tail = policies[head..].iter().rev().take_while(matches_all).count();
        let tail = policies.len() - tail;
        let between = (0..).zip(policies).take(tail).skip(head);
        let mut items = Vec::with_capacity(self.lists.len());
        for (policy, remembered) in between {
            let regions = (0..).zip(remembered.regions.iter());
            items.extend(regions.map(|(region, _)| Item { policy, region }));
        }
        let middle = self.front(items, &dimensions);
        let walked = |places: Range<usize>| places.map(Step::Policy);
        let front = walked(0..head).chain(middle).chain(walked(tail..policies.len()));
        Tree {
            looks_into_sets: self.looks_into_sets,
            front: front.collect(),
            nodes: self.nodes,
            columns: self.columns,
        }
    }

    /// What every packet meets of the policies of these regions.
    fn front(&mut self, items: Vec<Item>, dimensions: &[Dimension]) -> Vec<Step> {
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return Vec::new();
        };
        let (first, last) = (first.policy as usize, last.policy as usize);
        let count = count(&items);
        if count > self.limits.walked {
            match self.best(&items, count, dimensions, Some(&[])) {
                Best::Split(dimension, split) => {
                    let others = dimensions.iter().copied().filter(|other| *other != dimension);
                    let node = self.grow(split, &others.collect::<Vec<_>>(), &[]);
                    return vec![Step::Block(node, first, last)];
                }
                Best::TooLong => {
                    let base = Base::of(items, dimensions, Vec::new());
                    return self.stretches(&base);
                }
                Best::Nothing => {}
            }
        }
        policies(&items).map(Step::Policy).collect()
    }

    pub(super) fn node(&mut self, items: Vec<Item>, dimensions: &[Dimension], by: &[Key]) -> NodeId {
        let count = count(&items);
        if count <= self.limits.walked {
            let mut steps = Vec::with_capacity(count);
            steps.extend(policies(&items).map(Step::Policy));
            return self.list(steps, by);
        }
        let known = (items, dimensions.to_vec());
        if let Some(&id) = self.known.get(&known) {
            return id;
        }
        let (items, _) = &known;
        let id = match self.best(items, count, dimensions, Some(by)) {
            Best::Split(dimension, split) => {
                let others = dimensions.iter().copied().filter(|other| *other != dimension);
                self.grow(split, &others.collect::<Vec<_>>(), by)
            }
            Best::TooLong => {
                let id = self.add(by, Rest::Walk(Vec::new()));
                let base = Base::of(items.clone(), dimensions, by.to_vec());
                let steps = self.stretches(&base);
                self.nodes[id.0].rest = Rest::Walk(steps);
                id
            }
            Best::Nothing => self.list(policies(items).map(Step::Policy).collect(), by),
        };
        self.known.insert(known, id);
        id
    }

    /// A node without lookups.
    fn list(&mut self, steps: Vec<Step>, by: &[Key]) -> NodeId {
        let number = steps.iter().fold(0usize, |number, step| {
            let (Step::Policy(place) | Step::Block(_, place, _)) = *step;
            number.wrapping_mul(31).wrapping_add(place)
        });
        let number = number % self.lists.len();
        let rest = Rest::Walk(steps);
        let mut alike = std::iter::successors(self.lists[number], |id| self.before[id.0]);
        let same = alike.find(|id| {
            let node = &self.nodes[id.0];
            node.lookups.is_empty() && node.rest == rest
        });
        same.unwrap_or_else(|| {
            let id = self.add(by, rest);
            self.before[id.0] = self.lists[number].replace(id);
            id
        })
    }

    fn add(&mut self, by: &[Key], rest: Rest) -> NodeId {
        self.nodes.push(Node {
            by: by.to_vec(),
            lookups: Vec::new(),
            rest,
        });
        self.before.push(None);
        NodeId(self.nodes.len() - 1)
    }

    /// The first dimension that shortens the walk of so many policies well; one that comes later must be twice as good.
    /// `by` is the way here, where it has a name.
    pub(super) fn best(
        &mut self,
        items: &[Item],
        policies: usize,
        dimensions: &[Dimension],
        by: Option<&[Key]>,
    ) -> Best {
        let walked = self.limits.walked;
        let most = self.limits.entries_per_region.saturating_mul(items.len());
        let mut best: Option<(usize, Dimension, Split)> = None;
        let mut is_too_long = false;
        for &dimension in dimensions {
            let Some(split) = self.split(items, dimension, most.min(self.left), by) else {
                // Other addresses might be few enough.
                self.looks_into_sets |= matches!(dimension, Dimension::Addresses(_));
                is_too_long |= self.left > 0;
                continue;
            };
            self.looks_into_sets |= split.looks_into_sets;
            let always = split.below_ports.values().chain([&split.rest]);
            let always = always.map(|items| count(items));
            let rest = always.max().unwrap_or_default();
            // Little is walked, much has lookups of its own.
            let reckoned = |count: usize| {
                if count <= walked {
                    count
                } else {
                    walked + count / 4
                }
            };
            let left = left_behind(&split, reckoned) + reckoned(rest);
            let is_better = best.as_ref().is_none_or(|(other, ..)| left * 2 < *other);
            // A lookup that leaves four fifths of the walk where they were is not worth its cost.
            if is_better && left * 5 <= policies * 4 && rest * 5 <= policies * 4 {
                best = Some((left, dimension, split));
            }
            if left <= walked {
                break;
            }
        }
        match best {
            Some((_, dimension, split)) => {
                self.spend(split.lookups.iter().map(Classes::entries).sum());
                Best::Split(dimension, split)
            }
            None if is_too_long => Best::TooLong,
            None => Best::Nothing,
        }
    }

    /// Tells packets apart by one dimension; `None` if that would take more than `most` entries.
    fn split(
        &mut self,
        items: &[Item],
        dimension: Dimension,
        most: usize,
        by: Option<&[Key]>,
    ) -> Option<Split> {
        if let Dimension::Ports(protocol) = dimension {
            return split_ports(self.regions, items, protocol, most);
        }
        let has_place = |key: &Key| matches!(key, Key::Around(_));
        let is_long = items.len() >= self.limits.walked.saturating_mul(LONG);
        let name = by.filter(|by| is_long && !by.iter().any(has_place));
        let Some(name) = name.map(|by| (by.to_vec(), dimension)) else {
            let column = Column::of(self.regions, items, dimension, most)?;
            return split(self.regions, &column, most);
        };
        let followed = self
            .earlier
            .and_then(|(columns, moved)| columns.get(&name)?.followed(moved, self.regions, items));
        let column = match followed {
            Some(column) => column,
            None => Column::of(self.regions, items, dimension, most)?,
        };
        let split = split(self.regions, &column, most);
        self.columns.insert(name, Arc::new(column));
        split
    }

    fn spend(&mut self, entries: usize) {
        self.left = self.left.saturating_sub(entries);
    }

    fn grow(&mut self, split: Split, dimensions: &[Dimension], by: &[Key]) -> NodeId {
        let id = self.add(by, Rest::Walk(Vec::new()));
        let mut way = by.to_vec();
        way.push(Key::Other);
        let mut rest = Base::of(split.rest, dimensions, way.clone());
        let with_ports = |protocol: Protocol| {
            let ports = Some(Dimension::Ports(protocol)).filter(|_| protocol.has_ports());
            dimensions.iter().copied().chain(ports).collect::<Vec<_>>()
        };
        let mut below: BTreeMap<Protocol, Base> = BTreeMap::new();
        for (protocol, items) in split.below_ports {
            let base = Base::of(
                items,
                &with_ports(protocol),
                by_key(&mut way, Key::AnyPort(protocol)).to_vec(),
            );
            below.insert(protocol, base);
        }
        let mut lookups = Vec::new();
        for classes in split.lookups {
            lookups.push(match classes {
                Classes::Services(classes) => Lookup::Services(each(&classes, |(protocol, port), items| {
                    let base = below.get_mut(&protocol).unwrap_or(&mut rest);
                    let way = by_key(&mut way, Key::Service(protocol, port));
                    self.class(items, base, dimensions, way)
                })),
                Classes::Protocols(classes) => Lookup::Protocols(each(&classes, |protocol, items| {
                    let dimensions = with_ports(protocol);
                    let way = by_key(&mut way, Key::Protocol(protocol));
                    self.class(items, &mut rest, &dimensions, way)
                })),
                Classes::Ports(protocol, classes) => Lookup::Ports(
                    protocol,
                    each(&classes, |range, items| {
                        let way = by_key(&mut way, Key::Ports(range));
                        self.class(items, &mut rest, dimensions, way)
                    }),
                ),
                Classes::Addresses(side, family, classes) => Lookup::Addresses(
                    side,
                    family,
                    each(&classes, |address, items| {
                        let way = by_key(&mut way, Key::Address(side, address));
                        self.class(items, &mut rest, dimensions, way)
                    }),
                ),
                Classes::Ranges(side, family, classes) => Lookup::Ranges(
                    side,
                    family,
                    each(&classes, |(first, last), items| {
                        let way = by_key(&mut way, Key::Range(side, first, last));
                        self.class(items, &mut rest, dimensions, way)
                    }),
                ),
            });
        }
        self.nodes[id.0].lookups = lookups;
        self.nodes[id.0].rest = if rest.policies.len() <= self.limits.walked || dimensions.is_empty() {
            Rest::Walk(rest.policies.into_iter().map(Step::Policy).collect())
        } else {
            Rest::Goto(self.node(rest.items, dimensions, &rest.by))
        };
        id
    }

    /// Where packets go that may be in regions which are tied to their key, and in those of every key.
    fn class(&mut self, tied: &[Item], base: &mut Base, dimensions: &[Dimension], by: &[Key]) -> To {
        if let (Some(policy), true) = (only_policy(tied), base.items.is_empty()) {
            return To::Policy(policy);
        }
        let is_little = base.policies.len() <= self.limits.walked;
        let is_affordable = || tied.len() + base.items.len() <= self.left;
        if is_little || count(tied) > self.limits.walked && is_affordable() {
            if !is_little {
                self.spend(tied.len() + base.items.len());
            }
            let mut all = tied.to_vec();
            if !base.items.is_empty() {
                all.extend(&base.items);
                tidy(&mut all);
            }
            return match only_policy(&all) {
                Some(policy) => To::Policy(policy),
                None => To::Node(self.node(all, dimensions, by)),
            };
        }
        let policies: Vec<usize> = policies(tied).collect();
        let steps = self.weave(base, &policies);
        self.spend(steps.len());
        To::Node(self.list(steps, by))
    }
}

/// How many policies a packet meets behind a split's lookups. A service that many policies speak of says nothing about
/// the others, and its own are told apart behind it: there it is the mean of all. Of addresses it is the most.
fn left_behind(split: &Split, reckoned: impl Fn(usize) -> usize) -> usize {
    fn counts<K: Copy>(classes: &Groups<K>) -> impl Iterator<Item = usize> {
        classes.iter().map(|(_, items)| count(items))
    }
    let (mut services, mut named, mut most) = (0, 0, 0);
    for classes in &split.lookups {
        most = most.max(match classes {
            Classes::Services(classes) => {
                services += counts(classes).sum::<usize>();
                named += classes.len();
                0
            }
            // Ranges of ports are told apart behind it.
            Classes::Protocols(classes) => {
                let counts = classes.iter().map(|(protocol, items)| {
                    let count = count(items);
                    if protocol.has_ports() {
                        reckoned(count)
                    } else {
                        count
                    }
                });
                counts.max().unwrap_or_default()
            }
            Classes::Ports(_, classes) => counts(classes).max().unwrap_or_default(),
            Classes::Addresses(_, _, classes) => counts(classes).max().unwrap_or_default(),
            Classes::Ranges(_, _, classes) => counts(classes).max().unwrap_or_default(),
        });
    }
    most.max(services.div_ceil(named.max(1)))
}

/// How many policies these regions are of.
pub(super) fn count(items: &[Item]) -> usize {
    if only_policy(items).is_some() {
        return 1;
    }
    let ends = items.windows(2).filter(|pair| pair[0].policy != pair[1].policy);
    ends.count() + usize::from(!items.is_empty())
}

/// The policies of these regions, in order.
pub(super) fn policies(items: &[Item]) -> impl Iterator<Item = usize> {
    let groups = items.chunk_by(|item, next| item.policy == next.policy);
    groups.filter_map(|group| Some(group.first()?.policy as usize))
}

/// The policy that these regions are of, if there is no other.
fn only_policy(items: &[Item]) -> Option<usize> {
    let (first, last) = (items.first()?, items.last()?);
    (first.policy == last.policy).then_some(first.policy as usize)
}

/// The way that ends with this key instead.
fn by_key(way: &mut [Key], key: Key) -> &[Key] {
    if let Some(last) = way.last_mut() {
        *last = key;
    }
    way
}

/// Where each class leads.
fn each<K: Copy>(classes: &Groups<K>, mut to: impl FnMut(K, &[Item]) -> To) -> Vec<(K, To)> {
    let classes = classes.iter();
    classes.map(|(key, items)| (key, to(key, items))).collect()
}
