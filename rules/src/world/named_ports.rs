//! The addresses and ports that named ports stand for.
//!
//! A named port is the port of that name and protocol of each endpoint that itself matches the entity's selectors, in
//! `ports` and in `notPorts` alike.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::Endpoint;
use super::changes::Changes;
use super::interner::Interner;
use super::objects::Objects;
use crate::net::{Family, Protocol};
use crate::resource::NamedPort;
use crate::selector::Selector;

/// Every set of named ports of the worlds, each once.
///
/// A set keeps its number from one generation to the next, so there may be some that no rule asks for any more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamedPortSets(Interner<NamedPortKey, Interned>);

/// A set in [`NamedPortSets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPortSetId(u32);

/// What a list of named ports is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NamedPortKey {
    /// The names.
    pub(super) names: BTreeSet<String>,
    /// The protocol.
    pub(super) protocol: Protocol,
    /// Of endpoints that this selects; `None` is of all.
    pub(super) selector: Option<Selector>,
    /// And not of those that this selects.
    pub(super) not_selector: Option<Selector>,
}

/// The addresses and ports of one list of named ports.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedPortSet {
    /// What it is about, in words.
    pub text: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The members, sorted.
    pub members: Vec<(IpAddr, u16)>,
}

/// A set, and what it is about.
#[derive(Clone, Debug, PartialEq)]
struct Interned {
    key: Arc<NamedPortKey>,
    set: Arc<NamedPortSet>,
}

impl NamedPortSets {
    /// Every set.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<NamedPortSet>> {
        self.0.iter().map(|(_, interned)| &interned.set)
    }

    /// The set of a key, made from the endpoints if it is not there yet.
    pub(super) fn intern(&mut self, key: NamedPortKey, objects: &Objects<'_>) -> NamedPortSetId {
        if let Some(id) = self.0.find(&key) {
            return NamedPortSetId(id);
        }
        let key = Arc::new(key);
        let set = Arc::new(NamedPortSet {
            text: key.text(),
            protocol: key.protocol,
            members: key.members(objects),
        });
        let interned = Interned {
            key: Arc::clone(&key),
            set,
        };
        NamedPortSetId(self.0.add(key, interned))
    }

    /// Makes those again that have the port of an endpoint that is not what it was.
    pub(super) fn follow(&mut self, (before, now): (&Objects<'_>, &Objects<'_>), changes: &Changes<'_>) {
        let at = |objects: &Objects<'_>, id: u32| Arc::clone(&objects.endpoints[id as usize]);
        let changed: Vec<Arc<Endpoint>> = changes
            .others(before.endpoints.len())
            .map(|id| at(before, id))
            .chain(changes.asked.iter().chain(&changes.came).map(|&id| at(now, id)))
            .filter(|endpoint| !endpoint.ports.is_empty())
            .collect();
        let mut others = Vec::new();
        for (id, known) in self.0.iter() {
            if !changed.iter().any(|endpoint| known.key.is_about(endpoint)) {
                continue;
            }
            let members = known.key.members(now);
            if members != known.set.members {
                let set = Arc::new(NamedPortSet {
                    members,
                    ..NamedPortSet::clone(&known.set)
                });
                let key = Arc::clone(&known.key);
                others.push((id, Interned { key, set }));
            }
        }
        self.0.replace(others);
    }

    /// The set with this id.
    pub fn get(&self, id: NamedPortSetId) -> &Arc<NamedPortSet> {
        &self.0.get(id.0).set
    }

    /// Those that are not the very ones that they were.
    pub(crate) fn others_than<'s>(&'s self, earlier: &'s Self) -> impl Iterator<Item = NamedPortSetId> + 's {
        let pairs = self.0.iter().zip(earlier.0.iter());
        let others = pairs.filter(|((_, interned), (_, had))| !Arc::ptr_eq(&interned.set, &had.set));
        others.map(|((id, _), _)| NamedPortSetId(id))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl NamedPortKey {
    /// The ports of these names, whoever has them.
    fn ports<'e>(&self, endpoint: &'e Endpoint) -> impl Iterator<Item = &'e NamedPort> {
        let ports = endpoint.ports.iter();
        ports.filter(|port| port.protocol == self.protocol && self.names.contains(&port.name))
    }

    /// Whether an endpoint has such a port, and is selected.
    fn is_about(&self, endpoint: &Endpoint) -> bool {
        let selected = |selector: &Selector| selector.matches(&endpoint.labels);
        self.ports(endpoint).next().is_some()
            && self.selector.as_ref().is_none_or(selected)
            && !self.not_selector.as_ref().is_some_and(selected)
    }

    /// The addresses and ports that are meant, sorted.
    fn members(&self, objects: &Objects<'_>) -> Vec<(IpAddr, u16)> {
        let mut members = BTreeSet::new();
        let all = Selector::all();
        let selected = objects.endpoints_of(self.selector.as_ref().unwrap_or(&all));
        let endpoints = selected.iter().map(|&id| objects.endpoints[id as usize].as_ref());
        for endpoint in endpoints.filter(|endpoint| self.is_about(endpoint)) {
            for port in self.ports(endpoint) {
                members.extend(endpoint.addresses.iter().map(|&address| (address, port.port)));
            }
        }
        members.into_iter().collect()
    }

    fn text(&self) -> String {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let mut text = format!("{} {}", self.protocol, names.join(","));
        if let Some(selector) = &self.selector {
            text.push_str(&format!(" of {selector}"));
        }
        if let Some(selector) = &self.not_selector {
            text.push_str(&format!(" but not of {selector}"));
        }
        text
    }
}

impl NamedPortSet {
    /// Whether this port of this address is meant.
    pub fn contains(&self, address: IpAddr, protocol: Protocol, port: u16) -> bool {
        protocol == self.protocol && self.members.binary_search(&(address, port)).is_ok()
    }

    /// The members of one family.
    pub fn of_family(&self, family: Family) -> impl Iterator<Item = (IpAddr, u16)> {
        self.members
            .iter()
            .copied()
            .filter(move |(address, _)| Family::of(*address) == family)
    }
}
