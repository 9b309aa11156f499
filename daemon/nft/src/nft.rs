//! Palisade's table in the kernel: read it, change it, compare it.

use std::collections::BTreeMap;
use std::io;

use nix::errno::Errno;
use nix::libc;
use palisade_rules::ruleset::{Ruleset, TABLE};

use crate::abi::obj;
use crate::counters::{self, Earlier, Ledger, Reading};
use crate::dump::{self, CounterValue, KernelTable};
use crate::encode::{Batch, encode};
use crate::handle::EncodeError;
use crate::mismatch::{Mismatch, compare};
use crate::program::Instruction;
use crate::socket::{Failure, RequestError, Socket};
use crate::transaction::{Operation, Transaction};

/// How often a read, or a replacement, is tried again when another writer got in between.
const ATTEMPTS: usize = 4;

/// A connection to nf_tables in one network namespace: that of the thread that opened it.
///
/// Calls block until the kernel is done: about 15 µs for each rule that changes.
pub struct Nft {
    pub(crate) socket: Socket,
    /// What the last replacement read back, and the generation that it is of.
    held: Option<(u32, KernelTable)>,
    /// Counters that nothing counts in any more, and whose last values may not be safe yet.
    retired: Vec<String>,
    /// Whether our table is to belong to this connection.
    pub(crate) protect: bool,
}

/// Why nf_tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The process may not.
    #[error("nf_tables needs CAP_NET_ADMIN in this network namespace: run as root, or grant the capability")]
    Privilege,
    /// The kernel cannot.
    #[error(
        "this kernel has no nf_tables: load it with `modprobe nf_tables`, or use a kernel built with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"
    )]
    NoNfTables,
    /// Something else.
    #[error("cannot open a netlink socket to nf_tables")]
    Io(#[source] io::Error),
}

/// Why the kernel's state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Other writers kept changing nf_tables.
    #[error(
        "nf_tables changed during each of {ATTEMPTS} attempts to read table inet {TABLE}; something else keeps changing it"
    )]
    KeepsChanging,
    /// The kernel refused the request.
    #[error("the kernel refused to list table inet {TABLE}: {0}")]
    Refused(Refusal),
    /// The socket failed.
    #[error("reading table inet {TABLE} over netlink failed")]
    Io(#[source] io::Error),
}

/// Why a transaction is not in force. Whatever the reason, nothing of it is; only where the socket failed, who knows.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// nf_tables is no longer what the transaction was computed against.
    #[error("something else changed nf_tables at the same time; nothing was applied")]
    Conflict,
    /// The process may not.
    #[error("changing nf_tables needs CAP_NET_ADMIN in this network namespace; nothing was applied")]
    Privilege,
    /// The table is another process's.
    #[error(
        "table inet {TABLE} belongs to another process, the one with netlink port {port}, and nobody else can change it; \
         nothing was applied"
    )]
    Owned {
        /// The port of its socket.
        port: u32,
    },
    /// The kernel refused operations; these are all that it refused.
    #[error("the kernel refused the change, nothing was applied: {}", list(.0))]
    Refused(Vec<Refusal>),
    /// An operation does not fit a message.
    #[error("{operation} is impossible, nothing was applied: {source}")]
    Unencodable {
        /// The operation in words.
        operation: String,
        /// What is wrong with it.
        source: EncodeError,
    },
    /// A batch goes in one datagram, and this process may not send one so large.
    #[error(
        "the change takes {bytes} bytes, more than this process may send at once; nothing was applied. Grant it CAP_NET_ADMIN in the initial user namespace, or raise net.core.wmem_max"
    )]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// The socket failed. What was sent may be in force all the same.
    #[error("sending the change over netlink failed")]
    Io(#[source] io::Error),
}

/// One thing that the kernel refused. Its `Display` is as in "adding rule 3 of chain input: No such file or directory".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {}{}", .errno.desc(), .detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default())]
pub struct Refusal {
    /// What was refused.
    pub operation: String,
    /// The error.
    pub errno: Errno,
    /// The kernel's own words, where it has any.
    pub detail: Option<String>,
}

/// Why [`Nft::verify`] does not say yes.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The kernel's state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The kernel holds something else.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// Why [`Nft::replace`] failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The kernel's state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The change was not applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The change was applied, and then the kernel held something else: another writer, or a defect of palisade.
    #[error("the change was applied, but then {0}")]
    Mismatch(#[from] Mismatch),
}

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

impl Nft {
    /// Connects to nf_tables in the network namespace of the calling thread, and makes sure that it can be used.
    pub fn open() -> Result<Nft, OpenError> {
        let socket = Socket::open().map_err(|error| match error.raw_os_error() {
            Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => OpenError::NoNfTables,
            Some(libc::EPERM | libc::EACCES) => OpenError::Privilege,
            _ => OpenError::Io(error),
        })?;
        let mut nft = Nft {
            socket,
            held: None,
            retired: Vec::new(),
            protect: false,
        };
        match dump::generation(&mut nft.socket) {
            Ok(_) => Ok(nft),
            Err(RequestError::Refused(failure)) => Err(match failure.errno {
                Errno::EPERM | Errno::EACCES => OpenError::Privilege,
                Errno::EINVAL | Errno::EOPNOTSUPP => OpenError::NoNfTables,
                errno => OpenError::Io(errno.into()),
            }),
            Err(RequestError::Interrupted) => Err(OpenError::Io(Errno::EINTR.into())),
            Err(RequestError::Io(error)) => Err(OpenError::Io(error)),
        }
    }

    /// The number of the current generation of nf_tables. Every commit to any table of the namespace makes another.
    pub fn generation_id(&mut self) -> Result<u32, ReadError> {
        dump::generation(&mut self.socket).map_err(read_error)
    }

    /// Our table, or `None` if there is none.
    pub fn dump(&mut self) -> Result<Option<KernelTable>, ReadError> {
        self.read().map(|(_, table)| table)
    }

    /// All our named counters; none if there is no table. Cheap below some 30,000 counters.
    pub fn counters(&mut self) -> Result<BTreeMap<String, CounterValue>, ReadError> {
        for _ in 0..ATTEMPTS {
            let mut counters = BTreeMap::new();
            let dumped = dump::counters(&mut self.socket, |name, value| {
                counters.insert(name.to_owned(), value);
            });
            match dumped {
                Ok(()) => return Ok(counters),
                Err(RequestError::Interrupted) => {}
                Err(error) => return Err(read_error(error)),
            }
        }
        Err(ReadError::KeepsChanging)
    }

    /// The counters of these names, which must be in order: 8 ms for 10,000, some 3 µs for each of 100,000.
    pub fn read_counters(&mut self, names: &[&str]) -> Result<Reading, ReadError> {
        for _ in 0..ATTEMPTS {
            match counters::read(&mut self.socket, names) {
                Err(RequestError::Interrupted) => {}
                answer => return answer.map_err(read_error),
            }
        }
        Err(ReadError::KeepsChanging)
    }

    /// Brings a transaction into force: all of it, or nothing.
    ///
    /// `generation` is the one that the transaction was computed against ([`Nft::generation_id`]); if nf_tables has
    /// moved on, this is an [`ApplyError::Conflict`]. With 0 it is not looked at.
    pub fn apply(&mut self, transaction: &Transaction, generation: u32) -> Result<(), ApplyError> {
        if transaction.is_empty() {
            return Ok(());
        }
        let batch = encode(transaction, generation, self.socket.next_seq()).map_err(|error| {
            ApplyError::Unencodable {
                operation: transaction.operations()[error.operation].to_string(),
                source: error.source,
            }
        })?;
        self.socket.set_next_seq(batch.next_seq());
        tracing::debug!(
            operations = transaction.len(),
            bytes = batch.bytes.len(),
            generation,
            "sending a transaction to nf_tables"
        );
        let failures = self
            .socket
            .send_batch(&batch.bytes)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::EMSGSIZE) => ApplyError::TooLarge {
                    bytes: batch.bytes.len(),
                },
                _ => ApplyError::Io(error),
            })?;
        judge(transaction, &batch, failures)
    }

    /// Makes the kernel's table hold exactly this ruleset, in one transaction, and checks that it does.
    ///
    /// Reads what is there, sends what differs, and starts over if another writer got in between, up to three times.
    /// Counters begin at what the ledger says. Those that are not wanted any more go in a transaction of their own: only
    /// once no rule counts in them, their last values can be read for the ledger.
    pub fn replace(&mut self, desired: &Ruleset, ledger: &mut dyn Ledger) -> Result<Applied, ReplaceError> {
        let mut attempt = 1;
        loop {
            let (generation, table) = self.read()?;
            let mut transaction = self.transaction(desired, table.as_ref(), ledger)?;
            let retired = transaction.take_retired_counters();
            match self.apply(&transaction, generation) {
                Ok(()) => return self.complete(desired, &transaction, &retired, ledger),
                Err(ApplyError::Conflict) if attempt < ATTEMPTS => {
                    tracing::debug!(attempt, "another writer changed nf_tables, trying again");
                    attempt += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As [`Nft::replace`], and faster: what the last replacement read back counts as what is there, as long as nf_tables
    /// has not moved on since. The kernel itself makes sure of that when it takes the transaction. Once it is in force,
    /// the table is read and checked all the same. Counters that somebody has set back stay so.
    pub fn update(&mut self, desired: &Ruleset, ledger: &mut dyn Ledger) -> Result<Applied, ReplaceError> {
        let current = self.generation_id()?;
        let Some((generation, table)) = self.held.take().filter(|(of, _)| *of == current) else {
            return self.replace(desired, ledger);
        };
        let mut transaction = self.transaction(desired, Some(&table), &Earlier(ledger))?;
        if transaction.is_empty() {
            self.held = Some((generation, table));
            return Ok(Applied { changes: 0 });
        }
        let retired = transaction.take_retired_counters();
        match self.apply(&transaction, generation) {
            Ok(()) => self.complete(desired, &transaction, &retired, ledger),
            Err(ApplyError::Conflict) => self.replace(desired, ledger),
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
        if self.held.as_ref().is_some_and(|(of, _)| *of == current) {
            return Ok(None);
        }
        let mut attempt = 1;
        loop {
            let (generation, table) = self.read()?;
            let Err(mismatch) = compare(desired, table.as_ref()) else {
                self.held = table.map(|table| (generation, table));
                return Ok(None);
            };
            let mut transaction = self.transaction(desired, table.as_ref(), ledger)?;
            let retired = transaction.take_retired_counters();
            match self.apply(&transaction, generation) {
                Ok(()) => {
                    let Applied { changes } = self.complete(desired, &transaction, &retired, ledger)?;
                    return Ok(Some(Repaired { mismatch, changes }));
                }
                Err(ApplyError::Conflict) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The port of the socket that changes are sent through, by which [`crate::Commit::port`] tells ours from others'.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Whether the kernel's table holds exactly this ruleset, the values and comments of counters aside.
    pub fn verify(&mut self, desired: &Ruleset) -> Result<(), VerifyError> {
        self.held = None;
        let (generation, table) = self.read()?;
        compare(desired, table.as_ref())?;
        self.held = table.map(|table| (generation, table));
        Ok(())
    }

    /// Checks that the kernel holds what was just put there, and lets go of the counters that retire.
    fn complete(
        &mut self,
        desired: &Ruleset,
        transaction: &Transaction,
        retired: &[String],
        ledger: &mut dyn Ledger,
    ) -> Result<Applied, ReplaceError> {
        for operation in transaction.operations() {
            if let Operation::AddCounter { name, value, .. } = operation {
                ledger.made(name, *value);
            }
        }
        self.held = None;
        let (generation, mut table) = self.read()?;
        let mut taken = Vec::new();
        if let Some(table) = &mut table {
            let counters = &mut table.counters;
            taken.extend(retired.iter().filter_map(|name| counters.remove_entry(name)));
        }
        compare(desired, table.as_ref())?;
        self.held = table.map(|table| (generation, table));
        if !taken.is_empty() {
            let last = taken.iter().map(|(name, counter)| (name.clone(), counter.value));
            ledger.retire(&last.collect::<Vec<_>>());
            self.retired = taken.into_iter().map(|(name, _)| name).collect();
            if !ledger.writes_first() {
                self.delete_retired();
            }
        }
        Ok(Applied {
            changes: transaction.len() + retired.len(),
        })
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
        self.held = self.held.take().and_then(|(generation, table)| {
            let next = generation.wrapping_add(1);
            let is_next = matches!(after, Ok(Ok(after)) if after == next);
            is_next.then_some((next, table))
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

    /// Our table and the generation that it is of.
    fn read(&mut self) -> Result<(u32, Option<KernelTable>), ReadError> {
        let mut before = self.generation_id()?;
        for _ in 0..ATTEMPTS {
            let table = dump::table(&mut self.socket);
            let after = self.generation_id()?;
            match table {
                Ok(table) if after == before => return Ok((after, table)),
                Ok(_) | Err(RequestError::Interrupted) => before = after,
                Err(error) => return Err(read_error(error)),
            }
        }
        Err(ReadError::KeepsChanging)
    }
}

/// What the kernel's answers to a batch mean.
fn judge(transaction: &Transaction, batch: &Batch, failures: Vec<Failure>) -> Result<(), ApplyError> {
    if failures.is_empty() {
        return Ok(());
    }
    // Errors of the batch itself come with the number of its BEGIN.
    let of_batch = failures.iter().find(|failure| batch.owner(failure.seq).is_none());
    match of_batch.map(|failure| failure.errno) {
        // The generation was another.
        Some(Errno::ERESTART) => return Err(ApplyError::Conflict),
        Some(Errno::EPERM) => return Err(ApplyError::Privilege),
        _ => {}
    }
    let refusals = failures
        .into_iter()
        .map(|failure| {
            let owner = batch.owner(failure.seq);
            let operation = owner.and_then(|index| transaction.operations().get(index));
            Refusal {
                operation: operation.map_or_else(|| "the batch as a whole".to_owned(), ToString::to_string),
                errno: failure.errno,
                detail: failure.message.or_else(|| lacking(operation?, failure.errno)),
            }
        })
        .collect();
    Err(ApplyError::Refused(refusals))
}

/// What the kernel may lack, if it refuses an operation with such an error.
fn lacking(operation: &Operation, errno: Errno) -> Option<String> {
    let is_unknown = matches!(errno, Errno::ENOENT | Errno::EOPNOTSUPP);
    let (Operation::AddRule { program, .. }, true) = (operation, is_unknown) else {
        return None;
    };
    let mut modules: Vec<&str> = program.iter().filter_map(Instruction::module).collect();
    modules.dedup();
    (!modules.is_empty()).then(|| format!("a kernel may lack what it needs: {}", modules.join(", ")))
}

pub(crate) fn read_error(error: RequestError) -> ReadError {
    match error {
        RequestError::Interrupted => ReadError::KeepsChanging,
        RequestError::Refused(failure) => ReadError::Refused(Refusal {
            operation: format!("listing table inet {TABLE}"),
            errno: failure.errno,
            detail: failure.message,
        }),
        RequestError::Io(error) => ReadError::Io(error),
    }
}

fn list(refusals: &[Refusal]) -> String {
    refusals
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests;
