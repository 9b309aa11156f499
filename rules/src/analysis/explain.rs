//! `explain`: would this connection be allowed, in both worlds, and why.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Questions, StepReport};
use crate::net::Protocol;
use crate::world::Worlds;

/// A question: would a connection from here to there be allowed?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// An endpoint's name, `kind:name`, or an address.
    pub from: String,
    /// An endpoint's name, `kind:name`, or an address.
    pub to: String,
    /// The protocol, by number.
    pub protocol: Protocol,
    /// The destination port; must be there exactly if the protocol has ports.
    pub port: Option<u16>,
    /// The source port; an ephemeral one if not given.
    pub source_port: Option<u16>,
    /// The ICMP type; an echo request if not given.
    pub icmp_type: Option<u8>,
    /// The ICMP code; 0 if not given.
    #[serde(default)]
    pub icmp_code: Option<u8>,
}

/// The answer, in the shape of `explain -o json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// As asked.
    pub from: String,
    /// As asked.
    pub to: String,
    /// The protocol, in nftables' word.
    pub protocol: String,
    /// The destination port.
    pub port: Option<u16>,
    /// Staged objects absent.
    pub enforced: WorldAnswer,
    /// Staged objects applied.
    pub pending: WorldAnswer,
    /// What the answer rests on that was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The answer for one world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldAnswer {
    /// `allow` or `deny`.
    pub verdict: Cow<'static, str>,
    /// Why.
    pub steps: Vec<StepReport>,
    /// The same without the safety net; `None` where the net did not decide.
    pub without_safety_net: Option<Box<BareAnswer>>,
}

/// A verdict and its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BareAnswer {
    /// `allow` or `deny`.
    pub verdict: Cow<'static, str>,
    /// Why.
    pub steps: Vec<StepReport>,
}

/// Why a query has no single answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Neither an address nor an endpoint's name.
    #[error("{name:?} is neither an address nor the name of an endpoint; {known}")]
    Unknown {
        /// What was asked.
        name: String,
        /// Which endpoints there are.
        known: String,
    },
    /// Two endpoints claim the address.
    #[error("{address} belongs to {endpoints}: ask by name")]
    Ambiguous {
        /// The address.
        address: IpAddr,
        /// The endpoints.
        endpoints: String,
    },
    /// An endpoint without addresses.
    #[error("endpoint {0:?} has no address: add expectedIPs, or ask by address")]
    NoAddress(String),
    /// No pair of addresses of one family.
    #[error("{from:?} and {to:?} have no addresses of the same family")]
    NoCommonFamily {
        /// Where from.
        from: String,
        /// Where to.
        to: String,
    },
    /// Different addresses of one name get different answers.
    #[error("the answer depends on the address: {one} is not decided as {other}; ask by address")]
    Depends {
        /// One pair.
        one: String,
        /// Another pair.
        other: String,
    },
    /// Several endpoints have the name.
    #[error("{name:?} is the name of {endpoints}: ask by one of these")]
    Clash {
        /// The name.
        name: String,
        /// The endpoints, each in words that mean it alone.
        endpoints: String,
    },
    /// The host's interfaces decide differently about what goes through it.
    #[error(
        "the answer depends on the interface by which the packet goes through the workload's host: their host endpoints decide differently"
    )]
    Interface,
    /// A protocol with ports and no port, or the reverse.
    #[error("{0}")]
    Port(&'static str),
}

/// Answers a query in both worlds. Who has many asks [`Questions`].
pub fn explain(worlds: &Worlds, query: &Query) -> Result<Answer, QueryError> {
    Questions::few(worlds).ask(query)
}
