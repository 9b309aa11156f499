//! Counting connections by what policy can tell apart, in bounded memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use palisade_rules::evaluate::Packet;
use palisade_rules::net::{Direction, Protocol};
use time::OffsetDateTime;

use crate::apply::EndpointKey;
use crate::live::Owner;

/// Distinct connections that are kept apart: in one interval, and for reports. What comes beyond is counted, not kept.
const MAX_KEPT: usize = 65_536;

/// Generations that one connection's reports keep apart before the oldest are added up.
const MAX_GENERATIONS: usize = 8;

/// What policy can see of a connection at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// The local endpoint.
    pub endpoint: Arc<EndpointKey>,
    /// Seen from it.
    pub direction: Direction,
    /// Whether it only passes through the host.
    pub forwarded: bool,
    /// The first packet; the source port is 0 where no rule looks at source ports.
    pub packet: Packet,
}

/// How often, how much, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// First packets; one that is sent again counts again.
    pub packets: u64,
    /// Their bytes, IP header included.
    pub bytes: u64,
    /// When the first was seen.
    pub first_seen: OffsetDateTime,
    /// When the last was seen.
    pub last_seen: OffsetDateTime,
}

impl Tally {
    fn one(bytes: u64, at: OffsetDateTime) -> Self {
        Tally {
            packets: 1,
            bytes,
            first_seen: at,
            last_seen: at,
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Tally) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

/// What is missing from the observations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Missing {
    /// Copies the kernel could not deliver.
    pub lost: u64,
    /// Copies that could not be read, or that nothing could be said about.
    pub unreadable: u64,
    /// Packets counted but not kept apart, for want of room.
    pub folded: u64,
}

impl Missing {
    /// Whether nothing is missing.
    pub fn is_nothing(self) -> bool {
        self == Missing::default()
    }

    /// Both together.
    pub fn add(&mut self, other: Missing) {
        self.lost += other.lost;
        self.unreadable += other.unreadable;
        self.folded += other.folded;
    }
}

/// One interval's observations.
#[derive(Debug)]
pub struct Interval {
    /// When it began.
    pub start: OffsetDateTime,
    /// What was seen, by the generation that saw it.
    pub seen: BTreeMap<(u64, Connection), Tally>,
    /// What is missing.
    pub missing: Missing,
}

/// The observations of the running interval, and those that reports are made of.
#[derive(Debug)]
pub struct Observations {
    interval: Interval,
    kept: Kept,
}

/// What reports are made of: every connection since the start.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    connections: BTreeMap<Connection, VecDeque<(u64, Tally)>>,
    owners: BTreeMap<Connection, Vec<Owner>>,
    missing: Missing,
}

impl Observations {
    /// Nothing seen yet.
    pub fn new(now: OffsetDateTime) -> Self {
        Observations {
            interval: Interval {
                start: now,
                seen: BTreeMap::new(),
                missing: Missing::default(),
            },
            kept: Kept::default(),
        }
    }

    /// Counts the first packet of a connection.
    pub fn saw(
        &mut self,
        generation: u64,
        mut connection: Connection,
        source_ports: bool,
        bytes: u64,
        now: OffsetDateTime,
    ) {
        let ephemeral = matches!(
            connection.packet.protocol,
            Protocol::TCP | Protocol::UDP | Protocol::SCTP
        );
        if ephemeral && !source_ports {
            connection.packet.source_port = 0;
        }
        let tally = Tally::one(bytes, now);
        self.kept.keep(generation, &connection, tally);
        let full = self.interval.seen.len() >= MAX_KEPT;
        match self.interval.seen.entry((generation, connection)) {
            std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().add(&tally),
            std::collections::btree_map::Entry::Vacant(_) if full => self.interval.missing.folded += 1,
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(tally);
            }
        }
    }

    /// Notes what could not be seen.
    pub fn missed(&mut self, missing: Missing) {
        self.interval.missing.add(missing);
        self.kept.missing.add(missing);
    }

    /// Notes in the running interval what was missing in one that has no record to say so.
    pub fn carry_over(&mut self, missing: Missing) {
        self.interval.missing.add(missing);
    }

    /// Ends the interval and begins the next.
    pub fn end_interval(&mut self, now: OffsetDateTime) -> Interval {
        let next = Interval {
            start: now,
            seen: BTreeMap::new(),
            missing: Missing::default(),
        };
        std::mem::replace(&mut self.interval, next)
    }

    /// What reports are made of.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }
}

impl Kept {
    /// Each connection, with what was seen of it since a generation.
    pub fn since(&self, generation: u64) -> impl Iterator<Item = (&Connection, Tally)> {
        self.connections.iter().filter_map(move |(connection, tallies)| {
            let recent = tallies
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
        self.owners.get(connection).map_or(&[], Vec::as_slice)
    }

    /// What is missing since the start.
    pub fn missing(&self) -> Missing {
        self.missing
    }

    fn keep(&mut self, generation: u64, connection: &Connection, tally: Tally) {
        if let Some(tallies) = self.connections.get_mut(connection) {
            match tallies.back_mut() {
                Some((seen_by, sum)) if *seen_by == generation => sum.add(&tally),
                _ => tallies.push_back((generation, tally)),
            }
            if tallies.len() > MAX_GENERATIONS
                && let Some((_, oldest)) = tallies.pop_front()
                && let Some((_, next)) = tallies.front_mut()
            {
                next.add(&oldest);
            }
        } else if self.connections.len() < MAX_KEPT {
            self.connections
                .insert(connection.clone(), VecDeque::from([(generation, tally)]));
        } else {
            self.missing.folded += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_rules::world::EndpointKind;

    fn connection(port: u16) -> Connection {
        let packet = Packet {
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.2".parse().unwrap(),
            protocol: Protocol::TCP,
            source_port: port,
            destination_port: 80,
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

    #[test]
    fn source_ports_count_only_where_a_rule_looks_at_them() {
        let mut observations = Observations::new(at(0));
        for port in 1..=3 {
            observations.saw(1, connection(port), false, 60, at(i64::from(port)));
        }
        let interval = observations.end_interval(at(4));
        let tallies: Vec<_> = interval.seen.values().collect();
        assert_eq!(
            tallies,
            [&Tally {
                packets: 3,
                bytes: 180,
                first_seen: at(1),
                last_seen: at(3)
            }]
        );
        observations.saw(1, connection(1), true, 60, at(5));
        observations.saw(1, connection(2), true, 60, at(5));
        assert_eq!(observations.end_interval(at(6)).seen.len(), 2);
    }

    #[test]
    fn reports_keep_generations_apart_and_lose_no_packet() {
        let mut observations = Observations::new(at(0));
        for generation in 1..=20 {
            observations.saw(generation, connection(1), false, 10, at(1));
        }
        let packets = |since| {
            observations
                .kept()
                .since(since)
                .map(|(_, tally)| tally.packets)
                .sum::<u64>()
        };
        assert_eq!(packets(0), 20);
        assert_eq!(packets(20), 1);
        assert_eq!(packets(21), 0);
    }

    #[test]
    fn what_no_record_could_say_is_said_by_the_next() {
        let mut observations = Observations::new(at(0));
        let lost = Missing {
            lost: 3,
            ..Missing::default()
        };
        observations.missed(lost);
        let silent = observations.end_interval(at(1));
        observations.carry_over(silent.missing);
        assert_eq!(observations.end_interval(at(2)).missing, lost);
        assert_eq!(observations.kept().missing(), lost, "counted once");
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let mut observations = Observations::new(at(0));
        for port in 0..=u16::MAX {
            observations.saw(1, connection(port), true, 1, at(1));
        }
        let mut other = connection(7);
        other.packet.destination_port = 81;
        observations.saw(1, other, true, 1, at(1));
        let interval = observations.end_interval(at(2));
        assert_eq!(
            (
                interval.seen.len(),
                interval.missing.folded,
                observations.kept().missing().folded
            ),
            (65_536, 1, 1)
        );
    }
}
