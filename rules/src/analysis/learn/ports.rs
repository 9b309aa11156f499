//! Ports that are chosen anew for each connection, and peers that try them all.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::few;
use super::group::{Peer, Place};
use crate::net::{PortRange, merge_ports};

/// Where Linux chooses ports by itself (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: PortRange = PortRange {
    first: 32_768,
    last: 60_999,
};

/// So many stretches of ephemeral ports are no list of services.
const MANY: usize = 8;

/// So many ports of one protocol at one peer look like a scan.
const SCAN: usize = 100;

/// The ports of each peer at one place, as a rule is to have them, and what to think about them.
pub(super) fn settled(
    place: &str,
    seen: &BTreeMap<Peer, BTreeSet<u16>>,
    names: impl Fn(Peer) -> String,
) -> (BTreeMap<Peer, Vec<PortRange>>, Vec<String>) {
    let mut warnings = Vec::new();
    let high = |ports: &BTreeSet<u16>| ports.range(EPHEMERAL.first..).copied().collect::<Vec<u16>>();
    // A port that several peers use is a service's, however high it is.
    let mut users: BTreeMap<u16, usize> = BTreeMap::new();
    for port in seen.values().flat_map(high) {
        *users.entry(port).or_default() += 1;
    }
    let own = |ports: &BTreeSet<u16>| -> Vec<u16> {
        high(ports).into_iter().filter(|port| users[port] == 1).collect()
    };
    let scattered: Vec<u16> = seen.values().flat_map(own).collect();
    let is_scattered = stretches(scattered.iter().copied()).len() >= MANY;
    let mut settled = BTreeMap::new();
    let mut changed: Vec<(String, usize, PortRange)> = Vec::new();
    for (&peer, ports) in seen {
        let all = stretches(ports.iter().copied());
        let of_peer = stretches(high(ports).into_iter()).len() >= MANY;
        let changing: BTreeSet<u16> = match (of_peer, is_scattered) {
            (true, _) => high(ports).into_iter().collect(),
            (false, true) => own(ports).into_iter().collect(),
            (false, false) => BTreeSet::new(),
        };
        let touched = ports.len() - changing.len();
        if touched >= SCAN {
            warnings.push(format!(
                "{} touched {touched} ports of {place}: that looks like a scan; if it is one, leave it out with --exclude",
                names(peer)
            ));
        }
        let Some(&last) = changing.last() else {
            settled.insert(peer, all);
            continue;
        };
        let range = PortRange {
            first: EPHEMERAL.first,
            last: if last <= EPHEMERAL.last {
                EPHEMERAL.last
            } else {
                u16::MAX
            },
        };
        changed.push((names(peer), changing.len(), range));
        let fixed = ports
            .iter()
            .filter(|port| !changing.contains(port))
            .map(|&port| PortRange::one(port));
        settled.insert(peer, merge_ports(&fixed.chain([range]).collect::<Vec<_>>()));
    }
    let range = changed.iter().map(|(.., range)| *range).max();
    if let Some(range) = range {
        let peers: Vec<String> = changed.iter().map(|(name, ..)| name.clone()).collect();
        warnings.push(format!(
            "{} used {} changing ports of {place}: a service that chooses its ports is allowed all of {range}; a fixed range in \
             that service's configuration would be narrower",
            few(&peers),
            changed.iter().map(|(_, ports, _)| ports).sum::<usize>()
        ));
    }
    (settled, warnings)
}

/// Where it was, for a warning.
pub(super) fn place_text(place: &Place) -> String {
    format!("{} {}", place.what.protocol, place.direction)
}

fn stretches(ports: impl Iterator<Item = u16>) -> Vec<PortRange> {
    merge_ports(&ports.map(PortRange::one).collect::<Vec<_>>())
}
