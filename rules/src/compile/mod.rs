//! The compiler: worlds in, one ruleset out.
//!
//! For every local endpoint and direction there is one chain, reached from a base chain by interface, which reads
//! like a table of contents: invalid packets, the flow log, failsafes, the preview, the tiers, the profiles. Policies
//! stand in chains of their own, shared by the endpoints they select:
//!
//! ```text
//! input ─▶ in/eth0 ─┬▶ failsafe/in
//!                   ├▶ in/eth0/preview ─▶ in/eth0/preview/02-default ─▶ preview/in/02-default/001-lockdown
//!                   └▶ in/eth0/02-default ─▶ enforced/in/02-default/001-database
//! ```
//!
//! The preview is a second, complete evaluation, of the pending world, in chains that only count, mark, jump and
//! return. Because it stands before the enforced tiers, it finishes whatever those do to the packet afterwards.
//!
//! Workloads and services hang on base chains of their own (`hooks`), and so do policies of the early stages, before
//! conntrack and before the destination is translated: what those decide, they leave in the packet's mark for the stage
//! that would decide otherwise, which takes it off again.

mod conditions;
mod endpoint;
mod failsafes;
mod hooks;
mod index;
mod names;
mod order;
mod policy;
mod sets;
#[cfg(test)]
mod tests;
mod tiers;

use std::sync::Arc;

use crate::net::{Direction, Protocol};
use crate::resource::{Action, DEFAULT_ALLOW_PROFILE, TierAction};
use crate::ruleset::{Chain, Comment, Match, Name, Op, Rule, Ruleset, Statement};
use crate::shared_map::SharedMap;
use crate::world::{EndpointKind, PlacedPolicy, Stage, World, WorldKind, Worlds};

use endpoint::EndpointCompiler;
pub use endpoint::SAMPLED;
use hooks::{BASES, Base, established};
use index::Memory;
pub use index::{Limits, Memo};
use names::CounterNames;
use sets::SetInterner;

/// Set by a preview chain once the pending world has decided about the packet.
pub const MARK_DECIDED: u32 = 0x1000_0000;

/// Set by a Pass rule until the rest of its tier is skipped.
pub const MARK_PASS: u32 = 0x2000_0000;

/// The bits of the packet mark that one evaluation uses.
pub const MARK_MASK: u32 = MARK_DECIDED | MARK_PASS;

/// Set where a policy of an early stage allows: the enforced policies that come later are not asked.
pub const MARK_ACCEPTED: u32 = 0x4000_0000;

/// Set by a preview chain of an early stage once the pending world has decided about the packet. It is not
/// [`MARK_DECIDED`], for a workload or a service with a preview of its own may come in between. Nor is it the highest bit:
/// nft lists that one alone as if it were a prefix.
pub const MARK_DECIDED_EARLY: u32 = 0x0800_0000;

/// All the bits of the packet mark that palisade uses. They are zero wherever no policy of an early stage has spoken, and
/// once a packet has passed the last of palisade's chains.
pub const MARK_ALL: u32 = MARK_MASK | MARK_ACCEPTED | MARK_DECIDED_EARLY;

/// The chain that answers denied packets. No other chain is called so: theirs have a slash, or are base chains.
const REJECT_CHAIN: &str = "reject";

/// What the compiler needs besides the worlds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What a denied packet gets.
    pub deny: DenyAction,
    /// Where the first packet of each connection is copied to; `None` for no flow records.
    pub flow_log: Option<FlowLog>,
    /// From how many policies on a tier is indexed, and what that may cost.
    pub index: Limits,
}

/// What a denied packet gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DenyAction {
    /// Nothing: it is dropped.
    #[default]
    Drop,
    /// An answer: a reset for TCP, else an ICMP error, administratively prohibited.
    Reject,
}

/// The NFLOG group for flow records, and the generation that its packets carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLog {
    /// The NFLOG group.
    pub group: u16,
    /// The generation that the packets are seen by.
    pub generation: u64,
}

/// A ruleset, and what its counters mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    /// What the kernel is to hold.
    pub ruleset: Ruleset,
    /// What each counter counts.
    pub counters: SharedMap<Name, Counted>,
}

impl Compiled {
    /// The same, for another generation to see the packets: what compiling anew with [`FlowLog::generation`] would make.
    #[must_use]
    pub fn renumbered(mut self, generation: u64) -> Self {
        for chain in &mut self.ruleset.chains {
            if endpoint::copies_flows(chain) {
                let rules = &mut Arc::make_mut(chain).rules;
                for statement in rules.iter_mut().flat_map(|rule| &mut rule.statements) {
                    if let Statement::Log(log) = statement {
                        endpoint::renumber(log, generation);
                    }
                }
            }
        }
        self
    }
}

/// What a counter counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The world that decided; failsafes and invalid packets count as enforced.
    pub world: WorldKind,
    /// The direction.
    pub direction: Direction,
    /// Where on the packet's way; a rule that also applies on forward counts there as here.
    pub stage: Stage,
    /// What decided.
    pub by: CountedBy,
    /// What it does.
    pub action: Action,
    /// Whether a safety net stands before it in the pending world: then this is what would be without the net, save for
    /// packets that a Pass took around it.
    pub without_safety_net: bool,
}

/// What decides where a counter stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountedBy {
    /// Packets that belong to no connection and start none.
    Invalid,
    /// A failsafe.
    Failsafe(String),
    /// A rule.
    Rule {
        /// The kind of the policy, as written.
        kind: &'static str,
        /// Its tier.
        tier: String,
        /// Its namespace, if its kind has one.
        namespace: Option<String>,
        /// Its name.
        name: String,
        /// The index of the rule as written.
        rule_index: usize,
        /// The rule's name.
        rule_name: Option<String>,
        /// What the rule says, in one line.
        text: String,
        /// Whether the policy is a safety net.
        safety_net: bool,
    },
    /// The end of a tier.
    EndOfTier(String),
    /// A rule of a profile.
    Profile {
        /// The profile.
        name: String,
        /// The index of the rule as written.
        rule_index: usize,
        /// The rule's name.
        rule_name: Option<String>,
        /// What the rule says, in one line.
        text: String,
    },
    /// No rule anywhere.
    NoProfile,
}

/// Compiles both worlds into one ruleset.
pub fn compile(worlds: &Worlds, options: &Options) -> Compiled {
    compile_remembering(None, worlds, options).0
}

/// The same, and what the next generation can go on from; `previous` is what one before has left, with the same options.
/// Policies that are the same shared ones keep their place in the index, and lists that say the same their chains.
pub fn compile_remembering(previous: Option<&Memo>, worlds: &Worlds, options: &Options) -> (Compiled, Memo) {
    let mut compiler = Compiler {
        worlds,
        options,
        names: CounterNames::new(worlds),
        sets: SetInterner::default(),
        memory: Memory {
            previous,
            next: Memo::default(),
        },
        compiled: Compiled::default(),
    };
    let base_chains: Vec<Arc<Chain>> = BASES
        .iter()
        .filter_map(|base| compiler.base_chain(base))
        .map(Arc::new)
        .collect();
    let mut chains = Vec::new();
    for direction in Direction::BOTH {
        chains.extend(compiler.chains(direction));
    }
    let rejects = Statement::Goto(Name::new(REJECT_CHAIN));
    let mut rules = chains.iter().flat_map(|chain| &chain.rules);
    if rules.any(|rule| rule.statements.contains(&rejects)) {
        chains.push(Arc::new(reject_chain()));
    }
    let Compiler {
        sets,
        memory,
        mut compiled,
        ..
    } = compiler;
    compiled.ruleset.chains = base_chains.into_iter().chain(chains).collect();
    compiled.ruleset.sets = sets.into_sets();
    (compiled, memory.next)
}

/// The safety net alone: what goes into the kernel before any policy is read.
pub fn safety_net_only(policy_name: &str) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for direction in Direction::BOTH {
        let counter = names::policy_counter("gnp", None, policy_name, direction, "allow");
        ruleset.counters.insert(
            counter.clone(),
            Comment::new(&format!("{direction}: {policy_name}, allow")),
        );
        ruleset.chains.push(Arc::new(Chain {
            rules: vec![
                established(),
                Rule {
                    statements: vec![Statement::Counter(counter), Statement::Accept],
                    comment: Comment::new(&format!(
                        "{policy_name}: the safety net, before any policy is in force"
                    )),
                    ..Rule::default()
                },
            ],
            ..Base::of_host(direction).chain()
        }));
    }
    ruleset
}

struct Compiler<'a> {
    worlds: &'a Worlds,
    options: &'a Options,
    names: CounterNames,
    sets: SetInterner,
    /// The indexed tiers of the previous generation and of this one.
    memory: Memory<'a>,
    compiled: Compiled,
}

impl Compiler<'_> {
    /// Every other chain of one direction, in order of evaluation.
    fn chains(&mut self, direction: Direction) -> Vec<Arc<Chain>> {
        let mut chains = Vec::new();
        let mut failsafes = Vec::new();
        let mut needed = [const { Vec::new() }; 2];
        let mut profiles = [const { Vec::new() }; 2];
        for stage in Stage::ALL {
            for (id, endpoint, attachment) in self.worlds.local() {
                if !self.is_asked(id, endpoint, direction, stage) {
                    continue;
                }
                if endpoint.kind == EndpointKind::Host && stage != Stage::Forward {
                    failsafes.push(stage);
                }
                for world in WorldKind::BOTH {
                    if world == WorldKind::Enforced || self.worlds.differs(id, direction, stage) {
                        let of_world = self.worlds.world(world);
                        let policies = of_world.selecting(id).iter().map(|&index| index as usize);
                        needed[world as usize]
                            .extend(policies.filter(|&index| stage.asks(of_world.policies[index].stage)));
                        if stage == Stage::Normal {
                            profiles[world as usize].extend(endpoint::reachable_profiles(self.worlds, id));
                        }
                    }
                }
                for place in endpoint::places(endpoint, attachment) {
                    chains.extend(
                        EndpointCompiler {
                            compiler: self,
                            id,
                            endpoint,
                            direction,
                            stage,
                            place,
                        }
                        .chains(),
                    );
                }
            }
        }
        failsafes.dedup();
        let failsafes = failsafes
            .into_iter()
            .filter(|&stage| self.has_failsafes(stage, direction))
            .collect::<Vec<_>>();
        let mut all: Vec<Arc<Chain>> = failsafes
            .into_iter()
            .flat_map(|stage| self.failsafe_chains(stage, direction))
            .map(Arc::new)
            .collect();
        all.extend(chains);
        for world in [WorldKind::Pending, WorldKind::Enforced] {
            let policies = sorted(&mut needed[world as usize]);
            all.extend(
                policies
                    .iter()
                    .filter_map(|&index| self.policy_chain(world, direction, index))
                    .map(Arc::new),
            );
            let profiles = sorted(&mut profiles[world as usize]);
            all.extend(profiles.iter().map(|&index| {
                let profile = &self.worlds.profiles[index];
                Arc::new(self.profile_chain(world, direction, profile))
            }));
        }
        all
    }

    /// Notes that a counter is used, and what for. Where both worlds use it, the enforced one cannot get there.
    fn count(&mut self, name: Name, counted: Counted) -> Name {
        let shared =
            |other: &Counted| other.world == WorldKind::Pending && counted.world == WorldKind::Enforced;
        if self.compiled.counters.get(&name).is_some_and(shared) {
            return name;
        }
        let comments = &mut self.compiled.ruleset.counters;
        if !comments.contains_key(&name) {
            comments.insert(name.clone(), Comment::new(&counted.describe()));
        }
        self.compiled.counters.insert(name.clone(), counted);
        name
    }

    /// Whether a safety net that is `before` the place in question may have caught a packet that gets there: in the
    /// preview a net only counts. It selects every endpoint, so this holds for all or none.
    fn may_be_caught(
        &self,
        world: WorldKind,
        direction: Direction,
        stage: Stage,
        before: impl Fn(&PlacedPolicy) -> bool,
    ) -> bool {
        world == WorldKind::Pending
            && self
                .worlds
                .pending
                .policies
                .iter()
                .filter(|policy| policy.safety_net && stage.asks(policy.stage))
                .any(|policy| policy.rules(direction).is_some() && before(policy))
    }

    /// What ends a denied packet. Before conntrack and routing nothing is answered.
    fn deny(&self, stage: Stage) -> Statement {
        match self.options.deny {
            DenyAction::Reject if !stage.is_early() => Statement::Goto(Name::new(REJECT_CHAIN)),
            DenyAction::Drop | DenyAction::Reject => Statement::Drop,
        }
    }
}

impl Counted {
    /// The counter in words: the comment it has in the kernel. That cannot change as long as the counter lives, so it
    /// says nothing that another place in order, or another default action, would make untrue.
    fn describe(&self) -> String {
        let direction = self.direction;
        let what = match &self.by {
            CountedBy::Invalid => "packets that belong to no connection".to_owned(),
            CountedBy::Failsafe(text) => format!("failsafe {text}"),
            CountedBy::Rule {
                name,
                rule_name: Some(rule_name),
                ..
            } => format!("{name}, rule {rule_name}"),
            CountedBy::Rule { name, text, .. } => format!("{name}, {text}"),
            CountedBy::EndOfTier(tier) => format!("end of tier {tier}"),
            CountedBy::Profile { name, .. } if name == DEFAULT_ALLOW_PROFILE => format!("profile {name}"),
            CountedBy::Profile {
                name,
                rule_name: Some(rule_name),
                ..
            } => format!("profile {name}, rule {rule_name}"),
            CountedBy::Profile { name, text, .. } => format!("profile {name}, {text}"),
            CountedBy::NoProfile => "no profile allows it".to_owned(),
        };
        let forwarded = if self.stage == Stage::Forward {
            " of what is forwarded"
        } else {
            ""
        };
        format!("{direction}{forwarded}: {what}")
    }
}

/// Takes off whatever mark an early stage has left.
fn shed_marks() -> Statement {
    Statement::SetMark {
        mask: MARK_ALL,
        value: 0,
    }
}

/// The mark by which the preview knows that the pending world has decided.
fn decided_mark(stage: Stage) -> u32 {
    if stage.is_early() {
        MARK_DECIDED_EARLY
    } else {
        MARK_DECIDED
    }
}

/// How a tier's end acts on a packet.
fn tier_end(action: TierAction) -> Action {
    match action {
        TierAction::Deny => Action::Deny,
        TierAction::Pass => Action::Pass,
    }
}

/// A tier in the name of a chain: its place, then its name, so that names sort in order of evaluation.
fn tier_label(world: &World, index: usize) -> String {
    let digits = world.tiers.len().to_string().len().max(2);
    format!("{:0digits$}-{}", index + 1, world.tiers[index].name)
}

/// `in` or `out`: the direction in the name of a chain or counter.
fn short(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "in",
        Direction::Egress => "out",
    }
}

/// A client that is connecting takes no ICMP error for an answer, so TCP gets a reset.
fn reject_chain() -> Chain {
    let tcp = Rule {
        matches: vec![Match::Protocol(Op::Is, Protocol::TCP)],
        statements: vec![Statement::RejectWithReset],
        comment: Comment::new("TCP understands nothing else while it connects"),
    };
    let others = Rule {
        statements: vec![Statement::Reject],
        comment: Comment::new("administratively prohibited"),
        ..Rule::default()
    };
    Chain {
        name: Name::new(REJECT_CHAIN),
        hook: None,
        comment: Comment::new("denied packets get an answer"),
        rules: vec![tcp, others],
    }
}

/// Sorted, each once.
fn sorted(indices: &mut Vec<usize>) -> Vec<usize> {
    indices.sort_unstable();
    indices.dedup();
    std::mem::take(indices)
}
