//! Nftables' evaluation of a ruleset, for one packet that is described and not made.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use palisade_cases::{Journey, Way};
use palisade_rules::evaluate::Packet;
use palisade_rules::net::{Family, PortRange, Protocol};
use palisade_rules::ruleset::{
    Chain, CtState, Elements, Hook, HookPoint, LookupKey, Match, Name, Op, Rule, Ruleset, Side, Statement,
    Ways, fnv1a,
};
use palisade_rules::shared_map::SharedMap;

/// Conntrack's priority: what comes before it at prerouting and output knows no state, and can still refuse tracking.
const CONNTRACK: i32 = -200;

/// The hooks on a way in order, with the interfaces that are known there.
fn stops(way: Way) -> Vec<Stop> {
    let stop = |point, from, to| Stop { point, from, to };
    match way {
        Way::In { from } => vec![
            stop(HookPoint::Prerouting, Some(from), None),
            stop(HookPoint::Input, Some(from), None),
        ],
        Way::Out { to } => vec![stop(HookPoint::Output, None, Some(to))],
        Way::Through { from, to } => vec![
            stop(HookPoint::Prerouting, Some(from), None),
            stop(HookPoint::Forward, Some(from), Some(to)),
        ],
    }
}

/// A hook on the way.
struct Stop {
    point: HookPoint,
    from: Option<&'static str>,
    to: Option<&'static str>,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Accept,
    Drop,
    Reject,
}

/// What happens on the way.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) end: End,
    /// Chain and counter, in order.
    pub(crate) hits: Vec<(String, String)>,
    /// The prefixes of its copies to NFLOG, in order.
    pub(crate) logs: Vec<String>,
    /// The mark that it leaves with.
    pub(crate) mark: u32,
}

/// Runs a packet through the base chains of every hook that it meets, in order of priority. One that accepts it ends
/// there and not the packet's way.
pub(crate) fn run(ruleset: &Ruleset, journey: &Journey) -> Run {
    let chains = ruleset
        .chains
        .iter()
        .map(|chain| (chain.name.as_str(), &**chain))
        .collect();
    let mut run = Run {
        end: End::Accept,
        hits: Vec::new(),
        logs: Vec::new(),
        mark: journey.mark,
    };
    let mut state = journey.state;
    for stop in stops(journey.way) {
        let at = |chain: &&Chain| chain.hook.is_some_and(|hook| hook.point == stop.point);
        let mut bases: Vec<&Chain> = ruleset.chains.iter().map(Arc::as_ref).filter(at).collect();
        bases.sort_by_key(|chain| chain.hook.map(|hook| hook.priority));
        for base in bases {
            let mut machine = Machine {
                ruleset,
                chains: &chains,
                journey,
                stop: &stop,
                hook: base.hook.unwrap(),
                run: &mut run,
                state: &mut state,
            };
            if let Some(end @ (End::Drop | End::Reject)) = machine.chain(base, 0) {
                run.end = end;
                return run;
            }
        }
    }
    run
}

/// The kernel refuses a ruleset that jumps or goes deeper.
pub(crate) const MAX_JUMPS: usize = 15;

/// One base chain at work.
struct Machine<'a> {
    ruleset: &'a Ruleset,
    chains: &'a BTreeMap<&'a str, &'a Chain>,
    journey: &'a Journey,
    stop: &'a Stop,
    hook: Hook,
    run: &'a mut Run,
    state: &'a mut CtState,
}

impl Machine<'_> {
    /// `None` goes on behind the jump that led here.
    fn chain(&mut self, chain: &Chain, jumps: usize) -> Option<End> {
        assert!(jumps <= MAX_JUMPS, "{} is {jumps} jumps deep", chain.name);
        for rule in &chain.rules {
            if !self.matches(rule) {
                continue;
            }
            for statement in &rule.statements {
                match statement {
                    Statement::Counter(name) => {
                        self.run.hits.push((chain.name.to_string(), name.to_string()));
                    }
                    // The bucket of a packet that comes alone is full.
                    Statement::Limit { .. } => {}
                    Statement::Notrack => {
                        assert!(self.is_before_conntrack(), "{}: too late for notrack", chain.name);
                        *self.state = CtState::Untracked;
                    }
                    Statement::Log(log) => self.run.logs.push(log.prefix.clone()),
                    Statement::SetMark { mask, value } => {
                        self.run.mark = self.run.mark & !mask | value & mask;
                    }
                    Statement::Accept => return Some(End::Accept),
                    Statement::Drop => return Some(End::Drop),
                    Statement::Reject | Statement::RejectWithReset => {
                        let answers = matches!(
                            self.stop.point,
                            HookPoint::Input | HookPoint::Forward | HookPoint::Output
                        );
                        assert!(answers, "{}: an answer before routing", chain.name);
                        return Some(End::Reject);
                    }
                    Statement::Return => return None,
                    Statement::Jump(name) => {
                        let end = self.chain(self.chains[name.as_str()], jumps + 1);
                        if end.is_some() {
                            return end;
                        }
                    }
                    // The kernel counts it like a jump when it loads the ruleset.
                    Statement::Goto(name) => return self.chain(self.chains[name.as_str()], jumps + 1),
                    Statement::Lookup(key, map) => {
                        if let Some(name) = self.look_up(*key, map, &rule.matches) {
                            return self.chain(self.chains[name.as_str()], jumps + 1);
                        }
                    }
                }
            }
        }
        None
    }

    fn is_before_conntrack(&self) -> bool {
        matches!(self.hook.point, HookPoint::Prerouting | HookPoint::Output) && self.hook.priority < CONNTRACK
    }

    fn matches(&self, rule: &Rule) -> bool {
        let mut conditions = rule.matches.iter().enumerate();
        conditions.all(|(index, condition)| self.holds(condition, &rule.matches[..index]))
    }

    /// `before` are the conditions that hold already; some need others before them.
    fn holds(&self, condition: &Match, before: &[Match]) -> bool {
        let packet = &self.journey.packet;
        let (op, equal) = match condition {
            Match::InputInterface(op, name) => (*op, self.stop.from.unwrap() == name),
            Match::OutputInterface(op, name) => (*op, self.stop.to.unwrap() == name),
            Match::CtState(states) => {
                assert!(!self.is_before_conntrack(), "a state before conntrack");
                (Op::Is, states.contains(self.state))
            }
            Match::Family(family) => (Op::Is, packet.family() == *family),
            Match::FamilySet(op, name) => (
                *op,
                self.is_in(name, |elements| match elements {
                    Elements::Families(families, _) => families.contains(&packet.family()),
                    _ => panic!("{elements:?} cannot hold a family"),
                }),
            ),
            Match::OutsideShare(family, share) => {
                assert!(before.contains(&Match::Family(*family)));
                (Op::Is, share_of(packet) >= *share)
            }
            Match::Protocol(op, protocol) => (*op, packet.protocol == *protocol),
            Match::Address(side, op, net) => {
                assert!(before.contains(&Match::Family(Family::of_net(*net))));
                (*op, net.contains(&self.address(*side)))
            }
            Match::AddressSet(side, op, family, name) => {
                assert!(before.contains(&Match::Family(*family)));
                (
                    *op,
                    self.is_in(name, |elements| has_address(elements, self.address(*side))),
                )
            }
            Match::Port(side, op, range) => (*op, range.contains(self.port(*side, before))),
            Match::PortSet(side, op, name) => {
                let port = self.port(*side, before);
                (*op, self.is_in(name, |elements| has_port(elements, port)))
            }
            Match::NamedPortSet(side, op, family, name) => {
                assert!(before.contains(&Match::Family(*family)));
                let lists = |earlier: &Match| match earlier {
                    Match::Protocol(Op::Is, protocol) => protocol.has_ports(),
                    _ => true,
                };
                assert!(before.iter().all(lists), "nft cannot list it");
                let port = match side {
                    Side::Source => packet.source_port,
                    Side::Destination => packet.destination_port,
                };
                let key = (self.address(*side), packet.protocol, port);
                (*op, self.is_in(name, |elements| has_named_port(elements, key)))
            }
            Match::IcmpType(family, op, first, last) => {
                assert!(before.contains(&Match::Family(*family)));
                assert!(before.contains(&Match::Protocol(Op::Is, Protocol::icmp_of(*family))));
                (*op, (*first..=*last).contains(&packet.icmp_type))
            }
            Match::IcmpCode(family, op, code) => {
                assert!(before.contains(&Match::Family(*family)));
                assert!(before.contains(&Match::Protocol(Op::Is, Protocol::icmp_of(*family))));
                (*op, packet.icmp_code == *code)
            }
            Match::Mark { mask, op, value } => (*op, self.run.mark & mask == *value),
            Match::SocketCgroup { level, id, .. } => {
                let level = usize::try_from(*level).unwrap();
                assert!(
                    level > 0,
                    "the root of the hierarchy cannot be written in nft's grammar"
                );
                (Op::Is, self.journey.cgroups.get(level - 1) == Some(id))
            }
        };
        equal == (op == Op::Is)
    }

    /// Where a map leads to. A packet without ports has no transport header here.
    fn look_up(&self, key: LookupKey, map: &Name, before: &[Match]) -> Option<&Name> {
        let packet = &self.journey.packet;
        let ways = &self.ruleset.maps[map].ways;
        match (key, ways) {
            (LookupKey::Service, Ways::Services(ways)) => {
                let key = (packet.protocol, packet.destination_port);
                packet.protocol.has_ports().then(|| only(ways, |of| *of == key))?
            }
            (LookupKey::Protocol, Ways::Protocols(ways)) => only(ways, |of| *of == packet.protocol),
            (LookupKey::Port, Ways::Ports(ways)) => {
                let port = self.port(Side::Destination, before);
                only(ways, |range| range.contains(port))
            }
            (LookupKey::Address(side, family), ways) => {
                assert!(before.contains(&Match::Family(family)));
                match (ways, self.address(side)) {
                    (Ways::Ipv4Addresses(ways), IpAddr::V4(address)) => only(ways, |of| *of == address),
                    (Ways::Ipv6Addresses(ways), IpAddr::V6(address)) => only(ways, |of| *of == address),
                    (Ways::Ipv4Ranges(ways), IpAddr::V4(address)) => {
                        only(ways, |(first, last)| (*first..=*last).contains(&address))
                    }
                    (Ways::Ipv6Ranges(ways), IpAddr::V6(address)) => {
                        only(ways, |(first, last)| (*first..=*last).contains(&address))
                    }
                    (ways, address) => panic!("{ways:?} cannot hold {address}"),
                }
            }
            (key, ways) => panic!("{ways:?} is not looked up by {key:?}"),
        }
    }

    fn address(&self, side: Side) -> IpAddr {
        match side {
            Side::Source => self.journey.packet.source,
            Side::Destination => self.journey.packet.destination,
        }
    }

    fn port(&self, side: Side, before: &[Match]) -> u16 {
        let has_ports =
            |earlier: &Match| matches!(earlier, Match::Protocol(Op::Is, protocol) if protocol.has_ports());
        assert!(before.iter().any(has_ports), "a port without a protocol");
        match side {
            Side::Source => self.journey.packet.source_port,
            Side::Destination => self.journey.packet.destination_port,
        }
    }

    fn is_in(&self, name: &Name, has: impl Fn(&Elements) -> bool) -> bool {
        has(&self.ruleset.sets[name].elements)
    }
}

/// Into which of 100 shares a packet falls. The kernel has another hash, of the same parts of a packet.
pub(crate) fn share_of(packet: &Packet) -> u8 {
    let behind_ip = if packet.protocol.has_ports() {
        packet.source_port.to_be_bytes()
    } else {
        [packet.icmp_type, packet.icmp_code]
    };
    u8::try_from(fnv1a(&format!("{} {behind_ip:?}", packet.source)) % 100).unwrap()
}

/// The one way whose key is meant.
fn only<K>(ways: &SharedMap<K, Name>, is_meant: impl Fn(&K) -> bool) -> Option<&Name> {
    let mut meant = ways.iter().filter(|(key, _)| is_meant(key));
    let (_, chain) = meant.next()?;
    assert!(meant.next().is_none(), "two ways for one key");
    Some(chain)
}

fn has_address(elements: &Elements, address: IpAddr) -> bool {
    match (elements, address) {
        (Elements::Ipv4Addresses(elements), IpAddr::V4(address)) => elements.contains(&address),
        (Elements::Ipv6Addresses(elements), IpAddr::V6(address)) => elements.contains(&address),
        (Elements::Ipv4Nets(nets), IpAddr::V4(address)) => nets.iter().any(|net| net.contains(&address)),
        (Elements::Ipv6Nets(nets), IpAddr::V6(address)) => nets.iter().any(|net| net.contains(&address)),
        _ => panic!("{elements:?} cannot hold {address}"),
    }
}

fn has_port(elements: &Elements, port: u16) -> bool {
    let Elements::Ports(ranges) = elements else {
        panic!("{elements:?} cannot hold a port")
    };
    ranges.iter().any(|range: &PortRange| range.contains(port))
}

fn has_named_port(elements: &Elements, key: (IpAddr, Protocol, u16)) -> bool {
    match (elements, key) {
        (Elements::Ipv4NamedPorts(elements), (IpAddr::V4(address), protocol, port)) => {
            elements.contains(&(address, protocol, port))
        }
        (Elements::Ipv6NamedPorts(elements), (IpAddr::V6(address), protocol, port)) => {
            elements.contains(&(address, protocol, port))
        }
        _ => panic!("{elements:?} cannot hold {key:?}"),
    }
}
