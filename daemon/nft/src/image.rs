//! A ruleset as the messages that make it, to be kept and loaded into a kernel that has no table of ours.

use std::io;

use nix::errno::Errno;
use palisade_rules::ruleset::{Ruleset, TABLE};

use crate::counters::Ledger;
use crate::diff::Steps;
use crate::dump;
use crate::encode::{Messages, batch_of};
use crate::error::{ApplyError, Refusal, read_error};
use crate::nft::Nft;
use crate::transaction::{Operation, Transaction};

/// A ruleset as netlink messages: loading it takes the kernel's time and no more. Counters stand beside, for they begin at
/// what they have counted by then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Names and comments of the counters.
    pub counters: Vec<(String, String)>,
    /// Messages of nf_tables for everything else, in host byte order; nothing checks them but the kernel.
    pub messages: Vec<u8>,
}

impl Image {
    /// The image of a ruleset.
    ///
    /// # Errors
    /// [`ApplyError::Unencodable`] for what does not fit a message.
    pub fn of(ruleset: &Ruleset) -> Result<Image, ApplyError> {
        let counters = ruleset.counters.iter();
        let mut messages = Vec::new();
        Image::write_messages(ruleset, &mut messages)?;
        Ok(Image {
            counters: counters
                .map(|(name, comment)| (name.to_string(), comment.as_str().to_owned()))
                .collect(),
            messages,
        })
    }

    /// Writes [`Image::messages`] of a ruleset one by one: of a large one they are more than all else that is known of it.
    ///
    /// # Errors
    /// As [`Image::of`], and [`ApplyError::Io`] if they cannot be written.
    pub fn write_messages(ruleset: &Ruleset, out: &mut dyn io::Write) -> Result<(), ApplyError> {
        let mut messages = Messages::new();
        let mut write = |steps: Steps<'_>| {
            let (transaction, _) = steps.finish();
            let mut operations = transaction.operations().iter();
            operations.try_for_each(|operation| messages.write(operation, out))
        };
        let mut steps = Steps::default();
        for is_base in [true, false] {
            let chains = ruleset.chains.iter();
            let chains = chains.filter(|chain| chain.hook.is_some() == is_base);
            chains.for_each(|chain| steps.add_chain(chain));
        }
        for (name, set) in &ruleset.sets {
            steps.add_set(name, set);
        }
        for (name, map) in &ruleset.maps {
            steps.add_map(name, map);
        }
        write(steps)?;
        // Rules last: they may lead to any chain.
        for chain in &ruleset.chains {
            let mut steps = Steps::default();
            steps.add_rules(chain);
            write(steps)?;
        }
        Ok(())
    }
}

impl Nft {
    /// Whether our table is there.
    pub fn has_table(&mut self) -> Result<bool, crate::ReadError> {
        let head = dump::head(&mut self.socket, TABLE);
        Ok(head.map_err(read_error)?.is_some())
    }

    /// Makes the table of an image, where there is none, with the counters at what the ledger says.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] if there is one, too.
    pub fn load(&mut self, image: &Image, ledger: &mut dyn Ledger) -> Result<(), ApplyError> {
        let mut operations = vec![Operation::AddTable];
        operations.extend(
            image
                .counters
                .iter()
                .map(|(name, comment)| Operation::AddCounter {
                    name: name.clone(),
                    value: ledger.total(name, None),
                    comment: comment.clone(),
                }),
        );
        let mut head = Transaction::new(operations);
        if self.protect {
            head.own();
        }
        let batch = batch_of(&[&encoded(&head)?, &image.messages]);
        self.send("loading the ruleset", &batch)?;
        // Messages that end too early are no error to the kernel: it throws the batch away and says nothing.
        if !matches!(dump::head(&mut self.socket, TABLE), Ok(Some(_))) {
            return Err(ApplyError::Refused(vec![Refusal {
                operation: "loading the ruleset".to_owned(),
                errno: Errno::EBADMSG,
                detail: None,
            }]));
        }
        for operation in head.operations() {
            if let Operation::AddCounter { name, value, .. } = operation {
                ledger.made(name, *value);
            }
        }
        Ok(())
    }

    /// Sends a batch that is no [`Transaction`]; `what` names it in an error.
    pub(crate) fn send(&mut self, what: &str, batch: &[u8]) -> Result<(), ApplyError> {
        let failures = self.socket.send_batch(batch).map_err(ApplyError::Io)?;
        if failures.iter().any(|failure| failure.errno == Errno::EPERM) {
            return Err(ApplyError::Privilege);
        }
        let refusals = failures.into_iter().map(|failure| Refusal {
            operation: what.to_owned(),
            errno: failure.errno,
            detail: failure.message,
        });
        let refusals: Vec<Refusal> = refusals.collect();
        if refusals.is_empty() {
            Ok(())
        } else {
            Err(ApplyError::Refused(refusals))
        }
    }
}

fn encoded(transaction: &Transaction) -> Result<Vec<u8>, ApplyError> {
    let mut messages = Messages::new();
    let mut bytes = Vec::new();
    for operation in transaction.operations() {
        messages.write(operation, &mut bytes)?;
    }
    Ok(bytes)
}
