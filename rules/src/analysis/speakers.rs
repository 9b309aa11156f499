//! Which policies can have something to say about a packet, found without asking each of them.
//!
//! Every rule of a world and direction has a bit. What a packet has of a protocol and a destination port, its source and
//! its destination each have the bits of the rules that they do not rule out; an endpoint has those of the policies that
//! govern it. What is in all four may match. This is only ever conservative: the evaluator decides.

use std::collections::BTreeMap;

use super::address_class::{AddressClasses, Atom};
use crate::evaluate::Packet;
use crate::net::{Direction, Family, Protocol};
use crate::world::{EndpointId, Stage, WorldEntity, WorldKind, WorldPolicy, WorldPorts, WorldRule, Worlds};

/// So few policies are asked as quickly as it is found out which of them need not be.
const FEW: usize = 2;

/// The index of both worlds. What it knows of an endpoint or an address it finds out when it is first asked.
pub(super) struct Speakers<'w> {
    addresses: AddressClasses,
    /// Where stretches of destination ports begin that no rule can tell apart.
    ports: Vec<u16>,
    /// The shapes that were asked, each with its number.
    shapes: BTreeMap<Shape, usize>,
    /// By world, then by direction.
    lanes: [[Lane<'w>; 2]; 2],
}

/// What matters of a packet.
#[derive(Clone, Copy)]
pub(super) struct Traits {
    pub(super) packet: Packet,
    /// The number of its shape.
    shape: usize,
    /// The classes of its addresses.
    source: usize,
    destination: usize,
}

/// What a packet has besides its addresses; the port is the number of its stretch.
type Shape = (Family, Protocol, usize);

/// The rules of one world and direction.
struct Lane<'w> {
    policies: &'w [WorldPolicy],
    /// The policy of each bit. Behind its rules each policy has one more bit, which stands for the end of its tier.
    owners: Vec<usize>,
    /// The rule of each bit.
    rules: Vec<Option<&'w WorldRule>>,
    /// The first bit of each policy.
    first: Vec<usize>,
    source: Side,
    destination: Side,
    /// By number of the shape.
    by_shape: Vec<Option<Bits>>,
    /// By stage, then by endpoint.
    governing: [Vec<Option<Governing>>; 4],
}

/// Which rules an address does not rule out, on one side.
struct Side {
    /// Rules without a condition.
    any: Bits,
    /// Rules by their condition.
    by_atom: BTreeMap<Atom, Vec<usize>>,
    /// By class of address.
    by_class: Vec<Option<Bits>>,
}

/// The policies of an endpoint at one stage.
enum Governing {
    /// All of them.
    Few(Vec<usize>),
    /// The bits of their rules and of the last of each tier: the words that have any, with their places.
    Many(Vec<(usize, u64)>),
}

/// A set of rules of a lane.
type Bits = Box<[u64]>;

impl<'w> Speakers<'w> {
    pub(super) fn new(worlds: &'w Worlds) -> Self {
        let policies = || WorldKind::BOTH.map(|kind| worlds.world(kind).policies.as_slice());
        let rules = || {
            let of_both = |policy: &'w WorldPolicy| Direction::BOTH.map(|direction| policy.rules(direction));
            let policies = policies().into_iter().flatten();
            policies.flat_map(of_both).flatten().flatten()
        };
        let addresses = AddressClasses::new(worlds, rules());
        let ports = port_stretches(rules());
        let lanes = policies().map(|policies| {
            Direction::BOTH
                .map(|direction| Lane::new(policies, direction, &addresses, worlds.endpoints.len()))
        });
        Speakers {
            addresses,
            ports,
            shapes: BTreeMap::new(),
            lanes,
        }
    }

    /// What the index is asked with.
    pub(super) fn traits(&mut self, packet: &Packet) -> Traits {
        let stretch = self
            .ports
            .partition_point(|&start| start <= packet.destination_port);
        let next = self.shapes.len();
        let shape = (packet.family(), packet.protocol, stretch);
        Traits {
            packet: *packet,
            shape: *self.shapes.entry(shape).or_insert(next),
            source: self.addresses.of(packet.source),
            destination: self.addresses.of(packet.destination),
        }
    }

    /// The policies of an endpoint that can say something about a packet with these traits, in order.
    pub(super) fn of(
        &mut self,
        worlds: &'w Worlds,
        kind: WorldKind,
        (endpoint, direction, stage): (EndpointId, Direction, Stage),
        traits: &Traits,
    ) -> Vec<&'w WorldPolicy> {
        let lane = &mut self.lanes[kind as usize][direction as usize];
        let slot = &mut lane.governing[stage as usize][endpoint.0];
        let governing = match slot {
            Some(governing) => governing,
            None => slot.insert(Governing::new(
                worlds.world(kind).by_endpoint[endpoint.0].iter().copied(),
                (lane.policies, &lane.first),
                direction,
                stage,
            )),
        };
        let words = match governing {
            Governing::Few(few) => return few.iter().map(|&policy| &lane.policies[policy]).collect(),
            Governing::Many(words) => words,
        };
        if lane.by_shape.len() <= traits.shape {
            lane.by_shape.resize(traits.shape + 1, None);
        }
        let rules = lane.rules.iter().copied();
        let can_match = |rule: Option<&WorldRule>| rule.is_none_or(|rule| may_match(rule, &traits.packet));
        let shape = lane.by_shape[traits.shape].get_or_insert_with(|| bits(rules.map(can_match)));
        let source = lane.source.bits(traits.source, &self.addresses);
        let destination = lane.destination.bits(traits.destination, &self.addresses);
        let mut speakers: Vec<&WorldPolicy> = Vec::new();
        let mut last = usize::MAX;
        for &(place, word) in words.iter() {
            let mut word = word & shape[place] & source[place] & destination[place];
            while word != 0 {
                let owner = lane.owners[place * 64 + word.trailing_zeros() as usize];
                if owner != last {
                    speakers.push(&lane.policies[owner]);
                    last = owner;
                }
                word &= word - 1;
            }
        }
        speakers
    }
}

impl<'w> Lane<'w> {
    fn new(
        policies: &'w [WorldPolicy],
        direction: Direction,
        addresses: &AddressClasses,
        endpoints: usize,
    ) -> Self {
        let (mut owners, mut rules, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for (index, policy) in policies.iter().enumerate() {
            first.push(owners.len());
            rules.extend(policy.rules(direction).unwrap_or_default().iter().map(Some));
            rules.push(None);
            owners.resize(rules.len(), index);
        }
        first.push(owners.len());
        let none = || std::iter::repeat_with(|| None).take(endpoints).collect();
        Lane {
            policies,
            source: Side::new(&rules, |rule| &rule.source, addresses),
            destination: Side::new(&rules, |rule| &rule.destination, addresses),
            owners,
            rules,
            first,
            by_shape: Vec::new(),
            governing: [none(), none(), none(), none()],
        }
    }
}

impl Side {
    fn new(
        rules: &[Option<&WorldRule>],
        side: impl Fn(&WorldRule) -> &WorldEntity,
        addresses: &AddressClasses,
    ) -> Self {
        let atoms = rules
            .iter()
            .map(|rule| rule.and_then(|rule| addresses.atom(side(rule))));
        let mut by_atom: BTreeMap<Atom, Vec<usize>> = BTreeMap::new();
        for (bit, atom) in atoms.clone().enumerate() {
            if let Some(atom) = atom {
                by_atom.entry(atom).or_default().push(bit);
            }
        }
        Side {
            any: bits(atoms.map(|atom| atom.is_none())),
            by_atom,
            by_class: vec![None; addresses.len()],
        }
    }

    fn bits(&mut self, class: usize, addresses: &AddressClasses) -> &Bits {
        let Side {
            any,
            by_atom,
            by_class,
        } = self;
        by_class[class].get_or_insert_with(|| {
            let mut bits = any.clone();
            let met = addresses.met(class).iter().filter_map(|atom| by_atom.get(atom));
            for bit in met.flatten() {
                bits[bit / 64] |= 1 << (bit % 64);
            }
            bits
        })
    }
}

impl Governing {
    fn new(
        policies: impl Iterator<Item = usize>,
        (all, first): (&[WorldPolicy], &[usize]),
        direction: Direction,
        stage: Stage,
    ) -> Self {
        let governs = |&index: &usize| stage.asks(all[index].stage) && all[index].rules(direction).is_some();
        let governing: Vec<usize> = policies.filter(governs).collect();
        if governing.len() <= FEW {
            return Governing::Few(governing);
        }
        let mut words: Vec<(usize, u64)> = Vec::new();
        let mut set = |bit: usize| match words.last_mut() {
            Some((place, word)) if *place == bit / 64 => *word |= 1 << (bit % 64),
            _ => words.push((bit / 64, 1 << (bit % 64))),
        };
        for (place, &index) in governing.iter().enumerate() {
            let behind = governing[place + 1..].iter().map(|&next| &all[next]);
            let mut of_tier = behind.take_while(|next| next.tier == all[index].tier);
            // Nets come last in their tier, and the walk without them ends before the first.
            let is_last = of_tier.next().is_none_or(|next| next.safety_net);
            (first[index]..first[index + 1] - usize::from(!is_last)).for_each(&mut set);
        }
        Governing::Many(words)
    }
}

/// Whether a rule may match a packet, as far as can be said without its addresses and its source port.
fn may_match(rule: &WorldRule, packet: &Packet) -> bool {
    let holds = |ports: &WorldPorts| {
        let mut ranges = ports.ranges.iter();
        ranges.any(|range| range.contains(packet.destination_port))
    };
    rule.exists_for(packet.family())
        && rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
        && rule
            .not_protocol
            .is_none_or(|protocol| protocol != packet.protocol)
        && rule
            .destination
            .ports
            .as_ref()
            .is_none_or(|ports| ports.named.is_some() || holds(ports))
        && rule
            .destination
            .not_ports
            .as_ref()
            .is_none_or(|ports| !holds(ports))
}

/// Where the stretches of ports begin that no rule can tell apart, but for the first.
fn port_stretches<'r>(rules: impl Iterator<Item = &'r WorldRule>) -> Vec<u16> {
    let ports = rules.flat_map(|rule| [&rule.destination.ports, &rule.destination.not_ports]);
    let ranges = ports.flatten().flat_map(|ports| &ports.ranges);
    let mut starts: Vec<u16> = ranges
        .flat_map(|range| [Some(range.first), range.last.checked_add(1)])
        .flatten()
        .collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

fn bits(rules: impl Iterator<Item = bool>) -> Bits {
    let mut words = Vec::new();
    for (bit, is_set) in rules.enumerate() {
        if bit % 64 == 0 {
            words.push(0);
        }
        words[bit / 64] |= u64::from(is_set) << (bit % 64);
    }
    words.into_boxed_slice()
}
