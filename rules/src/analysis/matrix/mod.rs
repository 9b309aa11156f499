//! `matrix`: who reaches whom, exactly, in both worlds, with the safety net and without.
//!
//! The walk of the evaluator is done for sets of connections instead of single packets ([`Traffic`]), and once for all
//! endpoints that no policy can tell apart: same policies and profiles, same place in every address set, net and list
//! of named ports that some policy on the way asks about.
//!
//! What a cell says is what [`explain`](super::explain) says of every one of its connections:
//!
//! - Ports are destination ports; the source port is the ephemeral one that `explain` takes.
//! - `icmp` and `icmpv6` stand for an echo request. Between endpoints that share both families, ICMP is asked of their
//!   IPv4 addresses and ICMPv6 of their IPv6 ones.
//! - An endpoint with several addresses, or a workload whose host has several ways out, is allowed what all of them
//!   are allowed; what only some are allowed is kept apart.
//!
//! Addresses that no endpoint has are cut into [blocks](NodeKind::Block) where policies cut them. An address belongs to
//! the block with the longest prefix around it. Between two blocks nobody decides, and nothing is listed.

mod answers;
mod conditions;
mod eligible;
mod ends;
mod gates;
mod json;
mod latest;
mod names;
mod notes;
mod program;
mod rules;
mod shown;
mod space;
mod summary;
mod traffic;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

pub(super) use answers::{AnswerId, Spot};
pub(super) use ends::{Ends, Frame};
pub(super) use gates::Relation;
pub(super) use latest::Latest;
pub(super) use names::{block_name, endpoint_names};
pub use shown::Shown;
pub(super) use summary::check_size;
pub use summary::{Line, TooLarge};
pub use traffic::{Allowed, Protocols, Traffic};

use crate::net::Family;
use crate::world::{EndpointId, WorldKind, Worlds};

/// Who reaches whom.
#[derive(Debug)]
pub struct Matrix<'w> {
    worlds: &'w Worlds,
    frame: Frame,
    ends: Ends<'w>,
    nodes: Vec<Node>,
    /// For each node the host it is on; `None` for a block.
    hosts: Vec<Option<usize>>,
    groups: Vec<Group>,
    /// The addresses of all groups, each once.
    spots: Vec<Spot>,
    /// How many of them, the first ones, are of endpoints.
    endpoint_spots: usize,
    /// The rows of groups that were asked for, as many as are [`KEPT`].
    rows: BTreeMap<usize, GroupRow>,
}

/// One of the worlds, as it is or without its safety net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct View {
    /// Which world.
    pub world: WorldKind,
    /// Whether safety nets are taken away.
    pub without_safety_net: bool,
}

/// An end of connections.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// How `explain` is asked for it, if it is an endpoint; the nets of a block.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// Its group: nodes of one group have the same policies on their way to and from the same others.
    pub group: usize,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// An endpoint.
    Endpoint(EndpointId),
    /// Addresses outside all endpoints that no policy can tell apart.
    Block {
        /// Their nets. An address belongs to the block with the longest prefix around it.
        nets: Vec<IpNet>,
        /// One of the addresses.
        sample: IpAddr,
    },
}

/// What is allowed from one node to another, in every view: see [`Matrix::reach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell(AnswerId);

/// What a cell allows in one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach<'m> {
    /// Whichever addresses of the two are used.
    pub all: &'m Traffic,
    /// With some of their addresses; the same where there is no difference.
    pub some: &'m Traffic,
}

/// Nodes that no policy can tell apart.
#[derive(Debug)]
struct Group {
    /// Its addresses: indices into [`Matrix::spots`].
    spots: Vec<usize>,
    is_block: bool,
    members: Vec<usize>,
}

/// What is allowed from one group to all others.
#[derive(Debug)]
struct GroupRow {
    /// To members on other hosts.
    remote: Vec<Cell>,
    /// To members on the same host, by how they lie to each other: worked out when it is asked for.
    on_host: BTreeMap<(Relation, usize), Cell>,
}

/// How many cells of rows are kept at most: 64 MB of them.
const KEPT: usize = 16_000_000;

impl View {
    /// Every view: each world with its safety net, and then without.
    pub const ALL: [View; 4] = [
        View::of(WorldKind::Enforced, false),
        View::of(WorldKind::Enforced, true),
        View::of(WorldKind::Pending, false),
        View::of(WorldKind::Pending, true),
    ];

    /// A world, as it is or without its safety net.
    pub const fn of(world: WorldKind, without_safety_net: bool) -> Self {
        View {
            world,
            without_safety_net,
        }
    }

    /// Its place in [`View::ALL`].
    fn index(self) -> usize {
        self.world as usize * 2 + usize::from(self.without_safety_net)
    }
}

impl Cell {
    /// Nothing, in every view.
    pub const NOTHING: Cell = Cell(AnswerId::NOTHING);
}

impl<'w> Matrix<'w> {
    /// The matrix of these worlds. Its cells are worked out as they are asked for.
    pub fn new(worlds: &'w Worlds) -> Self {
        let frame = Frame::of(&[worlds]);
        let ends = Ends::new(worlds, &View::ALL, &frame);
        let mut matrix = Matrix {
            worlds,
            frame,
            ends,
            nodes: Vec::new(),
            hosts: Vec::new(),
            groups: Vec::new(),
            spots: Vec::new(),
            endpoint_spots: 0,
            rows: BTreeMap::new(),
        };
        matrix.group();
        matrix
    }

    /// The worlds that it is about.
    pub fn worlds(&self) -> &'w Worlds {
        self.worlds
    }

    /// Whether a safety net stands in either world, so that taking it away may change something.
    pub fn has_safety_net(&self) -> bool {
        WorldKind::BOTH.into_iter().any(|kind| {
            let mut policies = self.worlds.world(kind).policies.iter();
            policies.any(|policy| policy.safety_net)
        })
    }

    /// Every endpoint in the order of [`Worlds::endpoints`], then every block.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How `explain` is asked for a node: a block is known by any of its addresses.
    pub fn text(&self, node: usize) -> String {
        match &self.nodes[node].kind {
            NodeKind::Endpoint(_) => self.nodes[node].name.clone(),
            NodeKind::Block { sample, .. } => sample.to_string(),
        }
    }

    /// How many groups the nodes are in.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The nodes of a group.
    pub fn members(&self, group: usize) -> &[usize] {
        &self.groups[group].members
    }

    /// The protocols that it tells apart.
    pub fn protocols(&self) -> &Protocols {
        &self.frame.protocols
    }

    /// What a cell allows in a view.
    pub fn reach(&self, cell: Cell, view: View) -> Reach<'_> {
        let [all, some] = self.ends.answers.reach(cell.0, view.index());
        Reach { all, some }
    }

    /// Whether the two worlds differ in a cell, with their safety nets or without.
    pub fn is_changed(&self, cell: Cell) -> bool {
        [false, true].into_iter().any(|without| {
            let [enforced, pending] = WorldKind::BOTH.map(|world| self.reach(cell, View::of(world, without)));
            enforced != pending
        })
    }

    /// What is allowed from one node to each: a row as long as [`Matrix::nodes`].
    pub fn row(&mut self, from: usize) -> Vec<Cell> {
        let group = self.nodes[from].group;
        let mut row = self.group_row(group);
        let cells = (0..self.nodes.len()).map(|to| {
            let to_group = self.nodes[to].group;
            match self.relation(from, to) {
                Relation::Remote => row.remote[to_group],
                relation => self.on_one_host(&mut row, group, to_group, relation),
            }
        });
        let cells = cells.collect();
        self.keep(group, row);
        cells
    }

    /// What is allowed from one node to another.
    pub fn cell(&mut self, from: usize, to: usize) -> Cell {
        let relation = self.relation(from, to);
        let [from, to] = [from, to].map(|node| self.nodes[node].group);
        self.between(from, to, relation)
    }

    /// What is allowed from one group to each on another host: a row as long as there are groups.
    pub fn group_cells(&mut self, from: usize) -> Vec<Cell> {
        let row = self.group_row(from);
        let cells = row.remote.clone();
        self.keep(from, row);
        cells
    }

    fn group_row(&mut self, group: usize) -> GroupRow {
        if let Some(row) = self.rows.remove(&group) {
            return row;
        }
        let Group { spots, is_block, .. } = &self.groups[group];
        let answers = &mut self.ends.answers;
        let rows: Vec<(Family, Vec<Option<AnswerId>>)> = spots
            .iter()
            .map(|&spot| {
                let spot = &self.spots[spot];
                // Nobody decides between blocks.
                let to = if *is_block {
                    self.endpoint_spots
                } else {
                    self.spots.len()
                };
                (spot.family, answers.row(spot, &self.spots[..to]))
            })
            .collect();
        let to_group = |to: &Group| {
            if *is_block && to.is_block {
                return Cell::NOTHING;
            }
            let pairs = rows.iter().flat_map(|(family, row)| {
                let answers = to.spots.iter().filter_map(|&spot| row[spot]);
                answers.map(|answer| (*family, answer))
            });
            answers.of_all(pairs).map_or(Cell::NOTHING, Cell)
        };
        GroupRow {
            remote: self.groups.iter().map(to_group).collect(),
            on_host: BTreeMap::new(),
        }
    }

    /// Keeps a row, for another node of its group.
    fn keep(&mut self, group: usize, row: GroupRow) {
        if (self.rows.len() + 1) * self.groups.len() > KEPT {
            self.rows.clear();
        }
        if self.groups[group].members.len() > 1 {
            self.rows.insert(group, row);
        }
    }

    fn on_one_host(&mut self, row: &mut GroupRow, from: usize, to: usize, relation: Relation) -> Cell {
        *row.on_host
            .entry((relation, to))
            .or_insert_with(|| self.between(from, to, relation))
    }

    fn between(&mut self, from: usize, to: usize, relation: Relation) -> Cell {
        let [from, to] = [from, to].map(|group| &self.groups[group]);
        if from.is_block && to.is_block {
            return Cell::NOTHING;
        }
        let answers = &mut self.ends.answers;
        let mut pairs: Vec<(Family, AnswerId)> = Vec::new();
        for source in from.spots.iter().map(|&spot| &self.spots[spot]) {
            let destinations = to.spots.iter().map(|&spot| &self.spots[spot]);
            for destination in destinations.filter(|to| to.family == source.family) {
                pairs.push((source.family, answers.between(source, destination, relation)));
            }
        }
        answers.of_all(pairs.into_iter()).map_or(Cell::NOTHING, Cell)
    }

    fn relation(&self, from: usize, to: usize) -> Relation {
        if self.hosts[from].is_none() || self.hosts[from] != self.hosts[to] {
            return Relation::Remote;
        }
        match (&self.nodes[from].kind, &self.nodes[to].kind) {
            (NodeKind::Endpoint(from), NodeKind::Endpoint(to)) => self.ends.relation(*from, *to),
            _ => Relation::Remote,
        }
    }

    /// Names every node and puts those together that cannot be told apart.
    fn group(&mut self) {
        let mut spots: BTreeMap<Spot, usize> = BTreeMap::new();
        let mut groups: BTreeMap<(bool, Vec<usize>), usize> = BTreeMap::new();
        let endpoints = endpoint_names(self.worlds).into_iter().enumerate();
        let endpoints = endpoints.map(|(index, name)| {
            let endpoint = EndpointId(index);
            let spots = self.ends.spots(endpoint).iter();
            let spots: Vec<Spot> = spots.map(|(_, spot)| spot.clone()).collect();
            (name, NodeKind::Endpoint(endpoint), spots)
        });
        let blocks = self.frame.space.blocks(|point| self.ends.class_of_point(point));
        let blocks = blocks.into_iter().map(|(_, block)| {
            let spot = self.ends.nobody_at(&self.frame, block.sample);
            let name = block_name(&block.nets);
            let kind = NodeKind::Block {
                nets: block.nets,
                sample: block.sample,
            };
            (name, kind, spot.into_iter().collect())
        });
        for (name, kind, seen_at) in endpoints.chain(blocks) {
            let mut key: Vec<usize> = seen_at
                .into_iter()
                .map(|spot| {
                    *spots.entry(spot).or_insert_with_key(|spot| {
                        self.spots.push(spot.clone());
                        self.spots.len() - 1
                    })
                })
                .collect();
            key.sort_unstable();
            key.dedup();
            let is_block = matches!(kind, NodeKind::Block { .. });
            if !is_block {
                self.endpoint_spots = self.spots.len();
            }
            let group = *groups
                .entry((is_block, key))
                .or_insert_with_key(|(is_block, spots)| {
                    self.groups.push(Group {
                        spots: spots.clone(),
                        is_block: *is_block,
                        members: Vec::new(),
                    });
                    self.groups.len() - 1
                });
            self.groups[group].members.push(self.nodes.len());
            self.hosts.push(match kind {
                NodeKind::Endpoint(endpoint) => Some(self.ends.node(endpoint)),
                NodeKind::Block { .. } => None,
            });
            self.nodes.push(Node { name, kind, group });
        }
    }
}
