//! The proof: what was observed is decided again, and the text is read again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::scope::far;
use super::{LearnError, Observed};
use crate::analysis::StepReport;
use crate::decode::decode;
use crate::evaluate::{Decision, Outcome, Verdict, evaluate_translated};
use crate::print;
use crate::resource::Policy;
use crate::snapshot::Snapshot;
use crate::source::Files;
use crate::world::{WorldKind, Worlds, resolve};

/// The worlds with a staged policy in them, in place of the one that is staged by its name.
pub(super) fn with(snapshot: &Snapshot, worlds: &Worlds, policy: &Policy) -> Worlds {
    let others = snapshot.policies.iter();
    let others = others.filter(|other| other.staged.is_none() || other.id != policy.id);
    let snapshot = Snapshot {
        policies: others.cloned().chain([Arc::new(policy.clone())]).collect(),
        ..snapshot.clone()
    };
    resolve(&snapshot, worlds.host.clone())
}

/// What one world says of an observation.
pub(super) fn decide(worlds: &Worlds, world: WorldKind, observed: &Observed) -> Decision {
    let Observed {
        endpoint,
        direction,
        part,
        packet,
        ..
    } = observed;
    let world = worlds.world(world);
    evaluate_translated(worlds, world, *endpoint, *direction, *part, [packet, packet])
}

/// What it says without safety nets.
pub(super) fn bare(decision: Decision) -> Outcome {
    decision.without_safety_net.unwrap_or(decision.outcome)
}

/// Decides every observation in the pending world with the policy in it, the safety net absent; gives both worlds.
///
/// # Errors
/// If one of them is denied, with the one that was seen most often.
pub(super) fn replay(
    snapshot: &Snapshot,
    worlds: &Worlds,
    policy: &Policy,
    replayed: &[&Observed],
) -> Result<Worlds, LearnError> {
    let worlds = with(snapshot, worlds, policy);
    let outcomes = replayed
        .iter()
        .map(|observed| (*observed, bare(decide(&worlds, WorldKind::Pending, observed))));
    let denied: Vec<(&Observed, Outcome)> = outcomes
        .filter(|(_, outcome)| outcome.verdict == Verdict::Deny)
        .collect();
    match denied
        .iter()
        .max_by_key(|(observed, _)| (observed.connections, std::cmp::Reverse(observed.packet)))
    {
        None => Ok(worlds),
        Some((worst, outcome)) => Err(still_denied(&worlds, policy, worst, outcome, denied.len())),
    }
}

fn still_denied(
    worlds: &Worlds,
    policy: &Policy,
    observed: &Observed,
    outcome: &Outcome,
    denied: usize,
) -> LearnError {
    let step = outcome.deciding().map(|step| StepReport::new(worlds, step));
    let is_own = step
        .as_ref()
        .is_some_and(|step| step.name == policy.id.name && step.kind == policy.written_kind());
    let by = step.map_or_else(String::new, |step| {
        let tier = if step.tier.is_empty() { "" } else { " of tier " };
        let place = step.source.as_ref().map(|source| format!(", {source},"));
        let phrase = step.phrase();
        format!(
            "{} {phrase}{tier}{}{}",
            step.kind,
            step.tier,
            place.unwrap_or_default()
        )
    });
    let remedy = if is_own {
        "change that rule, which comes before what is learnt"
    } else {
        "learn with a lower --order or in an earlier --tier, allow it there"
    };
    LearnError::StillDenied {
        direction: observed.direction,
        flow: flow(worlds, observed),
        connections: observed.connections,
        by,
        more: match denied - 1 {
            0 => String::new(),
            1 => " (1 other flow is denied as well)".to_owned(),
            others => format!(" ({others} other flows are denied as well)"),
        },
        help: format!("{remedy}, or leave it out with --exclude {}", far(observed)),
    }
}

/// A connection in words.
fn flow(worlds: &Worlds, observed: &Observed) -> String {
    let packet = &observed.packet;
    let what = if packet.protocol.has_ports() {
        format!("{} {}", packet.protocol, packet.destination_port)
    } else {
        packet.protocol.to_string()
    };
    format!(
        "{what} from {} to {} ({} of {})",
        packet.source,
        packet.destination,
        observed.direction,
        worlds.endpoint(observed.endpoint)
    )
}

/// Reads the text as `check` would, with the tier it needs, and compares what it says with the policy that is meant.
///
/// # Errors
/// If it is not valid, such as for its name.
pub(super) fn reads_as(snapshot: &Snapshot, policy: &Policy, text: &str) -> Result<(), LearnError> {
    let mut files = Files::default();
    let mut ids = vec![files.add("the proposal", text)];
    let tier = snapshot
        .tiers
        .get(&policy.tier)
        .filter(|tier| tier.position.is_some());
    if let Some(tier) = tier {
        ids.push(files.add("its tier", print::tier(tier)));
    }
    let (read, diagnostics) = decode(&files, &ids);
    let Some(read) = read else {
        return Err(LearnError::Invalid(diagnostics.render(&files, false)));
    };
    let meant = print::policy(policy);
    let said: BTreeSet<String> = read.policies.iter().map(|policy| print::policy(policy)).collect();
    if said == BTreeSet::from([meant.clone()]) {
        Ok(())
    } else {
        Err(LearnError::Invalid(format!(
            "what is written is not what is meant, which is a bug; meant was:\n{meant}"
        )))
    }
}
