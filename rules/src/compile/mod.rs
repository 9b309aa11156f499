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

mod endpoint;
mod names;
mod policy;
mod sets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::net::{Direction, Protocol};
use crate::resource::{Action, TierAction};
use crate::ruleset::{Chain, Comment, CtState, Hook, HookPoint, Match, Name, Op, Rule, Ruleset, Statement};
use crate::world::{World, WorldKind, WorldPolicy, Worlds};

use endpoint::EndpointCompiler;
use names::CounterNames;
use sets::SetInterner;

/// Set by a preview chain once the pending world has decided about the packet.
pub const MARK_DECIDED: u32 = 0x1000_0000;

/// Set by a Pass rule until the rest of its tier is skipped.
pub const MARK_PASS: u32 = 0x2000_0000;

/// All the bits of the packet mark that palisade uses, and only while a packet is in its own chains.
pub const MARK_MASK: u32 = MARK_DECIDED | MARK_PASS;

/// The chain that answers denied packets. No other chain is called so: theirs have a slash, or are base chains.
const REJECT_CHAIN: &str = "reject";

/// Where palisade's base chains hang: `filter`, after conntrack and NAT.
const PRIORITY: i32 = 0;

/// What the compiler needs besides the worlds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What a denied packet gets.
    pub deny: DenyAction,
    /// Where the first packet of each connection is copied to; `None` for no flow records.
    pub flow_log: Option<FlowLog>,
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
    pub counters: BTreeMap<Name, Counted>,
}

/// What a counter counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The world that decided; failsafes and invalid packets count as enforced.
    pub world: WorldKind,
    /// The direction.
    pub direction: Direction,
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
    /// A profile; `None` where no profile allows.
    Profile(Option<String>),
}

/// Compiles both worlds into one ruleset.
pub fn compile(worlds: &Worlds, options: &Options) -> Compiled {
    let mut compiler = Compiler {
        worlds,
        options,
        names: CounterNames::new(worlds),
        sets: SetInterner::default(),
        compiled: Compiled::default(),
    };
    let mut base_chains = Vec::new();
    let mut chains = Vec::new();
    for direction in Direction::BOTH {
        base_chains.push(compiler.base_chain(direction));
        chains.extend(compiler.chains(direction));
    }
    let rejects = Statement::Goto(Name::new(REJECT_CHAIN));
    let mut rules = chains.iter().flat_map(|chain| &chain.rules);
    if rules.any(|rule| rule.statements.contains(&rejects)) {
        chains.push(reject_chain());
    }
    let Compiler {
        sets, mut compiled, ..
    } = compiler;
    compiled.ruleset.chains = base_chains.into_iter().chain(chains).collect();
    compiled.ruleset.sets = sets.into_sets();
    compiled
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
        ruleset.chains.push(Chain {
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
            ..empty_base_chain(direction)
        });
    }
    ruleset
}

struct Compiler<'a> {
    worlds: &'a Worlds,
    options: &'a Options,
    names: CounterNames,
    sets: SetInterner,
    compiled: Compiled,
}

impl Compiler<'_> {
    /// The base chain of one direction: what never meets a policy, then a way to each endpoint.
    fn base_chain(&self, direction: Direction) -> Chain {
        let interface = |name: &str| match direction {
            Direction::Ingress => Match::InputInterface(Op::Is, name.to_owned()),
            Direction::Egress => Match::OutputInterface(Op::Is, name.to_owned()),
        };
        let mut rules = Vec::new();
        if !self.worlds.host.filter_loopback {
            rules.push(Rule {
                matches: vec![interface("lo")],
                statements: vec![Statement::Accept],
                comment: Comment::new("loopback is exempt"),
            });
        }
        rules.push(established());
        let mut rest = None;
        for (_, endpoint, attachment) in self.worlds.local() {
            let comment = Comment::new(&format!("HostEndpoint {}", endpoint.name));
            for place in endpoint::places(attachment) {
                let goto = Statement::Goto(endpoint::chain_name(direction, place));
                match place {
                    Some(name) => rules.push(Rule {
                        matches: vec![interface(name)],
                        statements: vec![goto],
                        comment: comment.clone(),
                    }),
                    None => {
                        rest = Some(Rule {
                            statements: vec![goto],
                            comment: comment.clone(),
                            ..Rule::default()
                        });
                    }
                }
            }
        }
        rules.extend(rest);
        Chain {
            rules,
            ..empty_base_chain(direction)
        }
    }

    /// Every other chain of one direction, in order of evaluation.
    fn chains(&mut self, direction: Direction) -> Vec<Chain> {
        let mut endpoint_chains = Vec::new();
        let mut needed = [const { Vec::new() }; 2];
        for (id, endpoint, attachment) in self.worlds.local() {
            for world in WorldKind::BOTH {
                if world == WorldKind::Enforced || self.worlds.differs(id, direction) {
                    let policies = self.worlds.world(world).by_endpoint[id.0].iter();
                    needed[world as usize].extend(policies.copied());
                }
            }
            for place in endpoint::places(attachment) {
                endpoint_chains.extend(
                    EndpointCompiler {
                        compiler: self,
                        id,
                        endpoint,
                        direction,
                        place,
                    }
                    .chains(),
                );
            }
        }
        if endpoint_chains.is_empty() {
            return Vec::new();
        }
        let mut chains = vec![];
        chains.extend(self.failsafe_chain(direction));
        chains.extend(endpoint_chains);
        for world in [WorldKind::Pending, WorldKind::Enforced] {
            let policies = &mut needed[world as usize];
            policies.sort_unstable();
            policies.dedup();
            chains.extend(
                policies
                    .iter()
                    .filter_map(|&index| self.policy_chain(world, direction, index)),
            );
        }
        chains
    }

    /// The failsafes of one direction, or `None` if there are none.
    fn failsafe_chain(&mut self, direction: Direction) -> Option<Chain> {
        let failsafes = &self.worlds.host.failsafes;
        let mut chain = Chain {
            name: failsafe_chain_name(direction),
            hook: None,
            comment: Comment::new("what stays open whatever the policies say"),
            rules: Vec::new(),
        };
        for failsafe in failsafes.ports(direction) {
            let text = failsafe.to_string();
            let counter = self.failsafe_counter(direction, &text);
            chain.rules.push(Rule {
                matches: policy::failsafe_matches(failsafe, direction),
                statements: vec![Statement::Counter(counter), Statement::Accept],
                comment: Comment::new(&format!("failsafe {text}")),
            });
        }
        let types = failsafes.icmpv6_types(direction);
        if !types.is_empty() {
            let counter = self.failsafe_counter(direction, "icmpv6");
            chain.rules.extend(types.iter().map(|&(first, last)| Rule {
                matches: policy::icmpv6_matches(first, last),
                statements: vec![Statement::Counter(counter.clone()), Statement::Accept],
                comment: Comment::new("failsafe icmpv6: neighbour discovery, routers, multicast listeners"),
            }));
        }
        (!chain.rules.is_empty()).then_some(chain)
    }

    fn failsafe_counter(&mut self, direction: Direction, text: &str) -> Name {
        let counted = Counted {
            world: WorldKind::Enforced,
            direction,
            by: CountedBy::Failsafe(text.to_owned()),
            action: Action::Allow,
            without_safety_net: false,
        };
        self.count(names::failsafe_counter(direction, text), counted)
    }

    /// Notes that a counter is used, and what for. Where both worlds use it, the enforced one cannot get there.
    fn count(&mut self, name: Name, counted: Counted) -> Name {
        let shared =
            |other: &Counted| other.world == WorldKind::Pending && counted.world == WorldKind::Enforced;
        if self.compiled.counters.get(&name).is_some_and(shared) {
            return name;
        }
        self.compiled
            .ruleset
            .counters
            .entry(name.clone())
            .or_insert_with(|| Comment::new(&counted.describe()));
        self.compiled.counters.insert(name.clone(), counted);
        name
    }

    /// Whether a safety net that is `before` the place in question may have caught a packet that gets there: in the
    /// preview a net only counts. It selects every endpoint, so this holds for all or none.
    fn may_be_caught(
        &self,
        world: WorldKind,
        direction: Direction,
        before: impl Fn(&WorldPolicy) -> bool,
    ) -> bool {
        world == WorldKind::Pending
            && self
                .worlds
                .pending
                .policies
                .iter()
                .any(|policy| policy.safety_net && policy.rules(direction).is_some() && before(policy))
    }

    /// What ends a denied packet.
    fn deny(&self) -> Statement {
        match self.options.deny {
            DenyAction::Drop => Statement::Drop,
            DenyAction::Reject => Statement::Goto(Name::new(REJECT_CHAIN)),
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
            CountedBy::Profile(Some(profile)) => format!("profile {profile}"),
            CountedBy::Profile(None) => "no profile allows it".to_owned(),
        };
        format!("{direction}: {what}")
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

fn failsafe_chain_name(direction: Direction) -> Name {
    Name::new(&format!("failsafe/{}", short(direction)))
}

fn empty_base_chain(direction: Direction) -> Chain {
    let (name, point) = match direction {
        Direction::Ingress => ("input", HookPoint::Input),
        Direction::Egress => ("output", HookPoint::Output),
    };
    Chain {
        name: Name::new(name),
        hook: Some(Hook {
            point,
            priority: PRIORITY,
        }),
        comment: Comment::default(),
        rules: Vec::new(),
    }
}

fn established() -> Rule {
    Rule {
        matches: vec![Match::CtState(&[CtState::Established, CtState::Related])],
        statements: vec![Statement::Accept],
        comment: Comment::new("connections that policy has let in already"),
    }
}
