//! Worlds: the snapshot as one host sees it, with every label resolved.
//!
//! [`resolve`] turns selectors into endpoints and addresses, for two worlds: in [`WorldKind::Enforced`] staged
//! objects are absent, in [`WorldKind::Pending`] they are applied as if promoted. What comes out holds no label
//! and no selector that would have to be asked again.

mod address_set;
mod changes;
mod directory;
mod endpoints;
mod governing;
mod interner;
mod labels;
mod merged;
mod named_ports;
mod objects;
mod order;
mod placing;
mod policies;
mod port_mask;
mod resolve;
mod resolver;
mod rule;
mod rule_text;
mod selections;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

pub use address_set::{AddressSet, AddressSetId, AddressSets};
pub use directory::Directory;
pub(crate) use governing::Governing;
pub use named_ports::{NamedPortSet, NamedPortSetId, NamedPortSets};
pub use policies::{PlacedPolicy, PolicyRef, World, WorldPolicy, WorldTier};
pub(crate) use port_mask::PortMask;
pub use resolve::{resolve, resolve_from};
pub use resolver::is_safety_net;
pub use rule::{WorldEntity, WorldPorts, WorldRule};

use selections::Selections;

use crate::failsafe::Failsafes;
use crate::net::Direction;
use crate::resource::{DEFAULT_ALLOW_PROFILE, Labels, NamedPort, PolicyStage};
use crate::source::Position;

/// What is known of the host besides its policies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// The host's name, as `HostEndpoint.spec.node` says it; `None` offline, where no host is this one.
    pub node: Option<String>,
    /// Its interfaces and their addresses, loopback included; empty offline.
    pub interfaces: BTreeMap<String, Vec<IpAddr>>,
    /// The ids of its cgroups (v2) by path below the root, without a slash at either end; empty offline.
    pub cgroups: BTreeMap<String, u64>,
    /// Labels of the endpoint that is made where no HostEndpoint names this node.
    pub labels: Labels,
    /// What stays open.
    pub failsafes: Failsafes,
    /// Whether loopback traffic is subject to policy.
    pub filter_loopback: bool,
}

/// Both worlds, as one host sees them.
#[derive(Clone, Debug, PartialEq)]
pub struct Worlds {
    /// The host.
    pub host: Host,
    /// Every endpoint, on whichever node, in the order of their names.
    pub endpoints: Arc<[Arc<Endpoint>]>,
    /// Named networks, for naming addresses that belong to no endpoint.
    pub networks: Arc<[Arc<Network>]>,
    /// Who has a name or an address.
    pub directory: Directory,
    /// The addresses that selectors stand for, in both worlds.
    pub address_sets: AddressSets,
    /// The addresses and ports that named ports stand for, in both worlds.
    pub named_ports: NamedPortSets,
    /// Profiles, which are the same in both worlds.
    pub profiles: Arc<[Arc<WorldProfile>]>,
    /// Staged objects absent.
    pub enforced: World,
    /// Staged objects applied.
    pub pending: World,
    /// What the policies' selectors select.
    selections: Selections,
    /// How many sets and selectors there were when all of them were in use.
    in_use: usize,
}

impl Worlds {
    /// One of the two.
    pub fn world(&self, kind: WorldKind) -> &World {
        match kind {
            WorldKind::Enforced => &self.enforced,
            WorldKind::Pending => &self.pending,
        }
    }

    /// The endpoints on this host.
    pub fn local(&self) -> impl Iterator<Item = (EndpointId, &Endpoint, &Attachment)> {
        self.endpoints.iter().enumerate().filter_map(|(id, endpoint)| {
            let attachment = endpoint.attachment.as_ref()?;
            Some((EndpointId(id), endpoint.as_ref(), attachment))
        })
    }

    /// The endpoint with this id.
    pub fn endpoint(&self, id: EndpointId) -> &Endpoint {
        &self.endpoints[id.0]
    }

    /// The profiles of an endpoint, in order.
    pub fn profiles_of(&self, endpoint: EndpointId) -> impl Iterator<Item = &WorldProfile> {
        let profiles = self.endpoint(endpoint).profiles.iter();
        profiles.map(|&profile| self.profiles[profile].as_ref())
    }

    /// How many sets and selectors are known, in use or not.
    fn known(&self) -> usize {
        self.address_sets.len() + self.named_ports.len() + self.selections.len()
    }

    /// Whether any rule of either world looks at source ports: only then do they tell connections apart.
    pub fn looks_at_source_ports(&self) -> bool {
        let mut profiles = self
            .profiles
            .iter()
            .flat_map(|profile| Direction::BOTH.map(|direction| profile.rules(direction)))
            .flatten();
        WorldKind::BOTH
            .into_iter()
            .any(|kind| self.world(kind).looks_at_source_ports())
            || profiles.any(WorldRule::looks_at_source_ports)
    }

    /// Whether a staged object changes which policies an endpoint has in one direction, at a stage or at one before it:
    /// only there a preview is needed, for elsewhere the worlds are one.
    pub fn differs(&self, endpoint: EndpointId, direction: Direction, stage: Stage) -> bool {
        let at = |stage| {
            // What both worlds have stands in the same order in both.
            let alone = |world: &World| {
                let alone = world.governing_alone(endpoint, direction, stage);
                alone
                    .map(|policy| (policy.tier, policy.source))
                    .collect::<Vec<_>>()
            };
            alone(&self.enforced) != alone(&self.pending)
        };
        stage.early(direction).iter().any(|&early| at(early)) || at(stage)
    }

    /// Whether either world has a policy for one direction of an endpoint at a stage.
    pub fn has_stage(&self, endpoint: EndpointId, direction: Direction, stage: Stage) -> bool {
        let has = |kind| self.world(kind).has_governing(endpoint, direction, stage);
        self.endpoint(endpoint).kind.stages().contains(&stage) && WorldKind::BOTH.into_iter().any(has)
    }
}

/// Where on its way a packet is decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before conntrack, at a host endpoint: `doNotTrack` policies.
    Untracked,
    /// Before the destination is translated, towards a host endpoint: `preDNAT` policies.
    PreDnat,
    /// At the endpoint itself.
    Normal,
    /// At a host endpoint, through its host: `applyOnForward` policies.
    Forward,
}

impl Stage {
    /// Every stage, in the order in which a packet meets them; it meets one of the last two.
    pub const ALL: [Stage; 4] = [Stage::Untracked, Stage::PreDnat, Stage::Normal, Stage::Forward];

    /// The word that records use.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Untracked => "untracked",
            Stage::PreDnat => "pre-dnat",
            Stage::Normal => "normal",
            Stage::Forward => "forward",
        }
    }

    /// Whether it comes before the one that must decide: what is undecided goes on.
    pub fn is_early(self) -> bool {
        matches!(self, Stage::Untracked | Stage::PreDnat)
    }

    /// The stages at which a packet of this direction has been before. What is forwarded out of a host did not come from
    /// it, and nothing leaves before its destination is translated.
    pub fn early(self, direction: Direction) -> &'static [Stage] {
        match (self, direction) {
            (Stage::Untracked, _) | (Stage::Forward, Direction::Egress) => &[],
            (Stage::PreDnat, _) | (Stage::Normal, Direction::Egress) => &[Stage::Untracked],
            (Stage::Normal | Stage::Forward, Direction::Ingress) => &[Stage::Untracked, Stage::PreDnat],
        }
    }

    /// Whether policies of a kind of stage are asked here.
    pub fn asks(self, stage: PolicyStage) -> bool {
        match stage {
            PolicyStage::Normal { apply_on_forward } => {
                self == Stage::Normal || (self == Stage::Forward && apply_on_forward)
            }
            PolicyStage::PreDnat => self == Stage::PreDnat,
            PolicyStage::Untracked => self == Stage::Untracked,
        }
    }
}

/// Which of the two worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorldKind {
    /// Staged objects absent.
    Enforced,
    /// Staged objects applied as if promoted.
    Pending,
}

impl WorldKind {
    /// Both worlds, the enforced one first.
    pub const BOTH: [WorldKind; 2] = [WorldKind::Enforced, WorldKind::Pending];

    /// The word that records use.
    pub fn as_str(self) -> &'static str {
        match self {
            WorldKind::Enforced => "enforced",
            WorldKind::Pending => "pending",
        }
    }
}

/// An endpoint in [`Worlds::endpoints`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointId(pub usize);

/// An endpoint with its addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// What it is.
    pub kind: EndpointKind,
    /// Its namespace; `None` for a global kind.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The node it is on.
    pub node: String,
    /// Its labels, inherited ones included.
    pub labels: Labels,
    /// The addresses it is known by. A service has none: its host has them.
    pub addresses: Vec<IpAddr>,
    /// Its named ports.
    pub ports: Vec<NamedPort>,
    /// Its profiles in order: indices into [`Worlds::profiles`].
    pub profiles: Vec<usize>,
    /// Whether it stands for every interface that no other host endpoint of its node names, loopback among them.
    pub wildcard: bool,
    /// Where it hangs on this host; `None` for an endpoint elsewhere.
    pub attachment: Option<Attachment>,
    /// Where it was written; `None` for the one made from `host.labels`.
    pub position: Option<Position>,
}

/// `namespace/name`, or the name alone.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKind {
    /// Interfaces of a host: `HostEndpoint`.
    Host,
    /// The interface of a container or virtual machine: `WorkloadEndpoint`.
    Workload,
    /// A systemd unit or slice: `ServiceEndpoint`.
    Service,
}

impl EndpointKind {
    /// The kind of its resource.
    pub fn as_str(self) -> &'static str {
        match self {
            EndpointKind::Host => "HostEndpoint",
            EndpointKind::Workload => "WorkloadEndpoint",
            EndpointKind::Service => "ServiceEndpoint",
        }
    }

    /// The kind of a name or short name, in any case, as people write it before an endpoint's name and a colon.
    pub fn parse(word: &str) -> Option<Self> {
        match word.to_lowercase().as_str() {
            "hostendpoint" | "hep" => Some(EndpointKind::Host),
            "workloadendpoint" | "wep" => Some(EndpointKind::Workload),
            "serviceendpoint" | "sep" => Some(EndpointKind::Service),
            _ => None,
        }
    }

    /// The stages at which its policies are asked.
    pub fn stages(self) -> &'static [Stage] {
        match self {
            EndpointKind::Host => &Stage::ALL,
            EndpointKind::Workload | EndpointKind::Service => &[Stage::Normal],
        }
    }
}

impl fmt::Display for EndpointKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a local endpoint hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// Exactly these interfaces, whether or not they exist at the moment.
    Interfaces(Vec<String>),
    /// Every interface that no other host endpoint has.
    Rest,
    /// The cgroups of a service that exist at the moment.
    Cgroups(Vec<Cgroup>),
}

/// A cgroup (v2) of this host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cgroup {
    /// Its path below the root.
    pub path: String,
    /// Its id.
    pub id: u64,
}

impl Cgroup {
    /// How many steps it is below the root.
    pub fn level(&self) -> u32 {
        u32::try_from(self.path.split('/').count()).unwrap_or(u32::MAX)
    }
}

/// A named set of networks, for naming addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The namespace; `None` for a GlobalNetworkSet.
    pub namespace: Option<String>,
    /// The name of the set.
    pub name: String,
    /// Its labels, inherited ones included.
    pub labels: Labels,
    /// Its prefixes.
    pub nets: Vec<IpNet>,
}

/// A profile, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldProfile {
    /// Its name.
    pub name: String,
    /// Rules towards the endpoint.
    pub ingress: Vec<WorldRule>,
    /// Rules from the endpoint.
    pub egress: Vec<WorldRule>,
}

impl WorldProfile {
    /// The rules of one direction.
    pub fn rules(&self, direction: Direction) -> &[WorldRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// Whether it is `projectcalico-default-allow`, which nobody can write.
    pub fn is_default_allow(&self) -> bool {
        self.name == DEFAULT_ALLOW_PROFILE
    }
}
