//! The addresses that selectors stand for.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::changes::Changes;
use super::interner::Interner;
use super::merged::merged_from;
use super::objects::Objects;
use crate::net::{Family, merge_nets};
use crate::selector::Selector;

/// Every address set of the worlds, each selector once.
///
/// A set keeps its number from one generation to the next, so there may be some that no rule asks for any more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AddressSets(Interner<Selector, Interned>);

/// An address set in [`AddressSets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressSetId(u32);

/// The addresses of everything that one selector selects.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressSet {
    /// The selector.
    pub selector: Arc<Selector>,
    /// The fewest sorted prefixes that cover the addresses, both families.
    pub nets: Vec<IpNet>,
}

/// A set and whose addresses it has.
#[derive(Clone, Debug, PartialEq)]
struct Interned {
    set: Arc<AddressSet>,
    endpoints: Arc<[u32]>,
    networks: Arc<[u32]>,
}

impl AddressSets {
    /// The set of a selector, made from the objects it selects if it is not there yet.
    pub(super) fn intern(&mut self, selector: &Selector, objects: &Objects<'_>) -> AddressSetId {
        if let Some(id) = self.0.find(selector) {
            return AddressSetId(id);
        }
        let selector = Arc::new(selector.clone());
        let (endpoints, networks) = (objects.endpoints_of(&selector), objects.networks_of(&selector));
        let set = Arc::new(AddressSet {
            nets: merge_nets(&nets(objects, &endpoints, &networks).collect::<Vec<_>>()),
            selector: Arc::clone(&selector),
        });
        let interned = Interned {
            set,
            endpoints,
            networks,
        };
        AddressSetId(self.0.add(selector, interned))
    }

    /// Makes again what these changes can be seen in: other sets, and of those the stretches that change.
    pub(super) fn follow(
        &mut self,
        (before, now): (&Objects<'_>, &Objects<'_>),
        (endpoints, networks): (&Changes<'_>, &Changes<'_>),
    ) {
        if endpoints.is_nothing() && networks.is_nothing() {
            return;
        }
        let mut others = Vec::new();
        for (id, known) in self.0.iter() {
            let of_endpoints = endpoints.members(&known.endpoints, &known.set.selector);
            let of_networks = networks.members(&known.networks, &known.set.selector);
            let is_other = of_endpoints.is_some() || of_networks.is_some();
            let of_endpoints = of_endpoints.unwrap_or_else(|| Arc::clone(&known.endpoints));
            let of_networks = of_networks.unwrap_or_else(|| Arc::clone(&known.networks));
            let (left, came) = endpoints.exchanged(&known.endpoints, &of_endpoints);
            let (nets_left, nets_came) = networks.exchanged(&known.networks, &of_networks);
            let left = nets(before, &left, &nets_left);
            let touched: Vec<IpNet> = left.chain(nets(now, &came, &nets_came)).collect();
            let set = if touched.is_empty() {
                Arc::clone(&known.set)
            } else {
                let members = nets(now, &of_endpoints, &of_networks);
                let nets = merged_from(&known.set.nets, &touched, members);
                if nets == known.set.nets {
                    Arc::clone(&known.set)
                } else {
                    Arc::new(AddressSet {
                        selector: Arc::clone(&known.set.selector),
                        nets,
                    })
                }
            };
            if is_other || !Arc::ptr_eq(&set, &known.set) {
                others.push((
                    id,
                    Interned {
                        set,
                        endpoints: of_endpoints,
                        networks: of_networks,
                    },
                ));
            }
        }
        self.0.replace(others);
    }

    /// The set with this id.
    pub fn get(&self, id: AddressSetId) -> &Arc<AddressSet> {
        &self.0.get(id.0).set
    }

    /// Every set.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<AddressSet>> {
        self.0.iter().map(|(_, interned)| &interned.set)
    }

    /// Those that are not the very ones that they were.
    pub(crate) fn others_than<'s>(&'s self, earlier: &'s Self) -> impl Iterator<Item = AddressSetId> + 's {
        let pairs = self.0.iter().zip(earlier.iter());
        let others = pairs.filter(|((_, interned), had)| !Arc::ptr_eq(&interned.set, had));
        others.map(|((id, _), _)| AddressSetId(id))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The addresses and prefixes of some objects, as they are written.
fn nets<'o>(
    objects: &'o Objects<'_>,
    endpoints: &'o [u32],
    networks: &'o [u32],
) -> impl Iterator<Item = IpNet> + 'o {
    let addresses = endpoints
        .iter()
        .flat_map(|&id| &objects.endpoints[id as usize].addresses)
        .map(|&address| IpNet::from(address));
    let nets = networks
        .iter()
        .flat_map(|&id| &objects.networks[id as usize].nets);
    addresses.chain(nets.copied())
}

impl AddressSet {
    /// Whether an address is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        // Sorted and disjoint: the only prefix that can hold the address is the last that does not begin after it.
        let index = self.nets.partition_point(|net| net.network() <= address);
        index > 0 && self.nets[index - 1].contains(&address)
    }

    /// Whether every address of one family is in the set.
    pub fn is_everything(&self, family: Family) -> bool {
        // It would be the only one of its family.
        self.of_family(family)
            .next()
            .is_some_and(|net| net.prefix_len() == 0)
    }

    /// The prefixes of one family.
    pub fn of_family(&self, family: Family) -> impl Iterator<Item = IpNet> {
        // Sorted: IPv4 comes first.
        let six = self
            .nets
            .partition_point(|net| Family::of_net(*net) == Family::V4);
        let (four, six) = self.nets.split_at(six);
        let own = match family {
            Family::V4 => four,
            Family::V6 => six,
        };
        own.iter().copied()
    }
}
