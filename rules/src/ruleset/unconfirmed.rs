//! An unconfirmed generation beside the previous one, in one ruleset: the kernel itself goes back when the time is over.
//!
//! Both generations stand in the table. A base chain of which they think differently begins with the question which of
//! them a packet meets:
//!
//! ```text
//! set unconfirmed { type nf_proto; flags timeout; elements = { ipv4 timeout 1m, ipv6 timeout 1m } }
//! chain input {
//!     meta nfproto != @unconfirmed goto previous/input
//!     ...the rules of the candidate
//! }
//! ```
//!
//! The set loses its elements when the window ends. From then on every packet meets the previous generation, whether or
//! not anybody is left to do something about it.
//!
//! What both generations have is there once, and what stands in the kernel already keeps its name, so that little changes
//! when the candidate comes, and little when it goes.

mod shared;
#[cfg(test)]
mod tests;
mod twins;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Comment, Elements, MIN_TIMEOUT, Match, Name, Op, Rule, Ruleset, Set, Statement};
use crate::net::Family;
use shared::Shared;

/// The set that holds the families of packets which the candidate governs, until the window ends. No other set is called
/// so: the compiler's have a slash.
pub const SET: &str = "unconfirmed";

/// What the names of chains and sets of the previous generation begin with, where the candidate has others of their name.
const PREVIOUS: &str = "previous";

/// How long an unconfirmed generation is in force, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How long, from the moment when the kernel gets it; at least [`MIN_TIMEOUT`]. For a generation that is in force
    /// already it is what is left: a set that the kernel still has keeps its own time.
    pub window: Duration,
    /// Which share of new connections it governs, for a canary; `None` for all. The replies to packets that conntrack
    /// never sees are connections of their own here.
    pub share: Option<Percent>,
}

/// A share of connections in percent: 1 to 99.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percent(u8);

/// What is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no share of connections: give a whole number of percent from 1 to 99")]
pub struct PercentError(String);

impl Percent {
    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Percent {
    type Error = PercentError;

    fn try_from(number: u8) -> Result<Self, PercentError> {
        match number {
            1..=99 => Ok(Percent(number)),
            _ => Err(PercentError(number.to_string())),
        }
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> u8 {
        percent.0
    }
}

impl FromStr for Percent {
    type Err = PercentError;

    /// A number, with or without a percent sign.
    fn from_str(text: &str) -> Result<Self, PercentError> {
        let digits = text.strip_suffix('%').unwrap_or(text);
        let number = digits.parse::<u8>().ok();
        number
            .and_then(|number| Percent::try_from(number).ok())
            .ok_or_else(|| PercentError(text.to_owned()))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// One ruleset of two: the candidate governs what the terms say, and the previous one all else.
///
/// `numbers` are those of the candidate and of the previous generation. With the share they are what the set `unconfirmed`
/// is known by: as long as they stay the same, a set that the kernel has already is left as it is, elapsed time and all;
/// others make it anew. So whoever computes either half anew within the window gives the numbers that the window began
/// with.
///
/// Counters go by name: what both count, they count together.
pub fn beside(candidate: &Ruleset, previous: &Ruleset, terms: &Terms, numbers: (u64, u64)) -> Ruleset {
    let shared = Shared::new(candidate, previous);
    let doors = Doors {
        share: terms.share,
        numbers,
    };
    let mut ruleset = Ruleset {
        counters: previous.counters.with(&candidate.counters),
        sets: shared.sets(),
        maps: shared.maps(),
        chains: shared.base_chains(&doors),
    };
    ruleset
        .sets
        .insert(Name::new(SET), Arc::new(doors.set(terms.window)));
    ruleset.chains.extend(shared.plain_chains());
    ruleset
}

/// The candidate alone, with the names that it has beside the previous generation.
///
/// It is what the candidate itself is, and little changes in the kernel when it comes: no policy moves. So it is what to
/// put there on confirmation, before the time runs out. The candidate with its own names may follow at leisure.
pub fn confirmed(candidate: &Ruleset, previous: &Ruleset) -> Ruleset {
    Shared::new(candidate, previous).candidate_alone()
}

/// What stands at the head of base chains.
struct Doors {
    share: Option<Percent>,
    /// Of the candidate and of the previous generation.
    numbers: (u64, u64),
}

impl Doors {
    /// The set that is filled for the length of the window.
    fn set(&self, window: Duration) -> Set {
        let (candidate, previous) = self.numbers;
        Set {
            elements: Elements::Families(Family::BOTH.to_vec(), window.max(MIN_TIMEOUT)),
            comment: Comment::new(&match self.share {
                None => format!(
                    "generation {candidate}, not confirmed: once this set is empty, generation {previous} is in force"
                ),
                Some(share) => format!(
                    "canary, no security state: generation {candidate} for {share}, until this set is empty"
                ),
            }),
        }
    }

    /// The rules that lead whoever the candidate does not govern out of a base chain.
    fn rules(&self, way_out: &Statement) -> Vec<Rule> {
        let (candidate, previous) = self.numbers;
        let rule = |matches, comment: &str| Rule {
            matches,
            statements: vec![way_out.clone()],
            comment: Comment::new(comment),
        };
        let after = format!("generation {candidate} was not confirmed: generation {previous}");
        let mut rules = vec![rule(
            vec![Match::FamilySet(Op::IsNot, Name::new(SET))],
            match self.share {
                None => &after,
                Some(_) => "the canary is over",
            },
        )];
        rules.extend(self.share.into_iter().flat_map(|share| {
            Family::BOTH.map(|family| {
                rule(
                    vec![Match::Family(family), Match::OutsideShare(family, share.get())],
                    &format!("canary, no security state: generation {candidate} governs {share} only"),
                )
            })
        }));
        rules
    }
}
