//! The lockout guard: what a change of worlds would cut, and whether it may.
//!
//! It is asked before a change, about what is there: the caller's own session, the connections to sockets of this host,
//! and the ways that a host cannot do without. A safety net counts: what it still catches is not cut, and is said.

mod assess;
mod cuts;
mod early;
mod nearby;
mod probe;
mod seen;
#[cfg(test)]
mod tests;
mod text;

use std::net::SocketAddr;

use palisade_rules::analysis::{Side, StepReport};
use serde::{Deserialize, Serialize};

pub use self::probe::{ProbeFailure, probe};
use self::seen::Seen;
use crate::live::Owner;

/// Who asks for a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The process at the other end of the API's socket; `None` for a signal.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
    /// The connections that it sits behind.
    pub sessions: Vec<Session>,
}

/// A connection by which somebody works on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Session {
    /// The far end.
    pub remote: SocketAddr,
    /// The end on this host.
    pub local: SocketAddr,
}

/// What a change would cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardReport {
    /// What it would cut, those alike together, the worst first.
    pub cut: Vec<Cut>,
    /// Why the change is refused unless it is forced; `None` if it is not.
    pub refusal: Option<Refusal>,
    /// What is worth knowing besides: what a safety net holds, and what could not be looked at.
    pub notes: Vec<String>,
}

/// Connections, or ways, that are alike and would be cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// What they are.
    pub what: What,
    /// From when on.
    pub when: When,
    /// The protocol, in nftables' word.
    pub protocol: String,
    /// The destination port; `None` where the protocol has none.
    pub port: Option<u16>,
    /// How many there are; 1 for a way.
    pub connections: usize,
    /// The far ends, by name, the first few of them.
    pub peers: Vec<String>,
    /// How many far ends there are.
    pub peers_total: usize,
    /// Who holds the sockets of this host's end.
    pub owners: Vec<Owner>,
    /// What denies them, in a sentence.
    pub why: String,
    /// The step that does; `None` where nothing denies them, and yet they cannot be.
    pub because: Option<StepReport>,
    /// The addresses and ports of one of them.
    pub example: String,
}

/// What would be cut, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The session of who asks.
    OwnSession,
    /// A session at a port by which the host is managed.
    Management,
    /// A port that a failsafe holds open now.
    Failsafe,
    /// A DNS server.
    Dns,
    /// How this host and a neighbour find each other, without which IPv6 ends.
    Neighbour,
    /// A connection to a service of this host.
    Service,
}

/// From when on something is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At once: its packets meet policy before conntrack knows them.
    Now,
    /// When it is opened again: what is established stays.
    OpenedAgain,
}

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What it would take away.
    pub of: Refused,
    /// The same in a sentence, with what denies it.
    pub message: String,
}

/// What must not be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// The caller's own session could not be opened again.
    OwnSession,
    /// There are sessions at management ports, and none of them could be opened again.
    ManagementAccess,
}

/// How a change is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Guarding<'c> {
    /// Who asks for it.
    pub caller: &'c Caller,
    /// Whether it goes on though it is refused.
    pub force: bool,
}

/// Says what the step between two worlds would cut, of what there is in the network namespace of the calling thread.
///
/// What cannot be read is left out, and said in the notes: the caller's sessions are always looked at.
pub fn judge(before: Side<'_>, after: Side<'_>, caller: &Caller) -> GuardReport {
    let seen = Seen::read(before, after);
    let mut assessed = assess::assess(before, after, &seen, caller);
    seen.name_owners(&mut assessed);
    assessed.report
}
