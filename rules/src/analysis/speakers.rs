//! Which policies can have something to say about a packet, found without asking each of them.
//!
//! Every rule of a world and direction has a bit. A packet's family and protocol, its destination port, its source and its
//! destination each have the bits of the rules that they do not rule out; an endpoint has those of the policies that
//! govern it. What is in all of them may match. This is only ever conservative: the evaluator decides.

use std::collections::BTreeMap;
use std::slice;

use super::address_class::{AddressClasses, Atom};
use crate::evaluate::Packet;
use crate::net::{Direction, PortRange};
use crate::world::{EndpointId, PlacedPolicy, Stage, WorldEntity, WorldKind, WorldRule, Worlds};

/// So few policies are asked as quickly as it is found out which of them need not be.
const FEW: usize = 2;

/// The index of both worlds. What it knows of an endpoint or an address it finds out when it is first asked.
pub(super) struct Speakers<'w> {
    addresses: AddressClasses,
    /// Where stretches of destination ports begin that no rule can tell apart.
    ports: Vec<u16>,
    /// For each endpoint the number of its group: those that the same policies select, in both worlds.
    groups: Vec<usize>,
    /// By world, then by direction.
    lanes: [[Lane<'w>; 2]; 2],
}

/// What matters of a packet.
#[derive(Clone, Copy)]
pub(super) struct Traits {
    pub(super) packet: Packet,
    /// The number of its family and protocol.
    kind: usize,
    /// The stretch of its destination port.
    stretch: usize,
    /// The classes of its addresses.
    source: usize,
    destination: usize,
}

/// How many protocols a family has.
const PROTOCOLS: usize = 256;

/// The rules of one world and direction.
struct Lane<'w> {
    policies: &'w [PlacedPolicy],
    /// The policy of each bit. Behind its rules each policy has one more bit, which stands for the end of its tier.
    owners: Vec<usize>,
    /// The rule of each bit.
    rules: Vec<Option<&'w WorldRule>>,
    /// The first bit of each policy.
    first: Vec<usize>,
    source: Side,
    destination: Side,
    ports: Ports,
    /// By family and protocol.
    by_kind: Vec<Option<Bits>>,
    /// By stage, then by group of endpoints.
    governing: [Vec<Option<Governing>>; 4],
}

/// Which rules a destination port does not rule out.
struct Ports {
    /// Rules without a condition.
    any: Bits,
    /// The ranges of the others, each with the bit of its rule.
    ranges: Vec<(PortRange, usize)>,
    /// The ranges that rules exclude, each with the bit of its rule.
    excluded: Vec<(PortRange, usize)>,
    /// By stretch.
    by_stretch: Vec<Option<Bits>>,
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
        let policies = || WorldKind::BOTH.map(|kind| &*worlds.world(kind).policies);
        let rules = || {
            let of_both = |policy: &'w PlacedPolicy| Direction::BOTH.map(|direction| policy.rules(direction));
            let policies = policies().into_iter().flatten();
            policies.flat_map(of_both).flatten().flatten()
        };
        let addresses = AddressClasses::new(worlds, rules());
        let ports = port_stretches(rules());
        let groups = groups(worlds);
        let number = groups.iter().max().map_or(0, |last| last + 1);
        let lanes = policies().map(|policies| {
            Direction::BOTH
                .map(|direction| Lane::new(policies, direction, &addresses, ports.len() + 1, number))
        });
        Speakers {
            addresses,
            ports,
            groups,
            lanes,
        }
    }

    /// The group of an endpoint: those that the same policies select, in both worlds. It is below the number of endpoints.
    pub(super) fn group(&self, endpoint: EndpointId) -> usize {
        self.groups[endpoint.0]
    }

    /// What the index is asked with.
    pub(super) fn traits(&self, packet: &Packet) -> Traits {
        Traits {
            packet: *packet,
            kind: packet.family() as usize * PROTOCOLS + usize::from(packet.protocol.0),
            stretch: self
                .ports
                .partition_point(|&start| start <= packet.destination_port),
            source: self.addresses.of(packet.source),
            destination: self.addresses.of(packet.destination),
        }
    }

    /// Finds out what [`Speakers::at`] has to know for an endpoint, at these stages.
    pub(super) fn learn(
        &mut self,
        worlds: &'w Worlds,
        kind: WorldKind,
        (endpoint, direction): (EndpointId, Direction),
        stages: impl Iterator<Item = Stage>,
        traits: &Traits,
    ) {
        let group = self.groups[endpoint.0];
        let lane = &mut self.lanes[kind as usize][direction as usize];
        let mut is_needed = false;
        for stage in stages {
            let governing = lane.governing[stage as usize][group].get_or_insert_with(|| {
                let policies = worlds.world(kind).selecting(endpoint).iter();
                Governing::new(
                    policies.map(|&index| index as usize),
                    (lane.policies, &lane.first),
                    direction,
                    stage,
                )
            });
            is_needed |= matches!(governing, Governing::Many(_));
        }
        if !is_needed {
            return;
        }
        let may_match = |rule: Option<&WorldRule>| rule.is_none_or(|rule| may_match(rule, &traits.packet));
        lane.by_kind[traits.kind].get_or_insert_with(|| bits(lane.rules.iter().copied().map(may_match)));
        lane.ports.learn(traits.stretch, traits.packet.destination_port);
        lane.source.learn(traits.source, &self.addresses);
        lane.destination.learn(traits.destination, &self.addresses);
    }

    /// The policies of an endpoint that can say something about a packet with these traits, in order. None, if that
    /// [was not learnt](Speakers::learn).
    pub(super) fn at(
        &self,
        kind: WorldKind,
        (endpoint, direction, stage): (EndpointId, Direction, Stage),
        traits: &Traits,
    ) -> impl Iterator<Item = &'w PlacedPolicy> {
        let lane = &self.lanes[kind as usize][direction as usize];
        let none = Candidates::Few(lane.policies, [].iter());
        match &lane.governing[stage as usize][self.groups[endpoint.0]] {
            None => none,
            Some(Governing::Few(few)) => Candidates::Few(lane.policies, few.iter()),
            Some(Governing::Many(words)) => match lane.not_ruled_out(traits) {
                None => none,
                Some(not_ruled_out) => Candidates::Many {
                    lane,
                    words: words.iter(),
                    not_ruled_out,
                    place: 0,
                    word: 0,
                    last: usize::MAX,
                },
            },
        }
    }
}

/// Policies that can say something, found one after the other: who stops early need not look for the rest.
enum Candidates<'s, 'w> {
    /// All of these.
    Few(&'w [PlacedPolicy], slice::Iter<'s, usize>),
    /// Those with a bit in all of these.
    Many {
        lane: &'s Lane<'w>,
        words: slice::Iter<'s, (usize, u64)>,
        not_ruled_out: [&'s Bits; 4],
        /// The word that is looked at, and what is left of it.
        place: usize,
        word: u64,
        /// The policy found last.
        last: usize,
    },
}

impl<'w> Iterator for Candidates<'_, 'w> {
    type Item = &'w PlacedPolicy;

    fn next(&mut self) -> Option<&'w PlacedPolicy> {
        match self {
            Candidates::Few(policies, few) => few.next().map(|&policy| &policies[policy]),
            Candidates::Many {
                lane,
                words,
                not_ruled_out,
                place,
                word,
                last,
            } => loop {
                while *word == 0 {
                    let (next, governing) = words.next()?;
                    *place = *next;
                    *word = not_ruled_out
                        .iter()
                        .fold(*governing, |word, bits| word & bits[*next]);
                }
                let owner = lane.owners[*place * 64 + word.trailing_zeros() as usize];
                *word &= *word - 1;
                if owner != *last {
                    *last = owner;
                    return Some(&lane.policies[owner]);
                }
            },
        }
    }
}

impl<'w> Lane<'w> {
    fn new(
        policies: &'w [PlacedPolicy],
        direction: Direction,
        addresses: &AddressClasses,
        stretches: usize,
        groups: usize,
    ) -> Self {
        let (mut owners, mut rules, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for (index, policy) in policies.iter().enumerate() {
            first.push(owners.len());
            rules.extend(policy.rules(direction).unwrap_or_default().iter().map(Some));
            rules.push(None);
            owners.resize(rules.len(), index);
        }
        first.push(owners.len());
        let none = || std::iter::repeat_with(|| None).take(groups).collect();
        Lane {
            policies,
            source: Side::new(&rules, |rule| &rule.source, addresses),
            destination: Side::new(&rules, |rule| &rule.destination, addresses),
            ports: Ports::new(&rules, stretches),
            owners,
            rules,
            first,
            by_kind: vec![None; 2 * PROTOCOLS],
            governing: [none(), none(), none(), none()],
        }
    }

    fn not_ruled_out(&self, traits: &Traits) -> Option<[&Bits; 4]> {
        Some([
            self.by_kind[traits.kind].as_ref()?,
            self.ports.by_stretch[traits.stretch].as_ref()?,
            self.source.by_class[traits.source].as_ref()?,
            self.destination.by_class[traits.destination].as_ref()?,
        ])
    }
}

impl Ports {
    fn new(rules: &[Option<&WorldRule>], stretches: usize) -> Self {
        let (mut ranges, mut excluded) = (Vec::new(), Vec::new());
        let mut is_any = Vec::with_capacity(rules.len());
        for (bit, rule) in rules.iter().enumerate() {
            let destination = rule.map(|rule| &rule.destination);
            // A named port may be any.
            let ports = destination.and_then(|destination| destination.ports.as_ref());
            let ports = ports.filter(|ports| ports.named.is_none());
            is_any.push(ports.is_none());
            ranges.extend(
                ports
                    .iter()
                    .flat_map(|ports| &ports.ranges)
                    .map(|&range| (range, bit)),
            );
            let not_ports = destination.and_then(|destination| destination.not_ports.as_ref());
            excluded.extend(
                not_ports
                    .iter()
                    .flat_map(|ports| &ports.ranges)
                    .map(|&range| (range, bit)),
            );
        }
        Ports {
            any: bits(is_any.into_iter()),
            ranges,
            excluded,
            by_stretch: vec![None; stretches],
        }
    }

    /// `port` is any of the stretch.
    fn learn(&mut self, stretch: usize, port: u16) {
        self.by_stretch[stretch].get_or_insert_with(|| {
            let mut bits = self.any.clone();
            for (_, bit) in self.ranges.iter().filter(|(range, _)| range.contains(port)) {
                bits[bit / 64] |= 1 << (bit % 64);
            }
            for (_, bit) in self.excluded.iter().filter(|(range, _)| range.contains(port)) {
                bits[bit / 64] &= !(1 << (bit % 64));
            }
            bits
        });
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

    fn learn(&mut self, class: usize, addresses: &AddressClasses) {
        self.by_class[class].get_or_insert_with(|| {
            let mut bits = self.any.clone();
            let met = addresses.met(class).iter();
            for bit in met.filter_map(|atom| self.by_atom.get(atom)).flatten() {
                bits[bit / 64] |= 1 << (bit % 64);
            }
            bits
        });
    }
}

impl Governing {
    fn new(
        policies: impl Iterator<Item = usize>,
        (all, first): (&[PlacedPolicy], &[usize]),
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

/// Whether a rule may match a packet, as far as can be said by its family and its protocol.
fn may_match(rule: &WorldRule, packet: &Packet) -> bool {
    rule.exists_for(packet.family())
        && rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
        && rule
            .not_protocol
            .is_none_or(|protocol| protocol != packet.protocol)
}

/// For each endpoint the number of its group.
fn groups(worlds: &Worlds) -> Vec<usize> {
    let mut known: BTreeMap<[&[u32]; 2], usize> = BTreeMap::new();
    let group = |endpoint: usize| {
        let policies = WorldKind::BOTH.map(|kind| worlds.world(kind).selecting(EndpointId(endpoint)));
        let next = known.len();
        *known.entry(policies).or_insert(next)
    };
    (0..worlds.endpoints.len()).map(group).collect()
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
