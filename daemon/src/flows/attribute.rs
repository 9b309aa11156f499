//! Attribution: what both worlds say about an observed connection.

use std::net::IpAddr;
use std::sync::Arc;

use palisade_rules::analysis::{StepReport, name_of};
use palisade_rules::evaluate::{Decision, Verdict, evaluate, evaluate_beside_workload, evaluate_forwarded};
use palisade_rules::net::Direction;
use palisade_rules::world::{Attachment, EndpointId, EndpointKind, WorldKind, Worlds};

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
    pub policies: Arc<Traces>,
}

impl Attribution {
    /// Whether policies are asked about it: not about what a failsafe accepts, nor about loopback.
    pub fn is_left_to_policy(&self) -> bool {
        let last = self.policies.pending.last();
        last.is_none_or(|step| !matches!(&*step.kind, "Failsafe" | "Loopback"))
    }
}

/// Decides about a connection in both worlds; `None` if its endpoint is no longer there.
pub fn attribute(worlds: &Worlds, connection: &Connection) -> Option<Attribution> {
    let endpoint = connection.endpoint.find(worlds)?;
    let decide = if connection.forwarded {
        evaluate_forwarded
    } else if is_beside_workload(worlds, endpoint, connection) {
        evaluate_beside_workload
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
        policies: Arc::new(Traces {
            enforced: StepReport::of(worlds, &enforced.outcome.steps),
            pending: StepReport::of(worlds, &pending.outcome.steps),
            enforced_without_safety_net: bare_trace(&enforced),
            pending_without_safety_net: bare_trace(&pending),
        }),
    })
}

/// Whether it is between the host and a workload of its own, met at the host endpoint of every other interface: known by
/// the address of the far end, for the copy of the packet names the place and not the interface.
pub(crate) fn is_beside_workload(worlds: &Worlds, endpoint: EndpointId, connection: &Connection) -> bool {
    let far = match connection.direction {
        Direction::Ingress => connection.packet.source,
        Direction::Egress => connection.packet.destination,
    };
    let is_local_workload = |id| {
        let endpoint = worlds.endpoint(id);
        endpoint.kind == EndpointKind::Workload && endpoint.attachment.is_some()
    };
    worlds.endpoint(endpoint).attachment == Some(Attachment::Rest)
        && worlds.directory.at(far).any(is_local_workload)
}

/// Both ends of a connection, by name. Workloads and services are known by where their packets were seen, all others by
/// their address: a service has none of its own.
pub fn parties(worlds: &Worlds, connection: &Connection) -> (Party, Party) {
    let party = |address: IpAddr, direction: Direction| {
        let named = name_of(worlds, address);
        let mut party = Party {
            kind: named.kind.as_str().to_owned(),
            namespace: named.namespace.map(str::to_owned),
            name: named.name.to_owned(),
            labels: named.labels.cloned().unwrap_or_default().into(),
        };
        let here = &connection.endpoint;
        if connection.direction == direction
            && here.kind != EndpointKind::Host
            && let Some(id) = here.find(worlds)
        {
            here.kind.as_str().clone_into(&mut party.kind);
            party.namespace.clone_from(&here.namespace);
            party.name.clone_from(&here.name);
            party.labels = worlds.endpoint(id).labels.clone().into();
        }
        party
    };
    (
        party(connection.packet.source, Direction::Egress),
        party(connection.packet.destination, Direction::Ingress),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use palisade_rules::decode::decode;
    use palisade_rules::evaluate::Packet;
    use palisade_rules::net::Protocol;
    use palisade_rules::source::Files;
    use palisade_rules::world::{Host, resolve};

    use super::*;
    use crate::apply::EndpointKey;

    /// What comes in untracked by other interfaces is tracked where a workload sends it, and denied by the end of the tier.
    const RESOURCES: &str = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: rest}
spec: {node: here, interfaceName: '*'}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: here-cni-w-eth0, namespace: red}
spec: {node: here, orchestrator: cni, containerID: w, endpoint: eth0, interfaceName: cali1, ipNetworks: [10.65.0.2/32]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: dns}
spec:
  selector: '!has(projectcalico.org/namespace)'
  order: 1
  doNotTrack: true
  applyOnForward: true
  types: [Ingress]
  ingress: [{action: Allow, protocol: UDP, destination: {ports: [53]}}]
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: shut}
spec: {selector: '!has(projectcalico.org/namespace)', order: 2, types: [Ingress]}
";

    #[test]
    fn what_a_workload_sends_to_its_host_is_not_untracked() {
        let mut files = Files::default();
        let file = files.add("resources.yaml", RESOURCES);
        let (snapshot, diagnostics) = decode(&files, &[file]);
        let snapshot = snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)));
        let interface = |name: &str, address: &str| (name.to_owned(), vec![address.parse().unwrap()]);
        let host = Host {
            node: Some("here".to_owned()),
            interfaces: [interface("eth0", "10.0.0.1"), interface("cali1", "169.254.1.1")].into(),
            ..Host::default()
        };
        let worlds = resolve(&snapshot, host);
        let action = |source: &str| {
            let connection = Connection {
                endpoint: Arc::new(EndpointKey {
                    kind: EndpointKind::Host,
                    namespace: None,
                    name: "rest".to_owned(),
                }),
                direction: Direction::Ingress,
                forwarded: false,
                packet: Packet {
                    source: source.parse().unwrap(),
                    destination: "10.0.0.1".parse().unwrap(),
                    protocol: Protocol::UDP,
                    source_port: 40_000,
                    destination_port: 53,
                    icmp_type: 0,
                    icmp_code: 0,
                },
            };
            attribute(&worlds, &connection).unwrap().action
        };
        assert_eq!(action("192.0.2.1"), Verdict::Allow);
        assert_eq!(action("10.65.0.2"), Verdict::Deny);
    }
}
