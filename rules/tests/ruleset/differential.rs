//! The ruleset does to every packet, and counts of it, exactly what the evaluator says of both worlds.

use std::fmt::Write as _;

use palisade_rules::compile::{Compiled, Counted, CountedBy, DenyAction, MARK_MASK, compile};
use palisade_rules::evaluate::{Decision, Outcome, Step, StepBy, Verdict, evaluate};
use palisade_rules::net::Direction;
use palisade_rules::resource::{Action, DEFAULT_ALLOW_PROFILE, Policy, StagedAction};
use palisade_rules::ruleset::{CtState, Name};
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{Attachment, EndpointId, World, WorldKind, WorldPolicy, Worlds, resolve};
use proptest::prelude::*;

use crate::generate::{Case, case};
use crate::interpreter::{Arrival, End, Run, run};
use crate::shape;

/// How many random hosts; each is asked about two dozen packets.
const CASES: u32 = 400;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ruleset_means_what_the_evaluator_says(case in case()) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let compiled = compile(&worlds, &case.options);
        shape::assert_well_formed(&compiled);
        for arrival in &case.arrivals {
            Checked { case: &case, worlds: &worlds, compiled: &compiled, arrival }.check();
        }
    }

    #[test]
    fn promotion_brings_exactly_what_the_pending_world_said(case in case()) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let promoted = resolve(&promoted(&case.snapshot), case.host.clone());
        prop_assert_eq!(&worlds.endpoints, &promoted.endpoints);
        for arrival in &case.arrivals {
            for endpoint in (0..worlds.endpoints.len()).map(EndpointId) {
                let ask = |worlds: &Worlds, world: &World| {
                    let decision = evaluate(worlds, world, endpoint, arrival.direction, &arrival.packet);
                    let without = decision.without_safety_net.as_ref();
                    (describe(&decision.outcome), without.map(describe))
                };
                let predicted = ask(&worlds, &worlds.pending);
                prop_assert_eq!(&predicted, &ask(&promoted, &promoted.enforced));
                // And then there is nothing left to preview.
                prop_assert_eq!(&predicted, &ask(&promoted, &promoted.pending));
                prop_assert!(!promoted.differs(endpoint, arrival.direction));
            }
        }
        let before = compile(&worlds, &case.options);
        let after = compile(&promoted, &case.options);
        assert_series_go_on(&before, &after);
    }

    #[test]
    fn staging_changes_no_enforced_chain(case in case()) {
        let mut without = case.snapshot.clone();
        without.policies.retain(|policy| policy.staged.is_none());
        let compiled = |snapshot: &Snapshot| compile(&resolve(snapshot, case.host.clone()), &case.options);
        let (staged, bare) = (compiled(&case.snapshot), compiled(&without));
        prop_assert_eq!(shape::enforced_chains(&staged), shape::enforced_chains(&bare));
        // The preview of a directory without staged objects is nothing at all.
        prop_assert!(bare.counters.values().all(|counted| counted.world == WorldKind::Enforced));
        prop_assert!(bare.ruleset.chains.iter().all(|chain| !shape::is_preview(chain)));
    }
}

/// The directory after every staged object was promoted; what is parked stays parked.
fn promoted(snapshot: &Snapshot) -> Snapshot {
    let acts = |policy: &&Policy| !matches!(policy.staged, None | Some(StagedAction::Ignore));
    let replaced: Vec<_> = snapshot
        .policies
        .iter()
        .filter(acts)
        .map(|policy| &policy.id)
        .collect();
    let mut promoted = snapshot.clone();
    promoted.policies.retain(|policy| match policy.staged {
        None => !replaced.contains(&&policy.id),
        Some(action) => action != StagedAction::Delete,
    });
    for policy in &mut promoted.policies {
        if policy.staged != Some(StagedAction::Ignore) {
            policy.staged = None;
        }
    }
    promoted
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

/// One packet on one host.
struct Checked<'a> {
    case: &'a Case,
    worlds: &'a Worlds,
    compiled: &'a Compiled,
    arrival: &'a Arrival,
}

impl Checked<'_> {
    fn check(&self) {
        let run = run(&self.compiled.ruleset, self.arrival);
        self.check_mark(&run);
        let decided_by_policy = matches!(self.arrival.state, CtState::New | CtState::Untracked);
        match self.endpoint() {
            Some(endpoint) if decided_by_policy => {
                self.check_enforced(endpoint, &run);
                self.check_preview(endpoint, &run);
            }
            Some(endpoint) if self.arrival.state == CtState::Invalid => self.check_invalid(endpoint, &run),
            _ => assert_eq!(
                (run.end, run.hits.len()),
                (End::Accept, 0),
                "{}",
                self.context(&run)
            ),
        }
    }

    /// Whose packet it is; `None` where no endpoint has the interface.
    fn endpoint(&self) -> Option<EndpointId> {
        let interface = self.arrival.interface;
        if interface == "lo" && !self.worlds.host.filter_loopback {
            return None;
        }
        let has_it = |attachment: &Attachment| match attachment {
            Attachment::Interfaces(interfaces) => interfaces.iter().any(|name| name == interface),
            Attachment::Rest => false,
        };
        let find = |is_it: &dyn Fn(&Attachment) -> bool| {
            self.worlds
                .local()
                .find(|(_, _, attachment)| is_it(attachment))
                .map(|(id, ..)| id)
        };
        find(&has_it).or_else(|| find(&|attachment| *attachment == Attachment::Rest))
    }

    fn decision(&self, world: WorldKind, endpoint: EndpointId) -> Decision {
        let world = self.worlds.world(world);
        evaluate(
            self.worlds,
            world,
            endpoint,
            self.arrival.direction,
            &self.arrival.packet,
        )
    }

    fn check_mark(&self, run: &Run) {
        let came = self.arrival.mark;
        assert_eq!(run.mark & !MARK_MASK, came & !MARK_MASK, "{}", self.context(run));
        if came & MARK_MASK == 0 && run.end == End::Accept {
            assert_eq!(run.mark & MARK_MASK, 0, "{}", self.context(run));
        }
    }

    fn check_enforced(&self, endpoint: EndpointId, run: &Run) {
        let outcome = self.decision(WorldKind::Enforced, endpoint).outcome;
        let expected_end = match (outcome.verdict, self.case.options.deny) {
            (Verdict::Allow, _) => End::Accept,
            (Verdict::Deny, DenyAction::Drop) => End::Drop,
            (Verdict::Deny, DenyAction::Reject) => End::Reject,
        };
        let hits = self.hits(run, false);
        let events: Vec<String> = hits.iter().map(|(counted, _)| event(counted)).collect();
        let expected: Vec<String> = outcome.steps.iter().map(step_event).collect();
        assert_eq!(
            (run.end, events),
            (expected_end, expected),
            "{}",
            self.context(run)
        );
        assert!(
            hits.iter()
                .all(|(counted, _)| counted.world == WorldKind::Enforced),
            "{}",
            self.context(run)
        );
        if let Some(flow_log) = self.case.options.flow_log {
            let is_log = |step: &&Step| step.action == Action::Log;
            let logs = 1 + outcome.steps.iter().filter(is_log).count();
            assert_eq!(run.logs.len(), logs, "{flow_log:?}: {}", self.context(run));
        } else {
            assert!(run.logs.is_empty());
        }
    }

    fn check_preview(&self, endpoint: EndpointId, run: &Run) {
        let hits = self.hits(run, true);
        let decision = self.decision(WorldKind::Pending, endpoint);
        if !self.worlds.differs(endpoint, self.arrival.direction) {
            assert!(hits.is_empty(), "{}", self.context(run));
            let enforced = self.decision(WorldKind::Enforced, endpoint);
            assert_eq!(enforced, decision, "{}", self.context(run));
            return;
        }
        let expected = self.walk_past_nets(endpoint, &decision);
        // A failsafe comes before the preview, and decides in both worlds alike.
        let expected: Vec<&Passed> = expected
            .iter()
            .filter(|passed| !passed.event.starts_with("failsafe"))
            .collect();
        let events: Vec<String> = hits.iter().map(|(counted, _)| event(counted)).collect();
        let expected_events: Vec<String> = expected.iter().map(|passed| passed.event.clone()).collect();
        assert_eq!(events, expected_events, "{}", self.context(run));
        let has_passed = decision
            .outcome
            .steps
            .iter()
            .any(|step| step.action == Action::Pass && matches!(step.by, StepBy::Rule { .. }));
        for ((counted, counter), passed) in hits.iter().zip(expected) {
            assert_eq!(
                counted.world,
                WorldKind::Pending,
                "{counter}: {}",
                self.context(run)
            );
            let is_net = matches!(counted.by, CountedBy::Rule { safety_net: true, .. });
            let agrees = counted.without_safety_net == passed.caught
                || counted.without_safety_net && has_passed
                || is_net;
            assert!(agrees, "{counter} {passed:?}: {}", self.context(run));
        }
    }

    /// The walk that the preview counts: as without safety nets, and each net that is met on the way.
    fn walk_past_nets(&self, endpoint: EndpointId, decision: &Decision) -> Vec<Passed> {
        let world = &self.worlds.pending;
        let bare = decision.without_safety_net.as_ref().unwrap_or(&decision.outcome);
        let mut walk: Vec<((usize, usize), String, bool)> = bare
            .steps
            .iter()
            .map(|step| (place(world, step), step_event(step), false))
            .collect();
        let nets = world
            .governing(endpoint, self.arrival.direction)
            .filter(|policy| policy.safety_net);
        let mut first_met = None;
        for net in nets {
            if bare.steps.iter().any(|step| comes_before(world, step, net.tier)) {
                continue;
            }
            first_met = first_met.or(Some(net.id.name.as_str()));
            let index = walk.partition_point(|(place, ..)| *place <= (net.tier, 0));
            walk.insert(index, ((net.tier, 0), net_event(world, net), true));
        }
        // The evaluator says that the first of them decides.
        let caught_by = match &decision.outcome.deciding().unwrap().by {
            StepBy::Rule {
                policy,
                safety_net: true,
                ..
            } => Some(policy.name.as_str()),
            _ => None,
        };
        assert_eq!(caught_by, first_met);
        let mut caught = false;
        walk.into_iter()
            .map(|(_, event, is_net)| {
                let passed = Passed { event, caught };
                caught |= is_net;
                passed
            })
            .collect()
    }

    fn check_invalid(&self, endpoint: EndpointId, run: &Run) {
        let is_policy = |policy: &WorldPolicy| !policy.safety_net;
        let decided = self
            .worlds
            .enforced
            .governing(endpoint, self.arrival.direction)
            .any(is_policy)
            || !self
                .worlds
                .endpoint(endpoint)
                .profiles
                .iter()
                .any(|profile| profile == DEFAULT_ALLOW_PROFILE);
        let expected = if decided {
            let counter = match self.arrival.direction {
                Direction::Ingress => "invalid/in",
                Direction::Egress => "invalid/out",
            };
            (End::Drop, vec![counter])
        } else {
            (End::Accept, vec![])
        };
        let hits: Vec<&str> = run.hits.iter().map(|(_, counter)| counter.as_str()).collect();
        assert_eq!((run.end, hits), expected, "{}", self.context(run));
    }

    /// What was counted in the preview, or outside of it.
    fn hits(&self, run: &Run, in_preview: bool) -> Vec<(&Counted, String)> {
        run.hits
            .iter()
            .filter(|(chain, _)| shape::is_preview_name(chain) == in_preview)
            .map(|(_, counter)| (&self.compiled.counters[&Name::new(counter)], counter.clone()))
            .collect()
    }

    fn context(&self, run: &Run) -> String {
        format!("{:?}\n{run:?}\n{}", self.arrival, self.compiled.ruleset)
    }
}

/// One counter on the walk of the preview.
#[derive(Debug)]
struct Passed {
    event: String,
    /// Whether a safety net was met before.
    caught: bool,
}

/// Where a step stands in the order of evaluation: its tier, then whether it is that tier's end.
fn place(world: &World, step: &Step) -> (usize, usize) {
    let index = |name: &str| world.tiers.iter().position(|tier| tier.name == name).unwrap();
    match &step.by {
        StepBy::Rule { policy, .. } => (index(&policy.tier), 0),
        StepBy::EndOfTier { tier, .. } => (index(tier), 1),
        StepBy::Profile(_) => (usize::MAX, 0),
        StepBy::Failsafe(_) | StepBy::Loopback => (0, 0),
    }
}

/// Whether a step keeps the walk from the safety net of a tier: it decides before, or passes around it.
fn comes_before(world: &World, step: &Step, net_tier: usize) -> bool {
    let (tier, is_end) = place(world, step);
    match (&step.by, step.action) {
        (StepBy::Failsafe(_) | StepBy::Loopback, _) => true,
        (StepBy::Rule { .. } | StepBy::EndOfTier { .. }, Action::Allow | Action::Deny) => {
            (tier, is_end) <= (net_tier, 0)
        }
        (StepBy::Rule { .. }, Action::Pass) => tier == net_tier,
        _ => false,
    }
}

fn net_event(world: &World, net: &WorldPolicy) -> String {
    let tier = &world.tiers[net.tier].name;
    format!("{} {tier} {} 0 Allow", net.written_kind, net.id.name)
}

/// What a counter counts, in the words of [`step_event`].
fn event(counted: &Counted) -> String {
    let what = match &counted.by {
        CountedBy::Invalid => "invalid".to_owned(),
        CountedBy::Failsafe(text) => format!("failsafe {text}"),
        CountedBy::Rule {
            kind,
            tier,
            name,
            rule_index,
            ..
        } => format!("{kind} {tier} {name} {rule_index}"),
        CountedBy::EndOfTier(tier) => format!("end of {tier}"),
        CountedBy::Profile(profile) => format!("profile {profile:?}"),
    };
    format!("{what} {}", counted.action)
}

fn step_event(step: &Step) -> String {
    let what = match &step.by {
        StepBy::Loopback => "loopback".to_owned(),
        StepBy::Failsafe(text) => format!("failsafe {text}"),
        StepBy::Rule {
            policy, rule_index, ..
        } => format!("{} {} {} {rule_index}", policy.kind, policy.tier, policy.name),
        StepBy::EndOfTier { tier, .. } => format!("end of {tier}"),
        StepBy::Profile(profile) => format!("profile {profile:?}"),
    };
    format!("{what} {}", step.action)
}

/// The whole trace, kinds as after promotion.
fn describe(outcome: &Outcome) -> String {
    let mut text = outcome.verdict.as_str().to_owned();
    for step in &outcome.steps {
        write!(text, ", {}", step_event(step)).unwrap();
        if let StepBy::EndOfTier { trigger, .. } = &step.by {
            write!(text, " by {} {}", trigger.kind, trigger.name).unwrap();
        }
    }
    text.replace("Staged", "")
}
