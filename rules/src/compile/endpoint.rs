//! One endpoint and direction as chains: the table of contents, its tiers, and the preview.

use super::{
    Compiler, Counted, CountedBy, FlowLog, MARK_DECIDED, MARK_MASK, MARK_PASS, failsafe_chain_name, names,
    policy, short, tier_end, tier_label,
};
use crate::net::Direction;
use crate::resource::{Action, DEFAULT_ALLOW_PROFILE, TierAction};
use crate::ruleset::{Chain, Comment, CtState, Log, Match, Name, Op, Rule, Statement};
use crate::world::{Attachment, Endpoint, EndpointId, WorldKind, WorldPolicy, WorldTier};

/// Bytes of a packet that a flow record needs: the IPv6 header, two extension headers and the ports.
pub(super) const SNAPLEN: u32 = 128;

/// Packets that wait in the kernel for a reader to be woken: waking it for each one costs three times as much.
pub(super) const QUEUE_THRESHOLD: u16 = 64;

/// One place of an endpoint, in one direction.
pub(super) struct EndpointCompiler<'c, 'w> {
    pub(super) compiler: &'c mut Compiler<'w>,
    pub(super) id: EndpointId,
    pub(super) endpoint: &'w Endpoint,
    pub(super) direction: Direction,
    /// The interface, or `None` for all the others.
    pub(super) place: Option<&'w str>,
}

/// The places an endpoint hangs at: interfaces, or `None` for all the others.
pub(super) fn places(attachment: &Attachment) -> Vec<Option<&str>> {
    match attachment {
        Attachment::Interfaces(interfaces) => interfaces.iter().map(|name| Some(name.as_str())).collect(),
        Attachment::Rest => vec![None],
    }
}

/// The name of the chain of one place. No interface is called `other-interfaces`: 15 characters are the most.
pub(super) fn chain_name(direction: Direction, place: Option<&str>) -> Name {
    Name::new(&format!(
        "{}/{}",
        short(direction),
        place.unwrap_or("other-interfaces")
    ))
}

/// The profile that allows everything, if the endpoint has it.
pub(super) fn allowing_profile(endpoint: &Endpoint) -> Option<&str> {
    endpoint
        .profiles
        .iter()
        .map(String::as_str)
        .find(|profile| *profile == DEFAULT_ALLOW_PROFILE)
}

impl<'w> EndpointCompiler<'_, 'w> {
    /// The endpoint's own chains, in order of evaluation.
    pub(super) fn chains(mut self) -> Vec<Chain> {
        let has_preview = self.compiler.worlds.differs(self.id, self.direction);
        let mut chains = vec![self.contents(has_preview)];
        if has_preview {
            chains.push(self.preview());
            chains.extend(self.tier_chains(WorldKind::Pending));
        }
        chains.extend(self.tier_chains(WorldKind::Enforced));
        chains
    }

    /// The table of contents.
    fn contents(&mut self, has_preview: bool) -> Chain {
        let mut rules = vec![self.invalid()];
        rules.extend(
            self.compiler
                .options
                .flow_log
                .map(|flow_log| self.flow_log(flow_log)),
        );
        let failsafes = &self.compiler.worlds.host.failsafes;
        if !failsafes.ports(self.direction).is_empty() || !failsafes.icmpv6_types(self.direction).is_empty() {
            rules.push(jump(failsafe_chain_name(self.direction), "failsafes"));
        }
        if has_preview {
            rules.push(jump(
                self.preview_name(),
                "preview: what staged policies would do; nothing in it ends a packet",
            ));
            rules.push(set_mark(MARK_MASK, 0, "preview over: leave no mark"));
        } else if self.passes(WorldKind::Enforced) {
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
        let profile = allowing_profile(self.endpoint);
        let counter = self.profile_counter(WorldKind::Enforced);
        rules.push(Rule {
            statements: match profile {
                Some(_) => vec![Statement::Counter(counter), Statement::Accept],
                None => vec![Statement::Counter(counter), self.compiler.deny()],
            },
            comment: profile_comment(profile, ""),
            ..Rule::default()
        });
        let place = self
            .place
            .map_or_else(|| "every other interface".to_owned(), str::to_owned);
        Chain {
            name: chain_name(self.direction, self.place),
            hook: None,
            comment: Comment::new(&format!(
                "HostEndpoint {}: {} of {place}",
                self.endpoint.name, self.direction
            )),
            rules,
        }
    }

    /// Packets that belong to no connection: dropped where a policy decides, let be where none does. With nothing but
    /// a safety net in force, palisade must not be what breaks asymmetric routing.
    fn invalid(&mut self) -> Rule {
        let matches = vec![Match::CtState(&[CtState::Invalid])];
        let enforced = &self.compiler.worlds.enforced;
        let decided = enforced
            .governing(self.id, self.direction)
            .any(|policy| !policy.safety_net)
            || allowing_profile(self.endpoint).is_none();
        if !decided {
            return Rule {
                matches,
                statements: vec![Statement::Accept],
                comment: Comment::new("no enforced policy here: even invalid packets pass"),
            };
        }
        let counted = Counted {
            world: WorldKind::Enforced,
            direction: self.direction,
            by: CountedBy::Invalid,
            action: Action::Deny,
            without_safety_net: false,
        };
        let counter = self
            .compiler
            .count(names::invalid_counter(self.direction), counted);
        Rule {
            matches,
            statements: vec![Statement::Counter(counter), Statement::Drop],
            comment: Comment::new("belongs to no connection and starts none"),
        }
    }

    fn flow_log(&self, flow_log: FlowLog) -> Rule {
        let log = Log {
            prefix: format!(
                "palisade/{}/{}/{}",
                short(self.direction),
                flow_log.generation,
                self.place.unwrap_or("*")
            ),
            group: flow_log.group,
            snaplen: SNAPLEN,
            queue_threshold: QUEUE_THRESHOLD,
        };
        Rule {
            statements: vec![Statement::Log(log)],
            comment: Comment::new("flow record: first packet of a connection"),
            ..Rule::default()
        }
    }

    fn preview(&mut self) -> Chain {
        let mut rules = vec![set_mark(MARK_MASK, 0, "preview begins: undecided")];
        for (index, tier) in self.tiers(WorldKind::Pending) {
            rules.push(jump(
                self.tier_name(WorldKind::Pending, index),
                &format!("tier {}", tier.name),
            ));
            rules.push(Rule {
                matches: vec![Match::Mark {
                    mask: MARK_DECIDED,
                    op: Op::Is,
                    value: MARK_DECIDED,
                }],
                statements: vec![Statement::Return],
                comment: Comment::new("decided"),
            });
            if self.tier_passes(WorldKind::Pending, index) {
                rules.push(set_mark(MARK_PASS, 0, "passed on to the next tier"));
            }
        }
        let profile = allowing_profile(self.endpoint);
        let counter = self.profile_counter(WorldKind::Pending);
        rules.push(Rule {
            statements: vec![Statement::Counter(counter)],
            comment: profile_comment(profile, "would "),
            ..Rule::default()
        });
        Chain {
            name: self.preview_name(),
            hook: None,
            comment: Comment::new("the pending world: counts, marks, jumps and returns, and no verdict"),
            rules,
        }
    }

    /// A chain for each tier that governs the direction.
    fn tier_chains(&mut self, world: WorldKind) -> Vec<Chain> {
        self.tiers(world)
            .into_iter()
            .map(|(index, tier)| Chain {
                name: self.tier_name(world, index),
                hook: None,
                comment: Comment::new(&format!(
                    "tier {} for HostEndpoint {}",
                    tier.name, self.endpoint.name
                )),
                rules: self.tier_rules(world, index, tier),
            })
            .collect()
    }

    fn tier_rules(&mut self, world: WorldKind, index: usize, tier: &WorldTier) -> Vec<Rule> {
        let mut rules = Vec::new();
        let policies = self.policies(world, index);
        for policy in &policies {
            let staged = if policy.staged { "staged " } else { "" };
            let name = policy::chain_name(self.compiler.worlds, world, self.direction, policy);
            rules.push(jump(name, &format!("{staged}policy {}", policy.id.name)));
            let leaves = match world {
                WorldKind::Enforced if has_pass(policy, self.direction) => MARK_PASS,
                WorldKind::Pending if decides(policy, self.direction) => MARK_MASK,
                WorldKind::Enforced | WorldKind::Pending => continue,
            };
            rules.push(Rule {
                matches: vec![Match::Mark {
                    mask: leaves,
                    op: Op::IsNot,
                    value: 0,
                }],
                statements: vec![Statement::Return],
                comment: Comment::new(if leaves == MARK_PASS {
                    "passed"
                } else {
                    "decided or passed"
                }),
            });
        }
        // Without its safety nets the tier may govern nothing here; then it has no end either.
        let has_net = policies.iter().any(|policy| policy.safety_net);
        let ends = match world {
            WorldKind::Enforced => true,
            WorldKind::Pending => policies.iter().any(|policy| !policy.safety_net),
        };
        if ends {
            rules.push(self.end_of_tier(world, index, tier, has_net));
        }
        rules
    }

    fn end_of_tier(&mut self, world: WorldKind, index: usize, tier: &WorldTier, has_net: bool) -> Rule {
        let name = self
            .compiler
            .names
            .in_world(world, names::tier_counter(&tier.name, self.direction));
        let counted = Counted {
            world,
            direction: self.direction,
            by: CountedBy::EndOfTier(tier.name.clone()),
            action: tier_end(tier.default_action),
            without_safety_net: self
                .compiler
                .may_be_caught(world, self.direction, |net| net.tier <= index),
        };
        let mut statements = vec![Statement::Counter(self.compiler.count(name, counted))];
        let effect = match (world, tier.default_action) {
            (WorldKind::Enforced, TierAction::Deny) => {
                statements.push(self.compiler.deny());
                if has_net {
                    "deny, out of reach behind the safety net"
                } else {
                    "deny"
                }
            }
            (WorldKind::Pending, TierAction::Deny) => {
                statements.push(Statement::SetMark {
                    mask: MARK_DECIDED,
                    value: MARK_DECIDED,
                });
                if has_net {
                    "without the safety net would deny"
                } else {
                    "would deny"
                }
            }
            (_, TierAction::Pass) => "pass",
        };
        Rule {
            statements,
            comment: Comment::new(&format!("end of tier {}: {effect}", tier.name)),
            ..Rule::default()
        }
    }

    fn profile_counter(&mut self, world: WorldKind) -> Name {
        let profile = allowing_profile(self.endpoint);
        let counted = Counted {
            world,
            direction: self.direction,
            by: CountedBy::Profile(profile.map(str::to_owned)),
            action: if profile.is_some() {
                Action::Allow
            } else {
                Action::Deny
            },
            without_safety_net: self.compiler.may_be_caught(world, self.direction, |_| true),
        };
        let name = self
            .compiler
            .names
            .in_world(world, names::profile_counter(profile, self.direction));
        self.compiler.count(name, counted)
    }

    /// The tiers that govern the direction, with their place.
    fn tiers(&self, world: WorldKind) -> Vec<(usize, &'w WorldTier)> {
        let world = self.compiler.worlds.world(world);
        let mut tiers: Vec<usize> = world
            .governing(self.id, self.direction)
            .map(|policy| policy.tier)
            .collect();
        tiers.dedup();
        tiers
            .into_iter()
            .map(|index| (index, &world.tiers[index]))
            .collect()
    }

    /// The policies of a tier that govern the direction.
    fn policies(&self, world: WorldKind, tier: usize) -> Vec<&'w WorldPolicy> {
        let world = self.compiler.worlds.world(world);
        world
            .governing(self.id, self.direction)
            .filter(|policy| policy.tier == tier)
            .collect()
    }

    fn tier_passes(&self, world: WorldKind, tier: usize) -> bool {
        self.policies(world, tier)
            .iter()
            .any(|policy| has_pass(policy, self.direction))
    }

    fn passes(&self, world: WorldKind) -> bool {
        self.compiler
            .worlds
            .world(world)
            .governing(self.id, self.direction)
            .any(|policy| has_pass(policy, self.direction))
    }

    fn preview_name(&self) -> Name {
        Name::new(&format!("{}/preview", chain_name(self.direction, self.place)))
    }

    fn tier_name(&self, world: WorldKind, index: usize) -> Name {
        let parent = match world {
            WorldKind::Enforced => chain_name(self.direction, self.place),
            WorldKind::Pending => self.preview_name(),
        };
        let label = tier_label(self.compiler.worlds.world(world), index);
        Name::new(&format!("{parent}/{label}"))
    }
}

/// Whether a rule of the policy passes.
fn has_pass(policy: &WorldPolicy, direction: Direction) -> bool {
    policy
        .rules(direction)
        .unwrap_or_default()
        .iter()
        .any(|rule| rule.action == Action::Pass)
}

/// Whether the policy can decide or pass in the preview.
fn decides(policy: &WorldPolicy, direction: Direction) -> bool {
    let rules = policy.rules(direction).unwrap_or_default();
    !policy.safety_net && rules.iter().any(|rule| rule.action != Action::Log)
}

fn profile_comment(profile: Option<&str>, would: &str) -> Comment {
    Comment::new(&match profile {
        Some(profile) => format!("profile {profile}: {would}allow"),
        None => format!("no profile allows: {would}deny"),
    })
}

fn jump(to: Name, comment: &str) -> Rule {
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
