//! Which flow a tracked connection belongs to: what conntrack says of its packets, its life and its end goes there.

use std::net::IpAddr;

use palisade_rules::evaluate::Packet;
use palisade_rules::net::{Direction, Protocol};

use super::aggregate::{Aggregate, FlowKey, Traffic};
use super::hashed::Map;
use crate::kernel::conntrack::{Count, Entry, Tuple};

/// Ends of connections whose flows are known.
const MAX_TRACKS: usize = 65_536;

/// Connections whose counts are known as they were when conntrack was last looked at.
const MAX_REPORTED: usize = 1 << 18;

/// The flows of allowed connections, by their ends.
#[derive(Debug, Default)]
pub struct Tracks {
    by_ends: Map<Ends, Track>,
    /// What was counted already of the connections that were alive when conntrack was last looked at.
    reported: Map<u32, [Count; 2]>,
    interval: u64,
    /// The last interval in which room was made: what is needed in it cannot go before the next.
    made_room: Option<u64>,
    /// Whether there are ends that were not known when conntrack was last looked at.
    has_new: bool,
}

/// What there is to look for in conntrack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// Nothing has been allowed.
    Nothing,
    /// What was there the last time.
    NothingNew,
    /// More than that.
    New,
}

/// The ends of a connection as policies see them; the source port is 0 where it tells nothing apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ends {
    source: IpAddr,
    destination: IpAddr,
    protocol: Protocol,
    ports: [u16; 2],
}

#[derive(Debug)]
struct Track {
    /// One for each endpoint of this host that it meets.
    flows: Vec<FlowKey>,
    /// The last interval that needed it.
    needed: u64,
}

/// What is known of the end of a connection, or of its life so far.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// It is alive.
    Alive,
    /// It has ended.
    Ended,
}

impl Tracks {
    /// Takes note of a flow that has been allowed. The packet is as it was judged.
    pub fn allowed(&mut self, key: &FlowKey, packet: &Packet) {
        let has_room = self.by_ends.len() < MAX_TRACKS || self.make_room();
        let ends = Ends::of(packet);
        if !has_room && !self.by_ends.contains_key(&ends) {
            return;
        }
        let has_new = &mut self.has_new;
        let track = self.by_ends.entry(ends).or_insert_with(|| {
            *has_new = true;
            Track {
                flows: Vec::new(),
                needed: 0,
            }
        });
        track.needed = self.interval;
        let seen_at = |key: &FlowKey| {
            let judged = &key.judged;
            (judged.endpoint.clone(), judged.direction, judged.forwarded)
        };
        // Judged anew by another generation, it is another flow at the same place.
        match track
            .flows
            .iter_mut()
            .find(|known| seen_at(known) == seen_at(key))
        {
            Some(known) => *known = key.clone(),
            None => track.flows.push(key.clone()),
        }
    }

    /// Adds what conntrack says of a connection to its flows; `false` where they are not known, or have no room.
    pub fn told(&mut self, entry: &Entry, told: Told, aggregate: &mut Aggregate) -> bool {
        let counted = match (entry.counts, told) {
            (Some(counts), Told::Ended) => {
                let before = self.reported.remove(&entry.id).unwrap_or_default();
                [0, 1].map(|way| since(counts[way], before[way]))
            }
            (Some(counts), Told::Alive) if self.reported.len() < MAX_REPORTED => {
                let before = self.reported.insert(entry.id, counts).unwrap_or_default();
                [0, 1].map(|way| since(counts[way], before[way]))
            }
            // Told at its end.
            (Some(_), Told::Alive) | (None, _) => [Traffic::default(); 2],
        };
        let Some(track) = self.find(&entry.translated()) else {
            return false;
        };
        let mut is_known = false;
        for key in track {
            let Some(flow) = aggregate.flow(key) else {
                continue;
            };
            is_known = true;
            for (sum, counted) in flow.accounted.iter_mut().zip(counted) {
                sum.packets += counted.packets;
                sum.bytes += counted.bytes;
            }
            match told {
                Told::Alive => flow.live += 1,
                Told::Ended => {
                    flow.completed += 1;
                    flow.completed_duration_ms += lived_ms(entry);
                }
            }
        }
        is_known
    }

    /// What there is to look for in conntrack.
    pub fn tracked(&self) -> Tracked {
        match (self.by_ends.is_empty(), self.has_new) {
            (true, _) => Tracked::Nothing,
            (false, false) => Tracked::NothingNew,
            (false, true) => Tracked::New,
        }
    }

    /// Of connections that are not among these, what was counted of them is forgotten.
    pub fn only_alive(&mut self, alive: &[Entry]) {
        self.has_new = false;
        let mut reported = Map::with_capacity(self.reported.len().min(alive.len()));
        for entry in alive {
            if let Some(counts) = self.reported.get(&entry.id) {
                reported.insert(entry.id, *counts);
            }
        }
        self.reported = reported;
    }

    /// Another interval begins.
    pub fn next_interval(&mut self) {
        self.interval += 1;
    }

    fn find(&mut self, tuple: &Tuple) -> Option<&[FlowKey]> {
        let exact = Ends {
            source: tuple.source,
            destination: tuple.destination,
            protocol: Protocol(tuple.protocol),
            ports: [tuple.source_port, tuple.destination_port],
        };
        let any = Ends {
            ports: [0, tuple.destination_port],
            ..exact
        };
        let ends = [exact, any]
            .into_iter()
            .find(|ends| self.by_ends.contains_key(ends))?;
        let track = self.by_ends.get_mut(&ends)?;
        track.needed = self.interval;
        Some(&track.flows)
    }

    /// Forgets what nobody has needed in this interval or the one before, once an interval; whether there is room then.
    fn make_room(&mut self) -> bool {
        let interval = self.interval;
        if self.made_room.replace(interval) == Some(interval) {
            return false;
        }
        self.by_ends.retain(|_, track| track.needed + 1 >= interval);
        self.by_ends.len() < MAX_TRACKS
    }
}

impl Ends {
    fn of(packet: &Packet) -> Self {
        Ends {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            ports: [packet.source_port, packet.destination_port],
        }
    }
}

/// The way of an interval's packets that comes in: of those from the side that opened the connection, and back.
pub fn incoming(direction: Direction) -> usize {
    match direction {
        Direction::Ingress => 0,
        Direction::Egress => 1,
    }
}

fn since(now: Count, before: Count) -> Traffic {
    Traffic {
        packets: now.packets.saturating_sub(before.packets),
        bytes: now.bytes.saturating_sub(before.bytes),
    }
}

fn lived_ms(entry: &Entry) -> u64 {
    match entry.times {
        [0, _] | [_, 0] => 0,
        [began, ended] => ended.saturating_sub(began) / 1_000_000,
    }
}
