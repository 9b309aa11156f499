//! The tree of lookups.

mod builder;
mod weave;

use std::net::IpAddr;

use super::split::{Columns, Moved, Regions};
use crate::net::{Family, PortRange, Protocol};
use crate::ruleset::Side;
use builder::Builder;

/// When a list of policies is worth an index, and what it may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many policies are walked one after the other.
    pub walked: usize,
    /// Elements of maps and entries of lists for each region (rule and family): in one lookup, and in a tier.
    pub entries_per_region: usize,
}

/// The lookups of one tier.
#[derive(Debug)]
pub(in crate::compile) struct Tree {
    /// Whether it would be another one if an address set had other members.
    pub(in crate::compile) looks_into_sets: bool,
    /// What every packet meets.
    pub(in crate::compile) front: Vec<Step>,
    pub(in crate::compile) nodes: Vec<Node>,
    /// What the next generation of it may be made from.
    pub(super) columns: Columns,
}

/// A node, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) struct NodeId(pub(in crate::compile) usize);

/// One chain of the index. A packet that it does not decide goes on behind the step that it came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) struct Node {
    /// How packets get here from the node before, by the first key that leads here; none for the root.
    pub(in crate::compile) by: Vec<Key>,
    /// The lookups, one after the other; a packet that one finds goes there for good.
    pub(in crate::compile) lookups: Vec<Lookup>,
    /// What becomes of packets that no lookup finds.
    pub(in crate::compile) rest: Rest,
}

/// Where packets go that no lookup of a node finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) enum Rest {
    /// Through these, which may match them, in order.
    Walk(Vec<Step>),
    /// On to other lookups.
    Goto(NodeId),
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) enum Step {
    /// A policy, by its place in the tier.
    Policy(usize),
    /// Policies that follow each other and have lookups of their own: those between these places, both included, that
    /// are not left out.
    Block(NodeId, usize, usize),
}

/// Where a key leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) enum To {
    /// To the only policy that may match, by its place in the tier.
    Policy(usize),
    Node(NodeId),
}

/// A lookup in a verdict map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) enum Lookup {
    /// `meta l4proto . th dport`.
    Services(Vec<((Protocol, u16), To)>),
    /// `meta l4proto`.
    Protocols(Vec<(Protocol, To)>),
    /// `th dport`, of a protocol.
    Ports(Protocol, Vec<(PortRange, To)>),
    /// `ip saddr` and the like: single addresses.
    Addresses(Side, Family, Vec<(IpAddr, To)>),
    /// `ip saddr` and the like: ranges.
    Ranges(Side, Family, Vec<((IpAddr, IpAddr), To)>),
}

/// What a packet was found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) enum Key {
    /// By nothing.
    Other,
    Service(Protocol, u16),
    Protocol(Protocol),
    /// What goes to any port of a protocol.
    AnyPort(Protocol),
    Ports(PortRange),
    Address(Side, IpAddr),
    Range(Side, IpAddr, IpAddr),
    /// The policy, by its place, at which a list of policies was cut in two: in this one are those around it.
    Around(usize),
}

/// One lookup costs about what a few policies cost that match nothing (`make bench` shows it).
impl Default for Limits {
    fn default() -> Self {
        Limits {
            walked: 6,
            entries_per_region: 16,
        }
    }
}

impl Limits {
    /// No index: every policy is walked.
    pub fn off() -> Self {
        Limits {
            walked: usize::MAX,
            entries_per_region: 0,
        }
    }
}

impl Tree {
    /// The tree of the regions of a tier's policies. Long lists are cut where the weight of a policy is greatest, so that
    /// one policy more or less leaves the other cuts where they are. Equal sub-trees are one.
    ///
    /// Policies at either end that may match every packet are in no lookup: each packet meets them.
    ///
    /// `earlier` has the columns of the generation before, and where its policies are now: with them it is made sooner,
    /// and no other.
    pub(super) fn of(regions: Regions<'_>, limits: Limits, earlier: Option<(&Columns, &Moved)>) -> Self {
        Builder::new(regions, limits, earlier).built()
    }
}
