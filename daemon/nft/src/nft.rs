//! Palisade's table in the kernel: read it, and bring transactions into force.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::libc;
use palisade_rules::ruleset::Ruleset;

use crate::counters::{self, Reading};
use crate::dump::{self, CounterValue, KernelTable};
use crate::encode::{Batch, encode};
use crate::error::{ApplyError, OpenError, ReadError, Refusal, read_error};
use crate::program::Instruction;
use crate::socket::{Failure, RequestError, Socket};
use crate::transaction::{Operation, Transaction};

/// How often a read, or a replacement, is tried again when another writer got in between.
pub(crate) const ATTEMPTS: usize = 4;

/// A connection to nf_tables in one network namespace: that of the thread that opened it.
///
/// Calls block until the kernel is done: about 15 µs for each rule that changes.
pub struct Nft {
    pub(crate) socket: Socket,
    /// What the table is known to hold.
    pub(crate) held: Option<Held>,
    /// Counters that nothing counts in any more, and whose last values may not be safe yet.
    pub(crate) retired: Vec<String>,
    /// Whether our table is to belong to this connection.
    pub(crate) protect: bool,
}

/// What a table holds besides counters that retire, and the values that counters have.
pub(crate) struct Held {
    /// The generation of nf_tables that this is so in.
    pub(crate) generation: u32,
    /// The ruleset, which shares nearly all it has with the one that it came from.
    pub(crate) ruleset: Ruleset,
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

    /// The port of the socket that changes are sent through, by which [`crate::Commit::port`] tells ours from others'.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Our table and the generation that it is of.
    pub(crate) fn read(&mut self) -> Result<(u32, Option<KernelTable>), ReadError> {
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

#[cfg(test)]
mod tests;
