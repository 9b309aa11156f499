//! What a counter counts, for whoever reads it.

use std::sync::Arc;

use crate::net::Direction;
use crate::resource::{Action, DEFAULT_ALLOW_PROFILE};
use crate::ruleset::Comment;
use crate::world::{PolicyRef, Stage, WorldKind};

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
        /// Its policy.
        policy: Arc<PolicyRef>,
        /// The index of the rule as written.
        rule_index: usize,
        /// The rule's name.
        rule_name: Option<String>,
        /// What the rule says, in one line.
        text: Arc<str>,
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
        text: Arc<str>,
    },
    /// No rule anywhere.
    NoProfile,
}

impl Counted {
    /// The counter in words: the comment it has in the kernel. That cannot change as long as the counter lives, so it
    /// says nothing that another place in order, or another default action, would make untrue.
    pub(super) fn comment(&self) -> Comment {
        let direction = self.direction;
        let what = match &self.by {
            CountedBy::Invalid => "packets that belong to no connection".to_owned(),
            CountedBy::Failsafe(text) => format!("failsafe {text}"),
            CountedBy::Rule {
                policy,
                rule_name: Some(rule_name),
                ..
            } => format!("{}, rule {rule_name}", policy.name),
            CountedBy::Rule { policy, text, .. } => format!("{}, {text}", policy.name),
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
        Comment::new(&format!("{direction}{forwarded}: {what}"))
    }
}
