//! The compiler: worlds in, one ruleset out.
//!
//! For every local endpoint and direction there is one chain, reached from a base chain by interface, which reads
//! like a table of contents: invalid packets, the flow log, failsafes, the preview, the tiers, the profiles. Policies
//! stand in chains of their own, shared by the endpoints they select:
//!
//! ```text
//! input ─▶ in/eth0 ─┬▶ failsafe/in
//!                   ├▶ in/eth0/preview ─▶ in/eth0/preview/02-default ─▶ preview/in/02-default/000100-lockdown/
//!                   └▶ in/eth0/02-default ─▶ enforced/in/02-default/000200-database/
//! ```
//!
//! The preview is a second, complete evaluation, of the pending world, in chains that only count, mark, jump and
//! return. Because it stands before the enforced tiers, it finishes whatever those do to the packet afterwards.
//!
//! Workloads and services hang on base chains of their own (`hooks`), and so do policies of the early stages, before
//! conntrack and before the destination is translated: what those decide, they leave in the packet's mark for the stage
//! that would decide otherwise, which takes it off again.

mod conditions;
mod counted;
mod endpoint;
mod failsafes;
mod hooks;
mod index;
mod names;
mod needed;
mod order;
mod parts;
mod policy;
mod reject;
mod sets;
#[cfg(test)]
mod tests;
mod tiers;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::net::Direction;
use crate::resource::{Action, TierAction};
use crate::ruleset::{Chain, Comment, Name, Rule, Ruleset, Statement, VerdictMap};
use crate::shared_map::SharedMap;
use crate::world::{EndpointKind, PlacedPolicy, Stage, World, WorldKind, Worlds};

pub use counted::{Counted, CountedBy};
use endpoint::EndpointCompiler;
pub use endpoint::SAMPLED;
use hooks::{BASES, Base, established};
pub use index::Limits;
use index::{Memo, Memory};
use names::CounterNames;
use needed::Needed;
use parts::{Exchange, Kept, Others, Part, Previous, Rivals, Setting, Walk};
use reject::{REJECT_CHAIN, has_reject, reject_chain};
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
    /// What the next one may take over.
    kept: Kept,
}

impl Compiled {
    /// A ruleset that was made by other means; nothing can be taken over from it.
    pub fn new(ruleset: Ruleset, counters: SharedMap<Name, Counted>) -> Self {
        Compiled {
            ruleset,
            counters,
            kept: Kept::default(),
        }
    }

    /// The same, for another generation to see the packets: what compiling anew with [`FlowLog::generation`] would make.
    #[must_use]
    pub fn renumbered(mut self, generation: u64) -> Self {
        for &[place, among_others] in self.kept.flows.iter() {
            let chain = &mut self.ruleset.chains[place];
            let rules = &mut Arc::make_mut(chain).rules;
            for statement in rules.iter_mut().flat_map(|rule| &mut rule.statements) {
                if let Statement::Log(log) = statement {
                    endpoint::renumber(log, generation);
                }
            }
            Arc::make_mut(&mut self.kept.others)[among_others] = Arc::clone(chain);
        }
        self
    }
}

/// Compiles both worlds into one ruleset.
pub fn compile(worlds: &Worlds, options: &Options) -> Compiled {
    compile_from(None, worlds, options)
}

/// Compiles both worlds into the ruleset that [`compile`] makes of them, which shares with a previous one what is the same
/// in both: the chain of a policy that is the very same, and all else that is equal. `previous` is what was compiled, and
/// from which worlds.
pub fn compile_from(previous: Option<(&Worlds, &Compiled)>, worlds: &Worlds, options: &Options) -> Compiled {
    let setting = Setting::new(worlds, options);
    let previous = previous.and_then(|previous| Previous::new(previous, worlds, &setting));
    let compiled = previous.map(|previous| with(Some(&previous), worlds, options, setting.clone()));
    match compiled {
        // What sets are called then depends on the order in which they are met.
        Some(compiled) if !compiled.kept.setting.has_clash => compiled,
        _ => with(None, worlds, options, setting),
    }
}

fn with<'a>(
    previous: Option<&Previous<'a>>,
    worlds: &'a Worlds,
    options: &'a Options,
    mut setting: Setting,
) -> Compiled {
    let earlier = previous.map(|previous| previous.compiled.kept.uses.clone());
    let mut compiler = Compiler {
        worlds,
        options,
        names: CounterNames::new(worlds),
        nets: worlds.pending.safety_nets().collect(),
        rivals: Rivals::default(),
        sets: SetInterner::beside(earlier.unwrap_or_default()),
        memory: Memory {
            previous: previous.map(|previous| &previous.compiled.kept.memo),
            next: Memo::default(),
        },
        counted: BTreeMap::new(),
        maps: BTreeMap::new(),
    };
    let mut exchange = Exchange::default();
    let needed = Direction::BOTH.map(|direction| compiler.needed(direction));
    let is_previewed = |needed: &Needed| !needed.policies[WorldKind::Pending as usize].is_empty();
    if needed.iter().any(is_previewed) {
        compiler.rivals = Rivals::new(worlds);
    }
    let parts = WorldKind::BOTH.map(|world| {
        Direction::BOTH.map(|direction| {
            let policies = &needed[direction as usize].policies[world as usize];
            compiler.parts(world, direction, policies, previous, &mut exchange)
        })
    });
    let mut chains: Vec<Slot> = BASES
        .iter()
        .filter_map(|base| compiler.base_chain(base))
        .map(|chain| Slot::Other(Arc::new(chain)))
        .collect();
    for direction in Direction::BOTH {
        chains.extend(compiler.chains(direction).into_iter().map(Slot::Other));
        for world in [WorldKind::Pending, WorldKind::Enforced] {
            let parts = &parts[world as usize][direction as usize];
            chains.extend(
                parts
                    .iter()
                    .filter_map(|part| part.chain.clone())
                    .map(Slot::Policy),
            );
            for &profile in &needed[direction as usize].profiles[world as usize] {
                let profile = &worlds.profiles[profile];
                let chain = compiler.profile_chain(world, direction, profile);
                chains.push(Slot::Other(Arc::new(chain)));
            }
        }
    }
    let rejects = options.deny == DenyAction::Reject
        && (parts
            .iter()
            .flatten()
            .flat_map(|parts| parts.iter())
            .any(|part| part.rejects)
            || chains
                .iter()
                .any(|slot| matches!(slot, Slot::Other(chain) if has_reject(chain))));
    if rejects {
        chains.push(Slot::Other(Arc::new(reject_chain())));
    }
    let mut others = Others::of(previous);
    let mut compiled = Compiled::default();
    let mut flows = Vec::new();
    compiled.ruleset.chains = chains
        .into_iter()
        .enumerate()
        .map(|(place, slot)| match slot {
            Slot::Policy(chain) => chain,
            Slot::Other(chain) if others.keep(&chain) => chain,
            Slot::Other(chain) => {
                // Such a chain is made each time.
                if endpoint::copies_flows(&chain) {
                    flows.push([place, others.place()]);
                }
                others.share(chain)
            }
        })
        .collect();
    compiled.ruleset.maps = compiler.maps;
    setting.has_clash = compiler.sets.has_clash;
    compiled.kept = Kept {
        setting,
        parts,
        others: others.finish(&mut exchange),
        flows: flows.into(),
        others_count: Arc::new(compiler.counted),
        uses: SharedMap::default(),
        memo: compiler.memory.next,
    };
    exchange.apply(worlds, previous, compiler.sets, &mut compiled);
    compiled
}

/// A chain in its place.
enum Slot {
    Policy(Arc<Chain>),
    Other(Arc<Chain>),
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
    /// The safety nets of the pending world.
    nets: Vec<&'a PlacedPolicy>,
    rivals: Rivals,
    sets: SetInterner,
    /// The indexed tiers of the previous generation and of this one.
    memory: Memory<'a>,
    counted: BTreeMap<Name, Counted>,
    maps: BTreeMap<Name, Arc<VerdictMap>>,
}

impl Compiler<'_> {
    /// The chains of policies of one world and direction: those that are as they were are taken over.
    fn parts(
        &mut self,
        world: WorldKind,
        direction: Direction,
        policies: &[u32],
        previous: Option<&Previous<'_>>,
        exchange: &mut Exchange,
    ) -> Arc<[Arc<Part>]> {
        let worlds = self.worlds;
        let had = previous.map(|previous| {
            let parts = &previous.compiled.kept.parts[world as usize][direction as usize];
            Arc::clone(parts)
        });
        let mut walk = Walk::new(had.as_deref().unwrap_or_default());
        let mut gone = Vec::new();
        let mut parts = Vec::with_capacity(policies.len());
        for index in policies.iter().map(|&index| index as usize) {
            let placed = &worlds.world(world).policies[index];
            let rival = match world {
                WorldKind::Enforced => None,
                WorldKind::Pending => self.rivals.of(worlds, placed.source, &placed.id),
            };
            let part = walk.find(&placed.policy, &mut gone);
            if let (Some(part), Some(previous)) = (part, previous)
                && previous.still_holds(part, &placed.policy, rival)
            {
                parts.push(Arc::clone(part));
                continue;
            }
            gone.extend(part);
            let chain = self.policy_chain(world, direction, index, rival.map(Arc::as_ref));
            let chain = chain.map(Arc::new);
            let counted = std::mem::take(&mut self.counted);
            let counters = counted.keys().cloned().collect();
            exchange.counted.extend(counted);
            exchange.come.extend(chain.clone());
            let part = Part::new(&placed.policy, rival, direction, chain, counters);
            parts.push(Arc::new(part));
        }
        gone.extend(walk.rest());
        for part in gone {
            exchange.gone.extend(part.chain.clone());
            exchange.uncounted.extend_from_slice(&part.counters);
        }
        parts.into()
    }

    /// The chains of endpoints and their failsafes in one direction, in order of evaluation.
    fn chains(&mut self, direction: Direction) -> Vec<Arc<Chain>> {
        let mut chains = Vec::new();
        let mut failsafes = Vec::new();
        for stage in Stage::ALL {
            for (id, endpoint, attachment) in self.worlds.local() {
                if !self.is_asked(id, endpoint, direction, stage) {
                    continue;
                }
                if endpoint.kind == EndpointKind::Host && stage != Stage::Forward {
                    failsafes.push(stage);
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
        all
    }

    /// Notes that a counter is used, and what for. Where both worlds use it, the enforced one cannot get there.
    fn count(&mut self, name: Name, counted: Counted) -> Name {
        let shared =
            |other: &Counted| other.world == WorldKind::Pending && counted.world == WorldKind::Enforced;
        if self.counted.get(&name).is_some_and(shared) {
            return name;
        }
        self.counted.insert(name.clone(), counted);
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
                .nets
                .iter()
                .filter(|policy| stage.asks(policy.stage))
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
