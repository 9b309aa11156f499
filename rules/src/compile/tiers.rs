//! The tiers of one endpoint as chains.

use super::endpoint::{EndpointCompiler, chain_name, jump};
use super::index::{self, End, Region, Rest, Step, Tree};
use super::{Counted, CountedBy, MARK_DECIDED, MARK_PASS, decided_mark, names, policy, tier_end, tier_label};
use crate::net::Direction;
use crate::resource::{Action, TierAction};
use crate::ruleset::{Chain, Comment, Match, Name, Op, Rule, Statement, fnv1a};
use crate::world::{PlacedPolicy, WorldKind, WorldTier};

impl<'w> EndpointCompiler<'_, 'w> {
    /// The chains of each tier that governs the direction: one, or, where that would be long, one for each class of
    /// packets that the index tells apart.
    pub(super) fn tier_chains(&mut self, world: WorldKind) -> Vec<Chain> {
        let tiers = self.tiers(world).into_iter();
        tiers
            .flat_map(|(index, tier)| self.chains_of_tier(world, index, tier))
            .collect()
    }

    fn chains_of_tier(&mut self, world: WorldKind, index: usize, tier: &WorldTier) -> Vec<Chain> {
        let policies = self.policies(world, index);
        let name = self.tier_name(world, index);
        let whose = format!("tier {} for {} {}", tier.name, self.endpoint.kind, self.endpoint);
        let limits = self.compiler.options.index;
        if policies.len() <= limits.walked {
            let all: Vec<Step> = (0..policies.len()).map(Step::Policy).collect();
            let mut rules = self.steps(world, &policies, &all, &[]);
            rules.extend(self.end_of_tier(world, index, tier, &policies));
            return vec![Chain {
                name,
                hook: None,
                comment: Comment::new(&whose),
                rules,
            }];
        }
        let worlds = self.compiler.worlds;
        let mut regions = Vec::new();
        for (place, policy) in policies.iter().enumerate() {
            for rule in policy.rules(self.direction).unwrap_or_default() {
                regions.extend(Region::of(worlds, place, rule));
            }
        }
        let of_policies: Vec<Name> = policies
            .iter()
            .map(|policy| policy::chain_name(worlds, world, self.direction, policy))
            .collect();
        let short: Vec<&str> = of_policies.iter().map(last_part).collect();
        let weights: Vec<u64> = policies
            .iter()
            .map(|policy| fnv1a(&policy.id.to_string()))
            .collect();
        let tree = Tree::of(&regions, &weights, limits);
        let names: Vec<Name> = tree
            .nodes
            .iter()
            .map(|node| index::chain_name(&name, node, &short))
            .collect();
        let mut chains = Vec::new();
        for (node, name) in tree.nodes.iter().zip(&names) {
            let mut rules = self.compiler.lookups(node, name, &names);
            let comment = match &node.rest {
                Rest::Walk(steps) => {
                    rules.extend(self.steps(world, &policies, steps, &names));
                    if node.end == End::Tier {
                        rules.extend(self.end_of_tier(world, index, tier, &policies));
                    }
                    let those = steps
                        .iter()
                        .filter(|step| matches!(step, Step::Policy(_)))
                        .count();
                    format!("{whose}: {those} of {} policies", policies.len())
                }
                Rest::Goto(next) => {
                    rules.push(index::onward(names[next.0].clone()));
                    whose.clone()
                }
            };
            chains.push(Chain {
                name: name.clone(),
                hook: None,
                comment: Comment::new(&comment),
                rules,
            });
        }
        chains
    }

    /// The jumps of a list; `blocks` are the names of the index' chains.
    fn steps(
        &self,
        world: WorldKind,
        policies: &[&PlacedPolicy],
        steps: &[Step],
        blocks: &[Name],
    ) -> Vec<Rule> {
        let mut rules = Vec::new();
        for step in steps {
            let within = match *step {
                Step::Policy(place) => {
                    let policy = policies[place];
                    let staged = if policy.staged { "staged " } else { "" };
                    let name = policy::chain_name(self.compiler.worlds, world, self.direction, policy);
                    rules.push(jump(name, &format!("{staged}policy {}", policy.id)));
                    place..=place
                }
                Step::Block(node, first, last) => {
                    let (from, to) = (&policies[first].id, &policies[last].id);
                    let comment = format!("what can match of the policies from {from} to {to}");
                    rules.push(jump(blocks[node.0].clone(), &comment));
                    first..=last
                }
            };
            let mut within = policies[within].iter();
            let leaves = match world {
                WorldKind::Enforced if within.any(|policy| has_pass(policy, self.direction)) => MARK_PASS,
                WorldKind::Pending if within.any(|policy| decides(policy, self.direction)) => {
                    decided_mark(self.stage) | MARK_PASS
                }
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
        rules
    }

    /// What becomes of packets that no policy of a tier decides. Without its safety nets the tier may govern nothing here;
    /// then it has no end either.
    fn end_of_tier(
        &mut self,
        world: WorldKind,
        index: usize,
        tier: &WorldTier,
        policies: &[&PlacedPolicy],
    ) -> Option<Rule> {
        let has_net = policies.iter().any(|policy| policy.safety_net);
        let ends = match world {
            WorldKind::Enforced => true,
            WorldKind::Pending => policies.iter().any(|policy| !policy.safety_net),
        };
        (ends && !self.stage.is_early()).then(|| self.last_rule(world, index, tier, has_net))
    }

    fn last_rule(&mut self, world: WorldKind, index: usize, tier: &WorldTier, has_net: bool) -> Rule {
        let name = self
            .compiler
            .names
            .in_world(world, names::tier_counter(&tier.name, self.direction, self.stage));
        let counted = Counted {
            world,
            direction: self.direction,
            stage: self.stage,
            by: CountedBy::EndOfTier(tier.name.clone()),
            action: tier_end(tier.default_action),
            without_safety_net: self
                .compiler
                .may_be_caught(world, self.direction, self.stage, |net| net.tier <= index),
        };
        let mut statements = vec![Statement::Counter(self.compiler.count(name, counted))];
        let effect = match (world, tier.default_action) {
            (WorldKind::Enforced, TierAction::Deny) => {
                statements.push(self.compiler.deny(self.stage));
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

    /// The tiers that govern the direction, with their place.
    pub(super) fn tiers(&self, world: WorldKind) -> Vec<(usize, &'w WorldTier)> {
        let world = self.compiler.worlds.world(world);
        let mut tiers: Vec<usize> = world
            .governing(self.id, self.direction, self.stage)
            .map(|policy| policy.tier)
            .collect();
        tiers.dedup();
        tiers
            .into_iter()
            .map(|index| (index, &world.tiers[index]))
            .collect()
    }

    /// The policies of a tier that govern the direction.
    fn policies(&self, world: WorldKind, tier: usize) -> Vec<&'w PlacedPolicy> {
        let world = self.compiler.worlds.world(world);
        world
            .governing(self.id, self.direction, self.stage)
            .filter(|policy| policy.tier == tier)
            .collect()
    }

    pub(super) fn tier_passes(&self, world: WorldKind, tier: usize) -> bool {
        self.policies(world, tier)
            .iter()
            .any(|policy| has_pass(policy, self.direction))
    }

    pub(super) fn passes(&self, world: WorldKind) -> bool {
        self.compiler
            .worlds
            .world(world)
            .governing(self.id, self.direction, self.stage)
            .any(|policy| has_pass(policy, self.direction))
    }

    pub(super) fn tier_name(&self, world: WorldKind, index: usize) -> Name {
        let parent = match world {
            WorldKind::Enforced => chain_name(self.stage, self.direction, self.place),
            WorldKind::Pending => self.preview_name(),
        };
        let label = tier_label(self.compiler.worlds.world(world), index);
        Name::new(&format!("{parent}/{label}"))
    }
}

/// Whether a rule of the policy passes.
fn has_pass(policy: &PlacedPolicy, direction: Direction) -> bool {
    policy
        .rules(direction)
        .unwrap_or_default()
        .iter()
        .any(|rule| rule.action == Action::Pass)
}

/// Whether the policy can decide or pass in the preview.
fn decides(policy: &PlacedPolicy, direction: Direction) -> bool {
    let rules = policy.rules(direction).unwrap_or_default();
    !policy.safety_net && rules.iter().any(|rule| rule.action != Action::Log)
}

/// A policy's chain without what all of its tier have in front: `000100-lockdown`.
fn last_part(chain: &Name) -> &str {
    chain.as_str().splitn(4, '/').last().unwrap_or_default()
}
