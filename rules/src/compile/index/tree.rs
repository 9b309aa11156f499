//! The tree of lookups.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::region::Region;
use super::split::{Classes, Dimension, Item, Split, split};
use crate::net::{Family, PortRange, Protocol};
use crate::ruleset::Side;

/// When a list of policies is worth an index, and what it may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many policies are walked one after the other.
    pub walked: usize,
    /// Elements of maps and entries of lists in one tier, for each region (rule and family) in it.
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
    /// The lookups, one after the other; a packet that one finds goes there for good.
    pub(in crate::compile) lookups: Vec<Lookup>,
    /// What becomes of packets that no lookup finds.
    pub(in crate::compile) rest: Rest,
}

/// Where packets go that no lookup of a node finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) enum Rest {
    /// Through these policies, which may match them, in order, by their place in the tier.
    Walk(Vec<usize>),
    /// On to other lookups.
    Goto(NodeId),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::compile) enum Key {
    Other,
    Service(Protocol, u16),
    Protocol(Protocol),
    Ports(PortRange),
    Address(Side, IpAddr),
    Range(Side, IpAddr, IpAddr),
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
    /// The tree of the regions of a tier's policies. Equal sub-trees are one.
    pub(in crate::compile) fn of(regions: &[Region<'_>], limits: Limits) -> Self {
        let mut builder = Builder {
            regions,
            limits,
            left: limits.entries_per_region.saturating_mul(regions.len()),
            nodes: Vec::new(),
            known: BTreeMap::new(),
        };
        let all = (0..regions.len()).filter_map(|index| Item::try_from(index).ok());
        let dimensions = vec![
            Dimension::Services,
            Dimension::Addresses(Side::Source),
            Dimension::Addresses(Side::Destination),
        ];
        builder.node(all.collect(), dimensions, &[]);
        Tree { nodes: builder.nodes }
    }
}

struct Builder<'r, 'w> {
    regions: &'r [Region<'w>],
    limits: Limits,
    /// Entries that may still be made.
    left: usize,
    nodes: Vec<Node>,
    known: BTreeMap<(Vec<Item>, Vec<Dimension>), NodeId>,
}

impl Builder<'_, '_> {
    fn node(&mut self, items: Vec<Item>, dimensions: Vec<Dimension>, by: &[Key]) -> NodeId {
        let known = (items, dimensions);
        if let Some(&id) = self.known.get(&known) {
            return id;
        }
        let id = NodeId(self.nodes.len());
        let (items, dimensions) = &known;
        self.nodes.push(Node {
            by: by.to_vec(),
            lookups: Vec::new(),
            rest: Rest::Walk(self.policies(items)),
        });
        let best = self.best(items, dimensions);
        self.known.insert(known.clone(), id);
        if let Some((dimension, split)) = best {
            let (_, dimensions) = known;
            let dimensions = dimensions
                .into_iter()
                .filter(|other| *other != dimension)
                .collect();
            self.grow(id, split, dimensions, by);
        }
        id
    }

    /// The dimension whose longest list is the shortest, if that is worth a lookup.
    fn best(&mut self, items: &[Item], dimensions: &[Dimension]) -> Option<(Dimension, Split)> {
        let policies = self.policies(items).len();
        if policies <= self.limits.walked {
            return None;
        }
        let mut best: Option<(usize, Dimension, Split)> = None;
        for &dimension in dimensions {
            let Some(split) = split(self.regions, items, dimension, self.left) else {
                continue;
            };
            let classes = split.lookups.iter().flat_map(Classes::items);
            let longest = classes
                .chain([&split.rest])
                .map(|items| self.policies(items).len());
            let longest = longest.max().unwrap_or_default();
            let better = best.as_ref().is_none_or(|(other, ..)| longest < *other);
            // A lookup that leaves a fifth of the packets' walk or more where it was is not worth its cost.
            if better && longest * 5 <= policies * 4 {
                best = Some((longest, dimension, split));
            }
            if longest <= self.limits.walked {
                break;
            }
        }
        let (_, dimension, split) = best?;
        let classes = split.lookups.iter().flat_map(Classes::items);
        self.left -= classes.map(Vec::len).sum::<usize>().min(self.left);
        Some((dimension, split))
    }

    fn grow(&mut self, id: NodeId, split: Split, dimensions: Vec<Dimension>, by: &[Key]) {
        let mut to = |items: Vec<Item>, key: Key, more: Option<Dimension>| {
            let mut way = by.to_vec();
            way.push(key);
            let dimensions = dimensions.iter().copied().chain(more).collect();
            self.node(items, dimensions, &way)
        };
        let mut lookups = Vec::new();
        for classes in split.lookups {
            lookups.push(match classes {
                Classes::Services(classes) => Lookup::Services(
                    classes
                        .into_iter()
                        .map(|((protocol, port), items)| {
                            let key = Key::Service(protocol, port);
                            ((protocol, port), to(items, key, None))
                        })
                        .collect(),
                ),
                Classes::Protocols(classes) => Lookup::Protocols(
                    classes
                        .into_iter()
                        .map(|(protocol, items)| {
                            let ports = Some(Dimension::Ports(protocol)).filter(|_| protocol.has_ports());
                            (protocol, to(items, Key::Protocol(protocol), ports))
                        })
                        .collect(),
                ),
                Classes::Ports(protocol, classes) => Lookup::Ports(
                    protocol,
                    classes
                        .into_iter()
                        .map(|(range, items)| (range, to(items, Key::Ports(range), None)))
                        .collect(),
                ),
                Classes::Addresses(side, family, classes) => Lookup::Addresses(
                    side,
                    family,
                    classes
                        .into_iter()
                        .map(|(address, items)| (address, to(items, Key::Address(side, address), None)))
                        .collect(),
                ),
                Classes::Ranges(side, family, classes) => Lookup::Ranges(
                    side,
                    family,
                    classes
                        .into_iter()
                        .map(|((first, last), items)| {
                            ((first, last), to(items, Key::Range(side, first, last), None))
                        })
                        .collect(),
                ),
            });
        }
        let rest = self.policies(&split.rest);
        let rest = if rest.len() <= self.limits.walked || dimensions.is_empty() {
            Rest::Walk(rest)
        } else {
            let by: Vec<Key> = by.iter().copied().chain([Key::Other]).collect();
            Rest::Goto(self.node(split.rest, dimensions, &by))
        };
        let node = &mut self.nodes[id.0];
        node.lookups = lookups;
        node.rest = rest;
    }

    /// The policies of these regions, in order.
    fn policies(&self, items: &[Item]) -> Vec<usize> {
        let mut policies: Vec<usize> = items
            .iter()
            .map(|&item| self.regions[item as usize].policy)
            .collect();
        policies.sort_unstable();
        policies.dedup();
        policies
    }
}
