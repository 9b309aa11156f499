//! The tree of lookups.

mod weave;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::region::Region;
use super::split::{Classes, Dimension, Item, Split, split, tidy};
use crate::net::{Family, PortRange, Protocol};
use crate::ruleset::Side;
use weave::Base;

/// When a list of policies is worth an index, and what it may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many policies are walked one after the other.
    pub walked: usize,
    /// Elements of maps and entries of lists for each region (rule and family): in one lookup, and in a tier.
    pub entries_per_region: usize,
}

/// The lookups of one tier; the first node is where packets begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) struct Tree {
    pub(in crate::compile) nodes: Vec<Node>,
}

/// A node, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) struct NodeId(pub(in crate::compile) usize);

/// One chain of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) struct Node {
    /// How packets get here from the node before, by the first key that leads here; none for the root.
    pub(in crate::compile) by: Vec<Key>,
    /// What comes behind it.
    pub(in crate::compile) end: End,
    /// The lookups, one after the other; a packet that one finds goes there for good.
    pub(in crate::compile) lookups: Vec<Lookup>,
    /// What becomes of packets that no lookup finds.
    pub(in crate::compile) rest: Rest,
}

/// What a packet meets that no policy of a node decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) enum End {
    /// The end of the tier.
    Tier,
    /// The rest of the chain that has jumped here.
    Caller,
}

/// Where packets go that no lookup of a node finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) enum Rest {
    /// Through these, which may match them, in order.
    Walk(Vec<Step>),
    /// On to other lookups.
    Goto(NodeId),
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) enum Step {
    /// A policy, by its place in the tier.
    Policy(usize),
    /// Policies that follow each other and have lookups of their own: those between these places, both included, that
    /// are not left out.
    Block(NodeId, usize, usize),
}

/// A lookup in a verdict map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) enum Lookup {
    /// `meta l4proto . th dport`.
    Services(Vec<((Protocol, u16), NodeId)>),
    /// `meta l4proto`.
    Protocols(Vec<(Protocol, NodeId)>),
    /// `th dport`, of a protocol.
    Ports(Protocol, Vec<(PortRange, NodeId)>),
    /// `ip saddr` and the like: single addresses.
    Addresses(Side, Family, Vec<(IpAddr, NodeId)>),
    /// `ip saddr` and the like: ranges.
    Ranges(Side, Family, Vec<((IpAddr, IpAddr), NodeId)>),
}

/// What a packet was found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) enum Key {
    /// By nothing.
    Other,
    Service(Protocol, u16),
    Protocol(Protocol),
    /// What goes to any port of a protocol.
    AnyPort(Protocol),
    Ports(PortRange),
    Address(Side, IpAddr),
    Range(Side, IpAddr, IpAddr),
    /// The policy, by its place, at which a list of policies was cut in two: in this one are those around it.
    Around(usize),
}

/// No index.
impl Default for Limits {
    fn default() -> Self {
        Limits {
            walked: usize::MAX,
            entries_per_region: 0,
        }
    }
}

impl Limits {
    /// What an index is worth, by measurement: one lookup costs what a few policies cost that match nothing.
    pub fn on() -> Self {
        Limits {
            walked: 6,
            entries_per_region: 16,
        }
    }
}

impl Tree {
    /// The tree of the regions of a tier's policies, which are sorted by policy. `weights` has a number for each policy
    /// that does not depend on the others, such as a hash of its name: long lists are cut where it is greatest, so that
    /// one policy more or less leaves the other cuts where they are. Equal sub-trees are one.
    pub(in crate::compile) fn of(regions: &[Region<'_>], weights: &[u64], limits: Limits) -> Self {
        let mut builder = Builder {
            regions,
            weights,
            limits,
            left: limits.entries_per_region.saturating_mul(regions.len()),
            nodes: Vec::new(),
            known: BTreeMap::new(),
            lists: BTreeMap::new(),
        };
        let all = (0..regions.len()).filter_map(|index| Item::try_from(index).ok());
        let dimensions = [
            Dimension::Services,
            Dimension::Addresses(Side::Source),
            Dimension::Addresses(Side::Destination),
        ];
        builder.node(all.collect(), &dimensions, &[], End::Tier);
        Tree { nodes: builder.nodes }
    }
}

struct Builder<'r, 'w> {
    regions: &'r [Region<'w>],
    weights: &'r [u64],
    limits: Limits,
    /// Entries that may still be made.
    left: usize,
    nodes: Vec<Node>,
    known: BTreeMap<(End, Vec<Item>, Vec<Dimension>), NodeId>,
    /// Nodes without lookups.
    lists: BTreeMap<(End, Vec<Step>), NodeId>,
}

/// What a list of regions can be told apart by.
enum Best {
    Split(Dimension, Split),
    /// Something, but only if the list were shorter.
    TooLong,
    Nothing,
}

impl Builder<'_, '_> {
    fn node(&mut self, items: Vec<Item>, dimensions: &[Dimension], by: &[Key], end: End) -> NodeId {
        let policies = self.policies(&items);
        if policies.len() <= self.limits.walked {
            return self.list(policies.into_iter().map(Step::Policy).collect(), by, end);
        }
        let known = (end, items, dimensions.to_vec());
        if let Some(&id) = self.known.get(&known) {
            return id;
        }
        let (_, items, _) = &known;
        let id = match self.best(items, &policies, dimensions) {
            Best::Split(dimension, split) => {
                let others = dimensions.iter().copied().filter(|other| *other != dimension);
                self.grow(split, &others.collect::<Vec<_>>(), by, end)
            }
            Best::TooLong => {
                let id = self.add(by, end, Rest::Walk(Vec::new()));
                let base = Base::new(items.clone(), policies, dimensions.to_vec(), by.to_vec());
                let steps = self.stretches(&base);
                self.nodes[id.0].rest = Rest::Walk(steps);
                id
            }
            Best::Nothing => self.list(policies.into_iter().map(Step::Policy).collect(), by, end),
        };
        self.known.insert(known, id);
        id
    }

    /// A node without lookups.
    fn list(&mut self, steps: Vec<Step>, by: &[Key], end: End) -> NodeId {
        let known = (end, steps);
        if let Some(&id) = self.lists.get(&known) {
            return id;
        }
        let (_, steps) = &known;
        let id = self.add(by, end, Rest::Walk(steps.clone()));
        self.lists.insert(known, id);
        id
    }

    fn add(&mut self, by: &[Key], end: End, rest: Rest) -> NodeId {
        self.nodes.push(Node {
            by: by.to_vec(),
            end,
            lookups: Vec::new(),
            rest,
        });
        NodeId(self.nodes.len() - 1)
    }

    /// The first dimension that shortens the walk well; one that comes later must be twice as good.
    fn best(&mut self, items: &[Item], policies: &[usize], dimensions: &[Dimension]) -> Best {
        let walked = self.limits.walked;
        let most = self.limits.entries_per_region.saturating_mul(items.len());
        let mut best: Option<(usize, Dimension, Split)> = None;
        let mut is_too_long = false;
        for &dimension in dimensions {
            let Some(split) = split(self.regions, items, dimension, most.min(self.left)) else {
                is_too_long |= self.left > 0;
                continue;
            };
            let always = split.below_ports.values().chain([&split.rest]);
            let always = always.map(|items| self.policies(items).len());
            let rest = always.max().unwrap_or_default();
            let tied = split.lookups.iter().flat_map(Classes::items);
            let longest = tied
                .map(|items| self.policies(items).len())
                .max()
                .unwrap_or_default();
            // What is tied to nothing is merged in where it is little, and otherwise has lookups of its own.
            let left = longest + if rest <= walked { rest } else { walked + rest / 4 };
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

    fn spend(&mut self, entries: usize) {
        self.left = self.left.saturating_sub(entries);
    }

    fn grow(&mut self, split: Split, dimensions: &[Dimension], by: &[Key], end: End) -> NodeId {
        let id = self.add(by, end, Rest::Walk(Vec::new()));
        let deeper = |key: Key| {
            let mut way = by.to_vec();
            way.push(key);
            way
        };
        let mut rest = self.base(split.rest, dimensions, deeper(Key::Other));
        let with_ports = |protocol: Protocol| {
            let ports = Some(Dimension::Ports(protocol)).filter(|_| protocol.has_ports());
            dimensions.iter().copied().chain(ports).collect::<Vec<_>>()
        };
        let mut below: BTreeMap<Protocol, Base> = BTreeMap::new();
        for (protocol, items) in split.below_ports {
            let base = self.base(items, &with_ports(protocol), deeper(Key::AnyPort(protocol)));
            below.insert(protocol, base);
        }
        let mut lookups = Vec::new();
        for classes in split.lookups {
            lookups.push(match classes {
                Classes::Services(classes) => Lookup::Services(each(classes, |service, items| {
                    let (protocol, port) = *service;
                    let base = below.get_mut(&protocol).unwrap_or(&mut rest);
                    self.class(
                        items,
                        base,
                        dimensions,
                        &deeper(Key::Service(protocol, port)),
                        end,
                    )
                })),
                Classes::Protocols(classes) => Lookup::Protocols(each(classes, |&protocol, items| {
                    let dimensions = with_ports(protocol);
                    self.class(
                        items,
                        &mut rest,
                        &dimensions,
                        &deeper(Key::Protocol(protocol)),
                        end,
                    )
                })),
                Classes::Ports(protocol, classes) => Lookup::Ports(
                    protocol,
                    each(classes, |&range, items| {
                        self.class(items, &mut rest, dimensions, &deeper(Key::Ports(range)), end)
                    }),
                ),
                Classes::Addresses(side, family, classes) => Lookup::Addresses(
                    side,
                    family,
                    each(classes, |&address, items| {
                        let way = deeper(Key::Address(side, address));
                        self.class(items, &mut rest, dimensions, &way, end)
                    }),
                ),
                Classes::Ranges(side, family, classes) => Lookup::Ranges(
                    side,
                    family,
                    each(classes, |&(first, last), items| {
                        let way = deeper(Key::Range(side, first, last));
                        self.class(items, &mut rest, dimensions, &way, end)
                    }),
                ),
            });
        }
        self.nodes[id.0].lookups = lookups;
        self.nodes[id.0].rest = if rest.policies.len() <= self.limits.walked || dimensions.is_empty() {
            Rest::Walk(rest.policies.into_iter().map(Step::Policy).collect())
        } else {
            Rest::Goto(self.node(rest.items, dimensions, &rest.by, end))
        };
        id
    }

    fn base(&self, items: Vec<Item>, dimensions: &[Dimension], by: Vec<Key>) -> Base {
        let policies = self.policies(&items);
        Base::new(items, policies, dimensions.to_vec(), by)
    }

    /// The node of packets that may be in regions which are tied to their key, and in those of every key.
    fn class(
        &mut self,
        mut tied: Vec<Item>,
        base: &mut Base,
        dimensions: &[Dimension],
        by: &[Key],
        end: End,
    ) -> NodeId {
        let is_little = base.policies.len() <= self.limits.walked;
        let policies = self.policies(&tied);
        let is_affordable = tied.len() + base.items.len() <= self.left;
        if is_little || policies.len() > self.limits.walked && is_affordable {
            if !is_little {
                self.spend(tied.len() + base.items.len());
            }
            tied.extend(&base.items);
            tidy(&mut tied);
            return self.node(tied, dimensions, by, end);
        }
        let steps = self.weave(base, &policies);
        self.spend(steps.len());
        self.list(steps, by, end)
    }

    /// The policies of these regions, in order.
    fn policies(&self, items: &[Item]) -> Vec<usize> {
        let mut policies: Vec<usize> = items
            .iter()
            .map(|&item| self.regions[item as usize].policy)
            .collect();
        policies.dedup();
        policies
    }
}

/// The node of each class.
fn each<K>(classes: Vec<(K, Vec<Item>)>, mut node: impl FnMut(&K, Vec<Item>) -> NodeId) -> Vec<(K, NodeId)> {
    let classes = classes.into_iter();
    classes
        .map(|(key, items)| {
            let node = node(&key, items);
            (key, node)
        })
        .collect()
}
