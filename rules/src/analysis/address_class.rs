//! Addresses that no rule can tell apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::{Family, merge_nets};
use crate::world::{AddressSetId, WorldEntity, WorldRule, Worlds};

/// One condition on addresses that rules share, by number.
pub(super) type Atom = usize;

/// The addresses of the world, divided by which conditions of a list of rules they meet.
pub(super) struct AddressClasses {
    sets: BTreeMap<AddressSetId, Atom>,
    nets: BTreeMap<Vec<IpNet>, Atom>,
    /// Where each stretch of IPv4 addresses begins; the first at 0. Short, because that is all a search looks at.
    v4: Vec<u32>,
    /// The same for IPv6.
    v6: Vec<u128>,
    /// The class of each stretch, by family.
    class_of: [Vec<usize>; 2],
    /// The conditions that each class meets, in ascending order.
    classes: Vec<Vec<Atom>>,
}

impl AddressClasses {
    /// The classes that these rules make.
    pub(super) fn new<'r>(worlds: &Worlds, rules: impl Iterator<Item = &'r WorldRule>) -> Self {
        let mut classes = AddressClasses {
            sets: BTreeMap::new(),
            nets: BTreeMap::new(),
            v4: Vec::new(),
            v6: Vec::new(),
            class_of: [Vec::new(), Vec::new()],
            classes: Vec::new(),
        };
        // Each a beginning or, one behind the last address, an end.
        let mut edges: [Vec<(u128, Atom, bool)>; 2] = [Vec::new(), Vec::new()];
        let mut atoms = 0;
        for entity in rules.flat_map(|rule| [&rule.source, &rule.destination]) {
            if classes.atom(entity).is_some() {
                continue;
            }
            let nets = match (entity.set, &entity.nets) {
                (Some(set), _) => {
                    classes.sets.insert(set, atoms);
                    worlds.address_sets.get(set).nets.clone()
                }
                (None, Some(nets)) => {
                    classes.nets.insert(nets.clone(), atoms);
                    merge_nets(nets)
                }
                (None, None) => continue,
            };
            for net in nets {
                let edges = &mut edges[Family::of_net(net) as usize];
                edges.push((number(net.network()), atoms, true));
                if let Some(behind) = number(net.broadcast()).checked_add(1) {
                    edges.push((behind, atoms, false));
                }
            }
            atoms += 1;
        }
        let mut known: BTreeMap<Vec<Atom>, usize> = BTreeMap::new();
        let mut starts: [Vec<u128>; 2] = [Vec::new(), Vec::new()];
        for ((starts, class_of_stretch), mut edges) in starts.iter_mut().zip(&mut classes.class_of).zip(edges)
        {
            edges.sort_unstable();
            let mut met: BTreeSet<Atom> = BTreeSet::new();
            let mut class_of = |met: &BTreeSet<Atom>| {
                let met: Vec<Atom> = met.iter().copied().collect();
                let next = known.len();
                *known.entry(met).or_insert(next)
            };
            starts.push(0);
            class_of_stretch.push(class_of(&met));
            for place in edges.chunk_by(|a, b| a.0 == b.0) {
                // Where one prefix of a condition ends another may begin, so ends go first.
                for &(_, atom, _) in place.iter().filter(|(.., begins)| !begins) {
                    met.remove(&atom);
                }
                met.extend(place.iter().filter(|(.., begins)| *begins).map(|edge| edge.1));
                starts.push(place[0].0);
                class_of_stretch.push(class_of(&met));
            }
        }
        let [v4, v6] = starts;
        // What is no address is the end behind the last one, where nothing is looked for.
        classes.v4 = v4
            .into_iter()
            .filter_map(|start| u32::try_from(start).ok())
            .collect();
        classes.v6 = v6;
        let mut by_number: Vec<(usize, Vec<Atom>)> =
            known.into_iter().map(|(met, class)| (class, met)).collect();
        by_number.sort_unstable();
        classes.classes = by_number.into_iter().map(|(_, met)| met).collect();
        classes
    }

    /// The condition that an address must meet for this side of a rule to match, if one was chosen for it. There may be
    /// more.
    pub(super) fn atom(&self, entity: &WorldEntity) -> Option<Atom> {
        match (entity.set, &entity.nets) {
            (Some(set), _) => self.sets.get(&set).copied(),
            (None, Some(nets)) => self.nets.get(nets).copied(),
            (None, None) => None,
        }
    }

    /// The class of an address: an index below [`AddressClasses::len`].
    pub(super) fn of(&self, address: IpAddr) -> usize {
        let behind = match address {
            IpAddr::V4(address) => self.v4.partition_point(|&start| start <= address.to_bits()),
            IpAddr::V6(address) => self.v6.partition_point(|&start| start <= address.to_bits()),
        };
        // The first one begins at 0.
        self.class_of[Family::of(address) as usize][behind - 1]
    }

    /// The conditions that a class meets.
    pub(super) fn met(&self, class: usize) -> &[Atom] {
        &self.classes[class]
    }

    /// How many classes there are.
    pub(super) fn len(&self) -> usize {
        self.classes.len()
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
