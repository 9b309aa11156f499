//! One endpoint and direction as chains: the table of contents, its tiers, and the preview.

use std::sync::Arc;

use super::{
    Compiler, Counted, CountedBy, FlowLog, MARK_ACCEPTED, MARK_ALL, MARK_DECIDED_EARLY, MARK_MASK, MARK_PASS,
    decided_mark, failsafes, names, policy, shed_marks, short,
};
use crate::net::Direction;
use crate::resource::Action;
use crate::ruleset::{Chain, Comment, CtState, Log, Match, Name, Op, Rule, Statement};
use crate::world::{Attachment, Endpoint, EndpointId, EndpointKind, Stage, WorldKind, WorldProfile, Worlds};

/// Bytes of a packet that a flow record needs: the IPv6 header, two extension headers and the ports.
pub(super) const SNAPLEN: u32 = 128;

/// Packets that wait in the kernel for a reader to be woken: waking it for each one costs three times as much.
pub(super) const QUEUE_THRESHOLD: u16 = 64;

/// What the prefix of a copy begins with that stands for others like it: `palisade/sampled-in/12/eth0`.
pub const SAMPLED: &str = "sampled-";

/// How many untracked packets of one place are copied: a second, and at once after a pause.
const SAMPLED_PER_SECOND: u32 = 100;
const SAMPLED_BURST: u32 = 200;

/// What the prefix of a copy begins with that a Log rule makes; all others are for flow records.
pub(super) const RULE_PREFIX: &str = "palisade/log/";

/// One place of an endpoint, in one direction and at one stage.
pub(super) struct EndpointCompiler<'c, 'w> {
    pub(super) compiler: &'c mut Compiler<'w>,
    pub(super) id: EndpointId,
    pub(super) endpoint: &'w Endpoint,
    pub(super) direction: Direction,
    pub(super) stage: Stage,
    pub(super) place: Place<'w>,
}

/// A place at which an endpoint hangs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'w> {
    /// An interface.
    Interface(&'w str),
    /// Every interface that no other host endpoint has.
    Rest,
    /// The cgroups of the service endpoint of this name.
    Service(&'w str),
}

/// The places of an endpoint.
pub(super) fn places<'w>(endpoint: &'w Endpoint, attachment: &'w Attachment) -> Vec<Place<'w>> {
    match attachment {
        Attachment::Interfaces(interfaces) => interfaces.iter().map(|name| Place::Interface(name)).collect(),
        Attachment::Rest => vec![Place::Rest],
        Attachment::Cgroups(_) => vec![Place::Service(&endpoint.name)],
    }
}

/// The name of the chain of one place. No interface is called `other-interfaces`: 15 characters are the most.
pub(super) fn chain_name(stage: Stage, direction: Direction, place: Place<'_>) -> Name {
    let name = match place {
        Place::Interface(name) | Place::Service(name) => name,
        Place::Rest => "other-interfaces",
    };
    Name::new(&format!("{}/{name}", way(stage, direction, place)))
}

/// What a place's chains and log prefixes begin with: the direction, and what sets it apart from the usual.
fn way(stage: Stage, direction: Direction, place: Place<'_>) -> String {
    let apart = match (stage, place) {
        (Stage::Normal, Place::Service(_)) => "service-".to_owned(),
        (Stage::Normal, Place::Interface(_) | Place::Rest) => String::new(),
        (stage, _) => format!("{}-", stage.as_str()),
    };
    format!("{apart}{}", short(direction))
}

/// The profiles of an endpoint that have chains: those before the built-in one, which decides about everything where it
/// stands.
pub(super) fn reachable_profiles(worlds: &Worlds, id: EndpointId) -> Vec<usize> {
    let profiles = worlds.endpoint(id).profiles.iter().copied();
    profiles
        .take_while(|&profile| !worlds.profiles[profile].is_default_allow())
        .collect()
}

impl<'w> EndpointCompiler<'_, 'w> {
    /// The endpoint's own chains, in order of evaluation.
    pub(super) fn chains(mut self) -> Vec<Arc<Chain>> {
        let has_preview = self.compiler.worlds.differs(self.id, self.direction, self.stage);
        let mut chains = vec![Arc::new(self.contents(has_preview))];
        if has_preview {
            chains.push(Arc::new(self.preview()));
            chains.extend(self.tier_chains(WorldKind::Pending));
        }
        chains.extend(self.tier_chains(WorldKind::Enforced));
        chains
    }

    /// The table of contents.
    fn contents(&mut self, has_preview: bool) -> Chain {
        let has_early = self.has_early();
        let mut rules = Vec::new();
        if self.stage.is_early() {
            if !has_early {
                rules.push(set_mark(
                    MARK_ALL,
                    0,
                    "no mark yet, whatever the packet came with",
                ));
            }
        } else {
            rules.push(self.invalid());
            if let Some(flow_log) = self.compiler.options.flow_log {
                rules.extend([self.flow_log(flow_log), self.sampled_flow_log(flow_log)]);
            }
        }
        if self.endpoint.kind == EndpointKind::Host
            && self.stage != Stage::Forward
            && self.compiler.has_failsafes(self.stage, self.direction)
        {
            rules.push(jump(
                failsafes::chain_name(self.stage, self.direction),
                "failsafes",
            ));
        }
        if has_preview {
            rules.push(jump(
                self.preview_name(),
                "preview: what staged policies would do; nothing in it ends a packet",
            ));
        }
        if has_early {
            rules.push(self.accepted_early());
        }
        // What an early preview has decided stays known until the last stage. Before it there is no other mark.
        if has_preview && !self.stage.is_early() {
            let marks = if has_early { MARK_ALL } else { MARK_MASK };
            rules.push(set_mark(marks, 0, "preview over: leave no mark"));
        } else if !self.stage.is_early() && self.passes(WorldKind::Enforced) {
            rules.push(set_mark(
                MARK_PASS,
                0,
                "nothing passed yet, whatever mark the packet came with",
            ));
        }
        for (index, tier) in self.tiers(WorldKind::Enforced) {
            rules.push(jump(
                self.tier_name(WorldKind::Enforced, index),
                &format!("tier {}", tier.name),
            ));
            if self.tier_passes(WorldKind::Enforced, index) {
                rules.push(set_mark(
                    MARK_PASS,
                    0,
                    "passed on to the next tier: leave no mark",
                ));
            }
        }
        if self.stage == Stage::Normal {
            rules.extend(self.profiles());
        }
        let place = match self.place {
            Place::Interface(name) => format!(" of {name}"),
            Place::Rest => " of every other interface".to_owned(),
            Place::Service(_) => String::new(),
        };
        let stage = match self.stage {
            Stage::Normal => String::new(),
            stage => format!("{} ", stage.as_str()),
        };
        Chain {
            name: chain_name(self.stage, self.direction, self.place),
            hook: None,
            comment: Comment::new(&format!(
                "{} {}: {stage}{}{place}",
                self.endpoint.kind, self.endpoint, self.direction
            )),
            rules,
        }
    }

    /// Whether either world has a policy here at an earlier stage.
    fn has_early(&self) -> bool {
        self.compiler.has_early(self.id, self.direction, self.stage)
    }

    /// What an early policy allowed is not asked again.
    fn accepted_early(&self) -> Rule {
        let mut statements = Vec::new();
        if !self.stage.is_early() {
            statements.push(shed_marks());
        }
        statements.push(Statement::Accept);
        Rule {
            matches: vec![has_mark(MARK_ACCEPTED)],
            statements,
            comment: Comment::new("allowed at an earlier stage"),
        }
    }

    /// The profiles in the enforced world, and what becomes of packets that none decides.
    fn profiles(&mut self) -> Vec<Rule> {
        let worlds = self.compiler.worlds;
        let mut rules: Vec<Rule> = reachable_profiles(worlds, self.id)
            .into_iter()
            .map(|profile| {
                let name = &worlds.profiles[profile].name;
                let chain = policy::profile_chain_name(WorldKind::Enforced, self.direction, name);
                jump(chain, &format!("profile {name}"))
            })
            .collect();
        let built_in = self.default_allow();
        let counter = self.last_counter(WorldKind::Enforced);
        rules.push(Rule {
            statements: match built_in {
                Some(_) => vec![Statement::Counter(counter), Statement::Accept],
                None => vec![Statement::Counter(counter), self.compiler.deny(self.stage)],
            },
            comment: last_comment(built_in, ""),
            ..Rule::default()
        });
        rules
    }

    /// The built-in profile, if the endpoint has it.
    fn default_allow(&self) -> Option<&'w str> {
        let mut profiles = self.compiler.worlds.profiles_of(self.id);
        let profile = profiles.find(|profile| profile.is_default_allow())?;
        Some(&profile.name)
    }

    /// Packets that belong to no connection: dropped where a policy decides, let be where none does. With nothing but
    /// a safety net in force, palisade must not be what breaks asymmetric routing.
    fn invalid(&mut self) -> Rule {
        let matches = vec![Match::CtState(&[CtState::Invalid])];
        let worlds = self.compiler.worlds;
        let allows_all = || {
            let first = worlds.profiles_of(self.id).next();
            first.is_some_and(WorldProfile::is_default_allow)
        };
        let decided = worlds
            .enforced
            .governing_by_tier(self.id, self.direction, self.stage)
            .tiers
            .iter()
            .any(|of| of.has_others)
            || (self.stage == Stage::Normal && !allows_all());
        if !decided {
            let shed = self.has_early().then(shed_marks);
            return Rule {
                matches,
                statements: shed.into_iter().chain([Statement::Accept]).collect(),
                comment: Comment::new("no enforced policy here: even invalid packets pass"),
            };
        }
        let counted = Counted {
            world: WorldKind::Enforced,
            direction: self.direction,
            stage: self.stage,
            by: CountedBy::Invalid,
            action: Action::Deny,
            without_safety_net: false,
        };
        let counter = self
            .compiler
            .count(names::invalid_counter(self.direction, self.stage), counted);
        Rule {
            matches,
            statements: vec![Statement::Counter(counter), Statement::Drop],
            comment: Comment::new("belongs to no connection and starts none"),
        }
    }

    /// A copy of each packet that starts a connection.
    fn flow_log(&self, flow_log: FlowLog) -> Rule {
        Rule {
            matches: vec![Match::CtState(&[CtState::New])],
            statements: vec![Statement::Log(self.flow_copy(flow_log, ""))],
            comment: Comment::new("flow record: first packet of a connection"),
        }
    }

    /// A copy of some of the packets that conntrack never saw, because of an untracked policy or somebody's `notrack`: each
    /// of them is a first one, so that a copy of all would be a copy of the traffic.
    fn sampled_flow_log(&self, flow_log: FlowLog) -> Rule {
        let limit = Statement::Limit {
            per_second: SAMPLED_PER_SECOND,
            burst: SAMPLED_BURST,
        };
        Rule {
            matches: vec![Match::CtState(&[CtState::Untracked])],
            statements: vec![limit, Statement::Log(self.flow_copy(flow_log, SAMPLED))],
            comment: Comment::new("flow record: a sample of what is not tracked"),
        }
    }

    fn flow_copy(&self, flow_log: FlowLog, kind: &str) -> Log {
        Log {
            prefix: flow_prefix(
                &format!("{kind}{}", way(self.stage, self.direction, self.place)),
                flow_log.generation,
                match self.place {
                    Place::Interface(name) | Place::Service(name) => name,
                    Place::Rest => "*",
                },
            ),
            group: flow_log.group,
            snaplen: SNAPLEN,
            queue_threshold: QUEUE_THRESHOLD,
        }
    }

    fn preview(&mut self) -> Chain {
        let mut rules: Vec<Rule> = self.decided_early().into_iter().collect();
        if !self.stage.is_early() {
            rules.push(set_mark(MARK_MASK, 0, "preview begins: undecided"));
        }
        for (index, tier) in self.tiers(WorldKind::Pending) {
            rules.push(jump(
                self.tier_name(WorldKind::Pending, index),
                &format!("tier {}", tier.name),
            ));
            rules.push(self.decided());
            if self.tier_passes(WorldKind::Pending, index) {
                rules.push(set_mark(MARK_PASS, 0, "passed on to the next tier"));
            }
        }
        if self.stage == Stage::Normal {
            let worlds = self.compiler.worlds;
            for profile in reachable_profiles(worlds, self.id) {
                let name = &worlds.profiles[profile].name;
                let chain = policy::profile_chain_name(WorldKind::Pending, self.direction, name);
                rules.push(jump(chain, &format!("profile {name}")));
                rules.push(self.decided());
            }
            let counter = self.last_counter(WorldKind::Pending);
            rules.push(Rule {
                statements: vec![Statement::Counter(counter)],
                comment: last_comment(self.default_allow(), "would "),
                ..Rule::default()
            });
        }
        Chain {
            name: self.preview_name(),
            hook: None,
            comment: Comment::new("the pending world: counts, marks, jumps and returns, and no verdict"),
            rules,
        }
    }

    /// Back, if the pending world has decided at an earlier stage. Where nothing is staged up to there, it has decided
    /// what the enforced one has.
    fn decided_early(&self) -> Option<Rule> {
        let worlds = self.compiler.worlds;
        let has_stage = |stage: &&Stage| worlds.has_stage(self.id, self.direction, **stage);
        let &before = self.stage.early(self.direction).iter().rev().find(has_stage)?;
        let has_preview = worlds.differs(self.id, self.direction, before);
        let mark = if has_preview {
            MARK_DECIDED_EARLY
        } else {
            MARK_ACCEPTED
        };
        let note = (!has_preview && self.stage.is_early()).then_some(Statement::SetMark {
            mask: MARK_DECIDED_EARLY,
            value: MARK_DECIDED_EARLY,
        });
        Some(Rule {
            matches: vec![has_mark(mark)],
            statements: note.into_iter().chain([Statement::Return]).collect(),
            comment: Comment::new("decided at an earlier stage"),
        })
    }

    /// Back, if the pending world has decided.
    fn decided(&self) -> Rule {
        Rule {
            matches: vec![has_mark(decided_mark(self.stage))],
            statements: vec![Statement::Return],
            comment: Comment::new("decided"),
        }
    }

    /// The counter of the built-in profile, or of there being none that decides.
    fn last_counter(&mut self, world: WorldKind) -> Name {
        let built_in = self.default_allow();
        let by = match built_in {
            Some(name) => CountedBy::Profile {
                name: name.to_owned(),
                rule_index: 0,
                rule_name: None,
                text: "allow".into(),
            },
            None => CountedBy::NoProfile,
        };
        let counted = Counted {
            world,
            direction: self.direction,
            stage: self.stage,
            by,
            action: if built_in.is_some() {
                Action::Allow
            } else {
                Action::Deny
            },
            without_safety_net: self
                .compiler
                .may_be_caught(world, self.direction, self.stage, |_| true),
        };
        let name = self
            .compiler
            .names
            .in_world(world, names::profile_counter(built_in, self.direction));
        self.compiler.count(name, counted)
    }

    pub(super) fn preview_name(&self) -> Name {
        Name::new(&format!(
            "{}/preview",
            chain_name(self.stage, self.direction, self.place)
        ))
    }
}

/// What a reader of the NFLOG group sees of the first packet of a connection.
fn flow_prefix(way: &str, generation: u64, place: &str) -> String {
    format!("palisade/{way}/{generation}/{place}")
}

/// Whether the chain copies packets for flow records.
pub(super) fn copies_flows(chain: &Chain) -> bool {
    let mut statements = chain.rules.iter().flat_map(|rule| &rule.statements);
    !policy::is_policys(chain)
        && statements.any(|statement| matches!(statement, Statement::Log(log) if is_of_flows(log)))
}

/// Gives the copies for flow records another generation. What Log rules log bears none.
pub(super) fn renumber(log: &mut Log, generation: u64) {
    let mut words = log.prefix.splitn(4, '/').skip(1);
    if let (true, Some(way), Some(_), Some(place)) =
        (is_of_flows(log), words.next(), words.next(), words.next())
    {
        log.prefix = flow_prefix(way, generation, place);
    }
}

fn is_of_flows(log: &Log) -> bool {
    !log.prefix.starts_with(RULE_PREFIX)
}

fn has_mark(mark: u32) -> Match {
    Match::Mark {
        mask: mark,
        op: Op::Is,
        value: mark,
    }
}

fn last_comment(profile: Option<&str>, would: &str) -> Comment {
    Comment::new(&match profile {
        Some(profile) => format!("profile {profile}: {would}allow"),
        None => format!("no profile allows: {would}deny"),
    })
}

pub(super) fn jump(to: Name, comment: &str) -> Rule {
    Rule {
        statements: vec![Statement::Jump(to)],
        comment: Comment::new(comment),
        ..Rule::default()
    }
}

fn set_mark(mask: u32, value: u32, comment: &str) -> Rule {
    Rule {
        statements: vec![Statement::SetMark { mask, value }],
        comment: Comment::new(comment),
        ..Rule::default()
    }
}
