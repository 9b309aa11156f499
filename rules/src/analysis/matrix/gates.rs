//! Who decides at each end of a connection, found by the same routes that `explain` follows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::View;
use super::conditions::{ClassId, Classes, ConditionId};
use super::program::{ProgramId, Programs};
use super::rules::Side;
use crate::analysis::route::{self, Ask, Party, Route};
use crate::evaluate::{Packet, Part};
use crate::net::{Direction, Protocol};
use crate::world::{EndpointId, EndpointKind, Worlds};

/// Every gate, each once.
#[derive(Debug, Default)]
pub(super) struct Gates {
    list: Vec<Gate>,
    by_ways: BTreeMap<(Side, Vec<Way>), GateId>,
}

/// A gate in [`Gates`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GateId(pub(super) usize);

/// Everybody whom a packet must pass at one of its ends.
#[derive(Debug)]
pub(super) struct Gate {
    /// At which end.
    pub(super) side: Side,
    /// Each way that a packet may take.
    pub(super) ways: Vec<Way>,
    /// Whether it depends on the family of a packet besides what it asks of addresses.
    pub(super) is_by_family: bool,
    /// What is asked of the near address and of the far one.
    pub(super) near: Vec<ConditionId>,
    pub(super) far: Vec<ConditionId>,
}

/// The programs on one way, in each view.
pub(super) type Way = Vec<Vec<ProgramId>>;

/// How two ends lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::analysis) enum Relation {
    /// On two hosts.
    Remote,
    /// Two workloads of one host.
    Neighbours,
    /// A workload and its host, or a service of its host.
    Local,
    /// A host with itself or its services, or a workload with itself.
    Loopback,
}

/// The gates of an endpoint at one of its addresses, by side; `None` where nobody decides.
#[derive(Clone, Debug, Default)]
pub(super) struct GatesAt {
    pub(super) remote: [Option<GateId>; 2],
    pub(super) neighbours: [Option<GateId>; 2],
    pub(super) local: [Option<GateId>; 2],
    /// `None` as a whole where loopback is not filtered.
    pub(super) loopback: Option<[Option<GateId>; 2]>,
}

/// The endpoints of each node, so that a partner is found.
pub(super) struct Nodes<'w> {
    worlds: &'w Worlds,
    by_name: BTreeMap<&'w str, NodeMembers>,
}

/// Some endpoints of a node: two workloads and one that is none, if there are.
#[derive(Debug, Default)]
struct NodeMembers {
    workloads: Vec<EndpointId>,
    other: Option<EndpointId>,
    host_addresses: Vec<IpAddr>,
}

impl<'w> Nodes<'w> {
    pub(super) fn new(worlds: &'w Worlds) -> Self {
        let mut by_name: BTreeMap<&str, NodeMembers> = BTreeMap::new();
        for (index, endpoint) in worlds.endpoints.iter().enumerate() {
            let members = by_name.entry(&endpoint.node).or_default();
            match endpoint.kind {
                EndpointKind::Workload if members.workloads.len() < 2 => {
                    members.workloads.push(EndpointId(index));
                }
                EndpointKind::Workload => {}
                EndpointKind::Host | EndpointKind::Service => {
                    members.other.get_or_insert(EndpointId(index));
                }
            }
            if endpoint.kind == EndpointKind::Host {
                members.host_addresses.extend(&endpoint.addresses);
            }
        }
        Nodes { worlds, by_name }
    }

    /// The addresses of an endpoint: a service has those of its host.
    pub(super) fn addresses(&self, endpoint: EndpointId) -> &[IpAddr] {
        let described = self.worlds.endpoint(endpoint);
        match described.kind {
            EndpointKind::Host | EndpointKind::Workload => &described.addresses,
            EndpointKind::Service => self
                .by_name
                .get(described.node.as_str())
                .map_or(&[], |members| &members.host_addresses),
        }
    }

    /// Somebody on the same host with whom an endpoint has this relation.
    fn partner(&self, endpoint: EndpointId, relation: Relation) -> Option<EndpointId> {
        let described = self.worlds.endpoint(endpoint);
        let members = self.by_name.get(described.node.as_str())?;
        let is_workload = described.kind == EndpointKind::Workload;
        match relation {
            Relation::Remote => None,
            Relation::Loopback => Some(endpoint),
            Relation::Neighbours if !is_workload => None,
            Relation::Neighbours => {
                let mut workloads = members.workloads.iter().copied();
                workloads.find(|&workload| workload != endpoint)
            }
            Relation::Local if is_workload => members.other,
            Relation::Local => members.workloads.first().copied(),
        }
    }
}

impl Gates {
    pub(super) fn get(&self, id: GateId) -> &Gate {
        &self.list[id.0]
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The gates of an endpoint at one of its addresses.
    pub(super) fn at(
        &mut self,
        programs: &mut Programs<'_>,
        nodes: &Nodes<'_>,
        views: &[View],
        endpoint: EndpointId,
        address: IpAddr,
    ) -> GatesAt {
        let mut gates_at = GatesAt::default();
        for side in Side::BOTH {
            let mut gate = |relation| {
                let partner = nodes.partner(endpoint, relation);
                if relation != Relation::Remote && partner.is_none() {
                    return Some(None);
                }
                let ways = ways(nodes.worlds, side, endpoint, partner, address)?;
                Some(self.intern(programs, views, side, &ways))
            };
            gates_at.remote[side as usize] = gate(Relation::Remote).flatten();
            gates_at.neighbours[side as usize] = gate(Relation::Neighbours).flatten();
            gates_at.local[side as usize] = gate(Relation::Local).flatten();
            if let Some(gate) = gate(Relation::Loopback) {
                gates_at.loopback.get_or_insert_default()[side as usize] = gate;
            }
        }
        gates_at
    }

    /// The gate of these ways, `None` if nobody is asked.
    fn intern(
        &mut self,
        programs: &mut Programs<'_>,
        views: &[View],
        side: Side,
        ways: &[route::Way],
    ) -> Option<GateId> {
        let mut program_ways: Vec<Way> = ways
            .iter()
            .map(|way| {
                let in_view = |view: &View| way.iter().map(|&ask| programs.of(ask, view.world)).collect();
                views.iter().map(in_view).collect()
            })
            .collect();
        program_ways.sort_unstable();
        program_ways.dedup();
        if program_ways.iter().flatten().all(Vec::is_empty) {
            return None;
        }
        let key = (side, program_ways);
        if let Some(&id) = self.by_ways.get(&key) {
            return Some(id);
        }
        let id = GateId(self.list.len());
        let conditions = |side| {
            let asked = key.1.iter().flatten().flatten();
            let mut conditions: Vec<ConditionId> = asked
                .flat_map(|&program| programs.conditions_of(program, side))
                .collect();
            conditions.sort_unstable();
            conditions.dedup();
            conditions
        };
        let mut asked = key.1.iter().flatten().flatten();
        self.list.push(Gate {
            side,
            is_by_family: asked.any(|&program| programs.is_by_family(program)),
            near: conditions(side),
            far: conditions(side.other()),
            ways: key.1.clone(),
        });
        self.by_ways.insert(key, id);
        Some(id)
    }
}

impl Gate {
    /// What the gate asks of the near address, and the answers of one class: equal for two that it treats alike.
    pub(super) fn near_answers<'c>(&self, classes: &'c Classes, class: ClassId) -> Vec<(bool, &'c [u16])> {
        classes.answers(class, &self.near)
    }
}

/// Whom a packet meets at this side, on each of its ways; `None` if it never leaves the host, and so meets nobody.
fn ways(
    worlds: &Worlds,
    side: Side,
    endpoint: EndpointId,
    partner: Option<EndpointId>,
    address: IpAddr,
) -> Option<route::Ways> {
    let party = |endpoint| Party {
        endpoint,
        addresses: [address].into_iter().collect(),
    };
    let (here, there) = (party(Some(endpoint)), party(partner));
    // Routes depend on the packet's addresses only, and on each end's own only.
    let packet = Packet {
        source: address,
        destination: address,
        protocol: Protocol::TCP,
        source_port: 0,
        destination_port: 0,
        icmp_type: 0,
        icmp_code: 0,
    };
    let (from, to) = match side {
        Side::Source => (&here, &there),
        Side::Destination => (&there, &here),
    };
    // What a workload sends arrives at its own host.
    let side_of = |ask: &Ask| match (ask.direction, ask.part) {
        (Direction::Egress, _) | (_, Part::Arrival) => Side::Source,
        (Direction::Ingress, Part::Itself | Part::BesideWorkload | Part::Through) => Side::Destination,
    };
    match Route::between(worlds, from, to, &packet) {
        Route::Loopback(_) => None,
        Route::Ways(ways) => {
            let at_this_side = |way: route::Way| way.into_iter().filter(|ask| side_of(ask) == side).collect();
            Some(ways.into_iter().map(at_this_side).collect())
        }
    }
}
