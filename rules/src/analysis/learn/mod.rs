//! From what was observed to a policy that allows it: `palisade learn`.
//!
//! ```text
//! observations ─▶ frame (for whom, where) ─▶ scope (which need a rule) ─▶ groups (same ports, same peers)
//!              ─▶ drafts (names before addresses, addresses to networks) ─▶ rules ─▶ text ─▶ proof
//! ```
//!
//! Nothing is taken on trust at the end: the text is read again and must be the policy that was meant, and every
//! observed connection is decided by the pending world with the proposal in it, the safety net absent. If one of them
//! is denied, there is no proposal but the reason.

mod draft;
mod error;
mod evidence;
mod frame;
mod group;
mod nets;
mod pick;
mod ports;
mod proof;
mod scope;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use ipnet::IpNet;

pub use error::LearnError;
pub use nets::Size;

use crate::evaluate::{Packet, Part};
use crate::net::Direction;
use crate::resource::{Policy, Rule};
use crate::selector::Selector;
use crate::snapshot::Snapshot;
use crate::source::Position;
use crate::world::{EndpointId, Worlds};

/// Connections that were observed, and that policy does not tell apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The local endpoint that they were seen at.
    pub endpoint: EndpointId,
    /// Seen from it.
    pub direction: Direction,
    /// Whether they are the endpoint's own, or only went through its host.
    pub part: Part,
    /// Their first packet; the source port does not matter.
    pub packet: Packet,
    /// How many: first packets.
    pub connections: u64,
    /// Whether some of them may have had other addresses, which were not kept apart: any that nothing names, or, where the
    /// address is of a network set, any of that set.
    pub stands_for_others: bool,
    /// When the first was seen: any text that sorts as time does.
    pub first_seen: String,
    /// When the last was seen.
    pub last_seen: String,
    /// Who held the sockets of this host's end, such as `nginx[812] (nginx.service)`.
    pub owners: Vec<String>,
}

/// What is to be learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The name of the policy. One that is staged by this name is completed.
    pub name: String,
    /// For whom.
    pub subject: Subject,
    /// Which directions it is to govern.
    pub directions: Directions,
    /// Its tier; `default` if not given.
    pub tier: Option<String>,
    /// Its order; [`DEFAULT_ORDER`] if not given.
    pub order: Option<f64>,
    /// Whether it is for what goes through the host as well.
    pub forward: bool,
    /// Whether connections are learnt that are denied now.
    pub include_denied: bool,
    /// Far ends that nothing is learnt from.
    pub exclude: Vec<IpNet>,
    /// How large it may become.
    pub limits: Limits,
    /// What there is to say about the observations, for the head of the text.
    pub notes: Vec<String>,
}

/// For whom a policy is learnt.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// The policy that is staged by the name, and where there is none the only local host endpoint.
    Usual,
    /// The local endpoint of this name: `name`, `namespace/name` or `kind:name`.
    Endpoint(String),
    /// What this selects.
    Selector(Selector),
}

/// Which directions a policy is to govern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directions {
    /// Those in which something was observed: of the others nothing is known.
    Observed,
    /// Only this one.
    Only(Direction),
    /// Both, whether or not anything was observed.
    Both,
}

impl Directions {
    fn wants(self, direction: Direction) -> bool {
        match self {
            Directions::Only(only) => only == direction,
            Directions::Observed | Directions::Both => true,
        }
    }
}

/// How large a proposal may become before it says less exactly what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Learnt rules, of both directions together.
    pub rules: usize,
    /// Networks in one rule, at most [`Limits::MOST_NETS`].
    pub nets: usize,
}

impl Limits {
    /// The most networks that one side of a rule can have.
    pub const MOST_NETS: usize = 256;
    /// The most rules that one direction of a policy can have.
    pub const MOST_RULES: usize = 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Limits { rules: 64, nets: 16 }
    }
}

/// The order of a learnt policy for which none is asked.
pub const DEFAULT_ORDER: f64 = 1_000.0;

/// A policy that allows what was observed, and the proof that it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The policy, staged.
    pub policy: Policy,
    /// The same as a document, annotated.
    pub text: String,
    /// The learnt rules.
    pub rules: Vec<Learnt>,
    /// Where the policy is written that it comes in place of.
    pub replaces: Option<Position>,
    /// Observations that were decided again; the pending world with the proposal in it denies none of them, without
    /// the safety net either.
    pub replayed: usize,
    /// The connections of those.
    pub connections: u64,
    /// What to think about before it is staged.
    pub warnings: Vec<String>,
}

/// A learnt rule, and what it stands on.
#[derive(Clone, Debug, PartialEq)]
pub struct Learnt {
    /// Which of the policy's rules.
    pub direction: Direction,
    /// Its index among those of its direction.
    pub index: usize,
    /// The rule.
    pub rule: Rule,
    /// The connections it was learnt from.
    pub connections: u64,
    /// Distinct far addresses that were seen.
    pub peers_seen: usize,
    /// The networks it lets in or out: what its selector or its nets stand for now; `None` is any address.
    pub peers_allowed: Option<Vec<IpNet>>,
    /// Whether some peer of it was not seen at some port of it.
    pub mixed: bool,
}

/// Learns a policy.
///
/// The same observations in the same order give the same proposal, byte for byte.
///
/// # Errors
/// If nothing was observed, if it is not clear for whom, if the name is taken, and if a connection would be denied all the
/// same.
pub fn learn(
    snapshot: &Snapshot,
    worlds: &Worlds,
    question: &Question,
    observed: &[Observed],
) -> Result<Proposal, LearnError> {
    let mut frame = frame::frame(snapshot, worlds, question)?;
    let scope = scope::scope(snapshot, worlds, question, &mut frame, observed)?;
    let groups = group::groups(worlds, &scope.needs);
    let drafts = draft::drafts(worlds, groups.groups, question.limits, &frame.policy)?;
    let mut warnings = scope.warnings(worlds);
    warnings.extend(groups.warnings);
    let completed = frame.completed(&drafts);
    let proven = proof::replay(snapshot, worlds, &completed.policy, &scope.replayed)?;
    let rules = evidence::learnt(&proven, &completed, &drafts);
    warnings.extend(drafts.iter().flat_map(|draft| draft.warnings.clone()));
    warnings.dedup();
    let comments: BTreeMap<_, _> = drafts
        .iter()
        .zip(&rules)
        .map(|(draft, learnt)| {
            let lines = evidence::lines(&proven, &completed, draft, learnt);
            ((learnt.direction, learnt.index), lines)
        })
        .collect();
    let head = text::head(worlds, question, &frame, &scope, &warnings);
    let text = text::annotated(&completed.policy, &head, &comments);
    proof::reads_as(snapshot, &completed.policy, &text)?;
    Ok(Proposal {
        policy: completed.policy,
        text,
        rules,
        replaces: frame.replaces,
        replayed: scope.replayed.len(),
        connections: scope.replayed.iter().map(|observed| observed.connections).sum(),
        warnings,
    })
}
