//! The evaluator: a packet in, a verdict and its trace out. This is what policies mean.
//!
//! It follows Calico (tiers in order, policies in order, rules in order, then the end of the tier, then profiles) with
//! the differences palisade documents: failsafes first, and a verdict that a safety net catches carries a second one,
//! without the net.
//!
//! At a host endpoint a packet meets policies at up to three stages ([`Stage`]): before conntrack, before its
//! destination is translated, and at last where it goes, to the host itself or through it. What an early stage leaves
//! undecided goes on to the next.

mod decision;
mod part;
mod said;

use std::iter;
use std::net::IpAddr;

pub use decision::{Decision, Outcome, Step, StepBy, Verdict};
pub use part::Part;
pub(crate) use said::{OpenBy, Said, SaidBy};

use crate::net::{Direction, Family, Protocol};
use crate::resource::{Action, TierAction};
use crate::source::Position;
pub use crate::world::PolicyRef;
use crate::world::{
    EndpointId, EndpointKind, PlacedPolicy, Stage, World, WorldEntity, WorldPorts, WorldRule, Worlds,
};

/// What policies can see of the first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// Where from.
    pub source: IpAddr,
    /// Where to; of the family of `source`.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The source port; 0 where the protocol has none.
    pub source_port: u16,
    /// The destination port; 0 where the protocol has none.
    pub destination_port: u16,
    /// The ICMP type; 0 where the protocol has none.
    pub icmp_type: u8,
    /// The ICMP code; 0 where the protocol has none.
    pub icmp_code: u8,
}

impl Packet {
    /// The family of the packet.
    pub fn family(&self) -> Family {
        Family::of(self.source)
    }

    /// Whether it is ICMP of its own family; ICMP of the other one is only a number.
    fn is_icmp(&self) -> bool {
        self.protocol == Protocol::icmp_of(self.family())
    }
}

/// Decides about a packet to or from one endpoint itself, in one world.
pub fn evaluate(
    worlds: &Worlds,
    world: &World,
    endpoint: EndpointId,
    direction: Direction,
    packet: &Packet,
) -> Decision {
    decide(worlds, world, endpoint, direction, Part::Itself, packet)
}

/// Decides about a packet between a host and a workload of its own, at the host endpoint of every other interface.
pub fn evaluate_beside_workload(
    worlds: &Worlds,
    world: &World,
    endpoint: EndpointId,
    direction: Direction,
    packet: &Packet,
) -> Decision {
    decide(worlds, world, endpoint, direction, Part::BesideWorkload, packet)
}

/// Decides about a packet that comes in or goes out by a host endpoint, and is for or from somebody else.
pub fn evaluate_forwarded(
    worlds: &Worlds,
    world: &World,
    endpoint: EndpointId,
    direction: Direction,
    packet: &Packet,
) -> Decision {
    decide(worlds, world, endpoint, direction, Part::Through, packet)
}

/// Decides about a packet that a workload of the host sends, at the host endpoint of every other interface, as far as
/// that is done before it is known where it goes.
pub fn evaluate_arriving(worlds: &Worlds, world: &World, endpoint: EndpointId, packet: &Packet) -> Decision {
    decide(worlds, world, endpoint, Direction::Ingress, Part::Arrival, packet)
}

/// Decides about a packet whose destination is translated on its way: the early stages meet it as it is when it
/// arrives, the last one as it goes on.
pub fn evaluate_translated(
    worlds: &Worlds,
    world: &World,
    endpoint: EndpointId,
    direction: Direction,
    part: Part,
    [arriving, packet]: [&Packet; 2],
) -> Decision {
    Walk {
        worlds,
        world,
        endpoint,
        direction,
        part,
        packet,
        arriving,
    }
    .decision()
}

fn decide(
    worlds: &Worlds,
    world: &World,
    endpoint: EndpointId,
    direction: Direction,
    part: Part,
    packet: &Packet,
) -> Decision {
    Walk {
        worlds,
        world,
        endpoint,
        direction,
        part,
        packet,
        arriving: packet,
    }
    .decision()
}

/// A packet on its way through the stages of one endpoint, in one world.
pub(crate) struct Walk<'w, 'p> {
    pub(crate) worlds: &'w Worlds,
    pub(crate) world: &'w World,
    pub(crate) endpoint: EndpointId,
    pub(crate) direction: Direction,
    /// What it is asked about.
    pub(crate) part: Part,
    pub(crate) packet: &'p Packet,
    /// The packet before its destination is translated.
    pub(crate) arriving: &'p Packet,
}

impl<'w> Walk<'w, '_> {
    fn decision(&self) -> Decision {
        let asked = |stage| self.world.governing(self.endpoint, self.direction, stage);
        Decision::of(|with_safety_net, steps| self.verdict(asked, with_safety_net, steps))
    }

    /// The verdict; its steps go behind those that are there. If the last of them [is a safety
    /// net's](Said::is_safety_net), it hides the verdict without the net.
    ///
    /// `asked` are, for each stage, the policies that govern and can say something, in order. One that no rule of can match
    /// may be left out, but for the last of its tier, safety nets counted and not.
    pub(crate) fn verdict<Policies: Iterator<Item = &'w PlacedPolicy>>(
        &self,
        asked: impl Fn(Stage) -> Policies,
        with_safety_net: bool,
        steps: &mut Vec<Said<'w>>,
    ) -> Verdict {
        for stage in self.part.stages(self.direction) {
            let packet = if stage.is_early() {
                self.arriving
            } else {
                self.packet
            };
            let here = Meeting {
                worlds: self.worlds,
                world: self.world,
                endpoint: self.endpoint,
                direction: self.direction,
                part: self.part,
                stage,
                packet,
            };
            // What stays open is not shut early either; nor, before conntrack, is the way back.
            let failsafe = here.failsafe();
            let is_open = failsafe.is_some() || (stage == Stage::Untracked && here.answers_failsafe());
            if stage.is_early() && is_open {
                continue;
            }
            if stage == Stage::Normal
                && let Some(open) = failsafe
            {
                steps.push(here.said(SaidBy::Failsafe(open), Action::Allow, None));
                return Verdict::Allow;
            }
            let asked = asked(stage).filter(|policy| with_safety_net || !policy.safety_net);
            if let Some(verdict) = here.tiers(asked, steps) {
                return verdict;
            }
            if stage == Stage::Normal {
                return here.profiles(steps);
            }
        }
        Verdict::Allow
    }
}

/// A packet at one stage of one endpoint.
struct Meeting<'w, 'p> {
    worlds: &'w Worlds,
    world: &'w World,
    endpoint: EndpointId,
    direction: Direction,
    part: Part,
    stage: Stage,
    packet: &'p Packet,
}

impl<'w> Meeting<'w, '_> {
    /// The failsafe that lets the packet pass. Only host endpoints have any.
    fn failsafe(&self) -> Option<OpenBy<'w>> {
        if self.worlds.endpoint(self.endpoint).kind != EndpointKind::Host {
            return None;
        }
        let failsafes = &self.worlds.host.failsafes;
        let Packet {
            protocol,
            destination_port,
            icmp_type,
            ..
        } = *self.packet;
        let by_port = failsafes
            .ports(self.direction)
            .iter()
            .find(|failsafe| failsafe.matches(protocol, self.peer(), destination_port))
            .map(OpenBy::Port);
        let by_type = || {
            let types = if self.part.is_by_workload() {
                failsafes.icmpv6_types_by_workload()
            } else {
                failsafes.icmpv6_types(self.direction)
            };
            let matches = protocol == Protocol::ICMPV6
                && self.packet.family() == Family::V6
                && types
                    .iter()
                    .any(|&(first, last)| (first..=last).contains(&icmp_type));
            matches.then_some(OpenBy::Icmpv6)
        };
        by_port.or_else(by_type)
    }

    /// Whether the packet comes from a port that a failsafe of the other direction leads to.
    fn answers_failsafe(&self) -> bool {
        let other = match self.direction {
            Direction::Ingress => Direction::Egress,
            Direction::Egress => Direction::Ingress,
        };
        let Packet {
            protocol,
            source_port,
            ..
        } = *self.packet;
        self.worlds.endpoint(self.endpoint).kind == EndpointKind::Host
            && self
                .worlds
                .host
                .failsafes
                .ports(other)
                .iter()
                .any(|failsafe| failsafe.matches(protocol, self.peer(), source_port))
    }

    /// The far end.
    fn peer(&self) -> IpAddr {
        match self.direction {
            Direction::Ingress => self.packet.source,
            Direction::Egress => self.packet.destination,
        }
    }

    /// The tiers of the stage, of the policies that govern the direction; `None` if none decides.
    fn tiers(
        &self,
        asked: impl Iterator<Item = &'w PlacedPolicy>,
        steps: &mut Vec<Said<'w>>,
    ) -> Option<Verdict> {
        let mut asked = asked.peekable();
        while let Some(tier) = asked.peek().map(|policy| policy.tier) {
            let mut of_tier = iter::from_fn(|| asked.next_if(|policy| policy.tier == tier));
            let verdict = self.tier(&mut of_tier, steps);
            if verdict.is_some() {
                return verdict;
            }
            // Those behind a Pass are not asked.
            of_tier.for_each(drop);
        }
        None
    }

    /// One tier; `policies` are those of the tier that govern the direction, at least one. `None` goes on to the next.
    fn tier(
        &self,
        policies: impl Iterator<Item = &'w PlacedPolicy>,
        steps: &mut Vec<Said<'w>>,
    ) -> Option<Verdict> {
        let mut last = None;
        for policy in policies {
            last = Some(policy);
            for rule in policy.rules(self.direction).unwrap_or_default() {
                if !self.rule_matches(rule) {
                    continue;
                }
                let by = SaidBy::Rule(policy, rule);
                steps.push(self.said(by, rule.action, Some(&rule.position)));
                match rule.action {
                    Action::Allow => return Some(Verdict::Allow),
                    Action::Deny => return Some(Verdict::Deny),
                    Action::Pass => return None,
                    Action::Log => {}
                }
            }
        }
        // Early policies have no say about what they do not match.
        let last = last.filter(|_| !self.stage.is_early())?;
        let tier = &self.world.tiers[last.tier];
        let (action, verdict) = match tier.default_action {
            TierAction::Deny => (Action::Deny, Some(Verdict::Deny)),
            TierAction::Pass => (Action::Pass, None),
        };
        steps.push(self.said(SaidBy::EndOfTier(tier, last), action, Some(&last.position)));
        verdict
    }

    /// Profiles in order; a Pass goes on to the next one.
    fn profiles(&self, steps: &mut Vec<Said<'w>>) -> Verdict {
        for profile in self.worlds.profiles_of(self.endpoint) {
            for rule in profile.rules(self.direction) {
                if !self.rule_matches(rule) {
                    continue;
                }
                // What exists unwritten has no place.
                let position = (!profile.is_default_allow()).then_some(&rule.position);
                steps.push(self.said(SaidBy::Profile(profile, rule), rule.action, position));
                match rule.action {
                    Action::Allow => return Verdict::Allow,
                    Action::Deny => return Verdict::Deny,
                    Action::Pass => break,
                    Action::Log => {}
                }
            }
        }
        steps.push(self.said(SaidBy::NoProfile, Action::Deny, None));
        Verdict::Deny
    }

    fn rule_matches(&self, rule: &WorldRule) -> bool {
        let packet = self.packet;
        rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
            && rule
                .not_protocol
                .is_none_or(|protocol| protocol != packet.protocol)
            && rule
                .icmp
                .is_none_or(|icmp| packet.is_icmp() && icmp.matches(packet.icmp_type, packet.icmp_code))
            && rule
                .not_icmp
                .is_none_or(|icmp| packet.is_icmp() && !icmp.matches(packet.icmp_type, packet.icmp_code))
            && rule.exists_for(packet.family())
            && self.entity_matches(&rule.source, packet.source, packet.source_port)
            && self.entity_matches(&rule.destination, packet.destination, packet.destination_port)
    }

    fn entity_matches(&self, entity: &WorldEntity, address: IpAddr, port: u16) -> bool {
        let in_set = |id| self.worlds.address_sets.get(id).contains(address);
        entity
            .ports
            .as_ref()
            .is_none_or(|ports| self.ports_match(ports, address, port))
            && entity
                .not_ports
                .as_ref()
                .is_none_or(|ports| !self.ports_match(ports, address, port))
            && entity
                .nets
                .as_ref()
                .is_none_or(|nets| nets.iter().any(|net| net.contains(&address)))
            && entity
                .not_nets
                .as_ref()
                .is_none_or(|nets| !nets.iter().any(|net| net.contains(&address)))
            && entity.set.is_none_or(in_set)
            && entity.not_set.is_none_or(|id| !in_set(id))
    }

    fn ports_match(&self, ports: &WorldPorts, address: IpAddr, port: u16) -> bool {
        let named = |id| {
            self.worlds
                .named_ports
                .get(id)
                .contains(address, self.packet.protocol, port)
        };
        ports.ranges.iter().any(|range| range.contains(port)) || ports.named.is_some_and(named)
    }

    fn said(&self, by: SaidBy<'w>, action: Action, position: Option<&'w Position>) -> Said<'w> {
        Said {
            endpoint: self.endpoint,
            direction: self.direction,
            stage: self.stage,
            by,
            action,
            position,
        }
    }
}

#[cfg(test)]
mod tests;
