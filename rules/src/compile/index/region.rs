//! What a rule can match, as the index sees it: a box of services and addresses that holds every packet the rule matches,
//! and perhaps others.

use std::borrow::Cow;

use ipnet::IpNet;

use crate::net::{Family, PortRange, Protocol, merge_ports};
use crate::ruleset::Side;
use crate::world::{WorldEntity, WorldRule, Worlds};

/// The packets of one or both families that a rule of a policy may match.
#[derive(Clone, Debug)]
pub(in crate::compile) struct Region<'w> {
    /// The policy, by its place among those of the tier.
    pub(in crate::compile) policy: usize,
    family: Option<Family>,
    /// Protocol and destination port.
    pub(in crate::compile) services: Services,
    source: Addresses<'w>,
    destination: Addresses<'w>,
}

/// Protocols and destination ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) enum Services {
    /// Every packet.
    Any,
    /// Every packet of a protocol.
    Protocol(Protocol),
    /// What goes to these ports of a protocol: sorted and merged.
    Ports(Protocol, Vec<PortRange>),
}

/// The addresses of one side.
#[derive(Clone, Debug)]
pub(in crate::compile) enum Addresses<'w> {
    /// Every address.
    Any,
    /// These, of one or both families.
    In(Cow<'w, [IpNet]>),
}

impl<'w> Region<'w> {
    /// The regions of a rule; none if it can match nothing.
    pub(in crate::compile) fn of(worlds: &'w Worlds, policy: usize, rule: &'w WorldRule) -> Vec<Self> {
        let is_icmp = rule.icmp.is_some() || rule.not_icmp.is_some();
        let [source, destination] = [&rule.source, &rule.destination].map(|side| Addresses::of(worlds, side));
        let region = |family, services| Region {
            policy,
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

    /// Whether it has packets of a family.
    pub(in crate::compile) fn has(&self, family: Family) -> bool {
        self.family.is_none_or(|only| only == family)
    }

    /// The addresses of one side.
    pub(in crate::compile) fn addresses(&self, side: Side) -> &Addresses<'w> {
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

impl<'w> Addresses<'w> {
    fn of(worlds: &'w Worlds, entity: &'w WorldEntity) -> Self {
        match (entity.set, &entity.nets) {
            (Some(set), _) => Addresses::In(Cow::Borrowed(&worlds.address_sets.get(set).nets)),
            (None, Some(nets)) => Addresses::In(Cow::Owned(crate::net::merge_nets(nets))),
            (None, None) => Addresses::Any,
        }
    }

    /// The prefixes of one family, sorted and disjoint; `None` is every address.
    pub(in crate::compile) fn of_family(&self, family: Family) -> Option<impl Iterator<Item = IpNet>> {
        let Addresses::In(nets) = self else {
            return None;
        };
        let own = move |net: &IpNet| Family::of_net(*net) == family;
        let mut all = nets.iter().copied().filter(own).peekable();
        if all.peek().is_some_and(|net| net.prefix_len() == 0) {
            return None;
        }
        Some(all)
    }
}
