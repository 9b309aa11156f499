//! What one endpoint says of all packets between two addresses at once.
//!
//! A program is the walk of the evaluator for sets of connections instead of one packet: at each rule, what matches is
//! taken out of what is still undecided. It is as long as its tiers and profiles, and stops where nothing is undecided.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv6Net};

use super::conditions::{ClassId, Classes, ConditionId, Conditions};
use super::eligible::{Eligible, SideIndex};
use super::rules::{Rule, RuleId, Rules, Side, echo_request, source_port};
use super::traffic::{Protocols, Traffic};
use crate::analysis::route::Ask;
use crate::evaluate::Part;
use crate::failsafe::Failsafes;
use crate::net::{Direction, Family, Protocol};
use crate::resource::{Action, TierAction};
use crate::world::{EndpointId, EndpointKind, PlacedPolicy, Stage, WorldKind, Worlds};

/// Every program that somebody on a packet's way has, each once.
#[derive(Debug)]
pub(super) struct Programs<'w> {
    worlds: &'w Worlds,
    pub(super) protocols: Protocols,
    pub(super) rules: Rules,
    pub(super) conditions: Conditions,
    failsafes: [Failsafe; 2],
    list: Vec<Program>,
    by_key: BTreeMap<Key, ProgramId>,
    /// The rules of each policy and profile that were added.
    added: BTreeMap<(Origin, Direction), Vec<RuleId>>,
}

/// A program in [`Programs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProgramId(usize);

/// All that the verdicts of one endpoint depend on besides the packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    is_host: bool,
    direction: Direction,
    part: Part,
    /// The policies that govern each stage, as the snapshot numbers them.
    policies: Vec<(Stage, Vec<usize>)>,
    /// The profiles, where they have a say.
    profiles: Vec<usize>,
}

/// The walk of one endpoint and direction, in one world.
#[derive(Debug)]
struct Program {
    direction: Direction,
    has_failsafes: bool,
    /// The stages that need not decide.
    early: Vec<(Stage, Vec<Stretch>)>,
    last: Stage,
    /// The tiers of the stage that must decide, and the profiles behind them; none where all stages are early.
    stretches: Vec<Stretch>,
    rules: Vec<RuleId>,
    /// The same, by what they ask of the source and of the destination.
    sides: [SideIndex; 2],
}

/// A tier or a profile: rules, and what becomes of what they leave undecided. What a rule passes goes on to the next.
#[derive(Debug)]
struct Stretch {
    rules: std::ops::Range<usize>,
    /// Whether a safety net stands behind the rules, and takes all that they leave.
    has_net: bool,
    end: TierAction,
}

/// Where rules come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Policy(usize),
    Profile(usize),
}

/// The failsafes of one direction.
#[derive(Debug, Default)]
struct Failsafe {
    /// Those that hold whoever is at the far end.
    for_all: LetPass,
    /// Those for some.
    for_some: Vec<(ConditionId, LetPass)>,
}

/// What failsafes let pass.
#[derive(Debug, Default)]
struct LetPass {
    traffic: Traffic,
    /// What comes back from their ports.
    answers: Traffic,
}

impl<'w> Programs<'w> {
    pub(super) fn new(worlds: &'w Worlds, protocols: Protocols) -> Self {
        let mut conditions = Conditions::default();
        let failsafes = Direction::BOTH
            .map(|direction| failsafe(&worlds.host.failsafes, direction, &protocols, &mut conditions));
        Programs {
            worlds,
            protocols,
            rules: Rules::default(),
            conditions,
            failsafes,
            list: Vec::new(),
            by_key: BTreeMap::new(),
            added: BTreeMap::new(),
        }
    }

    /// The program that answers a question in one world.
    pub(super) fn of(&mut self, ask: Ask, kind: WorldKind) -> ProgramId {
        let Ask {
            endpoint,
            direction,
            part,
        } = ask;
        let world = self.worlds.world(kind);
        let policies = part.stages(direction).map(|stage| {
            let governing = world.governing(endpoint, direction, stage);
            (stage, governing.map(|policy| policy.source).collect())
        });
        let described = self.worlds.endpoint(endpoint);
        let key = Key {
            is_host: described.kind == EndpointKind::Host,
            direction,
            part,
            policies: policies.collect(),
            profiles: if part.last() == Stage::Normal {
                described.profiles.clone()
            } else {
                Vec::new()
            },
        };
        if let Some(&id) = self.by_key.get(&key) {
            return id;
        }
        let mut rules = Vec::new();
        let mut early = Vec::new();
        let mut stretches = Vec::new();
        for stage in part.stages(direction) {
            let tiers = self.tiers(&mut rules, endpoint, direction, stage, kind);
            if stage.is_early() {
                early.push((stage, tiers));
            } else {
                stretches = tiers;
            }
        }
        for &profile in &key.profiles {
            let of_profile = self.rules_of(Origin::Profile(profile), direction, None);
            let first = rules.len();
            rules.extend(of_profile);
            stretches.push(Stretch {
                rules: first..rules.len(),
                has_net: false,
                end: TierAction::Pass,
            });
        }
        let id = ProgramId(self.list.len());
        self.list.push(Program {
            direction,
            has_failsafes: key.is_host,
            early,
            last: part.last(),
            stretches,
            sides: Side::BOTH.map(|side| SideIndex::new(&self.rules, &rules, side)),
            rules,
        });
        self.by_key.insert(key, id);
        id
    }

    /// The tiers of one stage that have something to say.
    fn tiers(
        &mut self,
        rules: &mut Vec<RuleId>,
        endpoint: EndpointId,
        direction: Direction,
        stage: Stage,
        kind: WorldKind,
    ) -> Vec<Stretch> {
        let world = self.worlds.world(kind);
        let governing: Vec<&PlacedPolicy> = world.governing(endpoint, direction, stage).collect();
        governing
            .chunk_by(|a, b| a.tier == b.tier)
            .map(|policies| {
                let first = rules.len();
                for policy in policies.iter().filter(|policy| !policy.safety_net) {
                    rules.extend(self.rules_of(Origin::Policy(policy.source), direction, Some(policy)));
                }
                let has_net = policies.iter().any(|policy| policy.safety_net);
                // Early policies have no say about what they do not match, and a tier of nets alone is gone with them.
                let end = match policies.first() {
                    Some(policy) if !stage.is_early() && !policy.safety_net => {
                        world.tiers[policy.tier].default_action
                    }
                    _ => TierAction::Pass,
                };
                Stretch {
                    rules: first..rules.len(),
                    has_net,
                    end,
                }
            })
            .collect()
    }

    /// The rules of a policy or a profile, added at the first time.
    fn rules_of(
        &mut self,
        origin: Origin,
        direction: Direction,
        policy: Option<&PlacedPolicy>,
    ) -> Vec<RuleId> {
        if let Some(rules) = self.added.get(&(origin, direction)) {
            return rules.clone();
        }
        let written = match (origin, policy) {
            (Origin::Profile(profile), _) => self.worlds.profiles[profile].rules(direction),
            (Origin::Policy(_), policy) => policy
                .and_then(|policy| policy.rules(direction))
                .unwrap_or_default(),
        };
        let rules: Vec<RuleId> = written
            .iter()
            .filter(|rule| rule.action != Action::Log)
            .map(|rule| {
                self.rules
                    .add(self.worlds, &self.protocols, &mut self.conditions, rule)
            })
            .collect();
        self.added.insert((origin, direction), rules.clone());
        rules
    }

    fn program(&self, id: ProgramId) -> &Program {
        &self.list[id.0]
    }

    fn rule(&self, id: RuleId) -> &Rule {
        self.rules.get(id)
    }

    /// What a program asks of the address on one side.
    pub(super) fn conditions_of(&self, id: ProgramId, side: Side) -> impl Iterator<Item = ConditionId> {
        let program = self.program(id);
        let rules = program.rules.iter();
        let failsafes = if program.has_failsafes && side == peer_side(program.direction) {
            self.failsafes.as_slice()
        } else {
            &[]
        };
        let for_some = failsafes.iter().flat_map(|failsafe| &failsafe.for_some);
        rules
            .flat_map(move |&rule| self.rule(rule).conditions(side))
            .chain(for_some.map(|(condition, _)| *condition))
    }

    /// Whether a program has a rule that does not say the same of both families.
    pub(super) fn is_by_family(&self, id: ProgramId) -> bool {
        let mut rules = self.program(id).rules.iter();
        rules.any(|&rule| self.rule(rule).is_by_family())
    }

    /// Which rules of a program may have addresses of a class on one side.
    pub(super) fn eligible(&self, id: ProgramId, side: Side, classes: &Classes, class: ClassId) -> Eligible {
        let program = self.program(id);
        program.sides[side as usize].eligible(&self.rules, &program.rules, classes, class)
    }

    /// What a program allows between two addresses of one family, given which rules may have them on their sides: with
    /// safety nets, and without.
    pub(super) fn run(
        &self,
        id: ProgramId,
        classes: &Classes,
        [source, destination]: [ClassId; 2],
        eligible: [&Eligible; 2],
    ) -> [Traffic; 2] {
        let mut run = Run {
            caught: Traffic::default(),
            programs: self,
            program: self.program(id),
            classes,
            source,
            destination,
            eligible,
        };
        let without = run.allowed();
        // What a net does not catch is decided without it.
        [without.or(&run.caught), without]
    }
}

/// The side of the far end.
fn peer_side(direction: Direction) -> Side {
    match direction {
        Direction::Ingress => Side::Source,
        Direction::Egress => Side::Destination,
    }
}

/// The failsafes of a direction; ICMPv6 counts by its echo request.
fn failsafe(
    failsafes: &Failsafes,
    direction: Direction,
    protocols: &Protocols,
    conditions: &mut Conditions,
) -> Failsafe {
    let mut failsafe = Failsafe::default();
    for written in failsafes.ports(direction) {
        let traffic = protocols.ports_of(written.protocol, [written.ports]);
        let is_source_port = written.ports.contains(source_port(Some(written.protocol)));
        let answers = if is_source_port {
            protocols.all_of(written.protocol)
        } else {
            Traffic::default()
        };
        failsafe.add(
            written.net.map(|net| conditions.nets(&[net])),
            LetPass { traffic, answers },
        );
    }
    let echo_request = echo_request(Family::V6);
    let types = failsafes.icmpv6_types(direction);
    if types
        .iter()
        .any(|&(first, last)| (first..=last).contains(&echo_request))
    {
        let v6 = conditions.nets(&[IpNet::V6(Ipv6Net::default())]);
        let let_pass = LetPass {
            traffic: protocols.all_of(Protocol::ICMPV6),
            answers: Traffic::default(),
        };
        failsafe.add(Some(v6), let_pass);
    }
    failsafe
}

impl Failsafe {
    fn add(&mut self, condition: Option<ConditionId>, more: LetPass) {
        if let Some(condition) = condition {
            self.for_some.push((condition, more));
        } else {
            self.for_all.traffic = self.for_all.traffic.or(&more.traffic);
            self.for_all.answers = self.for_all.answers.or(&more.answers);
        }
    }

    /// What they let pass with this far end.
    fn let_pass(
        &self,
        classes: &Classes,
        peer: ClassId,
        what: impl Fn(&LetPass) -> &Traffic,
    ) -> Cow<'_, Traffic> {
        let mut passed = Cow::Borrowed(what(&self.for_all));
        for (condition, failsafe) in &self.for_some {
            if classes.meets(peer, *condition) {
                passed = Cow::Owned(passed.or(what(failsafe)));
            }
        }
        passed
    }
}

/// One program between two addresses.
struct Run<'a> {
    /// What safety nets allow.
    caught: Traffic,
    programs: &'a Programs<'a>,
    program: &'a Program,
    classes: &'a Classes,
    source: ClassId,
    destination: ClassId,
    eligible: [&'a Eligible; 2],
}

impl<'a> Run<'a> {
    /// What is allowed without safety nets. What they catch is noted.
    fn allowed(&mut self) -> Traffic {
        let direction = self.program.direction;
        let failsafe = self.let_pass(direction, |failsafe| &failsafe.traffic);
        let mut undecided = self.programs.protocols.everything();
        let mut allowed = Traffic::default();
        if self.program.last == Stage::Normal && !failsafe.is_empty() {
            undecided = undecided.minus(&failsafe);
            allowed = failsafe.clone().into_owned();
        }
        for (stage, stretches) in &self.program.early {
            if stretches.is_empty() {
                continue;
            }
            // What stays open is not shut early either; nor, before conntrack, is the way back.
            let mut exempt = failsafe.clone().into_owned();
            if *stage == Stage::Untracked {
                let other = match direction {
                    Direction::Ingress => Direction::Egress,
                    Direction::Egress => Direction::Ingress,
                };
                exempt = exempt.or(&self.let_pass(other, |failsafe| &failsafe.answers));
            }
            let (by_stage, left) = self.walk(stretches, undecided.minus(&exempt));
            allowed = allowed.or(&by_stage);
            undecided = left.or(&undecided.and(&exempt));
        }
        let (by_stage, left) = self.walk(&self.program.stretches, undecided);
        allowed = allowed.or(&by_stage);
        match self.program.last {
            // No profile allows it.
            Stage::Normal => allowed,
            Stage::Untracked | Stage::PreDnat | Stage::Forward => allowed.or(&left),
        }
    }

    /// What the failsafes of a direction let pass with this far end.
    fn let_pass(&self, direction: Direction, what: impl Fn(&LetPass) -> &Traffic) -> Cow<'a, Traffic> {
        if !self.program.has_failsafes {
            return Cow::Owned(Traffic::default());
        }
        let peer = match peer_side(self.program.direction) {
            Side::Source => self.source,
            Side::Destination => self.destination,
        };
        self.programs.failsafes[direction as usize].let_pass(self.classes, peer, what)
    }

    /// What these tiers or profiles allow, and what they leave undecided.
    fn walk(&mut self, stretches: &[Stretch], mut undecided: Traffic) -> (Traffic, Traffic) {
        let mut allowed = Traffic::default();
        for stretch in stretches {
            let mut goes_on = Traffic::default();
            let [source, destination] = self.eligible;
            for index in source.both(destination, &stretch.rules) {
                if undecided.is_empty() {
                    break;
                }
                let rule = self.programs.rule(self.program.rules[index]);
                let matches = rule.matches(
                    &self.programs.protocols,
                    self.classes,
                    self.source,
                    self.destination,
                );
                let hit = undecided.and(&matches);
                if hit.is_empty() {
                    continue;
                }
                undecided = undecided.minus(&matches);
                match rule.action {
                    Action::Allow => allowed = allowed.or(&hit),
                    Action::Pass => goes_on = goes_on.or(&hit),
                    Action::Deny | Action::Log => {}
                }
            }
            if stretch.has_net {
                self.caught = self.caught.or(&undecided);
            }
            undecided = match stretch.end {
                TierAction::Pass => goes_on.or(&undecided),
                TierAction::Deny => goes_on,
            };
            if undecided.is_empty() {
                break;
            }
        }
        (allowed, undecided)
    }
}
