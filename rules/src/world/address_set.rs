//! The addresses that selectors stand for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::objects::Objects;
use crate::net::{Family, merge_nets};
use crate::selector::Selector;

/// Every address set of the worlds, each selector once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AddressSets {
    sets: Vec<Arc<AddressSet>>,
    by_selector: BTreeMap<Selector, AddressSetId>,
}

/// An address set in [`AddressSets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressSetId(usize);

/// The addresses of everything that one selector selects.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressSet {
    /// The selector.
    pub selector: Selector,
    /// The fewest sorted prefixes that cover the addresses, both families.
    pub nets: Vec<IpNet>,
}

impl AddressSets {
    /// The set of a selector, made from the objects it selects if it is not there yet.
    pub(super) fn intern(&mut self, selector: &Selector, objects: &Objects<'_>) -> AddressSetId {
        if let Some(&id) = self.by_selector.get(selector) {
            return id;
        }
        let endpoints = objects.endpoints_by_label.matching(selector);
        let addresses = endpoints.into_iter().flat_map(|index| {
            let addresses = objects.endpoints[index].addresses.iter();
            addresses.map(|&address| IpNet::from(address))
        });
        let networks = objects.networks_by_label.matching(selector);
        let nets = networks
            .into_iter()
            .flat_map(|index| objects.networks[index].nets.iter().copied());
        let nets = merge_nets(&addresses.chain(nets).collect::<Vec<_>>());
        let id = AddressSetId(self.sets.len());
        self.sets.push(Arc::new(AddressSet {
            selector: selector.clone(),
            nets,
        }));
        self.by_selector.insert(selector.clone(), id);
        id
    }

    /// The set with this id.
    pub fn get(&self, id: AddressSetId) -> &Arc<AddressSet> {
        &self.sets[id.0]
    }

    /// Every set.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<AddressSet>> {
        self.sets.iter()
    }
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
        self.of_family(family).any(|net| net.prefix_len() == 0)
    }

    /// The prefixes of one family.
    pub fn of_family(&self, family: Family) -> impl Iterator<Item = IpNet> {
        self.nets
            .iter()
            .copied()
            .filter(move |net| Family::of_net(*net) == family)
    }
}
