//! Policies and their rules as chains.

use ipnet::IpNet;

use super::{Compiler, Counted, CountedBy, MARK_DECIDED, MARK_PASS, names, short, tier_label};
use crate::failsafe::Failsafe;
use crate::net::{Direction, Family, Protocol, merge_nets, merge_ports};
use crate::resource::Action;
use crate::ruleset::{Chain, Comment, Log, Match, Name, Op, Rule, Side, Statement};
use crate::world::{WorldEntity, WorldKind, WorldPolicy, WorldRule, Worlds};

/// The name of a policy's chain; names of one world and direction sort in order of evaluation.
pub(super) fn chain_name(
    worlds: &Worlds,
    world: WorldKind,
    direction: Direction,
    policy: &WorldPolicy,
) -> Name {
    let tier = tier_label(worlds.world(world), policy.tier);
    let digits = worlds.world(world).policies.len().to_string().len().max(3);
    let world = match world {
        WorldKind::Enforced => "enforced",
        WorldKind::Pending => "preview",
    };
    let direction = short(direction);
    let place = policy.place + 1;
    Name::new(&format!(
        "{world}/{direction}/{tier}/{place:0digits$}-{}",
        policy.id.name
    ))
}

/// What a failsafe matches.
pub(super) fn failsafe_matches(failsafe: &Failsafe, direction: Direction) -> Vec<Match> {
    let peer = match direction {
        Direction::Ingress => Side::Source,
        Direction::Egress => Side::Destination,
    };
    let mut matches = Vec::new();
    if let Some(net) = failsafe.net {
        matches.push(Match::Family(Family::of_net(net)));
    }
    matches.push(Match::Protocol(Op::Is, failsafe.protocol));
    matches.push(Match::Port(Side::Destination, Op::Is, failsafe.ports));
    if let Some(net) = failsafe.net.filter(|net| net.prefix_len() > 0) {
        matches.push(Match::Address(peer, Op::Is, net));
    }
    matches
}

/// ICMPv6 of these types.
pub(super) fn icmpv6_matches(first: u8, last: u8) -> Vec<Match> {
    vec![
        Match::Family(Family::V6),
        Match::Protocol(Op::Is, Protocol::ICMPV6),
        Match::IcmpType(Family::V6, Op::Is, first, last),
    ]
}

impl Compiler<'_> {
    /// The chain of one policy, or `None` if it does not govern the direction.
    pub(super) fn policy_chain(
        &mut self,
        world: WorldKind,
        direction: Direction,
        index: usize,
    ) -> Option<Chain> {
        let worlds = self.worlds;
        let policy = &worlds.world(world).policies[index];
        let tier = &worlds.world(world).tiers[policy.tier].name;
        let rules = policy.rules(direction)?;
        let staged = if policy.staged { "staged " } else { "" };
        let mut chain = Chain {
            name: chain_name(worlds, world, direction, policy),
            hook: None,
            comment: Comment::new(&format!("{staged}{} {}", policy.id.kind, policy.id.name)),
            rules: Vec::new(),
        };
        for (rule, rule_name) in rules.iter().zip(names::rule_names(policy, direction)) {
            let counter = names::policy_rule_counter(policy, direction, &rule_name);
            let counter = self.names.in_world(world, counter);
            let counted = Counted {
                world,
                direction,
                by: CountedBy::Rule {
                    kind: policy.written_kind,
                    tier: tier.clone(),
                    namespace: policy.id.namespace.clone(),
                    name: policy.id.name.clone(),
                    rule_index: rule.index,
                    rule_name: rule.name.clone(),
                    text: rule.text.clone(),
                    safety_net: policy.safety_net,
                },
                action: rule.action,
                without_safety_net: self.may_be_caught(world, direction, |net| net.tier < policy.tier),
            };
            let counter = self.count(counter, counted);
            let statements = match world {
                WorldKind::Enforced => self.enforced_statements(policy, rule, counter),
                WorldKind::Pending => preview_statements(policy, rule, counter),
            };
            let comment = rule_comment(world, direction, policy, rule);
            chain
                .rules
                .extend(self.conditions(rule).into_iter().map(|matches| Rule {
                    matches,
                    statements: statements.clone(),
                    comment: comment.clone(),
                }));
        }
        Some(chain)
    }

    fn enforced_statements(&self, policy: &WorldPolicy, rule: &WorldRule, counter: Name) -> Vec<Statement> {
        let mut statements = vec![Statement::Counter(counter)];
        match rule.action {
            Action::Allow => statements.push(Statement::Accept),
            Action::Deny => statements.push(self.deny()),
            Action::Pass => {
                statements.push(Statement::SetMark {
                    mask: MARK_PASS,
                    value: MARK_PASS,
                });
                statements.push(Statement::Return);
            }
            Action::Log => statements.extend(self.options.flow_log.map(|flow_log| {
                Statement::Log(Log {
                    prefix: log_prefix(&policy.id.name, rule.index),
                    group: flow_log.group,
                    snaplen: super::endpoint::SNAPLEN,
                    queue_threshold: super::endpoint::QUEUE_THRESHOLD,
                })
            })),
        }
        statements
    }

    /// The conditions of a rule: one list of matches for both families where it has neither addresses nor types of ICMP,
    /// else one for each family that it can match, and two where a type of ICMP is excluded together with a code.
    fn conditions(&mut self, rule: &WorldRule) -> Vec<Vec<Match>> {
        let has_addresses = [&rule.source, &rule.destination].iter().any(|side| {
            side.nets.is_some() || side.not_nets.is_some() || side.set.is_some() || side.not_set.is_some()
        });
        let has_icmp = rule.icmp.is_some() || rule.not_icmp.is_some();
        if !has_addresses && !has_icmp && rule.family.is_none() {
            return vec![self.conditions_for(rule, None, protocol_conditions(rule))];
        }
        let worlds = self.worlds;
        let mut conditions = Vec::new();
        for family in Family::BOTH {
            if !rule.exists_for(family) || excludes_everything(worlds, rule, family) {
                continue;
            }
            let ways = if has_icmp {
                icmp_conditions(rule, family)
            } else {
                vec![protocol_conditions(rule)]
            };
            conditions.extend(
                ways.into_iter()
                    .map(|way| self.conditions_for(rule, Some(family), way)),
            );
        }
        conditions
    }

    /// Cheapest first: a packet that does not match should be done with soon.
    fn conditions_for(
        &mut self,
        rule: &WorldRule,
        family: Option<Family>,
        protocol: Vec<Match>,
    ) -> Vec<Match> {
        let mut matches: Vec<Match> = family.map(Match::Family).into_iter().collect();
        matches.extend(protocol);
        // The order in which nft lists them.
        let sides = [
            (Side::Source, &rule.source),
            (Side::Destination, &rule.destination),
        ];
        for (side, entity) in sides {
            matches.extend(self.port_conditions(side, entity));
        }
        for (side, entity) in sides {
            if let Some(family) = family {
                matches.extend(self.address_conditions(side, entity, family));
            }
        }
        // A lookup costs more than a comparison.
        matches.sort_by_key(|condition| matches!(condition, Match::AddressSet(..) | Match::PortSet(..)));
        matches
    }

    fn port_conditions(&mut self, side: Side, entity: &WorldEntity) -> Vec<Match> {
        let mut matches = Vec::new();
        for (op, ports) in [(Op::Is, &entity.ports), (Op::IsNot, &entity.not_ports)] {
            let Some(ports) = ports else { continue };
            matches.push(match merge_ports(ports).as_slice() {
                [range] => Match::Port(side, op, *range),
                ranges => Match::PortSet(side, op, self.sets.ports(ranges)),
            });
        }
        matches
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
            let Some(set) = set else { continue };
            let set = self.worlds.address_sets.get(set);
            if !set.is_everything(family) {
                let name = self.sets.addresses(set, family);
                matches.push(Match::AddressSet(side, op, family, name));
            }
        }
        matches
    }
}

/// What a rule says of the protocol.
fn protocol_conditions(rule: &WorldRule) -> Vec<Match> {
    let is = rule.protocol.map(|protocol| Match::Protocol(Op::Is, protocol));
    let is_not = rule
        .not_protocol
        .map(|protocol| Match::Protocol(Op::IsNot, protocol));
    is.into_iter().chain(is_not).collect()
}

/// What a rule says of ICMP in one family, protocol included: the ways in which it can hold, none of which overlap, so
/// that a packet is counted once. No way where it says what cannot be.
fn icmp_conditions(rule: &WorldRule, family: Family) -> Vec<Vec<Match>> {
    let icmp = Protocol::icmp_of(family);
    if rule.protocol.is_some_and(|protocol| protocol != icmp) || rule.not_protocol == Some(icmp) {
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
        return vec![is];
    };
    let icmp_type = |op| Match::IcmpType(family, op, excluded.icmp_type, excluded.icmp_type);
    let with = |more: Vec<Match>| is.iter().cloned().chain(more).collect();
    let another_type = with(vec![icmp_type(Op::IsNot)]);
    match excluded.code {
        None => vec![another_type],
        Some(code) => {
            let another_code = with(vec![icmp_type(Op::Is), Match::IcmpCode(family, Op::IsNot, code)]);
            vec![another_type, another_code]
        }
    }
}

/// The fewest prefixes of one family among these.
fn merged(nets: &[IpNet], family: Family) -> Vec<IpNet> {
    let own = nets.iter().copied().filter(|net| Family::of_net(*net) == family);
    merge_nets(&own.collect::<Vec<_>>())
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

/// A rule of the preview counts, marks what it decides, and never ends the packet. A safety net only counts: what
/// comes after it is what would be without it.
fn preview_statements(policy: &WorldPolicy, rule: &WorldRule, counter: Name) -> Vec<Statement> {
    let mut statements = vec![Statement::Counter(counter)];
    let mark = match rule.action {
        Action::Allow | Action::Deny if !policy.safety_net => MARK_DECIDED,
        Action::Pass => MARK_PASS,
        Action::Allow | Action::Deny | Action::Log => return statements,
    };
    statements.push(Statement::SetMark {
        mask: mark,
        value: mark,
    });
    statements.push(Statement::Return);
    statements
}

fn rule_comment(world: WorldKind, direction: Direction, policy: &WorldPolicy, rule: &WorldRule) -> Comment {
    let (name, index) = (&policy.id.name, rule.index);
    let rule_name = rule
        .name
        .as_ref()
        .map(|name| format!(" ({name})"))
        .unwrap_or_default();
    let effect = match (world, rule.action) {
        (WorldKind::Enforced, _) => String::new(),
        (WorldKind::Pending, Action::Allow) if policy.safety_net => {
            ": caught, and on as if it were not there".into()
        }
        (WorldKind::Pending, Action::Allow) => ": would allow".into(),
        (WorldKind::Pending, Action::Deny) => ": would deny".into(),
        (WorldKind::Pending, Action::Pass) => ": would pass".into(),
        (WorldKind::Pending, Action::Log) => ": would log".into(),
    };
    Comment::new(&format!("{name} {direction} rule {index}{rule_name}{effect}"))
}

/// What a reader of the NFLOG group sees of a Log rule; nf_tables takes 127 bytes.
fn log_prefix(policy: &str, rule_index: usize) -> String {
    let suffix = format!("/{rule_index}");
    let room = 127 - "palisade/log/".len() - suffix.len();
    let policy: String = policy.chars().take(room).collect();
    format!("palisade/log/{policy}{suffix}")
}
