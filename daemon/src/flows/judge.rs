//! The evaluator, asked once for all packets that it cannot tell apart.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use palisade_rules::analysis::connections::{Blocks, PortBlocks};
use palisade_rules::evaluate::Packet;
use palisade_rules::net::{Direction, Protocol};

use super::arrivals::{Arrival, Seat};
use super::attribute::{Attribution, attribute, parties};
use super::hashed::Map;
use super::observe::Connection;
use super::record::Party;
use crate::apply::{EndpointKey, Generation};

/// Answers of one generation that are remembered.
const MAX_ANSWERS: usize = 65_536;

/// Different answers that are remembered, of all generations.
const MAX_JUDGED: usize = 16_384;

/// Generations whose answers are remembered: the one in force, and the one before, whose copies are still on their way.
const GENERATIONS: usize = 2;

/// What is said of packets at an endpoint: everything in a flow record but the port, and what was counted.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Judged {
    /// The local endpoint.
    pub endpoint: Arc<EndpointKey>,
    /// Seen from it.
    pub direction: Direction,
    /// Whether it only passes through the host.
    pub forwarded: bool,
    /// Whether it stands for others that were not copied.
    pub sampled: bool,
    /// The protocol.
    pub protocol: Protocol,
    /// Where from.
    pub source: Party,
    /// Where to.
    pub destination: Party,
    /// Both verdicts, and why.
    pub attribution: Attribution,
    /// A number for all of it.
    pub fingerprint: u64,
    /// A number for the endpoint, the direction and the traces.
    pub trace_fingerprint: u64,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// What is said of it.
    pub judged: Arc<Judged>,
    /// A number for the port and everything that the worlds can tell of the packet: the same for those that they cannot
    /// tell apart.
    pub alike: u64,
}

/// Answers that were given before.
#[derive(Default)]
pub struct Judges {
    of_generations: VecDeque<Judge>,
    judged: BTreeSet<Arc<Judged>>,
}

/// Answers of one generation.
struct Judge {
    generation: Arc<Generation>,
    blocks: Blocks,
    ports: PortBlocks,
    answers: Map<Question, Option<Arc<Judged>>>,
}

/// All that can matter of a packet.
#[derive(PartialEq, Eq, Hash)]
struct Question {
    endpoint: Arc<EndpointKey>,
    direction: Direction,
    forwarded: bool,
    sampled: bool,
    source: usize,
    destination: usize,
    /// Whether both ends have one address: then it never leaves the host.
    to_itself: bool,
    protocol: Protocol,
    source_port: u16,
    /// The block of the destination port.
    port: usize,
    icmp: [u8; 2],
}

impl Judges {
    /// What the worlds that saw these packets say of them; `None` if their endpoint is not there.
    pub fn judge(&mut self, arrival: &Arrival) -> Option<Judgement> {
        let Judges {
            of_generations,
            judged,
        } = self;
        let generation = &arrival.seat.generation;
        let known = of_generations
            .iter()
            .position(|judge| Arc::ptr_eq(&judge.generation, generation));
        let index = known.unwrap_or_else(|| {
            of_generations.push_front(Judge {
                generation: Arc::clone(generation),
                blocks: Blocks::of_everything(&generation.worlds),
                ports: PortBlocks::of_everything(&generation.worlds),
                answers: Map::new(),
            });
            of_generations.truncate(GENERATIONS);
            0
        });
        of_generations[index].judge(&arrival.seat, &arrival.packet, judged)
    }

    /// Makes room, if there are many answers. Not while any of them is compared with another by its address.
    pub fn tidy_up(&mut self) {
        if self.judged.len() > MAX_JUDGED {
            self.judged.clear();
            self.of_generations.clear();
        }
    }
}

impl Judge {
    fn judge(
        &mut self,
        seat: &Seat,
        packet: &Packet,
        judged: &mut BTreeSet<Arc<Judged>>,
    ) -> Option<Judgement> {
        let question = Question {
            endpoint: Arc::clone(&seat.endpoint),
            direction: seat.direction,
            forwarded: seat.forwarded,
            sampled: seat.sampled,
            source: self.blocks.of_address(packet.source),
            destination: self.blocks.of_address(packet.destination),
            to_itself: packet.source == packet.destination,
            protocol: packet.protocol,
            source_port: packet.source_port,
            port: self.ports.of_port(packet.destination_port),
            icmp: [packet.icmp_type, packet.icmp_code],
        };
        let known = self.answers.get(&question).cloned();
        let answer = known.unwrap_or_else(|| {
            if self.answers.len() >= MAX_ANSWERS {
                self.answers.clear();
            }
            let answer = self.answer(seat, packet).map(|answer| intern(judged, answer));
            self.answers.insert(question, answer.clone());
            answer
        });
        Some(Judgement {
            judged: answer?,
            alike: self.alike(seat, packet),
        })
    }

    fn answer(&self, seat: &Seat, packet: &Packet) -> Option<Judged> {
        let worlds = &self.generation.worlds;
        let connection = Connection {
            endpoint: Arc::clone(&seat.endpoint),
            direction: seat.direction,
            forwarded: seat.forwarded,
            packet: *packet,
        };
        let attribution = attribute(worlds, &connection)?;
        let (source, destination) = parties(worlds, &connection);
        let mut judged = Judged {
            endpoint: connection.endpoint,
            direction: seat.direction,
            forwarded: seat.forwarded,
            sampled: seat.sampled,
            protocol: packet.protocol,
            source,
            destination,
            attribution,
            fingerprint: 0,
            trace_fingerprint: 0,
        };
        [judged.fingerprint, judged.trace_fingerprint] = fingerprints(&judged);
        Some(judged)
    }

    fn alike(&self, seat: &Seat, packet: &Packet) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&seat.endpoint, seat.direction, seat.forwarded).hash(&mut hasher);
        let block = |address| self.blocks.first_of(address);
        Packet {
            source: block(packet.source),
            destination: block(packet.destination),
            ..*packet
        }
        .hash(&mut hasher);
        hasher.finish()
    }
}

fn intern(known: &mut BTreeSet<Arc<Judged>>, judged: Judged) -> Arc<Judged> {
    let judged = Arc::new(judged);
    known.get(&judged).cloned().unwrap_or_else(|| {
        known.insert(Arc::clone(&judged));
        judged
    })
}

/// A number for all that is shown but for labels, which come with the name; and one for that without names.
fn fingerprints(judged: &Judged) -> [u64; 2] {
    let mut hasher = DefaultHasher::new();
    let seen = (judged.direction, judged.forwarded, judged.sampled);
    (&judged.endpoint, seen).hash(&mut hasher);
    // A trace has no hash of its own; its words are as good.
    format!("{:?}", judged.attribution).hash(&mut hasher);
    let of_trace = hasher.finish();
    judged.protocol.hash(&mut hasher);
    for party in [&judged.source, &judged.destination] {
        (&party.kind, &party.namespace, &party.name).hash(&mut hasher);
    }
    [hasher.finish(), of_trace]
}
