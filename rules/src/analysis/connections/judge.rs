//! What one world makes of a tracked connection, were it opened now.
//!
//! Conntrack knows addresses, not interfaces. So an end belongs to this host if the host has the address, to the endpoint
//! on the interface that has it; or to the workload, or the service, that is known to have it. An end elsewhere has no
//! say: what its own host decides is not in this host's kernel. Between two ends elsewhere the packet goes through the
//! host, by whichever interfaces: where its host endpoints do not agree, the strictest counts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Ends, Fate, Tracked};
use crate::analysis::Side;
use crate::analysis::names::name_of;
use crate::analysis::route::{Ask, Party, Route, Ways, then, through};
use crate::evaluate::{Part, Step, Verdict, evaluate_translated};
use crate::net::Direction;
use crate::world::{Attachment, EndpointId, EndpointKind, World};

/// One world, and who in it has which of the host's addresses.
pub(super) struct Judge<'w> {
    side: Side<'w>,
    local: BTreeMap<IpAddr, Option<EndpointId>>,
    /// Paths of cgroups below the root, and whose they are.
    services: BTreeMap<&'w str, EndpointId>,
}

/// Who denies a connection, were it opened now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Judgement {
    /// Nobody is asked: the connection stays on this host, or belongs to another one.
    pub(super) exempt: bool,
    /// The step that denies it.
    pub(super) denied: Option<Step>,
    /// The step that denies it when there are no safety nets.
    pub(super) denied_without_net: Option<Step>,
    /// Whether another way through the host would have another verdict.
    pub(super) depends_on_interface: bool,
}

impl Judgement {
    pub(super) fn fate(&self) -> Fate {
        let verdict = |denied: &Option<Step>| {
            if denied.is_some() {
                Verdict::Deny
            } else {
                Verdict::Allow
            }
        };
        Fate {
            verdict: verdict(&self.denied).as_str().into(),
            without_safety_net: verdict(&self.denied_without_net).as_str().into(),
        }
    }
}

/// One end of a connection.
#[derive(Clone, Copy)]
struct End {
    /// Whether this host has its address.
    is_host: bool,
    /// The local endpoint that it belongs to.
    endpoint: Option<EndpointId>,
}

impl<'w> Judge<'w> {
    pub(super) fn new(side: Side<'w>) -> Self {
        let mut services = BTreeMap::new();
        for (id, _, attachment) in side.worlds.local() {
            if let Attachment::Cgroups(cgroups) = attachment {
                services.extend(cgroups.iter().map(|cgroup| (cgroup.path.as_str(), id)));
            }
        }
        Judge {
            local: local(side),
            services,
            side,
        }
    }

    /// What becomes of the connection if it is opened again, in the side's world or what is left of it.
    pub(super) fn judge(&self, world: &World, connection: &Tracked) -> Judgement {
        let worlds = self.side.worlds;
        let exempt = Judgement {
            exempt: true,
            ..Judgement::default()
        };
        if connection.expected {
            return exempt;
        }
        let packet = &connection.packet;
        let from = self.end(packet.source, connection.from_cgroup.as_deref());
        let mut to = self.end(packet.destination, connection.to_cgroup.as_deref());
        if is_for_many(packet.destination) && !from.is_host {
            to.endpoint = self.rest();
        }
        if from.is_host && to.is_host && !worlds.host.filter_loopback {
            return exempt;
        }
        let party = |end: End, address| Party {
            endpoint: end.endpoint,
            addresses: [address].into_iter().collect(),
        };
        let ways = if from.endpoint.is_none() && to.endpoint.is_none() {
            self.forwarded(from, to)
        } else {
            let (from, to) = (party(from, packet.source), party(to, packet.destination));
            match Route::between(worlds, &from, &to, packet) {
                Route::Loopback(_) => return exempt,
                Route::Ways(ways) => ways,
            }
        };
        let on_ways: Vec<[Option<Step>; 2]> = ways
            .iter()
            .map(|way| self.on_way(world, way, connection))
            .collect();
        let strictest = |index: usize| on_ways.iter().find_map(|denied| denied[index].clone());
        let denied = [strictest(0), strictest(1)];
        let disagree = |index: usize| {
            let mut ways = on_ways.iter();
            denied[index].is_some() && ways.any(|denied| denied[index].is_none())
        };
        Judgement {
            exempt: false,
            depends_on_interface: disagree(0) || disagree(1),
            denied: denied[0].clone(),
            denied_without_net: denied[1].clone(),
        }
    }

    /// Whose policies a connection meets at either end.
    pub(super) fn ends(&self, connection: &Tracked) -> Option<Ends> {
        let packet = &connection.packet;
        let from = self.end(packet.source, connection.from_cgroup.as_deref());
        let to = self.end(packet.destination, connection.to_cgroup.as_deref());
        if connection.expected || from.is_host && to.is_host && !self.side.worlds.host.filter_loopback {
            return None;
        }
        let at = |end: End, address: IpAddr| {
            // Behind a service stands the endpoint that has the address.
            let behind = self.local.get(&address).copied().flatten();
            let mut endpoints: Vec<EndpointId> = end.endpoint.into_iter().chain(behind).collect();
            endpoints.dedup();
            endpoints
        };
        let mut ends = Ends {
            from: at(from, packet.source),
            to: at(to, packet.destination),
            forwarded: !from.is_host && !to.is_host,
        };
        if is_for_many(packet.destination) && !from.is_host {
            ends.to = self.rest().into_iter().collect();
            ends.forwarded = false;
        }
        Some(ends)
    }

    /// What an end is called: by its endpoint on this host, else by its address.
    pub(super) fn name(&self, address: IpAddr, cgroup: Option<&str>) -> String {
        let worlds = self.side.worlds;
        if let Some(id) = self.end(address, cgroup).endpoint {
            return worlds.endpoint(id).to_string();
        }
        let named = name_of(worlds, address);
        let namespace = named.namespace.map(|namespace| format!("{namespace}/"));
        format!("{}{}", namespace.unwrap_or_default(), named.name)
    }

    fn end(&self, address: IpAddr, cgroup: Option<&str>) -> End {
        let known = self.local.get(&address).copied();
        let is_workload = |id: EndpointId| self.side.worlds.endpoint(id).kind == EndpointKind::Workload;
        let is_host =
            address.is_loopback() || known.is_some_and(|endpoint| !endpoint.is_some_and(is_workload));
        let service = cgroup.and_then(|path| self.service(path)).filter(|_| is_host);
        End {
            is_host,
            endpoint: service.or(known.flatten()),
        }
    }

    /// The service whose cgroup this is, or is nearest above this one.
    fn service(&self, path: &str) -> Option<EndpointId> {
        if self.services.is_empty() {
            return None;
        }
        let mut above = std::iter::successors(Some(path), |path| Some(path.rsplit_once('/')?.0));
        above.find_map(|path| self.services.get(path).copied())
    }

    /// The endpoint of every interface that no other one has.
    fn rest(&self) -> Option<EndpointId> {
        let mut local = self.side.worlds.local();
        local
            .find(|(.., attachment)| **attachment == Attachment::Rest)
            .map(|(id, ..)| id)
    }

    /// The ways of a packet that meets no endpoint's own policies.
    fn forwarded(&self, from: End, to: End) -> Ways {
        match self.side.worlds.host.node.as_deref() {
            Some(node) if !from.is_host && !to.is_host => {
                let [ingress, egress] = [Direction::Ingress, Direction::Egress]
                    .map(|direction| through(self.side.worlds, node, direction));
                let mut ways = ingress;
                then(&mut ways, &egress);
                ways
            }
            _ => Ways::new(),
        }
    }

    /// Who denies it on one way, with safety nets and without.
    fn on_way(&self, world: &World, way: &[Ask], connection: &Tracked) -> [Option<Step>; 2] {
        let mut denied = [None, None];
        for ask in way {
            let packet = match ask.part {
                Part::Itself | Part::BesideWorkload | Part::Through => &connection.packet,
                Part::Arrival => &connection.arriving,
            };
            let decision = evaluate_translated(
                self.side.worlds,
                world,
                ask.endpoint,
                ask.direction,
                ask.part,
                [&connection.arriving, packet],
            );
            let bare = decision.without_safety_net.as_ref();
            let outcomes = [&decision.outcome, bare.unwrap_or(&decision.outcome)];
            for (denied, outcome) in denied.iter_mut().zip(outcomes) {
                if denied.is_none() && outcome.verdict == Verdict::Deny {
                    *denied = outcome.deciding().cloned();
                }
            }
            if denied[0].is_some() {
                break;
            }
        }
        denied
    }
}

/// The addresses on this host, and the endpoints that they belong to: the host's own by their interface, those of
/// workloads as they are written.
fn local(side: Side<'_>) -> BTreeMap<IpAddr, Option<EndpointId>> {
    let mut by_interface = BTreeMap::new();
    let mut rest = None;
    let mut local = BTreeMap::new();
    for (id, endpoint, attachment) in side.worlds.local() {
        match (endpoint.kind, attachment) {
            (EndpointKind::Host, Attachment::Interfaces(interfaces)) => {
                by_interface.extend(interfaces.iter().map(|interface| (interface.as_str(), id)));
            }
            (EndpointKind::Host, Attachment::Rest) => rest = Some(id),
            (EndpointKind::Workload, _) => {
                local.extend(endpoint.addresses.iter().map(|&address| (address, Some(id))));
            }
            _ => {}
        }
    }
    for (interface, addresses) in &side.worlds.host.interfaces {
        let endpoint = by_interface.get(interface.as_str()).copied().or(rest);
        local.extend(addresses.iter().map(|&address| (address, endpoint)));
    }
    local
}

/// Whether a packet to this address is for every host that hears it.
fn is_for_many(address: IpAddr) -> bool {
    address.is_multicast() || matches!(address, IpAddr::V4(address) if address.is_broadcast())
}
