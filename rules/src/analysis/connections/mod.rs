//! Live connections: what would become of them if they were opened again.
//!
//! A connection that is older than a policy is accepted before policy, and a promotion does not cut it. So nothing here
//! is being denied: it would be, if it were opened again. The exception is a connection that has not been answered: its
//! next packet is still a first one.

mod blocks;
mod judge;
mod reduced;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::blocks::{Blocks, PortBlocks};
use self::judge::{Judge, Judgement};
use self::reduced::Reduced;
use super::{Side, StepReport};
use crate::evaluate::{Packet, Step};
use crate::net::Protocol;
use crate::world::{EndpointId, Stage, World, WorldKind, Worlds};

/// A connection that the kernel tracks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// The first packet as it came, its destination not yet translated.
    pub arriving: Packet,
    /// The first packet as policies at its end decide about it: its destination translated, its source not yet.
    pub packet: Packet,
    /// Whether a packet has come back. Until then, the next one is still a first packet to policy.
    pub answered: bool,
    /// Whether another connection has announced it (as FTP's control connection does its data): then policy is never
    /// asked.
    pub expected: bool,
    /// The cgroup of the socket that opened it, below the root, where it is one of this host and known.
    pub from_cgroup: Option<Arc<str>>,
    /// The cgroup of the socket that took it.
    pub to_cgroup: Option<Arc<str>>,
}

/// What a change of worlds does to the connections that are alive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Connections looked at.
    pub connections: usize,
    /// Of these, those that no policy is asked about: loopback, and those that another connection has announced.
    pub exempt: usize,
    /// Of these, those that would be allowed before and after.
    pub unaffected: usize,
    /// The others, those alike together: what the change would deny first, and most of them first.
    pub affected: Vec<Affected>,
}

/// Connections that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affected {
    /// What the change does to them.
    pub effect: Effect,
    /// Who opened them, by name.
    pub from: String,
    /// Who took them, by name.
    pub to: String,
    /// The protocol, in nftables' word.
    pub protocol: String,
    /// The destination port, as policies see it; `None` where the protocol has none.
    pub port: Option<u16>,
    /// How many there are.
    pub connections: usize,
    /// How many of them have not been answered: their next packet meets policy.
    pub unanswered: usize,
    /// What becomes of them before the change.
    pub before: Fate,
    /// What becomes of them after the change.
    pub after: Fate,
    /// What denies them.
    pub because: StepReport,
    /// Whether that depends on the interfaces by which they go through the host, which conntrack does not know.
    pub depends_on_interface: bool,
    /// The addresses and ports of one of them.
    pub example: String,
    /// Which they are, as indices into the connections that were swept.
    #[serde(skip)]
    pub members: Vec<usize>,
}

/// What a change does to a live connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It would be denied if opened again.
    Denied,
    /// It would be, once the safety net is removed as well.
    DeniedWithoutSafetyNet,
    /// It would be without the change too: it is older than the policy that denies it.
    AlreadyDenied,
    /// Only a safety net allows it, with the change and without it.
    AlreadyDeniedWithoutSafetyNet,
    /// It would be denied without the change, and is allowed with it.
    AllowedAgain,
}

/// What becomes of a connection that is opened again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// `allow` or `deny`.
    pub verdict: Cow<'static, str>,
    /// The same, were there no safety net.
    pub without_safety_net: Cow<'static, str>,
}

impl Sweep {
    /// How many connections a change does this to.
    pub fn count(&self, effect: Effect) -> usize {
        let affected = self.affected.iter().filter(|group| group.effect == effect);
        affected.map(|group| group.connections).sum()
    }
}

/// So many connections that differ are asked about one by one: to tell apart what is alike in all worlds would take longer.
const FEW: usize = 256;

/// What the step from one world to another does to live connections. Each question is answered once, however many
/// connections ask it.
pub fn sweep(before: Side<'_>, after: Side<'_>, connections: &[Tracked]) -> Sweep {
    let sides = [before, after];
    let source_ports = sides.iter().any(|side| looks_at_source_ports(side.worlds));
    let mut verdicts = Verdicts {
        judges: sides.map(Judge::new),
        sides,
        groups: BTreeMap::new(),
        affected: Vec::new(),
    };
    let answers = match few(connections, source_ports) {
        Some(few) => answer_few(&mut verdicts, connections, few),
        None => answer_many(&mut verdicts, connections, source_ports),
    };
    let mut sweep = Sweep {
        connections: connections.len(),
        ..Sweep::default()
    };
    for (index, answer) in answers {
        match answer {
            Answer::Exempt => sweep.exempt += 1,
            Answer::Unaffected => sweep.unaffected += 1,
            Answer::Affected(group) => {
                let group = &mut verdicts.affected[group];
                group.connections += 1;
                group.unanswered += usize::from(!connections[index].answered);
                group.members.push(index);
            }
        }
    }
    sweep.affected = verdicts.affected;
    sweep
        .affected
        .sort_by(|a, b| (a.effect, b.connections).cmp(&(b.effect, a.connections)));
    sweep
}

/// All that policies may see of a connection.
type Exact = ([Packet; 2], bool, [Option<Arc<str>>; 2]);

/// The connections that differ, with all that are like each, if they are few.
fn few(connections: &[Tracked], source_ports: bool) -> Option<BTreeMap<Exact, Vec<usize>>> {
    let mut few: BTreeMap<Exact, Vec<usize>> = BTreeMap::new();
    for (index, connection) in connections.iter().enumerate() {
        let mut packets = [connection.arriving, connection.packet];
        if !source_ports && connection.packet.protocol.has_ports() {
            packets = packets.map(|packet| Packet {
                source_port: 0,
                ..packet
            });
        }
        let cgroups = [connection.from_cgroup.clone(), connection.to_cgroup.clone()];
        let alike = few.entry((packets, connection.expected, cgroups)).or_default();
        alike.push(index);
        if few.len() > FEW {
            return None;
        }
    }
    Some(few)
}

fn answer_few(
    verdicts: &mut Verdicts<'_>,
    connections: &[Tracked],
    few: BTreeMap<Exact, Vec<usize>>,
) -> Vec<(usize, Answer)> {
    let left = reduced::for_few(verdicts.sides, connections);
    let mut few: Vec<Vec<usize>> = few.into_values().collect();
    // By the first of each.
    few.sort_unstable();
    let mut answers = Vec::with_capacity(connections.len());
    for alike in few {
        let answer = verdicts.answer(&left, &connections[alike[0]]);
        answers.extend(alike.into_iter().map(|index| (index, answer)));
    }
    answers.sort_unstable_by_key(|(index, _)| *index);
    answers
}

fn answer_many(
    verdicts: &mut Verdicts<'_>,
    connections: &[Tracked],
    source_ports: bool,
) -> Vec<(usize, Answer)> {
    let worlds = verdicts.sides.map(|side| side.worlds);
    let mut sweeper = Sweeper {
        blocks: Blocks::of(&worlds),
        ports: PortBlocks::of(&worlds),
        reduced: None,
        source_ports,
        verdicts,
        answers: BTreeMap::new(),
    };
    // Those of one class together, so that what is left of the worlds for it is made once, and not kept.
    let mut order: Vec<usize> = (0..connections.len()).collect();
    order.sort_by_cached_key(|&index| sweeper.class(&connections[index]));
    let answers = order.into_iter();
    answers
        .map(|index| (index, sweeper.answer(&connections[index])))
        .collect()
}

/// The local endpoints at the ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ends {
    /// Of the end that opened it: a service stands before its host.
    pub from: Vec<EndpointId>,
    /// Of the end that took it.
    pub to: Vec<EndpointId>,
    /// Whether it goes through the host.
    pub forwarded: bool,
}

/// The ends of each connection; `None` for one that no policy is asked about: loopback, and what another connection has
/// announced.
pub fn ends(side: Side<'_>, connections: &[Tracked]) -> Vec<Option<Ends>> {
    let judge = Judge::new(side);
    connections
        .iter()
        .map(|connection| judge.ends(connection))
        .collect()
}

/// All that tells connections apart.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    source: [usize; 2],
    destination: [usize; 2],
    arriving: [usize; 2],
    protocol: Protocol,
    /// 0 where nothing looks at it.
    source_port: u16,
    ports: [u16; 2],
    icmp: [u8; 2],
    expected: bool,
    cgroups: [Option<Arc<str>>; 2],
}

/// What decides which rules can match: the protocol, and the blocks of the destination port as it was and as it is.
type Class = (Protocol, [usize; 2]);

#[derive(Clone, Copy)]
enum Answer {
    Exempt,
    Unaffected,
    Affected(usize),
}

/// What connections are put together by: what is done to them, names, protocol, port, and the step in words.
type GroupKey = (Effect, String, String, Protocol, u16, String);

/// What both sides say, and whom it affects.
struct Verdicts<'w> {
    judges: [Judge<'w>; 2],
    sides: [Side<'w>; 2],
    groups: BTreeMap<GroupKey, usize>,
    affected: Vec<Affected>,
}

/// Tells many connections apart.
struct Sweeper<'v, 'w> {
    blocks: Blocks,
    ports: PortBlocks,
    /// The worlds that are left for one class of connections.
    reduced: Option<(Class, Reduced)>,
    source_ports: bool,
    verdicts: &'v mut Verdicts<'w>,
    answers: BTreeMap<Question, Answer>,
}

impl Sweeper<'_, '_> {
    fn answer(&mut self, connection: &Tracked) -> Answer {
        let class = self.class(connection);
        let reduced = match self.reduced.take() {
            Some((same, reduced)) if same == class => reduced,
            _ => {
                let ports = [&connection.arriving, &connection.packet].map(|packet| packet.destination_port);
                Reduced::new(self.verdicts.sides, connection.packet.protocol, ports)
            }
        };
        let answer = self.answer_in(&reduced, connection);
        self.reduced = Some((class, reduced));
        answer
    }

    fn answer_in(&mut self, reduced: &Reduced, connection: &Tracked) -> Answer {
        let question = self.question(connection, &reduced.blocks);
        if let Some(&answer) = self.answers.get(&question) {
            return answer;
        }
        let answer = self.verdicts.answer(&reduced.worlds, connection);
        self.answers.insert(question, answer);
        answer
    }

    fn class(&self, connection: &Tracked) -> Class {
        let ports = [&connection.arriving, &connection.packet].map(|packet| packet.destination_port);
        (
            connection.packet.protocol,
            ports.map(|port| self.ports.of_port(port)),
        )
    }

    fn question(&self, connection: &Tracked, left: &Blocks) -> Question {
        let Tracked { arriving, packet, .. } = connection;
        let source_port = if self.source_ports || !packet.protocol.has_ports() {
            packet.source_port
        } else {
            0
        };
        let block = |address| [self.blocks.of_address(address), left.of_address(address)];
        Question {
            source: block(packet.source),
            destination: block(packet.destination),
            arriving: block(arriving.destination),
            protocol: packet.protocol,
            source_port,
            ports: [arriving.destination_port, packet.destination_port],
            icmp: [packet.icmp_type, packet.icmp_code],
            expected: connection.expected,
            cgroups: [connection.from_cgroup.clone(), connection.to_cgroup.clone()],
        }
    }
}

impl Verdicts<'_> {
    /// What the change does to a connection, in what is left of both worlds for it.
    fn answer(&mut self, worlds: &[World; 2], connection: &Tracked) -> Answer {
        let [before, after] = &self.judges;
        let judgements = [
            before.judge(&worlds[0], connection),
            after.judge(&worlds[1], connection),
        ];
        match effect(&judgements) {
            _ if judgements.iter().all(|judgement| judgement.exempt) => Answer::Exempt,
            None => Answer::Unaffected,
            Some((effect, side, step)) => {
                let step = StepReport::new(self.sides[side].worlds, &step);
                Answer::Affected(self.group(connection, effect, step, &judgements))
            }
        }
    }

    /// The group that a connection belongs to, made if need be.
    fn group(
        &mut self,
        connection: &Tracked,
        effect: Effect,
        because: StepReport,
        judgements: &[Judgement; 2],
    ) -> usize {
        let packet = &connection.packet;
        // Whoever is gone after the change has its name from before.
        let judge = &self.judges[usize::from(effect != Effect::AllowedAgain)];
        let from = judge.name(packet.source, connection.from_cgroup.as_deref());
        let to = judge.name(packet.destination, connection.to_cgroup.as_deref());
        let step = format!("{} {}", because.endpoint, because.phrase());
        let key = (
            effect,
            from.clone(),
            to.clone(),
            packet.protocol,
            packet.destination_port,
            step,
        );
        *self.groups.entry(key).or_insert_with(|| {
            let [before, after] = [&judgements[0], &judgements[1]].map(Judgement::fate);
            self.affected.push(Affected {
                effect,
                from,
                to,
                protocol: packet.protocol.to_string(),
                port: packet.protocol.has_ports().then_some(packet.destination_port),
                connections: 0,
                unanswered: 0,
                before,
                after,
                because,
                depends_on_interface: judgements.iter().any(|judgement| judgement.depends_on_interface),
                example: example(connection),
                members: Vec::new(),
            });
            self.affected.len() - 1
        })
    }
}

/// What the change does, on which side of it the step stands that denies, and the step.
fn effect([before, after]: &[Judgement; 2]) -> Option<(Effect, usize, Step)> {
    let found = |effect, side, step: &Step| Some((effect, side, step.clone()));
    match (&before.denied, &after.denied) {
        (Some(step), Some(_)) => return found(Effect::AlreadyDenied, 0, step),
        (None, Some(step)) => return found(Effect::Denied, 1, step),
        (Some(step), None) => return found(Effect::AllowedAgain, 0, step),
        (None, None) => {}
    }
    match (&before.denied_without_net, &after.denied_without_net) {
        (Some(_), Some(step)) => found(Effect::AlreadyDeniedWithoutSafetyNet, 1, step),
        (None, Some(step)) => found(Effect::DeniedWithoutSafetyNet, 1, step),
        (_, None) => None,
    }
}

/// Whether the source port of a connection may change a verdict. Before conntrack, the way back from what a failsafe
/// leads to stays open, and is known by it.
fn looks_at_source_ports(worlds: &Worlds) -> bool {
    let mut kinds = WorldKind::BOTH.into_iter();
    worlds.looks_at_source_ports() || kinds.any(|kind| worlds.world(kind).has_stage(Stage::Untracked))
}

/// `192.0.2.1:50000 -> 198.51.100.1:80, translated to 10.0.0.2:8080`.
fn example(connection: &Tracked) -> String {
    let Tracked { arriving, packet, .. } = connection;
    let end = |address: IpAddr, port| {
        if packet.protocol.has_ports() {
            SocketAddr::new(address, port).to_string()
        } else {
            address.to_string()
        }
    };
    let from = end(packet.source, packet.source_port);
    let [arrived, to] = [arriving, packet].map(|packet| end(packet.destination, packet.destination_port));
    if arrived == to {
        format!("{from} -> {to}")
    } else {
        format!("{from} -> {arrived}, translated to {to}")
    }
}
