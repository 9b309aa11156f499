//! A case in the kernel, step by step as a person rolls it out: nothing staged, staged, promoted, safety nets removed.
//! The same packets are sent at each step.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use palisade_cases::{Case, Journey, Way, expected, predicted, without_safety_nets, without_staged};
use palisade_rules::compile::{CountedBy, compile};
use palisade_rules::evaluate::Verdict;
use palisade_rules::net::Direction;
use palisade_rules::resource::Action;
use palisade_rules::ruleset::CtState;
use palisade_rules::world::{Attachment, EndpointKind, Stage, WorldKind, Worlds, resolve};

use super::lab::Lab;
use super::packets::{InForce, Outcome};
use super::unreachable::Unreachable;
use super::{Disagreement, Tally, unconfirmed};

/// The steps.
const STEPS: [&str; 4] = [
    "nothing staged",
    "staged",
    "promoted",
    "promoted, and the safety nets removed",
];

/// How long a busy machine may take to deliver a packet that nobody denies.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes every step of a case and sends every packet at each. The inner error is the first disagreement.
pub(super) fn roll_out(lab: &mut Lab, case: &Case) -> anyhow::Result<Result<Tally, Box<Disagreement>>> {
    let case = lab.adapt(case);
    let journeys = calibrated(lab, &case)?;
    let mut tally = Tally::default();
    let after = case.snapshot.promoted(|_| true);
    let last = without_safety_nets(&after, &case.host);
    let snapshots = [without_staged(&case.snapshot), case.snapshot.clone(), after, last];
    let worlds = snapshots.map(|snapshot| resolve(&snapshot, case.host.clone()));
    let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
    for (step, worlds) in STEPS.into_iter().zip(&worlds) {
        let compiled = compile(worlds, &case.options);
        let mut in_force = match InForce::new(lab, worlds, &compiled)? {
            Ok(in_force) => in_force,
            Err(what) => return Ok(Err(disagreement(lab, step, None, what)?)),
        };
        let unreachable = Unreachable::of(worlds);
        tally.unreachable += unreachable.len() as u64;
        let mut here = Vec::new();
        for journey in &journeys {
            match in_force.send(journey)? {
                Ok(outcome) => {
                    if let Some(hit) = unreachable.hit(&outcome.counted) {
                        let what = format!("lint calls this rule unreachable: {hit:#?}");
                        return Ok(Err(disagreement(lab, step, Some(journey), what)?));
                    }
                    tally.count(journey, &outcome);
                    here.push(outcome);
                }
                Err(what) => return Ok(Err(disagreement(lab, step, Some(journey), what)?)),
            }
        }
        outcomes.push(here);
    }
    let [_, with_staged, ..] = &worlds;
    let pending = predicted(with_staged);
    for (index, journey) in journeys.iter().enumerate() {
        let [before, staged, promoted, bare] = [0, 1, 2, 3].map(|step: usize| &outcomes[step][index]);
        if (before.verdict, decided(before)) != (staged.verdict, decided(staged)) {
            let what = format!("staging changed what happens: {before:#?}, then {staged:#?}");
            return Ok(Err(disagreement(lab, STEPS[1], Some(journey), what)?));
        }
        let evaluated = expected(&pending, journey).verdict;
        if evaluated != promoted.verdict {
            let what = format!("the evaluator predicted {evaluated:?}: {promoted:#?}");
            return Ok(Err(disagreement(lab, STEPS[2], Some(journey), what)?));
        }
        let foretold = foretold(with_staged, journey, staged);
        for (step, foretold, outcome) in [
            (2, foretold.with_nets, promoted),
            (3, foretold.without_nets, bare),
        ] {
            if foretold.is_some_and(|verdict| verdict != outcome.verdict) {
                let what =
                    format!("the preview's counters predicted {foretold:?}: {staged:#?}, then {outcome:#?}");
                return Ok(Err(disagreement(lab, STEPS[step], Some(journey), what)?));
            }
            tally.foretold += u64::from(foretold.is_some());
        }
        tally.predicted += 1;
        tally.changed += u64::from(promoted.verdict != staged.verdict);
    }
    let [_, staged, promoted, _] = &worlds;
    if let Err((step, journey, what)) = unconfirmed::check(lab, promoted, staged, &case.options, &journeys)? {
        return Ok(Err(disagreement(lab, step, journey, what)?));
    }
    Ok(Ok(tally))
}

/// The journeys that the lab can make, each with what conntrack really calls it: what arrives where palisade is not.
fn calibrated(lab: &mut Lab, case: &Case) -> anyhow::Result<Vec<Journey>> {
    lab.clear()?;
    let established = case
        .journeys
        .iter()
        .filter(|journey| journey.state == CtState::Established);
    for journey in established {
        lab.open(journey)?;
    }
    let mut journeys = Vec::new();
    for journey in case.journeys.iter().filter(|journey| Lab::can_carry(journey)) {
        let (number, _) = lab.send(journey)?;
        let mut arrivals = lab.arrivals()?;
        let sent = Instant::now();
        while arrivals.is_empty() && sent.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
            arrivals = lab.arrivals()?;
        }
        let arrival = arrivals
            .first()
            .with_context(|| format!("the lab has lost {journey:?}"))?;
        ensure!(
            arrivals.len() == 1
                && (arrival.number, arrival.way, arrival.mark) == (number, journey.way, journey.mark),
            "the lab has sent {journey:?} as number {number}, and it arrived as {arrivals:?}"
        );
        journeys.push(Journey {
            state: arrival.state,
            ..journey.clone()
        });
    }
    Ok(journeys)
}

fn disagreement(
    lab: &Lab,
    step: &'static str,
    journey: Option<&Journey>,
    what: String,
) -> anyhow::Result<Box<Disagreement>> {
    Ok(Box::new(Disagreement {
        step,
        journey: journey.cloned(),
        what,
        listing: lab.listing()?,
    }))
}

/// What the enforced world counted, but for the built-in profile: it decides nothing that would not pass without it.
fn decided(outcome: &Outcome) -> Vec<String> {
    let mut events = outcome.events(WorldKind::Enforced);
    events.retain(|event| !event.contains(": profile projectcalico-default-allow"));
    events
}

/// What the counters of the preview alone say of a packet, as far as they say it.
struct Foretold {
    with_nets: Option<Verdict>,
    without_nets: Option<Verdict>,
}

/// The enforced world keeps a packet it denies from whoever would be asked next; there the preview has nothing to say.
fn foretold(worlds: &Worlds, journey: &Journey, staged: &Outcome) -> Foretold {
    let unknown = Foretold {
        with_nets: None,
        without_nets: None,
    };
    // Where conntrack decides, there is no preview; and where two endpoints are asked in one direction, the counters do not
    // say which of them said what.
    let has_preview = matches!(journey.state, CtState::New | CtState::Untracked);
    let is_workloads = |interface: &str| {
        worlds.local().any(|(_, endpoint, attachment)| {
            let named = matches!(attachment, Attachment::Interfaces(names) if names.iter().any(|name| name == interface));
            endpoint.kind == EndpointKind::Workload && named
        })
    };
    // A host's early stages are asked about what comes in, as is the workload it goes to.
    let meets_early = staged.counted.iter().any(|counted| counted.stage.is_early());
    let are_two = match journey.way {
        Way::Through { from, to } => {
            is_workloads(from) != is_workloads(to) || (is_workloads(to) && meets_early)
        }
        Way::In { .. } | Way::Out { .. } => !journey.cgroups.is_empty(),
    };
    if !has_preview || are_two {
        return unknown;
    }
    let is_forwarded = matches!(journey.way, Way::Through { .. });
    let mut foretold = Foretold {
        with_nets: Some(Verdict::Allow),
        without_nets: Some(Verdict::Allow),
    };
    for direction in Direction::BOTH {
        let of = |world| {
            let here = staged.counted.iter();
            here.filter(move |counted| counted.direction == direction && counted.world == world)
        };
        let is_net = |by: &CountedBy| matches!(by, CountedBy::Rule { safety_net: true, .. });
        let ends = |action| matches!(action, Action::Allow | Action::Deny);
        let decisions: Vec<Action> = of(WorldKind::Pending)
            .filter(|counted| !is_net(&counted.by) && ends(counted.action))
            .map(|counted| counted.action)
            .collect();
        let caught = of(WorldKind::Pending).any(|counted| is_net(&counted.by));
        let denial = of(WorldKind::Enforced).find(|counted| counted.action == Action::Deny);
        let denied = denial.is_some();
        // There alone a preview always ends in something that counts; elsewhere it may pass without a word.
        let is_told = denial.is_none_or(|counted| counted.stage == Stage::Normal && !is_forwarded);
        let allowed_by_net = of(WorldKind::Enforced).any(|counted| is_net(&counted.by));
        let (with_nets, without_nets) = match decisions[..] {
            [] if !is_told => (None, None),
            // The worlds are one here.
            [] if denied => (Some(Verdict::Deny), Some(Verdict::Deny)),
            [] => (Some(Verdict::Allow), (!allowed_by_net).then_some(Verdict::Allow)),
            [Action::Deny] if caught => ((!denied).then_some(Verdict::Allow), Some(Verdict::Deny)),
            [Action::Deny] => (Some(Verdict::Deny), Some(Verdict::Deny)),
            [_] if denied => (None, None),
            [_] => (Some(Verdict::Allow), Some(Verdict::Allow)),
            _ => (None, None),
        };
        foretold.with_nets = both(foretold.with_nets, with_nets);
        foretold.without_nets = both(foretold.without_nets, without_nets);
    }
    foretold
}

/// Who is denied once is denied.
fn both(one: Option<Verdict>, other: Option<Verdict>) -> Option<Verdict> {
    match (one, other) {
        (Some(Verdict::Deny), _) | (_, Some(Verdict::Deny)) => Some(Verdict::Deny),
        (Some(Verdict::Allow), Some(Verdict::Allow)) => Some(Verdict::Allow),
        _ => None,
    }
}
