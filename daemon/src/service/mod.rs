//! The running daemon: what it holds, and what it answers.
//!
//! [`run`] wires the tasks together; everything they share is in [`Daemon`].

mod answers;
mod run;
mod systemd;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use tokio::sync::broadcast;
use tracing::{error, info, warn};

pub use answers::{endpoint_rows, policy_rows};
pub use run::{RunError, run};

use crate::api::types::{LastReload, ReloadReport};
use crate::apply::{Engine, Generation, ReloadError};
use crate::exit::Exit;
use crate::flows::observe::{Missing, Observations};
use crate::flows::record::FlowRecord;

/// Flow records that the API can show without reading the file.
const RECENT: usize = 4_096;

/// What the tasks share. No lock is held across an await, and none while another is taken.
pub struct Daemon {
    started_at: OffsetDateTime,
    engine: Mutex<Engine>,
    generation: Mutex<Arc<Generation>>,
    last_reload: Mutex<LastReload>,
    observations: Mutex<Observations>,
    flows: Mutex<Flows>,
    follow: broadcast::Sender<Arc<FlowRecord>>,
}

struct Flows {
    recent: VecDeque<Arc<FlowRecord>>,
    reading: bool,
    not_written: u64,
}

impl Daemon {
    /// A daemon with its first generation in force.
    pub fn new(engine: Engine, generation: Arc<Generation>, now: OffsetDateTime) -> Self {
        Daemon {
            started_at: now,
            engine: Mutex::new(engine),
            generation: Mutex::new(generation),
            last_reload: Mutex::new(LastReload {
                at: now,
                ok: true,
                error: None,
            }),
            observations: Mutex::new(Observations::new(now)),
            flows: Mutex::new(Flows {
                recent: VecDeque::new(),
                reading: false,
                not_written: 0,
            }),
            follow: broadcast::channel(1_024).0,
        }
    }

    /// The generation in force.
    pub fn generation(&self) -> Arc<Generation> {
        Arc::clone(&lock(&self.generation))
    }

    /// The generation of that number, or the one in force where it is forgotten.
    pub fn generation_by_number(&self, number: u64) -> Arc<Generation> {
        let current = self.generation();
        if current.number == number {
            return current;
        }
        lock(&self.engine).generation(number).unwrap_or(current)
    }

    /// Reads everything anew and brings it into force, or leaves everything as it is.
    pub async fn reload(self: &Arc<Self>) -> ReloadReport {
        self.change(Engine::reload).await
    }

    /// Follows the host's interfaces and addresses.
    pub async fn follow_interfaces(self: &Arc<Self>, interfaces: crate::apply::Interfaces) {
        if lock(&self.engine).sees(&interfaces) {
            return;
        }
        info!("interfaces or addresses changed");
        self.change(move |engine| engine.follow(interfaces)).await;
    }

    /// Runs a change of the engine away from the event loop, for the kernel may take its time, and publishes what came
    /// of it.
    async fn change(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Engine) -> Result<crate::apply::Applied, ReloadError> + Send + 'static,
    ) -> ReloadReport {
        let daemon = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let mut engine = lock(&daemon.engine);
            let result = change(&mut engine);
            let current = engine.current().cloned();
            drop(engine);
            if let Some(current) = current {
                *lock(&daemon.generation) = current;
            }
            let report = daemon.report(result);
            systemd::show(&daemon.status());
            report
        });
        match task.await {
            Ok(report) => report,
            Err(panic) => {
                error!(%panic, "the reload ended in a bug; the previous generation is in force");
                ReloadReport {
                    ok: false,
                    generation: self.generation().number,
                    changes: 0,
                    warnings: String::new(),
                    error: Some(format!("a bug in palisaded: {panic}")),
                    exit: Exit::ApplyFailed as u8,
                }
            }
        }
    }

    fn report(&self, result: Result<crate::apply::Applied, ReloadError>) -> ReloadReport {
        let at = OffsetDateTime::now_utc();
        match result {
            Ok(applied) => {
                info!(
                    generation = applied.generation,
                    changes = applied.changes,
                    "generation {} is in force: {} changes in the kernel",
                    applied.generation,
                    applied.changes
                );
                if !applied.warnings.is_empty() {
                    warn!("{}", applied.warnings.trim_end());
                }
                *lock(&self.last_reload) = LastReload {
                    at,
                    ok: true,
                    error: None,
                };
                ReloadReport {
                    ok: true,
                    generation: applied.generation,
                    changes: applied.changes,
                    warnings: applied.warnings,
                    error: None,
                    exit: Exit::Fine as u8,
                }
            }
            Err(error) => {
                let generation = self.generation().number;
                let text = error.to_string();
                error!(
                    "reload refused, generation {generation} stays in force:\n{}",
                    text.trim_end()
                );
                *lock(&self.last_reload) = LastReload {
                    at,
                    ok: false,
                    error: Some(text.clone()),
                };
                ReloadReport {
                    ok: false,
                    generation,
                    changes: 0,
                    warnings: String::new(),
                    error: Some(text),
                    exit: error.exit() as u8,
                }
            }
        }
    }

    /// Ends an interval: its flow records go to those who follow, and come back to be written.
    pub fn end_interval(&self, now: OffsetDateTime) -> Vec<Arc<FlowRecord>> {
        let interval = lock(&self.observations).end_interval(now);
        let include_addresses = lock(&self.engine).config().flows.include_addresses;
        let records = crate::flows::record::flow_records(&interval, now, include_addresses, |number| {
            Some(self.generation_by_number(number))
        });
        let records: Vec<Arc<FlowRecord>> = records.into_iter().map(Arc::new).collect();
        let mut flows = lock(&self.flows);
        for record in &records {
            // Nobody following is no error.
            let _ = self.follow.send(Arc::clone(record));
            flows.recent.push_back(Arc::clone(record));
        }
        let excess = flows.recent.len().saturating_sub(RECENT);
        flows.recent.drain(..excess);
        records
    }

    /// Counts the first packet of a connection.
    pub fn saw(&self, generation: u64, connection: crate::flows::observe::Connection, bytes: u64) {
        let source_ports = self.generation().looks_at_source_ports;
        lock(&self.observations).saw(
            generation,
            connection,
            source_ports,
            bytes,
            OffsetDateTime::now_utc(),
        );
    }

    /// Notes what could not be seen.
    pub fn missed(&self, missing: Missing) {
        lock(&self.observations).missed(missing);
    }

    /// Notes whether the NFLOG group is being read.
    pub fn set_reading(&self, reading: bool) {
        lock(&self.flows).reading = reading;
    }

    /// Notes records that could not be written.
    pub fn not_written(&self, records: u64) {
        lock(&self.flows).not_written += records;
    }
}

/// A panic elsewhere must not take the answers down: what a lock guards is replaced whole or counted up.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
