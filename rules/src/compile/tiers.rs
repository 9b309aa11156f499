//! The tiers of one endpoint as chains.

use std::sync::Arc;

use super::endpoint::{EndpointCompiler, chain_name, jump};
use super::{Counted, CountedBy, MARK_DECIDED, MARK_PASS, decided_mark, names, policy, tier_end, tier_label};
use crate::net::Direction;
use crate::resource::{Action, TierAction};
use crate::ruleset::{Chain, Comment, Match, Name, Op, Rule, Statement};
use crate::world::{Governing, PlacedPolicy, WorldKind, WorldPolicy, WorldTier};

impl<'w> EndpointCompiler<'_, 'w> {
    /// The chains of each tier that governs the direction: one, or, where that would be long, one for each class of
    /// packets that the index tells apart.
    pub(super) fn tier_chains(&mut self, world: WorldKind) -> Vec<Arc<Chain>> {
        let tiers = self.tiers(world).into_iter();
        tiers
            .flat_map(|(index, tier)| self.chains_of_tier(world, index, tier))
            .collect()
    }

    fn chains_of_tier(&mut self, world: WorldKind, index: usize, tier: &WorldTier) -> Vec<Arc<Chain>> {
        let policies = self.policies(world, index);
        let name = self.tier_name(world, index);
        let whose = format!("tier {} for {} {}", tier.name, self.endpoint.kind, self.endpoint);
        let end = self.end_of_tier(world, index, tier);
        if policies.len() > self.compiler.options.index.walked {
            return self.indexed_tier(world, &name, &whose, &policies, end);
        }
        let each = policies.iter().flat_map(|policy| {
            let chain = policy::chain_name(self.compiler.worlds, world, self.direction, policy);
            self.to_policy(world, policy, chain, self.leaves_by_mark(world, policy))
        });
        let rules = each.chain(end).collect();
        vec![Arc::new(Chain {
            name,
            hook: None,
            comment: Comment::new(&whose),
            rules,
        })]
    }

    /// The way to a policy's chain, and out of the tier if it `marks` what it decides or passes.
    pub(super) fn to_policy(
        &self,
        world: WorldKind,
        policy: &WorldPolicy,
        chain: Name,
        marks: bool,
    ) -> impl Iterator<Item = Rule> {
        let staged = if policy.staged { "staged " } else { "" };
        let leave = marks.then(|| self.leave(world));
        [jump(chain, &format!("{staged}policy {}", policy.id))]
            .into_iter()
            .chain(leave)
    }

    /// Whether packets leave the tier by a mark that a policy gives them.
    pub(super) fn leaves_by_mark(&self, world: WorldKind, policy: &WorldPolicy) -> bool {
        match world {
            WorldKind::Enforced => policy.has_pass(self.direction),
            WorldKind::Pending => decides(policy, self.direction),
        }
    }

    /// Leaves the tier for what a policy before has marked.
    pub(super) fn leave(&self, world: WorldKind) -> Rule {
        let (mask, comment) = match world {
            WorldKind::Enforced => (MARK_PASS, "passed"),
            WorldKind::Pending => (decided_mark(self.stage) | MARK_PASS, "decided or passed"),
        };
        Rule {
            matches: vec![Match::Mark {
                mask,
                op: Op::IsNot,
                value: 0,
            }],
            statements: vec![Statement::Return],
            comment: Comment::new(comment),
        }
    }

    /// What becomes of packets that no policy of a tier decides. Without its safety nets the tier may govern nothing here;
    /// then it has no end either.
    fn end_of_tier(&mut self, world: WorldKind, index: usize, tier: &WorldTier) -> Option<Rule> {
        let policies = self.governing(world).tier(index);
        let has_net = policies.is_some_and(|policies| policies.has_net);
        let ends = match world {
            WorldKind::Enforced => true,
            WorldKind::Pending => policies.is_some_and(|policies| policies.has_others),
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
        let tiers = &self.compiler.worlds.world(world).tiers;
        let governing = self.governing(world).tiers.iter();
        governing.map(|of| (of.tier, &tiers[of.tier])).collect()
    }

    /// The policies of a tier that govern the direction.
    fn policies(&self, world: WorldKind, tier: usize) -> Vec<&'w PlacedPolicy> {
        let governing = self.governing(world);
        let places = governing.tier(tier).map_or(0..0, |of| of.places.clone());
        let policies = &self.compiler.worlds.world(world).policies;
        let indices = governing.policies[places].iter();
        indices.map(|&index| &policies[index as usize]).collect()
    }

    pub(super) fn tier_passes(&self, world: WorldKind, tier: usize) -> bool {
        self.governing(world).tier(tier).is_some_and(|of| of.passes)
    }

    pub(super) fn passes(&self, world: WorldKind) -> bool {
        self.governing(world).tiers.iter().any(|of| of.passes)
    }

    fn governing(&self, world: WorldKind) -> &'w Governing {
        let world = self.compiler.worlds.world(world);
        world.governing_by_tier(self.id, self.direction, self.stage)
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

/// Whether the policy can decide or pass in the preview.
fn decides(policy: &WorldPolicy, direction: Direction) -> bool {
    let rules = policy.rules(direction).unwrap_or_default();
    !policy.safety_net && rules.iter().any(|rule| rule.action != Action::Log)
}
