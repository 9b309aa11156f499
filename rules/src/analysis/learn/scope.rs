//! Which observations the policy is about, and which of them need a rule.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::few;
use super::frame::Frame;
use super::nets::is_writable;
use super::proof::{bare, decide, with};
use super::{LearnError, Observed, Question};
use crate::analysis::StepReport;
use crate::evaluate::{Outcome, Part, StepBy, Verdict};
use crate::net::{Direction, Protocol};
use crate::resource::{Action, PolicyStage};
use crate::snapshot::Snapshot;
use crate::world::{EndpointId, PolicyRef, Stage, WorldKind, Worlds};

/// What becomes of the observations.
#[derive(Default)]
pub(super) struct Scope<'o> {
    /// Those that a rule is needed for.
    pub(super) needs: Vec<&'o Observed>,
    /// All that must not be denied: these, and those that something else allows.
    pub(super) replayed: Vec<&'o Observed>,
    /// Those that something else allows, by what that is.
    pub(super) allowed_by: BTreeMap<String, Count>,
    /// Those that are left out, by the reason.
    pub(super) left_out: BTreeMap<String, Count>,
    /// Those that another policy would deny, by what that is: the proposal speaks before it.
    pub(super) overrules: BTreeMap<String, Count>,
    /// Local endpoints that the policy selects for want of labels, though they were not asked for.
    siblings: Vec<EndpointId>,
    /// Endpoints elsewhere that the policy selects.
    elsewhere: Vec<EndpointId>,
    /// Where it governs though nothing was observed.
    blind: BTreeMap<Direction, Vec<EndpointId>>,
}

/// How many observations, and connections in them.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    observations: usize,
    connections: u64,
}

impl Count {
    fn add(&mut self, observed: &Observed) {
        self.observations += 1;
        self.connections += observed.connections;
    }

    /// `3 flows (12 connections)`.
    pub(super) fn phrase(self) -> String {
        let s = |one: bool| if one { "" } else { "s" };
        format!(
            "{} flow{} ({} connection{})",
            self.observations,
            s(self.observations == 1),
            self.connections,
            s(self.connections == 1)
        )
    }
}

/// Sorts the observations, and settles the directions that the policy governs.
pub(super) fn scope<'o>(
    snapshot: &Snapshot,
    worlds: &Worlds,
    question: &Question,
    frame: &mut Frame,
    observed: &'o [Observed],
) -> Result<Scope<'o>, LearnError> {
    let mut scope = Scope {
        siblings: frame.siblings.clone(),
        elsewhere: frame.elsewhere.clone(),
        ..Scope::default()
    };
    let own = observed
        .iter()
        .filter(|observed| frame.subjects.contains(&observed.endpoint));
    let mut taken = Vec::new();
    for observed in own {
        match reason_to_leave_out(worlds, question, frame, observed) {
            Some(reason) => scope.left_out.entry(reason).or_default().add(observed),
            None => taken.push(observed),
        }
    }
    let framed = with(snapshot, worlds, &frame.policy);
    let judged: Vec<(&Observed, Outcome)> = taken
        .into_iter()
        .map(|observed| (observed, bare(decide(&framed, WorldKind::Pending, observed))))
        .collect();
    // Failsafes are no reason to govern a direction: neighbour discovery is in both on every host.
    let telling = judged.iter().filter(|(_, outcome)| !is_failsafe(outcome));
    let told: BTreeSet<(Direction, EndpointId)> = telling
        .map(|(observed, _)| (observed.direction, observed.endpoint))
        .collect();
    let directions: BTreeSet<Direction> = told.iter().map(|(direction, _)| *direction).collect();
    if frame.types_as_observed && !directions.is_empty() {
        frame.policy.types.ingress &= directions.contains(&Direction::Ingress);
        frame.policy.types.egress &= directions.contains(&Direction::Egress);
    }
    let is_governed = |observed: &Observed| frame.policy.governs(observed.direction);
    for (observed, outcome) in judged.iter().filter(|(observed, _)| is_governed(observed)) {
        scope.replayed.push(observed);
        if let Some(by) = allowed_by(&framed, frame, outcome) {
            scope.allowed_by.entry(by).or_default().add(observed);
            continue;
        }
        scope.needs.push(observed);
        if let Some(by) = denied_by(worlds, frame, observed) {
            scope.overrules.entry(by).or_default().add(observed);
        }
    }
    if directions.is_empty() {
        return Err(scope.nothing(worlds, frame));
    }
    let governed = Direction::BOTH
        .into_iter()
        .filter(|&direction| frame.policy.governs(direction));
    for direction in governed {
        let untold = frame.subjects.iter().copied();
        let untold: Vec<EndpointId> = untold.filter(|&id| !told.contains(&(direction, id))).collect();
        if !untold.is_empty() {
            scope.blind.insert(direction, untold);
        }
    }
    Ok(scope)
}

fn reason_to_leave_out(
    worlds: &Worlds,
    question: &Question,
    frame: &Frame,
    observed: &Observed,
) -> Option<String> {
    let far = far(observed);
    if !frame.policy.governs(observed.direction) {
        return Some(format!(
            "of {}, which the policy does not govern",
            observed.direction
        ));
    }
    let forward = matches!(
        frame.policy.stage,
        PolicyStage::Normal {
            apply_on_forward: true
        }
    );
    if observed.part.last() == Stage::Forward && !forward {
        return Some(
            "that only went through the host, which --forward learns (applyOnForward: true)".to_owned(),
        );
    }
    if question.exclude.iter().any(|net| net.contains(&far)) {
        return Some("with a far end that --exclude names".to_owned());
    }
    let packet = &observed.packet;
    if packet.protocol.has_ports() && packet.destination_port == 0 {
        return Some("to port 0, which no rule can name".to_owned());
    }
    let is_icmp = matches!(packet.protocol, Protocol::ICMP | Protocol::ICMPV6);
    if is_icmp && packet.protocol != Protocol::icmp_of(packet.family()) {
        return Some("of the other family's ICMP, which no rule can name without its own".to_owned());
    }
    if ![packet.source, packet.destination].into_iter().all(is_writable) {
        return Some("with an IPv4 address in IPv6 form, which no rule can name".to_owned());
    }
    let denied = decide(worlds, WorldKind::Enforced, observed).outcome.verdict == Verdict::Deny;
    (denied && !question.include_denied)
        .then(|| "that are denied now, which --include-denied would learn".to_owned())
}

/// An end of a connection, seen from the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer's.
    Far,
    /// The other end of what goes through the host; the endpoint's own needs no condition.
    Near,
}

impl End {
    pub(super) const BOTH: [End; 2] = [End::Far, End::Near];

    /// The address at this end, where a rule must say it.
    pub(super) fn address(self, observed: &Observed) -> Option<std::net::IpAddr> {
        match self {
            End::Far => Some(far(observed)),
            End::Near => near(observed),
        }
    }

    /// `from` where packets come from this end, `to` where they go to it.
    pub(super) fn word(self, direction: Direction) -> &'static str {
        if (self == End::Far) == (direction == Direction::Ingress) {
            "from"
        } else {
            "to"
        }
    }
}

/// The far end's address.
pub(super) fn far(observed: &Observed) -> std::net::IpAddr {
    match observed.direction {
        Direction::Ingress => observed.packet.source,
        Direction::Egress => observed.packet.destination,
    }
}

/// The near end's address, where the endpoint's policies do not say by themselves whose it is.
pub(super) fn near(observed: &Observed) -> Option<std::net::IpAddr> {
    (observed.part == Part::Through).then_some(match observed.direction {
        Direction::Ingress => observed.packet.destination,
        Direction::Egress => observed.packet.source,
    })
}

fn is_failsafe(outcome: &Outcome) -> bool {
    let by = outcome.deciding().map(|step| &step.by);
    matches!(by, Some(StepBy::Failsafe(_)))
}

/// What allows it in the pending world before anything is learnt, if that is asked before the end of the policy's tier:
/// then it goes on doing so.
fn allowed_by(framed: &Worlds, frame: &Frame, outcome: &Outcome) -> Option<String> {
    let step = outcome.deciding().filter(|step| step.action == Action::Allow)?;
    let place = |tier: &str| framed.pending.tiers.iter().position(|other| other.name == tier);
    let is_kept = match &step.by {
        StepBy::Failsafe(_) => true,
        StepBy::Rule { policy, .. } => {
            step.stage.is_early() || place(&policy.tier) <= place(&frame.policy.tier)
        }
        _ => false,
    };
    is_kept.then(|| StepReport::new(framed, step).phrase())
}

/// The rule of another policy that denies it in the pending world as it is.
fn denied_by(worlds: &Worlds, frame: &Frame, observed: &Observed) -> Option<String> {
    let outcome = bare(decide(worlds, WorldKind::Pending, observed));
    let step = outcome.deciding().filter(|step| step.action == Action::Deny)?;
    let own = &frame.policy;
    let is_own = |policy: &PolicyRef| {
        policy.kind == own.written_kind()
            && policy.namespace == own.id.namespace
            && policy.name == own.id.name
    };
    match &step.by {
        StepBy::Rule { policy, .. } if !is_own(policy) => Some(StepReport::new(worlds, step).phrase()),
        _ => None,
    }
}

impl Scope<'_> {
    fn nothing(&self, worlds: &Worlds, frame: &Frame) -> LearnError {
        let at = frame.subjects.iter().map(|&id| worlds.endpoint(id).to_string());
        let allowed = self.allowed_by.iter();
        let allowed = allowed.map(|(by, count)| format!("{} that {by} allows", count.phrase()));
        let left_out = self.left_out.iter();
        let left_out = left_out.map(|(reason, count)| format!("{} {reason}", count.phrase()));
        LearnError::NothingObserved {
            at: at.collect(),
            left_out: allowed.chain(left_out).collect(),
        }
    }

    /// What to think about.
    pub(super) fn warnings(&self, worlds: &Worlds) -> Vec<String> {
        let mut warnings = Vec::new();
        let names = |ids: &[EndpointId]| {
            let names: Vec<String> = ids.iter().map(|&id| worlds.endpoint(id).to_string()).collect();
            few(&names)
        };
        for (direction, at) in &self.blind {
            warnings.push(format!(
                "beyond failsafes and what is left out no {direction} was observed at {}, and the policy governs it: what neither its rules nor other policies \
                 allow is denied there",
                names(at)
            ));
        }
        if !self.siblings.is_empty() {
            warnings.push(format!(
                "labels cannot tell the endpoint that was asked for from others of this host, and the policy is for them as well: {}",
                names(&self.siblings)
            ));
        }
        if !self.elsewhere.is_empty() {
            warnings.push(format!(
                "it also selects endpoints of other hosts, of which nothing is observed here: {}",
                names(&self.elsewhere)
            ));
        }
        for (by, count) in &self.overrules {
            warnings.push(format!(
                "it speaks before {by}, which would deny {}",
                count.phrase()
            ));
        }
        warnings
    }
}
