//! Attribution: what both worlds say about an observed connection.

use std::net::IpAddr;

use palisade_rules::analysis::{StepReport, name_of};
use palisade_rules::evaluate::{Decision, Verdict, evaluate, evaluate_forwarded};
use palisade_rules::net::Direction;
use palisade_rules::world::{EndpointKind, WorldKind, Worlds};

use super::observe::Connection;
use super::record::{Party, Traces};

/// Both verdicts of a connection, with the traces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribution {
    /// The verdict in force.
    pub action: Verdict,
    /// The verdict with the staged objects applied.
    pub pending_action: Verdict,
    /// Whether a safety net is what allowed it, in either world.
    pub caught: bool,
    /// The verdict in force, had there been no safety net.
    pub action_without_net: Verdict,
    /// The pending verdict, had there been no safety net.
    pub pending_without_net: Verdict,
    /// Why.
    pub policies: Traces,
}

/// Decides about a connection in both worlds; `None` if its endpoint is no longer there.
pub fn attribute(worlds: &Worlds, connection: &Connection) -> Option<Attribution> {
    let endpoint = connection.endpoint.find(worlds)?;
    let decide = if connection.forwarded {
        evaluate_forwarded
    } else {
        evaluate
    };
    let [enforced, pending] = WorldKind::BOTH.map(|kind| {
        decide(
            worlds,
            worlds.world(kind),
            endpoint,
            connection.direction,
            &connection.packet,
        )
    });
    let bare = |decision: &Decision| {
        decision
            .without_safety_net
            .as_ref()
            .map_or(decision.outcome.verdict, |outcome| outcome.verdict)
    };
    let bare_trace = |decision: &Decision| {
        decision
            .without_safety_net
            .as_ref()
            .map(|outcome| StepReport::of(worlds, &outcome.steps))
    };
    Some(Attribution {
        action: enforced.outcome.verdict,
        pending_action: pending.outcome.verdict,
        caught: enforced.without_safety_net.is_some() || pending.without_safety_net.is_some(),
        action_without_net: bare(&enforced),
        pending_without_net: bare(&pending),
        policies: Traces {
            enforced: StepReport::of(worlds, &enforced.outcome.steps),
            pending: StepReport::of(worlds, &pending.outcome.steps),
            enforced_without_safety_net: bare_trace(&enforced),
            pending_without_safety_net: bare_trace(&pending),
        },
    })
}

/// Both ends of a connection, by name. Workloads and services are known by where their packets were seen, all others by
/// their address: a service has none of its own.
pub fn parties(worlds: &Worlds, connection: &Connection, addresses: bool) -> (Party, Party) {
    let party = |address: IpAddr, direction: Direction| {
        let named = name_of(worlds, address);
        let mut party = Party {
            kind: named.kind.as_str().to_owned(),
            namespace: named.namespace.map(str::to_owned),
            name: named.name.to_owned(),
            labels: named.labels.cloned().unwrap_or_default(),
            ip: addresses.then_some(address),
        };
        let here = &connection.endpoint;
        if connection.direction == direction
            && here.kind != EndpointKind::Host
            && let Some(id) = here.find(worlds)
        {
            here.kind.as_str().clone_into(&mut party.kind);
            party.namespace.clone_from(&here.namespace);
            party.name.clone_from(&here.name);
            party.labels.clone_from(&worlds.endpoint(id).labels);
        }
        party
    };
    (
        party(connection.packet.source, Direction::Egress),
        party(connection.packet.destination, Direction::Ingress),
    )
}
