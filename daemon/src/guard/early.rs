//! What untracked policies do to connections: they meet every packet of them, the answers too, before conntrack.

use palisade_rules::analysis::connections::{Ends, Tracked, ends};
use palisade_rules::analysis::{Side, StepReport};
use palisade_rules::evaluate::{Packet, Step, Verdict, evaluate};
use palisade_rules::net::{Direction, Protocol};
use palisade_rules::world::{EndpointId, EndpointKind, Stage, WorldProfile};

use super::When;

/// How a connection fails before conntrack.
pub(super) struct Early {
    /// From when on.
    pub(super) when: When,
    /// The step that denies a packet of it.
    pub(super) because: Option<StepReport>,
    /// Why it fails where no step denies.
    pub(super) why: String,
}

/// For each connection, how it fails before conntrack; `None` for one that does not.
pub(super) fn early(side: Side<'_>, connections: &[Tracked]) -> Vec<Option<Early>> {
    if !side.worlds.world(side.world).has_stage(Stage::Untracked) {
        return connections.iter().map(|_| None).collect();
    }
    let ends = ends(side, connections);
    let all = connections.iter().zip(ends);
    all.map(|(connection, ends)| of_connection(side, connection, &ends?))
        .collect()
}

fn of_connection(side: Side<'_>, connection: &Tracked, ends: &Ends) -> Option<Early> {
    if ends.forwarded {
        return None;
    }
    // What comes in is asked about as it arrives, what goes out as it leaves.
    let inbound = ends
        .to
        .iter()
        .map(|&id| (id, Direction::Ingress, connection.arriving));
    let outbound = ends
        .from
        .iter()
        .map(|&id| (id, Direction::Egress, connection.packet));
    inbound.chain(outbound).find_map(|(id, direction, packet)| {
        let is_host = side.worlds.endpoint(id).kind == EndpointKind::Host;
        is_host.then(|| at(side, id, direction, &packet)).flatten()
    })
}

/// How it fails at one host endpoint.
fn at(side: Side<'_>, id: EndpointId, direction: Direction, packet: &Packet) -> Option<Early> {
    let back = match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    };
    let says = [(direction, *packet), (back, answer(packet))]
        .map(|(direction, packet)| untracked(side, id, direction, &packet));
    for step in says.iter().flatten() {
        if step.0 == Verdict::Deny {
            return Some(Early {
                when: When::Now,
                because: Some(StepReport::new(side.worlds, &step.1)),
                why: String::new(),
            });
        }
    }
    // Where conntrack sees one direction only, what it sees belongs to no connection.
    let (seen, step) = match &says {
        [Some((_, step)), None] => (back, step),
        [None, Some((_, step))] => (direction, step),
        _ => return None,
    };
    let fails = packet.protocol == Protocol::TCP && drops_invalid(side, id, seen);
    fails.then(|| Early {
        when: When::OpenedAgain,
        because: None,
        why: format!(
            "{} lets one direction pass without conntrack, and no untracked policy allows the other, {seen}: there its \
             packets belong to no connection, and are dropped",
            StepReport::new(side.worlds, step).phrase()
        ),
    })
}

/// What the untracked policies of an endpoint say of a packet; `None` if they leave it to those that follow.
fn untracked(
    side: Side<'_>,
    id: EndpointId,
    direction: Direction,
    packet: &Packet,
) -> Option<(Verdict, Step)> {
    let world = side.worlds.world(side.world);
    let outcome = evaluate(side.worlds, world, id, direction, packet).outcome;
    let step = outcome.deciding().filter(|step| step.stage == Stage::Untracked)?;
    Some((outcome.verdict, step.clone()))
}

/// A packet of the other direction.
fn answer(packet: &Packet) -> Packet {
    Packet {
        source: packet.destination,
        destination: packet.source,
        source_port: packet.destination_port,
        destination_port: packet.source_port,
        ..*packet
    }
}

/// Whether packets of no connection are dropped: where somebody decides.
fn drops_invalid(side: Side<'_>, id: EndpointId, direction: Direction) -> bool {
    let enforced = &side.worlds.enforced;
    let mut governing = enforced.governing(id, direction, Stage::Normal);
    let first = side.worlds.profiles_of(id).next();
    governing.any(|policy| !policy.safety_net) || !first.is_some_and(WorldProfile::is_default_allow)
}
