//! A policy proposed from what was observed.

use palisade_rules::analysis::learn::learn;
use time::OffsetDateTime;

use super::{Daemon, lock};
use crate::api::learn::{LearnAnswer, LearnRequest};
use crate::exit::Exit;
use crate::flows::learn::{observed, remarks};

impl Daemon {
    /// Proposes a policy from the connections that were seen.
    pub fn learn(&self, request: &LearnRequest) -> LearnAnswer {
        let generation = self.generation();
        // A copy, for the evaluation takes its time, and the reader of the NFLOG group must not wait for it.
        let kept = lock(&self.observations).kept().clone();
        let question = match request.question(remarks(kept.missing())) {
            Ok(question) => question,
            Err(error) => return LearnAnswer::refused(&error, Exit::Usage),
        };
        let since = request.since(OffsetDateTime::now_utc());
        let seen = kept
            .since(0)
            .filter(|(_, tally)| since.is_none_or(|since| tally.last_seen >= since));
        let seen = seen.filter_map(|(connection, tally)| {
            let owners = kept.owners(connection);
            let stands_for_others = kept.stands_for_others(connection);
            observed(&generation.worlds, connection, &tally, owners, stands_for_others)
        });
        let seen: Vec<_> = seen.collect();
        LearnAnswer::of(learn(&generation.snapshot, &generation.worlds, &question, &seen))
    }
}
