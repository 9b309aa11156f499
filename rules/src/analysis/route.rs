//! Who decides about a packet between two ends, in order.
//!
//! Egress at the source and ingress at the destination both decide, whichever node they are on. Between them, a host
//! decides about what goes through it to or from its workloads, if its policies apply on forward.

use std::net::IpAddr;

use smallvec::{SmallVec, smallvec};

use super::QueryError;
use crate::evaluate::{Packet, Part};
use crate::net::{Direction, Family, Protocol};
use crate::world::{Attachment, Endpoint, EndpointId, EndpointKind, Stage, Worlds};

/// One end of a query.
pub(super) struct Party {
    /// The endpoint, if it is one.
    pub(super) endpoint: Option<EndpointId>,
    /// Its addresses: a service has those of its host.
    pub(super) addresses: SmallVec<[IpAddr; 2]>,
}

/// Whom a packet meets on its way.
pub(super) enum Route {
    /// Nobody: it does not leave this endpoint's host.
    Loopback(EndpointId),
    /// All of these, in order; one list for each way that it may take through a host.
    Ways(Ways),
}

/// The ways that a packet may take.
pub(super) type Ways = SmallVec<[Way; 1]>;

/// Who is asked on one way, in order: mostly one at each end.
pub(super) type Way = SmallVec<[Ask; 4]>;

/// One question.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    /// Who is asked.
    pub(super) endpoint: EndpointId,
    /// In which direction.
    pub(super) direction: Direction,
    /// About which part of the packet's way.
    pub(super) part: Part,
}

impl Party {
    /// Finds an end: an address, a name, `namespace/name`, or either behind the kind and a colon.
    pub(super) fn find(worlds: &Worlds, text: &str) -> Result<Self, QueryError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Party::at(worlds, address);
        }
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) if EndpointKind::parse(kind).is_some() => (EndpointKind::parse(kind), name),
            _ => (None, text),
        };
        let named = worlds.directory.named(name).iter();
        let is_meant = |id: &&EndpointId| kind.is_none_or(|kind| worlds.endpoint(**id).kind == kind);
        let meant: SmallVec<[EndpointId; 2]> = named.filter(is_meant).copied().collect();
        let [id] = meant.as_slice() else {
            return Err(not_one(worlds, text, &meant));
        };
        let endpoint = worlds.endpoint(*id);
        let addresses = match endpoint.kind {
            EndpointKind::Host | EndpointKind::Workload => SmallVec::from_slice(&endpoint.addresses),
            EndpointKind::Service => hosts(worlds, &endpoint.node)
                .flat_map(|(_, host)| host.addresses.iter().copied())
                .collect(),
        };
        if addresses.is_empty() {
            return Err(QueryError::NoAddress(name.to_owned()));
        }
        Ok(Party {
            endpoint: Some(*id),
            addresses,
        })
    }

    fn at(worlds: &Worlds, address: IpAddr) -> Result<Self, QueryError> {
        let mut owners = worlds.directory.at(address);
        let owner = owners.next();
        if owners.next().is_some() {
            let owners = worlds.directory.at(address);
            let owners: Vec<String> = owners.map(|id| worlds.endpoint(id).to_string()).collect();
            let endpoints = owners.join(" and ");
            return Err(QueryError::Ambiguous { address, endpoints });
        }
        Ok(Party {
            endpoint: owner,
            addresses: smallvec![address],
        })
    }
}

impl Route {
    /// The way of a packet between two ends.
    pub(super) fn between(worlds: &Worlds, from: &Party, to: &Party, packet: &Packet) -> Self {
        let end = |party: &Party, direction, address| {
            let id = party.endpoint?;
            Some(End {
                worlds,
                id,
                endpoint: worlds.endpoint(id),
                direction,
                address,
            })
        };
        let source = end(from, Direction::Egress, packet.source);
        let destination = end(to, Direction::Ingress, packet.destination);
        if let (Some(source), Some(destination)) = (&source, &destination)
            && source.endpoint.node == destination.endpoint.node
        {
            return source.on_one_host_with(destination, packet);
        }
        let mut ways: Ways = smallvec![Way::new()];
        if let Some(source) = source {
            then(&mut ways, &[source.arrival()]);
            then(&mut ways, &[source.asks(source.owner())]);
            then(&mut ways, &source.through());
        }
        if let Some(destination) = destination {
            then(&mut ways, &destination.through());
            then(&mut ways, &[destination.asks(destination.owner())]);
        }
        Route::Ways(ways)
    }
}

/// A known end of a packet's way.
struct End<'w> {
    worlds: &'w Worlds,
    id: EndpointId,
    endpoint: &'w Endpoint,
    direction: Direction,
    address: IpAddr,
}

impl End<'_> {
    fn ask(&self, endpoint: EndpointId, part: Part) -> Ask {
        Ask {
            endpoint,
            direction: self.direction,
            part,
        }
    }

    /// What a workload sends comes into its host by an interface that no host endpoint names, whoever it is for.
    fn arrival(&self) -> Way {
        if self.endpoint.kind != EndpointKind::Workload {
            return Way::new();
        }
        let ask = |endpoint| Ask {
            endpoint,
            direction: Direction::Ingress,
            part: Part::Arrival,
        };
        self.wildcard().map(ask).into_iter().collect()
    }

    /// Who is asked at this end, with the host endpoint that stands before a service: what it sends passes the service
    /// first, what it gets the host.
    fn asks(&self, host: Option<EndpointId>) -> Way {
        let mut asks: Way = match self.endpoint.kind {
            EndpointKind::Workload => smallvec![self.ask(self.id, Part::Itself)],
            EndpointKind::Host => host
                .map(|host| self.ask(host, Part::Itself))
                .into_iter()
                .collect(),
            EndpointKind::Service => [Some(self.id), host]
                .into_iter()
                .flatten()
                .map(|endpoint| self.ask(endpoint, Part::Itself))
                .collect(),
        };
        if self.direction == Direction::Ingress {
            asks.reverse();
        }
        asks
    }

    /// The host endpoint that has this end's address.
    fn owner(&self) -> Option<EndpointId> {
        if self.endpoint.kind == EndpointKind::Host {
            return Some(self.id);
        }
        let mut hosts = hosts(self.worlds, &self.endpoint.node);
        let owner = hosts.find(|(_, host)| host.addresses.contains(&self.address));
        owner.map(|(id, _)| id)
    }

    /// The ways through this end's host, for a workload: by each host endpoint that has something to say about it.
    fn through(&self) -> Ways {
        if self.endpoint.kind != EndpointKind::Workload {
            return smallvec![Way::new()];
        }
        through(self.worlds, &self.endpoint.node, self.direction)
    }

    /// The way to another end on the same host.
    fn on_one_host_with(&self, to: &End<'_>, packet: &Packet) -> Route {
        let is_workload = |end: &End<'_>| end.endpoint.kind == EndpointKind::Workload;
        match (is_workload(self), is_workload(to)) {
            (true, true) if self.id == to.id => Route::Loopback(self.id),
            (true, true) => {
                let asks = [self.arrival(), self.asks(None), to.asks(None)];
                Route::Ways(smallvec![asks.into_iter().flatten().collect()])
            }
            (false, false) => {
                let Some(lo) = self.loopback_endpoint() else {
                    return Route::Loopback(self.id);
                };
                let asks = self.asks(Some(lo)).into_iter().chain(to.asks(Some(lo)));
                Route::Ways(smallvec![asks.collect()])
            }
            // Between a host and its own workloads no interface is crossed that a host endpoint names.
            _ => {
                let wildcard = self.wildcard();
                let asks = self.asks(wildcard).into_iter().chain(to.asks(wildcard));
                let finds_neighbours = self.finds_neighbours(packet);
                let decides = |ask: Ask| {
                    if Some(ask.endpoint) == wildcard {
                        let part = Part::BesideWorkload;
                        return Some(Ask { part, ..ask });
                    }
                    (!finds_neighbours).then_some(ask)
                };
                Route::Ways(smallvec![asks.filter_map(decides).collect()])
            }
        }
    }

    /// Whether a workload and its host need the packet to find each other: no policy of the workload is asked about it.
    fn finds_neighbours(&self, packet: &Packet) -> bool {
        let mut types = self.worlds.host.failsafes.icmpv6_types_by_workload().iter();
        packet.family() == Family::V6
            && packet.protocol == Protocol::ICMPV6
            && types.any(|&(first, last)| (first..=last).contains(&packet.icmp_type))
    }

    /// The host endpoint that stands for every interface that no other one names.
    fn wildcard(&self) -> Option<EndpointId> {
        let mut hosts = hosts(self.worlds, &self.endpoint.node);
        hosts.find(|(_, host)| host.wildcard).map(|(id, _)| id)
    }

    /// The endpoint that decides about a host's traffic to itself, if loopback is filtered at all.
    fn loopback_endpoint(&self) -> Option<EndpointId> {
        if !self.worlds.host.filter_loopback {
            return None;
        }
        let is_named_lo = |(_, host): &(EndpointId, &Endpoint)| match &host.attachment {
            Some(Attachment::Interfaces(interfaces)) => interfaces.iter().any(|name| name == "lo"),
            Some(Attachment::Rest | Attachment::Cgroups(_)) | None => false,
        };
        let named = hosts(self.worlds, &self.endpoint.node).find(is_named_lo);
        named.map(|(id, _)| id).or_else(|| self.wildcard())
    }
}

/// The ways into a host, or out of it, for what goes through it: by each host endpoint that has something to say about it.
pub(super) fn through(worlds: &Worlds, node: &str, direction: Direction) -> Ways {
    let has_say = |id| {
        let early = Stage::Forward.early(direction);
        let mut stages = early.iter().chain([&Stage::Forward]);
        stages.any(|&stage| worlds.has_stage(id, direction, stage))
    };
    let mut ways = Ways::new();
    let mut has_silent = false;
    for (endpoint, _) in hosts(worlds, node) {
        if has_say(endpoint) {
            ways.push(smallvec![Ask {
                endpoint,
                direction,
                part: Part::Through,
            }]);
        } else {
            has_silent = true;
        }
    }
    if has_silent || ways.is_empty() {
        ways.push(Way::new());
    }
    ways
}

/// The host endpoints of a node.
fn hosts<'w>(worlds: &'w Worlds, node: &'w str) -> impl Iterator<Item = (EndpointId, &'w Endpoint)> {
    let hosts = worlds.directory.hosts(node).iter();
    hosts.map(|&id| (id, worlds.endpoint(id)))
}

/// Every way followed by every continuation.
pub(super) fn then(ways: &mut Ways, continuations: &[Way]) {
    if let [only] = continuations {
        for way in ways {
            way.extend_from_slice(only);
        }
        return;
    }
    let followed = |way: Way| {
        continuations.iter().map(move |continuation| {
            let mut way = way.clone();
            way.extend_from_slice(continuation);
            way
        })
    };
    *ways = std::mem::take(ways).into_iter().flat_map(followed).collect();
}

/// Why a name means no endpoint, or more than one.
fn not_one(worlds: &Worlds, text: &str, meant: &[EndpointId]) -> QueryError {
    if !meant.is_empty() {
        let endpoints = meant.iter().map(|&id| {
            let endpoint = worlds.endpoint(id);
            format!("{}:{endpoint}", endpoint.kind)
        });
        return QueryError::Clash {
            name: text.to_owned(),
            endpoints: endpoints.collect::<Vec<_>>().join(" and "),
        };
    }
    let names: Vec<String> = worlds.endpoints.iter().map(ToString::to_string).collect();
    let known = if names.is_empty() {
        "there are no endpoints".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    };
    QueryError::Unknown {
        name: text.to_owned(),
        known,
    }
}
