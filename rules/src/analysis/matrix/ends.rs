//! Endpoints and addresses as the gates see them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::View;
use super::answers::{Answers, Spot};
use super::conditions::{ClassId, Classes};
use super::gates::{Gates, GatesAt, Nodes, Relation};
use super::program::Programs;
use super::rules::{nets_named, protocols_named};
use super::space::Space;
use super::traffic::Protocols;
use crate::net::Family;
use crate::world::{EndpointId, EndpointKind, Worlds};

/// What is told apart: protocols and addresses, of one or of several directories.
#[derive(Debug)]
pub(in crate::analysis) struct Frame {
    pub(in crate::analysis) protocols: Protocols,
    pub(in crate::analysis) space: Space,
}

/// The endpoints of a directory, with who decides about them.
#[derive(Debug)]
pub(in crate::analysis) struct Ends<'w> {
    worlds: &'w Worlds,
    pub(in crate::analysis) answers: Answers<'w>,
    /// For each endpoint its addresses.
    spots: Vec<Vec<(IpAddr, Spot)>>,
    /// For each endpoint the number of its node.
    nodes: Vec<usize>,
}

impl Frame {
    /// What these directories tell apart.
    pub(in crate::analysis) fn of(directories: &[&Worlds]) -> Self {
        let endpoints: BTreeSet<IpAddr> = directories
            .iter()
            .flat_map(|worlds| worlds.endpoints.iter())
            .flat_map(|endpoint| endpoint.addresses.iter().copied())
            .collect();
        Frame {
            protocols: Protocols::new(&protocols_named(directories)),
            space: Space::new(&endpoints, nets_named(directories)),
        }
    }
}

impl<'w> Ends<'w> {
    /// The endpoints of a directory, in these views of it.
    pub(in crate::analysis) fn new(worlds: &'w Worlds, views: &[View], frame: &Frame) -> Self {
        let mut programs = Programs::new(worlds, frame.protocols.clone());
        let mut gates = Gates::default();
        let by_node = Nodes::new(worlds);
        let gates_at: Vec<Vec<(IpAddr, GatesAt)>> = (0..worlds.endpoints.len())
            .map(EndpointId)
            .map(|endpoint| {
                let addresses = by_node.addresses(endpoint).iter();
                let mut at = |&address: &IpAddr| {
                    let gates = gates.at(&mut programs, &by_node, views, endpoint, address);
                    (address, gates)
                };
                addresses.map(&mut at).collect()
            })
            .collect();
        let classes = Classes::new(worlds, &programs.conditions, &frame.space);
        let mut answers = Answers::new(programs, classes, gates, views);
        let spots = gates_at
            .into_iter()
            .map(|addresses| {
                let mut spot = |(address, gates): (IpAddr, GatesAt)| {
                    // Every address of an endpoint is a point.
                    let class = class_of(&answers, frame, address)?;
                    Some((address, spot(&mut answers, address, class, &gates)))
                };
                addresses.into_iter().filter_map(&mut spot).collect()
            })
            .collect();
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let number = |node: &'w str, numbers: &mut BTreeMap<&'w str, usize>| {
            let next = numbers.len();
            *numbers.entry(node).or_insert(next)
        };
        let nodes = worlds
            .endpoints
            .iter()
            .map(|endpoint| number(&endpoint.node, &mut numbers))
            .collect();
        Ends {
            worlds,
            answers,
            spots,
            nodes,
        }
    }

    /// The addresses of an endpoint.
    pub(in crate::analysis) fn spots(&self, endpoint: EndpointId) -> &[(IpAddr, Spot)] {
        &self.spots[endpoint.0]
    }

    /// An address of the frame that belongs to nobody who decides.
    pub(in crate::analysis) fn nobody_at(&self, frame: &Frame, address: IpAddr) -> Option<Spot> {
        let class = class_of(&self.answers, frame, address)?;
        Some(nobody(address, class))
    }

    /// The class of a point of the frame.
    pub(in crate::analysis) fn class_of_point(&self, point: usize) -> ClassId {
        self.answers.classes.of_point(point)
    }

    /// The number of an endpoint's node.
    pub(in crate::analysis) fn node(&self, endpoint: EndpointId) -> usize {
        self.nodes[endpoint.0]
    }

    /// How two endpoints lie to each other.
    pub(in crate::analysis) fn relation(&self, from: EndpointId, to: EndpointId) -> Relation {
        let is_workload = |endpoint| self.worlds.endpoint(endpoint).kind == EndpointKind::Workload;
        if self.node(from) != self.node(to) {
            return Relation::Remote;
        }
        match (is_workload(from), is_workload(to)) {
            (false, false) => Relation::Loopback,
            (true, true) if from == to => Relation::Loopback,
            (true, true) => Relation::Neighbours,
            (true, false) | (false, true) => Relation::Local,
        }
    }
}

fn class_of(answers: &Answers<'_>, frame: &Frame, address: IpAddr) -> Option<ClassId> {
    let point = frame.space.point(address)?;
    Some(answers.classes.of_point(point))
}

fn spot(answers: &mut Answers<'_>, address: IpAddr, class: ClassId, gates: &GatesAt) -> Spot {
    let mut place = |gates: [_; 2]| gates.map(|gate| Some(answers.place(gate?, class)));
    Spot {
        remote: place(gates.remote),
        neighbours: place(gates.neighbours),
        local: place(gates.local),
        loopback: gates.loopback.map(&mut place),
        ..nobody(address, class)
    }
}

fn nobody(address: IpAddr, class: ClassId) -> Spot {
    Spot {
        family: Family::of(address),
        class,
        remote: [None; 2],
        neighbours: [None; 2],
        local: [None; 2],
        loopback: None,
    }
}
