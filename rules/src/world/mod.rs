//! Worlds: the snapshot as one host sees it, with every label resolved.
//!
//! [`resolve`] turns selectors into endpoints and addresses, for two worlds: in [`WorldKind::Enforced`] staged
//! objects are absent, in [`WorldKind::Pending`] they are applied as if promoted. What comes out holds no label
//! and no selector that would have to be asked again.

mod address_set;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

pub use address_set::{AddressSet, AddressSetId, AddressSets};
pub use resolve::resolve;

use crate::failsafe::Failsafes;
use crate::net::{Direction, Family, PortRange, Protocol};
use crate::resource::{Action, IcmpMatch, Labels, Order, PolicyId, TierAction};
use crate::source::Position;

/// What is known of the host besides its policies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// The host's name, as `HostEndpoint.spec.node` says it; `None` offline, where no host is this one.
    pub node: Option<String>,
    /// Its interfaces and their addresses, loopback included; empty offline.
    pub interfaces: BTreeMap<String, Vec<IpAddr>>,
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
    pub endpoints: Vec<Endpoint>,
    /// Named networks, for naming addresses that belong to no endpoint.
    pub networks: Vec<Network>,
    /// The addresses that selectors stand for, in both worlds.
    pub address_sets: AddressSets,
    /// Staged objects absent.
    pub enforced: World,
    /// Staged objects applied.
    pub pending: World,
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
        self.endpoints
            .iter()
            .enumerate()
            .filter_map(|(id, endpoint)| Some((EndpointId(id), endpoint, endpoint.attachment.as_ref()?)))
    }

    /// The endpoint with this id.
    pub fn endpoint(&self, id: EndpointId) -> &Endpoint {
        &self.endpoints[id.0]
    }

    /// Whether any rule of either world looks at source ports: only then do they tell connections apart.
    pub fn looks_at_source_ports(&self) -> bool {
        WorldKind::BOTH
            .into_iter()
            .flat_map(|kind| &self.world(kind).policies)
            .any(|policy| {
                let rules = Direction::BOTH
                    .into_iter()
                    .filter_map(|direction| policy.rules(direction))
                    .flatten();
                rules
                    .into_iter()
                    .any(|rule| rule.source.ports.is_some() || rule.source.not_ports.is_some())
            })
    }

    /// Whether a staged object changes which policies an endpoint has in one direction: only there a preview is
    /// needed, for elsewhere the worlds are one.
    pub fn differs(&self, endpoint: EndpointId, direction: Direction) -> bool {
        let sources = |world: &World| {
            world
                .governing(endpoint, direction)
                .map(|policy| (policy.tier, policy.source))
                .collect::<Vec<_>>()
        };
        sources(&self.enforced) != sources(&self.pending)
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
    /// Its name.
    pub name: String,
    /// The node it is on.
    pub node: String,
    /// Its labels.
    pub labels: Labels,
    /// The addresses it is known by.
    pub addresses: Vec<IpAddr>,
    /// Names of its profiles.
    pub profiles: Vec<String>,
    /// Whether it stands for every interface that no other endpoint of its node names, loopback among them.
    pub wildcard: bool,
    /// Where it hangs on this host; `None` for an endpoint elsewhere.
    pub attachment: Option<Attachment>,
    /// Where it was written; `None` for the one made from `host.labels`.
    pub position: Option<Position>,
}

/// The interfaces of a local endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// Exactly these, whether or not they exist at the moment.
    Interfaces(Vec<String>),
    /// Every interface that no other endpoint has.
    Rest,
}

/// A named set of networks, for naming addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The name of the GlobalNetworkSet.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its prefixes.
    pub nets: Vec<IpNet>,
}

/// One world: tiers and policies in order of evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// Tiers in order.
    pub tiers: Vec<WorldTier>,
    /// Policies in order: by tier, then within it, the safety net last.
    pub policies: Vec<WorldPolicy>,
    /// For each endpoint, the indices of the policies that select it, in order.
    pub by_endpoint: Vec<Vec<usize>>,
}

impl World {
    /// The policies that govern one direction of an endpoint, in order.
    pub fn governing(
        &self,
        endpoint: EndpointId,
        direction: Direction,
    ) -> impl Iterator<Item = &WorldPolicy> {
        self.by_endpoint[endpoint.0]
            .iter()
            .map(|&index| &self.policies[index])
            .filter(move |policy| policy.rules(direction).is_some())
    }
}

/// A tier of a world.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldTier {
    /// Its name.
    pub name: String,
    /// What its end does.
    pub default_action: TierAction,
}

/// A policy of a world, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldPolicy {
    /// Which policy it is.
    pub id: PolicyId,
    /// The kind as it is written.
    pub written_kind: &'static str,
    /// Its tier: an index into [`World::tiers`].
    pub tier: usize,
    /// Its place in the tier, from 0.
    pub place: usize,
    /// Its order.
    pub order: Option<Order>,
    /// Which policy of the snapshot it is.
    pub source: usize,
    /// Whether it is staged, and here only because this is the pending world.
    pub staged: bool,
    /// Whether it is a safety net: what it allows carries a second verdict, without it.
    pub safety_net: bool,
    /// Rules towards the endpoint; `None` if it does not govern ingress.
    pub ingress: Option<Vec<WorldRule>>,
    /// Rules from the endpoint; `None` if it does not govern egress.
    pub egress: Option<Vec<WorldRule>>,
    /// Where it was written.
    pub position: Position,
}

impl WorldPolicy {
    /// The rules of one direction, or `None` if the policy does not govern it.
    pub fn rules(&self, direction: Direction) -> Option<&[WorldRule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// A rule without labels.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldRule {
    /// The index of the rule as written.
    pub index: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it does.
    pub action: Action,
    /// The only family it can match.
    pub family: Option<Family>,
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// The protocol it must not be.
    pub not_protocol: Option<Protocol>,
    /// The ICMP type and code it must be, of the packet's own family.
    pub icmp: Option<IcmpMatch>,
    /// ICMP of the packet's own family, and not this type and code.
    pub not_icmp: Option<IcmpMatch>,
    /// The source.
    pub source: WorldEntity,
    /// The destination.
    pub destination: WorldEntity,
    /// What it says, in one canonical line: equal rules say the same.
    pub text: String,
    /// Where it was written.
    pub position: Position,
}

/// One side of a rule without labels. `None` is "no condition".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorldEntity {
    /// In one of these.
    pub nets: Option<Vec<IpNet>>,
    /// In none of these.
    pub not_nets: Option<Vec<IpNet>>,
    /// In this address set.
    pub set: Option<AddressSetId>,
    /// Not in this address set.
    pub not_set: Option<AddressSetId>,
    /// One of these ports.
    pub ports: Option<Vec<PortRange>>,
    /// None of these ports.
    pub not_ports: Option<Vec<PortRange>>,
}

impl WorldRule {
    /// Whether the rule exists for packets of a family: one whose nets, or notNets, hold no entry of it is absent
    /// there.
    pub fn exists_for(&self, family: Family) -> bool {
        let has = |nets: &Option<Vec<IpNet>>| {
            nets.as_ref()
                .is_none_or(|nets| nets.iter().any(|net| Family::of_net(*net) == family))
        };
        self.family.is_none_or(|only| only == family)
            && [&self.source, &self.destination]
                .iter()
                .all(|side| has(&side.nets) && has(&side.not_nets))
    }
}
