//! What one sink takes of a batch.

use std::sync::Arc;

use serde::Serialize;

use crate::config::Taken;
use crate::flows::batch::{Batch, Noted};
use crate::flows::record::{FlowRecord, IntervalRecord, RuleRecord};

/// What a sink takes of any batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taste {
    /// Which flow records.
    pub(super) flows: Taken,
    /// Whether rule records.
    pub(super) rules: bool,
    /// Whether the interval's record goes with nothing else to read, too.
    pub(super) every_interval: bool,
}

/// How much a sink takes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    /// Records that it takes.
    pub(super) taken: u64,
    /// Flow records that it does not.
    pub(super) suppressed: u64,
}

/// What a sink takes of a batch.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Rule records.
    pub(super) rules: &'a [RuleRecord],
    /// Flow records.
    pub(super) flows: Vec<&'a FlowRecord>,
    /// The record of the interval, with what this sink knows of it.
    interval: Option<IntervalRecord>,
}

/// A record, as a line says it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Line<'a> {
    /// As [`crate::flows::record::Record::Flow`].
    Flow(&'a FlowRecord),
    /// As [`crate::flows::record::Record::Rule`].
    Rule(&'a RuleRecord),
    /// As [`crate::flows::record::Record::Interval`].
    Interval(&'a IntervalRecord),
}

/// Whether a batch has nothing to say: an idle host writes nothing.
pub(super) fn is_idle(batch: &Batch) -> bool {
    let interval = &batch.interval;
    batch.flows.is_empty()
        && batch.rules.is_empty()
        && interval.evaluated == 0
        && interval.counted == 0
        && interval.log_status.complete
        && interval.log_status.ends_lost == 0
}

impl Taste {
    /// How much of a batch it takes.
    pub(super) fn counts(self, batch: &Batch) -> Counts {
        let flows = self.flows(batch).count();
        let rules = self.rules(batch).len();
        let interval = usize::from(self.takes_interval(batch, flows));
        Counts {
            taken: (flows + rules + interval) as u64,
            suppressed: (batch.flows.len() - flows) as u64,
        }
    }

    /// What it takes of a batch. `missed` is what the sink has missed so far.
    pub(super) fn part(self, batch: &Batch, missed: u64) -> Part<'_> {
        let flows: Vec<&FlowRecord> = self.flows(batch).map(Arc::as_ref).collect();
        let evaluated: u64 = flows.iter().map(|flow| flow.evaluated).sum();
        let all: u64 = batch.flows.iter().map(|noted| noted.record.evaluated).sum();
        let interval = self.takes_interval(batch, flows.len()).then(|| IntervalRecord {
            suppressed: (batch.flows.len() - flows.len()) as u64,
            suppressed_evaluated: all - evaluated,
            missed_total: missed,
            ..batch.interval.clone()
        });
        Part {
            rules: self.rules(batch),
            flows,
            interval,
        }
    }

    fn flows(self, batch: &Batch) -> impl Iterator<Item = &Arc<FlowRecord>> {
        let takes = move |noted: &&Noted| self.flows == Taken::All || noted.is_notable();
        batch.flows.iter().filter(takes).map(|noted| &noted.record)
    }

    fn rules(self, batch: &Batch) -> &[RuleRecord] {
        if self.rules { &batch.rules } else { &[] }
    }

    fn takes_interval(self, batch: &Batch, flows: usize) -> bool {
        self.every_interval || flows > 0 || !batch.interval.log_status.complete
    }
}

impl Part<'_> {
    /// How many records it has.
    pub(super) fn records(&self) -> u64 {
        (self.rules.len() + self.flows.len() + usize::from(self.interval.is_some())) as u64
    }

    /// The record of the interval, for a sink that misses so many records of this part as well.
    pub(super) fn interval(&self, missed: u64) -> Option<IntervalRecord> {
        let interval = self.interval.clone()?;
        Some(IntervalRecord {
            missed_total: interval.missed_total + missed,
            ..interval
        })
    }
}

/// Appends a record as a line of JSON.
pub(super) fn push_line(lines: &mut Vec<u8>, line: &Line<'_>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *lines, line)?;
    lines.push(b'\n');
    Ok(())
}
