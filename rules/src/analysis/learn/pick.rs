//! Selectors that pick exactly these objects, from the labels they have.

use std::collections::{BTreeMap, BTreeSet};

use super::nets::is_vast;
use crate::resource::Labels;
use crate::selector::{Condition, LabelIndex, Selector};
use crate::world::{EndpointId, EndpointKind, Worlds};

/// Labels that say what something is, which make better names than those that say where it happens to be.
const TELLING: [&str; 8] = [
    "app",
    "app.kubernetes.io/name",
    "k8s-app",
    "name",
    "role",
    "component",
    "service",
    "net",
];

/// Labels of one object of which pairs are tried; beyond, only single ones and all of them together.
const MOST_PAIRED: usize = 12;

/// A selector longer than this is written as two.
const LONGEST: usize = 900;

/// What an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    /// An endpoint.
    Endpoint(EndpointId),
    /// A network set: an index into [`Worlds::networks`].
    Network(usize),
}

/// Finds selectors.
pub(super) struct Picker<'w> {
    objects: Vec<(Object, &'w Labels)>,
    index: LabelIndex<'w>,
}

/// Selectors for some objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Picked {
    /// Each selects some of them, and perhaps others that cannot be told apart by label.
    pub(super) selectors: Vec<Selector>,
    /// Those that no selector names well: they have no labels, or share them with too many others.
    pub(super) unnamed: BTreeSet<Object>,
}

impl<'w> Picker<'w> {
    /// Among everything that a rule's selector selects from.
    pub(super) fn of_peers(worlds: &'w Worlds) -> Self {
        let networks = worlds.networks.iter().enumerate();
        let networks = networks.map(|(index, network)| (Object::Network(index), &network.labels));
        // A service has no address that a rule could match.
        let endpoints =
            endpoints(worlds).filter(|(id, _)| worlds.endpoint(*id).kind != EndpointKind::Service);
        let endpoints = endpoints.map(|(id, labels)| (Object::Endpoint(id), labels));
        Picker::new(endpoints.chain(networks).collect())
    }

    /// Among everything that a policy's selector selects from.
    pub(super) fn of_endpoints(worlds: &'w Worlds) -> Self {
        let endpoints = endpoints(worlds).map(|(id, labels)| (Object::Endpoint(id), labels));
        Picker::new(endpoints.collect())
    }

    fn new(objects: Vec<(Object, &'w Labels)>) -> Self {
        let index = LabelIndex::new(objects.iter().map(|(_, labels)| *labels));
        Picker { objects, index }
    }

    /// The selector that picks one endpoint, and as few others as labels allow: it may demand that labels are absent.
    pub(super) fn subject(&self, endpoint: EndpointId) -> Selector {
        let wanted = Object::Endpoint(endpoint);
        let Some(at) = self.objects.iter().position(|(object, _)| *object == wanted) else {
            return Selector::all();
        };
        let labels = self.objects[at].1;
        let only = BTreeSet::from([at]);
        if let Some((selector, _)) = self.exact(labels, &only) {
            return selector;
        }
        let mut selector = conjunction(labels.iter());
        let mut others = self.others(&selector, &only);
        while !others.is_empty() {
            let keys: BTreeSet<&String> = others
                .iter()
                .flat_map(|&other| self.objects[other].1.keys())
                .filter(|key| !labels.contains_key(*key))
                .collect();
            let having = |key: &str| {
                others
                    .iter()
                    .filter(|&&other| self.objects[other].1.contains_key(key))
                    .count()
            };
            let Some(key) = keys.into_iter().max_by_key(|key| having(key)) else {
                break;
            };
            selector = selector.and(&Selector::has(key).negated());
            others = self.others(&selector, &only);
        }
        selector
    }

    /// Selectors that together pick these objects.
    pub(super) fn peers(&self, wanted: &BTreeSet<Object>) -> Picked {
        let places: BTreeSet<usize> = self
            .objects
            .iter()
            .enumerate()
            .filter(|(_, (object, _))| wanted.contains(object))
            .map(|(at, _)| at)
            .collect();
        let mut open = places.clone();
        let mut picked = Picked::default();
        let mut parts = Vec::new();
        while let Some(&first) = open.first() {
            let labels = self.objects[first].1;
            let found = self
                .exact(labels, &places)
                .or_else(|| self.close(labels, &places));
            match found {
                Some((selector, matched)) => {
                    for place in matched {
                        open.remove(&place);
                    }
                    parts.push(selector);
                }
                None => {
                    picked.unnamed.insert(self.objects[first].0);
                }
            }
            open.remove(&first);
        }
        picked.selectors = together(parts);
        picked
    }

    /// The selector of most of the wanted objects, this one's labels among theirs, that selects nothing else.
    fn exact(&self, labels: &Labels, wanted: &BTreeSet<usize>) -> Option<(Selector, Vec<usize>)> {
        let mut best: Option<(Selector, Vec<usize>)> = None;
        for selector in candidates(labels) {
            let matched = self.index.matching(&selector);
            let is_better = best
                .as_ref()
                .is_none_or(|(_, before)| matched.len() > before.len());
            if is_better && matched.iter().all(|place| wanted.contains(place)) {
                best = Some((selector, matched));
            }
        }
        best
    }

    /// The shortest selector that tells as much apart as labels can, where at least half of what it selects is wanted.
    fn close(&self, labels: &Labels, wanted: &BTreeSet<usize>) -> Option<(Selector, Vec<usize>)> {
        if labels.is_empty() {
            return None;
        }
        let matched = self.index.matching(&conjunction(labels.iter()));
        let seen = matched.iter().filter(|place| wanted.contains(place)).count();
        if seen * 2 < matched.len() {
            return None;
        }
        let selector = candidates(labels).find(|selector| self.index.matching(selector) == matched)?;
        Some((selector, matched))
    }

    fn others(&self, selector: &Selector, wanted: &BTreeSet<usize>) -> Vec<usize> {
        let mut matched = self.index.matching(selector);
        matched.retain(|place| !wanted.contains(place));
        matched
    }
}

/// The object that an address belongs to: an endpoint, else the set with the longest prefix, if that says something.
pub(super) fn object_at(worlds: &Worlds, address: std::net::IpAddr) -> Option<Object> {
    if let Some(id) = worlds.directory.at(address).next() {
        return Some(Object::Endpoint(id));
    }
    let index = worlds.directory.network_of(address)?;
    let is_telling = !worlds.networks[index].nets.iter().any(|&net| is_vast(net));
    is_telling.then_some(Object::Network(index))
}

fn endpoints(worlds: &Worlds) -> impl Iterator<Item = (EndpointId, &Labels)> {
    let endpoints = worlds.endpoints.iter().enumerate();
    endpoints.map(|(index, endpoint)| (EndpointId(index), &endpoint.labels))
}

/// Single labels, then pairs, then all of them: those that say what something is first.
fn candidates(labels: &Labels) -> impl Iterator<Item = Selector> {
    let mut all: Vec<(&String, &String)> = labels.iter().collect();
    let rank = |key: &str| {
        TELLING
            .iter()
            .position(|telling| *telling == key)
            .unwrap_or(TELLING.len())
    };
    all.sort_by_key(|(key, _)| (rank(key), *key));
    let paired = if all.len() <= MOST_PAIRED { all.len() } else { 0 };
    let mut candidates: Vec<Vec<(&String, &String)>> = all.iter().map(|label| vec![*label]).collect();
    for one in 0..paired {
        candidates.extend((one + 1..paired).map(|other| vec![all[one], all[other]]));
    }
    if all.len() > 2 {
        candidates.push(all);
    }
    let selectors: Vec<Selector> = candidates.into_iter().map(conjunction).collect();
    selectors.into_iter()
}

fn conjunction<'l>(labels: impl IntoIterator<Item = (&'l String, &'l String)>) -> Selector {
    labels.into_iter().fold(Selector::all(), |all, (key, value)| {
        all.and(&Selector::equals(key, value))
    })
}

/// As few selectors as can be read: values of one label in one set, the rest with `||` between.
fn together(parts: Vec<Selector>) -> Vec<Selector> {
    let mut by_label: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut rest = Vec::new();
    for part in parts {
        match part.as_condition() {
            Some(Condition::Equals(label, value)) => {
                by_label
                    .entry(label.to_owned())
                    .or_default()
                    .insert(value.to_owned());
            }
            _ => rest.push(part),
        }
    }
    let of_labels = by_label.iter().flat_map(|(label, values)| {
        let values: Vec<&String> = values.iter().collect();
        let chunks: Vec<Selector> = values
            .chunks(chunk(&values))
            .map(|values| match values {
                [value] => Selector::equals(label, value),
                values => Selector::one_of(label, values.iter().map(|value| (*value).clone())),
            })
            .collect();
        chunks
    });
    let mut joined: Vec<String> = Vec::new();
    for part in of_labels.chain(rest) {
        let text = part.to_string();
        match joined.last_mut() {
            Some(last) if last.len() + text.len() < LONGEST => {
                last.push_str(" || ");
                last.push_str(&text);
            }
            _ => joined.push(text),
        }
    }
    joined
        .iter()
        .filter_map(|text| Selector::parse(text).ok())
        .collect()
}

/// How many of these values a selector can hold.
fn chunk(values: &[&String]) -> usize {
    let longest = values.iter().map(|value| value.len()).max().unwrap_or_default();
    (LONGEST / (longest + 4)).max(1)
}
