//! The event loop: signals, interfaces, packets, intervals, the API and the watchdog.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use palisade_nft::{CounterValue, Nft};
use sd_notify::NotifyState;
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::{Daemon, systemd};
use crate::api::server;
use crate::apply::{Engine, ReloadError};
use crate::config::{Config, ConfigError};
use crate::exit::Exit;
use crate::flows::reader;
use crate::flows::record::{CounterRow, Record, RuleRecord};
use crate::flows::sink::FileSink;
use crate::kernel::KernelError;
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

/// Runs until SIGTERM or SIGINT; the rules stay in force.
pub async fn run(config_path: PathBuf) -> Result<(), RunError> {
    // Caught from the first moment on, so that none of them ends the daemon by default.
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let nft = Nft::open().map_err(KernelError::from)?;
    let config = Config::load(&config_path)?;
    let links = Links::open()?;
    let listener = server::listen(&config.socket).await?;
    let mut engine = Engine::start(config_path, config.clone(), nft)?;
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
    tokio::spawn(follow_links(links, Arc::clone(&daemon)));
    reader::start(Arc::clone(&daemon), config.flows.nflog_group);
    info!(
        generation = applied.generation,
        changes = applied.changes,
        "generation {} is in force for node {}: {} changes in the kernel",
        applied.generation,
        config.node,
        applied.changes
    );
    systemd::show(&daemon.status());
    systemd::tell(&[NotifyState::Ready]);

    let mut records = Records::new(FileSink::new(config.flows.file.clone()), &counted);
    let mut ticks = interval(config.flows.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let watchdog = sd_notify::watchdog_enabled().map_or(Duration::from_hours(1), |limit| limit / 3);
    let mut pulse = interval(watchdog);
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                systemd::tell_reloading();
                daemon.reload().await;
                systemd::tell(&[NotifyState::Ready]);
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = ticks.tick() => records.write_interval(&daemon).await,
            // The watchdog is fed only while the engine's lock can be had: a stuck engine is a dead daemon.
            _ = pulse.tick() => {
                daemon.status();
                systemd::tell(&[NotifyState::Watchdog]);
            }
        }
    }
    systemd::tell(&[NotifyState::Stopping]);
    api.abort();
    records.write_interval(&daemon).await;
    let socket = std::fs::remove_file(&config.socket);
    if let Err(error) = socket {
        warn!(%error, "the socket could not be removed");
    }
    info!("stopped; the rules stay in force (`palisade panic` removes them)");
    Ok(())
}

/// Follows the host's interfaces and addresses until the process ends.
async fn follow_links(mut links: Links, daemon: Arc<Daemon>) {
    loop {
        links.changed().await;
        match links.read().await {
            Ok(interfaces) => daemon.follow_interfaces(interfaces).await,
            Err(error) => warn!(%error, "a change of interfaces or addresses could not be followed"),
        }
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
    /// A sink that fails fails at every interval; it is worth a line this often.
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
    async fn write_interval(&mut self, daemon: &Arc<Daemon>) {
        let end = OffsetDateTime::now_utc();
        let reading = Arc::clone(daemon);
        let read = tokio::task::spawn_blocking(move || (reading.counters(), reading.end_interval(end))).await;
        let Ok((counters, flows)) = read else {
            error!("reading the counters ended in a bug");
            return;
        };
        let mut records = match counters {
            Ok(rows) => self.rule_records(rows, daemon.generation().number, end),
            Err(error) => {
                warn!(%error, "the counters could not be read");
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
            if self
                .complaint
                .is_none_or(|last| last.elapsed() > Self::COMPLAIN_EVERY)
            {
                warn!(%error, records = records.len(), "flow records could not be written");
                self.complaint = Some(Instant::now());
            }
        }
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
            let (packets_delta, bytes_delta) =
                (total.0.saturating_sub(before.0), total.1.saturating_sub(before.1));
            if all || packets_delta > 0 {
                records.push(Record::Rule(Box::new(RuleRecord {
                    start_time: self.interval_start,
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
