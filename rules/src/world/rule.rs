//! Rules without labels.

use std::sync::Arc;

use ipnet::IpNet;

use super::{AddressSetId, NamedPortSetId};
use crate::net::{Family, PortRange, Protocol};
use crate::resource::{Action, IcmpMatch};
use crate::source::Position;

/// A rule without labels.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldRule {
    /// The index of the rule as written.
    pub index: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its annotations, `key=value` each.
    pub annotations: Vec<String>,
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
    pub text: Arc<str>,
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
    pub ports: Option<WorldPorts>,
    /// None of these ports.
    pub not_ports: Option<WorldPorts>,
}

/// Ports by number, and by name together with the address they belong to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorldPorts {
    /// Ranges of numbers.
    pub ranges: Vec<PortRange>,
    /// What the named ones stand for.
    pub named: Option<NamedPortSetId>,
}

impl WorldEntity {
    /// Whether it asks for an address, be it only to know whose port is meant.
    pub fn looks_at_addresses(&self) -> bool {
        let named = |ports: &Option<WorldPorts>| ports.as_ref().is_some_and(|ports| ports.named.is_some());
        self.nets.is_some()
            || self.not_nets.is_some()
            || self.set.is_some()
            || self.not_set.is_some()
            || named(&self.ports)
            || named(&self.not_ports)
    }
}

impl WorldRule {
    /// Whether it matches every packet.
    pub fn is_unconditional(&self) -> bool {
        self.family.is_none()
            && self.protocol.is_none()
            && self.not_protocol.is_none()
            && self.icmp.is_none()
            && self.not_icmp.is_none()
            && self.source == WorldEntity::default()
            && self.destination == WorldEntity::default()
    }

    /// Whether it looks at source ports.
    pub fn looks_at_source_ports(&self) -> bool {
        self.source.ports.is_some() || self.source.not_ports.is_some()
    }

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
