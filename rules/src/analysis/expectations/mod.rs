//! `test`: written expectations, who must and who must never reach whom, checked against the worlds.
//!
//! ```yaml
//! apiVersion: palisade.dev/v1
//! kind: Expectations
//! metadata: {name: database}
//! spec:
//! - name: the web servers reach the database
//!   from: {selector: "role == 'web'"}
//!   to: db
//!   protocol: TCP
//!   ports: [5432, "8000:8059"]
//!   expect: allow
//!   world: both
//!   withoutSafetyNet: true
//! ```
//!
//! A file of expectations is no resource: it lives beside the directory of the resources, or in one below, which reading
//! a directory does not enter. Among the resources it is refused like any unknown kind.

mod check;
mod decode;
mod ports;
mod report;

use crate::evaluate::Verdict;
use crate::net::{PortRange, Protocol};
use crate::selector::Selector;
use crate::source::Position;
use crate::world::WorldKind;

pub use check::check;
pub use decode::decode;
pub use report::{Case, Checked, Report, Status};

/// One expectation, as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// The name of the document it is in, if that has one.
    pub suite: Option<String>,
    /// Its name; where none is written, what it says in a few words.
    pub name: String,
    /// Where from: each of these.
    pub from: Vec<Party>,
    /// Where to: each of these.
    pub to: Vec<Party>,
    /// The protocol.
    pub protocol: Protocol,
    /// The destination ports, sorted and disjoint; for a protocol without ports, none. All ports where none are written.
    pub ports: Vec<PortRange>,
    /// The source port; an ephemeral one if not given.
    pub source_port: Option<u16>,
    /// Type and code of ICMP; an echo request if not given.
    pub icmp: Option<(u8, u8)>,
    /// What must become of all of it.
    pub expect: Verdict,
    /// In which worlds.
    pub worlds: Vec<WorldKind>,
    /// Whether it is about the worlds without their safety nets.
    pub without_safety_net: bool,
    /// Where it was written.
    pub position: Position,
}

/// One end of an expectation.
#[derive(Clone, Debug, PartialEq)]
pub enum Party {
    /// An endpoint's name, `kind:name`, or an address, as in queries of `explain`.
    Named(String),
    /// Every endpoint that this selects.
    Selected(Selector),
}

/// As it is written.
impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Party::Named(name) => f.write_str(name),
            Party::Selected(selector) => write!(f, "{selector}"),
        }
    }
}
