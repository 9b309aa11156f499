//! What is seen of connections: which, how often, when, and what was missed.

use std::sync::Arc;

use palisade_rules::evaluate::Packet;
use palisade_rules::net::Direction;
use time::OffsetDateTime;

pub use super::kept::Kept;
use crate::apply::EndpointKey;

/// What policy can see of a connection at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// One packet.
    pub fn one(bytes: u64, at: OffsetDateTime) -> Self {
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
    /// All of it.
    pub fn total(self) -> u64 {
        self.lost + self.unreadable + self.folded
    }

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
