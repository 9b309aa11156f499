//! What every counter has counted ever: the kernel forgets it with the table, and with each counter that goes.
//!
//! A total never falls. As long as the table lives, the kernel's own values are the totals; a counter that is made, in a
//! table made anew or for a rule that comes back, begins at its total, so that `nft list counters` says the same. Only
//! where somebody has reset counters does the kernel say less, until the next reload makes them anew.

mod file;

use std::collections::BTreeMap;
use std::path::Path;

use palisade_nft::{CounterValue, Ledger};
use time::OffsetDateTime;
use tracing::warn;

pub use file::Unwritten;
use file::{AT_PANIC, HISTORY, HistoryFile, Line};

use super::state::replace_file;

/// Counters that are remembered, those in force among them. Of those that are not, the oldest go first.
const REMEMBERED: usize = 200_000;

/// The totals of all counters there are, and of those that were.
#[derive(Debug)]
pub(super) struct History {
    counters: BTreeMap<Box<str>, Counter>,
    /// The table that was read last; none before the first reading of this process.
    table: Option<u64>,
    file: HistoryFile,
    /// Counts up with every change.
    version: u64,
    /// The version that is to be on disk as soon as can be.
    urgent: u64,
    /// Counters that were made since this was asked last, and did not begin at zero.
    resumed: usize,
}

/// A counter's total, and what of it is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// What it has counted ever.
    pub total: CounterValue,
    /// What of it the last interval has not seen.
    pub delta: CounterValue,
}

#[derive(Clone, Debug, Default)]
struct Counter {
    total: CounterValue,
    /// What the kernel had in it last; `None` where that is not known, or is gone.
    held: Option<CounterValue>,
    /// The total at the end of the last interval.
    told: CounterValue,
    /// When it was last in force, if it is not.
    retired: Option<OffsetDateTime>,
}

impl Counter {
    /// The total if the kernel has `held`. That is less than before only where somebody has reset it, or has made the table
    /// anew: then the last total counts, and what may have come since does not.
    fn total_with(&self, held: CounterValue) -> CounterValue {
        match self.held {
            Some(before) if is_below(held, before) => self.total,
            Some(before) => plus(self.total, minus(held, before)),
            // Both tell of the same packets.
            None => CounterValue {
                packets: self.total.packets.max(held.packets),
                bytes: self.total.bytes.max(held.bytes),
            },
        }
    }

    fn as_total(&self) -> Total {
        Total {
            total: self.total,
            delta: minus(self.total, self.told),
        }
    }
}

impl History {
    /// The history in this state directory. What cannot be read is told, and set aside.
    pub(super) fn open(directory: &Path) -> Self {
        let mut history = History {
            counters: BTreeMap::new(),
            table: None,
            file: HistoryFile::new(directory),
            version: 0,
            urgent: 0,
            resumed: 0,
        };
        let is_whole = file::read(directory, HISTORY, |line| {
            let counter = Counter {
                total: line.value(),
                retired: line.retired,
                ..Counter::default()
            };
            history.counters.insert(line.counter.into(), counter);
        });
        // What was damaged is written anew.
        history.version = u64::from(!is_whole);
        history.absorb();
        history
    }

    /// Takes in what the kernel has: counters in the order of their names, with `None` for one that it has not. Says how
    /// many of them somebody has reset.
    pub(super) fn observe<'n>(
        &mut self,
        table: Option<u64>,
        counters: impl Iterator<Item = (&'n str, Option<CounterValue>)> + Clone,
    ) -> usize {
        let is_same_table = self.table.is_some() && self.table == table;
        self.table = table;
        let mut moved = self.know(counters.clone().map(|(name, _)| name));
        let mut reset = 0;
        each(&mut self.counters, counters, |counter, held| {
            let before = counter.total;
            match (held, counter.held) {
                // A table that another one replaced may have come with any values: it is not known what is new.
                (Some(held), Some(earlier)) if is_below(held, earlier) => {
                    reset += 1;
                    if is_same_table {
                        counter.total = plus(counter.total, held);
                    }
                }
                (Some(held), _) => counter.total = counter.total_with(held),
                (None, _) => {}
            }
            counter.held = held;
            moved |= counter.total != before;
        });
        self.version += u64::from(moved);
        reset
    }

    /// The totals of these counters, which must be in the order of their names.
    pub(super) fn totals<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<Total> {
        let mut known = self.counters.iter().peekable();
        let total = |name: &str| {
            while known.next_if(|(other, _)| ***other < *name).is_some() {}
            let found = known.next_if(|(other, _)| ***other == *name);
            found.map(|(_, counter)| counter.as_total()).unwrap_or_default()
        };
        names.map(total).collect()
    }

    /// Ends an interval: the deltas begin anew. Gives the retired counters that have moved in it.
    pub(super) fn end_interval(&mut self) -> Vec<(String, Total)> {
        let mut moved = Vec::new();
        for (name, counter) in &mut self.counters {
            if counter.retired.is_some() && counter.told != counter.total {
                moved.push((name.to_string(), counter.as_total()));
            }
            counter.told = counter.total;
        }
        moved
    }

    /// Notes which counters are in force: these, which must be in the order of their names, and no others.
    pub(super) fn in_force<'n>(&mut self, names: impl Iterator<Item = &'n str> + Clone, now: OffsetDateTime) {
        let added = self.know(names.clone());
        let mut names = names.peekable();
        let mut changed = added;
        self.counters.retain(|name, counter| {
            while names.next_if(|other| **other < **name).is_some() {}
            let is_in_force = names.next_if(|other| **other == **name).is_some();
            changed |= is_in_force != counter.retired.is_none();
            counter.retired = match counter.retired {
                _ if is_in_force => None,
                None => Some(now),
                earlier => earlier,
            };
            // Without a total there is nothing to remember.
            is_in_force || counter.total != CounterValue::default()
        });
        self.version += u64::from(changed);
        self.forget(REMEMBERED);
    }

    /// What is to be written at once, if anything is: the kernel has forgotten it.
    pub(super) fn urgent(&self) -> Option<Unwritten> {
        (!self.file.has(self.urgent)).then(|| self.current())
    }

    /// Whether any of these counters is retired and has moved in the interval.
    pub(super) fn has_untold<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        let is_untold = |counter: &Counter| counter.retired.is_some() && counter.told != counter.total;
        names.any(|name| self.counters.get(name).is_some_and(is_untold))
    }

    /// What is to be written now, if anything is: at most once a minute where it is much, or was tried in vain.
    pub(super) fn due(&self) -> Option<Unwritten> {
        self.file
            .is_due(self.version, self.counters.len())
            .then(|| self.current())
    }

    /// What is to be written, if anything is.
    pub(super) fn unwritten(&self) -> Option<Unwritten> {
        (!self.file.has(self.version)).then(|| self.current())
    }

    /// Takes over what `palisade panic` has read last, before it removed the table.
    pub(super) fn absorb(&mut self) {
        let path = self.file.directory().join(AT_PANIC);
        if !path.exists() {
            return;
        }
        let directory = self.file.directory().to_owned();
        file::read(&directory, AT_PANIC, |line| {
            self.gone(&line.counter, line.value());
        });
        self.version += 1;
        // Only what is safe elsewhere may go. What stays is taken over again, and changes nothing.
        if self.current().write()
            && path.exists()
            && let Err(error) = std::fs::remove_file(&path)
        {
            warn!(%error, "{} could not be removed", path.display());
        }
    }

    /// How many counters were made since this was asked last that began at an earlier total.
    pub(super) fn take_resumed(&mut self) -> usize {
        std::mem::take(&mut self.resumed)
    }

    /// Makes sure that these are known; says whether one was not.
    fn know<'n>(&mut self, names: impl Iterator<Item = &'n str>) -> bool {
        let mut known = self.counters.keys().peekable();
        let is_missing = |name: &&str| {
            while known.next_if(|other| ***other < **name).is_some() {}
            known.next_if(|other| ***other == **name).is_none()
        };
        let missing: Vec<Box<str>> = names.filter(is_missing).map(Box::from).collect();
        let some = !missing.is_empty();
        let fresh = missing.into_iter().map(|name| (name, Counter::default()));
        self.counters.extend(fresh);
        some
    }

    /// The kernel has a counter no more; `last` is what it had in it.
    fn gone(&mut self, name: &str, last: CounterValue) {
        let counter = self.counters.entry(name.into()).or_default();
        counter.total = counter.total_with(last);
        counter.held = None;
    }

    /// Forgets the retired counters of longest ago, until no more than this many counters are left.
    fn forget(&mut self, most: usize) {
        let excess = self.counters.len().saturating_sub(most);
        if excess == 0 {
            return;
        }
        let retired = self.counters.iter();
        let mut retired: Vec<(OffsetDateTime, Box<str>)> = retired
            .filter_map(|(name, counter)| Some((counter.retired?, name.clone())))
            .collect();
        retired.sort_unstable();
        retired.truncate(excess);
        for (_, name) in &retired {
            self.counters.remove(name);
        }
        if !retired.is_empty() {
            warn!(
                "more than {most} counters: the totals of {} rules that were removed longest ago are forgotten",
                retired.len()
            );
        }
    }

    fn current(&self) -> Unwritten {
        let counters = self.counters.iter();
        let counted = counters.filter(|(_, counter)| counter.total != CounterValue::default());
        let lines = counted.map(|(name, counter)| Line::new(name, counter.total, counter.retired));
        self.file.unwritten(self.version, file::text(lines))
    }
}

impl Ledger for History {
    fn total(&self, name: &str, held: Option<CounterValue>) -> CounterValue {
        match (self.counters.get(name), held) {
            (Some(counter), Some(held)) => counter.total_with(held),
            (Some(counter), None) => counter.total,
            (None, held) => held.unwrap_or_default(),
        }
    }

    fn made(&mut self, name: &str, value: CounterValue) {
        let counter = self.counters.entry(name.into()).or_default();
        counter.total = value;
        counter.held = Some(value);
        self.resumed += usize::from(value != CounterValue::default());
        self.version += 1;
    }

    fn retire(&mut self, last: &[(String, CounterValue)]) {
        for (name, value) in last {
            self.gone(name, *value);
        }
        self.version += 1;
        // Not in the next interval: the kernel is about to forget it.
        if last.iter().any(|(_, value)| *value != CounterValue::default()) {
            self.urgent = self.version;
        }
    }

    fn writes_first(&self) -> bool {
        true
    }
}

/// The ledger of `palisade panic`, which works beside a daemon, and without one: it leaves what it has read last for the
/// next daemon to take over.
#[derive(Debug)]
pub struct LastWords<'d> {
    directory: &'d Path,
    /// Whether all that there was to keep is kept.
    pub kept: std::io::Result<()>,
}

impl<'d> LastWords<'d> {
    /// Left in this state directory.
    pub fn new(directory: &'d Path) -> Self {
        LastWords {
            directory,
            kept: Ok(()),
        }
    }
}

impl Ledger for LastWords<'_> {
    fn total(&self, _: &str, held: Option<CounterValue>) -> CounterValue {
        held.unwrap_or_default()
    }

    fn made(&mut self, _: &str, _: CounterValue) {}

    fn retire(&mut self, last: &[(String, CounterValue)]) {
        let lines = last.iter().map(|(name, value)| Line::new(name, *value, None));
        self.kept = replace_file(self.directory, AT_PANIC, &file::text(lines));
    }
}

/// Gives each of these counters, which are known and in the order of their names, to `change`.
fn each<'n>(
    counters: &mut BTreeMap<Box<str>, Counter>,
    values: impl Iterator<Item = (&'n str, Option<CounterValue>)>,
    mut change: impl FnMut(&mut Counter, Option<CounterValue>),
) {
    let mut known = counters.iter_mut();
    for (name, value) in values {
        if let Some((_, counter)) = known.find(|(other, _)| &***other == name) {
            change(counter, value);
        }
    }
}

fn is_below(a: CounterValue, b: CounterValue) -> bool {
    a.packets < b.packets || a.bytes < b.bytes
}

fn plus(a: CounterValue, b: CounterValue) -> CounterValue {
    CounterValue {
        packets: a.packets.saturating_add(b.packets),
        bytes: a.bytes.saturating_add(b.bytes),
    }
}

fn minus(a: CounterValue, b: CounterValue) -> CounterValue {
    CounterValue {
        packets: a.packets.saturating_sub(b.packets),
        bytes: a.bytes.saturating_sub(b.bytes),
    }
}

#[cfg(test)]
mod tests;
