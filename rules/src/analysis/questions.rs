//! Many questions about the same worlds.

use std::net::IpAddr;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::route::{Ask, Part, Party, Route};
use super::speakers::{Speakers, Traits};
use super::trace::{Shown, StepView};
use super::{Answer, BareAnswer, Query, QueryError, WorldAnswer};
use crate::evaluate::{
    Decision, Outcome, Packet, Step, StepBy, Verdict, decide_among, evaluate, evaluate_arriving,
    evaluate_forwarded,
};
use crate::net::{Direction, Family, Protocol};
use crate::resource::Action;
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
    /// Whether the worlds differ: by stage and direction, then by endpoint.
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

/// An [`Answer`] that borrows what it can; it is written in the same shape.
pub(super) struct AnswerView<'a> {
    worlds: &'a Worlds,
    question: Question<'a>,
    note: Option<String>,
    both: InBoth,
}

/// What both worlds say.
#[derive(PartialEq)]
struct InBoth {
    enforced: InWorld,
    /// `None` where the pending world says the same.
    pending: Option<InWorld>,
}

/// What one world says: everyone asked on the way, up to the first that denies. After it, nothing goes on.
#[derive(Clone, Debug, PartialEq)]
struct InWorld(Vec<Decision>);

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

    /// What one endpoint says of a packet that must be decided about at stage `last`, in one world: exactly as
    /// [`evaluate`], [`evaluate_forwarded`] and [`evaluate_arriving`].
    pub fn decide(
        &mut self,
        kind: WorldKind,
        endpoint: EndpointId,
        direction: Direction,
        last: Stage,
        packet: &Packet,
    ) -> Decision {
        let (worlds, world) = (self.worlds, self.worlds.world(kind));
        if let Some(Index { speakers, traits, .. }) = &mut self.index {
            let traits = match traits {
                Some(traits) if traits.packet == *packet => traits,
                slot => slot.insert(speakers.traits(packet)),
            };
            let at = |stage| speakers.of(worlds, kind, (endpoint, direction, stage), traits);
            return decide_among(worlds, world, endpoint, direction, last, packet, at);
        }
        match last {
            Stage::Forward => evaluate_forwarded(worlds, world, endpoint, direction, packet),
            Stage::PreDnat => evaluate_arriving(worlds, world, endpoint, packet),
            Stage::Untracked | Stage::Normal => evaluate(worlds, world, endpoint, direction, packet),
        }
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
        let mut answer: Option<((IpAddr, IpAddr), InBoth)> = None;
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
        let Some(Index { differs, .. }) = &mut self.index else {
            return true;
        };
        let worlds = self.worlds;
        ways.iter().flatten().any(|ask| {
            let stage = last_stage(ask.part);
            let known = &mut differs[stage as usize][ask.direction as usize][ask.endpoint.0];
            *known.get_or_insert_with(|| worlds.differs(ask.endpoint, ask.direction, stage))
        })
    }

    /// The answer of one world. Where the packet may take several ways through a host, it is that of the first, if all
    /// agree.
    fn in_world(&mut self, kind: WorldKind, route: &Route, packet: &Packet) -> Result<InWorld, QueryError> {
        let ways = match route {
            Route::Loopback(endpoint) => return Ok(InWorld(vec![loopback(*endpoint)])),
            Route::Ways(ways) => ways,
        };
        let mut answer: Option<InWorld> = None;
        for way in ways {
            let next = self.on_way(kind, way, packet);
            match &answer {
                None => answer = Some(next),
                Some(first) if first.verdicts() == next.verdicts() => {}
                Some(_) => return Err(QueryError::Interface),
            }
        }
        Ok(answer.unwrap_or(InWorld(Vec::new())))
    }

    fn on_way(&mut self, kind: WorldKind, way: &[Ask], packet: &Packet) -> InWorld {
        let mut decisions: Vec<Decision> = Vec::with_capacity(way.len());
        for ask in way {
            let decision = self.decide(kind, ask.endpoint, ask.direction, last_stage(ask.part), packet);
            let is_end = decision.outcome.verdict == Verdict::Deny;
            decisions.push(decision);
            if is_end {
                break;
            }
        }
        InWorld(decisions)
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

/// The stage at which a part of the way is decided about.
fn last_stage(part: Part) -> Stage {
    match part {
        Part::Itself => Stage::Normal,
        Part::Through => Stage::Forward,
        Part::Arrival => Stage::PreDnat,
    }
}

/// Every pair of addresses of one family. ICMP is IPv4's and ICMPv6 is IPv6's, so that where both families would do,
/// only the protocol's own is asked.
fn pairs(from: &Party<'_>, to: &Party<'_>, protocol: Protocol) -> Vec<(IpAddr, IpAddr)> {
    let mut pairs = Vec::new();
    for &source in from.addresses.iter() {
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

fn loopback(endpoint: EndpointId) -> Decision {
    let step = Step {
        endpoint,
        direction: Direction::Egress,
        stage: Stage::Normal,
        by: StepBy::Loopback,
        action: Action::Allow,
        position: None,
    };
    Decision {
        outcome: Outcome {
            verdict: Verdict::Allow,
            steps: vec![step],
        },
        without_safety_net: None,
    }
}

impl InWorld {
    /// With the safety net, and without it where it decided somewhere.
    fn verdicts(&self) -> (Verdict, Option<Verdict>) {
        (self.verdict(false), self.is_caught().then(|| self.verdict(true)))
    }

    fn is_caught(&self) -> bool {
        self.0
            .iter()
            .any(|decision| decision.without_safety_net.is_some())
    }

    fn verdict(&self, bare: bool) -> Verdict {
        // With nobody asked, nothing stands in the way.
        let last = self.outcomes(bare).last();
        last.map_or(Verdict::Allow, |outcome| outcome.verdict)
    }

    /// One outcome after the other, up to the first that denies.
    fn outcomes(&self, bare: bool) -> impl Iterator<Item = &Outcome> {
        let mut has_ended = false;
        let outcomes = self.0.iter().map(move |decision| {
            let without = decision.without_safety_net.as_ref().filter(|_| bare);
            without.unwrap_or(&decision.outcome)
        });
        outcomes.take_while(move |outcome| {
            let goes_on = !has_ended;
            has_ended |= outcome.verdict == Verdict::Deny;
            goes_on
        })
    }

    fn steps<'a>(&'a self, worlds: &'a Worlds, bare: bool) -> impl Iterator<Item = StepView<'a>> {
        let steps = self.outcomes(bare).flat_map(|outcome| &outcome.steps);
        steps.map(move |step| StepView::new(worlds, step))
    }

    fn report(&self, worlds: &Worlds) -> WorldAnswer {
        let steps = |bare| self.steps(worlds, bare).map(Into::into).collect();
        WorldAnswer {
            verdict: self.verdict(false).as_str().into(),
            steps: steps(false),
            without_safety_net: self.is_caught().then(|| {
                Box::new(BareAnswer {
                    verdict: self.verdict(true).as_str().into(),
                    steps: steps(true),
                })
            }),
        }
    }
}

impl From<AnswerView<'_>> for Answer {
    fn from(view: AnswerView<'_>) -> Self {
        let enforced = view.both.enforced.report(view.worlds);
        let pending = view.both.pending.map(|said| said.report(view.worlds));
        Answer {
            from: view.question.from.to_owned(),
            to: view.question.to.to_owned(),
            protocol: view.question.protocol.to_string(),
            port: view.question.port,
            pending: pending.unwrap_or_else(|| enforced.clone()),
            enforced,
            note: view.note,
        }
    }
}

impl AnswerView<'_> {
    /// Appends the answer as JSON, as [`Answer`] is serialised. What both worlds say is written once and copied.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let Question {
            from,
            to,
            protocol,
            port,
            ..
        } = self.question;
        out.extend_from_slice(b"{\"from\":");
        serde_json::to_writer(&mut *out, from)?;
        out.extend_from_slice(b",\"to\":");
        serde_json::to_writer(&mut *out, to)?;
        out.extend_from_slice(b",\"protocol\":");
        serde_json::to_writer(&mut *out, &Shown(protocol))?;
        out.extend_from_slice(b",\"port\":");
        serde_json::to_writer(&mut *out, &port)?;
        out.extend_from_slice(b",\"enforced\":");
        let start = out.len();
        serde_json::to_writer(&mut *out, &self.view(&self.both.enforced))?;
        let enforced = start..out.len();
        out.extend_from_slice(b",\"pending\":");
        match &self.both.pending {
            Some(pending) => serde_json::to_writer(&mut *out, &self.view(pending))?,
            None => out.extend_from_within(enforced),
        }
        if let Some(note) = &self.note {
            out.extend_from_slice(b",\"note\":");
            serde_json::to_writer(&mut *out, note)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn view<'a>(&'a self, said: &'a InWorld) -> WorldView<'a> {
        WorldView {
            worlds: self.worlds,
            said,
            bare: false,
        }
    }
}

/// A [`WorldAnswer`], or the [`BareAnswer`] in it.
struct WorldView<'a> {
    worlds: &'a Worlds,
    said: &'a InWorld,
    bare: bool,
}

impl Serialize for WorldView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_struct("WorldAnswer", 3)?;
        answer.serialize_field("verdict", self.said.verdict(self.bare).as_str())?;
        answer.serialize_field("steps", &Steps(self))?;
        if !self.bare {
            let bare = self.said.is_caught().then_some(WorldView { bare: true, ..*self });
            answer.serialize_field("without_safety_net", &bare)?;
        }
        answer.end()
    }
}

struct Steps<'a>(&'a WorldView<'a>);

impl Serialize for Steps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let WorldView { worlds, said, bare } = *self.0;
        serializer.collect_seq(said.steps(worlds, bare))
    }
}
