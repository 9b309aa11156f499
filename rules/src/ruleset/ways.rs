//! Verdict maps: which chain a packet goes to, by one look at it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Comment, Name, Side};
use crate::net::{Family, PortRange, Protocol};
use crate::shared_map::SharedMap;

/// A verdict map: which chain a packet goes to, by one look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictMap {
    /// What leads where.
    pub ways: Ways,
    /// What it tells apart.
    pub comment: Comment,
}

/// The elements of a verdict map: sorted and disjoint keys, each with the chain that packets go to for good (`goto`). It
/// is an interval map in the kernel exactly when [`Ways::is_interval`] says so; the compiler puts that into its name. A map
/// that is made from another shares with it what is the same in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ways {
    /// `type inet_proto . inet_service : verdict` (hash).
    Services(SharedMap<(Protocol, u16), Name>),
    /// `type inet_proto : verdict` (hash).
    Protocols(SharedMap<Protocol, Name>),
    /// `type inet_service : verdict; flags interval`.
    Ports(SharedMap<PortRange, Name>),
    /// `type ipv4_addr : verdict`, single addresses (hash).
    Ipv4Addresses(SharedMap<Ipv4Addr, Name>),
    /// `type ipv6_addr : verdict`, single addresses (hash).
    Ipv6Addresses(SharedMap<Ipv6Addr, Name>),
    /// `type ipv4_addr : verdict; flags interval`: the first and the last address.
    Ipv4Ranges(SharedMap<(Ipv4Addr, Ipv4Addr), Name>),
    /// `type ipv6_addr : verdict; flags interval`: the first and the last address.
    Ipv6Ranges(SharedMap<(Ipv6Addr, Ipv6Addr), Name>),
}

/// What a packet is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupKey {
    /// `meta l4proto . th dport`. A packet without a transport header finds nothing.
    Service,
    /// `meta l4proto`.
    Protocol,
    /// `th dport`. Stands behind a [`Match::Protocol`](super::Match::Protocol) that has ports.
    Port,
    /// `ip saddr` and the like. Stands behind a [`Match::Family`](super::Match::Family).
    Address(Side, Family),
}

/// The same done with the elements, whatever they are looked up by.
macro_rules! by_any_key {
    ($map:expr, $ways:ident => $do:expr) => {
        match $map {
            Ways::Services($ways) => $do,
            Ways::Protocols($ways) => $do,
            Ways::Ports($ways) => $do,
            Ways::Ipv4Addresses($ways) => $do,
            Ways::Ipv6Addresses($ways) => $do,
            Ways::Ipv4Ranges($ways) => $do,
            Ways::Ipv6Ranges($ways) => $do,
        }
    };
}

impl Ways {
    /// Whether the kernel's map has the interval flag.
    pub fn is_interval(&self) -> bool {
        matches!(self, Ways::Ports(_) | Ways::Ipv4Ranges(_) | Ways::Ipv6Ranges(_))
    }

    /// The same keys, that lead to other chains.
    #[must_use]
    pub fn map_chains(&self, mut to: impl FnMut(&Name) -> Name) -> Self {
        fn each<K: Clone + Ord>(
            ways: &SharedMap<K, Name>,
            to: &mut impl FnMut(&Name) -> Name,
        ) -> SharedMap<K, Name> {
            ways.iter().map(|(key, chain)| (key.clone(), to(chain))).collect()
        }
        match self {
            Ways::Services(ways) => Ways::Services(each(ways, &mut to)),
            Ways::Protocols(ways) => Ways::Protocols(each(ways, &mut to)),
            Ways::Ports(ways) => Ways::Ports(each(ways, &mut to)),
            Ways::Ipv4Addresses(ways) => Ways::Ipv4Addresses(each(ways, &mut to)),
            Ways::Ipv6Addresses(ways) => Ways::Ipv6Addresses(each(ways, &mut to)),
            Ways::Ipv4Ranges(ways) => Ways::Ipv4Ranges(each(ways, &mut to)),
            Ways::Ipv6Ranges(ways) => Ways::Ipv6Ranges(each(ways, &mut to)),
        }
    }

    /// Whether the other has the same keys, wherever they lead.
    pub fn has_keys_of(&self, other: &Ways) -> bool {
        fn each<K: Ord>(ways: &SharedMap<K, Name>, others: &SharedMap<K, Name>) -> bool {
            ways.keys().eq(others.keys())
        }
        match (self, other) {
            (Ways::Services(ways), Ways::Services(others)) => each(ways, others),
            (Ways::Protocols(ways), Ways::Protocols(others)) => each(ways, others),
            (Ways::Ports(ways), Ways::Ports(others)) => each(ways, others),
            (Ways::Ipv4Addresses(ways), Ways::Ipv4Addresses(others)) => each(ways, others),
            (Ways::Ipv6Addresses(ways), Ways::Ipv6Addresses(others)) => each(ways, others),
            (Ways::Ipv4Ranges(ways), Ways::Ipv4Ranges(others)) => each(ways, others),
            (Ways::Ipv6Ranges(ways), Ways::Ipv6Ranges(others)) => each(ways, others),
            _ => false,
        }
    }

    /// The chains it leads to, in order of the keys.
    pub fn chains(&self) -> Box<dyn Iterator<Item = &Name> + '_> {
        by_any_key!(self, ways => Box::new(ways.values()))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        by_any_key!(self, ways => ways.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What leads elsewhere than in an earlier map: only what was, and only what is. `None` if the two are looked up by
    /// different keys.
    pub fn differences(&self, earlier: &Ways) -> Option<(Ways, Ways)> {
        fn each<K: Ord + Clone>(
            ways: &SharedMap<K, Name>,
            earlier: &SharedMap<K, Name>,
        ) -> (SharedMap<K, Name>, SharedMap<K, Name>) {
            let (mut was, mut is) = (Vec::new(), Vec::new());
            for (key, old, new) in ways.differences(earlier) {
                was.extend(old.map(|chain| (key.clone(), chain.clone())));
                is.extend(new.map(|chain| (key.clone(), chain.clone())));
            }
            (was.into_iter().collect(), is.into_iter().collect())
        }
        macro_rules! by_key {
            ($($kind:ident),*) => {
                match (self, earlier) {
                    $((Ways::$kind(ways), Ways::$kind(earlier)) => {
                        let (was, is) = each(ways, earlier);
                        Some((Ways::$kind(was), Ways::$kind(is)))
                    })*
                    _ => None,
                }
            };
        }
        by_key!(
            Services,
            Protocols,
            Ports,
            Ipv4Addresses,
            Ipv6Addresses,
            Ipv4Ranges,
            Ipv6Ranges
        )
    }
}
