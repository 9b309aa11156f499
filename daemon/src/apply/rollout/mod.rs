//! Changes under a timer: an unconfirmed generation, and the way back from it.
//!
//! ```text
//!               promote, reload --confirm-within
//! confirmed ──────────────────────────────────────▶ unconfirmed ──▶ confirm ──▶ confirmed
//!     ▲                                                  │
//!     └──────── the window ends, rollback, a probe fails, palisaded stops or is started again
//! ```
//!
//! What is about to happen is on disk before anything is changed ([`way_back`](super::way_back)), so that whoever comes
//! next can go back from wherever it was interrupted. Until then the kernel itself holds both generations, and goes back
//! to the previous one when the time is over, with or without a daemon.

mod back;
mod change;
mod promote;
mod safety_net;

use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_rules::compile::Compiled;
use palisade_rules::ruleset::unconfirmed::Percent;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::Worlds;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::sources::Sources;
use super::store::Who;
use super::way_back::{Changed, Note};
use super::{Generation, ReloadError};
use crate::config::Config;
use crate::guard::Guarding;

pub use back::ConfirmError;

/// How a change is made.
#[derive(Clone, Debug)]
pub struct Terms<'c> {
    /// For whom the guard is asked; `None` where there is nobody.
    pub guarding: Option<Guarding<'c>>,
    /// How long there is to confirm it; `None` if it need not be.
    pub confirm_within: Option<Duration>,
    /// Who asks for it.
    pub who: Who,
    /// Whether connections that are denied then are ended, once it is confirmed.
    pub cut: bool,
}

impl<'c> Terms<'c> {
    /// Without a timer, for the daemon itself.
    pub fn at_once(guarding: Option<Guarding<'c>>) -> Self {
        Terms {
            guarding,
            confirm_within: None,
            who: Who::Daemon,
            cut: false,
        }
    }
}

/// An unconfirmed generation, and until when it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The unconfirmed generation.
    pub generation: u64,
    /// The generation that it goes back to.
    pub previous: u64,
    /// When it goes back, by a clock that nobody sets.
    pub ends: Instant,
    /// The same by the clock on the wall, when the window began.
    pub until: OffsetDateTime,
    /// How long it is.
    pub length: Duration,
    /// The share of new connections that it governs; `None` for all.
    pub canary: Option<Percent>,
    /// What made it.
    pub why: String,
    /// Who asked for it.
    pub who: Who,
    /// Whether connections that are denied then are ended, once it is confirmed.
    pub cut: bool,
}

impl Window {
    /// How long it still is.
    pub fn remaining(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

/// What became of an unconfirmed generation that was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The generation that is gone.
    pub generation: u64,
    /// The generation that is in force again.
    pub previous: u64,
    /// The stored generation that its files are of.
    #[serde(default)]
    pub entry: u64,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why, as a clause: `nobody confirmed it within 60 s`.
    pub why: String,
    /// What had made it.
    pub change: String,
    /// Whether it was a canary, which ends in no other way.
    pub canary: bool,
    /// What is worth knowing besides: where an edited file is now.
    pub notes: Vec<String>,
}

/// What the engine knows of files and of an unconfirmed generation.
#[derive(Debug, Default)]
pub(super) struct Rollout {
    /// What the generation in force is made of; of an unconfirmed one, the previous.
    sources: Option<Arc<Sources>>,
    /// The stored generation with these sources.
    entry: u64,
    /// What is still to be stored: what made the generation in force, and who asked for it.
    unkept: Option<(String, Who)>,
    open: Option<Open>,
    /// What was rolled back, but for its files.
    unfinished: Option<(Note, String)>,
    rolled_back: Option<Arc<RolledBack>>,
    /// What an earlier daemon had left unconfirmed, until the generation before it is in force again.
    undone: Option<Undone>,
}

/// What an earlier daemon had left unconfirmed, and was taken back.
#[derive(Debug)]
struct Undone {
    /// The stored generation that was gone back to.
    entry: u64,
    /// Whether the files are those of that one, so that it is the same generation again.
    comes_back: bool,
    /// Whether the files in the policy directory must not be read, for they could not be taken back.
    from_store: bool,
}

/// An unconfirmed generation.
#[derive(Debug)]
struct Open {
    candidate: Arc<Generation>,
    previous: Arc<Generation>,
    /// Their numbers when the window began, by which the kernel knows it.
    numbers: (u64, u64),
    config: Config,
    sources: Arc<Sources>,
    ends: Instant,
    until: OffsetDateTime,
    canary: Option<Percent>,
    /// Of a canary: the policies.
    promoted: Vec<String>,
    cut: bool,
    note: Note,
}

/// What is to come into force.
#[derive(Debug)]
pub(super) struct Next {
    config: Config,
    pub(super) sources: Arc<Sources>,
    snapshot: Arc<Snapshot>,
    warnings: String,
    /// The files that palisade itself is to write.
    writes: Vec<Changed>,
    canary: Option<Percent>,
    promoted: Vec<String>,
}

/// A generation that is not in force yet.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) now: OffsetDateTime,
    pub(super) number: u64,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) worlds: Worlds,
    pub(super) compiled: Compiled,
    /// If it is in force already.
    pub(super) in_force_since: Option<OffsetDateTime>,
}

impl Rollout {
    /// The window that is open.
    pub(super) fn window(&self) -> Option<Window> {
        let open = self.open.as_ref()?;
        Some(Window {
            generation: open.candidate.number,
            previous: open.previous.number,
            ends: open.ends,
            until: open.until,
            length: Duration::from_millis(open.note.window_ms),
            canary: open.canary,
            why: open.note.why.clone(),
            who: open.note.who.clone(),
            cut: open.cut,
        })
    }

    /// Whether what comes into force next is what an unconfirmed generation went back to at the start.
    pub(super) fn comes_back(&self) -> bool {
        self.undone.as_ref().is_some_and(|undone| undone.comes_back)
    }

    /// Refuses a change while another one is not confirmed.
    fn refuse(&self) -> Result<(), ReloadError> {
        if let Some(open) = &self.open {
            return Err(ReloadError::Unconfirmed {
                generation: open.candidate.number,
                why: open.note.why.clone(),
                previous: open.previous.number,
            });
        }
        // At the start, what was gone back to is read from the store.
        let unfinished = self.unfinished.as_ref().filter(|_| self.undone.is_none());
        unfinished.map_or(Ok(()), |(note, why)| {
            Err(ReloadError::Unfinished {
                generation: note.generation,
                why: why.clone(),
            })
        })
    }
}
