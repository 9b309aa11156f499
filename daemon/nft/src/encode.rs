//! A transaction as the bytes of one netlink batch.

use std::io;

use nix::libc;
use palisade_rules::ruleset::{TABLE, TABLE_COMMENT};

use crate::abi::{NFNL_BATCH_GENID, NFNL_SUBSYS_NFTABLES, elem, msg, obj};
use crate::elements;
use crate::error::ApplyError;
use crate::handle::{Chain, EncodeError, Object, Rule, Scratch, Set, Table};
use crate::message::MessageBuilder;
use crate::protect::OWNED;
use crate::socket::{nft_message, request_flags};
use crate::transaction::{Operation, Transaction};
use crate::ways;

/// A batch ready to be sent in one datagram.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The messages, BEGIN and END included.
    pub(crate) bytes: Vec<u8>,
    first_seq: u32,
    /// The index of the operation behind each message after BEGIN.
    owners: Vec<usize>,
}

impl Batch {
    /// The operation that the message with this sequence number belongs to; `None` for BEGIN and END.
    pub(crate) fn owner(&self, seq: u32) -> Option<usize> {
        let position = seq.checked_sub(self.first_seq)?.checked_sub(1)?;
        self.owners.get(usize::try_from(position).ok()?).copied()
    }

    /// The sequence number after the last one used.
    pub(crate) fn next_seq(&self) -> u32 {
        // BEGIN and END have one each.
        let messages = u32::try_from(self.owners.len()).unwrap_or(u32::MAX);
        self.first_seq.wrapping_add(messages).wrapping_add(2)
    }
}

/// Why an operation cannot be written.
#[derive(Debug)]
pub(crate) struct Unencodable {
    /// The index of the operation.
    pub(crate) operation: usize,
    /// What is wrong with it.
    pub(crate) source: EncodeError,
}

/// Writes a transaction. A `generation` other than 0 makes the kernel refuse the batch if its own is another.
pub(crate) fn encode(
    transaction: &Transaction,
    generation: u32,
    first_seq: u32,
) -> Result<Batch, Unencodable> {
    let mut writer = Writer {
        bytes: Vec::new(),
        scratch: Scratch::new(),
        seq: first_seq,
        set_id: 0,
    };
    writer.batch_message(libc::NFNL_MSG_BATCH_BEGIN, Some(generation).filter(|&id| id != 0));
    let mut owners = Vec::with_capacity(transaction.len());
    for (index, operation) in transaction.operations().iter().enumerate() {
        let before = writer.seq;
        writer.operation(operation).map_err(|source| Unencodable {
            operation: index,
            source,
        })?;
        owners.extend((before..writer.seq).map(|_| index));
    }
    writer.batch_message(libc::NFNL_MSG_BATCH_END, None);
    Ok(Batch {
        bytes: writer.bytes,
        first_seq,
        owners,
    })
}

/// Writes messages as they come, without those that begin and end a batch.
pub(crate) struct Messages(Writer);

impl Messages {
    pub(crate) fn new() -> Self {
        Messages(Writer {
            bytes: Vec::new(),
            scratch: Scratch::new(),
            seq: 1,
            set_id: 0,
        })
    }

    /// Writes the messages of one more operation.
    pub(crate) fn write(&mut self, operation: &Operation, out: &mut dyn io::Write) -> Result<(), ApplyError> {
        self.0.bytes.clear();
        let written = self.0.operation(operation);
        written.map_err(|source| ApplyError::Unencodable {
            operation: operation.to_string(),
            source,
        })?;
        out.write_all(&self.0.bytes).map_err(ApplyError::Io)
    }
}

/// A batch of messages that are written already.
pub(crate) fn batch_of(parts: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer {
        bytes: Vec::new(),
        scratch: Scratch::new(),
        seq: 0,
        set_id: 0,
    };
    writer.batch_message(libc::NFNL_MSG_BATCH_BEGIN, None);
    for part in parts {
        writer.bytes.extend_from_slice(part);
    }
    writer.batch_message(libc::NFNL_MSG_BATCH_END, None);
    writer.bytes
}

struct Writer {
    bytes: Vec<u8>,
    scratch: Scratch,
    seq: u32,
    set_id: u32,
}

impl Writer {
    fn operation(&mut self, operation: &Operation) -> Result<(), EncodeError> {
        let create = request_flags(libc::NLM_F_CREATE);
        let create_new = request_flags(libc::NLM_F_CREATE | libc::NLM_F_EXCL);
        let append = request_flags(libc::NLM_F_CREATE | libc::NLM_F_APPEND);
        let plain = request_flags(0);
        let scratch = &mut self.scratch;
        let bytes = &mut self.bytes;
        let seq = self.seq;
        match operation {
            Operation::AddTable => {
                Table::new(TABLE_COMMENT, 0)?.write(scratch, bytes, msg::NEW_TABLE, create, seq);
            }
            Operation::OwnTable => {
                Table::new(TABLE_COMMENT, OWNED)?.write(scratch, bytes, msg::NEW_TABLE, create, seq);
            }
            Operation::SwitchOff { flags } => {
                Table::dormant(*flags)?.write(scratch, bytes, msg::NEW_TABLE, plain, seq);
            }
            Operation::DeleteTable => Table::named()?.write(scratch, bytes, msg::DEL_TABLE, plain, seq),
            Operation::AddChain { name, hook, comment } => {
                Chain::new(name, *hook, comment)?.write(scratch, bytes, msg::NEW_CHAIN, create_new, seq);
            }
            Operation::AcceptByPolicy(name) => {
                Chain::accepting(name)?.write(scratch, bytes, msg::NEW_CHAIN, plain, seq);
            }
            Operation::FlushChain(name) => {
                Rule::all_of(name)?.write(scratch, bytes, msg::DEL_RULE, plain, seq);
            }
            Operation::DeleteChain(name) => {
                Chain::named(name)?.write(scratch, bytes, msg::DEL_CHAIN, plain, seq);
            }
            Operation::AddRule {
                chain,
                program,
                comment,
                ..
            } => Rule::new(chain, program, comment)?.write(scratch, bytes, msg::NEW_RULE, append, seq),
            Operation::AddSet { name, kind, comment } => {
                self.set_id += 1;
                let set = Set::new(name, kind.form(), comment, self.set_id)?;
                set.write(scratch, bytes, msg::NEW_SET, create_new, seq);
            }
            Operation::AddMap { name, kind, comment } => {
                self.set_id += 1;
                let map = Set::new(name, kind.form(), comment, self.set_id)?;
                map.write(scratch, bytes, msg::NEW_SET, create_new, seq);
            }
            Operation::DeleteSet(name) | Operation::DeleteMap(name) => {
                Set::named(name)?.write(scratch, bytes, msg::DEL_SET, plain, seq);
            }
            Operation::FlushSet(name) | Operation::FlushMap(name) => {
                MessageBuilder::new(bytes, nft_message(msg::DEL_SET_ELEM), plain, seq)
                    .put_text(elem::LIST_TABLE, TABLE)
                    .put_text(elem::LIST_SET, name)
                    .finish();
            }
            Operation::AddElements { set, elements } => {
                self.elements(msg::NEW_SET_ELEM, create, set, &elements::encode(elements));
                return Ok(());
            }
            Operation::DeleteElements { set, elements } => {
                self.elements(msg::DEL_SET_ELEM, plain, set, &elements::encode(elements));
                return Ok(());
            }
            Operation::AddWays { map, kind, ways } => {
                self.elements(msg::NEW_SET_ELEM, create, map, &ways::encode(*kind, ways));
                return Ok(());
            }
            Operation::DeleteWays { map, kind, ways } => {
                self.elements(msg::DEL_SET_ELEM, plain, map, &ways::encode_keys(*kind, ways));
                return Ok(());
            }
            Operation::AddCounter { name, value, comment } => {
                Object::counter(name, *value, comment)?.write(scratch, bytes, msg::NEW_OBJ, create_new, seq);
            }
            Operation::DeleteObject { name, kind } => {
                // Not through libnftnl, which knows fewer types of objects than the kernel.
                MessageBuilder::new(bytes, nft_message(msg::DEL_OBJ), plain, seq)
                    .put_text(obj::TABLE, TABLE)
                    .put_text(obj::NAME, name)
                    .put(obj::TYPE, &kind.to_be_bytes())
                    .finish();
            }
        }
        self.seq = self.seq.wrapping_add(1);
        Ok(())
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, chunks: &[Vec<u8>]) {
        for chunk in chunks {
            MessageBuilder::new(&mut self.bytes, nft_message(kind), flags, self.seq)
                .put_text(elem::LIST_TABLE, TABLE)
                .put_text(elem::LIST_SET, set)
                .nest(elem::LIST_ELEMENTS, |buffer| buffer.extend_from_slice(chunk))
                .finish();
            self.seq = self.seq.wrapping_add(1);
        }
    }

    fn batch_message(&mut self, kind: libc::c_int, generation: Option<u32>) {
        // The message types are 16 and 17.
        let kind = u16::try_from(kind).unwrap_or_default();
        let message = MessageBuilder::with_resource(
            &mut self.bytes,
            kind,
            request_flags(0),
            self.seq,
            0,
            NFNL_SUBSYS_NFTABLES,
        );
        match generation {
            Some(id) => message.put(NFNL_BATCH_GENID, &id.to_be_bytes()).finish(),
            None => message.finish(),
        }
        self.seq = self.seq.wrapping_add(1);
    }
}
