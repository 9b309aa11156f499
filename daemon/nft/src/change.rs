//! From one ruleset to the next: in one transaction, and then looked at.
//!
//! There are two roads. [`Nft::replace`] reads what is there, all of it, and needs to know nothing. [`Nft::update`] goes
//! from what it knows is there to what is to be there, and touches, sends and reads only what differs: the kernel refuses
//! the transaction if anybody has changed anything since. Whatever goes wrong on the second road leads back to the first.

use std::mem::{Discriminant, discriminant};

use nix::errno::Errno;
use palisade_rules::ruleset::{Chain, Match, Name, Rule, Ruleset, Statement, TABLE};

use crate::abi::obj;
use crate::counters::{self, Ledger};
use crate::diff::Touched;
use crate::diff::held;
use crate::dump::{self, CounterValue};
use crate::error::{ApplyError, ReadError, ReplaceError, VerifyError, read_error};
use crate::kind::{MapKind, SetKind};
use crate::mismatch::{Mismatch, compare, elements_differ, rules_differ, ways_differ};
use crate::nft::{ATTEMPTS, Held, Nft};
use crate::socket::RequestError;
use crate::transaction::{Operation, Transaction};

/// The most elements of a set or map that are read back. That the kernel took those of a larger one has to do.
const READ_BACK: usize = 1000;

/// The most elements of all sets, and of all maps, of one change that are read back.
const READ_BACK_OF_ALL: usize = 20_000;

/// From so many chains, sets or maps on, it is some of them that are read back: about half as many, spread evenly, and all
/// chains with a form of rule that no other has. To read takes about as long as to write, and the kernel has said already
/// that it took every one of them: what is left to find are forms that it understands otherwise.
const MANY: usize = 1000;

/// What [`Nft::replace`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// How many operations were needed; 0 if the kernel held the ruleset already.
    pub changes: usize,
}

/// What [`Nft::repair`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// What was wrong.
    pub mismatch: Mismatch,
    /// How many operations put it right.
    pub changes: usize,
}

/// The last values of counters that retire.
type Last = Vec<(String, CounterValue)>;

/// A change that is ready to be sent.
pub(crate) struct Change<'d> {
    /// The ruleset that it leads to.
    pub(crate) desired: &'d Ruleset,
    /// What makes it so, counters that retire aside.
    pub(crate) transaction: Transaction,
    /// What the transaction touches.
    pub(crate) touched: Touched<'d>,
    /// The counters that retire, in order of their names.
    pub(crate) retired: Vec<String>,
}

impl<'d> Change<'d> {
    pub(crate) fn new(desired: &'d Ruleset, mut transaction: Transaction, touched: Touched<'d>) -> Self {
        let retired = transaction.take_retired_counters();
        Change {
            desired,
            transaction,
            touched,
            retired,
        }
    }
}

impl Nft {
    /// Makes the kernel's table hold exactly this ruleset, in one transaction, and checks that it does.
    ///
    /// Reads what is there, sends what differs, and starts over if another writer got in between, up to three times.
    /// Counters begin at what the ledger says. Those that are not wanted any more go in a transaction of their own: only
    /// once no rule counts in them, their last values can be read for the ledger.
    pub fn replace(&mut self, desired: &Ruleset, ledger: &mut dyn Ledger) -> Result<Applied, ReplaceError> {
        let mut attempt = 1;
        loop {
            let (generation, table) = self.read()?;
            let change = self.change(desired, table.as_ref(), ledger)?;
            match self.apply(&change.transaction, generation) {
                Ok(()) => return self.complete(&change, generation, ledger),
                Err(ApplyError::Conflict) if attempt < ATTEMPTS => {
                    tracing::debug!(attempt, "another writer changed nf_tables, trying again");
                    attempt += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As [`Nft::replace`], and as fast as the change is small: what the last replacement left in the kernel counts as
    /// what is there, as long as nf_tables has not moved on since. The kernel itself makes sure of that when it takes the
    /// transaction. Once it is in force, what it touched is read and checked. Counters that somebody has set back stay so.
    pub fn update(&mut self, desired: &Ruleset, ledger: &mut dyn Ledger) -> Result<Applied, ReplaceError> {
        let current = self.generation_id()?;
        let Some(held) = self.held.take().filter(|held| held.generation == current) else {
            return self.replace(desired, ledger);
        };
        let Some(steps) = held::steps(&held.ruleset, desired, ledger) else {
            return self.replace(desired, ledger);
        };
        let (transaction, touched) = steps.finish();
        let change = Change::new(desired, transaction, touched);
        match self.apply(&change.transaction, held.generation) {
            Ok(()) => self.complete(&change, held.generation, ledger),
            // What the kernel does not have as expected, it refuses.
            Err(ApplyError::Conflict | ApplyError::Refused(_)) => self.replace(desired, ledger),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts right what others have done to our table: as [`Nft::replace`], but says what was wrong, and does nothing where
    /// only values of counters differ. `None` if nothing is wrong.
    pub fn repair(
        &mut self,
        desired: &Ruleset,
        ledger: &mut dyn Ledger,
    ) -> Result<Option<Repaired>, ReplaceError> {
        let current = self.generation_id()?;
        if self.held.as_ref().is_some_and(|held| held.generation == current) {
            return Ok(None);
        }
        let mut attempt = 1;
        loop {
            let (generation, table) = self.read()?;
            let Err(mismatch) = compare(desired, table.as_ref()) else {
                self.hold(generation, desired);
                return Ok(None);
            };
            let change = self.change(desired, table.as_ref(), ledger)?;
            match self.apply(&change.transaction, generation) {
                Ok(()) => {
                    let Applied { changes } = self.complete(&change, generation, ledger)?;
                    return Ok(Some(Repaired { mismatch, changes }));
                }
                Err(ApplyError::Conflict) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the kernel's table holds exactly this ruleset, the values and comments of counters aside.
    pub fn verify(&mut self, desired: &Ruleset) -> Result<(), VerifyError> {
        self.held = None;
        let (generation, table) = self.read()?;
        compare(desired, table.as_ref())?;
        self.hold(generation, desired);
        Ok(())
    }

    fn hold(&mut self, generation: u32, ruleset: &Ruleset) {
        let ruleset = ruleset.clone();
        self.held = Some(Held { generation, ruleset });
    }

    /// Checks that the kernel holds what was just put there, and takes leave of the counters that retire. `before` is the
    /// generation that the change was made against.
    fn complete(
        &mut self,
        change: &Change<'_>,
        before: u32,
        ledger: &mut dyn Ledger,
    ) -> Result<Applied, ReplaceError> {
        for operation in change.transaction.operations() {
            if let Operation::AddCounter { name, value, .. } = operation {
                ledger.made(name, *value);
            }
        }
        self.held = None;
        let last = match self.read_back(change, before)? {
            Some((generation, last)) => {
                self.hold(generation, change.desired);
                last
            }
            // Somebody else has changed something since, or it is not what it should be.
            None => self.compare_all(change)?,
        };
        if !last.is_empty() {
            ledger.retire(&last);
            self.retired = last.into_iter().map(|(name, _)| name).collect();
            if !ledger.writes_first() {
                self.delete_retired();
            }
        }
        Ok(Applied {
            changes: change.transaction.len() + change.retired.len(),
        })
    }

    /// The generation that the change has made, and the last values of the counters that retire, if the kernel holds what
    /// the change has put there and there was no other change.
    fn read_back(&mut self, change: &Change<'_>, before: u32) -> Result<Option<(u32, Last)>, ReadError> {
        let made = before.wrapping_add(u32::from(!change.transaction.is_empty()));
        if self.generation_id()? != made {
            return Ok(None);
        }
        match self.differs(&change.touched) {
            Ok(None) => {}
            Ok(Some(difference)) => {
                tracing::debug!(difference, "what was changed is not what it should be");
                return Ok(None);
            }
            Err(RequestError::Interrupted) => return Ok(None),
            Err(error) => return Err(read_error(error)),
        }
        let names: Vec<&str> = change.retired.iter().map(String::as_str).collect();
        let values = if names.is_empty() {
            Vec::new()
        } else {
            match counters::read(&mut self.socket, &names) {
                Ok(reading) => reading.values,
                Err(RequestError::Interrupted) => return Ok(None),
                Err(error) => return Err(read_error(error)),
            }
        };
        if self.generation_id()? != made {
            return Ok(None);
        }
        let last = change.retired.iter().zip(values);
        let last = last.filter_map(|(name, value)| Some((name.clone(), value?)));
        Ok(Some((made, last.collect())))
    }

    /// What differs in the kernel of what was touched, in words; the first that is found.
    fn differs(&mut self, touched: &Touched<'_>) -> Result<Option<String>, RequestError> {
        let socket = &mut self.socket;
        for chain in some_chains(&touched.chains) {
            let rules = dump::rules(socket, chain.name.as_str())?;
            if let Some(difference) = rules_differ(&rules, chain) {
                return Ok(Some(difference));
            }
        }
        for (name, set) in small(&touched.sets, |set| set.elements.len()) {
            let held = dump::set_elements(socket, name.as_str(), SetKind::of(&set.elements))?;
            if let Some(difference) = elements_differ(name, held.as_ref(), &set.elements) {
                return Ok(Some(difference));
            }
        }
        for (name, map) in small(&touched.maps, |map| map.ways.len()) {
            let held = dump::map_ways(socket, name.as_str(), MapKind::of(&map.ways))?;
            if let Some(difference) = ways_differ(name, held.as_deref(), &map.ways) {
                return Ok(Some(difference));
            }
        }
        Ok(None)
    }

    /// Compares the whole table with what it is to hold. Gives the last values of the counters that retire.
    fn compare_all(&mut self, change: &Change<'_>) -> Result<Last, ReplaceError> {
        let (generation, mut table) = self.read()?;
        let mut last = Vec::new();
        if let Some(table) = &mut table {
            let counters = &mut table.counters;
            let taken = change
                .retired
                .iter()
                .filter_map(|name| counters.remove_entry(name));
            last.extend(taken.map(|(name, counter)| (name, counter.value)));
        }
        compare(change.desired, table.as_ref())?;
        self.hold(generation, change.desired);
        Ok(last)
    }

    /// Deletes the counters that have retired in the last replacement, if they are still there. It comes before the next
    /// one. Should the kernel refuse it, that finds them.
    pub fn delete_retired(&mut self) {
        if self.retired.is_empty() {
            return;
        }
        let deletion = |name| Operation::DeleteObject {
            name,
            kind: obj::COUNTER,
        };
        let deletion = Transaction::new(self.retired.drain(..).map(deletion).collect());
        let after = self.apply(&deletion, 0).map(|()| self.generation_id());
        if let Err(error) = &after {
            tracing::warn!(%error, "counters of rules that are gone stay in the kernel until the next reload");
        }
        // Nobody else has changed anything if the deletion made the very next generation.
        self.held = self.held.take().and_then(|held| {
            let generation = held.generation.wrapping_add(1);
            let is_next = matches!(after, Ok(Ok(after)) if after == generation);
            is_next.then_some(Held { generation, ..held })
        });
    }

    /// Deletes our table with all that is in it, so that every packet passes. It is fine if there is none.
    ///
    /// It is switched off first: then every packet passes already, however long it takes to read the last values of the
    /// counters for the ledger. Whatever fails of that, the table goes.
    ///
    /// # Errors
    /// [`ApplyError::Owned`] while it belongs to another process, among others.
    pub fn delete_table(&mut self, ledger: &mut dyn Ledger) -> Result<(), ApplyError> {
        self.held = None;
        self.retired.clear();
        let head = dump::head(&mut self.socket, TABLE);
        let flags = match &head {
            Ok(None) => return Ok(()),
            Ok(Some(head)) => {
                self.may_change(head.owner)?;
                head.flags
            }
            Err(_) => 0,
        };
        // The kernel does not let an owner do that. It is told of a panic late, if ever: the others are quick.
        let off = self.apply(&Transaction::new(vec![Operation::SwitchOff { flags }]), 0);
        let last = off.is_ok().then(|| self.counters().unwrap_or_default());
        let last: Vec<(String, CounterValue)> = last.into_iter().flatten().collect();
        if !last.is_empty() {
            ledger.retire(&last);
        }
        let deletion = Transaction::new(vec![Operation::DeleteTable]);
        match self.apply(&deletion, 0) {
            Err(ApplyError::Refused(refusals)) if refusals.iter().all(|r| r.errno == Errno::ENOENT) => Ok(()),
            answer => answer,
        }
    }
}

/// The chains that are read back.
#[expect(clippy::disallowed_types, reason = "the set of forms is never gone through")]
fn some_chains<'t>(chains: &'t [&'t Chain]) -> impl Iterator<Item = &'t Chain> {
    let step = step(chains.len());
    let mut forms = std::collections::HashSet::new();
    let each = chains.iter().enumerate();
    each.filter(move |(index, chain)| {
        let is_one = index % step == 0;
        // Even where it is read, others like it need not be.
        let mut has_another_form = false;
        if step > 1 {
            for rule in &chain.rules {
                has_another_form |= forms.insert(form(rule));
            }
        }
        is_one || has_another_form || chain.hook.is_some()
    })
    .map(|(_, chain)| *chain)
}

/// The kinds of a rule's conditions and statements.
fn form(rule: &Rule) -> (Vec<Discriminant<Match>>, Vec<Discriminant<Statement>>) {
    (
        rule.matches.iter().map(discriminant).collect(),
        rule.statements.iter().map(discriminant).collect(),
    )
}

/// The sets or maps that are read back, which have so many elements.
fn small<'t, T>(
    all: &'t [(&'t Name, &'t T)],
    elements: impl Fn(&T) -> usize,
) -> impl Iterator<Item = (&'t Name, &'t T)> {
    let mut left = READ_BACK_OF_ALL;
    all.iter()
        .step_by(step(all.len()))
        .copied()
        .filter(move |(_, one)| {
            let elements = elements(one);
            let is_read = elements <= left.min(READ_BACK);
            left -= if is_read { elements } else { 0 };
            is_read
        })
}

/// Of so many, every which one is read back.
fn step(count: usize) -> usize {
    if count < MANY { 1 } else { count.div_ceil(MANY / 2) }
}

#[cfg(test)]
mod tests {
    use palisade_rules::ruleset::Comment;

    use super::*;

    #[test]
    fn of_many_chains_those_are_read_back_that_are_like_no_other() {
        let chain = |index: usize, statement: &Statement| Chain {
            name: Name::new(&format!("chain-{index}")),
            hook: None,
            comment: Comment::default(),
            rules: vec![Rule {
                statements: vec![statement.clone()],
                ..Rule::default()
            }],
        };
        let read = |count: usize| {
            let mut chains: Vec<Chain> = (0..count).map(|index| chain(index, &Statement::Accept)).collect();
            chains[count - 2] = chain(count - 2, &Statement::Return);
            let chains: Vec<&Chain> = chains.iter().collect();
            let read = some_chains(&chains).map(|chain| chain.name.to_string());
            (
                read.count(),
                some_chains(&chains).any(|chain| chain.name == chains[count - 2].name),
            )
        };
        assert_eq!(read(MANY - 1), (MANY - 1, true));
        assert_eq!(read(10 * MANY), (MANY / 2 + 1, true));
    }

    #[test]
    fn elements_are_read_back_up_to_a_limit() {
        let (name, sizes) = (Name::new("set"), [READ_BACK + 1, READ_BACK, 7]);
        let few: Vec<_> = sizes.iter().map(|size| (&name, size)).collect();
        let read: Vec<usize> = small(&few, |size| *size).map(|(_, size)| *size).collect();
        assert_eq!(read, [READ_BACK, 7]);
        let many = vec![(&name, &READ_BACK); MANY - 1];
        assert_eq!(small(&many, |size| *size).count(), READ_BACK_OF_ALL / READ_BACK);
    }
}
