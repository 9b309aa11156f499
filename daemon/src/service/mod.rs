//! The running daemon: what it holds, and what it answers.
//!
//! [`run`] wires the tasks together; everything they share is in [`Daemon`].

mod answers;
mod boot;
mod changes;
mod foreign;
mod intervals;
mod learn;
mod questions;
mod rollout;
mod run;
mod safety_net;
mod systemd;
mod tallies;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use time::OffsetDateTime;
use tokio::sync::{Notify, broadcast};
use tracing::info;

pub use answers::{endpoint_rows, policy_rows};
pub use rollout::Asker;
pub use run::{RunError, run};
pub use tallies::{APPLY_SECONDS, Decider, Tallies};

use crate::api::types::{LastReload, ReloadReport};
use crate::apply::{Engine, Generation, Interfaces, Panic, ReloadError, RolledBack, Terms, Window};
use crate::config::FlowsConfig;
use crate::flows::arrivals::Arrival;
use crate::flows::batch::Noted;
use crate::flows::interval::{self, Reckoning};
use crate::flows::observations::{Observations, Wanted};
use crate::flows::observe::{Kept, Missing};
use crate::flows::owners::Owners;
use crate::flows::record::{FlowRecord, IntervalRecord};
use crate::flows::sinks::Sinks;
use crate::flows::tracks::Tracked;
use crate::kernel::conntrack::Entry;
use crate::live::Owner;
use crate::sandbox::{Needs, Sandbox};

/// Flow records that the API can show without reading the file.
const RECENT: usize = 4_096;

/// Flow records that one who follows may be behind before some are missed.
const FOLLOWED: usize = 1_024;

/// Why a change of the host is not in force.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The new generation could not be brought into force.
    #[error(transparent)]
    Apply(#[from] ReloadError),
    /// The task that tried panicked.
    #[error("a bug in palisaded: {0}")]
    Bug(#[from] tokio::task::JoinError),
}

/// What the tasks share. No lock is held across an await, and none while another is taken, but that of `known` inside
/// those of `engine` and `kept_for_boot`. The engine's may be held for as long as the kernel takes: the event loop never waits for it.
pub struct Daemon {
    started_at: OffsetDateTime,
    flows_config: FlowsConfig,
    panic: Panic,
    engine: Mutex<Engine>,
    known: Mutex<Known>,
    last_reload: Mutex<LastReload>,
    observations: Mutex<Observations>,
    owners: Option<Owners>,
    sandbox: Sandbox,
    flows: Mutex<Flows>,
    follow: broadcast::Sender<Arc<FlowRecord>>,
    sinks: Sinks,
    tallies: Mutex<Tallies>,
    foreign: Mutex<foreign::Noticed>,
    /// The generation that the next boot begins with, if this daemon has kept it.
    kept_for_boot: Mutex<Option<u64>>,
    /// Told of each change of the engine.
    to_keep: Notify,
    /// Told of each generation that comes into force.
    new_generation: Notify,
    /// Told when there is another unconfirmed generation, or none any more.
    new_window: Notify,
}

/// The engine's generations, for those who must not wait for it.
struct Known {
    current: Arc<Generation>,
    all: Vec<Arc<Generation>>,
    window: Option<Window>,
    rolled_back: Option<Arc<RolledBack>>,
}

struct Flows {
    recent: VecDeque<Arc<FlowRecord>>,
    reading: bool,
    /// First packets in records since the start.
    evaluated: u64,
}

impl Daemon {
    /// A daemon with its first generation in force.
    pub fn new(
        engine: Engine,
        generation: Arc<Generation>,
        kept: Kept,
        owners: Option<Owners>,
        sandbox: Sandbox,
        now: OffsetDateTime,
    ) -> Self {
        let config = engine.config();
        let sinks = Sinks::start(&config.flows.sinks, &config.node);
        let observations = Observations::new(config.flows.include_addresses, kept, now);
        Daemon {
            started_at: now,
            flows_config: config.flows.clone(),
            panic: Panic::new(&config.state_dir),
            known: Mutex::new(Known {
                all: vec![Arc::clone(&generation)],
                current: generation,
                window: None,
                rolled_back: engine.rolled_back(),
            }),
            engine: Mutex::new(engine),
            last_reload: Mutex::new(LastReload {
                at: now,
                ok: true,
                error: None,
            }),
            observations: Mutex::new(observations),
            owners,
            sandbox,
            flows: Mutex::new(Flows {
                recent: VecDeque::new(),
                reading: false,
                evaluated: 0,
            }),
            follow: broadcast::channel(FOLLOWED).0,
            sinks,
            tallies: Mutex::new(Tallies::default()),
            foreign: Mutex::default(),
            kept_for_boot: Mutex::default(),
            to_keep: Notify::new(),
            new_generation: Notify::new(),
            new_window: Notify::new(),
        }
    }

    /// The generation in force.
    pub fn generation(&self) -> Arc<Generation> {
        Arc::clone(&lock(&self.known).current)
    }

    /// The generation of that number, or the one in force where it is forgotten. Waits only for a generation that is
    /// just coming into force.
    pub fn generation_by_number(&self, number: u64) -> Arc<Generation> {
        let find = |known: &Known| {
            let mut all = known.all.iter();
            all.find(|generation| generation.number == number).cloned()
        };
        let (found, current) = {
            let known = lock(&self.known);
            (find(&known), Arc::clone(&known.current))
        };
        match found {
            Some(generation) => generation,
            // Its packets are faster than its publication, which is done when the engine is free.
            None if number > current.number => {
                drop(lock(&self.engine));
                find(&lock(&self.known)).unwrap_or(current)
            }
            None => current,
        }
    }

    /// Whether nothing is being done to the engine.
    pub fn is_idle(&self) -> bool {
        !matches!(self.engine.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Reads everything anew and brings it into force, or leaves everything as it is. Goes on to the end if the caller
    /// does not wait for it.
    pub async fn reload(self: &Arc<Self>, asker: Asker) -> ReloadReport {
        let daemon = Arc::clone(self);
        let reload = move |engine: &mut Engine, terms: &Terms<'_>| {
            let mut applied = engine.reload(terms)?;
            let needs = Needs::of(engine.config_path(), engine.config());
            if let Some(lacking) = daemon.sandbox.lacks(&needs) {
                applied.warnings.push_str(&format!("warning: {lacking}\n"));
            }
            Ok::<_, ReloadError>(applied)
        };
        self.bring(asker, reload).await
    }

    /// Follows the host's interfaces and addresses, and the cgroups of its services.
    pub async fn follow_host(self: &Arc<Self>, interfaces: Interfaces) -> Result<(), FollowError> {
        let daemon = Arc::clone(self);
        let follow = move || -> Result<(), ReloadError> {
            let started = Instant::now();
            let result = daemon.change(|engine| engine.follow(interfaces));
            // Most of what comes and goes on a host changes nothing: that is no application.
            if !matches!(result, Ok(None)) {
                lock(&daemon.tallies).applied(started.elapsed(), result.is_ok());
            }
            let applied = result?;
            // Most of what comes and goes on a host is nothing to its policies.
            if let Some(applied) = applied.filter(|applied| applied.changes > 0) {
                info!(
                    generation = applied.generation,
                    changes = applied.changes,
                    "interfaces, addresses or cgroups changed: generation {} is in force, {} changes in the kernel",
                    applied.generation,
                    applied.changes
                );
                systemd::show(&daemon.status());
            }
            Ok(())
        };
        Ok(tokio::task::spawn_blocking(follow).await??)
    }

    /// Changes the engine and publishes what came of it.
    fn change<T>(&self, change: impl FnOnce(&mut Engine) -> T) -> T {
        let mut engine = lock(&self.engine);
        let result = change(&mut engine);
        // Published before the engine is free: whoever waited for it finds the new generation.
        let all: Vec<_> = engine.generations().cloned().collect();
        if let Some(current) = all.last().cloned() {
            let number = current.number;
            let known = Known {
                current,
                all,
                window: engine.window(),
                rolled_back: engine.rolled_back(),
            };
            let window = known.window.clone();
            let before = std::mem::replace(&mut *lock(&self.known), known);
            if before.current.number != number {
                self.new_generation.notify_one();
            }
            if before.window != window {
                self.new_window.notify_one();
            }
        }
        self.to_keep.notify_one();
        // Nobody waits for the disk who only wants to know what is in force.
        engine.keep();
        result
    }

    /// Ends an interval: its records go to those who follow, and come back to be written.
    pub fn end_interval(&self, now: OffsetDateTime, counted: Reckoning) -> (Vec<Noted>, IntervalRecord) {
        let interval = lock(&self.observations).end_interval(now);
        let mut flows = lock(&self.flows);
        let (records, of_interval) = interval::records(&interval, now, counted, flows.evaluated);
        flows.evaluated = of_interval.evaluated_total;
        for noted in &records {
            // Nobody following is no error.
            let _ = self.follow.send(Arc::clone(&noted.record));
            flows.recent.push_back(Arc::clone(&noted.record));
        }
        let excess = flows.recent.len().saturating_sub(RECENT);
        flows.recent.drain(..excess);
        drop(flows);
        lock(&self.tallies).saw(&records);
        (records, of_interval)
    }

    /// Takes first packets, and asks who holds their sockets.
    pub fn arrived(&self, arrivals: Vec<Arrival>, unreadable: u64, now: OffsetDateTime) {
        let wanted = lock(&self.observations).arrived(arrivals, unreadable, now);
        if let Some(owners) = &self.owners {
            for wanted in wanted {
                owners.ask(wanted);
            }
        }
    }

    /// Notes who holds the sockets that were asked for.
    pub fn owned(&self, wanted: &[Wanted], owners: &[Option<Owner>], now: OffsetDateTime) {
        let mut observations = lock(&self.observations);
        for (wanted, owner) in wanted.iter().zip(owners) {
            observations.owned(wanted, owner.as_ref(), now);
        }
    }

    /// Notes connections that have ended, and how often some were lost.
    pub fn ended(&self, entries: &[Entry], lost: u64) {
        let mut observations = lock(&self.observations);
        observations.ends_lost(lost);
        for entry in entries {
            observations.ended(entry);
        }
    }

    /// What there is to look for in conntrack.
    pub fn tracked(&self) -> Tracked {
        lock(&self.observations).tracked()
    }

    /// Notes the connections that are alive.
    pub fn alive(&self, entries: &[Entry]) {
        lock(&self.observations).alive(entries);
    }

    /// Notes what could not be seen.
    pub fn missed(&self, missing: Missing) {
        lock(&self.observations).missed(missing);
    }

    /// Notes whether the NFLOG group is being read.
    pub fn set_reading(&self, reading: bool) {
        lock(&self.flows).reading = reading;
    }
}

/// A panic elsewhere must not take the answers down: what a lock guards is replaced whole or counted up.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
