//! What an interval leaves: everything that a sink may write of it.

use std::sync::Arc;

use super::record::{FlowRecord, IntervalRecord, RuleRecord};

/// The records of one interval. Each sink takes of it what it is asked to.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its flows, and the remainders of those that were not kept apart.
    pub flows: Vec<Noted>,
    /// The counters that moved, and all of them after a change of generation.
    pub rules: Vec<RuleRecord>,
    /// How all of it fits together. What only a sink can know is 0 here: `suppressed`, `suppressed_evaluated`,
    /// `missed_total`.
    pub interval: IntervalRecord,
}

/// A flow record, and what it is worth to those who do not want all of them.
#[derive(Clone, Debug)]
pub struct Noted {
    /// The record.
    pub record: Arc<FlowRecord>,
    /// Whether nothing like it was seen before: with these ends, this port and these verdicts.
    pub first_sight: bool,
}

impl Noted {
    /// Whether somebody who wants to know of trouble wants this one: it is denied, it would be, or it is new.
    pub fn is_notable(&self) -> bool {
        let record = &self.record;
        let verdicts = [
            &record.action,
            &record.pending_action,
            &record.safety_net.action,
            &record.safety_net.pending_action,
        ];
        self.first_sight || verdicts.into_iter().any(|verdict| verdict == "deny")
    }
}
