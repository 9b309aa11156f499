//! What a rule matches, as conditions.

use ipnet::IpNet;

use super::Compiler;
use super::sets::is_nothing;
use crate::net::{Family, PortRange, Protocol, merge_nets, merge_ports};
use crate::resource::Action;
use crate::ruleset::{Match, Op, Side};
use crate::world::{WorldEntity, WorldPorts, WorldRule, Worlds};

/// The most rules of the kernel that a rule becomes for the sake of its lists of ports, in each family. A longer list is a
/// named set: the kernel compares the name of each with all others of the table when it is made, so that thousands of short
/// lists as sets take long to load.
const MOST_BY_PORTS: usize = 4;

impl Compiler<'_> {
    /// The conditions of a rule, as the ways in which it can hold, none of which overlap, so that a packet is counted
    /// once. One way for both families where it has neither addresses nor types of ICMP, else those of each family that
    /// it can match.
    pub(super) fn conditions(&mut self, rule: &WorldRule) -> Vec<Vec<Match>> {
        let sides = [&rule.source, &rule.destination];
        let has_addresses = sides.iter().any(|side| side.looks_at_addresses());
        let has_icmp = rule.icmp.is_some() || rule.not_icmp.is_some();
        if !has_addresses && !has_icmp && rule.family.is_none() {
            return self.conditions_for(rule, None, protocol_ways(rule));
        }
        let worlds = self.worlds;
        let mut conditions = Vec::new();
        for family in Family::BOTH {
            let can_match = rule.exists_for(family)
                && !excludes_everything(worlds, rule, family)
                && !asks_for_nothing(worlds, rule, family);
            if !can_match {
                continue;
            }
            let ways = if has_icmp {
                icmp_ways(rule, family)
            } else {
                protocol_ways(rule)
            };
            conditions.extend(self.conditions_for(rule, Some(family), ways));
        }
        conditions
    }

    fn conditions_for(
        &mut self,
        rule: &WorldRule,
        family: Option<Family>,
        ways: Vec<ProtocolWay>,
    ) -> Vec<Vec<Match>> {
        // The order in which nft lists them.
        let sides = [
            (Side::Source, &rule.source),
            (Side::Destination, &rule.destination),
        ];
        let spread = spread_ports(rule);
        let mut conditions = Vec::new();
        for way in ways {
            let [source, destination] = sides.map(|(side, entity)| {
                let spread = spread[side as usize];
                self.port_ways(side, entity, family, way.has_named_ports, spread)
            });
            for source in &source {
                for destination in &destination {
                    let mut matches: Vec<Match> = family.map(Match::Family).into_iter().collect();
                    matches.extend(way.matches.iter().chain(source).chain(destination).cloned());
                    for (side, entity) in sides {
                        if let Some(family) = family {
                            matches.extend(self.address_conditions(side, entity, family));
                        }
                    }
                    // Cheapest first: a packet that does not match should be done with soon.
                    matches.sort_by_key(is_lookup);
                    matches.shrink_to_fit();
                    conditions.push(matches);
                }
            }
        }
        conditions
    }

    /// What a rule says of the ports of one side, as ways that do not overlap: by number, each range by itself if they are
    /// `spread`, or else by name.
    fn port_ways(
        &mut self,
        side: Side,
        entity: &WorldEntity,
        family: Option<Family>,
        has_named_ports: bool,
        spread: bool,
    ) -> Vec<Vec<Match>> {
        let mut excluded = Vec::new();
        if let Some(ports) = &entity.not_ports {
            excluded.extend(self.other_ports(side, &ports.ranges));
            if has_named_ports {
                excluded.extend(self.named_ports(side, Op::IsNot, ports, family));
            }
        }
        let Some(ports) = &entity.ports else {
            return vec![excluded];
        };
        let by_number = match merge_ports(&ports.ranges).as_slice() {
            ranges @ [_, _, ..] if !spread => vec![Match::PortSet(side, Op::Is, self.sets.ports(ranges))],
            ranges => ranges
                .iter()
                .map(|&range| Match::Port(side, Op::Is, range))
                .collect(),
        };
        let mut ways: Vec<Vec<Match>> = by_number.into_iter().map(|port| vec![port]).collect();
        if let Some(by_name) = self.named_ports(side, Op::Is, ports, family) {
            let mut other_number = self.other_ports(side, &ports.ranges);
            other_number.push(by_name);
            ways.push(other_number);
        } else if ways.is_empty() {
            ways.push(Vec::new());
        }
        for way in &mut ways {
            way.splice(0..0, excluded.iter().cloned());
        }
        ways
    }

    /// All ports but these.
    fn other_ports(&mut self, side: Side, ranges: &[PortRange]) -> Vec<Match> {
        let ranges = merge_ports(ranges);
        if ranges.len() > MOST_BY_PORTS {
            return vec![Match::PortSet(side, Op::IsNot, self.sets.ports(&ranges))];
        }
        let each = ranges.into_iter();
        each.map(|range| Match::Port(side, Op::IsNot, range)).collect()
    }

    fn named_ports(
        &mut self,
        side: Side,
        op: Op,
        ports: &WorldPorts,
        family: Option<Family>,
    ) -> Option<Match> {
        let id = ports.named?;
        let family = family?;
        let name = self.sets.named_ports(self.worlds, id, family);
        Some(Match::NamedPortSet(side, op, family, name))
    }

    fn address_conditions(&mut self, side: Side, entity: &WorldEntity, family: Family) -> Vec<Match> {
        let mut matches = Vec::new();
        for (op, nets) in [(Op::Is, &entity.nets), (Op::IsNot, &entity.not_nets)] {
            let Some(nets) = nets else { continue };
            match merged(nets, family).as_slice() {
                [all] if all.prefix_len() == 0 => {}
                [net] => matches.push(Match::Address(side, op, *net)),
                nets => matches.push(Match::AddressSet(side, op, family, self.sets.nets(nets, family))),
            }
        }
        for (op, set) in [(Op::Is, entity.set), (Op::IsNot, entity.not_set)] {
            let Some(id) = set else { continue };
            if !self.worlds.address_sets.get(id).is_everything(family) {
                let name = self.sets.addresses(self.worlds, id, family);
                matches.push(Match::AddressSet(side, op, family, name));
            }
        }
        matches
    }
}

/// Whether the ranges of ports of the source, and of the destination, become a rule each; if not, they are a set. What a Log
/// rule logs is limited for each rule of the kernel, so that it is not more of them than it must be.
fn spread_ports(rule: &WorldRule) -> [bool; 2] {
    let ways = |entity: &WorldEntity| {
        let Some(ports) = &entity.ports else { return 1 };
        merge_ports(&ports.ranges).len() + usize::from(ports.named.is_some())
    };
    let [source, destination] = [ways(&rule.source), ways(&rule.destination)];
    if rule.action == Action::Log {
        [false, false]
    } else if source * destination <= MOST_BY_PORTS {
        [true, true]
    } else if source < destination {
        [source <= MOST_BY_PORTS, false]
    } else {
        [false, destination <= MOST_BY_PORTS]
    }
}

/// One way in which what a rule says of protocols can hold.
struct ProtocolWay {
    matches: Vec<Match>,
    /// Whether the packet can be from or to a named port. Where it cannot, it is from and to none, and nothing behind
    /// its IP header may be looked at.
    has_named_ports: bool,
}

impl ProtocolWay {
    fn new(matches: Vec<Match>) -> Self {
        ProtocolWay {
            matches,
            has_named_ports: true,
        }
    }

    fn without_ports(matches: Vec<Match>) -> Self {
        ProtocolWay {
            matches,
            has_named_ports: false,
        }
    }
}

/// Whether the packet must be from or to a named port.
fn asks_for_named_port(rule: &WorldRule) -> bool {
    let sides = [&rule.source, &rule.destination];
    let mut ports = sides.into_iter().filter_map(|side| side.ports.as_ref());
    ports.any(|ports| ports.ranges.is_empty() && ports.named.is_some())
}

/// What a rule says of the protocol. A rule that names ports and no protocol means TCP's; excluding them excludes
/// nothing of another protocol.
fn protocol_ways(rule: &WorldRule) -> Vec<ProtocolWay> {
    let is = rule.protocol.map(|protocol| Match::Protocol(Op::Is, protocol));
    let is_not = rule
        .not_protocol
        .map(|protocol| Match::Protocol(Op::IsNot, protocol));
    let said: Vec<Match> = is.into_iter().chain(is_not).collect();
    let sides = [&rule.source, &rule.destination];
    let names = |ports: &Option<WorldPorts>| ports.as_ref().is_some_and(|ports| ports.named.is_some());
    let tcp = |op| {
        let tcp = Match::Protocol(op, Protocol::TCP);
        [tcp].into_iter().chain(said.clone()).collect::<Vec<_>>()
    };
    if rule.protocol.is_some() {
        vec![ProtocolWay::new(said)]
    } else if sides.iter().any(|side| names(&side.ports)) {
        vec![ProtocolWay::new(tcp(Op::Is))]
    } else if sides.iter().any(|side| names(&side.not_ports)) {
        vec![
            ProtocolWay::without_ports(tcp(Op::IsNot)),
            ProtocolWay::new(tcp(Op::Is)),
        ]
    } else {
        vec![ProtocolWay::new(said)]
    }
}

/// What a rule says of ICMP in one family, protocol included: no way where it says what cannot be.
fn icmp_ways(rule: &WorldRule, family: Family) -> Vec<ProtocolWay> {
    let icmp = Protocol::icmp_of(family);
    if rule.protocol.is_some_and(|protocol| protocol != icmp)
        || rule.not_protocol == Some(icmp)
        || asks_for_named_port(rule)
    {
        return Vec::new();
    }
    let mut is = vec![Match::Protocol(Op::Is, icmp)];
    if let Some(wanted) = rule.icmp {
        is.push(Match::IcmpType(
            family,
            Op::Is,
            wanted.icmp_type,
            wanted.icmp_type,
        ));
        is.extend(wanted.code.map(|code| Match::IcmpCode(family, Op::Is, code)));
    }
    let Some(excluded) = rule.not_icmp else {
        return vec![ProtocolWay::without_ports(is)];
    };
    let icmp_type = |op| Match::IcmpType(family, op, excluded.icmp_type, excluded.icmp_type);
    let with = |more: Vec<Match>| ProtocolWay::without_ports(is.iter().cloned().chain(more).collect());
    let another_type = with(vec![icmp_type(Op::IsNot)]);
    match excluded.code {
        None => vec![another_type],
        Some(code) => {
            let another_code = with(vec![icmp_type(Op::Is), Match::IcmpCode(family, Op::IsNot, code)]);
            vec![another_type, another_code]
        }
    }
}

/// A lookup costs more than a comparison.
fn is_lookup(condition: &Match) -> bool {
    matches!(
        condition,
        Match::AddressSet(..) | Match::PortSet(..) | Match::NamedPortSet(..)
    )
}

/// The fewest prefixes of one family among these.
fn merged(nets: &[IpNet], family: Family) -> Vec<IpNet> {
    let own = nets.iter().copied().filter(|net| Family::of_net(*net) == family);
    merge_nets(&own.collect::<Vec<_>>())
}

/// Whether the rule can match no packet of a family, for an address must be one of a set that has none.
fn asks_for_nothing(worlds: &Worlds, rule: &WorldRule, family: Family) -> bool {
    let mut sets = [&rule.source, &rule.destination]
        .into_iter()
        .filter_map(|entity| entity.set);
    sets.any(|set| is_nothing(worlds.address_sets.get(set), family))
}

/// Whether the rule can match no packet of a family, for it excludes every address.
fn excludes_everything(worlds: &Worlds, rule: &WorldRule, family: Family) -> bool {
    [&rule.source, &rule.destination].into_iter().any(|entity| {
        let not_nets = entity.not_nets.as_deref().unwrap_or_default();
        merged(not_nets, family).iter().any(|net| net.prefix_len() == 0)
            || entity
                .not_set
                .is_some_and(|set| worlds.address_sets.get(set).is_everything(family))
    })
}
