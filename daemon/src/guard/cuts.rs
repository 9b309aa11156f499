//! What is cut, those alike together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use palisade_rules::analysis::connections::Tracked;
use palisade_rules::analysis::{NameKind, Side, name_of};
use palisade_rules::net::Protocol;

use super::assess::{Asked, Denied};
use super::{Cut, GuardReport, What, When};

/// Far ends that a cut names.
const NAMED: usize = 3;

/// A report whose cuts do not say yet who holds their sockets.
#[derive(Debug)]
pub(super) struct Assessed {
    pub(super) report: GuardReport,
    /// For each cut, the connections of what was seen.
    pub(super) members: Vec<Vec<usize>>,
}

/// Cuts, those alike together.
#[derive(Default)]
pub(super) struct Cuts {
    known: BTreeMap<Key, usize>,
    found: Vec<Cut>,
    members: Vec<Vec<usize>>,
    peers: Vec<BTreeSet<String>>,
}

/// What is cut, from when on, the protocol, the port and why.
type Key = (What, When, Protocol, u16, String);

impl Cuts {
    /// Adds one that is denied.
    pub(super) fn add(&mut self, after: Side<'_>, asked: &Asked, denied: &Denied) {
        let packet = &asked.tracked.packet;
        let port = packet.destination_port;
        let key = (asked.what, denied.when, packet.protocol, port, denied.why.clone());
        let index = *self.known.entry(key).or_insert_with(|| {
            self.found.push(Cut {
                what: asked.what,
                when: denied.when,
                protocol: packet.protocol.to_string(),
                port: packet.protocol.has_ports().then_some(port),
                connections: 0,
                peers: Vec::new(),
                peers_total: 0,
                owners: Vec::new(),
                why: denied.why.clone(),
                because: denied.because.clone(),
                example: example(&asked.tracked),
            });
            self.members.push(Vec::new());
            self.peers.push(BTreeSet::new());
            self.found.len() - 1
        });
        self.found[index].connections += 1;
        self.members[index].extend(asked.member);
        let peer = || peer(after, packet.source);
        self.peers[index].insert(asked.name.clone().unwrap_or_else(peer));
    }

    /// All of them, the worst first.
    pub(super) fn sorted(self) -> Assessed {
        let mut all: Vec<(Cut, Vec<usize>)> = Vec::new();
        for ((mut cut, members), peers) in self.found.into_iter().zip(self.members).zip(self.peers) {
            cut.peers_total = peers.len();
            cut.peers = peers.into_iter().take(NAMED).collect();
            if members.is_empty() {
                // Of a way there is one, however it was tried.
                cut.connections = 1;
            }
            all.push((cut, members));
        }
        all.sort_by(|(a, _), (b, _)| {
            (a.what, a.when, b.connections, a.port).cmp(&(b.what, b.when, a.connections, b.port))
        });
        let (cut, members) = all.into_iter().unzip();
        Assessed {
            report: GuardReport {
                cut,
                ..GuardReport::default()
            },
            members,
        }
    }
}

/// A far end: its address, and its name if somebody has given it one.
fn peer(side: Side<'_>, address: IpAddr) -> String {
    let named = name_of(side.worlds, address);
    match named.kind {
        NameKind::Network => address.to_string(),
        _ => format!("{} ({address})", named.name),
    }
}

/// `192.0.2.1:50000 -> 10.0.0.1:22`.
pub(super) fn example(tracked: &Tracked) -> String {
    let packet = &tracked.arriving;
    let end = |address: IpAddr, port| {
        if packet.protocol.has_ports() {
            SocketAddr::new(address, port).to_string()
        } else {
            address.to_string()
        }
    };
    format!(
        "{} -> {}",
        end(packet.source, packet.source_port),
        end(packet.destination, packet.destination_port)
    )
}
