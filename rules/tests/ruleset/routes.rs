//! What `explain` says of a connection with a workload of this host is what the hooks on its way are to do.

use std::net::IpAddr;

use palisade_cases::{Journey, Way, case, expected};
use palisade_rules::analysis::{Query, explain};
use palisade_rules::evaluate::{Packet, Verdict, evaluate};
use palisade_rules::net::{Direction, Family, Protocol};
use palisade_rules::ruleset::CtState;
use palisade_rules::world::{Attachment, Endpoint, EndpointId, EndpointKind, Worlds, resolve};
use proptest::prelude::*;

use crate::differential::{JOURNEYS, config};

/// The interfaces of the host but for loopback and those of its workloads.
const INTERFACES: [&str; 3] = ["eth0", "eth1", "eth2"];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn explain_says_what_the_hooks_do(case in case(JOURNEYS)) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        for journey in &case.journeys {
            Asked { worlds: &worlds, packet: journey.packet }.check();
        }
    }
}

/// One kind of packet, whoever it is from and to.
struct Asked<'a> {
    worlds: &'a Worlds,
    packet: Packet,
}

impl Asked<'_> {
    fn check(&self) {
        for (id, workload, interface) in self.workloads() {
            for (other_id, other, other_interface) in self.workloads() {
                if id != other_id {
                    let way = Way::Through {
                        from: interface,
                        to: other_interface,
                    };
                    self.compare(workload, other, None, &[way]);
                }
            }
            for (other_id, other) in self.hosts() {
                if other.attachment.is_some() {
                    self.compare(workload, other, None, &[Way::In { from: interface }]);
                    self.compare(other, workload, None, &[Way::Out { to: interface }]);
                } else if other.node != workload.node {
                    let far = |direction| Some((other_id, direction));
                    let out = self.interfaces(|outside| Way::Through {
                        from: interface,
                        to: outside,
                    });
                    self.compare(workload, other, far(Direction::Ingress), &out);
                    let into = self.interfaces(|outside| Way::Through {
                        from: outside,
                        to: interface,
                    });
                    self.compare(other, workload, far(Direction::Egress), &into);
                }
            }
        }
    }

    /// Compares the answer, if there is one, with every way that a packet between the two can take. `far` is who decides
    /// elsewhere.
    fn compare(&self, from: &Endpoint, to: &Endpoint, far: Option<(EndpointId, Direction)>, ways: &[Way]) {
        let Packet { protocol, .. } = self.packet;
        let query = Query {
            from: format!("{}:{from}", from.kind),
            to: format!("{}:{to}", to.kind),
            protocol,
            port: protocol.has_ports().then_some(self.packet.destination_port),
            source_port: Some(self.packet.source_port),
            icmp_type: Some(self.packet.icmp_type),
            icmp_code: Some(self.packet.icmp_code),
        };
        let Ok(answer) = explain(self.worlds, &query) else {
            return;
        };
        for (source, destination) in pairs(from, to, protocol) {
            let packet = Packet {
                source,
                destination,
                ..self.packet
            };
            let is_denied_far = far.is_some_and(|(endpoint, direction)| {
                let decision = evaluate(self.worlds, &self.worlds.enforced, endpoint, direction, &packet);
                decision.outcome.verdict == Verdict::Deny
            });
            for &way in ways {
                let journey = Journey {
                    packet,
                    way,
                    state: CtState::New,
                    mark: 0,
                    cgroups: Vec::new(),
                };
                let verdict = if is_denied_far {
                    Verdict::Deny
                } else {
                    expected(self.worlds, &journey).verdict
                };
                assert_eq!(
                    answer.enforced.verdict,
                    verdict.as_str(),
                    "{query:?} {journey:?} {answer:?}"
                );
            }
        }
    }

    fn workloads(&self) -> Vec<(EndpointId, &Endpoint, &'static str)> {
        let local = self.worlds.local();
        local
            .filter_map(|(id, endpoint, attachment)| match attachment {
                Attachment::Interfaces(interfaces) if endpoint.kind == EndpointKind::Workload => {
                    let interface = ["cali1", "cali2"].into_iter().find(|name| interfaces[0] == *name);
                    Some((id, endpoint, interface.unwrap()))
                }
                _ => None,
            })
            .collect()
    }

    fn hosts(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        let endpoints = self.worlds.endpoints.iter().enumerate();
        endpoints
            .filter(|(_, endpoint)| endpoint.kind == EndpointKind::Host)
            .map(|(index, endpoint)| (EndpointId(index), endpoint.as_ref()))
    }

    /// A way by each interface that has a host endpoint: of one that has none, nobody knows.
    fn interfaces(&self, way: impl Fn(&'static str) -> Way) -> Vec<Way> {
        let has_endpoint = |interface: &&&str| {
            self.worlds
                .local()
                .any(|(_, endpoint, attachment)| match attachment {
                    Attachment::Rest => true,
                    Attachment::Interfaces(interfaces) => {
                        endpoint.kind == EndpointKind::Host
                            && interfaces.iter().any(|name| name == **interface)
                    }
                    Attachment::Cgroups(_) => false,
                })
        };
        INTERFACES
            .iter()
            .filter(has_endpoint)
            .map(|interface| way(interface))
            .collect()
    }
}

/// The pairs of addresses that an answer is about.
fn pairs(from: &Endpoint, to: &Endpoint, protocol: Protocol) -> Vec<(IpAddr, IpAddr)> {
    let mut pairs = Vec::new();
    for &source in &from.addresses {
        let alike = to
            .addresses
            .iter()
            .filter(|to| Family::of(**to) == Family::of(source));
        pairs.extend(alike.map(|&destination| (source, destination)));
    }
    let is_own = |(source, _): &(IpAddr, IpAddr)| protocol == Protocol::icmp_of(Family::of(*source));
    if pairs.iter().any(is_own) {
        pairs.retain(is_own);
    }
    pairs
}
