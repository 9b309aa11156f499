//! Changes that somebody asks for, and the end of those that nobody confirms.

use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_rules::analysis::Side;
use palisade_rules::world::WorldKind;
use time::OffsetDateTime;
use tracing::{error, info, warn};

use super::{Daemon, lock, systemd};
use crate::api::rollout::{HistoryRow, PromoteRequest, Unconfirmed};
use crate::api::types::{LastReload, ReloadReport};
use crate::apply::{Applied, Engine, PlanError, ReloadError, RolledBack, Terms, Who, Window};
use crate::config::RolloutConfig;
use crate::exit::Exit;
use crate::guard::{self, Caller, Guarding};
use crate::live;

/// How long a canary governs its share if nobody says.
const CANARY: Duration = Duration::from_mins(10);

/// The shortest and the longest window: nobody types faster, and what is unconfirmed for a day was forgotten.
const WINDOWS: [Duration; 2] = [Duration::from_secs(1), Duration::from_hours(24)];

/// How long a change that only probes decide on is in force besides the time that they take.
const PROBING: Duration = Duration::from_secs(10);

/// How long to wait before going back is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Who asks for a change, and how.
#[derive(Clone, Debug)]
pub struct Asker {
    /// For whom the guard looks.
    pub caller: Caller,
    /// The same for the records.
    pub who: Who,
    /// Whether the change goes on though the guard refuses it.
    pub force: bool,
    /// How long there is to confirm it.
    pub confirm_within: Option<Duration>,
    /// Whether connections that are denied then are ended, once it is confirmed.
    pub cut: bool,
}

impl Asker {
    /// A signal: it says neither who sent it nor whether it is meant in earnest.
    pub fn signal() -> Self {
        Asker {
            caller: Caller::default(),
            who: Who::Signal,
            force: false,
            confirm_within: None,
            cut: false,
        }
    }
}

impl Daemon {
    /// The generation that is not confirmed yet.
    pub fn unconfirmed(&self) -> Option<Unconfirmed> {
        lock(&self.known).window.as_ref().map(Unconfirmed::from)
    }

    /// What was rolled back last.
    pub fn rolled_back(&self) -> Option<RolledBack> {
        lock(&self.known).rolled_back.as_deref().cloned()
    }

    /// The generations that can be gone back to, the newest first.
    pub fn history(&self) -> Vec<HistoryRow> {
        let engine = lock(&self.engine);
        let in_force = engine.entry_in_force();
        let entries = engine.stored();
        drop(engine);
        let rows = entries.iter().rev();
        rows.map(|entry| HistoryRow::new(entry, entry.number == in_force))
            .collect()
    }

    /// Promotes staged policies.
    pub async fn promote(self: &Arc<Self>, request: PromoteRequest, mut asker: Asker) -> ReloadReport {
        asker.cut = request.cut;
        if asker.confirm_within.is_none() {
            let usual = if request.canary.is_some() {
                CANARY
            } else {
                self.rollout_config().await.confirm_within
            };
            asker.confirm_within = Some(usual);
        }
        self.bring(asker, move |engine, terms| {
            engine.promote(&request.promote(), request.canary, terms)
        })
        .await
    }

    /// Goes back: from what is unconfirmed, or to a stored generation.
    pub async fn rollback(self: &Arc<Self>, to: Option<u64>, asker: Asker) -> ReloadReport {
        let Some(number) = to else {
            return self.roll_back(|_| "palisade rollback".to_owned()).await;
        };
        self.bring(asker, move |engine, terms| engine.go_back_to(number, terms))
            .await
    }

    /// The unconfirmed generation stays.
    pub async fn confirm(self: &Arc<Self>) -> ReloadReport {
        if self.unconfirmed().is_some_and(|window| window.canary.is_none())
            && let Some(failed) = self.try_probes().await
        {
            return failed;
        }
        self.confirm_now().await
    }

    async fn confirm_now(self: &Arc<Self>) -> ReloadReport {
        let window = lock(&self.known).window.clone();
        let result = self.blocking(|daemon| daemon.change(Engine::confirm)).await;
        systemd::show(&self.status());
        match result {
            Ok(Ok(generation)) => {
                info!(generation, "generation {generation} is confirmed");
                let mut report = fine(generation);
                if let Some(window) = window.filter(|window| window.cut) {
                    self.cut(window.previous, &mut report).await;
                }
                report
            }
            Ok(Err(error)) => self.failed(error.to_string(), error.exit()),
            Err(bug) => self.failed(bug, Exit::ApplyFailed),
        }
    }

    /// Makes a change on the terms of who asks for it, whether or not they wait for it.
    pub(super) async fn bring<E>(
        self: &Arc<Self>,
        asker: Asker,
        change: impl FnOnce(&mut Engine, &Terms<'_>) -> Result<Applied, E> + Send + 'static,
    ) -> ReloadReport
    where
        PlanError: From<E>,
    {
        if let Some(window) = asker.confirm_within
            && !(WINDOWS[0]..=WINDOWS[1]).contains(&window)
        {
            let error = format!("a change can be confirmed within 1 s to 24 h, and not within {window:?}");
            return self.failed(error, Exit::Usage);
        }
        let mut asker = asker;
        let probes = self.rollout_config().await.probes;
        // The probes' own time is a window, where nobody else is to confirm.
        let only_probes = asker.confirm_within.is_none() && !probes.is_empty();
        if only_probes {
            let longest = probes.iter().map(|probe| probe.timeout).max();
            asker.confirm_within = Some(PROBING + longest.unwrap_or_default());
        }
        let result = self.blocking(move |daemon| {
            let started = Instant::now();
            let result = daemon.change(|engine| {
                let terms = Terms {
                    guarding: Some(Guarding {
                        caller: &asker.caller,
                        force: asker.force,
                    }),
                    confirm_within: asker.confirm_within,
                    who: asker.who.clone(),
                    cut: asker.cut,
                };
                change(engine, &terms)
            });
            lock(&daemon.tallies).applied(started.elapsed(), result.is_ok());
            daemon.report(result.map_err(PlanError::from))
        });
        let report = result.await.unwrap_or_else(|bug| {
            error!("the change ended in a bug; the previous generation is in force: {bug}");
            self.refused(bug, Exit::ApplyFailed)
        });
        systemd::show(&self.status());
        if report.unconfirmed.is_none() || probes.is_empty() {
            return report;
        }
        if let Some(failed) = self.try_probes().await {
            return failed;
        }
        if !only_probes {
            return report;
        }
        let confirmed = self.confirm_now().await;
        ReloadReport {
            changes: report.changes,
            warnings: report.warnings,
            guard: report.guard,
            ..confirmed
        }
    }

    /// Ends connections that are denied now and were not before.
    async fn cut(self: &Arc<Self>, previous: u64, report: &mut ReloadReport) {
        let cut = self.blocking(move |daemon| {
            let [before, after] = [daemon.generation_by_number(previous), daemon.generation()];
            let side = |worlds| Side {
                worlds,
                world: WorldKind::Enforced,
            };
            live::cut(side(&before.worlds), side(&after.worlds)).map_err(|error| error.to_string())
        });
        match cut.await.and_then(|cut| cut) {
            Ok(cut) => {
                info!("{cut} connections that are denied now were ended");
                report.cut = Some(cut);
            }
            Err(error) => {
                warn!(%error, "the connections that are denied now go on");
                report.warnings += &format!("the connections that are denied now go on: {error}\n");
            }
        }
    }

    pub(super) async fn rollout_config(self: &Arc<Self>) -> RolloutConfig {
        let config = self.blocking(|daemon| lock(&daemon.engine).config().rollout.clone());
        config.await.unwrap_or_default()
    }

    /// Tries what must work. If something does not, what is unconfirmed is rolled back, and this is what to say.
    async fn try_probes(self: &Arc<Self>) -> Option<ReloadReport> {
        let probes = self.rollout_config().await.probes;
        let failed = self.blocking(move |_| guard::probe(&probes).err()).await;
        let failed = match failed {
            Ok(failed) => failed?.to_string(),
            Err(bug) => bug,
        };
        let why = failed.clone();
        let back = self.roll_back(move |_| why).await;
        let Some(rolled_back) = self.rolled_back().filter(|_| back.ok) else {
            return Some(back);
        };
        let error = format!(
            "generation {} was rolled back: {failed}; generation {} is in force again",
            rolled_back.generation, rolled_back.previous
        );
        Some(ReloadReport {
            warnings: back.warnings,
            ..self.failed(error, Exit::RolledBack)
        })
    }

    /// Goes back from what is unconfirmed.
    pub(super) async fn roll_back(
        self: &Arc<Self>,
        why: impl FnOnce(&Window) -> String + Send + 'static,
    ) -> ReloadReport {
        let back = self.blocking(move |daemon| {
            daemon.change(|engine| {
                let why = engine.window().as_ref().map(why).unwrap_or_default();
                engine.roll_back(&why)
            })
        });
        let result = back.await;
        systemd::show(&self.status());
        match result {
            Ok(Ok(Some(back))) => {
                if back.canary {
                    info!(
                        generation = back.generation,
                        "canary generation {} ({}) has ended: {}", back.generation, back.change, back.why
                    );
                } else {
                    error!(
                        generation = back.generation,
                        "generation {} ({}) was rolled back: {}; generation {} is in force again",
                        back.generation,
                        back.change,
                        back.why,
                        back.previous
                    );
                }
                ReloadReport {
                    warnings: ended_lines(&back.notes),
                    ..fine(back.previous)
                }
            }
            Ok(Ok(None)) => {
                let generation = self.generation().number;
                self.failed(
                    format!(
                        "nothing is unconfirmed: generation {generation} is in force; `palisade history` lists what `palisade \
                         rollback N` can go back to"
                    ),
                    Exit::Usage,
                )
            }
            Ok(Err(error)) => {
                error!(%error, "going back failed, and is tried again; the kernel goes back by itself when the time is over");
                self.failed(error.to_string(), error.exit())
            }
            Err(bug) => self.failed(bug, Exit::ApplyFailed),
        }
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Result<T, String> {
        let daemon = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&daemon));
        done.await.map_err(|bug| format!("a bug in palisaded: {bug}"))
    }

    fn report(&self, result: Result<Applied, PlanError>) -> ReloadReport {
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
                if !applied.guard.cut.is_empty() {
                    warn!("{}", applied.guard.text().trim_end());
                }
                let unconfirmed = applied.window.as_ref().map(Unconfirmed::from);
                if let Some(unconfirmed) = &unconfirmed {
                    warn!("{}", unconfirmed.sentence());
                }
                *lock(&self.last_reload) = LastReload {
                    at: OffsetDateTime::now_utc(),
                    ok: true,
                    error: None,
                };
                ReloadReport {
                    changes: applied.changes,
                    warnings: applied.warnings,
                    guard: Some(applied.guard),
                    unconfirmed,
                    ..fine(applied.generation)
                }
            }
            Err(error) => {
                let text = error.to_string();
                error!(
                    "refused, nothing was changed (generation {}):\n{}",
                    self.generation().number,
                    text.trim_end()
                );
                let exit = error.exit();
                let guard = match error {
                    PlanError::Reload(ReloadError::Guard(report)) => Some(*report),
                    // What was asked for is wrong, and not what is there.
                    PlanError::Reload(_) => None,
                    _ => return self.failed(text, exit),
                };
                ReloadReport {
                    guard,
                    ..self.refused(text, exit)
                }
            }
        }
    }

    /// A reload that left everything as it was.
    fn refused(&self, error: String, exit: Exit) -> ReloadReport {
        *lock(&self.last_reload) = LastReload {
            at: OffsetDateTime::now_utc(),
            ok: false,
            error: Some(error.clone()),
        };
        self.failed(error, exit)
    }

    fn failed(&self, error: String, exit: Exit) -> ReloadReport {
        ReloadReport {
            ok: false,
            error: Some(error),
            exit: exit as u8,
            ..fine(self.generation().number)
        }
    }
}

fn fine(generation: u64) -> ReloadReport {
    ReloadReport {
        ok: true,
        generation,
        changes: 0,
        warnings: String::new(),
        error: None,
        guard: None,
        unconfirmed: None,
        cut: None,
        exit: Exit::Fine as u8,
    }
}

/// Each in a line.
fn ended_lines(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// Goes back from every generation that nobody confirms in time.
pub(super) async fn end_windows(daemon: Arc<Daemon>) {
    loop {
        let window = lock(&daemon.known).window.clone();
        let Some(window) = window else {
            daemon.new_window.notified().await;
            continue;
        };
        tokio::select! {
            () = daemon.new_window.notified() => continue,
            () = tokio::time::sleep_until(window.ends.into()) => {}
        }
        // Confirmed, or made longer, in this very moment.
        let is_over = |window: &Window| window.remaining().is_zero();
        if !lock(&daemon.known).window.as_ref().is_some_and(is_over) {
            continue;
        }
        let report = daemon.roll_back(too_late).await;
        if !report.ok {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Why a window that is over ends.
fn too_late(window: &Window) -> String {
    match window.canary {
        Some(_) => "its time is over".to_owned(),
        None => format!("nobody confirmed it within {:?}", window.length),
    }
}
