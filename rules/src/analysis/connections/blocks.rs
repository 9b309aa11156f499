//! Addresses that nothing in the worlds tells apart.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::Direction;
use crate::world::{WorldRule, Worlds};

/// Every address, cut into blocks: two of one block are the same to all that the blocks were made of. An address is found
/// by a binary search.
#[derive(Debug)]
pub(super) struct Blocks {
    /// The first address of each block, sorted, IPv4 before IPv6.
    starts: Vec<IpAddr>,
}

impl Blocks {
    /// Blocks whose addresses belong to the same endpoint, have the same name, and are the same to profiles and
    /// failsafes.
    pub(super) fn of(worlds: &[&Worlds]) -> Self {
        let mut starts = Starts::default();
        well_known().for_each(|net| starts.cut(net));
        for worlds in worlds {
            let own = worlds.host.interfaces.values().flatten();
            let known = worlds.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
            own.chain(known).for_each(|&address| starts.cut(address.into()));
            let named = worlds.networks.iter().flat_map(|network| &network.nets);
            named.for_each(|&net| starts.cut(net));
            let failsafes = Direction::BOTH.map(|direction| worlds.host.failsafes.ports(direction));
            let trusted = failsafes
                .into_iter()
                .flatten()
                .filter_map(|failsafe| failsafe.net);
            trusted.for_each(|net| starts.cut(net));
            let profiles = worlds.profiles.iter();
            let rules =
                profiles.flat_map(|profile| Direction::BOTH.map(|direction| profile.rules(direction)));
            rules.flatten().for_each(|rule| starts.cut_by(worlds, rule));
        }
        starts.into()
    }

    /// Blocks whose addresses are the same to these rules. Named ports belong to endpoints, and are no part of it.
    pub(super) fn of_rules<'w>(rules: impl Iterator<Item = (&'w Worlds, &'w WorldRule)>) -> Self {
        let mut starts = Starts::default();
        rules.for_each(|(worlds, rule)| starts.cut_by(worlds, rule));
        starts.into()
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

/// Where blocks begin.
#[derive(Default)]
struct Starts(BTreeSet<IpAddr>);

impl Starts {
    fn cut(&mut self, net: IpNet) {
        self.0.insert(net.network());
        self.0.extend(successor(net.broadcast()));
    }

    fn cut_by(&mut self, worlds: &Worlds, rule: &WorldRule) {
        for side in [&rule.source, &rule.destination] {
            let written = [&side.nets, &side.not_nets].into_iter().flatten().flatten();
            written.for_each(|&net| self.cut(net));
            for &set in [&side.set, &side.not_set].into_iter().flatten() {
                let nets = worlds.address_sets.get(set).nets.iter();
                nets.for_each(|&net| self.cut(net));
            }
        }
    }
}

impl From<Starts> for Blocks {
    fn from(starts: Starts) -> Self {
        Blocks {
            starts: starts.0.into_iter().collect(),
        }
    }
}

/// The next address of the family, if there is one.
fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(IpAddr::V4(address.to_bits().checked_add(1)?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(address.to_bits().checked_add(1)?.into())),
    }
}
