//! Where records go: a file, the journal, standard output, a collector.
//!
//! Each sink has a thread and a bounded queue of its own. Whoever offers a batch never waits; a sink that is slow or
//! dead keeps nobody else waiting, and counts what it misses.

mod budget;
mod file;
mod journald;
mod otlp;
mod part;
mod queue;
mod rotate;
mod stdout;
mod stream;
mod words;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::{error, warn};

use self::file::FileSink;
use self::journald::JournaldSink;
use self::otlp::OtlpSink;
use self::part::{Counts, Part, Taste, is_idle};
use self::queue::{Offered, Queue};
use self::stdout::StdoutSink;
use super::batch::Batch;
use crate::config::SinksConfig;

/// How often a sink that fails is worth a line in the log, where each time something else is wrong.
const COMPLAIN: Duration = Duration::from_mins(1);

/// How often, where it is always the same.
const COMPLAIN_AGAIN: Duration = Duration::from_hours(1);

/// The sinks that the configuration asks for.
#[derive(Debug)]
pub struct Sinks {
    running: Vec<Running>,
    ended: Mutex<Receiver<()>>,
}

/// How a sink fares. What was offered is what was written, missed, suppressed and is queued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// `file`, `journald`, `stdout` or `otlp`.
    pub name: String,
    /// Where it writes to.
    pub target: String,
    /// Records that it was offered, of the kinds that it takes.
    pub offered: u64,
    /// Records that it has written.
    pub written: u64,
    /// Records that it has missed: it was too slow, it failed, or its budget was spent.
    pub missed: u64,
    /// Flow records that it left out, as `flows.records` says.
    pub suppressed: u64,
    /// Records that wait to be written.
    pub queued: u64,
    /// What went wrong last.
    pub last_error: Option<SinkError>,
}

/// What went wrong in a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkError {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What.
    pub message: String,
}

/// Something that records can be written to. It may take its time, and it may fail.
trait Sink: Send {
    /// Writes what it can of a part, the record of the interval last.
    fn write(&mut self, part: &Part<'_>) -> Outcome;

    /// Does what is better done when nobody waits for a record: at the start, and after each part.
    fn tidy(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// What came of writing a part.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Records of it that are not written, and will not be.
    missed: u64,
    /// What went wrong.
    error: Option<String>,
}

/// A sink, from the outside.
#[derive(Debug)]
struct Running {
    name: &'static str,
    target: String,
    taste: Taste,
    shared: Arc<Shared>,
}

/// What a sink's thread and the others share.
#[derive(Debug, Default)]
struct Shared {
    queue: Queue,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    offered: u64,
    written: u64,
    missed: u64,
    suppressed: u64,
    last_error: Option<SinkError>,
}

impl Sinks {
    /// Starts a thread for each sink. Nothing is opened yet: what cannot be is tried again with each batch. `node` is
    /// this host's name, for those who collect from many.
    pub fn start(config: &SinksConfig, node: &str) -> Self {
        let (alive, ended) = channel();
        let mut sinks = Sinks {
            running: Vec::new(),
            ended: Mutex::new(ended),
        };
        let flows = config.records;
        let everything = Taste {
            flows,
            rules: true,
            every_interval: true,
        };
        // Counters are for files and metrics: as journal entries they would only be noise between the flows.
        let journal = Taste {
            flows,
            rules: false,
            every_interval: false,
        };
        if let Some(path) = &config.file {
            let sink = FileSink::new(path.clone(), config.rotate, config.bytes_per_day);
            sinks.add("file", path.display().to_string(), everything, sink, &alive);
        }
        if config.journald {
            let sink = JournaldSink::new(journald::SOCKET.into());
            sinks.add("journald", journald::SOCKET.to_owned(), journal, sink, &alive);
        }
        if config.stdout {
            sinks.add("stdout", "-".to_owned(), everything, StdoutSink::new(), &alive);
        }
        if let Some(otlp) = &config.otlp {
            let sink = OtlpSink::new(otlp, node);
            sinks.add("otlp", otlp.endpoint.to_string(), everything, sink, &alive);
        }
        sinks
    }

    /// Hands a batch to every sink; what has no room is missed, and counted.
    pub fn offer(&self, batch: &Arc<Batch>) {
        if is_idle(batch) {
            return;
        }
        for sink in &self.running {
            sink.offer(batch);
        }
    }

    /// Writes what waits, for as long as that at most; what is left is missed.
    pub fn stop(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        for sink in &self.running {
            sink.shared.queue.end();
        }
        let ended = lock(&self.ended);
        // Nothing is ever sent: the channel closes with the last thread.
        while ended.recv_timeout(deadline.saturating_duration_since(Instant::now())) == Ok(()) {}
        drop(ended);
        for sink in &self.running {
            let left = sink
                .shared
                .give_up("palisaded was stopped before they were written");
            if left > 0 {
                warn!(
                    sink = sink.name,
                    "{left} records were not written to {}: it took more than {patience:?}", sink.target
                );
            }
        }
    }

    /// How each sink fares.
    pub fn status(&self) -> Vec<SinkStatus> {
        self.running.iter().map(Running::status).collect()
    }

    fn add(
        &mut self,
        name: &'static str,
        target: String,
        taste: Taste,
        sink: impl Sink + 'static,
        alive: &Sender<()>,
    ) {
        let shared = Arc::new(Shared::default());
        let worker = Worker {
            name,
            target: target.clone(),
            taste,
            shared: Arc::clone(&shared),
            complaint: None,
            _alive: alive.clone(),
        };
        let thread = thread::Builder::new().name(format!("sink-{name}"));
        if let Err(error) = thread.spawn(move || worker.run(sink)) {
            error!(sink = name, %error, "no thread for a sink: its records will be missing");
            shared.queue.end();
        }
        self.running.push(Running {
            name,
            target,
            taste,
            shared,
        });
    }
}

impl Running {
    fn offer(&self, batch: &Arc<Batch>) {
        let Counts { taken, suppressed } = self.taste.counts(batch);
        {
            let mut tally = lock(&self.shared.tally);
            tally.offered += taken + suppressed;
            tally.suppressed += suppressed;
        }
        if taken == 0 {
            return;
        }
        match self.shared.queue.offer(batch) {
            Offered::Taken => {}
            Offered::Full { waiting } => {
                let message = format!("it is too slow: {waiting} records wait already");
                lock(&self.shared.tally).miss(taken, Some(message));
            }
            // Why it has ended is said already.
            Offered::Ended => lock(&self.shared.tally).miss(taken, None),
        }
    }

    fn status(&self) -> SinkStatus {
        let tally = lock(&self.shared.tally);
        SinkStatus {
            name: self.name.to_owned(),
            target: self.target.clone(),
            offered: tally.offered,
            written: tally.written,
            missed: tally.missed,
            suppressed: tally.suppressed,
            queued: tally.queued(),
            last_error: tally.last_error.clone(),
        }
    }
}

impl Shared {
    /// Counts whatever is neither written nor missed as missed, and says how much it is.
    fn give_up(&self, why: &str) -> u64 {
        self.queue.abandon();
        let mut tally = lock(&self.tally);
        let left = tally.queued();
        if left > 0 {
            tally.miss(left, Some(why.to_owned()));
        }
        left
    }
}

impl Tally {
    fn queued(&self) -> u64 {
        self.offered - self.written - self.missed - self.suppressed
    }

    fn miss(&mut self, records: u64, error: Option<String>) {
        // Given up meanwhile, and counted then.
        self.missed += records.min(self.queued());
        if let Some(message) = error {
            self.last_error = Some(SinkError {
                at: OffsetDateTime::now_utc(),
                message,
            });
        }
    }
}

/// A sink's thread.
struct Worker {
    name: &'static str,
    target: String,
    taste: Taste,
    shared: Arc<Shared>,
    complaint: Option<(Instant, String)>,
    /// Closes with the thread.
    _alive: Sender<()>,
}

impl Worker {
    fn run(mut self, mut sink: impl Sink) {
        self.tidy(&mut sink);
        while let Some(batch) = self.shared.queue.next() {
            let missed = lock(&self.shared.tally).missed;
            let part = self.taste.part(&batch, missed);
            let outcome = sink.write(&part);
            let records = part.records();
            drop(part);
            drop(batch);
            {
                let mut tally = lock(&self.shared.tally);
                tally.written += (records - outcome.missed).min(tally.queued());
                tally.miss(outcome.missed, outcome.error.clone());
            }
            if let Some(error) = outcome.error {
                self.complain(&error, outcome.missed);
            }
            self.tidy(&mut sink);
        }
    }

    fn tidy(&mut self, sink: &mut impl Sink) {
        if let Err(error) = sink.tidy() {
            lock(&self.shared.tally).miss(0, Some(error.clone()));
            self.complain(&error, 0);
        }
    }

    /// What fails fails with every batch; it is worth a line now and then.
    fn complain(&mut self, error: &str, missed: u64) {
        if let Some((at, last)) = &self.complaint
            && at.elapsed() < if last == error { COMPLAIN_AGAIN } else { COMPLAIN }
        {
            return;
        }
        self.complaint = Some((Instant::now(), error.to_owned()));
        let target = &self.target;
        if missed > 0 {
            warn!(
                sink = self.name,
                "{missed} records could not be written to {target}: {error}"
            );
        } else {
            warn!(sink = self.name, "{target}: {error}");
        }
    }
}

/// A thread that ends in a bug must not leave others waiting for it.
impl Drop for Worker {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared
                .give_up("a bug in palisaded ended this sink; its panic is in the log");
        }
    }
}

/// A panic elsewhere must not take the sinks down: what a lock guards is counted up, and nothing else.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
