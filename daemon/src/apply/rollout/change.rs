//! A change on its way into force: at once, or under a timer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_nft::Nft;
use palisade_rules::ruleset::unconfirmed::{self, Percent, beside};
use palisade_rules::ruleset::{MIN_TIMEOUT, Name, Ruleset};
use palisade_rules::world::{Host, resolve_from};
use time::OffsetDateTime;
use tracing::warn;

use super::super::road::part;
use super::super::store::{Entry, Standing};
use super::super::way_back::{Changed, Note};
use super::super::{Applied, Engine, Generation, ReloadError, Sources, add_safety_net};
use super::{Made, Next, Open, Terms, Window};
use crate::config::Config;
use crate::guard::GuardReport;

impl Engine {
    /// The window that is open.
    pub fn window(&self) -> Option<Window> {
        self.rollout.window()
    }

    pub(in super::super) fn refuse_while_unconfirmed(&self) -> Result<(), ReloadError> {
        self.rollout.refuse()
    }

    /// Reads the configuration and the resource files as they are now.
    pub(in super::super) fn read(&mut self) -> Result<(Sources, Config), ReloadError> {
        let _reading = part("read");
        let (sources, config) = match &self.rollout.undone {
            Some(undone) if undone.from_store => {
                let sources = self.store.sources(undone.entry)?;
                let config = Config::of(&sources.config)?;
                (sources, config)
            }
            _ => Sources::read(&self.config_path, &mut self.reader)?,
        };
        Ok((sources, self.fixed_at_start(config)))
    }

    /// The same, as far as the kernel tells what has changed; `None` where a look at every file is needed. What is to be
    /// confirmed is one change and no more: there, it is.
    pub(in super::super) fn read_told(&mut self, terms: &Terms<'_>) -> Option<(Sources, Config)> {
        let _reading = part("read what is told of");
        if self.rollout.undone.is_some() || terms.confirm_within.is_some() || self.current().is_none() {
            return None;
        }
        let (sources, config) = Sources::read_told(&self.config_path, &mut self.reader)?;
        Some((sources, self.fixed_at_start(config)))
    }

    /// What these sources say, if nothing is wrong with them.
    pub(in super::super) fn next(&mut self, config: Config, sources: Sources) -> Result<Next, ReloadError> {
        let _decoding = part("decode");
        let (snapshot, warnings) = self.decoder.snapshot(&sources.files);
        let Some(mut snapshot) = snapshot else {
            return Err(ReloadError::Resources(warnings));
        };
        add_safety_net(&config, &mut snapshot);
        Ok(Next {
            config,
            sources: Arc::new(sources),
            snapshot: Arc::new(snapshot),
            warnings,
            writes: Vec::new(),
            canary: None,
            promoted: Vec::new(),
        })
    }

    /// Brings this into force, or leaves everything as it is.
    pub(in super::super) fn bring_into_force(
        &mut self,
        next: Next,
        terms: &Terms<'_>,
        why: String,
    ) -> Result<Applied, ReloadError> {
        // At a start there is nothing to fall back on: everything is made ready for the end of the panic.
        if self.panicked() && self.current().is_some() {
            return Err(ReloadError::Panic);
        }
        let in_force = self.bring(next, terms, why);
        // Other services may have been looked for than are in force, and the kernel may hold what is not.
        in_force.inspect_err(|_| self.cgroups.look_again())
    }

    fn bring(&mut self, next: Next, terms: &Terms<'_>, why: String) -> Result<Applied, ReloadError> {
        let previous = match &self.rollout.open {
            Some(open) => Some(Arc::clone(&open.previous)),
            None => self.current().cloned(),
        };
        let mut snapshots = vec![&*next.snapshot];
        if terms.confirm_within.is_some() {
            snapshots.extend(previous.iter().map(|previous| &*previous.snapshot));
        }
        let host = self.host(&next.config, &snapshots)?;
        let now = OffsetDateTime::now_utc();
        if let Some(undone) = &mut self.rollout.undone {
            let entry = self.store.find(undone.entry);
            undone.comes_back = entry.is_ok_and(|entry| entry.is_of(&next.sources));
        }
        let made = self.made(&next.config, Arc::clone(&next.snapshot), host, now);
        let guarding = part("guard");
        let guard = terms
            .guarding
            .map(|guarding| self.ask_guard(&made.worlds, guarding));
        let guard = guard.transpose()?.unwrap_or_default();
        drop(guarding);
        let window = terms.confirm_within.zip(previous);
        // What is in force already need not be confirmed.
        match window.filter(|(_, previous)| made.number != previous.number) {
            Some((window, previous)) => {
                self.bring_unconfirmed(next, made, previous, (window, why, terms), guard)
            }
            None => self.bring_at_once(next, made, (why, terms), guard),
        }
    }

    fn bring_at_once(
        &mut self,
        next: Next,
        made: Made,
        (why, terms): (String, &Terms<'_>),
        guard: GuardReport,
    ) -> Result<Applied, ReloadError> {
        let note = Note {
            generation: made.number,
            previous: self.current().map_or(0, |current| current.number),
            previous_files: self.rollout.entry,
            at: made.now,
            window_ms: 0,
            canary: None,
            why: why.clone(),
            who: terms.who.clone(),
            files: next.writes,
        };
        let mut warnings = next.warnings;
        let before = self.rollout.sources.clone();
        let before = before.unwrap_or_else(|| Arc::clone(&next.sources));
        let has_writes = !note.files.is_empty();
        if has_writes {
            // What the files are now can be put back only if it is known.
            self.keep_files();
            // Whoever is interrupted between two files must not find a policy that nobody has written.
            note.write(self.state.directory(), &before)?;
        }
        let changed = note.change_files(&next.sources).map_err(ReloadError::from);
        let applied = changed.and_then(|said| {
            warnings.extend(said.iter().map(|said| format!("{said}\n")));
            let put = self.reloading();
            self.put_and_adopt(made, put)
        });
        let (number, changes) = match applied {
            Ok(applied) => applied,
            Err(error) => {
                if has_writes {
                    self.take_back(&note, &before);
                }
                return Err(error);
            }
        };
        if has_writes && let Err(error) = note.remove(self.state.directory()) {
            warn!(%error, "generation {number} is in force, but that cannot be noted: if palisaded is started anew before it can be, it \
                            goes back");
        }
        self.has_reset = false;
        self.config = next.config;
        self.rollout.adopt(next.sources, why, terms);
        self.rollout.undone = None;
        Ok(Applied {
            generation: number,
            changes,
            warnings,
            guard,
            window: None,
        })
    }

    fn bring_unconfirmed(
        &mut self,
        next: Next,
        made: Made,
        previous: Arc<Generation>,
        (window, why, terms): (Duration, String, &Terms<'_>),
        guard: GuardReport,
    ) -> Result<Applied, ReloadError> {
        // Whatever comes, there must be something to go back to.
        self.keep_previous()?;
        let before = self
            .rollout
            .sources
            .clone()
            .unwrap_or_else(|| Arc::clone(&next.sources));
        let number = made.number;
        let candidate = Entry::new(
            number,
            made.now,
            why.clone(),
            terms.who.clone(),
            Standing::Unconfirmed,
            &next.sources,
        );
        let note = Note {
            generation: number,
            previous: previous.number,
            previous_files: self.rollout.entry,
            at: made.now,
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            canary: next.canary.map(Percent::get),
            why,
            who: terms.who.clone(),
            files: Changed::between(&before, &next.sources),
        };
        self.store.keep(candidate, &next.sources)?;
        let ready = note.write(self.state.directory(), &before);
        if let Err(error) = ready {
            self.store.remove(number);
            return Err(error.into());
        }
        let mut warnings = next.warnings;
        let changed = note.change_files(&next.sources).map_err(ReloadError::from);
        let applied = changed.and_then(|said| {
            warnings.extend(said.iter().map(|said| format!("{said}\n")));
            let numbers = (number, previous.number);
            // The kernel counts from the moment when it gets the set.
            let ends = Instant::now() + window;
            let both = both(&made.compiled.ruleset, &previous, window, next.canary, numbers);
            self.settled = false;
            let changes = self.put(&both, Nft::replace)?;
            Ok((changes, ends))
        });
        let (changes, ends) = match applied {
            Ok(applied) => applied,
            Err(error) => {
                self.take_back(&note, &before);
                self.store.remove(number);
                return Err(error);
            }
        };
        self.settled = true;
        let now = OffsetDateTime::now_utc();
        let candidate = self.generation_of(made, changes);
        self.count(&candidate, &previous, now);
        self.make_current(Arc::clone(&candidate));
        // A canary governs a few: who asks is told of what governs the others.
        if next.canary.is_some() {
            self.make_current(Arc::clone(&previous));
        }
        if let Some(canary) = self.rollout.open.take() {
            self.store
                .note(canary.note.generation, |entry| entry.state = Standing::Ended);
        }
        self.rollout.open = Some(Open {
            numbers: (number, previous.number),
            config: next.config,
            sources: next.sources,
            ends,
            until: now + ends.saturating_duration_since(Instant::now()),
            canary: next.canary,
            promoted: next.promoted,
            cut: terms.cut,
            candidate,
            previous,
            note,
        });
        Ok(Applied {
            generation: number,
            changes,
            warnings,
            guard,
            window: self.window(),
        })
    }

    /// Both halves of an unconfirmed generation for the host as it is now.
    pub(in super::super) fn follow_unconfirmed(&mut self) -> Result<Option<Applied>, ReloadError> {
        let Some(open) = &self.rollout.open else {
            return Ok(None);
        };
        let (candidate, previous) = (Arc::clone(&open.candidate), Arc::clone(&open.previous));
        let (config, numbers, canary, ends) = (open.config.clone(), open.numbers, open.canary, open.ends);
        let host = self.host(&config, &[&candidate.snapshot, &previous.snapshot])?;
        let is_same = |generation: &Generation| generation.worlds.host == host;
        if self.panicked() || self.settled && is_same(&candidate) && is_same(&previous) {
            return Ok(None);
        }
        let remaining = ends.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            // It is gone back from at this very moment, to what was before.
            return Ok(None);
        }
        let now = OffsetDateTime::now_utc();
        let before = self.config.clone();
        let previous = self.made_anew(&before, &previous, host.clone(), now);
        let candidate = self.made_anew(&config, &candidate, host, now);
        let both = both(&candidate.compiled.ruleset, &previous, remaining, canary, numbers);
        self.settled = false;
        let changes = self.put(&both, Nft::update)?;
        self.settled = true;
        self.count(&candidate, &previous, now);
        self.make_current(Arc::clone(&previous));
        self.make_current(Arc::clone(&candidate));
        if canary.is_some() {
            self.make_current(Arc::clone(&previous));
        }
        let number = self.current().map_or(0, |current| current.number);
        if let Some(open) = &mut self.rollout.open {
            open.candidate = candidate;
            open.previous = previous;
        }
        Ok(Some(Applied {
            generation: number,
            changes,
            warnings: String::new(),
            guard: GuardReport::default(),
            window: self.window(),
        }))
    }

    /// What the kernel is to hold while a generation is unconfirmed; `None` if none is, or its time is over at this very
    /// moment.
    pub(in super::super) fn unconfirmed_ruleset(&self) -> Option<Ruleset> {
        let open = self.rollout.open.as_ref()?;
        let remaining = open.ends.saturating_duration_since(Instant::now());
        let candidate = &open.candidate.compiled.ruleset;
        let both = || both(candidate, &open.previous, remaining, open.canary, open.numbers);
        (!remaining.is_zero()).then(both)
    }

    /// A generation for another host, under a number of its own if that makes a difference.
    fn made_anew(
        &mut self,
        config: &Config,
        like: &Generation,
        host: Host,
        now: OffsetDateTime,
    ) -> Arc<Generation> {
        let worlds = resolve_from(Some(like.was_resolved()), &like.snapshot, host);
        let (number, compiled, in_force_since) = self.compiled(config, &worlds, Some(like), now);
        self.state.use_up(number);
        let made = Made {
            now,
            number,
            snapshot: Arc::clone(&like.snapshot),
            worlds,
            compiled,
            in_force_since,
        };
        self.generation_of(made, 0)
    }

    /// Counters of both halves are in force.
    pub(super) fn count(&mut self, candidate: &Generation, previous: &Generation, now: OffsetDateTime) {
        self.state.use_up(candidate.number);
        let both = [candidate, previous].into_iter();
        let names: std::collections::BTreeSet<&str> = both
            .flat_map(|generation| generation.compiled.counters.keys().map(Name::as_str))
            .collect();
        self.history.in_force(names.iter().copied(), now);
    }

    /// Takes back what was prepared for a change that did not come into force.
    fn take_back(&mut self, note: &Note, before: &Sources) {
        let bytes = |name: &str| before.at(name).map(|file| file.bytes().to_vec());
        let back = note.change_files_back(bytes);
        let state_dir = self.state.directory().to_owned();
        let note_is_gone = back.and_then(|_| match &self.rollout.open {
            // A canary goes on.
            Some(canary) => canary.note.write(&state_dir, before),
            None => note.remove(&state_dir),
        });
        if let Err(error) = note_is_gone {
            warn!(%error, "what was prepared for a change that is not in force could not be taken back");
            self.rollout.unfinished = Some((note.clone(), error.to_string()));
        }
    }
}

/// One ruleset with both generations, in which the kernel itself goes back when the window ends.
fn both(
    candidate: &Ruleset,
    previous: &Generation,
    window: Duration,
    share: Option<Percent>,
    numbers: (u64, u64),
) -> Ruleset {
    // A set that the kernel has keeps its own time, whatever is said of it here.
    let window = window.max(MIN_TIMEOUT);
    let terms = unconfirmed::Terms { window, share };
    beside(candidate, &previous.compiled.ruleset, &terms, numbers)
}
