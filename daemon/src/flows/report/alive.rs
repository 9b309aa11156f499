//! Live connections that were opened before a policy was staged: nobody has seen what it would do to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use palisade_rules::analysis::Side;
use palisade_rules::analysis::connections::{Ends, ends};
use palisade_rules::evaluate::Packet;
use palisade_rules::net::{Direction, Protocol};
use palisade_rules::world::{EndpointId, EndpointKind, WorldKind, Worlds};
use serde::{Deserialize, Serialize};

use super::concerns::{Concern, Said};
use super::{Decided, Observed};
use crate::apply::{EndpointKey, Generation};
use crate::flows::attribute::{Attribution, attribute, parties};
use crate::flows::observe::Connection;
use crate::live::Alive;

/// Live connections at a policy's endpoints, in the directions it governs. Not counted are those that no policy is asked
/// about: failsafes, loopback, and what another connection has announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveConnections {
    /// How many there are.
    pub connections: u64,
    /// Whether these are all of the host's: of very many only the first are read.
    pub is_complete: bool,
    /// Of these, how many are unlike all that were opened since the policy is staged as it is: it has never been asked
    /// about one like them.
    pub never_evaluated: u64,
    /// Of these, how many it would deny if they were opened again.
    pub would_deny: u64,
    /// Of these, how many it would deny if they were opened again after the safety net is removed.
    pub would_deny_without_safety_net: u64,
    /// Who these are, most first.
    pub flows: Vec<LiveFlow>,
}

/// Live connections that are alike, never evaluated, and would be denied if opened again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LiveFlow {
    /// `ingress` or `egress`.
    pub direction: String,
    /// Who opened them.
    pub from: String,
    /// Who took them.
    pub to: String,
    /// The protocol.
    pub proto: String,
    /// The destination port; 0 for protocols without.
    pub port: u16,
    /// The verdict with the staged objects applied: `deny`, or `allow` where only the safety net would let them in.
    pub pending_action: String,
    /// What would deny them, in a few words.
    pub because: String,
    /// How many.
    pub connections: u64,
}

/// Live connections by what policies can tell apart.
pub(super) struct Groups {
    alike: BTreeMap<(Ends, Packet), u64>,
    is_complete: bool,
}

/// Puts live connections together.
pub(super) fn group(generation: &Generation, alive: &Alive) -> Groups {
    let worlds = &generation.worlds;
    let side = Side {
        worlds,
        world: WorldKind::Pending,
    };
    let mut alike = BTreeMap::new();
    for (tracked, ends) in alive.connections.iter().zip(ends(side, &alive.connections)) {
        let Some(ends) = ends else { continue };
        let packet = if generation.looks_at_source_ports {
            tracked.packet
        } else {
            without_source_port(tracked.packet)
        };
        *alike.entry((ends, packet)).or_default() += 1;
    }
    Groups {
        alike,
        is_complete: alive.is_complete,
    }
}

/// What makes connections alike: their ends by name, port, and verdicts. Of those alike only some are kept apart.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Like {
    direction: Direction,
    from: String,
    to: String,
    protocol: Protocol,
    port: u16,
    said: Said,
}

impl Like {
    fn of(worlds: &Worlds, connection: &Connection, attribution: &Attribution) -> Self {
        let (source, destination) = parties(worlds, connection);
        Like {
            direction: connection.direction,
            from: source.to_string(),
            to: destination.to_string(),
            protocol: connection.packet.protocol,
            port: connection.packet.destination_port,
            said: Said::of(attribution),
        }
    }
}

/// What a policy has never been asked about.
pub(super) fn look<'o>(
    observed: &Observed<'o>,
    concern: &Concern<'_>,
    alive: &Groups,
    decided: &mut Decided<'o>,
) -> LiveConnections {
    let worlds = &observed.generation.worlds;
    let seen: BTreeSet<Like> = observed
        .kept
        .since(concern.since.generation)
        .filter(|(connection, _)| concern.is_asked(connection))
        .filter_map(|(connection, _)| Some(Like::of(worlds, connection, decided.of(worlds, connection)?)))
        .collect();
    let mut found = LiveConnections {
        is_complete: alive.is_complete,
        ..LiveConnections::default()
    };
    let mut flows: BTreeMap<LiveFlow, u64> = BTreeMap::new();
    for ((ends, packet), &count) in &alive.alike {
        let asked = places(observed.generation, concern, ends, packet);
        let attributed: Vec<_> = asked
            .iter()
            .filter_map(|connection| Some((connection, attribute(worlds, connection)?)))
            .filter(|(_, attribution)| attribution.is_left_to_policy())
            .collect();
        if attributed.is_empty() {
            continue;
        }
        found.connections += count;
        let was_seen = |(connection, attribution): &(&Connection, Attribution)| {
            seen.contains(&Like::of(worlds, connection, attribution))
        };
        if attributed.iter().any(was_seen) {
            continue;
        }
        found.never_evaluated += count;
        // At several of them, the strictest counts.
        let denied = attributed.iter().filter_map(|(connection, attribution)| {
            let step = concern.spoke(attribution)?;
            let said = Said::of(attribution);
            (said.would_deny_without_net(1) > 0 || said.would_deny(1) > 0).then_some((connection, said, step))
        });
        let Some((connection, said, step)) = denied.max_by_key(|(_, said, _)| said.would_deny(1)) else {
            continue;
        };
        found.would_deny += said.would_deny(count);
        found.would_deny_without_safety_net += said.would_deny_without_net(count);
        let (source, destination) = parties(worlds, connection);
        let flow = LiveFlow {
            direction: connection.direction.as_str().to_owned(),
            from: source.to_string(),
            to: destination.to_string(),
            proto: packet.protocol.to_string(),
            port: packet.destination_port,
            pending_action: said.pending_action.as_str().to_owned(),
            because: step.phrase(),
            connections: 0,
        };
        *flows.entry(flow).or_default() += count;
    }
    let counted = |(flow, connections)| LiveFlow { connections, ..flow };
    found.flows = flows.into_iter().map(counted).collect();
    found
        .flows
        .sort_by_key(|flow| (flow.pending_action != "deny", std::cmp::Reverse(flow.connections)));
    found
}

/// Where a connection would meet a policy, if it were opened again. By which interfaces it goes through the host is not
/// known: then all of the policy's host endpoints are asked.
fn places(generation: &Generation, concern: &Concern<'_>, ends: &Ends, packet: &Packet) -> Vec<Connection> {
    let worlds = &generation.worlds;
    let mut places = Vec::new();
    for (direction, here) in [(Direction::Egress, &ends.from), (Direction::Ingress, &ends.to)] {
        if !concern.governs(direction) {
            continue;
        }
        let is_host = |id: &&EndpointId| worlds.endpoint(**id).kind == EndpointKind::Host;
        let at = |forwarded| {
            move |id: &EndpointId| Connection {
                endpoint: Arc::new(EndpointKey::from(worlds.endpoint(*id))),
                direction,
                forwarded,
                packet: *packet,
            }
        };
        let own = here.iter().filter(|id| concern.endpoints.contains(id));
        places.extend(own.map(at(false)));
        if ends.forwarded && concern.applies_on_forward() {
            places.extend(concern.endpoints.iter().filter(is_host).map(at(true)));
        }
    }
    places
}

fn without_source_port(packet: Packet) -> Packet {
    match packet.protocol {
        Protocol::TCP | Protocol::UDP | Protocol::SCTP => Packet {
            source_port: 0,
            ..packet
        },
        _ => packet,
    }
}
