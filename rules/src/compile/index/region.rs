//! What a rule can match, as the index sees it: a box of services and addresses that holds every packet the rule matches,
//! and perhaps others.

use std::sync::Arc;

use ipnet::IpNet;

use crate::net::{Family, PortRange, Protocol, merge_nets, merge_ports};
use crate::ruleset::Side;
use crate::world::{AddressSetId, AddressSets, WorldEntity, WorldRule, Worlds};

/// The packets of one or both families that a rule may match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) struct Region {
    family: Option<Family>,
    /// Protocol and destination port.
    pub(super) services: Services,
    source: Addresses,
    destination: Addresses,
}

/// Protocols and destination ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Services {
    /// Every packet.
    Any,
    /// Every packet of a protocol.
    Protocol(Protocol),
    /// What goes to these ports of a protocol: sorted and merged.
    Ports(Protocol, Vec<PortRange>),
}

/// The addresses of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    /// Every address.
    Any,
    /// Those of a set, which may change while the rule stays as it is.
    Set(AddressSetId),
    /// These, of one or both families: sorted and disjoint.
    In(Arc<[IpNet]>),
}

impl Region {
    /// The regions of a rule; none if it can match nothing.
    pub(in crate::compile) fn of(worlds: &Worlds, rule: &WorldRule) -> Vec<Self> {
        let is_icmp = rule.icmp.is_some() || rule.not_icmp.is_some();
        let [source, destination] = [&rule.source, &rule.destination].map(Addresses::of);
        let region = |family, services| Region {
            family,
            services,
            source: source.clone(),
            destination: destination.clone(),
        };
        let families = Family::BOTH.into_iter().filter(|&family| rule.exists_for(family));
        if is_icmp && rule.protocol.is_none() {
            let icmp = |family| region(Some(family), Services::Protocol(Protocol::icmp_of(family)));
            return families.map(icmp).collect();
        }
        let services = Services::of(worlds, rule);
        match families.collect::<Vec<_>>().as_slice() {
            [] => Vec::new(),
            [family] => vec![region(Some(*family), services)],
            _ => vec![region(None, services)],
        }
    }

    /// Whether it stays the same as long as the rule does: what a named port stands for may change.
    pub(in crate::compile) fn is_of_rule_alone(rule: &WorldRule) -> bool {
        let ports = rule.destination.ports.as_ref();
        ports.is_none_or(|ports| ports.named.is_none())
    }

    /// Whether it has every packet.
    pub(super) fn is_everything(&self) -> bool {
        self.family.is_none()
            && self.services == Services::Any
            && [&self.source, &self.destination].map(|side| matches!(side, Addresses::Any)) == [true; 2]
    }

    /// Whether it has packets of a family.
    pub(super) fn has(&self, family: Family) -> bool {
        self.family.is_none_or(|only| only == family)
    }

    /// The addresses of one side.
    pub(super) fn addresses(&self, side: Side) -> &Addresses {
        match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        }
    }
}

impl Services {
    fn of(worlds: &Worlds, rule: &WorldRule) -> Self {
        let ports = rule.destination.ports.as_ref();
        match (rule.protocol, ports) {
            (protocol, Some(ports)) => {
                let named = ports.named.map(|named| worlds.named_ports.get(named));
                // Ports without a protocol are TCP's where they are names; numbers do not come without one.
                let Some(protocol) = protocol.or(named.map(|named| named.protocol)) else {
                    return Services::Any;
                };
                let mut ranges = ports.ranges.clone();
                let named = named.into_iter().flat_map(|named| &named.members);
                ranges.extend(named.map(|&(_, port)| PortRange::one(port)));
                Services::Ports(protocol, merge_ports(&ranges))
            }
            (Some(protocol), None) => Services::Protocol(protocol),
            (None, None) => Services::Any,
        }
    }
}

impl Addresses {
    fn of(entity: &WorldEntity) -> Self {
        match (entity.set, &entity.nets) {
            (Some(set), _) => Addresses::Set(set),
            (None, Some(nets)) => Addresses::In(merge_nets(nets).into()),
            (None, None) => Addresses::Any,
        }
    }

    /// The prefixes of one family, sorted and disjoint; `None` is every address.
    pub(super) fn of_family<'a>(
        &'a self,
        sets: &'a AddressSets,
        family: Family,
    ) -> Option<impl Iterator<Item = IpNet> + 'a> {
        let nets = match self {
            Addresses::Any => return None,
            Addresses::Set(set) => &sets.get(*set).nets[..],
            Addresses::In(nets) => nets,
        };
        let own = move |net: &IpNet| Family::of_net(*net) == family;
        let mut all = nets.iter().copied().filter(own).peekable();
        if all.peek().is_some_and(|net| net.prefix_len() == 0) {
            return None;
        }
        Some(all)
    }
}
