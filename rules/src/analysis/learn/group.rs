//! Observations that one rule can speak for: the same ports with the same peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::pick::{Object, object_at};
use super::ports::{place_text, settled};
use super::scope::{far, near};
use super::{LearnError, Observed};
use crate::analysis::names::name_of;
use crate::net::{Direction, Family, PortRange, Protocol, merge_ports};
use crate::world::Worlds;

/// Who is at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// Something with a name.
    Object(Object),
    /// An address of nobody known.
    Address(IpAddr),
}

/// What goes over the wire, ports aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct What {
    pub(super) protocol: Protocol,
    /// The only family, where the protocol means another thing in the other.
    pub(super) family: Option<Family>,
    /// Type and code of ICMP.
    pub(super) icmp: Option<(u8, u8)>,
}

/// Where ports are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) direction: Direction,
    pub(super) what: What,
    /// The near end of what goes through the host.
    pub(super) near: Option<Peer>,
}

/// What one rule, or one for each kind of peer, can speak for.
#[derive(Clone, Debug)]
pub(super) struct Group<'o> {
    pub(super) direction: Direction,
    pub(super) what: What,
    /// The near ends of what goes through the host; empty for what is the endpoint's own.
    pub(super) nears: BTreeSet<Peer>,
    pub(super) fars: BTreeSet<Peer>,
    /// Sorted and apart; empty for protocols without.
    pub(super) ports: Vec<PortRange>,
    pub(super) evidence: Vec<&'o Observed>,
    /// Whether some peer was not seen at some port.
    pub(super) mixed: bool,
}

/// All groups.
pub(super) struct Groups<'o> {
    pub(super) groups: Vec<Group<'o>>,
    pub(super) warnings: Vec<String>,
}

/// Peers with what was seen of each.
type Seen<'o> = BTreeMap<Peer, (BTreeSet<u16>, Vec<&'o Observed>)>;

/// Peers together, with what was seen of them.
type Together<'o> = (BTreeSet<Peer>, Vec<&'o Observed>);

/// What near ends are put together by: all but themselves, and whether there are any.
type Alike = (Direction, What, Vec<PortRange>, BTreeSet<Peer>, bool);

/// Groups observations: peers with the same ports together, and near ends with the same peers.
pub(super) fn groups<'o>(worlds: &Worlds, needs: &[&'o Observed]) -> Groups<'o> {
    let mut warnings = Vec::new();
    let mut by_ports: BTreeMap<(Place, Vec<PortRange>), Together<'o>> = BTreeMap::new();
    for (place, peers) in seen(worlds, needs) {
        let ports = peers
            .iter()
            .map(|(peer, (ports, _))| (*peer, ports.clone()))
            .collect();
        let (ranges, worth_knowing) = settled(&place_text(&place), &ports, |peer| peer.name(worlds));
        warnings.extend(worth_knowing);
        for (peer, (_, evidence)) in peers {
            let ranges = ranges.get(&peer).cloned().unwrap_or_default();
            let (fars, all) = by_ports.entry((place, ranges)).or_default();
            fars.insert(peer);
            all.extend(evidence);
        }
    }
    let mut by_fars: BTreeMap<Alike, Together<'o>> = BTreeMap::new();
    for ((place, ranges), (fars, evidence)) in by_ports {
        let alike = (place.direction, place.what, ranges, fars, place.near.is_some());
        let (nears, all) = by_fars.entry(alike).or_default();
        nears.extend(place.near);
        all.extend(evidence);
    }
    let groups = by_fars
        .into_iter()
        .map(|((direction, what, ports, fars, _), (nears, evidence))| Group {
            direction,
            what,
            nears,
            fars,
            ports,
            evidence,
            mixed: false,
        });
    Groups {
        groups: groups.collect(),
        warnings,
    }
}

fn seen<'o>(worlds: &Worlds, needs: &[&'o Observed]) -> BTreeMap<Place, Seen<'o>> {
    let peer = |address| object_at(worlds, address).map_or(Peer::Address(address), Peer::Object);
    let mut seen: BTreeMap<Place, Seen<'o>> = BTreeMap::new();
    for &observed in needs {
        let place = Place {
            direction: observed.direction,
            what: What::of(observed),
            near: near(observed).map(peer),
        };
        let peers = seen.entry(place).or_default();
        let (ports, evidence) = peers.entry(peer(far(observed))).or_default();
        if place.what.protocol.has_ports() {
            ports.insert(observed.packet.destination_port);
        }
        evidence.push(observed);
    }
    seen
}

/// As many groups or fewer: those are merged first that thereby allow the least that was not seen.
///
/// # Errors
/// If directions and protocols alone are more.
pub(super) fn fewer<'o>(mut groups: Vec<Group<'o>>, most: usize) -> Result<Vec<Group<'o>>, LearnError> {
    // Much too many are halved first, so that the time does not grow with the square of what was seen.
    while groups.len() > 8 * most {
        let before = groups.len();
        let mut halved: Vec<Group<'o>> = Vec::with_capacity(before);
        let mut odd = false;
        for group in groups {
            match halved.last_mut() {
                Some(last) if odd && last.is_like(&group) => {
                    last.absorb(group);
                    odd = false;
                }
                _ => {
                    halved.push(group);
                    odd = true;
                }
            }
        }
        groups = halved;
        if groups.len() == before {
            break;
        }
    }
    while groups.len() > most {
        let pairs = groups.windows(2).enumerate();
        let alike = pairs.filter(|(_, pair)| pair[0].is_like(&pair[1]));
        let Some((_, at)) = alike.map(|(at, pair)| (pair[0].cost(&pair[1]), at)).min() else {
            return Err(LearnError::TooManyRules {
                least: groups.len(),
                most,
            });
        };
        let absorbed = groups.remove(at + 1);
        groups[at].absorb(absorbed);
    }
    Ok(groups)
}

impl Peer {
    /// In words.
    pub(super) fn name(self, worlds: &Worlds) -> String {
        match self {
            Peer::Object(Object::Endpoint(id)) => worlds.endpoint(id).to_string(),
            Peer::Object(Object::Network(index)) => worlds.networks[index].name.clone(),
            Peer::Address(address) => match name_of(worlds, address).labels {
                Some(_) => format!("{address} ({})", name_of(worlds, address).name),
                None => address.to_string(),
            },
        }
    }
}

impl What {
    fn of(observed: &Observed) -> Self {
        let packet = &observed.packet;
        let (protocol, family) = (packet.protocol, packet.family());
        let is_icmp = protocol == Protocol::icmp_of(family);
        // No rule can name type 255.
        let has_type = is_icmp && packet.icmp_type < u8::MAX;
        What {
            protocol,
            family: is_icmp.then_some(family),
            icmp: has_type.then_some((packet.icmp_type, packet.icmp_code)),
        }
    }
}

impl Group<'_> {
    /// Whether one rule could speak for both.
    fn is_like(&self, other: &Self) -> bool {
        self.direction == other.direction
            && self.what == other.what
            && self.nears.is_empty() == other.nears.is_empty()
    }

    /// How many pairs of peer and port both together allow that neither does.
    fn cost(&self, other: &Self) -> u64 {
        let mut both = self.clone();
        both.evidence.clear();
        let mut other = other.clone();
        other.evidence.clear();
        let apart = self.pairs() + other.pairs();
        both.absorb(other);
        both.pairs().saturating_sub(apart)
    }

    fn pairs(&self) -> u64 {
        let ports: u64 = self
            .ports
            .iter()
            .map(|range| u64::from(range.last) - u64::from(range.first) + 1)
            .sum();
        ports.max(1) * (self.fars.len() * self.nears.len().max(1)) as u64
    }
}

impl<'o> Group<'o> {
    fn absorb(&mut self, other: Group<'o>) {
        self.mixed |= other.mixed
            || self.ports != other.ports && self.fars != other.fars
            || self.nears != other.nears && (self.ports != other.ports || self.fars != other.fars);
        self.ports = merge_ports(&[self.ports.as_slice(), &other.ports].concat());
        self.fars.extend(other.fars);
        self.nears.extend(other.nears);
        self.evidence.extend(other.evidence);
    }
}
