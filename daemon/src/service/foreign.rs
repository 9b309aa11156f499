//! Changes of our table by others: noticed at once, told, and put right.
//!
//! Whoever changes it again and again is not outrun: after [`AT_ONCE`] repairs each waits longer than the one before, so
//! that two programs that disagree do not take a processor between them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use palisade_nft::{Notice, Repaired, Watch};
use time::OffsetDateTime;
use tracing::{error, warn};

use super::{Daemon, lock, systemd};
use crate::api::foreign::{ForeignChange, ForeignChanges, Remedy};
use crate::apply::ReloadError;
use crate::kernel::processes::{self, Process};

/// Repairs that follow each other without a pause.
const AT_ONCE: u32 = 3;

/// The pause before the next one, and the longest.
const PAUSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// After so long without a repair, the next is made at once again.
const PEACE: Duration = Duration::from_mins(3);

/// Changes that the status tells of.
const RECENT: usize = 20;

/// Differences that are told of each.
const DIFFERENCES: usize = 5;

/// Foreign changes since the daemon started.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    total: u64,
    failed: u64,
    recent: VecDeque<ForeignChange>,
    /// When a repair is next due, while one waits.
    waits_until: Option<OffsetDateTime>,
}

/// Somebody has changed our table, or may have.
struct Foreign {
    /// Who, where the kernel says.
    by: Option<Process>,
}

/// How long to wait before a repair.
#[derive(Debug, Default)]
struct Pace {
    /// Repairs since it was last peaceful.
    repairs: u32,
    last: Option<Instant>,
}

impl Pace {
    /// How long before the next repair, if it is asked for now.
    fn pause(&mut self, now: Instant) -> Duration {
        if self.last.is_none_or(|last| now.duration_since(last) > PEACE) {
            self.repairs = 0;
        }
        let [first, most] = PAUSE;
        match self.repairs.checked_sub(AT_ONCE) {
            None => Duration::ZERO,
            Some(later) => most.min(first * 2u32.saturating_pow(later.min(16))),
        }
    }

    /// Notes a repair, or an attempt at one.
    fn repaired(&mut self, now: Instant) {
        self.repairs = self.repairs.saturating_add(1);
        self.last = Some(now);
    }
}

/// Watches over our table on a thread of its own, until the process ends.
pub(super) fn start(daemon: Arc<Daemon>, watch: Watch) {
    let port = lock(&daemon.engine).port();
    let watcher = std::thread::Builder::new()
        .name("foreign".to_owned())
        .spawn(move || {
            if let Err(error) = follow(&daemon, watch, port) {
                error!(%error, "changes of table inet palisade by others are noticed no longer; reload puts them right");
            }
        });
    if let Err(error) = watcher {
        error!(%error, "changes of table inet palisade by others are not noticed: their thread cannot be started");
    }
}

fn follow(daemon: &Daemon, mut watch: Watch, port: u32) -> io::Result<()> {
    let mut pace = Pace::default();
    // Before the watch began, anything may have been changed.
    let mut next = Some(Foreign { by: None });
    loop {
        let Some(Foreign { mut by }) = next.take() else {
            wait(&watch)?;
            next = foreign(&mut watch, port)?;
            continue;
        };
        loop {
            let pause = pace.pause(Instant::now());
            if !pause.is_zero() {
                daemon.waits(by.as_ref(), pause);
                std::thread::sleep(pause);
                // Whoever came last is the one to tell of.
                by = foreign(&mut watch, port)?.and_then(|foreign| foreign.by).or(by);
            }
            match daemon.put_right(by.as_ref()) {
                Ok(None) => break,
                Ok(Some(_)) => {
                    pace.repaired(Instant::now());
                    break;
                }
                Err(_) => pace.repaired(Instant::now()),
            }
        }
    }
}

/// Waits until there is something to hear.
fn wait(watch: &Watch) -> io::Result<()> {
    let mut ready = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
    match poll(&mut ready, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Who changed our table since this was asked last, the last of them; `None` if nobody did but the engine itself.
fn foreign(watch: &mut Watch, port: u32) -> io::Result<Option<Foreign>> {
    let mut foreign = None;
    while let Some(notice) = watch.hear()? {
        match notice {
            Notice::Changed(commit) if commit.port == port => {}
            // At once: most of them are gone in a moment.
            Notice::Changed(commit) => {
                let by = Some(processes::look(commit.pid, &commit.process));
                foreign = Some(Foreign { by });
            }
            Notice::Lost => foreign = foreign.or(Some(Foreign { by: None })),
        }
    }
    Ok(foreign)
}

impl Daemon {
    /// Foreign changes, for the status.
    pub(super) fn foreign_changes(&self) -> ForeignChanges {
        let noticed = lock(&self.foreign);
        ForeignChanges {
            total: noticed.total,
            failed: noticed.failed,
            waits_until: noticed.waits_until,
            recent: noticed.recent.iter().rev().cloned().collect(),
        }
    }

    fn waits(&self, by: Option<&Process>, pause: Duration) {
        warn!(
            "{} keeps changing table inet palisade: the next repair waits {pause:?}. Stop it, or have it leave the table alone",
            name(by)
        );
        lock(&self.foreign).waits_until = Some(OffsetDateTime::now_utc() + pause);
        systemd::show(&self.status());
    }

    /// Puts our table right, and tells of it.
    fn put_right(&self, by: Option<&Process>) -> Result<Option<Repaired>, ReloadError> {
        let repaired = lock(&self.engine).repair();
        let now = OffsetDateTime::now_utc();
        let change = match &repaired {
            // Somebody took back what they did; or a panic is in force, and the table stays away.
            Ok(None) | Err(ReloadError::Panic) => None,
            Ok(Some(repaired)) => {
                let what = told(&repaired.mismatch.differences);
                warn!(
                    "{} changed table inet palisade: {}; put right with {} changes",
                    name(by),
                    what.join("; "),
                    repaired.changes
                );
                let outcome = Remedy::Repaired {
                    changes: repaired.changes,
                };
                Some((what, outcome))
            }
            Err(failure) => {
                let failure = failure.to_string();
                error!(
                    "{} changed table inet palisade, and it could not be put right: {failure}",
                    name(by)
                );
                Some((Vec::new(), Remedy::Failed { error: failure }))
            }
        };
        let mut noticed = lock(&self.foreign);
        let has_waited = noticed.waits_until.take().is_some();
        if let Some((what, outcome)) = change {
            noticed.total += u64::from(matches!(outcome, Remedy::Repaired { .. }));
            noticed.failed += u64::from(matches!(outcome, Remedy::Failed { .. }));
            noticed.recent.push_back(ForeignChange {
                at: now,
                by: by.cloned(),
                what,
                outcome,
            });
            let excess = noticed.recent.len().saturating_sub(RECENT);
            noticed.recent.drain(..excess);
        }
        drop(noticed);
        // What is as it was has been told.
        if has_waited || !matches!(repaired, Ok(None)) {
            systemd::show(&self.status());
        }
        match repaired {
            // Whoever called it has taken the table away for good.
            Err(ReloadError::Panic) => Ok(None),
            repaired => repaired,
        }
    }
}

/// The first differences, and how many more there are.
fn told(differences: &[String]) -> Vec<String> {
    let mut told: Vec<String> = differences.iter().take(DIFFERENCES).cloned().collect();
    match differences.len().saturating_sub(DIFFERENCES) {
        0 => {}
        more => told.push(format!("and {more} more")),
    }
    told
}

fn name(by: Option<&Process>) -> String {
    by.map_or_else(|| "another program".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_is_fought_ever_more_slowly_until_there_is_peace() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..11 {
            let pause = pace.pause(now);
            pauses.push(pause.as_secs());
            now += pause;
            pace.repaired(now);
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pace.pause(now + PEACE + Duration::from_secs(1)), Duration::ZERO);
    }
}
