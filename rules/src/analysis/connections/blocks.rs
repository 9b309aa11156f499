//! Addresses and ports that nothing in the worlds tells apart.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::{Direction, PortRange};
use crate::world::{PlacedPolicy, WorldKind, WorldRule, Worlds};

/// Every address, cut into blocks: two of one block are the same to all that the blocks were made of. An address is found
/// by a binary search.
#[derive(Debug)]
pub struct Blocks {
    /// The first address of each block, sorted, IPv4 before IPv6.
    starts: Vec<IpAddr>,
}

impl Blocks {
    /// Blocks whose addresses nothing tells apart: no endpoint, no name, no rule in either world.
    pub fn of_everything(worlds: &Worlds) -> Self {
        let mut starts = Starts::default();
        starts.cut_by_names(worlds);
        // Many rules look at one set.
        let sets = worlds.address_sets.iter();
        sets.flat_map(|set| &set.nets).for_each(|&net| starts.cut(net));
        let policies = WorldKind::BOTH.map(|kind| worlds.world(kind).policies.iter());
        let rules = policies.into_iter().flatten().flat_map(rules);
        rules.for_each(|rule| starts.cut_by_nets(rule));
        starts.into()
    }

    /// Blocks whose addresses belong to the same endpoint, have the same name, and are the same to profiles and
    /// failsafes.
    pub(super) fn of(worlds: &[&Worlds]) -> Self {
        let mut starts = Starts::default();
        for worlds in worlds {
            starts.cut_by_names(worlds);
        }
        starts.into()
    }

    /// Blocks whose addresses are the same to these rules. Named ports belong to endpoints, and are no part of it.
    pub(super) fn of_rules<'w>(rules: impl Iterator<Item = (&'w Worlds, &'w WorldRule)>) -> Self {
        let mut starts = Starts::default();
        rules.for_each(|(worlds, rule)| starts.cut_by(worlds, rule));
        starts.into()
    }

    /// The first address of the block that an address is in.
    pub fn first_of(&self, address: IpAddr) -> IpAddr {
        // 0.0.0.0 and :: begin blocks, so that there is one before every address.
        let block = self.of_address(address).checked_sub(1);
        block
            .and_then(|block| self.starts.get(block))
            .copied()
            .unwrap_or(address)
    }

    /// The block that an address is in.
    pub fn of_address(&self, address: IpAddr) -> usize {
        self.starts.partition_point(|start| *start <= address)
    }
}

/// Destination ports, cut where a rule begins or ends: two of one block are the same to every rule that names ports.
#[derive(Debug)]
pub struct PortBlocks(Vec<u16>);

impl PortBlocks {
    /// Blocks whose ports are the same to every rule that can decide, in both worlds.
    pub fn of_everything(worlds: &Worlds) -> Self {
        let policies = WorldKind::BOTH.map(|kind| worlds.world(kind).policies.iter());
        let profiles = worlds.profiles.iter();
        let profiles = profiles.flat_map(|profile| Direction::BOTH.map(|direction| profile.rules(direction)));
        let named = worlds.named_ports.iter().flat_map(|set| &set.members);
        let named = named.map(|&(_, port)| PortRange {
            first: port,
            last: port,
        });
        let failsafes = Direction::BOTH.map(|direction| worlds.host.failsafes.ports(direction));
        let failsafes = failsafes.into_iter().flatten().map(|failsafe| failsafe.ports);
        let rules = policies
            .into_iter()
            .flatten()
            .flat_map(rules)
            .chain(profiles.flatten());
        PortBlocks::cut_by(ranges(rules).chain(named).chain(failsafes))
    }

    /// Blocks whose ports are the same to every policy that names ports by number.
    pub(super) fn of(worlds: &[&Worlds]) -> Self {
        let policies = worlds
            .iter()
            .flat_map(|worlds| WorldKind::BOTH.map(|kind| worlds.world(kind).policies.iter()));
        PortBlocks::cut_by(ranges(policies.flatten().flat_map(rules)))
    }

    /// The block that a port is in.
    pub fn of_port(&self, port: u16) -> usize {
        self.0.partition_point(|start| *start <= port)
    }

    fn cut_by(ranges: impl Iterator<Item = PortRange>) -> Self {
        let starts: BTreeSet<u16> = ranges
            .flat_map(|range| [Some(range.first), range.last.checked_add(1)])
            .flatten()
            .collect();
        PortBlocks(starts.into_iter().collect())
    }
}

/// The ranges of destination ports that rules name.
fn ranges<'w>(rules: impl Iterator<Item = &'w WorldRule>) -> impl Iterator<Item = PortRange> {
    let ports = rules.flat_map(|rule| [&rule.destination.ports, &rule.destination.not_ports]);
    ports.flatten().flat_map(|ports| &ports.ranges).copied()
}

/// The rules of a policy, in both directions.
pub(super) fn rules(policy: &PlacedPolicy) -> impl Iterator<Item = &WorldRule> {
    let directions = Direction::BOTH.map(|direction| policy.rules(direction).unwrap_or_default());
    directions.into_iter().flatten()
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

    /// By whatever gives addresses a name or an endpoint, by profiles and by failsafes.
    fn cut_by_names(&mut self, worlds: &Worlds) {
        well_known().for_each(|net| self.cut(net));
        let own = worlds.host.interfaces.values().flatten();
        let known = worlds.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        own.chain(known).for_each(|&address| self.cut(address.into()));
        let named = worlds.networks.iter().flat_map(|network| &network.nets);
        named.for_each(|&net| self.cut(net));
        let failsafes = Direction::BOTH.map(|direction| worlds.host.failsafes.ports(direction));
        let trusted = failsafes
            .into_iter()
            .flatten()
            .filter_map(|failsafe| failsafe.net);
        trusted.for_each(|net| self.cut(net));
        let profiles = worlds.profiles.iter();
        let rules = profiles.flat_map(|profile| Direction::BOTH.map(|direction| profile.rules(direction)));
        rules.flatten().for_each(|rule| self.cut_by(worlds, rule));
    }

    /// By the prefixes that a rule names itself.
    fn cut_by_nets(&mut self, rule: &WorldRule) {
        for side in [&rule.source, &rule.destination] {
            let written = [&side.nets, &side.not_nets].into_iter().flatten().flatten();
            written.for_each(|&net| self.cut(net));
        }
    }

    fn cut_by(&mut self, worlds: &Worlds, rule: &WorldRule) {
        self.cut_by_nets(rule);
        for side in [&rule.source, &rule.destination] {
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
