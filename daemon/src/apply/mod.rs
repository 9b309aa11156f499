//! From resources to what is in force: read, resolve, compile, apply, verify, all or nothing.

mod boot;
mod error;
mod foreign;
mod generation;
mod history;
mod lock;
mod panic;
mod plan;
mod reload;
mod road;
mod rollout;
mod sources;
mod state;
mod store;
mod way_back;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use palisade_nft::{Ledger, Nft, ReplaceError};
use palisade_rules::analysis::Side;
use palisade_rules::compile::{Compiled, FlowLog, Options, compile_from, safety_net_only};
use palisade_rules::resource::{Policy, PolicyKind};
use palisade_rules::ruleset::{Name, Ruleset};
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{Host, WorldKind, Worlds, resolve_from};
use time::OffsetDateTime;
use tracing::{info, warn};

pub use boot::{Booted, boot, keep as keep_for_boot};
pub use error::ReloadError;
pub use generation::{EndpointKey, Generation, StagedSince, Way, concerned, is_staged};
pub use history::{LastWords, Total, Unwritten};
pub use lock::{Lock, LockError, holder};
pub use panic::Panic;
pub use plan::{PlanError, Planned, Promote, Proposal};
pub use rollout::{ConfirmError, RolledBack, Terms, Window};
pub use sources::Sources;
pub use state::{State, StateError};
pub use store::{Entry, Standing, StoreError, Who};
pub use way_back::WayBackError;

use history::History;
use road::part;
use rollout::{Made, Rollout};
use store::Store;

use crate::config::Config;
use crate::guard::{self, GuardReport, Guarding};
use crate::kernel::KernelError;
use crate::kernel::cgroups::Cgroups;
use crate::source::{Decoder, Reader};

/// The name of the safety net that the daemon adds by itself.
pub const SAFETY_NET: &str = "zzz-final-allow-everything";

/// Generations that stay known, so that packets seen by an earlier one are still decided by it.
const REMEMBERED: usize = 8;

/// Rules of all the generations that stay known, but for the one in force and the one before it: about 3 kB each.
const REMEMBERED_RULES: usize = 100_000;

/// What the host has at the moment.
pub type Interfaces = BTreeMap<String, Vec<std::net::IpAddr>>;

/// How the kernel is made to hold a ruleset: from what it holds, or from what is known of that.
type Put = fn(&mut Nft, &Ruleset, &mut dyn Ledger) -> Result<palisade_nft::Applied, ReplaceError>;

/// Brings generations into force, one after the other.
pub struct Engine {
    config_path: PathBuf,
    config: Config,
    nft: Nft,
    state: State,
    history: History,
    cgroups: Arc<Cgroups>,
    interfaces: Interfaces,
    /// Whether the kernel is known to hold the generation in force: after a change that failed it may hold another.
    settled: bool,
    /// Whether somebody has set counters back, which are made anew by the next reload.
    has_reset: bool,
    generations: VecDeque<Arc<Generation>>,
    /// Forgotten ones that say what was counted in the running interval by counters that are gone.
    described: Vec<Arc<Generation>>,
    /// Whether the generation in force is to be kept on disk.
    unrecorded: bool,
    store: Store,
    rollout: Rollout,
    reader: Reader,
    decoder: Decoder,
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The generation in force; under a panic, the one that will be when it is over.
    pub generation: u64,
    /// Changes made in the kernel; 0 if it held everything already.
    pub changes: usize,
    /// What is worth knowing about the resources, ready to be shown.
    pub warnings: String,
    /// What the lockout guard has found, where it was asked.
    pub guard: GuardReport,
    /// Until when it has to be confirmed; `None` if it need not be.
    pub window: Option<Window>,
}

impl Engine {
    /// An engine with nothing in force yet. If the kernel has no table of ours, the safety net goes in at once, in a
    /// transaction of its own, before any policy is read; if it has one, that stays until the first generation replaces
    /// it in one step. Under a panic the kernel is left alone.
    pub fn start(
        config_path: PathBuf,
        config: Config,
        mut nft: Nft,
        cgroups: Arc<Cgroups>,
    ) -> Result<Self, ReloadError> {
        let state = State::open(&config.state_dir)?;
        protect(&config, &mut nft)?;
        let store = Store::open(&config.state_dir);
        let history = History::open(&config.state_dir);
        let mut engine = Engine {
            config_path,
            config,
            nft,
            state,
            history,
            cgroups,
            interfaces: Interfaces::new(),
            settled: false,
            has_reset: false,
            generations: VecDeque::new(),
            described: Vec::new(),
            unrecorded: false,
            store,
            rollout: Rollout::default(),
            reader: Reader::listening(),
            decoder: Decoder::default(),
        };
        let panic = Panic::new(&engine.config.state_dir);
        panic
            .obey_command_line(&mut engine.nft)
            .map_err(KernelError::from)?;
        engine.undo_unconfirmed();
        if !engine.panicked() {
            if let Some(table) = engine.nft.dump().map_err(KernelError::from)? {
                info!("the table inet palisade is there: it stays in force until the policies are read");
                let counters = table.counters.iter();
                let counters = counters.map(|(name, counter)| (name.as_str(), Some(counter.value)));
                engine.history.observe(None, counters);
            } else {
                engine.put(&safety_net_only(SAFETY_NET), Nft::replace)?;
                info!("no table inet palisade yet: the safety net is in");
            }
        }
        // What was counted before this daemon is no part of its first interval.
        engine.history.end_interval();
        Ok(engine)
    }

    /// Where the configuration is read from.
    pub fn config_path(&self) -> &Path {
        &self.config_path
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The generation in force, once there is one.
    pub fn current(&self) -> Option<&Arc<Generation>> {
        self.generations.back()
    }

    /// The generations that are known, the one in force last.
    pub fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.generations.iter()
    }

    /// Whether `palisade panic` keeps everything out of force.
    pub fn panicked(&self) -> bool {
        Panic::new(&self.config.state_dir).is_set()
    }

    /// The total of every counter of the generation in force, in the order of [`Compiled::counters`], and what is new of it
    /// since the last [`Engine::end_interval`]. Without a table these are the totals of when there was one.
    pub fn counters(&mut self) -> Result<Vec<Total>, KernelError> {
        let Some(current) = self.current().cloned() else {
            return Ok(Vec::new());
        };
        if self.panicked() {
            self.history.absorb();
        }
        let names: Vec<&str> = current.compiled.counters.keys().map(Name::as_str).collect();
        let reading = self.nft.read_counters(&names)?;
        let counters = names.iter().copied().zip(reading.values.iter().copied());
        let reset = self.history.observe(reading.table, counters);
        if reset > 0 {
            self.has_reset = true;
            warn!(
                "another program has reset {reset} counters (`nft reset counters`): palisade's totals go on, without what \
                 was counted between the last look and the reset; nft shows less until the next reload"
            );
        }
        Ok(self.history.totals(names.into_iter()))
    }

    /// Ends an interval of counting. Counters that were retired in it and had moved are given with the generation that
    /// says what they counted.
    pub fn end_interval(&mut self) -> Vec<(Arc<Generation>, Name, Total)> {
        let described = |(name, total): (String, Total)| {
            let name = Name::new(&name);
            let mut latest = self.generations.iter().rev().chain(self.described.iter().rev());
            let generation = latest.find(|generation| generation.compiled.counters.contains_key(&name))?;
            Some((Arc::clone(generation), name, total))
        };
        let moved = self.history.end_interval().into_iter();
        let moved = moved.filter_map(described).collect();
        self.described.clear();
        moved
    }

    /// The totals of all counters as they are to be kept on disk; `None` if they are, or if it is not time. With `at_once`
    /// it is time whenever something is not there yet.
    pub fn unwritten_totals(&self, at_once: bool) -> Option<Unwritten> {
        if at_once {
            self.history.unwritten()
        } else {
            self.history.due()
        }
    }

    /// How a reload makes the kernel hold something else: from what it was left with, as long as it is known to have that
    /// still, and from what it has if it may have been meddled with.
    fn reloading(&self) -> Put {
        if self.settled && !self.has_reset {
            Nft::update
        } else {
            Nft::replace
        }
    }

    /// Makes the kernel hold a generation and nothing beside it. Gives its number, and how many changes that took.
    fn put_and_adopt(&mut self, made: Made, put: Put) -> Result<(u64, usize), ReloadError> {
        let panicked = self.panicked();
        self.settled = false;
        let committing = part("commit");
        let changes = if panicked {
            0
        } else {
            self.put(&made.compiled.ruleset, put)?
        };
        drop(committing);
        let _adopting = part("adopt");
        self.settled = !panicked;
        let number = made.number;
        let generation = self.generation_of(made, changes);
        if !panicked {
            let counters = generation.compiled.counters.keys();
            self.history
                .in_force(counters.map(Name::as_str), OffsetDateTime::now_utc());
            self.unrecorded = true;
        }
        self.make_current(generation);
        Ok((number, changes))
    }

    /// The generation that was made, which takes so many changes to be in force.
    fn generation_of(&self, made: Made, changes: usize) -> Arc<Generation> {
        // What had to be put back was not in force all the time.
        let at = made.in_force_since.filter(|_| changes == 0).unwrap_or(made.now);
        let mut same = self.generations.iter().rev();
        let same = same.find(|known| Arc::ptr_eq(&known.snapshot, &made.snapshot));
        let known = match same {
            Some(known) => known.staged_since.clone(),
            None => self
                .state
                .staged_since(made.snapshot.policies.iter().map(Arc::as_ref)),
        };
        Arc::new(Generation::new(
            made.number,
            at,
            made.now,
            made.snapshot,
            made.worlds,
            made.compiled,
            &known,
        ))
    }

    /// This generation is the one in force from now on.
    fn make_current(&mut self, generation: Arc<Generation>) {
        self.generations.retain(|known| known.number != generation.number);
        self.generations.push_back(generation);
        self.forget();
    }

    /// What these resources make of a host, and the number of its generation.
    fn made(&mut self, config: &Config, snapshot: Arc<Snapshot>, host: Host, now: OffsetDateTime) -> Made {
        let current = self.current().cloned();
        let resolving = part("resolve");
        let worlds = resolve_from(current.as_deref().map(Generation::was_resolved), &snapshot, host);
        drop(resolving);
        let (number, compiled, in_force_since) = self.compiled(config, &worlds, current.as_deref(), now);
        Made {
            now,
            number,
            snapshot,
            worlds,
            compiled,
            in_force_since,
        }
    }

    /// What bringing these worlds into force would cut.
    fn ask_guard(&self, worlds: &Worlds, guarding: Guarding<'_>) -> Result<GuardReport, ReloadError> {
        let Some(current) = self.current() else {
            return Ok(GuardReport::default());
        };
        let side = |worlds| Side {
            worlds,
            world: WorldKind::Enforced,
        };
        let report = guard::judge(side(&current.worlds), side(worlds), guarding.caller);
        if report.refusal.is_some() && !guarding.force {
            return Err(ReloadError::Guard(Box::new(report)));
        }
        Ok(report)
    }

    /// The ruleset of these worlds and the number of its generation: that of `like` if it has the same, which is then said
    /// to be in force since when it is; `now` counts where nobody knows.
    fn compiled(
        &mut self,
        config: &Config,
        worlds: &Worlds,
        like: Option<&Generation>,
        now: OffsetDateTime,
    ) -> (u64, Compiled, Option<OffsetDateTime>) {
        let number = like.map_or(self.state.generation(), |like| like.number);
        let options = Options {
            deny: config.deny_action,
            flow_log: Some(FlowLog {
                group: config.flows.nflog_group,
                generation: number,
            }),
            ..Options::default()
        };
        let compiling = part("compile");
        let previous = self.current().cloned();
        let previous = previous.as_deref().map(Generation::was_compiled);
        let compiled = compile_from(previous, worlds, &options);
        drop(compiling);
        let _comparing = part("compare");
        let in_force_since = match like {
            Some(like) => (like.compiled == compiled).then_some(like.at),
            None if number > 0 && self.nft.verify(&compiled.ruleset).is_ok() => {
                Some(self.state.generation_at().unwrap_or(now))
            }
            None => None,
        };
        if in_force_since.is_some() || like.is_none() && self.rollout.comes_back() {
            (number, compiled, in_force_since)
        } else {
            let number = self.state.used() + 1;
            (number, compiled.renumbered(number), None)
        }
    }

    /// Forgets the oldest generations, as far as there are too many.
    fn forget(&mut self) {
        let rules = |generation: &Arc<Generation>| {
            let chains = generation.compiled.ruleset.chains.iter();
            chains.map(|chain| chain.rules.len()).sum::<usize>()
        };
        while self.generations.len() > REMEMBERED
            || (self.generations.len() > 2
                && self.generations.iter().map(rules).sum::<usize>() > REMEMBERED_RULES)
        {
            let forgotten = self.generations.pop_front();
            let counters = |generation: &Arc<Generation>| {
                let names = generation.compiled.counters.keys();
                self.history.has_untold(names.map(Name::as_str))
            };
            self.described.extend(forgotten.filter(counters));
        }
        let excess = self.described.len().saturating_sub(REMEMBERED);
        self.described.drain(..excess);
    }

    /// Keeps on disk what a change has left to keep: the generation, and the last values of counters that are gone. The
    /// disk may take its time, so that the change is to be published first.
    pub fn keep(&mut self) {
        let _keeping = part("keep");
        if std::mem::take(&mut self.unrecorded)
            && let Some(current) = self.generations.back()
            && let Err(error) = self.state.record(current)
        {
            // The rules are in force; a full disk must not undo them.
            warn!(%error, "the generation is in force, but its number could not be kept");
        }
        self.keep_files();
        self.let_go();
    }

    /// Lets the kernel forget counters whose rules are gone, once what they have counted is on disk: whoever is killed in
    /// between loses nothing.
    fn let_go(&mut self) {
        if let Some(unwritten) = self.history.urgent() {
            unwritten.write();
        }
        self.nft.delete_retired();
    }

    /// Makes the kernel hold this ruleset, and says how many changes that took. A panic called meanwhile wins: its note
    /// is written before it removes the table, so that here either the note is seen or the table goes afterwards.
    fn put(&mut self, ruleset: &Ruleset, put: Put) -> Result<usize, ReloadError> {
        self.let_go();
        self.history.absorb();
        let history = &mut self.history;
        let applied = match put(&mut self.nft, ruleset, history) {
            // Another writer came between the change and reading it back: put it right.
            Err(ReplaceError::Mismatch(_)) => self.nft.replace(ruleset, history),
            result => result,
        };
        let applied = applied.map_err(KernelError::from)?;
        self.settle()?;
        Ok(applied.changes)
    }

    /// What follows every change that is in force.
    fn settle(&mut self) -> Result<(), ReloadError> {
        let resumed = self.history.take_resumed();
        if resumed > 0 {
            info!("{resumed} counters were made anew, and go on from their totals");
        }
        if self.panicked() {
            let deleted = self.nft.delete_table(&mut self.history);
            deleted.map_err(KernelError::from)?;
            return Err(ReloadError::Panic);
        }
        Ok(())
    }

    /// The socket, the state directory and the flow file belong to the running process.
    fn fixed_at_start(&self, mut config: Config) -> Config {
        let keep = |key: &str, changed: bool| {
            if changed {
                warn!(
                    key,
                    "changed in the configuration: takes effect when palisaded is restarted"
                );
            }
            changed
        };
        if keep("socket", config.socket != self.config.socket) {
            config.socket.clone_from(&self.config.socket);
        }
        if keep("stateDir", config.state_dir != self.config.state_dir) {
            config.state_dir.clone_from(&self.config.state_dir);
        }
        if keep("protectTable", config.protect_table != self.config.protect_table) {
            config.protect_table = self.config.protect_table;
        }
        if keep("flows", config.flows != self.config.flows) {
            config.flows.clone_from(&self.config.flows);
        }
        config
    }
}

/// Makes our table ours alone, if that is configured and the kernel can.
fn protect(config: &Config, nft: &mut Nft) -> Result<(), KernelError> {
    if config.protect_table && !nft.protect()? {
        warn!(
            "protectTable needs Linux 6.9 or later: others can change table inet palisade, which is noticed and put right"
        );
    }
    Ok(())
}

/// The net that keeps everyone reachable, unless an enforced policy of its name is written.
fn add_safety_net(config: &Config, snapshot: &mut Snapshot) {
    let is_net = |policy: &Arc<Policy>| {
        policy.staged.is_none()
            && policy.id.kind == PolicyKind::GlobalNetworkPolicy
            && policy.id.name == SAFETY_NET
    };
    if config.safety_net && !snapshot.policies.iter().any(is_net) {
        static NET: LazyLock<Arc<Policy>> = LazyLock::new(|| Arc::new(Policy::safety_net(SAFETY_NET)));
        snapshot.policies.push(Arc::clone(&NET));
    }
}
