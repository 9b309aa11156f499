//! The resources a person writes, after validation: every value here is one that can be enforced.
//!
//! Names of kinds and fields are Calico's (`projectcalico.org/v3`).

mod endpoint;
mod policy;
mod rule;

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;

pub use endpoint::{HostEndpoint, InterfaceName, NamedPort, ServiceEndpoint, ServiceUnit, WorkloadEndpoint};
pub use policy::{Order, Policy, PolicyId, PolicyKind, PolicyStage, PolicyTypes, StagedAction};
pub use rule::{Action, Entity, IcmpMatch, Ports, ProtocolMatch, Rule};

use crate::net::Direction;
use crate::source::Position;

/// Labels of an endpoint or a set.
pub type Labels = BTreeMap<String, String>;

/// The tier a policy is in when it names none.
pub const DEFAULT_TIER: &str = "default";

/// The profile that allows everything both ways; it exists without being written.
pub const DEFAULT_ALLOW_PROFILE: &str = "projectcalico-default-allow";

/// The label that says which namespace an endpoint or set is in.
pub const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

/// The label that says what made a workload endpoint: `k8s`, `cni`, `libnetwork`.
pub const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";

/// The label that says which service account a workload endpoint runs as.
pub const SERVICE_ACCOUNT_LABEL: &str = "projectcalico.org/serviceaccount";

/// What the keys of a namespace's labels begin with on the endpoints and sets in it.
pub const NAMESPACE_PREFIX: &str = "pcns.";

/// What the keys of a service account's labels begin with on the workload endpoints that run as it.
pub const SERVICE_ACCOUNT_PREFIX: &str = "pcsa.";

/// Which object of a kind: its name, and its namespace if the kind has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// The namespace; `None` for a global kind.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// `namespace/name`, or the name alone.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

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

/// A `GlobalNetworkSet` or `NetworkSet`: addresses with labels, so that selectors find them.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSet {
    /// Its name, with the namespace for a `NetworkSet`.
    pub id: ObjectName,
    /// Its own labels.
    pub labels: Labels,
    /// Its prefixes, host bits cleared.
    pub nets: Vec<IpNet>,
    /// Where it was written.
    pub position: Position,
}

/// A `Profile`: labels for the endpoints that name it, and rules for what no policy decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// `labelsToApply`: labels that its endpoints inherit.
    pub labels_to_apply: Labels,
    /// Rules for packets towards the endpoint.
    pub ingress: Vec<Rule>,
    /// Rules for packets from the endpoint.
    pub egress: Vec<Rule>,
    /// Where it was written; `None` for the built-in one.
    pub position: Option<Position>,
}

impl Profile {
    /// `projectcalico-default-allow`: exists unwritten, and cannot be written.
    pub fn default_allow() -> Self {
        let allow = Rule::unconditional(
            Action::Allow,
            Position {
                file: "(built in)".into(),
                line: 1,
                column: 1,
            },
        );
        Profile {
            name: DEFAULT_ALLOW_PROFILE.to_owned(),
            labels_to_apply: Labels::new(),
            ingress: vec![allow.clone()],
            egress: vec![allow],
            position: None,
        }
    }

    /// The rules of one direction, in order.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}
