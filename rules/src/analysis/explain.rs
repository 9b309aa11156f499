//! `explain`: would this connection be allowed, in both worlds, and why.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::StepReport;
use crate::evaluate::{Decision, Outcome, Packet, Step, StepBy, Verdict, evaluate};
use crate::net::{Direction, Family, Protocol};
use crate::resource::Action;
use crate::world::{Attachment, Endpoint, EndpointId, World, WorldKind, Worlds};

/// The source port of a query that names none: the first of the ephemeral ones (RFC 6335).
const EPHEMERAL_PORT: u16 = 49_152;

/// A question: would a connection from here to there be allowed?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// An endpoint's name, `kind:name`, or an address.
    pub from: String,
    /// An endpoint's name, `kind:name`, or an address.
    pub to: String,
    /// The protocol, by number.
    pub protocol: Protocol,
    /// The destination port; must be there exactly if the protocol has ports.
    pub port: Option<u16>,
    /// The source port; an ephemeral one if not given.
    pub source_port: Option<u16>,
    /// The ICMP type; an echo request if not given.
    pub icmp_type: Option<u8>,
    /// The ICMP code; 0 if not given.
    #[serde(default)]
    pub icmp_code: Option<u8>,
}

/// The answer, in the shape of `explain -o json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// As asked.
    pub from: String,
    /// As asked.
    pub to: String,
    /// The protocol, in nftables' word.
    pub protocol: String,
    /// The destination port.
    pub port: Option<u16>,
    /// Staged objects absent.
    pub enforced: WorldAnswer,
    /// Staged objects applied.
    pub pending: WorldAnswer,
    /// What the answer rests on that was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The answer for one world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldAnswer {
    /// `allow` or `deny`.
    pub verdict: Cow<'static, str>,
    /// Why.
    pub steps: Vec<StepReport>,
    /// The same without the safety net; `None` where the net did not decide.
    pub without_safety_net: Option<Box<BareAnswer>>,
}

/// A verdict and its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BareAnswer {
    /// `allow` or `deny`.
    pub verdict: Cow<'static, str>,
    /// Why.
    pub steps: Vec<StepReport>,
}

/// Why a query has no single answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Neither an address nor an endpoint's name.
    #[error("{name:?} is neither an address nor the name of an endpoint; {known}")]
    Unknown {
        /// What was asked.
        name: String,
        /// Which endpoints there are.
        known: String,
    },
    /// Two endpoints claim the address.
    #[error("{address} belongs to {endpoints}: ask by name")]
    Ambiguous {
        /// The address.
        address: IpAddr,
        /// The endpoints.
        endpoints: String,
    },
    /// An endpoint without addresses.
    #[error("endpoint {0:?} has no address: add expectedIPs, or ask by address")]
    NoAddress(String),
    /// No pair of addresses of one family.
    #[error("{from:?} and {to:?} have no addresses of the same family")]
    NoCommonFamily {
        /// Where from.
        from: String,
        /// Where to.
        to: String,
    },
    /// Different addresses of one name get different answers.
    #[error("the answer depends on the address: {one} is not decided as {other}; ask by address")]
    Depends {
        /// One pair.
        one: String,
        /// Another pair.
        other: String,
    },
    /// A protocol with ports and no port, or the reverse.
    #[error("{0}")]
    Port(&'static str),
}

/// Answers a query in both worlds.
pub fn explain(worlds: &Worlds, query: &Query) -> Result<Answer, QueryError> {
    match (query.protocol.has_ports(), query.port) {
        (true, None) => {
            return Err(QueryError::Port(
                "a port is needed for tcp, udp and sctp: add --port",
            ));
        }
        (false, Some(_)) => {
            return Err(QueryError::Port(
                "only tcp, udp and sctp have ports: leave --port out",
            ));
        }
        _ => {}
    }
    let from = Party::find(worlds, &query.from)?;
    let to = Party::find(worlds, &query.to)?;
    let mut answer: Option<(String, [WorldAnswer; 2])> = None;
    for (source, destination) in pairs(&from, &to, query.protocol) {
        let packet = packet(query, source, destination);
        let both = WorldKind::BOTH
            .map(|kind| answer_in(worlds, worlds.world(kind), from.endpoint, to.endpoint, &packet));
        let pair = format!("{source} to {destination}");
        match &answer {
            None => answer = Some((pair, both)),
            Some((_, same)) if *same == both => {}
            Some((one, _)) => {
                return Err(QueryError::Depends {
                    one: one.clone(),
                    other: pair,
                });
            }
        }
    }
    let no_common = || QueryError::NoCommonFamily {
        from: query.from.clone(),
        to: query.to.clone(),
    };
    let (_, [enforced, pending]) = answer.ok_or_else(no_common)?;
    Ok(Answer {
        from: query.from.clone(),
        to: query.to.clone(),
        protocol: query.protocol.to_string(),
        port: query.port,
        note: note(worlds, query),
        enforced,
        pending,
    })
}

/// One end of a query.
struct Party {
    endpoint: Option<EndpointId>,
    addresses: Vec<IpAddr>,
}

impl Party {
    fn find(worlds: &Worlds, text: &str) -> Result<Self, QueryError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Party::at(worlds, address);
        }
        let name = match text.split_once(':') {
            Some((kind, name)) if ["hostendpoint", "hep"].contains(&kind.to_lowercase().as_str()) => name,
            _ => text,
        };
        let index = worlds
            .endpoints
            .iter()
            .position(|endpoint| endpoint.name == name)
            .ok_or_else(|| {
                let names: Vec<&str> = worlds
                    .endpoints
                    .iter()
                    .map(|endpoint| endpoint.name.as_str())
                    .collect();
                let known = if names.is_empty() {
                    "there are no endpoints".to_owned()
                } else {
                    format!("there are {}", names.join(", "))
                };
                QueryError::Unknown {
                    name: text.to_owned(),
                    known,
                }
            })?;
        let addresses = worlds.endpoints[index].addresses.clone();
        if addresses.is_empty() {
            return Err(QueryError::NoAddress(name.to_owned()));
        }
        Ok(Party {
            endpoint: Some(EndpointId(index)),
            addresses,
        })
    }

    fn at(worlds: &Worlds, address: IpAddr) -> Result<Self, QueryError> {
        let has = |(_, endpoint): &(usize, &Endpoint)| endpoint.addresses.contains(&address);
        let owners: Vec<_> = worlds.endpoints.iter().enumerate().filter(has).collect();
        if owners.len() > 1 {
            let endpoints = owners
                .iter()
                .map(|(_, endpoint)| endpoint.name.as_str())
                .collect::<Vec<_>>()
                .join(" and ");
            return Err(QueryError::Ambiguous { address, endpoints });
        }
        Ok(Party {
            endpoint: owners.first().map(|(index, _)| EndpointId(*index)),
            addresses: vec![address],
        })
    }
}

/// Every pair of addresses of one family. ICMP is IPv4's and ICMPv6 is IPv6's, so that where both families would do,
/// only the protocol's own is asked.
fn pairs(from: &Party, to: &Party, protocol: Protocol) -> Vec<(IpAddr, IpAddr)> {
    let mut pairs = Vec::new();
    for &source in &from.addresses {
        let family = Family::of(source);
        let destinations = to.addresses.iter().copied();
        pairs.extend(
            destinations
                .filter(|&destination| Family::of(destination) == family)
                .map(|destination| (source, destination)),
        );
    }
    let own = match protocol {
        Protocol::ICMP => Family::V4,
        Protocol::ICMPV6 => Family::V6,
        _ => return pairs,
    };
    let is_own = |(source, _): &(IpAddr, IpAddr)| Family::of(*source) == own;
    if pairs.iter().any(is_own) {
        pairs.retain(is_own);
    }
    pairs
}

fn packet(query: &Query, source: IpAddr, destination: IpAddr) -> Packet {
    let echo_request = match query.protocol {
        Protocol::ICMP => 8,
        Protocol::ICMPV6 => 128,
        _ => 0,
    };
    Packet {
        source,
        destination,
        protocol: query.protocol,
        source_port: if query.protocol.has_ports() {
            query.source_port.unwrap_or(EPHEMERAL_PORT)
        } else {
            0
        },
        destination_port: query.port.unwrap_or(0),
        icmp_type: query.icmp_type.unwrap_or(echo_request),
        icmp_code: query.icmp_code.unwrap_or(0),
    }
}

/// Egress at the source and ingress at the destination both decide, whichever node they are on.
fn answer_in(
    worlds: &Worlds,
    world: &World,
    from: Option<EndpointId>,
    to: Option<EndpointId>,
    packet: &Packet,
) -> WorldAnswer {
    let (source, destination) = match (from, to) {
        (Some(source), Some(destination))
            if worlds.endpoint(source).node == worlds.endpoint(destination).node =>
        {
            let Some(endpoint) = loopback_endpoint(worlds, source) else {
                return loopback(worlds, source);
            };
            (Some(endpoint), Some(endpoint))
        }
        _ => (from, to),
    };
    let asked = [(source, Direction::Egress), (destination, Direction::Ingress)];
    let mut decisions: Vec<Decision> = Vec::new();
    for (endpoint, direction) in asked {
        // After a deny at the source, nothing reaches the destination.
        let denied = |decision: &Decision| decision.outcome.verdict == Verdict::Deny;
        if let Some(endpoint) = endpoint
            && !decisions.iter().any(denied)
        {
            decisions.push(evaluate(worlds, world, endpoint, direction, packet));
        }
    }
    let outcome = join(decisions.iter().map(|decision| &decision.outcome));
    let caught = decisions
        .iter()
        .any(|decision| decision.without_safety_net.is_some());
    let without_safety_net = caught.then(|| {
        let outcome = join(decisions.iter().map(|decision| {
            let bare = decision.without_safety_net.as_ref();
            bare.unwrap_or(&decision.outcome)
        }));
        Box::new(BareAnswer {
            verdict: outcome.verdict.as_str().into(),
            steps: StepReport::of(worlds, &outcome.steps),
        })
    });
    WorldAnswer {
        verdict: outcome.verdict.as_str().into(),
        steps: StepReport::of(worlds, &outcome.steps),
        without_safety_net,
    }
}

/// One outcome after the other, up to the first that denies. With none, nothing stands in the way.
fn join<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Outcome {
    let mut joined = Outcome {
        verdict: Verdict::Allow,
        steps: Vec::new(),
    };
    for outcome in outcomes {
        joined.steps.extend(outcome.steps.iter().cloned());
        if outcome.verdict == Verdict::Deny {
            joined.verdict = Verdict::Deny;
            break;
        }
    }
    joined
}

/// The endpoint that decides about a host's traffic to itself, if loopback is filtered at all.
fn loopback_endpoint(worlds: &Worlds, source: EndpointId) -> Option<EndpointId> {
    if !worlds.host.filter_loopback {
        return None;
    }
    let node = &worlds.endpoint(source).node;
    let is_named_lo = |endpoint: &Endpoint| match &endpoint.attachment {
        Some(Attachment::Interfaces(interfaces)) => interfaces.iter().any(|name| name == "lo"),
        Some(Attachment::Rest) | None => false,
    };
    let find = |is_it: &dyn Fn(&Endpoint) -> bool| {
        let mut endpoints = worlds.endpoints.iter();
        endpoints.position(|endpoint| endpoint.node == *node && is_it(endpoint))
    };
    find(&is_named_lo)
        .or_else(|| find(&|endpoint| endpoint.wildcard))
        .map(EndpointId)
}

fn loopback(worlds: &Worlds, endpoint: EndpointId) -> WorldAnswer {
    let step = Step {
        endpoint,
        direction: Direction::Egress,
        by: StepBy::Loopback,
        action: Action::Allow,
        position: None,
    };
    WorldAnswer {
        verdict: Verdict::Allow.as_str().into(),
        steps: vec![StepReport::new(worlds, &step)],
        without_safety_net: None,
    }
}

/// What the asker should know of the answer.
fn note(worlds: &Worlds, query: &Query) -> Option<String> {
    let untracked = match (query.protocol, query.icmp_type) {
        (Protocol::ICMP, Some(icmp_type)) => ![8, 13, 15, 17].contains(&icmp_type),
        (Protocol::ICMPV6, Some(icmp_type)) => ![128, 139].contains(&icmp_type),
        _ => false,
    };
    if untracked {
        return Some("conntrack never calls this ICMP type new: policy cannot decide it".to_owned());
    }
    (query.protocol.has_ports() && query.source_port.is_none() && worlds.looks_at_source_ports()).then(|| {
        format!("some rules look at the source port; {EPHEMERAL_PORT} was taken: ask with --source-port")
    })
}
