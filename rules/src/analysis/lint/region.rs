//! The packets that rules match, as blocks: what is left of one rule behind others can then be reckoned exactly.
//!
//! A block is a box in the space of all packets of one family. Ports and types of ICMP are there for every protocol,
//! as in [`Packet`](crate::evaluate::Packet), so the space holds packets that nobody sends; nothing is called
//! unreachable for lack of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::ranges::Ranges;
use crate::failsafe::Failsafe;
use crate::net::{Direction, Family, PortRange, Protocol};
use crate::resource::IcmpMatch;
use crate::world::{AddressSetId, WorldEntity, WorldPorts, WorldRule, Worlds};

/// The most blocks of a region: what would need more is left alone.
pub(super) const MOST_BLOCKS: usize = 256;

// What tells most rules apart comes first: it is looked at first.
const DESTINATION_PORT: usize = 0;
const PROTOCOL: usize = 1;
const SOURCE: usize = 2;
const DESTINATION: usize = 3;
const SOURCE_PORT: usize = 4;
/// Type and code of ICMP as one number, the code in the lower byte.
const ICMP: usize = 5;
const DIMENSIONS: usize = 6;

/// All packets of one family of which each property is in one set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    family: Family,
    sides: [Ranges; DIMENSIONS],
}

/// The packets of any of these blocks.
pub(super) type Region = Vec<Block>;

impl Block {
    /// Every packet of a family.
    fn all(family: Family) -> Self {
        let address = match family {
            Family::V4 => u128::from(u32::MAX),
            Family::V6 => u128::MAX,
        };
        let last = |side| match side {
            PROTOCOL => u128::from(u8::MAX),
            SOURCE | DESTINATION => address,
            _ => u128::from(u16::MAX),
        };
        Block {
            family,
            sides: std::array::from_fn(|side| Ranges::one(0, last(side))),
        }
    }

    fn is_empty(&self) -> bool {
        self.sides.iter().any(Ranges::is_empty)
    }

    fn overlaps(&self, other: &Block) -> bool {
        self.family == other.family
            && (self.sides.iter().zip(&other.sides)).all(|(one, other)| one.overlaps(other))
    }

    fn intersect(&self, other: &Block) -> Option<Block> {
        self.overlaps(other).then(|| Block {
            family: self.family,
            sides: std::array::from_fn(|side| self.sides[side].intersect(&other.sides[side])),
        })
    }

    /// What is in this one and not in the other, in disjoint blocks.
    fn minus(&self, other: &Block) -> Region {
        if !self.overlaps(other) {
            return vec![self.clone()];
        }
        let mut left = Vec::new();
        let mut common = self.clone();
        for side in 0..DIMENSIONS {
            let outside = self.sides[side].minus(&other.sides[side]);
            if !outside.is_empty() {
                let mut block = common.clone();
                block.sides[side] = outside;
                left.push(block);
                common.sides[side] = self.sides[side].intersect(&other.sides[side]);
            }
        }
        left
    }

    fn narrow(&mut self, side: usize, to: &Ranges) {
        self.sides[side] = self.sides[side].intersect(to);
    }
}

/// Every packet of both families.
pub(super) fn everything() -> Region {
    Family::BOTH.map(Block::all).to_vec()
}

/// Whether a packet is in both.
pub(super) fn overlaps(one: &[Block], other: &[Block]) -> bool {
    one.iter()
        .any(|block| other.iter().any(|with| block.overlaps(with)))
}

/// What is in both.
pub(super) fn intersect(one: &[Block], other: &[Block]) -> Region {
    let pairs = one
        .iter()
        .flat_map(|block| other.iter().map(move |with| (block, with)));
    pairs.filter_map(|(block, with)| block.intersect(with)).collect()
}

/// What is in `one` and not in `other`; `None` if that would be too many blocks.
pub(super) fn minus(one: Region, other: &[Block]) -> Option<Region> {
    other.iter().try_fold(one, |left, hole| {
        let left: Region = left.iter().flat_map(|block| block.minus(hole)).collect();
        (left.len() <= MOST_BLOCKS).then_some(left)
    })
}

/// The same packets on their way back: what was the source is the destination.
pub(super) fn reversed(region: &[Block]) -> Region {
    let reverse = |block: &Block| {
        let mut block = block.clone();
        block.sides.swap(SOURCE, DESTINATION);
        block.sides.swap(SOURCE_PORT, DESTINATION_PORT);
        block
    };
    region.iter().map(reverse).collect()
}

/// The packets that are not ICMP: answers in ICMP are of other types than what they answer.
pub(super) fn without_icmp(mut region: Region) -> Region {
    for block in &mut region {
        let protocol = Protocol::icmp_of(block.family);
        block.sides[PROTOCOL] = block.sides[PROTOCOL].minus(&one(protocol.0));
    }
    region.retain(|block| !block.is_empty());
    region
}

/// What a failsafe of a direction lets pass. With `answers`, what comes from its port rather than goes to it.
pub(super) fn of_failsafe(failsafe: &Failsafe, direction: Direction, answers: bool) -> Region {
    let peer = match direction {
        Direction::Ingress => SOURCE,
        Direction::Egress => DESTINATION,
    };
    let families = Family::BOTH.into_iter().filter(|&family| {
        let net = failsafe.net.as_ref();
        net.is_none_or(|&net| Family::of_net(net) == family)
    });
    let block = |family| {
        let mut block = Block::all(family);
        block.narrow(PROTOCOL, &one(failsafe.protocol.0));
        let port = if answers { SOURCE_PORT } else { DESTINATION_PORT };
        block.narrow(port, &ports(&[failsafe.ports]));
        if let Some(net) = failsafe.net {
            block.narrow(peer, &Ranges::union([range(net)]));
        }
        block
    };
    families.map(block).collect()
}

/// ICMPv6 of these types, each an inclusive range.
pub(super) fn of_icmpv6(types: &[(u8, u8)]) -> Region {
    let block = |&(first, last): &(u8, u8)| {
        let mut block = Block::all(Family::V6);
        block.narrow(PROTOCOL, &one(Protocol::ICMPV6.0));
        block.narrow(
            ICMP,
            &Ranges::one(u128::from(first) << 8, (u128::from(last) << 8) | 0xff),
        );
        block
    };
    types.iter().map(block).collect()
}

/// The regions of rules, with the addresses of each address set reckoned once.
pub(super) struct Regions<'w> {
    worlds: &'w Worlds,
    sets: BTreeMap<(AddressSetId, Family), Ranges>,
}

impl<'w> Regions<'w> {
    /// Of rules of these worlds.
    pub(super) fn new(worlds: &'w Worlds) -> Self {
        Regions {
            worlds,
            sets: BTreeMap::new(),
        }
    }

    /// What a rule matches, exactly; `None` if that would be too many blocks.
    pub(super) fn of_rule(&mut self, rule: &WorldRule) -> Option<Region> {
        let mut region = Region::new();
        for family in Family::BOTH {
            if rule.exists_for(family) {
                region.extend(self.of_family(rule, family)?);
            }
        }
        (region.len() <= MOST_BLOCKS).then_some(region)
    }

    fn of_family(&mut self, rule: &WorldRule, family: Family) -> Option<Region> {
        let mut block = Block::all(family);
        if let Some(protocol) = rule.protocol {
            block.narrow(PROTOCOL, &one(protocol.0));
        }
        if let Some(protocol) = rule.not_protocol {
            block.sides[PROTOCOL] = block.sides[PROTOCOL].minus(&one(protocol.0));
        }
        if rule.icmp.is_some() || rule.not_icmp.is_some() {
            block.narrow(PROTOCOL, &one(Protocol::icmp_of(family).0));
        }
        if let Some(icmp) = rule.icmp {
            block.narrow(ICMP, &types(icmp));
        }
        if let Some(icmp) = rule.not_icmp {
            block.sides[ICMP] = block.sides[ICMP].minus(&types(icmp));
        }
        let sides = [
            (&rule.source, SOURCE, SOURCE_PORT),
            (&rule.destination, DESTINATION, DESTINATION_PORT),
        ];
        for (entity, address, _) in sides {
            self.narrow_addresses(&mut block, address, entity);
        }
        let mut region = vec![block];
        region.retain(|block| !block.is_empty());
        for (entity, address, port) in sides {
            if let Some(ports) = &entity.ports {
                region = intersect(&region, &self.of_ports(ports, family, address, port));
            }
            if let Some(ports) = &entity.not_ports {
                region = minus(region, &self.of_ports(ports, family, address, port))?;
            }
        }
        Some(region)
    }

    fn narrow_addresses(&mut self, block: &mut Block, side: usize, entity: &WorldEntity) {
        let family = block.family;
        let of_family = |nets: &[IpNet]| {
            let nets = nets.iter().filter(|net| Family::of_net(**net) == family);
            Ranges::union(nets.map(|&net| range(net)))
        };
        if let Some(nets) = &entity.nets {
            block.narrow(side, &of_family(nets));
        }
        if let Some(nets) = &entity.not_nets {
            block.sides[side] = block.sides[side].minus(&of_family(nets));
        }
        if let Some(set) = entity.set {
            block.narrow(side, &self.of_set(set, family));
        }
        if let Some(set) = entity.not_set {
            block.sides[side] = block.sides[side].minus(&self.of_set(set, family));
        }
    }

    fn of_set(&mut self, set: AddressSetId, family: Family) -> Ranges {
        let worlds = self.worlds;
        let reckon = || Ranges::union(worlds.address_sets.get(set).of_family(family).map(range));
        self.sets.entry((set, family)).or_insert_with(reckon).clone()
    }

    /// Packets to or from these ports; a named one is the port of some addresses.
    fn of_ports(&self, written: &WorldPorts, family: Family, address: usize, port: usize) -> Region {
        let mut region = Region::new();
        if !written.ranges.is_empty() {
            let mut block = Block::all(family);
            block.narrow(port, &ports(&written.ranges));
            region.push(block);
        }
        let Some(named) = written.named else {
            return region;
        };
        let named = self.worlds.named_ports.get(named);
        let mut by_port: BTreeMap<u16, Vec<IpAddr>> = BTreeMap::new();
        for (member, port) in named.of_family(family) {
            by_port.entry(port).or_default().push(member);
        }
        for (number, members) in by_port {
            let mut block = Block::all(family);
            block.narrow(PROTOCOL, &one(named.protocol.0));
            block.narrow(port, &ports(&[PortRange::one(number)]));
            let members = members.into_iter().map(|member| range(IpNet::from(member)));
            block.narrow(address, &Ranges::union(members));
            region.push(block);
        }
        region
    }
}

/// How many ranges of ports a [`Hull`] tells apart.
const FEW: usize = 4;

/// A summary of a region in one piece of memory: a look at it mostly tells that two regions have nothing in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hull {
    /// Ranges that cover the destination ports; the rest of them empty.
    ports: [(u16, u16); FEW],
    /// The lowest and the highest of every dimension, of each family that there is.
    sides: [Option<[(u128, u128); DIMENSIONS]>; 2],
}

impl Hull {
    /// The hull of a region.
    pub(super) fn of(region: &[Block]) -> Self {
        let sides = Family::BOTH.map(|family| {
            let blocks = region.iter().filter(|block| block.family == family);
            let hulls =
                blocks.map(|block| std::array::from_fn(|side| block.sides[side].hull().unwrap_or((1, 0))));
            hulls.reduce(|one: [(u128, u128); DIMENSIONS], other| {
                std::array::from_fn(|side| (one[side].0.min(other[side].0), one[side].1.max(other[side].1)))
            })
        });
        let ports = region
            .iter()
            .flat_map(|block| block.sides[DESTINATION_PORT].iter());
        let mut covering: Vec<(u16, u16)> = Ranges::union(ports)
            .iter()
            .map(|(first, last)| (port(first), port(last)))
            .collect();
        while covering.len() > FEW {
            let gap = |index: &usize| covering[index + 1].0 - covering[*index].1;
            let Some(index) = (0..covering.len() - 1).min_by_key(gap) else {
                break;
            };
            covering[index].1 = covering.remove(index + 1).1;
        }
        Hull {
            ports: std::array::from_fn(|index| covering.get(index).copied().unwrap_or((1, 0))),
            sides,
        }
    }

    /// Whether the regions may have something in common.
    pub(super) fn may_overlap(&self, other: &Hull) -> bool {
        let meet = |one: &(u16, u16), other: &(u16, u16)| {
            one.0 <= one.1 && other.0 <= other.1 && one.0 <= other.1 && other.0 <= one.1
        };
        let shares_port = |one: &(u16, u16)| other.ports.iter().any(|other| meet(one, other));
        let mut families = self.sides.iter().zip(&other.sides);
        self.ports.iter().any(shares_port)
            && families.any(|pair| match pair {
                (Some(one), Some(other)) => {
                    let mut sides = one.iter().zip(other);
                    sides.all(|(one, other)| one.0 <= other.1 && other.0 <= one.1)
                }
                _ => false,
            })
    }
}

/// A number that is a port.
fn port(number: u128) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn one(number: u8) -> Ranges {
    Ranges::one(number.into(), number.into())
}

fn ports(ranges: &[PortRange]) -> Ranges {
    Ranges::union(ranges.iter().map(|range| (range.first.into(), range.last.into())))
}

fn types(icmp: IcmpMatch) -> Ranges {
    let first = u128::from(icmp.icmp_type) << 8;
    match icmp.code {
        Some(code) => Ranges::one(first | u128::from(code), first | u128::from(code)),
        None => Ranges::one(first, first | 0xff),
    }
}

fn range(net: IpNet) -> (u128, u128) {
    match net {
        IpNet::V4(net) => (u32::from(net.network()).into(), u32::from(net.broadcast()).into()),
        IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
    }
}
