//! What waits for a sink: bounded by the records that are held, not by how many batches they come in.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::flows::batch::Batch;

/// Records that may wait for one sink.
pub(super) const CAPACITY: usize = 16_384;

/// A queue of batches between the pipeline, which never waits, and one sink, which may.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Arc<Batch>>,
    records: usize,
    ended: bool,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It waits.
    Taken,
    /// There was no room: so many records wait already.
    Full { waiting: usize },
    /// Nobody takes any more.
    Ended,
}

impl Queue {
    /// Adds a batch if there is room. An empty queue has room for any batch: one that is larger than the queue would never
    /// be written otherwise.
    pub(super) fn offer(&self, batch: &Arc<Batch>) -> Offered {
        let mut waiting = self.lock();
        let records = weight(batch);
        if waiting.ended {
            return Offered::Ended;
        }
        if !waiting.batches.is_empty() && waiting.records + records > CAPACITY {
            return Offered::Full {
                waiting: waiting.records,
            };
        }
        waiting.batches.push_back(Arc::clone(batch));
        waiting.records += records;
        drop(waiting);
        self.changed.notify_one();
        Offered::Taken
    }

    /// Waits for the next batch; `None` when none will come any more.
    pub(super) fn next(&self) -> Option<Arc<Batch>> {
        let mut waiting = self
            .changed
            .wait_while(self.lock(), |waiting| {
                waiting.batches.is_empty() && !waiting.ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        let batch = waiting.batches.pop_front()?;
        waiting.records -= weight(&batch);
        Some(batch)
    }

    /// Takes nothing more: what waits is still handed out.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Takes nothing more, and forgets what waits.
    pub(super) fn abandon(&self) {
        let mut waiting = self.lock();
        *waiting = Waiting {
            ended: true,
            ..Waiting::default()
        };
        drop(waiting);
        self.changed.notify_all();
    }

    /// What a panic elsewhere has left is whole: it is changed in one place at a time.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All records count, those too that the sink will not take: they are held as well.
fn weight(batch: &Batch) -> usize {
    batch.flows.len() + batch.rules.len() + 1
}
