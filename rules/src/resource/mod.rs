//! The resources a person writes, after validation: every value here is one that can be enforced.
//!
//! Names of kinds and fields are Calico's (`projectcalico.org/v3`).

mod policy;
mod rule;

use std::collections::BTreeMap;

use ipnet::IpNet;

pub use policy::{Order, Policy, PolicyId, PolicyKind, PolicyTypes, StagedAction};
pub use rule::{Action, Entity, IcmpMatch, ProtocolMatch, Rule};

use crate::source::Position;

/// Labels of an endpoint or a set.
pub type Labels = BTreeMap<String, String>;

/// The tier a policy is in when it names none.
pub const DEFAULT_TIER: &str = "default";

/// The profile that allows everything both ways; it exists without being written.
pub const DEFAULT_ALLOW_PROFILE: &str = "projectcalico-default-allow";

/// A `Tier`: policies that are decided together, before those of the next tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// The tier's name.
    pub name: String,
    /// Lower is earlier; a tier written without one has 1,000,000.
    pub order: Order,
    /// What happens to a packet that a policy of the tier governs and none decides.
    pub default_action: TierAction,
    /// Where it was written; `None` for a built-in tier.
    pub position: Option<Position>,
}

impl Tier {
    /// The tiers that exist unwritten, with the order and action they must have if they are written.
    pub fn built_in() -> [Tier; 3] {
        let tier = |name: &str, order, default_action| Tier {
            name: name.to_owned(),
            order: Order::new(order),
            default_action,
            position: None,
        };
        [
            tier("kube-admin", 1_000.0, TierAction::Pass),
            tier(DEFAULT_TIER, 1_000_000.0, TierAction::Deny),
            tier("kube-baseline", 10_000_000.0, TierAction::Pass),
        ]
    }
}

/// What the end of a tier does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierAction {
    /// Deny the packet.
    Deny,
    /// Go on to the next tier.
    Pass,
}

/// A `GlobalNetworkSet`: addresses with labels, so that selectors find them.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalNetworkSet {
    /// The set's name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its prefixes, host bits cleared.
    pub nets: Vec<IpNet>,
    /// Where it was written.
    pub position: Position,
}

/// A `HostEndpoint`: one or all interfaces of one host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostEndpoint {
    /// The endpoint's name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// The host it is on.
    pub node: String,
    /// Its interface; `None` means the one that has an expected address.
    pub interface: Option<InterfaceName>,
    /// The addresses it is known by.
    pub expected_ips: Vec<std::net::IpAddr>,
    /// Names of profiles, in order.
    pub profiles: Vec<String>,
    /// Where it was written.
    pub position: Position,
}

/// The interface of a host endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterfaceName {
    /// `*`: every interface that no other endpoint of the host names.
    Any,
    /// One interface, 1 to 15 characters.
    Named(String),
}
