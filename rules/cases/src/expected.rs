//! What the evaluator says of a packet's whole journey: everyone it meets, in order, up to the first who denies.

use palisade_rules::evaluate::{
    Decision, Packet, Part, Step, StepBy, Verdict, evaluate, evaluate_arriving, evaluate_beside_workload,
    evaluate_forwarded,
};
use palisade_rules::net::{Direction, Family, Protocol};
use palisade_rules::resource::Action;
use palisade_rules::ruleset::CtState;
use palisade_rules::world::{
    Attachment, EndpointId, EndpointKind, PlacedPolicy, Stage, World, WorldKind, WorldProfile, Worlds,
};

use crate::events::{net_event, step_event};
use crate::journey::{Journey, Way};

/// What is to happen to one packet on one host. Counters are in the words of [`crate::event`].
pub struct Expected {
    /// Whether it gets to its end.
    pub verdict: Verdict,
    /// Whether a denial is one that never gets an answer: before routing, or of an invalid packet.
    pub is_silent: bool,
    /// What the enforced world counts, in order.
    pub enforced: Vec<String>,
    /// What the preview counts, in order.
    pub preview: Vec<Passed>,
    /// How many copies of it flow records are made of.
    pub flow_logs: usize,
    /// How many Log rules log it.
    pub logs: usize,
    /// Whether it meets an early stage, and so leaves without any mark of palisade's.
    pub is_cleared: bool,
}

/// One counter on the walk of the preview.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The counter, in the words of [`crate::event`].
    pub event: String,
    /// Whether it is a safety net's.
    pub is_net: bool,
    /// Whether a safety net was met before.
    pub caught: bool,
    /// Whether the flag of the counter may say so although this packet was not caught: a Pass took it around the net,
    /// or it is forwarded past one that is about the host alone.
    pub may_be_caught: bool,
}

/// Who is asked at a hook.
#[derive(Clone, Copy)]
struct Question {
    endpoint: EndpointId,
    direction: Direction,
    /// The stage that is asked here.
    stage: Stage,
    /// The part of the packet's way that this endpoint decides about.
    part: Part,
}

/// What is to happen to a packet.
pub fn expected(worlds: &Worlds, journey: &Journey) -> Expected {
    let mut walk = Walk {
        worlds,
        packet: &journey.packet,
        state: journey.state,
        expected: Expected {
            verdict: Verdict::Allow,
            is_silent: false,
            enforced: Vec::new(),
            preview: Vec::new(),
            flow_logs: 0,
            logs: 0,
            is_cleared: false,
        },
    };
    for question in questions(worlds, journey) {
        walk.ask(question);
        if walk.expected.verdict == Verdict::Deny {
            break;
        }
    }
    walk.expected
}

/// Whom a packet meets. Between a workload and its host, the workload comes first and the early stages before it.
fn questions(worlds: &Worlds, journey: &Journey) -> Vec<Question> {
    use Direction::{Egress, Ingress};
    let place = Place { worlds, journey };
    let normal = |endpoint: Option<EndpointId>, direction| {
        endpoint.map(|endpoint| Question {
            endpoint,
            direction,
            stage: Stage::Normal,
            part: Part::Itself,
        })
    };
    // What a workload sends or gets is never untracked by its host.
    let untracked = |interface, direction, part| {
        let host = || place.host(interface, direction, Stage::Untracked, part);
        if place.workload(interface).is_none() {
            host()
        } else {
            None
        }
    };
    let part = |interface, by_workload, else_part| match place.workload(interface) {
        Some(_) => by_workload,
        None => else_part,
    };
    let asked = match journey.way {
        Way::In { from } => {
            let part = part(from, Part::BesideWorkload, Part::Itself);
            [
                untracked(from, Ingress, part),
                place.host(from, Ingress, Stage::PreDnat, part),
                normal(place.workload_beside_host(from), Egress),
                place.host(from, Ingress, Stage::Normal, part),
                normal(place.service(from), Ingress),
            ]
        }
        Way::Out { to } => {
            let part = part(to, Part::BesideWorkload, Part::Itself);
            [
                untracked(to, Egress, part),
                normal(place.service(to), Egress),
                place.host(to, Egress, Stage::Normal, part),
                normal(place.workload_beside_host(to), Ingress),
                None,
            ]
        }
        Way::Through { from, to } => [
            untracked(from, Ingress, Part::Through),
            place.host(
                from,
                Ingress,
                Stage::PreDnat,
                part(from, Part::Arrival, Part::Through),
            ),
            match place.workload(from) {
                None => place.host(from, Ingress, Stage::Forward, Part::Through),
                workload => normal(workload, Egress),
            },
            match place.workload(to) {
                None => place.host(to, Egress, Stage::Forward, Part::Through),
                workload => normal(workload, Ingress),
            },
            None,
        ],
    };
    asked.into_iter().flatten().collect()
}

/// Where a packet is, and whose endpoints are there.
struct Place<'a> {
    worlds: &'a Worlds,
    journey: &'a Journey,
}

impl Place<'_> {
    fn has_policies(&self, interface: &str) -> bool {
        interface != "lo" || self.worlds.host.filter_loopback
    }

    /// The host endpoint of an interface: the one that names it, else the one of all the others.
    fn host(&self, interface: &str, direction: Direction, stage: Stage, part: Part) -> Option<Question> {
        let find = |is_it: &dyn Fn(&Attachment) -> bool| {
            let mut local = self.worlds.local();
            local
                .find(|(_, endpoint, attachment)| endpoint.kind == EndpointKind::Host && is_it(attachment))
                .map(|(id, ..)| id)
        };
        let endpoint = find(&|attachment| has_interface(attachment, interface))
            .or_else(|| find(&|attachment| *attachment == Attachment::Rest));
        endpoint
            .filter(|_| self.has_policies(interface))
            .map(|endpoint| Question {
                endpoint,
                direction,
                stage,
                part,
            })
    }

    fn workload(&self, interface: &str) -> Option<EndpointId> {
        let mut local = self.worlds.local();
        local
            .find(|(_, endpoint, attachment)| {
                endpoint.kind == EndpointKind::Workload && has_interface(attachment, interface)
            })
            .map(|(id, ..)| id)
    }

    /// A workload and its host can always find each other.
    fn workload_beside_host(&self, interface: &str) -> Option<EndpointId> {
        let packet = &self.journey.packet;
        let finds_neighbours = self.worlds.host.failsafes.icmpv6
            && packet.family() == Family::V6
            && packet.protocol == Protocol::ICMPV6
            && matches!(packet.icmp_type, 130..=136 | 143);
        self.workload(interface).filter(|_| !finds_neighbours)
    }

    /// The service whose cgroup is the deepest that the socket is in.
    fn service(&self, interface: &str) -> Option<EndpointId> {
        let mut deepest: Option<(u32, EndpointId)> = None;
        for (id, _, attachment) in self.worlds.local() {
            let Attachment::Cgroups(cgroups) = attachment else {
                continue;
            };
            for cgroup in cgroups {
                let level = cgroup.level();
                let has_it = self.journey.cgroups.get(level as usize - 1) == Some(&cgroup.id);
                if has_it && deepest.is_none_or(|(other, _)| level > other) {
                    deepest = Some((level, id));
                }
            }
        }
        deepest.map(|(_, id)| id).filter(|_| self.has_policies(interface))
    }
}

fn has_interface(attachment: &Attachment, interface: &str) -> bool {
    match attachment {
        Attachment::Interfaces(interfaces) => interfaces.iter().any(|name| name == interface),
        Attachment::Rest | Attachment::Cgroups(_) => false,
    }
}

/// A packet on its way.
struct Walk<'a> {
    worlds: &'a Worlds,
    packet: &'a Packet,
    state: CtState,
    expected: Expected,
}

impl Walk<'_> {
    fn ask(&mut self, question: Question) {
        let Question { stage, .. } = question;
        let is_known = matches!(self.state, CtState::Established | CtState::Related);
        if (is_known && stage != Stage::Untracked) || !self.is_asked(question) {
            return;
        }
        self.expected.is_cleared |= stage.is_early();
        if self.state == CtState::Invalid && !stage.is_early() {
            self.ask_invalid(question);
            return;
        }
        self.expected.flow_logs += usize::from(!stage.is_early());
        self.expected.preview.extend(self.preview(question));
        for step in self.decide(WorldKind::Enforced, question).outcome.steps {
            if step.stage != stage {
                continue;
            }
            self.expected
                .enforced
                .push(format!("{}: {}", question.direction, step_event(&step)));
            match step.action {
                Action::Log => self.expected.logs += 1,
                Action::Deny => {
                    self.expected.verdict = Verdict::Deny;
                    self.expected.is_silent = stage.is_early();
                }
                Action::Allow if stage == Stage::Untracked => self.state = CtState::Untracked,
                Action::Allow | Action::Pass => {}
            }
        }
    }

    /// Whether anybody has something to say; if not, there is not so much as a flow record.
    fn is_asked(&self, question: Question) -> bool {
        let Question {
            endpoint,
            direction,
            stage,
            ..
        } = question;
        let has_stage = self.worlds.has_stage(endpoint, direction, stage);
        let has_early = || {
            let mut early = stage.early(direction).iter();
            early.any(|&early| self.worlds.has_stage(endpoint, direction, early))
        };
        match (self.worlds.endpoint(endpoint).kind, stage) {
            (_, Stage::Untracked | Stage::PreDnat) => has_stage,
            (_, Stage::Forward) => has_stage || has_early(),
            (EndpointKind::Service, Stage::Normal) => has_stage || !self.allows_all(endpoint),
            (EndpointKind::Host | EndpointKind::Workload, Stage::Normal) => true,
        }
    }

    /// Whether the profiles of an endpoint let everything pass.
    fn allows_all(&self, endpoint: EndpointId) -> bool {
        let mut profiles = self.worlds.profiles_of(endpoint);
        profiles.next().is_some_and(WorldProfile::is_default_allow)
    }

    /// What belongs to no connection goes no further than a place where something is decided.
    fn ask_invalid(&mut self, question: Question) {
        let Question {
            endpoint,
            direction,
            stage,
            ..
        } = question;
        let is_policy = |policy: &PlacedPolicy| !policy.safety_net;
        let mut governing = self.worlds.enforced.governing(endpoint, direction, stage);
        if governing.any(is_policy) || (stage == Stage::Normal && !self.allows_all(endpoint)) {
            let forwarded = if stage == Stage::Forward { "forwarded " } else { "" };
            self.expected
                .enforced
                .push(format!("{direction}: {forwarded}invalid Deny"));
            self.expected.verdict = Verdict::Deny;
            self.expected.is_silent = true;
        }
    }

    fn decide(&self, kind: WorldKind, question: Question) -> Decision {
        let world = self.worlds.world(kind);
        let Question {
            endpoint,
            direction,
            stage,
            part,
        } = question;
        let evaluate = match part {
            Part::Itself => evaluate,
            Part::BesideWorkload => evaluate_beside_workload,
            Part::Through => evaluate_forwarded,
            Part::Arrival => return evaluate_arriving(self.worlds, world, endpoint, self.packet),
        };
        let decision = evaluate(self.worlds, world, endpoint, direction, self.packet);
        // Where it goes is not known yet, and what has been said up to here is the same.
        if stage == Stage::PreDnat && part == Part::BesideWorkload {
            let arriving = evaluate_arriving(self.worlds, world, endpoint, self.packet);
            let early = decision.outcome.steps.iter().filter(|step| step.stage.is_early());
            assert!(
                arriving.outcome.steps.iter().eq(early),
                "{arriving:?} {decision:?}"
            );
        }
        decision
    }

    /// What the preview counts here. Where the worlds are one there is none.
    fn preview(&self, question: Question) -> Vec<Passed> {
        let Question {
            endpoint,
            direction,
            stage,
            part,
        } = question;
        let last = part.last();
        let decision = self.decide(WorldKind::Pending, question);
        if !self.worlds.differs(endpoint, direction, last) {
            assert_eq!(self.decide(WorldKind::Enforced, question), decision);
        }
        if !self.worlds.differs(endpoint, direction, stage) {
            return Vec::new();
        }
        // A failsafe comes before the preview, and decides in both worlds alike.
        let is_failsafe = |step: &Step| matches!(step.by, StepBy::Failsafe(_));
        if stage == Stage::Normal && decision.outcome.steps.iter().any(is_failsafe) {
            return Vec::new();
        }
        let walk = self.walk_past_nets(question, &decision);
        let here = walk.into_iter().filter(|(at, _)| *at == stage);
        here.map(|(_, passed)| passed).collect()
    }

    /// The walk that the preview counts: as without safety nets, and each net that is met on the way.
    fn walk_past_nets(&self, question: Question, decision: &Decision) -> Vec<(Stage, Passed)> {
        let world = &self.worlds.pending;
        let last = question.part.last();
        let bare = decision.without_safety_net.as_ref().unwrap_or(&decision.outcome);
        let mut walk: Vec<(Stage, (usize, usize), String, bool)> = bare
            .steps
            .iter()
            .map(|step| (step.stage, place(world, step), step_event(step), false))
            .collect();
        let nets = world
            .governing(question.endpoint, question.direction, last)
            .filter(|policy| policy.safety_net);
        let mut first_met = None;
        for net in nets {
            if bare.steps.iter().any(|step| comes_before(world, step, net.tier)) {
                continue;
            }
            first_met = first_met.or(Some(net.id.name.as_str()));
            let index = walk.partition_point(|(stage, place, ..)| (*stage, *place) <= (last, (net.tier, 0)));
            walk.insert(
                index,
                (
                    last,
                    (net.tier, 0),
                    net_event(world, net, question.direction),
                    true,
                ),
            );
        }
        // The evaluator says that the first of them decides.
        let caught_by = match decision.outcome.deciding().map(|step| &step.by) {
            Some(StepBy::Rule {
                policy,
                safety_net: true,
                ..
            }) => Some(policy.name.as_str()),
            _ => None,
        };
        assert_eq!(caught_by, first_met);
        let has_passed = decision
            .outcome
            .steps
            .iter()
            .any(|step| step.action == Action::Pass && matches!(step.by, StepBy::Rule { .. }));
        let mut caught = false;
        walk.into_iter()
            .map(|(stage, _, event, is_net)| {
                let passed = Passed {
                    event: format!("{}: {event}", question.direction),
                    is_net,
                    caught,
                    may_be_caught: has_passed || stage == Stage::Forward,
                };
                caught |= is_net;
                (stage, passed)
            })
            .collect()
    }
}

/// Where a step stands in the order of its stage: its tier, then whether it is that tier's end.
fn place(world: &World, step: &Step) -> (usize, usize) {
    let index = |name: &str| world.tiers.iter().position(|tier| tier.name == name).unwrap();
    match &step.by {
        StepBy::Rule { policy, .. } => (index(&policy.tier), 0),
        StepBy::EndOfTier { tier, .. } => (index(tier), 1),
        StepBy::Profile { .. } | StepBy::NoProfile => (usize::MAX, 0),
        StepBy::Failsafe(_) | StepBy::Loopback => (0, 0),
    }
}

/// Whether a step keeps the walk from the safety net of a tier: it decides before, or passes around it.
fn comes_before(world: &World, step: &Step, net_tier: usize) -> bool {
    let decides = matches!(step.action, Action::Allow | Action::Deny);
    if step.stage.is_early() {
        return decides;
    }
    let (tier, is_end) = place(world, step);
    match (&step.by, step.action) {
        (StepBy::Failsafe(_) | StepBy::Loopback, _) => true,
        (StepBy::Rule { .. } | StepBy::EndOfTier { .. }, _) if decides => (tier, is_end) <= (net_tier, 0),
        (StepBy::Rule { .. }, Action::Pass) => tier == net_tier,
        _ => false,
    }
}
