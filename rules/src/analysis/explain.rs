//! `explain`: would this connection be allowed, in both worlds, and why.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::StepReport;
use super::route::{Ask, Part, Party, Route};
use crate::evaluate::{
    Decision, Outcome, Packet, Step, StepBy, Verdict, evaluate, evaluate_arriving, evaluate_forwarded,
};
use crate::net::{Direction, Family, Protocol};
use crate::resource::Action;
use crate::world::{EndpointId, Stage, World, WorldKind, Worlds};

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
    /// Several endpoints have the name.
    #[error("{name:?} is the name of {endpoints}: ask by one of these")]
    Clash {
        /// The name.
        name: String,
        /// The endpoints, each in words that mean it alone.
        endpoints: String,
    },
    /// The host's interfaces decide differently about what goes through it.
    #[error(
        "the answer depends on the interface by which the packet goes through the workload's host: their host endpoints decide differently"
    )]
    Interface,
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
        let route = Route::between(worlds, &from, &to, &packet);
        let answer_in = |kind| answer_in(worlds, kind, &route, &packet);
        let both = [answer_in(WorldKind::Enforced)?, answer_in(WorldKind::Pending)?];
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

/// The answer of one world. Where the packet may take several ways through a host, it is that of the first, if all agree.
fn answer_in(
    worlds: &Worlds,
    kind: WorldKind,
    route: &Route,
    packet: &Packet,
) -> Result<WorldAnswer, QueryError> {
    let ways = match route {
        Route::Loopback(endpoint) => return Ok(loopback(worlds, *endpoint)),
        Route::Ways(ways) => ways,
    };
    let mut answer: Option<WorldAnswer> = None;
    for way in ways {
        let next = answer_on(worlds, worlds.world(kind), way, packet);
        let bare = |answer: &WorldAnswer| {
            let without = answer.without_safety_net.as_ref();
            without.map(|answer| answer.verdict.clone())
        };
        match &answer {
            None => answer = Some(next),
            Some(first) if first.verdict == next.verdict && bare(first) == bare(&next) => {}
            Some(_) => return Err(QueryError::Interface),
        }
    }
    Ok(answer.unwrap_or_else(|| answer_on(worlds, worlds.world(kind), &[], packet)))
}

/// Everyone on the way decides, up to the first that denies: after it, nothing goes on.
fn answer_on(worlds: &Worlds, world: &World, way: &[Ask], packet: &Packet) -> WorldAnswer {
    let mut decisions: Vec<Decision> = Vec::new();
    for ask in way {
        decisions.push(match ask.part {
            Part::Itself => evaluate(worlds, world, ask.endpoint, ask.direction, packet),
            Part::Through => evaluate_forwarded(worlds, world, ask.endpoint, ask.direction, packet),
            Part::Arrival => evaluate_arriving(worlds, world, ask.endpoint, packet),
        });
        if decisions
            .last()
            .is_some_and(|last| last.outcome.verdict == Verdict::Deny)
        {
            break;
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

fn loopback(worlds: &Worlds, endpoint: EndpointId) -> WorldAnswer {
    let step = Step {
        endpoint,
        direction: Direction::Egress,
        stage: Stage::Normal,
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
