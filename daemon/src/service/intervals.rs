//! The end of an interval: what was seen and what was counted become records.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tracing::warn;

use super::Daemon;
use super::answers::Counting;
use crate::config::Config;
use crate::flows::batch::Batch;
use crate::flows::ends::Alive;
use crate::flows::evidence;
use crate::flows::interval::Reckoning;
use crate::flows::record::RuleRecord;

/// What one interval leaves for the next.
pub(super) struct Intervals {
    /// What deciding counters have counted, in this interval and since the daemon started.
    counted: u64,
    counted_total: u64,
    generation: u64,
    /// When the counters were last read for records.
    read_at: OffsetDateTime,
    alive: Option<Alive>,
    state_dir: PathBuf,
    saved: Instant,
    /// Whether something was seen since.
    unsaved: bool,
    complaint: Option<Instant>,
}

impl Intervals {
    /// What fails fails at every interval; it is worth a line this often.
    const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

    /// How much of what reports are made of a crash may lose.
    const SAVE_EVERY: Duration = Duration::from_mins(5);

    /// The first interval begins.
    pub(super) fn new(config: &Config) -> Self {
        Intervals {
            counted: 0,
            counted_total: 0,
            generation: 0,
            read_at: OffsetDateTime::now_utc(),
            alive: config.flows.accounting.then(Alive::default),
            state_dir: config.state_dir.clone(),
            saved: Instant::now(),
            unsaved: false,
            complaint: None,
        }
    }

    /// Flow records, a rule record for every counter that moved (after a change of generation for every counter), and
    /// the record of the interval.
    pub(super) fn end(&mut self, daemon: &Daemon) {
        if let Some(alive) = &mut self.alive {
            alive.look(daemon);
        }
        let end = OffsetDateTime::now_utc();
        self.counted = 0;
        let rules = match daemon.end_counting() {
            Ok(counting) => self.rule_records(&counting, end),
            Err(error) => {
                if self.may_complain() {
                    warn!(%error, "the counters could not be read");
                }
                Vec::new()
            }
        };
        let counted = Reckoning {
            generation: self.generation,
            counted: self.counted,
            counted_total: self.counted_total,
        };
        let (flows, interval) = daemon.end_interval(end, counted);
        self.unsaved |= !flows.is_empty();
        daemon.sinks.offer(&Arc::new(Batch {
            flows,
            rules,
            interval,
        }));
        if self.saved.elapsed() >= Self::SAVE_EVERY {
            self.save_evidence(daemon);
        }
    }

    /// Keeps what reports are made of on disk, if there is anything new.
    pub(super) fn save_evidence(&mut self, daemon: &Daemon) {
        self.saved = Instant::now();
        if !std::mem::take(&mut self.unsaved) {
            return;
        }
        if let Err(error) = evidence::save(&self.state_dir, &daemon.evidence()) {
            self.unsaved = true;
            warn!(%error, "what was seen is not on disk: a restart would forget it");
        }
    }

    fn may_complain(&mut self) -> bool {
        let may = self
            .complaint
            .is_none_or(|last| last.elapsed() > Self::COMPLAIN_EVERY);
        if may {
            self.complaint = Some(Instant::now());
        }
        may
    }

    fn rule_records(&mut self, counting: &Counting, end: OffsetDateTime) -> Vec<RuleRecord> {
        let generation = counting.generation.number;
        let all = std::mem::replace(&mut self.generation, generation) != generation;
        let mut records = Vec::new();
        for (counter, delta) in counting.rows(all) {
            if counter.is_deciding() {
                self.counted += delta.packets;
            }
            records.push(RuleRecord {
                start_time: self.read_at.min(end),
                end_time: end,
                counter,
                packets_delta: delta.packets,
                bytes_delta: delta.bytes,
            });
        }
        self.counted_total += self.counted;
        self.read_at = end;
        records
    }
}
