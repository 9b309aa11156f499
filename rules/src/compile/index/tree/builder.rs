//! How the tree is made.

use std::collections::BTreeMap;

use super::weave::Base;
use super::{Key, Limits, Lookup, Node, NodeId, Rest, Step, To, Tree};
use crate::compile::index::split::{Classes, Dimension, Item, Regions, Split, split, tidy};
use crate::net::Protocol;
use crate::ruleset::Side;

/// A tree that is being made.
pub(super) struct Builder<'r> {
    pub(super) regions: Regions<'r>,
    pub(super) weights: &'r [u64],
    pub(super) limits: Limits,
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

impl<'r> Builder<'r> {
    pub(super) fn new(regions: Regions<'r>, weights: &'r [u64], limits: Limits) -> Self {
        Builder {
            regions,
            weights,
            limits,
            left: limits.entries_per_region.saturating_mul(regions.all.len()),
            nodes: Vec::new(),
            known: BTreeMap::new(),
            lists: vec![None; regions.all.len().max(1)],
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
        let (head, tail) = self.ends();
        let all = (0..self.regions.all.len()).filter_map(|index| Item::try_from(index).ok());
        let items: Vec<Item> = all
            .filter(|item| (head..tail).contains(&self.regions.policy(*item)))
            .collect();
        let middle = self.front(items, &dimensions);
        let walked = |places: std::ops::Range<usize>| places.map(Step::Policy);
        let front = walked(0..head)
            .chain(middle)
            .chain(walked(tail..self.weights.len()));
        Tree {
            looks_into_sets: self.looks_into_sets,
            front: front.collect(),
            nodes: self.nodes,
        }
    }

    /// Between which places the policies are that do not match every packet.
    fn ends(&self) -> (usize, usize) {
        let mut matches_all = vec![false; self.weights.len()];
        for (policy, region) in self.regions.all {
            matches_all[*policy] |= region.is_everything();
        }
        let head = matches_all.iter().take_while(|all| **all).count();
        let behind = matches_all[head..].iter().rev();
        (head, matches_all.len() - behind.take_while(|all| **all).count())
    }

    /// What every packet meets of the policies of these regions.
    fn front(&mut self, items: Vec<Item>, dimensions: &[Dimension]) -> Vec<Step> {
        let policies = self.policies(&items);
        let (Some(&first), Some(&last)) = (policies.first(), policies.last()) else {
            return Vec::new();
        };
        if policies.len() > self.limits.walked {
            match self.best(&items, &policies, dimensions) {
                Best::Split(dimension, split) => {
                    let others = dimensions.iter().copied().filter(|other| *other != dimension);
                    let node = self.grow(split, &others.collect::<Vec<_>>(), &[]);
                    return vec![Step::Block(node, first, last)];
                }
                Best::TooLong => {
                    let base = Base::new(items, policies, dimensions.to_vec(), Vec::new());
                    return self.stretches(&base);
                }
                Best::Nothing => {}
            }
        }
        policies.into_iter().map(Step::Policy).collect()
    }

    pub(super) fn node(&mut self, items: Vec<Item>, dimensions: &[Dimension], by: &[Key]) -> NodeId {
        let count = self.count(&items);
        if count <= self.limits.walked {
            let mut steps = Vec::with_capacity(count);
            steps.extend(self.places(&items).map(Step::Policy));
            return self.list(steps, by);
        }
        let policies = self.policies(&items);
        let known = (items, dimensions.to_vec());
        if let Some(&id) = self.known.get(&known) {
            return id;
        }
        let (items, _) = &known;
        let id = match self.best(items, &policies, dimensions) {
            Best::Split(dimension, split) => {
                let others = dimensions.iter().copied().filter(|other| *other != dimension);
                self.grow(split, &others.collect::<Vec<_>>(), by)
            }
            Best::TooLong => {
                let id = self.add(by, Rest::Walk(Vec::new()));
                let base = Base::new(items.clone(), policies, dimensions.to_vec(), by.to_vec());
                let steps = self.stretches(&base);
                self.nodes[id.0].rest = Rest::Walk(steps);
                id
            }
            Best::Nothing => self.list(policies.into_iter().map(Step::Policy).collect(), by),
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

    /// The first dimension that shortens the walk well; one that comes later must be twice as good.
    pub(super) fn best(&mut self, items: &[Item], policies: &[usize], dimensions: &[Dimension]) -> Best {
        let walked = self.limits.walked;
        let most = self.limits.entries_per_region.saturating_mul(items.len());
        let mut best: Option<(usize, Dimension, Split)> = None;
        let mut is_too_long = false;
        for &dimension in dimensions {
            let Some(split) = split(self.regions, items, dimension, most.min(self.left)) else {
                // Other addresses might be few enough.
                self.looks_into_sets |= matches!(dimension, Dimension::Addresses(_));
                is_too_long |= self.left > 0;
                continue;
            };
            self.looks_into_sets |= split.looks_into_sets;
            let always = split.below_ports.values().chain([&split.rest]);
            let always = always.map(|items| self.count(items));
            let rest = always.max().unwrap_or_default();
            // Little is walked, much has lookups of its own.
            let reckoned = |count: usize| {
                if count <= walked {
                    count
                } else {
                    walked + count / 4
                }
            };
            let left = self.left_behind(&split, reckoned) + reckoned(rest);
            let is_better = best.as_ref().is_none_or(|(other, ..)| left * 2 < *other);
            // A lookup that leaves four fifths of the walk where they were is not worth its cost.
            if is_better && left * 5 <= policies.len() * 4 && rest * 5 <= policies.len() * 4 {
                best = Some((left, dimension, split));
            }
            if left <= walked {
                break;
            }
        }
        match best {
            Some((_, dimension, split)) => {
                let tied = split.lookups.iter().flat_map(Classes::items);
                self.spend(tied.map(Vec::len).sum());
                Best::Split(dimension, split)
            }
            None if is_too_long => Best::TooLong,
            None => Best::Nothing,
        }
    }

    /// How many policies a packet meets behind a split's lookups. A service that many policies speak of says nothing about
    /// the others, and its own are told apart behind it: there it is the mean of all. Of addresses it is the most.
    fn left_behind(&self, split: &Split, reckoned: impl Fn(usize) -> usize) -> usize {
        let (mut services, mut others) = (Vec::new(), Vec::new());
        for classes in &split.lookups {
            match classes {
                Classes::Services(classes) => {
                    services.extend(classes.iter().map(|(_, items)| self.count(items)));
                }
                // Ranges of ports are told apart behind it.
                Classes::Protocols(classes) => others.extend(classes.iter().map(|(protocol, items)| {
                    let count = self.count(items);
                    if protocol.has_ports() {
                        reckoned(count)
                    } else {
                        count
                    }
                })),
                classes => others.extend(classes.items().map(|items| self.count(items))),
            }
        }
        let mean = services.iter().sum::<usize>().div_ceil(services.len().max(1));
        others.into_iter().max().unwrap_or_default().max(mean)
    }

    fn spend(&mut self, entries: usize) {
        self.left = self.left.saturating_sub(entries);
    }

    fn grow(&mut self, split: Split, dimensions: &[Dimension], by: &[Key]) -> NodeId {
        let id = self.add(by, Rest::Walk(Vec::new()));
        let mut way = by.to_vec();
        way.push(Key::Other);
        let mut rest = self.base(split.rest, dimensions, way.clone());
        let with_ports = |protocol: Protocol| {
            let ports = Some(Dimension::Ports(protocol)).filter(|_| protocol.has_ports());
            dimensions.iter().copied().chain(ports).collect::<Vec<_>>()
        };
        let mut below: BTreeMap<Protocol, Base> = BTreeMap::new();
        for (protocol, items) in split.below_ports {
            let base = self.base(
                items,
                &with_ports(protocol),
                by_key(&mut way, Key::AnyPort(protocol)).to_vec(),
            );
            below.insert(protocol, base);
        }
        let mut lookups = Vec::new();
        for classes in split.lookups {
            lookups.push(match classes {
                Classes::Services(classes) => Lookup::Services(each(classes, |service, items| {
                    let (protocol, port) = *service;
                    let base = below.get_mut(&protocol).unwrap_or(&mut rest);
                    let way = by_key(&mut way, Key::Service(protocol, port));
                    self.class(items, base, dimensions, way)
                })),
                Classes::Protocols(classes) => Lookup::Protocols(each(classes, |&protocol, items| {
                    let dimensions = with_ports(protocol);
                    let way = by_key(&mut way, Key::Protocol(protocol));
                    self.class(items, &mut rest, &dimensions, way)
                })),
                Classes::Ports(protocol, classes) => Lookup::Ports(
                    protocol,
                    each(classes, |&range, items| {
                        let way = by_key(&mut way, Key::Ports(range));
                        self.class(items, &mut rest, dimensions, way)
                    }),
                ),
                Classes::Addresses(side, family, classes) => Lookup::Addresses(
                    side,
                    family,
                    each(classes, |&address, items| {
                        let way = by_key(&mut way, Key::Address(side, address));
                        self.class(items, &mut rest, dimensions, way)
                    }),
                ),
                Classes::Ranges(side, family, classes) => Lookup::Ranges(
                    side,
                    family,
                    each(classes, |&(first, last), items| {
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

    fn base(&self, items: Vec<Item>, dimensions: &[Dimension], by: Vec<Key>) -> Base {
        let policies = self.policies(&items);
        Base::new(items, policies, dimensions.to_vec(), by)
    }

    /// Where packets go that may be in regions which are tied to their key, and in those of every key.
    fn class(&mut self, mut tied: Vec<Item>, base: &mut Base, dimensions: &[Dimension], by: &[Key]) -> To {
        if base.items.is_empty() && self.count(&tied) == 1 {
            return To::Policy(self.regions.policy(tied[0]));
        }
        let is_little = base.policies.len() <= self.limits.walked;
        let is_affordable = || tied.len() + base.items.len() <= self.left;
        if is_little || self.count(&tied) > self.limits.walked && is_affordable() {
            if !is_little {
                self.spend(tied.len() + base.items.len());
            }
            if !base.items.is_empty() {
                tied.extend(&base.items);
                tidy(&mut tied);
            }
            if self.count(&tied) == 1 {
                return To::Policy(self.regions.policy(tied[0]));
            }
            return To::Node(self.node(tied, dimensions, by));
        }
        let policies = self.policies(&tied);
        let steps = self.weave(base, &policies);
        self.spend(steps.len());
        To::Node(self.list(steps, by))
    }

    /// How many policies these regions are of.
    fn count(&self, items: &[Item]) -> usize {
        let of_one = |item: &Item, next: &Item| self.regions.policy(*item) == self.regions.policy(*next);
        items.chunk_by(of_one).count()
    }

    /// The policies of these regions, in order.
    fn policies(&self, items: &[Item]) -> Vec<usize> {
        self.places(items).collect()
    }

    fn places(&self, items: &[Item]) -> impl Iterator<Item = usize> {
        let of_one = |item: &Item, next: &Item| self.regions.policy(*item) == self.regions.policy(*next);
        let groups = items.chunk_by(of_one);
        groups
            .filter_map(|group| group.first())
            .map(|&item| self.regions.policy(item))
    }
}

/// The way that ends with this key instead.
fn by_key(way: &mut [Key], key: Key) -> &[Key] {
    if let Some(last) = way.last_mut() {
        *last = key;
    }
    way
}

/// Where each class leads.
fn each<K>(classes: Vec<(K, Vec<Item>)>, mut to: impl FnMut(&K, Vec<Item>) -> To) -> Vec<(K, To)> {
    let ways = classes.into_iter().map(|(key, items)| {
        let to = to(&key, items);
        (key, to)
    });
    // They are collected where the classes stood, which are larger.
    let mut ways: Vec<(K, To)> = ways.collect();
    ways.shrink_to_fit();
    ways
}
