//! Policies and their rules as chains.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::endpoint::RULE_PREFIX;
use super::{
    Compiler, Counted, CountedBy, MARK_ACCEPTED, MARK_PASS, decided_mark, names, order, short, tier_label,
};
use crate::net::Direction;
use crate::resource::{Action, PolicyStage};
use crate::ruleset::{Chain, Comment, Log, Name, Rule, Statement};
use crate::world::{PlacedPolicy, Stage, WorldKind, WorldPolicy, WorldProfile, WorldRule, Worlds};

/// How often one Log rule logs: a flood must not drown what else is read.
const LOGS_PER_SECOND: u32 = 10;

/// How many packets a Log rule logs at once after a pause.
const LOG_BURST: u32 = 20;

/// The name of a policy's chain: its order, then what decides between equal ones. Names of one world and direction sort in
/// order of evaluation, and other policies have no part in them; only one that is too long for nf_tables sorts by no more
/// than its beginning.
pub(super) fn chain_name(
    worlds: &Worlds,
    world: WorldKind,
    direction: Direction,
    policy: &PlacedPolicy,
) -> Name {
    let tier = tier_label(worlds.world(world), policy.tier);
    let world = match world {
        WorldKind::Enforced => "enforced",
        WorldKind::Pending => "preview",
    };
    let direction = short(direction);
    let order = order::word(policy.order, policy.safety_net);
    let name = &policy.id.name;
    let object = match &policy.id.namespace {
        Some(namespace) => format!("{name}/{namespace}/{}", names::short_kind(policy.id.kind)),
        None => format!("{name}/"),
    };
    Name::new(&format!("{world}/{direction}/{tier}/{order}-{object}"))
}

/// Whether it is the chain of a policy or profile.
pub(super) fn is_policys(chain: &Chain) -> bool {
    let name = chain.name.as_str();
    name.starts_with("enforced/") || name.starts_with("preview/")
}

/// The name of a profile's chain. No tier's label begins with a letter.
pub(super) fn profile_chain_name(world: WorldKind, direction: Direction, profile: &str) -> Name {
    let world = match world {
        WorldKind::Enforced => "enforced",
        WorldKind::Pending => "preview",
    };
    Name::new(&format!("{world}/{}/profile/{profile}", short(direction)))
}

impl Compiler<'_> {
    /// The chain of one policy, or `None` if it does not govern the direction. The counters that its `rival` in the
    /// enforced world has are not its own.
    pub(super) fn policy_chain(
        &mut self,
        world: WorldKind,
        direction: Direction,
        index: usize,
        rival: Option<&WorldPolicy>,
    ) -> Option<Chain> {
        let worlds = self.worlds;
        let policy = &worlds.world(world).policies[index];
        let rules = policy.rules(direction)?;
        let staged = if policy.staged { "staged " } else { "" };
        let text = policy.id.to_string();
        let taken = rival.and_then(|rival| rival.rules(direction)).unwrap_or_default();
        let taken: BTreeSet<String> = names::rule_names(taken).into_iter().collect();
        let mut chain = Chain {
            name: chain_name(worlds, world, direction, policy),
            hook: None,
            comment: Comment::new(&format!("{staged}{} {text}", policy.id.kind)),
            rules: Vec::new(),
        };
        for (rule, rule_name) in rules.iter().zip(names::rule_names(rules)) {
            let counter = names::policy_rule_counter(policy, direction, &rule_name);
            let counter = if taken.contains(&rule_name) {
                names::pending(&counter)
            } else {
                counter
            };
            let stage = stage_of(policy);
            let counted = Counted {
                world,
                direction,
                stage,
                by: CountedBy::Rule {
                    policy: Arc::clone(&policy.named),
                    rule_index: rule.index,
                    rule_name: rule.name.clone(),
                    text: Arc::clone(&rule.text),
                    safety_net: policy.safety_net,
                },
                action: rule.action,
                without_safety_net: self.may_be_caught(world, direction, stage, |net| net.tier < policy.tier),
            };
            let counter = self.count(counter, counted);
            let statements = match world {
                WorldKind::Enforced => self.enforced_statements(&text, stage, rule, counter),
                WorldKind::Pending => preview_statements(policy.safety_net, stage, rule, counter),
            };
            self.add(
                &mut chain,
                rule,
                &statements,
                &rule_comment(world, direction, &text, policy.safety_net, rule),
            );
        }
        chain.rules.shrink_to_fit();
        Some(chain)
    }

    /// The chain of one profile: what it does not decide returns, and the next profile is asked.
    pub(super) fn profile_chain(
        &mut self,
        world: WorldKind,
        direction: Direction,
        profile: &WorldProfile,
    ) -> Chain {
        let mut chain = Chain {
            name: profile_chain_name(world, direction, &profile.name),
            hook: None,
            comment: Comment::new(&format!("Profile {}", profile.name)),
            rules: Vec::new(),
        };
        let rules = profile.rules(direction);
        for (rule, rule_name) in rules.iter().zip(names::rule_names(rules)) {
            let counter = names::profile_rule_counter(&profile.name, direction, &rule_name);
            let counter = self.names.in_world(world, counter);
            let counted = Counted {
                world,
                direction,
                stage: Stage::Normal,
                by: CountedBy::Profile {
                    name: profile.name.clone(),
                    rule_index: rule.index,
                    rule_name: rule.name.clone(),
                    text: Arc::clone(&rule.text),
                },
                action: rule.action,
                without_safety_net: self.may_be_caught(world, direction, Stage::Normal, |_| true),
            };
            let counter = self.count(counter, counted);
            let mut statements = match world {
                WorldKind::Enforced => self.enforced_statements(&profile.name, Stage::Normal, rule, counter),
                WorldKind::Pending => preview_statements(false, Stage::Normal, rule, counter),
            };
            // There is no tier to skip the rest of.
            statements.retain(|statement| !matches!(statement, Statement::SetMark { mask: MARK_PASS, .. }));
            self.add(
                &mut chain,
                rule,
                &statements,
                &rule_comment(world, direction, &profile.name, false, rule),
            );
        }
        chain
    }

    fn add(&mut self, chain: &mut Chain, rule: &WorldRule, statements: &[Statement], comment: &Comment) {
        let rules = self.conditions(rule).into_iter().map(|matches| Rule {
            matches,
            statements: statements.to_vec(),
            comment: comment.clone(),
        });
        chain.rules.extend(rules);
    }

    fn enforced_statements(
        &self,
        owner: &str,
        stage: Stage,
        rule: &WorldRule,
        counter: Name,
    ) -> Vec<Statement> {
        let mut statements = vec![Statement::Counter(counter)];
        match rule.action {
            Action::Allow => {
                statements.extend((stage == Stage::Untracked).then_some(Statement::Notrack));
                statements.extend(stage.is_early().then_some(Statement::SetMark {
                    mask: MARK_ACCEPTED,
                    value: MARK_ACCEPTED,
                }));
                statements.push(Statement::Accept);
            }
            Action::Deny => statements.push(self.deny(stage)),
            Action::Pass => {
                statements.push(Statement::SetMark {
                    mask: MARK_PASS,
                    value: MARK_PASS,
                });
                statements.push(Statement::Return);
            }
            Action::Log => {
                if let Some(flow_log) = self.options.flow_log {
                    statements.push(Statement::Limit {
                        per_second: LOGS_PER_SECOND,
                        burst: LOG_BURST,
                    });
                    statements.push(Statement::Log(Log {
                        prefix: log_prefix(owner, rule.index),
                        group: flow_log.group,
                        snaplen: super::endpoint::SNAPLEN,
                        queue_threshold: super::endpoint::QUEUE_THRESHOLD,
                    }));
                }
            }
        }
        statements
    }
}

/// The stage at which a policy's own chain is reached; those that also apply on forward are the same chain there.
fn stage_of(policy: &PlacedPolicy) -> Stage {
    match policy.stage {
        PolicyStage::Normal { .. } => Stage::Normal,
        PolicyStage::PreDnat => Stage::PreDnat,
        PolicyStage::Untracked => Stage::Untracked,
    }
}

/// A rule of the preview counts, marks what it decides, and never ends the packet. A safety net only counts: what
/// comes after it is what would be without it.
fn preview_statements(safety_net: bool, stage: Stage, rule: &WorldRule, counter: Name) -> Vec<Statement> {
    let mut statements = vec![Statement::Counter(counter)];
    let mark = match rule.action {
        Action::Allow | Action::Deny if !safety_net => decided_mark(stage),
        Action::Pass => MARK_PASS,
        Action::Allow | Action::Deny | Action::Log => return statements,
    };
    statements.push(Statement::SetMark {
        mask: mark,
        value: mark,
    });
    statements.push(Statement::Return);
    statements
}

fn rule_comment(
    world: WorldKind,
    direction: Direction,
    owner: &str,
    safety_net: bool,
    rule: &WorldRule,
) -> Comment {
    let index = rule.index;
    let rule_name = rule
        .name
        .as_ref()
        .map(|name| format!(" ({name})"))
        .unwrap_or_default();
    let effect = match (world, rule.action) {
        (WorldKind::Enforced, _) => String::new(),
        (WorldKind::Pending, Action::Allow) if safety_net => {
            ": caught, and on as if it were not there".into()
        }
        (WorldKind::Pending, Action::Allow) => ": would allow".into(),
        (WorldKind::Pending, Action::Deny) => ": would deny".into(),
        (WorldKind::Pending, Action::Pass) => ": would pass".into(),
        (WorldKind::Pending, Action::Log) => ": would log".into(),
    };
    let annotations = match rule.annotations.join("; ") {
        annotations if annotations.is_empty() => annotations,
        annotations => format!("; {annotations}"),
    };
    Comment::new(&format!(
        "{owner} {direction} rule {index}{rule_name}{effect}{annotations}"
    ))
}

/// What a reader of the NFLOG group sees of a Log rule; nf_tables takes 127 bytes.
fn log_prefix(owner: &str, rule_index: usize) -> String {
    let suffix = format!("/{rule_index}");
    let room = 127 - RULE_PREFIX.len() - suffix.len();
    let owner: String = owner.chars().take(room).collect();
    format!("{RULE_PREFIX}{owner}{suffix}")
}
