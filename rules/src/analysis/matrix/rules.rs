//! Rules as conditions on addresses and a set of connections.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ipnet::IpNet;

use super::conditions::{ClassId, Classes, ConditionId, Conditions};
use super::traffic::{Protocols, Traffic};
use crate::net::{Direction, Family, PortRange, Protocol};
use crate::resource::{Action, IcmpMatch};
use crate::world::{NamedPortSetId, WorldEntity, WorldKind, WorldPorts, WorldRule, Worlds};

/// The source port of a query that names none, as `explain` has it.
const EPHEMERAL_PORT: u16 = 49_152;

/// Every rule that somebody on a packet's way has, each once.
#[derive(Debug, Default)]
pub(super) struct Rules {
    list: Vec<Rule>,
}

/// A rule in [`Rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RuleId(usize);

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) action: Action,
    /// What it asks of the source and of the destination.
    sides: [Vec<Test>; 2],
    /// Which connections it matches if the addresses are right, for each family, by all but named ports.
    matches: [Traffic; 2],
    /// The ports of the source and of the destination, where they have names.
    named: [Option<SidePorts>; 2],
}

/// Which end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Source,
    Destination,
}

/// A condition, and whether it must hold.
#[derive(Debug)]
struct Test {
    condition: ConditionId,
    holds: bool,
}

/// The ports of one side of a rule.
#[derive(Debug)]
struct SidePorts {
    ports: Option<NamedPorts>,
    not_ports: Option<NamedPorts>,
}

/// Ports by number, and by name together with the protocol they are of.
#[derive(Debug)]
struct NamedPorts {
    ranges: Vec<PortRange>,
    named: Option<(ConditionId, Protocol)>,
}

impl Side {
    pub(super) const BOTH: [Side; 2] = [Side::Source, Side::Destination];

    pub(super) fn other(self) -> Self {
        match self {
            Side::Source => Side::Destination,
            Side::Destination => Side::Source,
        }
    }
}

/// The protocols that the rules of these worlds name.
pub(super) fn protocols_named(worlds: &[&Worlds]) -> BTreeSet<Protocol> {
    let rules = worlds.iter().flat_map(|worlds| all_rules(worlds));
    rules
        .flat_map(|rule| [rule.protocol, rule.not_protocol])
        .flatten()
        .collect()
}

/// The nets that the rules of these worlds name, by number or by label.
pub(super) fn nets_named<'w>(worlds: &[&'w Worlds]) -> impl Iterator<Item = IpNet> + 'w {
    let worlds = worlds.to_vec();
    worlds.into_iter().flat_map(|worlds| {
        let in_rules = all_rules(worlds)
            .flat_map(|rule| [&rule.source, &rule.destination])
            .flat_map(|side| [&side.nets, &side.not_nets])
            .flatten()
            .flatten();
        let in_sets = worlds.address_sets.iter().flat_map(|set| &set.nets);
        let failsafes = Direction::BOTH
            .into_iter()
            .flat_map(|direction| worlds.host.failsafes.ports(direction))
            .filter_map(|failsafe| failsafe.net);
        in_rules.chain(in_sets).copied().chain(failsafes)
    })
}

/// Every rule of both worlds, those of policies in both twice.
pub(super) fn all_rules(worlds: &Worlds) -> impl Iterator<Item = &WorldRule> {
    let policies = WorldKind::BOTH
        .into_iter()
        .flat_map(|kind| worlds.world(kind).policies.iter())
        .flat_map(|policy| Direction::BOTH.map(|direction| policy.rules(direction).unwrap_or_default()));
    let profiles = worlds
        .profiles
        .iter()
        .flat_map(|profile| Direction::BOTH.map(|direction| profile.rules(direction)));
    policies.chain(profiles).flatten()
}

impl Rules {
    pub(super) fn get(&self, id: RuleId) -> &Rule {
        &self.list[id.0]
    }

    /// Adds a rule, and what it asks to the conditions.
    pub(super) fn add(
        &mut self,
        worlds: &Worlds,
        protocols: &Protocols,
        conditions: &mut Conditions,
        rule: &WorldRule,
    ) -> RuleId {
        let id = RuleId(self.list.len());
        self.list.push(Rule {
            action: rule.action,
            sides: [&rule.source, &rule.destination].map(|entity| tests(conditions, entity)),
            matches: Family::BOTH.map(|family| matches(protocols, rule, family)),
            named: [&rule.source, &rule.destination].map(|entity| side_ports(worlds, conditions, entity)),
        });
        id
    }
}

impl Rule {
    /// The conditions on one side.
    pub(super) fn conditions(&self, side: Side) -> impl Iterator<Item = ConditionId> {
        let tests = self.sides[side as usize].iter().map(|test| test.condition);
        let named = self.named[side as usize].iter().flat_map(|side| {
            let ports = [&side.ports, &side.not_ports].into_iter().flatten();
            ports.filter_map(|ports| ports.named.map(|(condition, _)| condition))
        });
        tests.chain(named)
    }

    /// Whether the rule matches anything of a family.
    pub(super) fn exists_for(&self, family: Family) -> bool {
        !self.matches[family as usize].is_empty()
    }

    /// Whether it does not match the same of both families.
    pub(super) fn is_by_family(&self) -> bool {
        self.matches[0] != self.matches[1]
    }

    /// A condition that an address on this side must meet; `None` if there is none.
    pub(super) fn needs(&self, side: Side) -> Option<ConditionId> {
        let mut tests = self.sides[side as usize].iter();
        tests.find(|test| test.holds).map(|test| test.condition)
    }

    /// Whether any address will do on this side.
    pub(super) fn has_any(&self, side: Side) -> bool {
        self.sides[side as usize].is_empty()
    }

    /// Whether an address may be on this side.
    pub(super) fn may_have(&self, side: Side, classes: &Classes, class: ClassId) -> bool {
        let mut tests = self.sides[side as usize].iter();
        self.exists_for(classes.family(class))
            && tests.all(|test| classes.meets(class, test.condition) == test.holds)
    }

    /// Which connections it matches between two addresses that may be on its sides.
    pub(super) fn matches(
        &self,
        protocols: &Protocols,
        classes: &Classes,
        source: ClassId,
        destination: ClassId,
    ) -> Cow<'_, Traffic> {
        let matches = &self.matches[classes.family(source) as usize];
        if self.named.iter().all(Option::is_none) {
            return Cow::Borrowed(matches);
        }
        let mut matches = matches.clone();
        for side in Side::BOTH {
            let Some(SidePorts { ports, not_ports }) = &self.named[side as usize] else {
                continue;
            };
            let class = match side {
                Side::Source => source,
                Side::Destination => destination,
            };
            let of = |ports: &NamedPorts| ports.traffic(protocols, classes, side, class);
            if let Some(ports) = ports {
                matches = matches.and(&of(ports));
            }
            if let Some(ports) = not_ports {
                matches = matches.minus(&of(ports));
            }
        }
        Cow::Owned(matches)
    }
}

/// What one side of a rule asks of its address.
fn tests(conditions: &mut Conditions, entity: &WorldEntity) -> Vec<Test> {
    let test = |condition, holds| Test { condition, holds };
    [
        entity.nets.as_ref().map(|nets| test(conditions.nets(nets), true)),
        entity
            .not_nets
            .as_ref()
            .map(|nets| test(conditions.nets(nets), false)),
        entity.set.map(|set| test(conditions.set(set), true)),
        entity.not_set.map(|set| test(conditions.set(set), false)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What a rule matches of a family by all that does not depend on addresses.
fn matches(protocols: &Protocols, rule: &WorldRule, family: Family) -> Traffic {
    if !rule.exists_for(family) {
        return Traffic::default();
    }
    let by_protocol = protocols.where_protocol(|protocol| {
        let is_icmp = protocol == Some(Protocol::icmp_of(family));
        let is_named = |icmp: IcmpMatch| icmp.matches(echo_request(family), 0);
        rule.protocol.is_none_or(|wanted| protocol == Some(wanted))
            && rule
                .not_protocol
                .is_none_or(|unwanted| protocol != Some(unwanted))
            && rule.icmp.is_none_or(|wanted| is_icmp && is_named(wanted))
            && rule
                .not_icmp
                .is_none_or(|unwanted| is_icmp && !is_named(unwanted))
    });
    let by_number = |side, ports: &Option<WorldPorts>| {
        let ports = ports.as_ref().filter(|ports| ports.named.is_none())?;
        Some(traffic_of(protocols, side, &ports.ranges))
    };
    let mut matches = by_protocol;
    for (side, entity) in [
        (Side::Source, &rule.source),
        (Side::Destination, &rule.destination),
    ] {
        if let Some(ports) = by_number(side, &entity.ports) {
            matches = matches.and(&ports);
        }
        if let Some(ports) = by_number(side, &entity.not_ports) {
            matches = matches.minus(&ports);
        }
    }
    matches
}

/// The ICMP type of a query that names none.
pub(super) fn echo_request(family: Family) -> u8 {
    match family {
        Family::V4 => 8,
        Family::V6 => 128,
    }
}

/// The connections that have one of these ports on a side.
fn traffic_of(protocols: &Protocols, side: Side, ranges: &[PortRange]) -> Traffic {
    match side {
        Side::Destination => protocols.ports(ranges),
        Side::Source => protocols.where_protocol(|protocol| {
            let port = source_port(protocol);
            ranges.iter().any(|range| range.contains(port))
        }),
    }
}

/// The source port of a connection that names none.
pub(super) fn source_port(protocol: Option<Protocol>) -> u16 {
    if protocol.is_some_and(Protocol::has_ports) {
        EPHEMERAL_PORT
    } else {
        0
    }
}

/// The ports of a side, if any of them has a name.
fn side_ports(worlds: &Worlds, conditions: &mut Conditions, entity: &WorldEntity) -> Option<SidePorts> {
    let mut named = |set: NamedPortSetId| (conditions.named(set), worlds.named_ports.get(set).protocol);
    let mut with_names = |ports: &Option<WorldPorts>| {
        let ports = ports.as_ref().filter(|ports| ports.named.is_some())?;
        Some(NamedPorts {
            ranges: ports.ranges.clone(),
            named: ports.named.map(&mut named),
        })
    };
    let (ports, not_ports) = (with_names(&entity.ports), with_names(&entity.not_ports));
    (ports.is_some() || not_ports.is_some()).then_some(SidePorts { ports, not_ports })
}

impl NamedPorts {
    /// The connections that have one of these ports on a side with this address.
    fn traffic(&self, protocols: &Protocols, classes: &Classes, side: Side, class: ClassId) -> Traffic {
        let by_number = traffic_of(protocols, side, &self.ranges);
        let Some((condition, protocol)) = self.named else {
            return by_number;
        };
        let ports = classes.ports(class, condition);
        let by_name = match side {
            Side::Destination => protocols.ports_of(protocol, ports.iter().copied().map(PortRange::one)),
            Side::Source if ports.contains(&source_port(Some(protocol))) => protocols.all_of(protocol),
            Side::Source => Traffic::default(),
        };
        by_number.or(&by_name)
    }
}
