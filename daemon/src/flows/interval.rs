//! The records of an interval.

use std::cmp::Ordering;
use std::sync::Arc;

use palisade_rules::evaluate::Verdict;
use palisade_rules::net::Direction;
use time::OffsetDateTime;

use super::aggregate::{Flow, FlowKey, Remainder};
use super::batch::Noted;
use super::observations::Interval;
use super::observe::Missing;
use super::record::{FlowRecord, IntervalRecord, LogStatus, SafetyNet};
use super::tracks::incoming;

/// What a remainder has for names and types: anything.
const ANYTHING: &str = "*";

/// What deciding counters have counted, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reckoning {
    /// The generation in force.
    pub generation: u64,
    /// First packets in the interval.
    pub counted: u64,
    /// First packets since the daemon started.
    pub counted_total: u64,
}

/// The flow records of an interval, those that are denied or would be first; and the record of all of it.
/// `evaluated_before` is how many first packets are in records of earlier intervals.
pub fn records(
    interval: &Interval,
    end: OffsetDateTime,
    reckoning: Reckoning,
    evaluated_before: u64,
) -> (Vec<Noted>, IntervalRecord) {
    let remainders = || interval.remainders.iter();
    let missing = Missing {
        folded: remainders().map(|remainder| remainder.flow.evaluated()).sum(),
        ..interval.missing
    };
    let log_status = LogStatus {
        complete: missing.is_nothing() && interval.ends.lost == 0,
        missing,
        accounting: interval.ends.accounting,
        ends_lost: interval.ends.lost,
        ends_unknown: interval.ends.unknown,
    };
    // A clock that was set back must not make an interval end before it begins.
    let times = [interval.start.min(end), end];
    let mut flows: Vec<&(FlowKey, Flow, bool)> = interval.flows.iter().collect();
    flows.sort_by(|(a, ..), (b, ..)| order(a, b));
    let mut noted: Vec<Noted> = flows
        .into_iter()
        .map(|(key, flow, first_sight)| Noted {
            record: Arc::new(record(key, flow, times, log_status)),
            first_sight: *first_sight,
        })
        .collect();
    let mut sorted: Vec<&Remainder> = remainders().collect();
    sorted.sort_by(|a, b| a.like.cmp(&b.like));
    noted.extend(sorted.into_iter().map(|remainder| Noted {
        record: Arc::new(folded(remainder, times, log_status)),
        first_sight: true,
    }));
    let evaluated = noted.iter().map(|noted| noted.record.evaluated).sum();
    let record = IntervalRecord {
        start_time: times[0],
        end_time: end,
        generation: reckoning.generation,
        flows: interval.flows.len() as u64,
        folded_flows: remainders().map(|remainder| remainder.flows).sum(),
        evaluated,
        sampled: interval.sampled,
        counted: reckoning.counted,
        evaluated_total: evaluated_before + evaluated,
        counted_total: reckoning.counted_total,
        suppressed: 0,
        suppressed_evaluated: 0,
        missed_total: 0,
        log_status,
    };
    (noted, record)
}

/// What is denied or would be first; and the same order in every interval, whatever order they came in.
fn order(a: &FlowKey, b: &FlowKey) -> Ordering {
    let of_port = |key: &FlowKey| (key.port, key.addresses);
    let judged = || {
        // Most are one and the same, and a trace is long.
        if Arc::ptr_eq(&a.judged, &b.judged) {
            Ordering::Equal
        } else {
            a.judged.cmp(&b.judged)
        }
    };
    b.judged
        .is_of_interest()
        .cmp(&a.judged.is_of_interest())
        .then_with(judged)
        .then_with(|| of_port(a).cmp(&of_port(b)))
}

fn record(
    key: &FlowKey,
    flow: &Flow,
    [start_time, end_time]: [OffsetDateTime; 2],
    log_status: LogStatus,
) -> FlowRecord {
    let judged = &key.judged;
    let said = &judged.attribution;
    let word = |verdict: Verdict| verdict.as_str().to_owned();
    let seen_at = match judged.direction {
        Direction::Ingress => "dst",
        Direction::Egress => "src",
    };
    let evaluated = flow.evaluated();
    let first = [evaluated, flow.first.map_or(0, |tally| tally.bytes)];
    // What was allowed is among what conntrack accounts, if it does; what was denied is not.
    let opened = flow.accounted[0];
    let opened = [opened.packets.max(first[0]), opened.bytes.max(first[1])];
    let answered = [flow.accounted[1].packets, flow.accounted[1].bytes];
    let mut ways = [opened, answered];
    ways.rotate_left(incoming(judged.direction));
    let [[packets_in, bytes_in], [packets_out, bytes_out]] = ways;
    let (source_owners, dest_owners) = match judged.direction {
        Direction::Ingress => (Vec::new(), flow.owners.clone()),
        Direction::Egress => (flow.owners.clone(), Vec::new()),
    };
    FlowRecord {
        start_time,
        end_time,
        reporter: if judged.forwarded { "fwd" } else { seen_at }.to_owned(),
        direction: judged.direction.as_str().to_owned(),
        action: word(said.action),
        pending_action: word(said.pending_action),
        safety_net: SafetyNet {
            caught: said.caught,
            action: word(said.action_without_net),
            pending_action: word(said.pending_without_net),
        },
        source_name: judged.source.name.clone(),
        source_namespace: judged.source.namespace.clone(),
        source_type: judged.source.kind.clone(),
        source_labels: Arc::clone(&judged.source.labels),
        source_ip: key.addresses.map(|(source, _)| source),
        dest_name: judged.destination.name.clone(),
        dest_namespace: judged.destination.namespace.clone(),
        dest_type: judged.destination.kind.clone(),
        dest_labels: Arc::clone(&judged.destination.labels),
        dest_ip: key.addresses.map(|(_, destination)| destination),
        dest_port: key.port,
        proto: judged.protocol.to_string(),
        source_owners,
        dest_owners,
        policies: Arc::clone(&said.policies),
        evaluated,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        connections_started: if said.action == Verdict::Allow && !judged.sampled {
            evaluated
        } else {
            0
        },
        connections_completed: flow.completed,
        connections_live: flow.live,
        completed_duration_ms: flow.completed_duration_ms,
        folded_flows: 0,
        sampled: judged.sampled,
        log_status,
    }
}

/// A remainder is a record whose names say nothing.
fn folded(remainder: &Remainder, times: [OffsetDateTime; 2], log_status: LogStatus) -> FlowRecord {
    let key = FlowKey {
        judged: Arc::clone(&remainder.like),
        port: 0,
        addresses: None,
    };
    FlowRecord {
        source_name: ANYTHING.to_owned(),
        source_namespace: None,
        source_type: ANYTHING.to_owned(),
        source_labels: Arc::default(),
        dest_name: ANYTHING.to_owned(),
        dest_namespace: None,
        dest_type: ANYTHING.to_owned(),
        dest_labels: Arc::default(),
        proto: ANYTHING.to_owned(),
        folded_flows: remainder.flows,
        ..record(&key, &remainder.flow, times, log_status)
    }
}
