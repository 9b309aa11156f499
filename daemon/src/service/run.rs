//! The event loop: signals, interfaces, packets, intervals, the API and the watchdog.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palisade_nft::{Nft, Watch};
use sd_notify::NotifyState;
use time::OffsetDateTime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

use super::intervals::Intervals;
use super::{Asker, Daemon, boot, changes, foreign, lock, rollout, systemd};
use crate::api::{metrics, server};
use crate::apply::{Engine, Lock, LockError, ReloadError, Terms};
use crate::config::{Config, ConfigError};
use crate::exit::Exit;
use crate::flows::observe::Kept;
use crate::flows::{ends, evidence, owners, reader};
use crate::kernel::KernelError;
use crate::kernel::cgroups::Cgroups;
use crate::kernel::links::{Links, LinksError};
use crate::sandbox::{self, Needs};

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// nf_tables cannot be used.
    #[error(transparent)]
    Open(#[from] KernelError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another daemon is running.
    #[error(transparent)]
    Lock(#[from] LockError),
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
            RunError::Open(_)
            | RunError::Lock(_)
            | RunError::Links(_)
            | RunError::Listen(_)
            | RunError::Loop(_) => Exit::ApplyFailed,
        }
    }
}

/// How long the engine may be busy before the daemon counts as hung: the kernel answers or is given up within half a
/// minute, but a policy directory on a network mount may never answer.
const HUNG: Duration = Duration::from_mins(2);

/// How long the last interval, the sinks and what outlives the daemon may take each when it stops: together they stay
/// below the unit's TimeoutStopSec.
const LAST_WORDS: Duration = Duration::from_secs(4);

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
    let _lock = Lock::take(&config.state_dir)?;
    let listener = server::listen(&config.socket).await?;
    // Before anything else runs: threads that are there already would stay as they are.
    Needs::make_directories(&config);
    let sandbox = sandbox::apply(Needs::of(&config_path, &config));
    let mut links = Links::open()?;
    let cgroups = Cgroups::new();
    let mut engine = Engine::start(config_path, config.clone(), nft, Arc::clone(&cgroups))?;
    // Before the first rule that copies packets: what it counts is to be in a record.
    let copies = reader::bind(config.flows.nflog_group);
    engine.set_interfaces(links.read().await?);
    let started = Instant::now();
    let applied = engine.reload(&Terms::at_once(None))?;
    // Not before: whatever is committed while somebody listens costs the kernel twice as much. What others have changed by
    // now is found by a look at the table.
    let watch = Watch::open()?;
    engine.keep();
    let took = started.elapsed();
    let generation = engine.current().cloned().ok_or_else(|| {
        RunError::Loop(std::io::Error::other(
            "a reload that succeeded left no generation: a bug",
        ))
    })?;
    if !applied.warnings.is_empty() {
        warn!("{}", applied.warnings.trim_end());
    }
    let kept = evidence::load(&config.state_dir).unwrap_or_else(|error| {
        warn!(%error, "what was seen before is unknown, reports begin anew");
        Kept::default()
    });
    let (owners, asked) = owners::questions();
    let owners = config.flows.owners.then_some(owners);
    let now = OffsetDateTime::now_utc();
    let daemon = Arc::new(Daemon::new(engine, generation, kept, owners, sandbox, now));
    lock(&daemon.tallies).applied(took, true);
    if config.flows.owners {
        owners::start(Arc::clone(&daemon), asked);
    }
    let api = tokio::spawn(server::serve(listener, Arc::clone(&daemon)));
    tokio::spawn(follow_host(links, cgroups, Arc::clone(&daemon)));
    tokio::spawn(reload_on_hangup(hangup, Arc::clone(&daemon)));
    tokio::spawn(feed_watchdog(Arc::clone(&daemon)));
    tokio::spawn(boot::keep_each_generation(Arc::clone(&daemon)));
    tokio::spawn(changes::sweep_each_generation(Arc::clone(&daemon)));
    tokio::spawn(rollout::end_windows(Arc::clone(&daemon)));
    foreign::start(Arc::clone(&daemon), watch);
    if let Some(copies) = copies {
        reader::start(Arc::clone(&daemon), copies, config.flows.nflog_group);
    }
    if config.flows.accounting {
        ends::start(Arc::clone(&daemon));
    }
    if let Some(address) = config.flows.prometheus {
        tokio::spawn(metrics::serve(address, Arc::clone(&daemon)));
    }
    let status = daemon.status();
    if status.panic {
        warn!("{}", status.panic_reason.as_deref().unwrap_or_default());
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

    let records = Intervals::new(&config);
    let records = Arc::new(Mutex::new(records));
    let mut ticks = interval(config.flows.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let writing = {
        let (records, daemon) = (Arc::clone(&records), Arc::clone(&daemon));
        tokio::spawn(async move {
            loop {
                ticks.tick().await;
                write_interval(&records, &daemon).await;
            }
        })
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    systemd::tell(&[NotifyState::Stopping]);
    // Nobody is there any more to be told that it is confirmed.
    if daemon.unconfirmed().is_some() {
        let back = daemon.roll_back(|_| "palisaded was stopped".to_owned());
        within_last_words("the way back from what is unconfirmed", async {
            back.await;
        })
        .await;
    }
    api.abort();
    writing.abort();
    // The kernel collects copies before it hands them over: the last ones are still to come.
    sleep(reader::JUDGED_WITHIN).await;
    within_last_words("the last interval", write_interval(&records, &daemon)).await;
    stop_sinks(&daemon).await;
    within_last_words(
        "what reports and totals are made of",
        keep_on_disk(&records, &daemon),
    )
    .await;
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
        daemon.reload(Asker::signal()).await;
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

/// Hands an interval's records to the sinks away from the event loop, for the kernel need not answer at once.
async fn write_interval(records: &Arc<Mutex<Intervals>>, daemon: &Arc<Daemon>) {
    let (records, daemon) = (Arc::clone(records), Arc::clone(daemon));
    let written = tokio::task::spawn_blocking(move || {
        lock(&records).end(&daemon);
        daemon.keep_totals(false);
    });
    if let Err(panic) = written.await {
        error!("writing the records of an interval ended in a bug: {panic}");
    }
}

/// A disk or an engine that does not answer must not keep systemd waiting until it kills the daemon.
async fn within_last_words(what: &str, work: impl Future<Output = ()>) {
    if timeout(LAST_WORDS, work).await.is_err() {
        warn!("{what} could not be written within {LAST_WORDS:?}");
    }
}

/// Keeps what outlives the daemon.
async fn keep_on_disk(records: &Arc<Mutex<Intervals>>, daemon: &Arc<Daemon>) {
    let (records, daemon) = (Arc::clone(records), Arc::clone(daemon));
    let kept = tokio::task::spawn_blocking(move || {
        daemon.keep_totals(true);
        lock(&records).save_evidence(&daemon);
        daemon.keep_for_boot();
    });
    if let Err(panic) = kept.await {
        error!("keeping what outlives the daemon ended in a bug: {panic}");
    }
}

/// Has the sinks write what they still have.
async fn stop_sinks(daemon: &Arc<Daemon>) {
    let daemon = Arc::clone(daemon);
    let stopped = tokio::task::spawn_blocking(move || daemon.sinks.stop(LAST_WORDS));
    if let Err(panic) = stopped.await {
        error!("stopping the sinks ended in a bug: {panic}");
    }
}
