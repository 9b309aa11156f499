//! First packets as they come in, put together until they are judged.
//!
//! A flood brings the same few kinds of packets a hundred thousand times a second: here each costs one look into a table
//! that only the reader has, and the rest is done once for all of them, some times a second.

use std::sync::Arc;

use palisade_nft::NflogPacket;
use palisade_rules::evaluate::Packet;
use palisade_rules::net::{Direction, Protocol};
use time::OffsetDateTime;

use super::hashed::Map;
use super::observe::Tally;
use super::packet;
use super::prefix::First;
use crate::apply::{EndpointKey, Generation, Way};

/// Different packets after which they are handed on.
const MOST: usize = 8_192;

/// Prefixes that are known at a time.
const MOST_PREFIXES: usize = 16_384;

/// Where copies are made: an endpoint, in one direction, of one generation.
#[derive(Debug)]
pub struct Seat {
    /// The number of the generation, as the copy bears it.
    pub number: u64,
    /// What is known of that generation: the one in force, where it is forgotten.
    pub generation: Arc<Generation>,
    /// The endpoint.
    pub endpoint: Arc<EndpointKey>,
    /// Seen from it.
    pub direction: Direction,
    /// Whether packets only pass through the host.
    pub forwarded: bool,
    /// Whether a copy stands for others that were not copied.
    pub sampled: bool,
    /// Whether source ports tell connections apart.
    pub source_ports: bool,
}

impl Seat {
    /// Where a prefix says; `None` if the endpoint is gone.
    pub(super) fn of(first: &First<'_>, generation: Arc<Generation>, source_ports: bool) -> Option<Self> {
        Some(Seat {
            number: first.generation,
            endpoint: generation.endpoint_at(first.way, first.place)?,
            direction: first.direction,
            forwarded: first.way == Way::Forward,
            sampled: first.sampled,
            source_ports: source_ports || generation.looks_at_source_ports,
            generation,
        })
    }
}

/// Packets alike that came in since the last were handed on.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Where.
    pub seat: Arc<Seat>,
    /// One of them; its source port is 0 where source ports tell nothing apart.
    pub packet: Packet,
    /// The source port of the last.
    pub source_port: u16,
    /// The user who sent the last, where the kernel knows.
    pub uid: Option<u32>,
    /// How many, and when.
    pub tally: Tally,
}

/// What came in.
#[derive(Default)]
pub struct Arrivals {
    seats: Map<String, Option<Arc<Seat>>>,
    seen: Map<(*const Seat, Packet), Arrival>,
    unreadable: u64,
}

impl Arrivals {
    /// Takes a copy. `find` says where a prefix was made that was not seen before; `None` is nowhere.
    pub fn take(
        &mut self,
        copy: &NflogPacket<'_>,
        now: OffsetDateTime,
        find: impl FnOnce(&str) -> Option<Seat>,
    ) {
        let known = self.seats.get(copy.prefix);
        let seat = known.cloned().unwrap_or_else(|| {
            if self.seats.len() >= MOST_PREFIXES {
                self.seats.clear();
            }
            let seat = find(copy.prefix).map(Arc::new);
            self.seats.insert(copy.prefix.to_owned(), seat.clone());
            seat
        });
        let (Some(seat), Some((mut packet, bytes))) = (seat, packet::parse(copy.payload)) else {
            self.unreadable += 1;
            return;
        };
        let source_port = packet.source_port;
        let is_ephemeral = matches!(packet.protocol, Protocol::TCP | Protocol::UDP | Protocol::SCTP);
        if is_ephemeral && !seat.source_ports {
            packet.source_port = 0;
        }
        let tally = Tally::one(bytes, now);
        self.seen
            .entry((Arc::as_ptr(&seat), packet))
            .and_modify(|arrival| {
                arrival.tally.add(&tally);
                arrival.source_port = source_port;
                arrival.uid = copy.uid.or(arrival.uid);
            })
            .or_insert(Arrival {
                seat,
                packet,
                source_port,
                uid: copy.uid,
                tally,
            });
    }

    /// Whether there is nothing to hand on.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.unreadable == 0
    }

    /// Whether there is no room for more.
    pub fn is_full(&self) -> bool {
        self.seen.len() >= MOST
    }

    /// Forgets where prefixes were made: another generation is in force.
    pub fn forget_seats(&mut self) {
        self.seats.clear();
    }

    /// Hands on what came in, and how many copies could not be read.
    pub fn hand_on(&mut self) -> (Vec<Arrival>, u64) {
        let arrivals = self.seen.drain().map(|(_, arrival)| arrival).collect();
        (arrivals, std::mem::take(&mut self.unreadable))
    }
}
