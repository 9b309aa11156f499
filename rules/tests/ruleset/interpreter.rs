//! Nftables' evaluation of a ruleset, for one packet that is described and not made.

use std::collections::BTreeMap;
use std::net::IpAddr;

use palisade_rules::evaluate::Packet;
use palisade_rules::net::{Direction, Family, PortRange, Protocol};
use palisade_rules::ruleset::{
    Chain, CtState, Elements, HookPoint, Match, Op, Rule, Ruleset, Side, Statement,
};

/// A packet at a hook.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) packet: Packet,
    /// Ingress is the input hook, egress the output hook.
    pub(crate) direction: Direction,
    pub(crate) interface: &'static str,
    pub(crate) state: CtState,
    /// The mark that it comes with.
    pub(crate) mark: u32,
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

/// Runs a packet through the base chain of its direction.
pub(crate) fn run(ruleset: &Ruleset, arrival: &Arrival) -> Run {
    let chains = ruleset
        .chains
        .iter()
        .map(|chain| (chain.name.as_str(), chain))
        .collect();
    let mut machine = Machine {
        ruleset,
        chains,
        arrival,
        hits: Vec::new(),
        logs: Vec::new(),
        mark: arrival.mark,
    };
    let point = match arrival.direction {
        Direction::Ingress => HookPoint::Input,
        Direction::Egress => HookPoint::Output,
    };
    let mut base = ruleset.chains.iter();
    let base = base.find(|chain| chain.hook.is_some_and(|hook| hook.point == point));
    let end = base.and_then(|chain| machine.chain(chain, 0));
    Run {
        end: end.unwrap_or(End::Accept),
        hits: machine.hits,
        logs: machine.logs,
        mark: machine.mark,
    }
}

/// The kernel refuses a ruleset that jumps deeper.
pub(crate) const MAX_JUMPS: usize = 15;

struct Machine<'a> {
    ruleset: &'a Ruleset,
    chains: BTreeMap<&'a str, &'a Chain>,
    arrival: &'a Arrival,
    hits: Vec<(String, String)>,
    logs: Vec<String>,
    mark: u32,
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
                        self.hits.push((chain.name.to_string(), name.to_string()));
                    }
                    Statement::Log(log) => self.logs.push(log.prefix.clone()),
                    Statement::SetMark { mask, value } => self.mark = self.mark & !mask | value & mask,
                    Statement::Accept => return Some(End::Accept),
                    Statement::Drop => return Some(End::Drop),
                    Statement::Reject | Statement::RejectWithReset => return Some(End::Reject),
                    Statement::Return => return None,
                    Statement::Jump(name) => {
                        let end = self.chain(self.chains[name.as_str()], jumps + 1);
                        if end.is_some() {
                            return end;
                        }
                    }
                    Statement::Goto(name) => return self.chain(self.chains[name.as_str()], jumps),
                }
            }
        }
        None
    }

    fn matches(&self, rule: &Rule) -> bool {
        let mut conditions = rule.matches.iter().enumerate();
        conditions.all(|(index, condition)| self.holds(condition, &rule.matches[..index]))
    }

    /// `before` are the conditions that hold already; some need others before them.
    fn holds(&self, condition: &Match, before: &[Match]) -> bool {
        let packet = &self.arrival.packet;
        let (op, equal) = match condition {
            Match::InputInterface(op, name) => {
                assert_eq!(self.arrival.direction, Direction::Ingress);
                (*op, self.arrival.interface == name)
            }
            Match::OutputInterface(op, name) => {
                assert_eq!(self.arrival.direction, Direction::Egress);
                (*op, self.arrival.interface == name)
            }
            Match::CtState(states) => (Op::Is, states.contains(&self.arrival.state)),
            Match::Family(family) => (Op::Is, packet.family() == *family),
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
            Match::Mark { mask, op, value } => (*op, self.mark & mask == *value),
        };
        equal == (op == Op::Is)
    }

    fn address(&self, side: Side) -> IpAddr {
        match side {
            Side::Source => self.arrival.packet.source,
            Side::Destination => self.arrival.packet.destination,
        }
    }

    fn port(&self, side: Side, before: &[Match]) -> u16 {
        let has_ports =
            |earlier: &Match| matches!(earlier, Match::Protocol(Op::Is, protocol) if protocol.has_ports());
        assert!(before.iter().any(has_ports), "a port without a protocol");
        match side {
            Side::Source => self.arrival.packet.source_port,
            Side::Destination => self.arrival.packet.destination_port,
        }
    }

    fn is_in(&self, name: &palisade_rules::ruleset::Name, has: impl Fn(&Elements) -> bool) -> bool {
        has(&self.ruleset.sets[name].elements)
    }
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
