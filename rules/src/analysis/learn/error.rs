//! Why there is no proposal.

use crate::net::Direction;

/// Why nothing can be proposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LearnError {
    /// Several endpoints, or none, could be meant.
    #[error("{}", which(.hosts))]
    Which {
        /// The host endpoints of this host.
        hosts: Vec<String>,
    },
    /// There is no such local endpoint.
    #[error("{name:?} is no endpoint of this host (there {})", are(.local))]
    UnknownEndpoint {
        /// The name as it was given.
        name: String,
        /// The endpoints of this host.
        local: Vec<String>,
    },
    /// The name stands for several local endpoints.
    #[error("{name:?} may be {}: say which with the kind or the namespace, as in {:?}", .meant.join(" or "), .meant[0])]
    Ambiguous {
        /// The name as it was given.
        name: String,
        /// Those it may be, as they can be told apart.
        meant: Vec<String>,
    },
    /// The selector selects nothing on this host.
    #[error("the selector {selector} selects no endpoint of this host, where nothing else is observed (there {})", are(.local))]
    SelectsNothing {
        /// The selector.
        selector: String,
        /// The endpoints of this host.
        local: Vec<String>,
    },
    /// There is no such tier.
    #[error("there is no tier {name:?} (there {})", are(.known))]
    UnknownTier {
        /// The name.
        name: String,
        /// The tiers there are.
        known: Vec<String>,
    },
    /// The name is taken by something that cannot be completed.
    #[error("{what} {name} exists already ({position}): {help}")]
    Taken {
        /// The kind as written.
        what: String,
        /// The name.
        name: String,
        /// Where.
        position: String,
        /// What to do.
        help: &'static str,
    },
    /// What the existing policy says was asked for again.
    #[error(
        "{name} is staged already ({position}) and keeps its selector, types, tier and order: leave {option} out, or change it there"
    )]
    Fixed {
        /// The policy.
        name: String,
        /// Where.
        position: String,
        /// What was given.
        option: &'static str,
    },
    /// Nothing was observed that the policy would govern.
    #[error("nothing was observed at {} that a policy could be learnt from{}", .at.join(", "), because(.left_out))]
    NothingObserved {
        /// The endpoints.
        at: Vec<String>,
        /// What was observed and left out, and why.
        left_out: Vec<String>,
    },
    /// It takes more rules than there may be.
    #[error(
        "what was seen takes {least} rules at least, and {most} are allowed: raise --max-rules, learn one direction at a time, or a shorter time"
    )]
    TooManyRules {
        /// As few as they can be made.
        least: usize,
        /// The limit.
        most: usize,
    },
    /// A connection that was observed would be denied all the same.
    #[error(
        "{flow} was observed ({connections} first packets) and {by} denies it in the pending world{more}: {help}"
    )]
    StillDenied {
        /// The direction.
        direction: Direction,
        /// The connection, in words.
        flow: String,
        /// How often it was seen.
        connections: u64,
        /// What denies it, and where that is written.
        by: String,
        /// How many others are denied, in words; empty if none.
        more: String,
        /// What to do.
        help: String,
    },
    /// The policy cannot be written.
    #[error("the proposed policy is not valid:\n{0}")]
    Invalid(String),
}

fn which(hosts: &[String]) -> String {
    if hosts.is_empty() {
        "this host has no host endpoint: say for whom with --endpoint or --selector (offline, --node says which host this is)"
            .to_owned()
    } else {
        format!(
            "this host has several host endpoints ({}): say for which with --endpoint or --selector",
            hosts.join(", ")
        )
    }
}

fn are(known: &[String]) -> String {
    if known.is_empty() {
        "are none".to_owned()
    } else {
        format!("are {}", known.join(", "))
    }
}

fn because(left_out: &[String]) -> String {
    if left_out.is_empty() {
        String::new()
    } else {
        format!(": {}", left_out.join("; "))
    }
}
