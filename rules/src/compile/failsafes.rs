//! Failsafes as chains: what stays open on a host endpoint, and is not shut at an early stage either.

use super::endpoint::{self, Place};
use super::hooks::interface;
use super::{Compiler, Counted, CountedBy, names, shed_marks, short};
use crate::failsafe::Failsafe;
use crate::net::{Direction, Family, Protocol};
use crate::resource::Action;
use crate::ruleset::{Chain, Comment, Match, Name, Op, Rule, Side, Statement};
use crate::world::{Attachment, EndpointKind, Stage, WorldKind};

/// The name of the chain of failsafes of one stage and direction.
pub(super) fn chain_name(stage: Stage, direction: Direction) -> Name {
    let early = if stage.is_early() {
        format!("{}-", stage.as_str())
    } else {
        String::new()
    };
    Name::new(&format!("failsafe/{early}{}", short(direction)))
}

/// The name of the chain of failsafes that hold between the host and its workloads only.
fn workloads_chain_name(stage: Stage, direction: Direction) -> Name {
    Name::new(&format!("{}/workloads", chain_name(stage, direction).as_str()))
}

impl Compiler<'_> {
    /// Whether any failsafe holds at a stage in one direction.
    pub(super) fn has_failsafes(&self, stage: Stage, direction: Direction) -> bool {
        let failsafes = &self.worlds.host.failsafes;
        !failsafes.ports(direction).is_empty()
            || !failsafes.icmpv6_types(direction).is_empty()
            || (stage == Stage::Untracked && !failsafes.ports(opposite(direction)).is_empty())
    }

    /// The failsafes of one stage and direction: their chain, and the one that it leads to.
    pub(super) fn failsafe_chains(&mut self, stage: Stage, direction: Direction) -> Vec<Chain> {
        let mut chain = if stage.is_early() {
            self.early_failsafe_chain(stage, direction)
        } else {
            self.failsafe_chain(direction)
        };
        let by_workloads = self.workloads_failsafe_chain(stage, direction);
        if let Some(by_workloads) = &by_workloads {
            let failsafes = &self.worlds.host.failsafes;
            let passed = failsafes.icmpv6_types(direction);
            let types = failsafes.icmpv6_types_by_workload().iter();
            let more = types.filter(|types| !passed.contains(types));
            chain.rules.extend(more.map(|&(first, last)| Rule {
                matches: icmpv6_matches(first, last),
                statements: vec![Statement::Jump(by_workloads.name.clone())],
                comment: Comment::new("a workload and its host find each other"),
            }));
        }
        [Some(chain), by_workloads].into_iter().flatten().collect()
    }

    /// The failsafes of one direction, where they decide and are counted.
    fn failsafe_chain(&mut self, direction: Direction) -> Chain {
        let failsafes = &self.worlds.host.failsafes;
        // The destination may be translated to such a port after an early stage has spoken.
        let shed = self.has_marked(direction).then(shed_marks);
        let accept = |counter| {
            let statements = [
                Some(Statement::Counter(counter)),
                shed.clone(),
                Some(Statement::Accept),
            ];
            statements.into_iter().flatten().collect()
        };
        let mut chain = Chain {
            name: chain_name(Stage::Normal, direction),
            hook: None,
            comment: Comment::new("what stays open whatever the policies say"),
            rules: Vec::new(),
        };
        for failsafe in failsafes.ports(direction) {
            let text = failsafe.to_string();
            let counter = self.failsafe_counter(direction, &text);
            chain.rules.push(Rule {
                matches: failsafe_matches(failsafe, peer(direction), Side::Destination),
                statements: accept(counter),
                comment: Comment::new(&format!("failsafe {text}")),
            });
        }
        let types = failsafes.icmpv6_types(direction);
        if !types.is_empty() {
            let counter = self.failsafe_counter(direction, "icmpv6");
            chain.rules.extend(types.iter().map(|&(first, last)| Rule {
                matches: icmpv6_matches(first, last),
                statements: accept(counter.clone()),
                comment: Comment::new("failsafe icmpv6: neighbour discovery, routers, multicast listeners"),
            }));
        }
        chain
    }

    /// The failsafes of one direction at an early stage: they go on to where they are counted, past early policies. Before
    /// conntrack the way back has to be named as well, for there is no connection to belong to.
    fn early_failsafe_chain(&self, stage: Stage, direction: Direction) -> Chain {
        let failsafes = &self.worlds.host.failsafes;
        let pass = |matches, comment: &str| Rule {
            matches,
            statements: vec![Statement::Accept],
            comment: Comment::new(comment),
        };
        let forth = failsafes.ports(direction).iter().map(|failsafe| {
            let matches = failsafe_matches(failsafe, peer(direction), Side::Destination);
            pass(matches, &format!("failsafe {failsafe}"))
        });
        let types = failsafes.icmpv6_types(direction);
        let types = types
            .iter()
            .map(|&(first, last)| pass(icmpv6_matches(first, last), "failsafe icmpv6"));
        let mut rules: Vec<Rule> = forth.chain(types).collect();
        if stage == Stage::Untracked {
            rules.extend(failsafes.ports(opposite(direction)).iter().map(|failsafe| {
                let matches = failsafe_matches(failsafe, peer(direction), Side::Source);
                pass(matches, &format!("answers by failsafe {failsafe}"))
            }));
        }
        Chain {
            name: chain_name(stage, direction),
            hook: None,
            comment: Comment::new("what no early policy may shut"),
            rules,
        }
    }

    /// A host is the router of its workloads: more passes by their interfaces, where the host endpoint of all other
    /// interfaces is asked too. `None` where it is not.
    fn workloads_failsafe_chain(&mut self, stage: Stage, direction: Direction) -> Option<Chain> {
        let worlds = self.worlds;
        let rest_is_asked = worlds.local().any(|(id, endpoint, attachment)| {
            *attachment == Attachment::Rest && self.is_asked(id, endpoint, direction, stage)
        });
        if stage == Stage::Untracked || !worlds.host.failsafes.icmpv6 || !rest_is_asked {
            return None;
        }
        let interfaces = worlds
            .local()
            .filter(|(_, endpoint, _)| endpoint.kind == EndpointKind::Workload)
            .flat_map(|(_, endpoint, attachment)| endpoint::places(endpoint, attachment))
            .filter_map(|place| match place {
                Place::Interface(name) => Some(interface(EndpointKind::Host, direction, name)),
                Place::Rest | Place::Service(_) => None,
            });
        let mut statements = Vec::new();
        if !stage.is_early() {
            statements.push(Statement::Counter(self.failsafe_counter(direction, "icmpv6")));
            statements.extend(self.has_marked(direction).then(shed_marks));
        }
        statements.push(Statement::Accept);
        let rules: Vec<Rule> = interfaces
            .map(|interface| Rule {
                matches: vec![interface],
                statements: statements.clone(),
                comment: Comment::new("failsafe icmpv6: a host is the router of its workloads"),
            })
            .collect();
        (!rules.is_empty()).then(|| Chain {
            name: workloads_chain_name(stage, direction),
            hook: None,
            comment: Comment::new("what a workload and its host need to find each other"),
            rules,
        })
    }

    fn failsafe_counter(&mut self, direction: Direction, text: &str) -> Name {
        let counted = Counted {
            world: WorldKind::Enforced,
            direction,
            stage: Stage::Normal,
            by: CountedBy::Failsafe(text.to_owned()),
            action: Action::Allow,
            without_safety_net: false,
        };
        self.count(names::failsafe_counter(direction, text), counted)
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    }
}

/// The side on which the far end is.
fn peer(direction: Direction) -> Side {
    match direction {
        Direction::Ingress => Side::Source,
        Direction::Egress => Side::Destination,
    }
}

/// What a failsafe matches, with its port on one side.
fn failsafe_matches(failsafe: &Failsafe, peer: Side, port: Side) -> Vec<Match> {
    let mut matches = Vec::new();
    if let Some(net) = failsafe.net {
        matches.push(Match::Family(Family::of_net(net)));
    }
    matches.push(Match::Protocol(Op::Is, failsafe.protocol));
    matches.push(Match::Port(port, Op::Is, failsafe.ports));
    if let Some(net) = failsafe.net.filter(|net| net.prefix_len() > 0) {
        matches.push(Match::Address(peer, Op::Is, net));
    }
    matches
}

/// ICMPv6 of these types.
pub(super) fn icmpv6_matches(first: u8, last: u8) -> Vec<Match> {
    vec![
        Match::Family(Family::V6),
        Match::Protocol(Op::Is, Protocol::ICMPV6),
        Match::IcmpType(Family::V6, Op::Is, first, last),
    ]
}
