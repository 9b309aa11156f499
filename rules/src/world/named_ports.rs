//! The addresses and ports that named ports stand for.
//!
//! A named port is the port of that name and protocol of each endpoint that itself matches the entity's selectors, in
//! `ports` and in `notPorts` alike.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Endpoint;
use super::objects::Objects;
use crate::net::{Family, Protocol};
use crate::selector::Selector;

/// Every set of named ports of the worlds, each once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamedPortSets {
    sets: Vec<Arc<NamedPortSet>>,
    by_key: BTreeMap<NamedPortKey, NamedPortSetId>,
}

/// A set in [`NamedPortSets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPortSetId(usize);

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

impl NamedPortSets {
    /// Every set.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<NamedPortSet>> {
        self.sets.iter()
    }

    /// The set of a key, made from the endpoints if it is not there yet.
    pub(super) fn intern(&mut self, key: NamedPortKey, objects: &Objects<'_>) -> NamedPortSetId {
        if let Some(&id) = self.by_key.get(&key) {
            return id;
        }
        let all = Selector::all();
        let selected = objects
            .endpoints_by_label
            .matching(key.selector.as_ref().unwrap_or(&all));
        let is_meant = |endpoint: &&Endpoint| {
            let excluded = |selector: &Selector| selector.matches(&endpoint.labels);
            !key.not_selector.as_ref().is_some_and(excluded)
        };
        let endpoints = selected
            .into_iter()
            .map(|index| objects.endpoints[index].as_ref());
        let mut members = BTreeSet::new();
        for endpoint in endpoints.filter(is_meant) {
            let ports = endpoint
                .ports
                .iter()
                .filter(|port| port.protocol == key.protocol && key.names.contains(&port.name));
            for port in ports {
                members.extend(endpoint.addresses.iter().map(|&address| (address, port.port)));
            }
        }
        let id = NamedPortSetId(self.sets.len());
        self.sets.push(Arc::new(NamedPortSet {
            text: key.text(),
            protocol: key.protocol,
            members: members.into_iter().collect(),
        }));
        self.by_key.insert(key, id);
        id
    }

    /// The set with this id.
    pub fn get(&self, id: NamedPortSetId) -> &Arc<NamedPortSet> {
        &self.sets[id.0]
    }
}

impl NamedPortKey {
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
