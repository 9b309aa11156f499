//! The end of an unconfirmed generation: it is confirmed, or gone back from; and what is kept of generations.

use std::sync::Arc;

use palisade_nft::Nft;
use palisade_rules::ruleset::Name;
use palisade_rules::ruleset::unconfirmed::{Percent, confirmed};
use palisade_rules::world::{Worlds, resolve};
use time::OffsetDateTime;
use tracing::{error, info, warn};

use super::super::store::{Entry, Standing, StoreError};
use super::super::way_back::Note;
use super::super::{Engine, ReloadError, Sources, add_safety_net};
use super::{Open, RolledBack, Rollout, Terms, Undone};
use crate::config::Config;
use crate::exit::Exit;
use crate::moment::moment;

/// Why nothing is confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// There is nothing to confirm, and there has not been for a while.
    #[error("nothing is unconfirmed: generation {0} is in force")]
    Nothing(u64),
    /// It is too late.
    #[error(
        "too late: generation {} ({}) was rolled back at {}, for {}; generation {} is in force",
        .0.generation, .0.change, moment(.0.at), .0.why, .0.previous
    )]
    RolledBack(Arc<RolledBack>),
    /// A canary is no state to stay in.
    #[error(
        "generation {generation} is a canary, which governs {share} of new connections and is no security state: it \
         cannot be confirmed, and ends by itself; to enforce it for all, type: palisade promote {names}"
    )]
    Canary {
        /// The generation.
        generation: u64,
        /// Its share.
        share: Percent,
        /// Its policies.
        names: String,
    },
    /// It could not be done.
    #[error("{source}; generation {generation} is still unconfirmed")]
    Reload {
        /// The generation.
        generation: u64,
        /// Why.
        source: ReloadError,
    },
}

impl ConfirmError {
    /// How a command that ran into this ends.
    pub fn exit(&self) -> Exit {
        match self {
            ConfirmError::Nothing(_) | ConfirmError::Canary { .. } => Exit::Usage,
            ConfirmError::RolledBack(_) => Exit::RolledBack,
            ConfirmError::Reload { source, .. } => source.exit(),
        }
    }
}

impl Rollout {
    /// These are the sources of the generation in force.
    pub(super) fn adopt(&mut self, sources: Arc<Sources>, why: String, terms: &Terms<'_>) {
        self.sources = Some(sources);
        self.unkept = Some((why, terms.who.clone()));
    }
}

impl Engine {
    /// What was gone back from last.
    pub fn rolled_back(&self) -> Option<Arc<RolledBack>> {
        self.rollout.rolled_back.clone()
    }

    /// Stored generations, the oldest first.
    pub fn stored(&self) -> Vec<Entry> {
        self.store.entries().cloned().collect()
    }

    /// The stored generation that the one in force is made of; 0 if none could be stored.
    pub fn entry_in_force(&self) -> u64 {
        self.rollout.entry
    }

    /// What the resources of a stored generation make of the host as it is now.
    pub fn stored_worlds(&self, number: u64) -> Result<Worlds, ReloadError> {
        let sources = self.store.sources(number)?;
        let config = Config::of(&sources.config)?;
        let reading = sources.decode();
        let Some(mut snapshot) = reading.snapshot else {
            return Err(ReloadError::Resources(
                reading.diagnostics.render(&reading.files, false),
            ));
        };
        add_safety_net(&config, &mut snapshot);
        let host = self.host(&config, &[&snapshot]);
        self.cgroups.look_again();
        Ok(resolve(&snapshot, host?))
    }

    /// The unconfirmed generation stays. Gives its number.
    pub fn confirm(&mut self) -> Result<u64, ConfirmError> {
        let Some(open) = &self.rollout.open else {
            return Err(match &self.rollout.rolled_back {
                // Older news are none: something else has come into force since.
                Some(last) if !last.canary && last.entry == self.rollout.entry => {
                    ConfirmError::RolledBack(Arc::clone(last))
                }
                _ => ConfirmError::Nothing(self.current().map_or(0, |current| current.number)),
            });
        };
        if let Some(share) = open.canary {
            return Err(ConfirmError::Canary {
                generation: open.candidate.number,
                share,
                names: open.promoted.join(" "),
            });
        }
        let candidate = Arc::clone(&open.candidate);
        let failed = |source| ConfirmError::Reload {
            generation: candidate.number,
            source,
        };
        if self.panicked() {
            return Err(failed(ReloadError::Panic));
        }
        // In the kernel first: whoever is told that it is confirmed finds it so, whatever happens then. The time is running
        // out, so it begins with what changes least.
        let in_place = confirmed(&candidate.compiled.ruleset, &open.previous.compiled.ruleset);
        self.settled = false;
        self.put(&in_place, Nft::update).map_err(failed)?;
        match self.put(&candidate.compiled.ruleset, Nft::update) {
            Ok(_) => self.settled = true,
            Err(error) => {
                let number = candidate.number;
                warn!(%error, "generation {number} is confirmed and in force, but its chains are not listed in order yet");
            }
        }
        let Some(open) = self.rollout.open.take() else {
            return Ok(candidate.number);
        };
        let counters = candidate.compiled.counters.keys();
        self.history
            .in_force(counters.map(Name::as_str), OffsetDateTime::now_utc());
        self.unrecorded = true;
        // The note last: as long as it is there, a restart takes everything back, this entry too.
        self.store.note(open.note.generation, |entry| {
            entry.state = Standing::Confirmed;
            entry.last = candidate.number;
        });
        if let Err(error) = open.note.remove(self.state.directory()) {
            error!(%error, "generation {} is confirmed and in force, but that cannot be noted: if palisaded is started anew before it \
                            can be, it goes back", candidate.number);
        }
        self.config = open.config;
        self.rollout.entry = open.note.generation;
        self.rollout.sources = Some(open.sources);
        self.rollout.unkept = None;
        Ok(candidate.number)
    }

    /// The unconfirmed generation is gone, and the one before it is in force again. If that fails, everything is as it
    /// was, and it can be tried again; the kernel goes back by itself when the window ends.
    pub fn roll_back(&mut self, why: &str) -> Result<Option<Arc<RolledBack>>, ReloadError> {
        self.finish_files();
        let Some(open) = &self.rollout.open else {
            self.rollout.refuse()?;
            return Ok(None);
        };
        let previous = Arc::clone(&open.previous);
        self.settled = false;
        if !self.panicked() {
            self.put(&previous.compiled.ruleset, Nft::replace)?;
            let counters = previous.compiled.counters.keys();
            self.history
                .in_force(counters.map(Name::as_str), OffsetDateTime::now_utc());
        }
        self.settled = !self.panicked();
        self.make_current(Arc::clone(&previous));
        self.unrecorded = true;
        // Other services may be looked for than are in force now.
        self.cgroups.look_again();
        let Some(open) = self.rollout.open.take() else {
            return Ok(None);
        };
        let Open { note, canary, .. } = open;
        self.ended(&note, why);
        let notes = self.files_back(&note);
        let rolled_back = Arc::new(RolledBack {
            generation: note.generation,
            previous: previous.number,
            entry: note.previous_files,
            at: OffsetDateTime::now_utc(),
            why: why.to_owned(),
            change: note.why,
            canary: canary.is_some(),
            notes,
        });
        self.rollout.rolled_back = Some(Arc::clone(&rolled_back));
        Ok(Some(rolled_back))
    }

    /// Takes back what an earlier daemon has left unconfirmed: nobody could tell it that it was confirmed.
    pub(in super::super) fn undo_unconfirmed(&mut self) {
        let note = match Note::load(self.state.directory()) {
            Ok(None) => return self.store.forget_unconfirmed(),
            Ok(Some(note)) => note,
            Err(error) => {
                error!(%error, "unconfirmed.json cannot be read: an unconfirmed generation may be in force, and its files in the \
                                policy directory; `palisade history` lists what can be gone back to");
                if let Err(error) = Note::set_aside(self.state.directory()) {
                    warn!(%error, "it could not be set aside either");
                }
                return;
            }
        };
        self.state.use_up(note.generation);
        let why = if note.window_ms == 0 {
            "palisaded was started anew before it was wholly in force"
        } else {
            "palisaded was started anew before it was confirmed"
        };
        self.ended(&note, why);
        let notes = self.files_back(&note);
        self.store.forget_unconfirmed();
        warn!(
            "generation {} ({}) is taken back: {why}; going back to generation {}",
            note.generation, note.why, note.previous
        );
        self.rollout.undone = Some(Undone {
            entry: note.previous_files,
            comes_back: false,
            from_store: self.rollout.unfinished.is_some(),
        });
        self.rollout.rolled_back = Some(Arc::new(RolledBack {
            generation: note.generation,
            previous: note.previous,
            entry: note.previous_files,
            at: OffsetDateTime::now_utc(),
            why: why.to_owned(),
            change: note.why,
            canary: note.canary.is_some(),
            notes,
        }));
    }

    /// Puts the files of the previous generation back. What fails is told, and tried again with the next rollback.
    fn files_back(&mut self, note: &Note) -> Vec<String> {
        let known = self.rollout.sources.clone();
        let stored = || self.store.sources(note.previous_files).ok();
        let before = known.map(|known| (*known).clone()).or_else(stored);
        let bytes = |name: &str| Some(before.as_ref()?.at(name)?.bytes().to_vec());
        let back = note.change_files_back(bytes);
        let back = back.and_then(|notes| note.remove(self.state.directory()).map(|()| notes));
        match back {
            Ok(notes) => {
                for note in &notes {
                    warn!("{note}");
                }
                notes
            }
            Err(error) => {
                error!(%error, "the files of generation {} could not be put back", note.previous);
                let why = error.to_string();
                self.rollout.unfinished = Some((note.clone(), why.clone()));
                vec![format!("{why}; put that right, then type: palisade rollback")]
            }
        }
    }

    /// Tries again to put files back that could not be.
    fn finish_files(&mut self) {
        if let Some((note, _)) = self.rollout.unfinished.take() {
            self.files_back(&note);
            if self.rollout.unfinished.is_none() {
                info!("the files of generation {} are back", note.previous);
            }
        }
    }

    fn ended(&mut self, note: &Note, why: &str) {
        self.store.note(note.generation, |entry| {
            let is_canary = note.canary.is_some();
            entry.state = if is_canary {
                Standing::Ended
            } else {
                Standing::RolledBack
            };
            entry.rolled_back = Some(why.to_owned());
        });
    }

    /// Keeps the files of the generation in force, if that is still to be done.
    pub(in super::super) fn keep_files(&mut self) {
        if let Err(error) = self.try_keep_files() {
            warn!(%error, "the generation is in force, but `palisade rollback` could not go back to it after a restart");
        }
    }

    /// As [`Engine::keep_files`], where there must be something to go back to.
    pub(super) fn keep_previous(&mut self) -> Result<(), StoreError> {
        self.try_keep_files()?;
        // Without a way back on the disk there is none after a restart.
        self.store.find(self.rollout.entry).map(drop)
    }

    fn try_keep_files(&mut self) -> Result<(), StoreError> {
        if self.rollout.open.is_some() {
            return Ok(());
        }
        let (Some(sources), Some(current)) = (self.rollout.sources.clone(), self.current().cloned()) else {
            return Ok(());
        };
        let Some((why, who)) = self.rollout.unkept.clone() else {
            let number = current.number;
            self.store
                .note(self.rollout.entry, |entry| entry.last = entry.last.max(number));
            return Ok(());
        };
        if let Some(same) = self.store.latest(&sources).map(|entry| entry.number) {
            self.rollout.entry = same;
            self.store
                .note(same, |entry| entry.last = entry.last.max(current.number));
        } else {
            let entry = Entry::new(
                current.number,
                current.at,
                why,
                who,
                Standing::Confirmed,
                &sources,
            );
            self.store.keep(entry, &sources)?;
            self.rollout.entry = current.number;
        }
        self.rollout.unkept = None;
        Ok(())
    }
}
