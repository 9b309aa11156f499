//! A flow in a sentence, for those who read logs.

use palisade_rules::analysis::StepReport;

use crate::flows::record::{FlowRecord, IntervalRecord};
use crate::live::Owner;

/// What a flow is to somebody who is woken up, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// What is staged would deny it, and nothing denies it now; or so once the safety net is gone.
    WouldDeny,
    /// It is denied.
    Denied,
    /// It is allowed, and stays so.
    Allowed,
}

/// What a flow is worth.
pub(super) fn weight(flow: &FlowRecord) -> Weight {
    if flow.action == "deny" {
        Weight::Denied
    } else if flow.pending_action == "deny"
        || flow.safety_net.pending_action == "deny"
        || flow.safety_net.action == "deny"
    {
        Weight::WouldDeny
    } else {
        Weight::Allowed
    }
}

/// The step that decided a trace.
pub(super) fn decided(steps: &[StepReport]) -> Option<&StepReport> {
    steps.last()
}

/// The unit that held most of a flow's sockets.
pub(super) fn unit(owners: &[Owner]) -> Option<String> {
    owners.first()?.unit.clone()
}

/// The process that held most of a flow's sockets.
pub(super) fn comm(owners: &[Owner]) -> Option<String> {
    owners.first()?.comm.clone()
}

/// The flow, its verdict and who decided, in a sentence.
pub(super) fn flow(flow: &FlowRecord) -> String {
    let traces = &flow.policies;
    let (verdict, steps) = if flow.action == "deny" {
        ("denied", Some(&traces.enforced))
    } else if flow.pending_action == "deny" {
        ("would be denied", Some(&traces.pending))
    } else if flow.safety_net.action == "deny" {
        (
            "would be denied without the safety net",
            traces.enforced_without_safety_net.as_ref(),
        )
    } else if flow.safety_net.pending_action == "deny" {
        (
            "would be denied once promoted and without the safety net",
            traces.pending_without_safety_net.as_ref(),
        )
    } else {
        ("allowed", Some(&traces.enforced))
    };
    let step = steps.and_then(|steps| decided(steps));
    let because = step.map_or_else(String::new, |step| format!(" by {}", step.phrase()));
    let port = if flow.dest_port == 0 {
        String::new()
    } else {
        format!(" {}", flow.dest_port)
    };
    let many = if flow.folded_flows > 0 {
        format!(
            "{} connections of {} flows that were not kept apart",
            flow.evaluated, flow.folded_flows
        )
    } else if flow.evaluated == 1 {
        "1 connection".to_owned()
    } else {
        format!("{} connections", flow.evaluated)
    };
    format!(
        "{verdict}: {} to {} {}{port}, {}, {many}{because}",
        name(flow.source_namespace.as_ref(), &flow.source_name),
        name(flow.dest_namespace.as_ref(), &flow.dest_name),
        flow.proto,
        flow.direction,
    )
}

/// An interval in a sentence.
pub(super) fn interval(interval: &IntervalRecord) -> String {
    let status = &interval.log_status;
    let missing = &status.missing;
    let complete = if status.complete {
        "complete".to_owned()
    } else {
        format!(
            "incomplete: {} lost, {} unreadable, {} not kept apart",
            missing.lost, missing.unreadable, missing.folded
        )
    };
    format!(
        "{} connections in {} flows, {complete}; {} of the records left out as not notable, {} missed since the start",
        interval.evaluated, interval.flows, interval.suppressed, interval.missed_total
    )
}

fn name(namespace: Option<&String>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}
