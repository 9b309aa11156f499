//! The event loop: signals, interfaces, packets, intervals, the API and the watchdog.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palisade_nft::{CounterValue, Nft};
use sd_notify::NotifyState;
use time::OffsetDateTime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use super::{Daemon, changes, lock, systemd};
use crate::api::server;
use crate::apply::{Engine, ReloadError};
use crate::config::{Config, ConfigError};
use crate::exit::Exit;
use crate::flows::reader;
use crate::flows::record::{CounterRow, Record, RuleRecord};
use crate::flows::sink::FileSink;
use crate::kernel::KernelError;
use crate::kernel::cgroups::Cgroups;
use crate::kernel::links::{Links, LinksError};

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// nf_tables cannot be used.
    #[error(transparent)]
    Open(#[from] KernelError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The first generation could not be brought into force.
    #[error("{0}")]
    Start(#[from] ReloadError),
    /// The interfaces cannot be read.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// The socket cannot be served.
    #[error(transparent)]
    Listen(#[from] server::ListenError),
    /// The event loop broke.
    #[error("the event loop broke: {0}")]
    Loop(#[from] std::io::Error),
}

impl RunError {
    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            RunError::Open(error) if error.is_privilege() => Exit::NoPrivilege,
            RunError::Config(_) => Exit::Invalid,
            RunError::Start(error) => error.exit(),
            RunError::Open(_) | RunError::Links(_) | RunError::Listen(_) | RunError::Loop(_) => {
                Exit::ApplyFailed
            }
        }
    }
}

/// How long the engine may be busy before the daemon counts as hung: the kernel answers or is given up within half a
/// minute, but a policy directory on a network mount may never answer.
const HUNG: Duration = Duration::from_mins(2);

/// How long to wait before a change of the host is followed again after a failure: at first, and at most.
const FOLLOW_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// Runs until SIGTERM or SIGINT; the rules stay in force.
pub async fn run(config_path: PathBuf) -> Result<(), RunError> {
    // Caught from the first moment on, so that none of them ends the daemon by default.
    let hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let nft = Nft::open().map_err(KernelError::from)?;
    let config = Config::load(&config_path)?;
    let mut links = Links::open()?;
    let listener = server::listen(&config.socket).await?;
    let cgroups = Cgroups::new();
    let mut engine = Engine::start(config_path, config.clone(), nft, Arc::clone(&cgroups))?;
    // What was counted before this daemon: no part of its first interval.
    let counted = engine.counters()?;
    engine.set_interfaces(links.read().await?);
    let applied = engine.reload()?;
    let generation = engine.current().cloned().ok_or_else(|| {
        RunError::Loop(std::io::Error::other(
            "a reload that succeeded left no generation: a bug",
        ))
    })?;
    if !applied.warnings.is_empty() {
        warn!("{}", applied.warnings.trim_end());
    }
    let daemon = Arc::new(Daemon::new(engine, generation, OffsetDateTime::now_utc()));
    let api = tokio::spawn(server::serve(listener, Arc::clone(&daemon)));
    tokio::spawn(follow_host(links, cgroups, Arc::clone(&daemon)));
    tokio::spawn(reload_on_hangup(hangup, Arc::clone(&daemon)));
    tokio::spawn(feed_watchdog(Arc::clone(&daemon)));
    tokio::spawn(changes::sweep_each_generation(Arc::clone(&daemon)));
    reader::start(Arc::clone(&daemon), config.flows.nflog_group);
    let status = daemon.status();
    if status.panic {
        warn!("`palisade panic` is in force: nothing is filtered until `palisade resume`");
    } else {
        info!(
            generation = applied.generation,
            changes = applied.changes,
            "generation {} is in force for node {}: {} changes in the kernel",
            applied.generation,
            config.node,
            applied.changes
        );
    }
    systemd::show(&status);
    systemd::tell(&[NotifyState::Ready]);

    let records = Records::new(FileSink::new(config.flows.file.clone()), &counted);
    let records = Arc::new(Mutex::new(records));
    let mut ticks = interval(config.flows.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = ticks.tick() => write_interval(&records, &daemon).await,
        }
    }
    systemd::tell(&[NotifyState::Stopping]);
    api.abort();
    // The kernel collects copies before it hands them over: the last ones are still to come.
    sleep(reader::COLLECTED_WITHIN).await;
    write_interval(&records, &daemon).await;
    let socket = std::fs::remove_file(&config.socket);
    if let Err(error) = socket {
        warn!(%error, "the socket could not be removed");
    }
    info!("stopped; the rules stay in force (`palisade panic` removes them)");
    Ok(())
}

/// Reloads on SIGHUP, one after the other; signals that come during a reload make one more.
async fn reload_on_hangup(mut hangup: Signal, daemon: Arc<Daemon>) {
    while hangup.recv().await.is_some() {
        systemd::tell_reloading();
        daemon.reload().await;
        systemd::tell(&[NotifyState::Ready]);
    }
}

/// Feeds systemd's watchdog, if there is one, while the event loop runs and the engine does not hang.
async fn feed_watchdog(daemon: Arc<Daemon>) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut pulse = interval(limit / 3);
    let mut idle = Instant::now();
    loop {
        pulse.tick().await;
        if daemon.is_idle() {
            idle = Instant::now();
        }
        if idle.elapsed() < HUNG {
            systemd::tell(&[NotifyState::Watchdog]);
        }
    }
}

/// Follows the host's interfaces and addresses, and the cgroups of its services, until the process ends.
async fn follow_host(mut links: Links, cgroups: Arc<Cgroups>, daemon: Arc<Daemon>) {
    let [first, most] = FOLLOW_AGAIN;
    loop {
        tokio::select! {
            () = links.changed() => {}
            () = cgroups.changed() => {}
        }
        let mut again = first;
        while let Err(error) = follow(&mut links, &daemon).await {
            warn!(%error, "interfaces, addresses or cgroups have changed, and the rules do not follow yet; trying again in {again:?}");
            sleep(again).await;
            again = most.min(again * 2);
        }
    }
}

async fn follow(links: &mut Links, daemon: &Arc<Daemon>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let interfaces = links.read().await?;
    daemon.follow_host(interfaces).await?;
    Ok(())
}

/// Writes an interval's records away from the event loop, for neither the kernel nor the disk need answer at once.
async fn write_interval(records: &Arc<Mutex<Records>>, daemon: &Arc<Daemon>) {
    let (records, daemon) = (Arc::clone(records), Arc::clone(daemon));
    let written = tokio::task::spawn_blocking(move || lock(&records).write_interval(&daemon));
    if let Err(panic) = written.await {
        error!("writing the records of an interval ended in a bug: {panic}");
    }
}

/// Writes records once an interval.
struct Records {
    sink: FileSink,
    written: BTreeMap<String, (u64, u64)>,
    generation: u64,
    interval_start: OffsetDateTime,
    complaint: Option<Instant>,
}

impl Records {
    /// What fails fails at every interval; it is worth a line this often.
    const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

    fn new(sink: FileSink, counted: &BTreeMap<String, CounterValue>) -> Self {
        let written = counted
            .iter()
            .map(|(name, value)| (name.clone(), (value.packets, value.bytes)));
        Records {
            sink,
            written: written.collect(),
            generation: 0,
            interval_start: OffsetDateTime::now_utc(),
            complaint: None,
        }
    }

    /// Flow records, and a rule record for every counter that moved; after a change of generation for every counter.
    fn write_interval(&mut self, daemon: &Daemon) {
        let end = OffsetDateTime::now_utc();
        let (counters, flows) = (daemon.counters(), daemon.end_interval(end));
        let mut records = match counters {
            Ok(rows) => self.rule_records(rows, daemon.generation().number, end),
            Err(error) => {
                if self.may_complain() {
                    warn!(%error, "the counters could not be read");
                }
                Vec::new()
            }
        };
        records.extend(
            flows
                .iter()
                .map(|flow| Record::Flow(Box::new(flow.as_ref().clone()))),
        );
        self.interval_start = end;
        if let Err(error) = self.sink.append(&records) {
            daemon.not_written(records.len() as u64);
            if self.may_complain() {
                warn!(
                    %error,
                    "{} records could not be written to {}",
                    records.len(),
                    self.sink.path().display()
                );
            }
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

    fn rule_records(&mut self, rows: Vec<CounterRow>, generation: u64, end: OffsetDateTime) -> Vec<Record> {
        let all = generation != self.generation;
        self.generation = generation;
        let mut records = Vec::new();
        let mut written = BTreeMap::new();
        for counter in rows {
            let total = (counter.packets_total, counter.bytes_total);
            // A counter not written before is one that a reload has made since, from zero.
            let before = self.written.get(&counter.counter).copied().unwrap_or_default();
            written.insert(counter.counter.clone(), total);
            // One that is lower than it was has been reset by somebody, and counts from zero since.
            let since = |before: u64, total: u64| total.checked_sub(before).unwrap_or(total);
            let (packets_delta, bytes_delta) = (since(before.0, total.0), since(before.1, total.1));
            if all || packets_delta > 0 {
                records.push(Record::Rule(Box::new(RuleRecord {
                    start_time: self.interval_start.min(end),
                    end_time: end,
                    counter,
                    packets_delta,
                    bytes_delta,
                })));
            }
        }
        self.written = written;
        records
    }
}
