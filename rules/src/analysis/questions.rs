//! Many questions about the same worlds.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::answer_view::{AnswerView, InBoth, InWorld, Trace};
use super::route::{Ask, Party, Route};
use super::speakers::{Speakers, Traits};
use super::{Answer, Query, QueryError};
use crate::evaluate::{Decision, Packet, Part, Said, Verdict, Walk};
use crate::net::{Direction, Family, Protocol};
use crate::world::{EndpointId, Stage, WorldKind, Worlds};

/// The source port of a query that names none: the first of the ephemeral ones (RFC 6335).
const EPHEMERAL_PORT: u16 = 49_152;

/// Answers questions, and keeps what helps with the next one.
pub struct Questions<'w> {
    worlds: &'w Worlds,
    looks_at_source_ports: bool,
    index: Option<Index<'w>>,
}

/// What is known from the questions before.
struct Index<'w> {
    speakers: Speakers<'w>,
    /// The packet asked last.
    traits: Option<Traits>,
    /// Whether the worlds differ: by stage and direction, then by group of endpoints.
    differs: [[Vec<Option<bool>>; 2]; 4],
}

/// A [`Query`] that borrows its words.
#[derive(Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) from: &'q str,
    pub(super) to: &'q str,
    pub(super) protocol: Protocol,
    pub(super) port: Option<u16>,
    pub(super) source_port: Option<u16>,
    pub(super) icmp_type: Option<u8>,
    pub(super) icmp_code: Option<u8>,
}

impl<'w> Questions<'w> {
    /// Makes an index first: for questions by the thousand.
    pub fn new(worlds: &'w Worlds) -> Self {
        let unknown = || vec![None; worlds.endpoints.len()];
        Questions {
            index: Some(Index {
                speakers: Speakers::new(worlds),
                traits: None,
                differs: Stage::ALL.map(|_| [unknown(), unknown()]),
            }),
            ..Questions::few(worlds)
        }
    }

    /// Asks every policy each time: for a few questions.
    pub(super) fn few(worlds: &'w Worlds) -> Self {
        Questions {
            worlds,
            looks_at_source_ports: worlds.looks_at_source_ports(),
            index: None,
        }
    }

    /// Answers a query in both worlds.
    pub fn ask(&mut self, query: &Query) -> Result<Answer, QueryError> {
        let Query {
            from,
            to,
            protocol,
            port,
            source_port,
            icmp_type,
            icmp_code,
        } = query;
        let question = Question {
            from,
            to,
            protocol: *protocol,
            port: *port,
            source_port: *source_port,
            icmp_type: *icmp_type,
            icmp_code: *icmp_code,
        };
        self.answer(question).map(Answer::from)
    }

    /// What one endpoint says of a packet on one part of its way, in one world: exactly as
    /// [`evaluate`](crate::evaluate::evaluate), [`evaluate_forwarded`](crate::evaluate::evaluate_forwarded) and the others.
    pub fn decide(
        &mut self,
        kind: WorldKind,
        endpoint: EndpointId,
        direction: Direction,
        part: Part,
        packet: &Packet,
    ) -> Decision {
        let at = (endpoint, direction, part);
        Decision::of(|with_safety_net, steps| self.verdict(kind, at, packet, with_safety_net, steps))
    }

    /// The verdict of one endpoint; its steps go behind those that are there.
    fn verdict(
        &mut self,
        kind: WorldKind,
        (endpoint, direction, part): (EndpointId, Direction, Part),
        packet: &Packet,
        with_safety_net: bool,
        steps: &mut Vec<Said<'w>>,
    ) -> Verdict {
        let (worlds, world) = (self.worlds, self.worlds.world(kind));
        let walk = Walk {
            worlds,
            world,
            endpoint,
            direction,
            part,
            packet,
            arriving: packet,
        };
        let Some(Index { speakers, traits, .. }) = &mut self.index else {
            let all = |stage| world.governing(endpoint, direction, stage);
            return walk.verdict(all, with_safety_net, steps);
        };
        let traits = match traits {
            Some(traits) if traits.packet == *packet => traits,
            slot => slot.insert(speakers.traits(packet)),
        };
        speakers.learn(
            worlds,
            kind,
            (endpoint, direction),
            part.stages(direction),
            traits,
        );
        let asked = |stage| speakers.at(kind, (endpoint, direction, stage), traits);
        walk.verdict(asked, with_safety_net, steps)
    }

    pub(super) fn answer<'a>(&mut self, question: Question<'a>) -> Result<AnswerView<'a>, QueryError>
    where
        'w: 'a,
    {
        match (question.protocol.has_ports(), question.port) {
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
        let from = Party::find(self.worlds, question.from)?;
        let to = Party::find(self.worlds, question.to)?;
        let mut answer: Option<((IpAddr, IpAddr), InBoth<'w>)> = None;
        for (source, destination) in pairs(&from, &to, question.protocol) {
            let packet = packet(&question, source, destination);
            let route = Route::between(self.worlds, &from, &to, &packet);
            let enforced = self.in_world(WorldKind::Enforced, &route, &packet)?;
            let pending = if self.differ_on(&route) {
                let pending = self.in_world(WorldKind::Pending, &route, &packet)?;
                (pending != enforced).then_some(pending)
            } else {
                None
            };
            let both = InBoth { enforced, pending };
            match &answer {
                None => answer = Some(((source, destination), both)),
                Some((_, same)) if *same == both => {}
                Some(((one_source, one_destination), _)) => {
                    return Err(QueryError::Depends {
                        one: format!("{one_source} to {one_destination}"),
                        other: format!("{source} to {destination}"),
                    });
                }
            }
        }
        let no_common = || QueryError::NoCommonFamily {
            from: question.from.to_owned(),
            to: question.to.to_owned(),
        };
        let (_, both) = answer.ok_or_else(no_common)?;
        Ok(AnswerView {
            worlds: self.worlds,
            question,
            note: self.note(&question),
            both,
        })
    }

    /// Whether the worlds may answer differently: a staged object changes something for somebody who is asked.
    fn differ_on(&mut self, route: &Route) -> bool {
        let Route::Ways(ways) = route else {
            return false;
        };
        let Some(Index {
            speakers, differs, ..
        }) = &mut self.index
        else {
            return true;
        };
        let worlds = self.worlds;
        ways.iter().flatten().any(|ask| {
            let stage = ask.part.last();
            let known = &mut differs[stage as usize][ask.direction as usize][speakers.group(ask.endpoint)];
            *known.get_or_insert_with(|| worlds.differs(ask.endpoint, ask.direction, stage))
        })
    }

    /// The answer of one world. Where the packet may take several ways through a host, it is that of the first, if all
    /// agree.
    fn in_world(
        &mut self,
        kind: WorldKind,
        route: &Route,
        packet: &Packet,
    ) -> Result<InWorld<'w>, QueryError> {
        let ways = match route {
            Route::Loopback(endpoint) => return Ok(InWorld::loopback(*endpoint)),
            Route::Ways(ways) => ways,
        };
        let mut answer: Option<InWorld<'w>> = None;
        for way in ways {
            let next = self.on_way(kind, way, packet);
            match &answer {
                None => answer = Some(next),
                Some(first) if first.verdicts() == next.verdicts() => {}
                Some(_) => return Err(QueryError::Interface),
            }
        }
        // With nobody asked, nothing stands in the way.
        Ok(answer.unwrap_or(InWorld {
            with: Trace::new(Vec::new()),
            without_safety_net: None,
        }))
    }

    fn on_way(&mut self, kind: WorldKind, way: &[Ask], packet: &Packet) -> InWorld<'w> {
        let mut with = Trace::new(Vec::with_capacity(2 * way.len()));
        let mut without: Option<Trace<'w>> = None;
        for ask in way {
            let at = (ask.endpoint, ask.direction, ask.part);
            let start = with.steps.len();
            with.verdict = self.verdict(kind, at, packet, true, &mut with.steps);
            let (before, here) = with.steps.split_at(start);
            let is_caught = here.last().is_some_and(Said::is_safety_net);
            if is_caught && without.is_none() {
                without = Some(Trace::new(before.to_vec()));
            }
            if let Some(without) = without
                .as_mut()
                .filter(|without| without.verdict == Verdict::Allow)
            {
                without.verdict = if is_caught {
                    self.verdict(kind, at, packet, false, &mut without.steps)
                } else {
                    without.steps.extend_from_slice(here);
                    with.verdict
                };
            }
            if with.verdict == Verdict::Deny {
                break;
            }
        }
        InWorld {
            with,
            without_safety_net: without,
        }
    }

    /// What the asker should know of the answer.
    fn note(&self, question: &Question<'_>) -> Option<String> {
        let untracked = match (question.protocol, question.icmp_type) {
            (Protocol::ICMP, Some(icmp_type)) => ![8, 13, 15, 17].contains(&icmp_type),
            (Protocol::ICMPV6, Some(icmp_type)) => ![128, 139].contains(&icmp_type),
            _ => false,
        };
        if untracked {
            return Some("conntrack never calls this ICMP type new: policy cannot decide it".to_owned());
        }
        let guessed = question.protocol.has_ports() && question.source_port.is_none();
        (guessed && self.looks_at_source_ports).then(|| {
            format!("some rules look at the source port; {EPHEMERAL_PORT} was taken: ask with --source-port")
        })
    }
}

/// Every pair of addresses of one family. ICMP is IPv4's and ICMPv6 is IPv6's, so that where both families would do,
/// only the protocol's own is asked.
fn pairs(from: &Party, to: &Party, protocol: Protocol) -> SmallVec<[(IpAddr, IpAddr); 4]> {
    let mut pairs = SmallVec::new();
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
        pairs.retain(|pair| is_own(pair));
    }
    pairs
}

fn packet(question: &Question<'_>, source: IpAddr, destination: IpAddr) -> Packet {
    let echo_request = match question.protocol {
        Protocol::ICMP => 8,
        Protocol::ICMPV6 => 128,
        _ => 0,
    };
    Packet {
        source,
        destination,
        protocol: question.protocol,
        source_port: if question.protocol.has_ports() {
            question.source_port.unwrap_or(EPHEMERAL_PORT)
        } else {
            0
        },
        destination_port: question.port.unwrap_or(0),
        icmp_type: question.icmp_type.unwrap_or(echo_request),
        icmp_code: question.icmp_code.unwrap_or(0),
    }
}
