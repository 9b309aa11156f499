//! Everything that is observed, put together: first packets as they were judged, and what conntrack says of the rest.

use palisade_rules::evaluate::Verdict;
use palisade_rules::net::Protocol;
use time::OffsetDateTime;

use super::aggregate::{Aggregate, Flow, FlowKey, Remainder};
use super::arrivals::Arrival;
use super::hashed::Set;
use super::judge::Judges;
use super::observe::{Connection, Kept, Missing};
use super::tracks::{Told, Tracked, Tracks};
use crate::apply::EndpointKey;
use crate::kernel::conntrack::Entry;
use crate::live::Owner;
use palisade_rules::world::EndpointKind;

/// Flows that count as seen before; twice as many, while those of before are still remembered.
const MAX_SIGHTS: usize = 131_072;

/// The observations of the running interval, and what reports are made of.
pub struct Observations {
    with_addresses: bool,
    start: OffsetDateTime,
    judges: Judges,
    aggregate: Aggregate,
    tracks: Tracks,
    sights: Sights,
    kept: Kept,
    missing: Missing,
    ends: Ends,
    sampled: u64,
}

/// One interval's observations.
#[derive(Debug)]
pub struct Interval {
    /// When it began.
    pub start: OffsetDateTime,
    /// Its flows, and whether each was seen for the first time.
    pub flows: Vec<(FlowKey, Flow, bool)>,
    /// Those that were not kept apart.
    pub remainders: Vec<Remainder>,
    /// What is missing.
    pub missing: Missing,
    /// What conntrack has said.
    pub ends: Ends,
    /// First packets that stand for others.
    pub sampled: u64,
}

/// What conntrack has said in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Connections that have ended, and whose flows are not known: older than the daemon, or of an endpoint that is gone.
    pub unknown: u64,
    /// How often ends were lost.
    pub lost: u64,
    /// Whether conntrack accounts packets and bytes.
    pub accounting: bool,
}

/// A socket whose holder is worth knowing.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The flow of its connection.
    pub key: FlowKey,
    /// The connection, as it is kept.
    pub connection: Connection,
    /// Its source port.
    pub source_port: u16,
    /// The user who sent the packet, where the kernel knew.
    pub uid: Option<u32>,
}

impl Observations {
    /// Nothing seen yet.
    pub fn new(with_addresses: bool, kept: Kept, now: OffsetDateTime) -> Self {
        Observations {
            with_addresses,
            start: now,
            judges: Judges::default(),
            aggregate: Aggregate::default(),
            tracks: Tracks::default(),
            sights: Sights::default(),
            kept,
            missing: Missing::default(),
            ends: Ends::default(),
            sampled: 0,
        }
    }

    /// Takes first packets. Those whose sockets may be on this host come back, if nobody knows who holds them.
    pub fn arrived(&mut self, arrivals: Vec<Arrival>, unreadable: u64, now: OffsetDateTime) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        self.missed(Missing {
            unreadable,
            ..Missing::default()
        });
        for arrival in arrivals {
            let Some(judgement) = self.judges.judge(&arrival) else {
                self.missed(Missing {
                    unreadable: arrival.tally.packets,
                    ..Missing::default()
                });
                continue;
            };
            let Arrival {
                seat,
                packet,
                source_port,
                uid,
                tally,
            } = arrival;
            let judged = &judgement.judged;
            let key = FlowKey::new(judged, &packet, self.with_addresses);
            self.aggregate.arrived(key.clone(), &tally);
            let connection = Connection {
                endpoint: seat.endpoint.clone(),
                direction: seat.direction,
                forwarded: seat.forwarded,
                packet,
            };
            self.kept.keep(seat.number, &connection, judgement.alike, tally);
            if seat.sampled {
                self.sampled += tally.packets;
                continue;
            }
            if judged.attribution.action == Verdict::Allow {
                self.tracks.allowed(&key, &packet);
            }
            if has_socket_here(&connection) {
                if self.kept.is_owner_wanted(&connection, now) {
                    wanted.push(Wanted {
                        key,
                        connection,
                        source_port,
                        uid,
                    });
                } else {
                    for owner in self.kept.owners(&connection) {
                        self.aggregate.owned(&key, owner);
                    }
                }
            }
        }
        wanted
    }

    /// Notes who held a socket, if that could be found out.
    pub fn owned(&mut self, wanted: &Wanted, owner: Option<&Owner>, now: OffsetDateTime) {
        self.kept.owned(&wanted.connection, owner, now);
        if let Some(owner) = owner {
            self.aggregate.owned(&wanted.key, owner);
        }
    }

    /// Notes what could not be seen.
    pub fn missed(&mut self, missing: Missing) {
        self.missing.add(missing);
        self.kept.missed(missing);
    }

    /// Notes that a connection has ended.
    pub fn ended(&mut self, entry: &Entry) {
        self.ends.accounting |= entry.counts.is_some();
        if !self.tracks.told(entry, Told::Ended, &mut self.aggregate) {
            self.ends.unknown += 1;
        }
    }

    /// Notes that ends of connections were lost so many times.
    pub fn ends_lost(&mut self, times: u64) {
        self.ends.lost += times;
    }

    /// What there is to look for in conntrack.
    pub fn tracked(&self) -> Tracked {
        self.tracks.tracked()
    }

    /// Notes the connections that are alive.
    pub fn alive(&mut self, entries: &[Entry]) {
        self.tracks.only_alive(entries);
        for entry in entries {
            self.ends.accounting |= entry.counts.is_some();
            self.tracks.told(entry, Told::Alive, &mut self.aggregate);
        }
    }

    /// Ends the interval and begins the next.
    pub fn end_interval(&mut self, now: OffsetDateTime) -> Interval {
        let (flows, remainders) = self.aggregate.take();
        let flows = flows
            .into_iter()
            .filter(|(_, flow)| flow.is_worth_a_record())
            .map(|(key, flow)| {
                let first_sight = self.sights.is_first(key.fingerprint());
                (key, flow, first_sight)
            })
            .collect();
        self.tracks.next_interval();
        self.judges.tidy_up();
        let accounting = self.ends.accounting;
        let ends = std::mem::take(&mut self.ends);
        self.ends.accounting = accounting;
        Interval {
            start: std::mem::replace(&mut self.start, now),
            flows,
            remainders,
            missing: std::mem::take(&mut self.missing),
            ends,
            sampled: std::mem::take(&mut self.sampled),
        }
    }

    /// What reports are made of.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }
}

impl Flow {
    /// Whether anything has happened: a connection that is alive and silent has not.
    fn is_worth_a_record(&self) -> bool {
        self.first.is_some() || self.completed > 0 || self.accounted.iter().any(|way| way.packets > 0)
    }
}

/// Whether this host's end of a connection is a socket of this host: not where it goes through, nor to a workload.
fn has_socket_here(connection: &Connection) -> bool {
    let EndpointKey { kind, .. } = *connection.endpoint;
    let has_sockets = matches!(connection.packet.protocol, Protocol::TCP | Protocol::UDP);
    has_sockets && !connection.forwarded && kind != EndpointKind::Workload
}

/// Flows that were seen before, as far as that can be remembered.
#[derive(Default)]
struct Sights {
    recent: Set<u64>,
    before: Set<u64>,
}

impl Sights {
    /// Whether it is the first time; the next is not.
    fn is_first(&mut self, fingerprint: u64) -> bool {
        let is_first = !self.recent.contains(&fingerprint) && !self.before.contains(&fingerprint);
        if self.recent.len() >= MAX_SIGHTS {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(fingerprint);
        is_first
    }
}
