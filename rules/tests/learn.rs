//! Whatever was observed in whatever directory: the proposal is valid, denies none of it, and allows no more than it says.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use palisade_cases::{Case, PORTS, case};
use palisade_rules::analysis::learn::{
    Directions, LearnError, Learnt, Limits, Observed, Proposal, Question, Size, Subject, learn,
};
use palisade_rules::analysis::{NameKind, name_of};
use palisade_rules::decode::decode;
use palisade_rules::evaluate::{Outcome, Packet, Part, StepBy, Verdict, evaluate_translated};
use palisade_rules::net::{Direction, Protocol, merge_nets};
use palisade_rules::print;
use palisade_rules::source::Files;
use palisade_rules::world::{EndpointId, EndpointKind, Stage, WorldKind, Worlds, resolve};
use proptest::prelude::*;
use proptest::sample::select;

/// How many random hosts, unless `PROPTEST_CASES` says.
const CASES: u32 = 300;

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// What is asked, but for whom.
fn questions() -> impl Strategy<Value = Question> {
    let directions = select(vec![
        Directions::Observed,
        Directions::Both,
        Directions::Only(Direction::Ingress),
        Directions::Only(Direction::Egress),
    ]);
    let limits = (select(vec![3, 8, 64]), select(vec![1, 2, 16]));
    (
        directions,
        select(vec![None, Some("p"), Some("default"), Some("kube-admin")]),
        select(vec![None, Some(-5.0), Some(1e9)]),
        any::<bool>(),
        any::<bool>(),
        limits,
    )
        .prop_map(
            |(directions, tier, order, forward, include_denied, (rules, nets))| Question {
                name: "learnt".to_owned(),
                subject: Subject::Usual,
                directions,
                tier: tier.map(str::to_owned),
                order,
                forward,
                include_denied,
                exclude: Vec::new(),
                limits: Limits { rules, nets },
                notes: vec!["a note".to_owned()],
            },
        )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_proposal_keeps_its_word(case in case(24), question in questions(), which in any::<prop::sample::Index>()) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let local: Vec<EndpointId> = worlds.local().map(|(id, ..)| id).collect();
        let subject = *which.get(&local);
        let endpoint = worlds.endpoint(subject);
        let question = Question {
            subject: Subject::Endpoint(format!("{}:{endpoint}", endpoint.kind)),
            ..question
        };
        let observed = observations(&case, &worlds);
        match learn(&case.snapshot, &worlds, &question, &observed) {
            Ok(proposal) => {
                let again = learn(&case.snapshot, &worlds, &question, &observed);
                prop_assert_eq!(again.as_ref().ok(), Some(&proposal));
                Checked { case: &case, worlds: &worlds, question: &question, observed: &observed, proposal: &proposal }.check();
            }
            // Something that others deny before the proposal is asked, or nothing at all.
            Err(LearnError::StillDenied { .. } | LearnError::NothingObserved { .. } | LearnError::TooManyRules { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Every packet at every local endpoint, both ways; through the host where an endpoint is a host's.
fn observations(case: &Case, worlds: &Worlds) -> Vec<Observed> {
    let mut observed = Vec::new();
    for (number, journey) in case.journeys.iter().enumerate() {
        for (endpoint, it, _) in worlds.local() {
            // Not all of them at each, so that endpoints differ.
            if (number + endpoint.0) % 2 == 1 {
                continue;
            }
            let parts: &[Part] = if it.kind == EndpointKind::Host {
                &[Part::Itself, Part::Through]
            } else {
                &[Part::Itself]
            };
            for (direction, &part) in Direction::BOTH.into_iter().zip(parts.iter().cycle()) {
                observed.push(Observed {
                    endpoint,
                    direction,
                    part,
                    packet: journey.packet,
                    connections: number as u64 + 1,
                    stands_for_others: false,
                    first_seen: format!("{number:03}"),
                    last_seen: format!("{:03}", number + 1),
                    owners: Vec::new(),
                });
            }
        }
    }
    observed
}

struct Checked<'c> {
    case: &'c Case,
    worlds: &'c Worlds,
    question: &'c Question,
    observed: &'c [Observed],
    proposal: &'c Proposal,
}

impl Checked<'_> {
    fn check(&self) {
        self.assert_valid();
        let mut snapshot = self.case.snapshot.clone();
        snapshot.policies.push(Arc::new(self.proposal.policy.clone()));
        let with = resolve(&snapshot, self.case.host.clone());
        self.assert_replays(&with);
        self.assert_allows_no_more_than_it_says(&with);
        let nets = self
            .proposal
            .rules
            .iter()
            .map(|learnt| [&learnt.rule.source, &learnt.rule.destination]);
        let nets = nets.flatten().filter_map(|side| side.nets.as_ref());
        assert!(
            nets.into_iter()
                .all(|nets| nets.len() <= self.question.limits.nets)
        );
        assert!(self.proposal.rules.len() <= self.question.limits.rules);
    }

    /// With what it names: tiers, sets, profiles and endpoints, as far as random ones can be written.
    fn assert_valid(&self) {
        let mut directory = self.case.snapshot.clone();
        directory.policies.clear();
        for profile in directory.profiles.values_mut() {
            profile.ingress.clear();
            profile.egress.clear();
        }
        for set in directory.network_sets.values_mut().map(Arc::make_mut) {
            set.nets = merge_nets(&set.nets);
        }
        for endpoint in directory.host_endpoints.values_mut().map(Arc::make_mut) {
            endpoint.ports.clear();
        }
        for endpoint in directory.workload_endpoints.values_mut().map(Arc::make_mut) {
            endpoint.ports.clear();
        }
        let mut files = Files::default();
        let ids =
            [print::snapshot(&directory), self.proposal.text.clone()].map(|text| files.add("text", text));
        let (_, diagnostics) = decode(&files, &ids);
        assert!(
            !diagnostics.has_errors(),
            "{}\n{}",
            diagnostics.render(&files, false),
            self.proposal.text
        );
    }

    fn is_in_scope(&self, observed: &Observed) -> bool {
        let policy = &self.proposal.policy;
        policy
            .selector
            .matches(&self.worlds.endpoint(observed.endpoint).labels)
            && policy.governs(observed.direction)
            && can_be_named(&observed.packet)
            && (self.question.forward || observed.part.last() != Stage::Forward)
            && (self.question.include_denied
                || decided(self.worlds, WorldKind::Enforced, observed, true).verdict == Verdict::Allow)
    }

    fn assert_replays(&self, with: &Worlds) {
        let taken: Vec<&Observed> = self
            .observed
            .iter()
            .filter(|observed| self.is_in_scope(observed))
            .collect();
        assert_eq!(taken.len(), self.proposal.replayed);
        for observed in taken {
            let outcome = decided(with, WorldKind::Pending, observed, false);
            assert_eq!(
                outcome.verdict,
                Verdict::Allow,
                "{observed:?}\n{}",
                self.proposal.text
            );
        }
    }

    /// Of many packets: what a learnt rule allows is what it says, and where it says that it allows no more than was seen,
    /// it was seen.
    fn assert_allows_no_more_than_it_says(&self, with: &Worlds) {
        let Some(first) = self.observed.iter().find(|observed| self.is_in_scope(observed)) else {
            return;
        };
        for observed in samples(&self.case.journeys[0].packet, self.observed) {
            let at = Observed {
                endpoint: first.endpoint,
                direction: observed.direction,
                part: first.part,
                ..observed
            };
            if !self.proposal.policy.governs(at.direction) {
                continue;
            }
            let outcome = decided(with, WorldKind::Pending, &at, false);
            let speaks = outcome.deciding().and_then(|step| match &step.by {
                StepBy::Rule {
                    policy, rule_index, ..
                } if policy.name == "learnt" => Some(*rule_index),
                _ => None,
            });
            let Some(index) = speaks else { continue };
            let learnt = self
                .proposal
                .rules
                .iter()
                .find(|learnt| learnt.direction == at.direction && learnt.index == index)
                .unwrap_or_else(|| panic!("rule {index} was not learnt"));
            assert!(says(learnt, &at), "{at:?}\n{learnt:#?}\n{}", self.proposal.text);
            let is_exact = !learnt.mixed
                && learnt
                    .peers_allowed
                    .as_ref()
                    .is_some_and(|nets| Size::of(nets).addresses() == learnt.peers_seen as u128);
            let port = at.packet.destination_port;
            if is_exact && port < 32_768 {
                let was_seen = self
                    .observed
                    .iter()
                    .any(|other| self.is_in_scope(other) && is_alike(self.worlds, other, &at));
                assert!(
                    was_seen,
                    "{at:?} was never seen\n{learnt:#?}\n{}",
                    self.proposal.text
                );
            }
        }
    }
}

/// What one world says, with or without the safety net.
fn decided(worlds: &Worlds, world: WorldKind, observed: &Observed, with_safety_net: bool) -> Outcome {
    let Observed {
        endpoint,
        direction,
        part,
        packet,
        ..
    } = observed;
    let world = worlds.world(world);
    let decision = evaluate_translated(worlds, world, *endpoint, *direction, *part, [packet, packet]);
    match decision.without_safety_net {
        Some(without) if !with_safety_net => without,
        _ => decision.outcome,
    }
}

/// No rule can name port 0, nor one family's ICMP in the other.
fn can_be_named(packet: &Packet) -> bool {
    match packet.protocol {
        Protocol::ICMP | Protocol::ICMPV6 => packet.protocol == Protocol::icmp_of(packet.family()),
        protocol => packet.destination_port > 0 || !protocol.has_ports(),
    }
}

fn far(observed: &Observed) -> IpAddr {
    match observed.direction {
        Direction::Ingress => observed.packet.source,
        Direction::Egress => observed.packet.destination,
    }
}

/// Whether a rule says that it allows this.
fn says(learnt: &Learnt, observed: &Observed) -> bool {
    let packet = &observed.packet;
    let nets = learnt.peers_allowed.as_ref();
    let ports = learnt.rule.destination.ports.as_ref();
    learnt
        .rule
        .protocol
        .is_some_and(|protocol| protocol.protocol == packet.protocol)
        && nets.is_none_or(|nets| nets.iter().any(|net| net.contains(&far(observed))))
        && ports.is_none_or(|ports| {
            ports
                .ranges
                .iter()
                .any(|range| range.contains(packet.destination_port))
        })
        && learnt
            .rule
            .icmp
            .is_none_or(|icmp| icmp.matches(packet.icmp_type, packet.icmp_code))
}

/// Whether both are of one peer, with one protocol, port, and type of ICMP.
fn is_alike(worlds: &Worlds, one: &Observed, other: &Observed) -> bool {
    let icmp = |packet: &Packet| {
        let is_icmp = packet.protocol == Protocol::icmp_of(packet.family());
        is_icmp.then_some((packet.icmp_type, packet.icmp_code))
    };
    let traits = |observed: &Observed| {
        let packet = &observed.packet;
        (
            observed.direction,
            packet.protocol,
            packet.destination_port,
            icmp(packet),
        )
    };
    // Endpoints and sets are peers as a whole.
    let [a, b] = [one, other].map(|observed| name_of(worlds, far(observed)));
    traits(one) == traits(other)
        && if a.kind == NameKind::Network {
            far(one) == far(other)
        } else {
            a == b
        }
}

/// Each observation's packet with each port, and with the far ends of all others.
fn samples(seed: &Packet, observed: &[Observed]) -> Vec<Observed> {
    let fars: BTreeSet<IpAddr> = observed.iter().map(far).chain([seed.source]).collect();
    let mut samples = Vec::new();
    for one in observed.iter().take(40) {
        for port in PORTS {
            let mut sample = one.clone();
            if sample.packet.protocol.has_ports() {
                sample.packet.destination_port = port;
            }
            samples.push(sample);
        }
        for &address in fars
            .iter()
            .filter(|address| address.is_ipv4() == one.packet.source.is_ipv4())
        {
            let mut sample = one.clone();
            match one.direction {
                Direction::Ingress => sample.packet.source = address,
                Direction::Egress => sample.packet.destination = address,
            }
            samples.push(sample);
        }
    }
    samples
}
