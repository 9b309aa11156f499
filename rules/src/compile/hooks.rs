//! Base chains: where palisade hangs in the kernel, and which endpoints each hook leads to.
//!
//! A packet between two endpoints of one host meets both. Each has a base chain of its own on the hook, so that one that
//! accepts does not speak for the other.

use std::cmp::Reverse;

use super::endpoint::{self, Place};
use super::failsafes::icmpv6_matches;
use super::{Compiler, shed_marks};
use crate::failsafe::ICMPV6_TO_WORKLOADS;
use crate::net::Direction;
use crate::ruleset::{Chain, Comment, CtState, Hook, HookPoint, Match, Name, Op, Rule, Statement};
use crate::world::{Attachment, Cgroup, Endpoint, EndpointId, EndpointKind, Stage, WorldProfile};

/// Before conntrack.
const RAW: i32 = -300;

/// Before the destination is translated.
const MANGLE: i32 = -150;

/// A base chain.
pub(super) struct Base {
    name: &'static str,
    point: HookPoint,
    priority: i32,
    doors: &'static [Door],
}

/// Which endpoints, in which direction and at which stage.
type Door = (EndpointKind, Direction, Stage);

/// Every base chain, in the order in which packets meet them. A workload is nearer to its own packets than its host, and
/// so is a service to what it sends. The doors of workloads before conntrack are shut: they keep what is theirs from the
/// host endpoint of all other interfaces.
pub(super) const BASES: [Base; 11] = {
    use Direction::{Egress, Ingress};
    use EndpointKind::{Host, Service, Workload};
    use HookPoint::{Forward, Input, Output, Prerouting};
    [
        base(
            "untracked-in",
            Prerouting,
            RAW,
            &[
                (Host, Ingress, Stage::Untracked),
                (Workload, Egress, Stage::Untracked),
            ],
        ),
        base(
            "pre-dnat-in",
            Prerouting,
            MANGLE,
            &[(Host, Ingress, Stage::PreDnat)],
        ),
        base("input-workload", Input, -1, &[(Workload, Egress, Stage::Normal)]),
        base("input", Input, 0, &[(Host, Ingress, Stage::Normal)]),
        base("input-service", Input, 1, &[(Service, Ingress, Stage::Normal)]),
        base(
            "forward-from",
            Forward,
            0,
            &[(Workload, Egress, Stage::Normal), (Host, Ingress, Stage::Forward)],
        ),
        base(
            "forward-to",
            Forward,
            1,
            &[(Workload, Ingress, Stage::Normal), (Host, Egress, Stage::Forward)],
        ),
        base(
            "untracked-out",
            Output,
            RAW,
            &[
                (Host, Egress, Stage::Untracked),
                (Workload, Ingress, Stage::Untracked),
            ],
        ),
        base("output-service", Output, -1, &[(Service, Egress, Stage::Normal)]),
        base("output", Output, 0, &[(Host, Egress, Stage::Normal)]),
        base(
            "output-workload",
            Output,
            1,
            &[(Workload, Ingress, Stage::Normal)],
        ),
    ]
};

const fn base(name: &'static str, point: HookPoint, priority: i32, doors: &'static [Door]) -> Base {
    Base {
        name,
        point,
        priority,
        doors,
    }
}

impl Base {
    /// The base chain at which packets of one direction of a host are decided about.
    pub(super) fn of_host(direction: Direction) -> &'static Base {
        let is_it = |base: &&Base| {
            base.doors
                .contains(&(EndpointKind::Host, direction, Stage::Normal))
        };
        // It is in the table above.
        BASES.iter().find(is_it).unwrap_or(&BASES[0])
    }

    /// The chain, empty.
    pub(super) fn chain(&self) -> Chain {
        Chain {
            name: Name::new(self.name),
            hook: Some(Hook {
                point: self.point,
                priority: self.priority,
            }),
            comment: Comment::default(),
            rules: Vec::new(),
        }
    }

    fn is_early(&self) -> bool {
        self.doors.iter().any(|(_, _, stage)| stage.is_early())
    }

    /// Whether it is where a workload and its own host meet.
    fn is_between_workload_and_host(&self) -> bool {
        self.point != HookPoint::Forward
            && self
                .doors
                .iter()
                .any(|(kind, _, stage)| *kind == EndpointKind::Workload && !stage.is_early())
    }
}

impl Compiler<'_> {
    /// The base chain, with what never meets a policy, then a way to each endpoint; `None` if nobody hangs on it, but
    /// for those of the host, which are there always.
    pub(super) fn base_chain(&self, base: &Base) -> Option<Chain> {
        let is_hosts = Direction::BOTH
            .into_iter()
            .any(|direction| Base::of_host(direction).name == base.name);
        if !is_hosts && !self.is_for_somebody(base) {
            return None;
        }
        let ways = self.ways(base);
        let mut rules = Vec::new();
        rules.extend(self.loopback(base));
        if !base.doors.iter().any(|(_, _, stage)| *stage == Stage::Untracked) {
            let ends_marks = |(kind, direction, stage): &Door| {
                *kind == EndpointKind::Host
                    && !stage.is_early()
                    && !stage.early(*direction).is_empty()
                    && self.has_marked(*direction)
            };
            let mut established = established();
            if base.doors.iter().any(ends_marks) {
                established.statements.insert(0, shed_marks());
            }
            rules.push(established);
        }
        if base.is_between_workload_and_host() && self.worlds.host.failsafes.icmpv6 {
            rules.extend(ICMPV6_TO_WORKLOADS.map(|(first, last)| Rule {
                matches: icmpv6_matches(first, last),
                statements: vec![Statement::Accept],
                comment: Comment::new("neighbour discovery between a workload and its host"),
            }));
        }
        rules.extend(ways);
        Some(Chain {
            rules,
            ..base.chain()
        })
    }

    /// Whether an endpoint hangs on it. A service that does not run has no way to its chains, and yet a base chain ready:
    /// one that came and went with it would change the order of all the chains behind it.
    fn is_for_somebody(&self, base: &Base) -> bool {
        let mut local = self.worlds.local();
        local.any(|(id, endpoint, _)| {
            let mut doors = base.doors.iter();
            doors.any(|&(kind, direction, stage)| {
                endpoint.kind == kind && self.is_asked(id, endpoint, direction, stage)
            })
        })
    }

    fn loopback(&self, base: &Base) -> Option<Rule> {
        let interface = match base.point {
            HookPoint::Prerouting | HookPoint::Input => Match::InputInterface(Op::Is, "lo".to_owned()),
            HookPoint::Output => Match::OutputInterface(Op::Is, "lo".to_owned()),
            HookPoint::Forward => return None,
        };
        (!self.worlds.host.filter_loopback && !base.is_between_workload_and_host()).then(|| Rule {
            matches: vec![interface],
            statements: vec![Statement::Accept],
            comment: Comment::new("loopback is exempt"),
        })
    }

    /// A rule for each place that the base chain leads to: cgroups from the deepest, then interfaces, then all others. An
    /// endpoint that is not asked keeps what is its own from one that is.
    fn ways(&self, base: &Base) -> Vec<Rule> {
        let mut ways = Vec::new();
        let mut rest = Vec::new();
        for &door in base.doors {
            let (kind, direction, stage) = door;
            let mut cgroups = Vec::new();
            for (id, found, attachment) in self.worlds.local().filter(|(_, found, _)| found.kind == kind) {
                let is_asked = self.is_asked(id, found, direction, stage);
                let silent = if is_asked { "" } else { ": no policy here" };
                let way = |matches, place| Rule {
                    matches,
                    statements: self.behind_door(base, door, place, is_asked),
                    comment: Comment::new(&format!("{kind} {found}{silent}")),
                };
                for place in endpoint::places(found, attachment) {
                    match (place, attachment) {
                        (Place::Rest, _) => rest.extend(is_asked.then(|| way(Vec::new(), place))),
                        (Place::Interface(name), _) => {
                            if is_asked || self.rest_is_asked(base) {
                                ways.push(way(vec![interface(kind, direction, name)], place));
                            }
                        }
                        (Place::Service(_), Attachment::Cgroups(found)) => {
                            let found = found
                                .iter()
                                .filter(|cgroup| is_asked || self.parent_is_asked(door, cgroup));
                            cgroups.extend(found.map(|cgroup| {
                                let socket = Match::SocketCgroup {
                                    level: cgroup.level(),
                                    id: cgroup.id,
                                    path: cgroup.path.clone(),
                                };
                                (Reverse(cgroup.level()), way(vec![socket], place))
                            }));
                        }
                        (Place::Service(_), _) => {}
                    }
                }
            }
            cgroups.sort_by_key(|(level, _)| *level);
            ways.extend(cgroups.into_iter().map(|(_, way)| way));
        }
        ways.extend(rest);
        ways
    }

    /// What a base chain does with a packet of one place.
    fn behind_door(
        &self,
        base: &Base,
        (kind, direction, stage): Door,
        place: Place<'_>,
        is_asked: bool,
    ) -> Vec<Statement> {
        let shed = self.sheds_marks(base, kind).then(shed_marks);
        let goes = if is_asked {
            Statement::Goto(endpoint::chain_name(stage, direction, place))
        } else {
            Statement::Accept
        };
        shed.into_iter().chain([goes]).collect()
    }

    /// Whether the host endpoint of all other interfaces is asked behind a door of the base chain.
    fn rest_is_asked(&self, base: &Base) -> bool {
        self.worlds.local().any(|(id, endpoint, attachment)| {
            let is_asked = |&(kind, direction, stage): &Door| {
                endpoint.kind == kind && self.is_asked(id, endpoint, direction, stage)
            };
            *attachment == Attachment::Rest && base.doors.iter().any(is_asked)
        })
    }

    /// Whether a service is asked behind a door whose cgroup is this one or holds it.
    fn parent_is_asked(&self, (kind, direction, stage): Door, cgroup: &Cgroup) -> bool {
        let holds = |other: &Cgroup| {
            let below = cgroup.path.strip_prefix(&other.path);
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        };
        self.worlds.local().any(|(id, endpoint, attachment)| {
            endpoint.kind == kind
                && matches!(attachment, Attachment::Cgroups(cgroups) if cgroups.iter().any(holds))
                && self.is_asked(id, endpoint, direction, stage)
        })
    }

    /// Whether an endpoint has chains for one direction and stage: where it decides whatever there is, where a policy is
    /// asked, and where the marks of an earlier stage end.
    pub(super) fn is_asked(
        &self,
        id: EndpointId,
        endpoint: &Endpoint,
        direction: Direction,
        stage: Stage,
    ) -> bool {
        let worlds = self.worlds;
        if !endpoint.kind.stages().contains(&stage) {
            return false;
        }
        match (endpoint.kind, stage) {
            (_, Stage::PreDnat) if direction == Direction::Egress => false,
            (_, Stage::Untracked | Stage::PreDnat) => worlds.has_stage(id, direction, stage),
            (_, Stage::Forward) => {
                worlds.has_stage(id, direction, stage) || self.has_early(id, direction, stage)
            }
            (EndpointKind::Host | EndpointKind::Workload, Stage::Normal) => true,
            (EndpointKind::Service, Stage::Normal) => {
                let first = worlds.profiles_of(id).next();
                worlds.has_stage(id, direction, stage) || !first.is_some_and(WorldProfile::is_default_allow)
            }
        }
    }

    /// Whether either world has a policy at a stage before this one.
    pub(super) fn has_early(&self, id: EndpointId, direction: Direction, stage: Stage) -> bool {
        let mut early = stage.early(direction).iter();
        early.any(|&early| self.worlds.has_stage(id, direction, early))
    }

    /// Whether packets of one direction may come with a mark of an early stage.
    pub(super) fn has_marked(&self, direction: Direction) -> bool {
        self.worlds.local().any(|(id, endpoint, _)| {
            endpoint.kind == EndpointKind::Host && self.has_early(id, direction, Stage::Normal)
        })
    }

    /// Whether packets of a workload come here with marks of an early stage of a host endpoint that is not asked again,
    /// or with somebody else's that one asked later would take for those.
    fn sheds_marks(&self, base: &Base, kind: EndpointKind) -> bool {
        let has_pre_dnat = || {
            self.worlds.local().any(|(id, _, attachment)| {
                *attachment == Attachment::Rest
                    && self.worlds.has_stage(id, Direction::Ingress, Stage::PreDnat)
            })
        };
        kind == EndpointKind::Workload && (base.is_early() || (base.name == "forward-from" && has_pre_dnat()))
    }
}

/// The packet's interface at an endpoint: what comes to a host and what a workload sends come in by it.
pub(super) fn interface(kind: EndpointKind, direction: Direction, name: &str) -> Match {
    let comes_in = (kind == EndpointKind::Workload) == (direction == Direction::Egress);
    if comes_in {
        Match::InputInterface(Op::Is, name.to_owned())
    } else {
        Match::OutputInterface(Op::Is, name.to_owned())
    }
}

/// Connections that exist already.
pub(super) fn established() -> Rule {
    Rule {
        matches: vec![Match::CtState(&[CtState::Established, CtState::Related])],
        statements: vec![Statement::Accept],
        comment: Comment::new("connections that policy has let in already"),
    }
}
