//! From a snapshot to worlds.

use std::sync::Arc;

use super::changes::Changes;
use super::endpoints::endpoints;
use super::objects::Objects;
use super::placing::Placing;
use super::resolver::Resolver;
use super::selections::{Classes, Selections};
use super::{AddressSets, Directory, Host, NamedPortSets, Network, WorldProfile, WorldTier, Worlds, labels};
use crate::resource::{NetworkSet, Tier};
use crate::snapshot::Snapshot;

/// So many sets and selectors may be out of use before the worlds are resolved without the ones before, besides as many
/// as were in use.
const MOST_OUT_OF_USE: usize = 1_000;

/// Resolves a snapshot for one host, in both worlds.
pub fn resolve(snapshot: &Snapshot, host: Host) -> Worlds {
    resolved(None, snapshot, host)
}

/// As [`resolve`], and what has not changed since `previous`, worlds and the snapshot that they were resolved from, is
/// shared with them: policies, endpoints, networks, sets and their numbers. The time goes with what changed, as far as
/// a walk along all policies allows.
///
/// The worlds are those that [`resolve`] gives but for the numbers of the sets, and for sets that no rule asks for any
/// more.
pub fn resolve_from(previous: Option<(&Snapshot, &Worlds)>, snapshot: &Snapshot, host: Host) -> Worlds {
    // On another host everything else is local.
    let previous = previous.filter(|(_, worlds)| worlds.host.node == host.node);
    let previous = previous.filter(|(_, worlds)| worlds.known() <= 2 * worlds.in_use + MOST_OUT_OF_USE);
    let previous = previous.map(|(was, worlds)| Previous {
        snapshot: was,
        worlds,
        profiles_stay: was.profiles == snapshot.profiles,
    });
    resolved(previous.as_ref(), snapshot, host)
}

/// What there was before.
pub(super) struct Previous<'p> {
    /// What the worlds were resolved from.
    pub(super) snapshot: &'p Snapshot,
    /// The worlds.
    pub(super) worlds: &'p Worlds,
    /// Whether the profiles, and what is inherited from them, are as they were.
    pub(super) profiles_stay: bool,
}

fn resolved(previous: Option<&Previous<'_>>, snapshot: &Snapshot, host: Host) -> Worlds {
    let before = previous.map(|previous| previous.worlds);
    let endpoints = endpoints(previous, snapshot, &host);
    let networks = networks(previous, snapshot);
    let objects = Objects::new(&endpoints, &networks);
    let mut resolver = Resolver {
        objects: &objects,
        address_sets: before.map_or_else(AddressSets::default, |worlds| worlds.address_sets.clone()),
        named_ports: before.map_or_else(NamedPortSets::default, |worlds| worlds.named_ports.clone()),
        selections: before.map_or_else(Selections::default, |worlds| worlds.selections.clone()),
    };
    let mut directory = None;
    let mut classes = None;
    if let Some(worlds) = before {
        let of_endpoints = Changes::of_endpoints(&worlds.endpoints, &endpoints);
        let of_networks = Changes::of_networks(&worlds.networks, &networks);
        let were = Objects::new(&worlds.endpoints, &worlds.networks);
        let objects = (&were, &objects);
        resolver
            .address_sets
            .follow(objects, (&of_endpoints, &of_networks));
        resolver.named_ports.follow(objects, &of_endpoints);
        resolver.selections.follow(&of_endpoints);
        directory = Some(worlds.directory.followed(worlds, &endpoints, &networks));
        classes = of_endpoints
            .selects_alike()
            .then(|| Arc::clone(worlds.enforced.selections().classes()));
    }
    let selectors = resolver.selections.len();
    let profiles = profiles(previous, snapshot, &mut resolver);
    let tiers = tiers(previous, snapshot);
    let placing = Placing::new(previous, snapshot, &tiers, &mut resolver);
    let classes = classes
        .filter(|_| resolver.selections.len() == selectors)
        .unwrap_or_else(|| Arc::new(Classes::new(&endpoints, &resolver.selections)));
    let groups = resolver.selections.groups();
    let [enforced, pending] = placing.worlds(&tiers, &classes, groups);
    let Resolver {
        address_sets,
        named_ports,
        selections,
        ..
    } = resolver;
    let mut worlds = Worlds {
        directory: directory.unwrap_or_else(|| Directory::new(&endpoints, &networks)),
        host,
        endpoints,
        networks,
        address_sets,
        named_ports,
        profiles,
        enforced,
        pending,
        selections,
        in_use: 0,
    };
    // Without anything before there is nothing out of use.
    worlds.in_use = before.map_or_else(|| worlds.known(), |worlds| worlds.in_use);
    worlds
}

fn networks(previous: Option<&Previous<'_>>, snapshot: &Snapshot) -> Arc<[Arc<Network>]> {
    let made = |set: &NetworkSet| {
        Arc::new(Network {
            namespace: set.id.namespace.clone(),
            name: set.id.name.clone(),
            labels: labels::of_set(snapshot, set),
            nets: set.nets.clone(),
        })
    };
    let Some(Previous {
        snapshot: was,
        worlds,
        profiles_stay,
    }) = previous
    else {
        return snapshot.network_sets.values().map(|set| made(set)).collect();
    };
    let mut known = was.network_sets.iter().zip(worlds.networks.iter()).peekable();
    let mut all_stay = was.network_sets.len() == snapshot.network_sets.len();
    let mut networks = Vec::with_capacity(snapshot.network_sets.len());
    for (id, set) in &snapshot.network_sets {
        while known.next_if(|((other, _), _)| *other < id).is_some() {}
        let before = known.next_if(|((other, _), _)| *other == id);
        networks.push(match before {
            Some(((_, written), network)) if *profiles_stay && Arc::ptr_eq(written, set) => {
                Arc::clone(network)
            }
            Some((_, network)) => {
                let made = made(set);
                all_stay &= made == *network;
                if made == *network {
                    Arc::clone(network)
                } else {
                    made
                }
            }
            None => {
                all_stay = false;
                made(set)
            }
        });
    }
    if all_stay {
        return Arc::clone(&worlds.networks);
    }
    networks.into()
}

fn profiles(
    previous: Option<&Previous<'_>>,
    snapshot: &Snapshot,
    resolver: &mut Resolver<'_>,
) -> Arc<[Arc<WorldProfile>]> {
    if let Some(previous) = previous.filter(|previous| previous.profiles_stay) {
        return Arc::clone(&previous.worlds.profiles);
    }
    let known = |name: &String| {
        let Previous {
            snapshot: was,
            worlds,
            ..
        } = previous?;
        let index = was.profiles.keys().position(|other| other == name)?;
        Some((&was.profiles[name], &worlds.profiles[index]))
    };
    let profiles = snapshot.profiles.values();
    profiles
        .map(|profile| match known(&profile.name) {
            Some((written, resolved)) if written == profile => Arc::clone(resolved),
            _ => Arc::new(resolver.profile(profile)),
        })
        .collect()
}

/// The tiers in order.
fn tiers(previous: Option<&Previous<'_>>, snapshot: &Snapshot) -> Arc<[WorldTier]> {
    let mut tiers: Vec<&Tier> = snapshot.tiers.values().collect();
    tiers.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    let tiers = tiers.into_iter().map(|tier| WorldTier {
        name: tier.name.clone(),
        default_action: tier.default_action,
    });
    let tiers: Arc<[WorldTier]> = tiers.collect();
    let known = previous.map(|previous| &previous.worlds.enforced.tiers);
    known.filter(|known| **known == tiers).map_or(tiers, Arc::clone)
}
