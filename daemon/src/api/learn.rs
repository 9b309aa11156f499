//! What `POST /v1/learn` is asked, and what it says.

use std::net::IpAddr;

use ipnet::IpNet;
use palisade_rules::analysis::learn::{Directions, LearnError, Limits, Proposal, Question, Subject};
use palisade_rules::net::Direction;
use palisade_rules::selector::Selector;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::exit::Exit;

/// `POST /v1/learn`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearnRequest {
    /// The name of the policy.
    pub name: String,
    /// The local endpoint it is for.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Or the selector of the endpoints it is for.
    #[serde(default)]
    pub selector: Option<String>,
    /// `ingress`, `egress` or `both`; those that were observed if not given.
    #[serde(default)]
    pub direction: Option<String>,
    /// Only what was seen in so many seconds.
    #[serde(default)]
    pub since_seconds: Option<u64>,
    /// Its tier.
    #[serde(default)]
    pub tier: Option<String>,
    /// Its order.
    #[serde(default)]
    pub order: Option<f64>,
    /// Whether it is for what goes through the host as well.
    #[serde(default)]
    pub forward: bool,
    /// Whether it is learnt too what is denied now.
    #[serde(default)]
    pub include_denied: bool,
    /// Far ends that nothing is learnt from: addresses or networks.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The most rules.
    #[serde(default)]
    pub max_rules: Option<usize>,
    /// The most networks in a rule.
    #[serde(default)]
    pub max_nets: Option<usize>,
}

/// Why a request is no question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The selector cannot be read.
    #[error("the selector {text:?} is not valid: {message}")]
    Selector {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        message: String,
    },
    /// No direction is called so.
    #[error("{0:?} is no direction: ingress, egress or both")]
    Direction(String),
    /// This is neither an address nor a network.
    #[error("{0:?} is neither an address nor a network such as 192.0.2.0/24")]
    Net(String),
}

/// A proposal, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnAnswer {
    /// The proposal.
    pub proposal: Option<ProposalReport>,
    /// Why there is none.
    pub error: Option<String>,
    /// How the command ends.
    pub exit: u8,
}

/// A proposed policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProposalReport {
    /// Its name.
    pub name: String,
    /// The policy as YAML, with its evidence in comments.
    pub text: String,
    /// Its learnt rules.
    pub rules: Vec<LearntReport>,
    /// Where the policy is written that it comes in place of.
    pub replaces: Option<String>,
    /// Flows that were decided again, of which it denies none.
    pub replayed: usize,
    /// Connections of those.
    pub connections: u64,
    /// What to think about before it is staged.
    pub warnings: Vec<String>,
}

/// A learnt rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearntReport {
    /// `ingress` or `egress`.
    pub direction: String,
    /// Its index among the rules of its direction.
    pub index: usize,
    /// Its name.
    pub name: Option<String>,
    /// The connections it was learnt from.
    pub connections: u64,
    /// Distinct far addresses that were seen.
    pub peers_seen: usize,
    /// The networks it allows; `null` is any address.
    pub peers_allowed: Option<Vec<String>>,
    /// Whether some peer of it was not seen at some port of it.
    pub mixed: bool,
}

impl LearnRequest {
    /// Since when connections are asked for; `None` is all of them, also where it is longer ago than there is time.
    pub fn since(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let ago = Duration::try_from(std::time::Duration::from_secs(self.since_seconds?)).ok()?;
        now.checked_sub(ago)
    }

    /// The question, with what there is to say about the observations.
    ///
    /// # Errors
    /// If a part of it cannot be read.
    pub fn question(&self, notes: Vec<String>) -> Result<Question, RequestError> {
        let limits = Limits::default();
        Ok(Question {
            name: self.name.clone(),
            subject: match (&self.endpoint, &self.selector) {
                (Some(endpoint), _) => Subject::Endpoint(endpoint.clone()),
                (None, Some(text)) => Subject::Selector(selector(text)?),
                (None, None) => Subject::Usual,
            },
            directions: match self.direction.as_deref() {
                None => Directions::Observed,
                Some("both") => Directions::Both,
                Some("ingress") => Directions::Only(Direction::Ingress),
                Some("egress") => Directions::Only(Direction::Egress),
                Some(other) => return Err(RequestError::Direction(other.to_owned())),
            },
            tier: self.tier.clone(),
            order: self.order,
            forward: self.forward,
            include_denied: self.include_denied,
            exclude: self
                .exclude
                .iter()
                .map(|text| net(text))
                .collect::<Result<_, _>>()?,
            limits: Limits {
                rules: self.max_rules.unwrap_or(limits.rules),
                nets: self.max_nets.unwrap_or(limits.nets),
            },
            notes,
        })
    }
}

fn selector(text: &str) -> Result<Selector, RequestError> {
    Selector::parse(text).map_err(|error| RequestError::Selector {
        text: text.to_owned(),
        message: match error.help {
            Some(help) => format!("{}; {help}", error.message),
            None => error.message,
        },
    })
}

fn net(text: &str) -> Result<IpNet, RequestError> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse()
        .ok()
        .or_else(address)
        .ok_or_else(|| RequestError::Net(text.to_owned()))
}

impl LearnAnswer {
    /// The answer that something cannot be asked.
    pub fn refused(error: &dyn std::error::Error, exit: Exit) -> Self {
        LearnAnswer {
            proposal: None,
            error: Some(error.to_string()),
            exit: exit as u8,
        }
    }

    /// The answer that came of a question.
    pub fn of(result: Result<Proposal, LearnError>) -> Self {
        match result {
            Ok(proposal) => LearnAnswer {
                proposal: Some(proposal.into()),
                error: None,
                exit: Exit::Fine as u8,
            },
            Err(error) => {
                let exit = match error {
                    LearnError::NothingObserved { .. }
                    | LearnError::StillDenied { .. }
                    | LearnError::TooManyRules { .. } => Exit::Findings,
                    LearnError::Invalid(_) => Exit::Invalid,
                    _ => Exit::Usage,
                };
                LearnAnswer::refused(&error, exit)
            }
        }
    }
}

impl From<Proposal> for ProposalReport {
    fn from(proposal: Proposal) -> Self {
        let rules = proposal.rules.into_iter().map(|learnt| LearntReport {
            direction: learnt.direction.as_str().to_owned(),
            index: learnt.index,
            name: learnt.rule.name,
            connections: learnt.connections,
            peers_seen: learnt.peers_seen,
            peers_allowed: learnt
                .peers_allowed
                .map(|nets| nets.iter().map(ToString::to_string).collect()),
            mixed: learnt.mixed,
        });
        ProposalReport {
            rules: rules.collect(),
            name: proposal.policy.id.name,
            text: proposal.text,
            replaces: proposal.replaces.map(|position| position.to_string()),
            replayed: proposal.replayed,
            connections: proposal.connections,
            warnings: proposal.warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_ago_than_there_is_time_is_all() {
        let since = |since_seconds| {
            let request = LearnRequest {
                since_seconds,
                ..LearnRequest::default()
            };
            request
                .since(OffsetDateTime::UNIX_EPOCH)
                .map(OffsetDateTime::unix_timestamp)
        };
        assert_eq!(since(Some(60)), Some(-60));
        assert_eq!(since(None), None);
        for seconds in [u64::MAX, i64::MAX.unsigned_abs(), 400_000_000_000] {
            assert_eq!(since(Some(seconds)), None, "{seconds}");
        }
    }
}
