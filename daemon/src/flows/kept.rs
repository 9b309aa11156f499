//! What reports are made of: who was seen, since when and how often, whatever the policies were then.
//!
//! Reports ask the worlds as they are now, so that connections are kept as they were seen and not as they were judged. Of
//! those that nothing told apart when they were seen (the same block of addresses at both ends, the same protocol and
//! port) the first are kept; one of them stands for all others.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use time::OffsetDateTime;

use super::hashed::Map;
use super::observe::{Connection, Missing, Tally};
use crate::live::Owner;

/// Connections that are kept.
const MAX_KEPT: usize = 65_536;

/// Connections alike of which each is kept.
const MAX_ALIKE: u32 = 256;

/// Generations that one connection's tallies keep apart before the oldest are added up.
const MAX_GENERATIONS: usize = 8;

/// Owners of one connection that are kept.
const MAX_OWNERS: usize = 8;

/// How long an answer to the question who holds a socket is good enough.
const ASK_AGAIN: Duration = Duration::from_mins(10);

/// Every connection that was seen, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    connections: BTreeMap<Connection, Entry>,
    /// By what they have in common.
    alike: Map<u64, Alike>,
    missing: Missing,
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// By the generation that saw it, the oldest first.
    pub(super) tallies: VecDeque<(u64, Tally)>,
    pub(super) owners: Vec<Owner>,
    pub(super) alike: u64,
    /// Whether it was also counted for connections alike that are not kept.
    pub(super) stands_for_others: bool,
    /// When its owners were last asked for.
    asked_at: Option<OffsetDateTime>,
}

/// Connections that nothing told apart.
#[derive(Clone, Debug)]
struct Alike {
    /// Those that are kept.
    members: u32,
    /// The one that stands for those that are not.
    stand_in: Connection,
}

impl Kept {
    /// Each connection, with what was seen of it since a generation.
    pub fn since(&self, generation: u64) -> impl Iterator<Item = (&Connection, Tally)> {
        self.connections.iter().filter_map(move |(connection, entry)| {
            let recent = entry
                .tallies
                .iter()
                .filter(|(seen_by, _)| *seen_by >= generation)
                .map(|(_, tally)| *tally);
            let tally = recent.reduce(|mut sum, tally| {
                sum.add(&tally);
                sum
            })?;
            Some((connection, tally))
        })
    }

    /// Who held the sockets of this host's end of a connection, most first, as far as they were found.
    pub fn owners(&self, connection: &Connection) -> &[Owner] {
        self.connections
            .get(connection)
            .map_or(&[], |entry| entry.owners.as_slice())
    }

    /// Whether a connection was also counted for others, between other addresses that nothing told apart.
    pub fn stands_for_others(&self, connection: &Connection) -> bool {
        let entry = self.connections.get(connection);
        entry.is_some_and(|entry| entry.stands_for_others)
    }

    /// What is missing since the evidence began: as long as the state directory keeps it, also over restarts.
    pub fn missing(&self) -> Missing {
        self.missing
    }

    /// How many connections are kept.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Everything that is known of each connection.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Connection, &Entry)> {
        self.connections.iter()
    }

    /// Takes back what was kept once.
    pub(super) fn restore(&mut self, connection: Connection, entry: Entry) {
        let known = self.alike.entry(entry.alike).or_insert_with(|| Alike {
            members: 0,
            stand_in: connection.clone(),
        });
        known.members += 1;
        if entry.stands_for_others {
            known.stand_in = connection.clone();
        }
        self.connections.insert(connection, entry);
    }

    /// Notes what could not be seen.
    pub(super) fn missed(&mut self, missing: Missing) {
        self.missing.add(missing);
    }

    /// Keeps what was seen of a connection. `alike` is the same for those that nothing tells apart.
    pub(super) fn keep(&mut self, generation: u64, connection: &Connection, alike: u64, tally: Tally) {
        if let Some(entry) = self.connections.get_mut(connection) {
            entry.add(generation, tally);
            return;
        }
        if self.connections.len() >= MAX_KEPT {
            self.forget_oldest();
        }
        let members = self.alike.get(&alike).map_or(0, |known| known.members);
        if members < MAX_ALIKE {
            let known = self.alike.entry(alike).or_insert_with(|| Alike {
                members: 0,
                stand_in: connection.clone(),
            });
            known.members += 1;
            let entry = self
                .connections
                .entry(connection.clone())
                .or_insert_with(|| Entry::new(alike));
            entry.add(generation, tally);
            return;
        }
        let stand_in = self.alike.get(&alike).map(|known| &known.stand_in);
        match stand_in.and_then(|connection| self.connections.get_mut(connection)) {
            Some(entry) => {
                entry.stands_for_others = true;
                entry.add(generation, tally);
            }
            None => self.missing.folded += tally.packets,
        }
    }

    /// Notes who held the socket of a connection, and when that was asked.
    pub(super) fn owned(&mut self, connection: &Connection, owner: Option<&Owner>, now: OffsetDateTime) {
        let Some(entry) = self.connections.get_mut(connection) else {
            return;
        };
        entry.asked_at = Some(now);
        if let Some(owner) = owner {
            add_owner(&mut entry.owners, owner);
        }
    }

    /// Whether it is time to ask who holds the socket of a connection: it never was, or not lately.
    pub(super) fn is_owner_wanted(&self, connection: &Connection, now: OffsetDateTime) -> bool {
        let entry = self.connections.get(connection);
        entry.is_some_and(|entry| {
            !entry.stands_for_others && entry.asked_at.is_none_or(|asked_at| now - asked_at >= ASK_AGAIN)
        })
    }

    /// Makes room: the quarter that was seen least recently goes, and is counted.
    fn forget_oldest(&mut self) {
        let last_seen = |entry: &Entry| entry.tallies.back().map(|(_, tally)| tally.last_seen);
        let mut ages: Vec<Option<OffsetDateTime>> = self.connections.values().map(last_seen).collect();
        let quarter = ages.len() / 4;
        let (_, &mut limit, _) = ages.select_nth_unstable(quarter);
        let mut folded = 0;
        self.connections.retain(|connection, entry| {
            let stays = last_seen(entry) > limit;
            if !stays {
                folded += entry.tallies.iter().map(|(_, tally)| tally.packets).sum::<u64>();
                if let Some(known) = self.alike.get_mut(&entry.alike) {
                    known.members = known.members.saturating_sub(1);
                    if known.members == 0 || known.stand_in == *connection {
                        self.alike.remove(&entry.alike);
                    }
                }
            }
            stays
        });
        self.missing.folded += folded;
    }
}

impl Entry {
    pub(super) fn new(alike: u64) -> Self {
        Entry {
            tallies: VecDeque::new(),
            owners: Vec::new(),
            alike,
            stands_for_others: false,
            asked_at: None,
        }
    }

    fn add(&mut self, generation: u64, tally: Tally) {
        match self.tallies.back_mut() {
            Some((seen_by, sum)) if *seen_by == generation => sum.add(&tally),
            _ => self.tallies.push_back((generation, tally)),
        }
        if self.tallies.len() > MAX_GENERATIONS
            && let Some((_, oldest)) = self.tallies.pop_front()
            && let Some((_, next)) = self.tallies.front_mut()
        {
            next.add(&oldest);
        }
    }
}

/// Counts an owner among those that are known, most first; where there are too many, the rarest is left out.
pub(super) fn add_owner(owners: &mut Vec<Owner>, owner: &Owner) {
    let same = |known: &&mut Owner| {
        (&known.unit, &known.comm, known.pid, known.uid) == (&owner.unit, &owner.comm, owner.pid, owner.uid)
    };
    if let Some(known) = owners.iter_mut().find(same) {
        known.connections += owner.connections;
    } else {
        owners.push(owner.clone());
    }
    owners.sort_by(|a, b| b.connections.cmp(&a.connections).then_with(|| a.cmp(b)));
    owners.truncate(MAX_OWNERS);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use palisade_rules::evaluate::Packet;
    use palisade_rules::net::{Direction, Protocol};
    use palisade_rules::world::EndpointKind;

    use super::*;
    use crate::apply::EndpointKey;

    fn connection(source: u32, port: u16) -> Connection {
        let packet = Packet {
            source: std::net::Ipv4Addr::from_bits(source).into(),
            destination: "10.0.0.2".parse().unwrap(),
            protocol: Protocol::TCP,
            source_port: 0,
            destination_port: port,
            icmp_type: 0,
            icmp_code: 0,
        };
        Connection {
            endpoint: Arc::new(EndpointKey {
                kind: EndpointKind::Host,
                namespace: None,
                name: "eth0".to_owned(),
            }),
            direction: Direction::Ingress,
            forwarded: false,
            packet,
        }
    }

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).unwrap()
    }

    fn packets(kept: &Kept, generation: u64) -> u64 {
        kept.since(generation).map(|(_, tally)| tally.packets).sum()
    }

    #[test]
    fn generations_are_kept_apart_and_no_packet_is_lost() {
        let mut kept = Kept::default();
        for generation in 1..=20 {
            kept.keep(generation, &connection(1, 1), 0, Tally::one(10, at(1)));
        }
        assert_eq!([0, 20, 21].map(|since| packets(&kept, since)), [20, 1, 0]);
    }

    #[test]
    fn of_connections_alike_one_stands_for_the_rest() {
        let mut kept = Kept::default();
        for source in 0..10_000 {
            kept.keep(1, &connection(source, 80), 80, Tally::one(10, at(1)));
            kept.keep(1, &connection(source, 81), 81, Tally::one(10, at(1)));
        }
        assert_eq!(kept.len(), 2 * MAX_ALIKE as usize);
        assert_eq!((packets(&kept, 1), kept.missing().folded), (20_000, 0));
        let first = connection(0, 80);
        let stand_in = kept.since(1).find(|(connection, _)| **connection == first);
        assert_eq!(stand_in.unwrap().1.packets, 10_000 - u64::from(MAX_ALIKE) + 1);
    }

    #[test]
    fn what_was_not_seen_for_long_makes_room_and_is_counted() {
        let mut kept = Kept::default();
        let most = u32::try_from(MAX_KEPT).unwrap();
        for source in 0..=most {
            kept.keep(
                1,
                &connection(source, 1),
                u64::from(source),
                Tally::one(10, at(source.into())),
            );
        }
        assert!(kept.len() < MAX_KEPT);
        assert_eq!(packets(&kept, 1) + kept.missing().folded, u64::from(most) + 1);
        let newest = connection(most, 1);
        assert!(kept.since(1).any(|(connection, _)| *connection == newest));
        assert!(kept.since(1).all(|(_, tally)| tally.last_seen > at(0)));
    }
}
