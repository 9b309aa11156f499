//! Addresses that nothing in the worlds tells apart.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::Direction;
use crate::world::{WorldKind, WorldRule, Worlds};

/// Every address, cut into blocks: two of one block are the same to every rule, endpoint, network and failsafe, and have
/// the same name. An address is found by a binary search.
#[derive(Debug)]
pub(super) struct Blocks {
    /// The first address of each block, sorted, IPv4 before IPv6.
    starts: Vec<IpAddr>,
}

impl Blocks {
    /// The coarsest blocks for all of these worlds.
    pub(super) fn of(worlds: &[&Worlds]) -> Self {
        let mut starts = BTreeSet::new();
        let mut cut = |net: IpNet| {
            starts.insert(net.network());
            starts.extend(successor(net.broadcast()));
        };
        for net in well_known() {
            cut(net);
        }
        for worlds in worlds {
            let own = worlds.host.interfaces.values().flatten();
            let known = worlds.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
            own.chain(known).for_each(|&address| cut(address.into()));
            let named = worlds.networks.iter().flat_map(|network| &network.nets);
            let selected = worlds.address_sets.iter().flat_map(|set| &set.nets);
            named.chain(selected).for_each(|&net| cut(net));
            let failsafes = Direction::BOTH.map(|direction| worlds.host.failsafes.ports(direction));
            let trusted = failsafes
                .into_iter()
                .flatten()
                .filter_map(|failsafe| failsafe.net);
            trusted.for_each(&mut cut);
            for rule in rules(worlds) {
                let sides = [&rule.source, &rule.destination];
                let nets = sides.into_iter().flat_map(|side| [&side.nets, &side.not_nets]);
                nets.flatten().flatten().for_each(|&net| cut(net));
            }
        }
        Blocks {
            starts: starts.into_iter().collect(),
        }
    }

    /// The block that an address is in.
    pub(super) fn of_address(&self, address: IpAddr) -> usize {
        self.starts.partition_point(|start| *start <= address)
    }
}

/// Where addresses of other meaning begin: private ones have another name, and a packet to many is for this host too.
fn well_known() -> impl Iterator<Item = IpNet> {
    let v4 = [
        ([0, 0, 0, 0], 0),
        ([10, 0, 0, 0], 8),
        ([127, 0, 0, 0], 8),
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 168, 0, 0], 16),
        ([224, 0, 0, 0], 4),
        ([255, 255, 255, 255], 32),
    ];
    let v6 = [
        (0, 0),
        (1, 128),
        (0xfc00 << 112, 7),
        (0xfe80 << 112, 10),
        (0xff00 << 112, 8),
    ];
    let v4 = v4
        .into_iter()
        .filter_map(|(address, length)| Ipv4Net::new(address.into(), length).ok().map(IpNet::from));
    let v6 = v6
        .into_iter()
        .filter_map(|(bits, length): (u128, u8)| Ipv6Net::new(bits.into(), length).ok().map(IpNet::from));
    v4.chain(v6)
}

/// Every rule of both worlds and of the profiles.
fn rules(worlds: &Worlds) -> impl Iterator<Item = &WorldRule> {
    let policies = WorldKind::BOTH
        .into_iter()
        .flat_map(|kind| &worlds.world(kind).policies)
        .flat_map(|policy| Direction::BOTH.map(|direction| policy.rules(direction).unwrap_or_default()));
    let profiles = worlds
        .profiles
        .iter()
        .flat_map(|profile| Direction::BOTH.map(|direction| profile.rules(direction)));
    policies.chain(profiles).flatten()
}

/// The next address of the family, if there is one.
fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(IpAddr::V4(address.to_bits().checked_add(1)?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(address.to_bits().checked_add(1)?.into())),
    }
}
