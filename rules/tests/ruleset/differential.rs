//! The ruleset does to every packet, and counts of it, exactly what the evaluator says of both worlds.

use std::env;
use std::sync::Arc;

use palisade_cases::{Case, Journey, case, describe, event, expected, without_staged};
use palisade_rules::analysis::connections::{Blocks, PortBlocks};
use palisade_rules::analysis::{Query, explain, name_of};
use palisade_rules::compile::{Compiled, Counted, DenyAction, MARK_ALL, compile, compile_from};
use palisade_rules::evaluate::{Decision, Packet, Verdict, evaluate, evaluate_forwarded};
use palisade_rules::net::Direction;
use palisade_rules::ruleset::Name;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{EndpointId, EndpointKind, Stage, World, WorldKind, Worlds, resolve};
use proptest::prelude::*;

use crate::interpreter::{End, Run, run};
use crate::shape;

/// How many random hosts, unless `PROPTEST_CASES` says.
const CASES: u32 = 400;

/// How many packets each of them is asked about.
pub(crate) const JOURNEYS: usize = 24;

/// The configuration of the random tests.
pub(crate) fn config() -> ProptestConfig {
    let cases = env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(CASES),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_ruleset_means_what_the_evaluator_says(case in case(JOURNEYS)) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let compiled = compile(&worlds, &case.options);
        shape::assert_well_formed(&compiled);
        for journey in &case.journeys {
            Checked { case: &case, worlds: &worlds, compiled: &compiled, journey }.check();
        }
    }

    #[test]
    fn what_is_remembered_changes_nothing(case in case(1), chosen: u64) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let compiled = compile(&worlds, &case.options);
        let again = compile_from(Some((&worlds, &compiled)), &worlds, &case.options);
        prop_assert_eq!(&again, &compiled);
        let changed = changed(&worlds, chosen);
        let after = compile_from(Some((&worlds, &again)), &changed, &case.options);
        prop_assert_eq!(&after, &compile(&changed, &case.options));
        prop_assert_eq!(&compile_from(Some((&changed, &after)), &worlds, &case.options), &compiled);
    }

    #[test]
    fn promotion_brings_exactly_what_the_pending_world_said(case in case(JOURNEYS)) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let promoted = resolve(&case.snapshot.promoted(|_| true), case.host.clone());
        prop_assert_eq!(&worlds.endpoints, &promoted.endpoints);
        for endpoint in (0..worlds.endpoints.len()).map(EndpointId) {
            for direction in Direction::BOTH {
                for journey in &case.journeys {
                    let predicted = decisions(&worlds, &worlds.pending, endpoint, direction, &journey.packet);
                    let ask = |world| decisions(&promoted, world, endpoint, direction, &journey.packet);
                    prop_assert_eq!(&predicted, &ask(&promoted.enforced));
                    // And then there is nothing left to preview.
                    prop_assert_eq!(&predicted, &ask(&promoted.pending));
                }
                prop_assert!(Stage::ALL.iter().all(|&stage| !promoted.differs(endpoint, direction, stage)));
            }
        }
        let before = compile(&worlds, &case.options);
        let after = compile(&promoted, &case.options);
        assert_series_go_on(&before, &after);
    }

    #[test]
    fn staging_changes_no_enforced_chain(case in case(JOURNEYS)) {
        let without = without_staged(&case.snapshot);
        let compiled = |snapshot: &Snapshot| compile(&resolve(snapshot, case.host.clone()), &case.options);
        let (staged, bare) = (compiled(&case.snapshot), compiled(&without));
        shape::assert_only_preview_is_more(&staged, &bare);
        // The preview of a directory without staged objects is nothing at all.
        prop_assert!(bare.counters.values().all(|counted| counted.world == WorldKind::Enforced));
        prop_assert!(bare.ruleset.chains.iter().all(|chain| !shape::is_preview(chain)));
        for journey in &case.journeys {
            let [staged, bare] = [&staged, &bare].map(|compiled| {
                let run = run(&compiled.ruleset, journey);
                (run.end, decided(compiled, &run))
            });
            prop_assert_eq!(staged, bare, "{:?}", journey);
        }
    }

    #[test]
    fn addresses_and_ports_of_one_block_are_the_same_to_everything(case in case(JOURNEYS)) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let (blocks, ports) = (Blocks::of_everything(&worlds), PortBlocks::of_everything(&worlds));
        for Journey { packet, .. } in &case.journeys {
            let [source, destination] = [packet.source, packet.destination].map(|address| blocks.first_of(address));
            prop_assert_eq!(blocks.of_address(packet.source), blocks.of_address(source));
            prop_assert_eq!(name_of(&worlds, packet.source), name_of(&worlds, source));
            // Another port of the same block.
            let block = ports.of_port(packet.destination_port);
            let destination_port = (packet.destination_port..=u16::MAX)
                .take(64)
                .take_while(|&port| ports.of_port(port) == block)
                .last()
                .filter(|_| packet.protocol.has_ports())
                .unwrap_or(packet.destination_port);
            let other = Packet { source, destination, destination_port, ..*packet };
            for endpoint in (0..worlds.endpoints.len()).map(EndpointId) {
                for direction in Direction::BOTH {
                    for world in [&worlds.enforced, &worlds.pending] {
                        let ask = |packet| decisions(&worlds, world, endpoint, direction, packet);
                        // To its own address a host is loopback, whichever of them: what is the same on both ends.
                        if (packet.source == packet.destination) == (source == destination) {
                            prop_assert_eq!(ask(packet), ask(&other), "{:?} {:?}", packet, other);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_resources_give_the_same_bytes(case in case(JOURNEYS)) {
        let say = |snapshot: &Snapshot| {
            let worlds = resolve(snapshot, case.host.clone());
            let ruleset = compile(&worlds, &case.options).ruleset.to_string();
            let answers: Vec<String> = case.journeys.iter().map(|journey| answer(&worlds, &journey.packet)).collect();
            (ruleset, answers)
        };
        let said = say(&case.snapshot);
        prop_assert_eq!(&said, &say(&case.snapshot));
        // Nor does it matter in which order policies were read.
        let mut reversed = case.snapshot.clone();
        reversed.policies.reverse();
        prop_assert_eq!(&said, &say(&reversed));
    }
}

/// The worlds with some policies that say less.
fn changed(worlds: &Worlds, chosen: u64) -> Worlds {
    let mut worlds = worlds.clone();
    let Worlds {
        enforced, pending, ..
    } = &mut worlds;
    for world in [enforced, pending] {
        for (index, policy) in Arc::make_mut(&mut world.policies).iter_mut().enumerate() {
            if chosen & (1 << (index % 64)) == 0 {
                continue;
            }
            let policy = Arc::make_mut(&mut policy.policy);
            for rules in [&mut policy.ingress, &mut policy.egress].into_iter().flatten() {
                *rules = rules.iter().skip(1).cloned().collect();
            }
        }
    }
    worlds
}

/// What `explain` says of a packet, as JSON or in words.
fn answer(worlds: &Worlds, packet: &Packet) -> String {
    let query = Query {
        from: packet.source.to_string(),
        to: packet.destination.to_string(),
        protocol: packet.protocol,
        port: packet.protocol.has_ports().then_some(packet.destination_port),
        source_port: None,
        icmp_type: Some(packet.icmp_type),
        icmp_code: Some(packet.icmp_code),
    };
    match explain(worlds, &query) {
        Ok(answer) => serde_json::to_string(&answer).unwrap(),
        Err(error) => error.to_string(),
    }
}

/// What one endpoint says of a packet to or from itself and, if it is a host's, through it: with the safety net, and
/// without.
fn decisions(
    worlds: &Worlds,
    world: &World,
    endpoint: EndpointId,
    direction: Direction,
    packet: &Packet,
) -> Vec<(String, Option<String>)> {
    let say = |decision: Decision| {
        let without = decision.without_safety_net.as_ref();
        (describe(&decision.outcome), without.map(describe))
    };
    let itself = say(evaluate(worlds, world, endpoint, direction, packet));
    let through = (worlds.endpoint(endpoint).kind == EndpointKind::Host)
        .then(|| say(evaluate_forwarded(worlds, world, endpoint, direction, packet)));
    [itself].into_iter().chain(through).collect()
}

/// What the pending world counted on its own is counted on by the enforced one, in the same series; the ends of tiers
/// and the profiles that a safety net hides are the exception, for they are out of reach until the net is removed.
fn assert_series_go_on(before: &Compiled, after: &Compiled) {
    for (name, counted) in &before.counters {
        if counted.world == WorldKind::Enforced || name.as_str().starts_with("pending/") {
            continue;
        }
        let Some(enforced) = after.counters.get(name) else {
            assert!(counted.without_safety_net, "{name} is gone: {counted:?}");
            continue;
        };
        assert_eq!(event(enforced), event(counted).replace("Staged", ""), "{name}");
        assert_eq!(
            before.ruleset.counters[name], after.ruleset.counters[name],
            "the kernel keeps the comment of a counter"
        );
    }
}

/// What the enforced world counted, but for the built-in profile: it decides nothing that would not pass without it.
fn decided(compiled: &Compiled, run: &Run) -> Vec<String> {
    let counted = hits(compiled, run, false);
    let events = counted.iter().map(|(counted, _)| event(counted));
    events
        .filter(|event| !event.contains(": profile projectcalico-default-allow"))
        .collect()
}

/// What was counted in the preview, or outside of it.
fn hits<'a>(compiled: &'a Compiled, run: &Run, in_preview: bool) -> Vec<(&'a Counted, String)> {
    run.hits
        .iter()
        .filter(|(chain, _)| shape::is_preview_name(chain) == in_preview)
        .map(|(_, counter)| (&compiled.counters[&Name::new(counter)], counter.clone()))
        .collect()
}

/// One packet on one host.
struct Checked<'a> {
    case: &'a Case,
    worlds: &'a Worlds,
    compiled: &'a Compiled,
    journey: &'a Journey,
}

impl Checked<'_> {
    fn check(&self) {
        let run = run(&self.compiled.ruleset, self.journey);
        let expected = expected(self.worlds, self.journey);
        let end = match (expected.verdict, self.case.options.deny) {
            (Verdict::Allow, _) => End::Accept,
            (Verdict::Deny, DenyAction::Reject) if !expected.is_silent => End::Reject,
            (Verdict::Deny, DenyAction::Drop | DenyAction::Reject) => End::Drop,
        };
        let enforced = hits(self.compiled, &run, false);
        let events: Vec<String> = enforced.iter().map(|(counted, _)| event(counted)).collect();
        assert_eq!(
            (run.end, &events),
            (end, &expected.enforced),
            "{}",
            self.context(&run)
        );
        let is_enforced = |(counted, _): &(&Counted, String)| counted.world == WorldKind::Enforced;
        assert!(enforced.iter().all(is_enforced), "{}", self.context(&run));

        let preview = hits(self.compiled, &run, true);
        let events: Vec<String> = preview.iter().map(|(counted, _)| event(counted)).collect();
        let expected_events: Vec<String> = expected
            .preview
            .iter()
            .map(|passed| passed.event.clone())
            .collect();
        assert_eq!(events, expected_events, "{}", self.context(&run));
        for ((counted, counter), passed) in preview.iter().zip(&expected.preview) {
            assert_eq!(
                counted.world,
                WorldKind::Pending,
                "{counter}: {}",
                self.context(&run)
            );
            let agrees = passed.is_net
                || counted.without_safety_net == passed.caught
                || counted.without_safety_net && passed.may_be_caught;
            assert!(agrees, "{counter} {passed:?}: {}", self.context(&run));
        }

        let is_of_rule = |prefix: &&String| prefix.starts_with("palisade/log/");
        let of_rules = run.logs.iter().filter(is_of_rule).count();
        let logs = if self.case.options.flow_log.is_some() {
            (expected.flow_logs, expected.logs)
        } else {
            (0, 0)
        };
        assert_eq!(
            (run.logs.len() - of_rules, of_rules),
            logs,
            "{}",
            self.context(&run)
        );
        self.check_mark(&run, expected.is_cleared);
    }

    fn check_mark(&self, run: &Run, is_cleared: bool) {
        let came = self.journey.mark;
        assert_eq!(run.mark & !MARK_ALL, came & !MARK_ALL, "{}", self.context(run));
        if run.end == End::Accept {
            let may_stay = if is_cleared { 0 } else { came };
            assert_eq!(run.mark & MARK_ALL & !may_stay, 0, "{}", self.context(run));
        }
    }

    fn context(&self, run: &Run) -> String {
        format!("{:?}\n{run:?}\n{}", self.journey, self.compiled.ruleset)
    }
}
