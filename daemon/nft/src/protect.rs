//! A table that nobody else can change: it belongs to our socket (`flags owner`), and stays when that is closed (`flags
//! persist`).
//!
//! Another's `nft flush ruleset` passes it over, and whatever else another does to it is refused. Once the socket is
//! closed, however that comes, the table is an orphan: in force, everybody's to change, and ours again with the next
//! replacement. The kernel can do that from version 6.9 on.

use nix::libc;
use palisade_rules::ruleset::Ruleset;

use crate::abi::{msg, table};
use crate::change::Change;
use crate::counters::Ledger;
use crate::diff::steps;
use crate::dump::{CounterValue, KernelTable};
use crate::encode::batch_of;
use crate::error::ApplyError;
use crate::message::MessageBuilder;
use crate::nft::Nft;
use crate::socket::{nft_message, request_flags};

/// The flags of a table that is ours alone.
pub(crate) const OWNED: u32 = table::F_OWNER | table::F_PERSIST;

/// The table that shows whether the kernel has these flags; it goes in the batch in which it comes.
const PROBE_TABLE: &str = "palisade_probe";

impl Nft {
    /// Has our table belong to this connection, from the next replacement or image on. `false` if the kernel cannot do
    /// that; then everything stays as it was.
    ///
    /// A table that is there already, made without this, is then made anew in one transaction, and the other way round.
    /// What its counters count between being read and that is not in the ledger.
    ///
    /// # Errors
    /// Whatever else keeps this process from changing nf_tables.
    pub fn protect(&mut self) -> Result<bool, ApplyError> {
        let (mut create, mut delete) = (Vec::new(), Vec::new());
        MessageBuilder::new(
            &mut create,
            nft_message(msg::NEW_TABLE),
            request_flags(libc::NLM_F_CREATE),
            1,
        )
        .put_text(table::NAME, PROBE_TABLE)
        .put(table::FLAGS, &OWNED.to_be_bytes())
        .finish();
        MessageBuilder::new(&mut delete, nft_message(msg::DEL_TABLE), request_flags(0), 2)
            .put_text(table::NAME, PROBE_TABLE)
            .finish();
        self.protect = match self.send("owning a table", &batch_of(&[&create, &delete])) {
            Ok(()) => true,
            Err(ApplyError::Refused(_)) => false,
            Err(error) => return Err(error),
        };
        Ok(self.protect)
    }

    /// What makes the table the desired one, and its owner whoever it should be.
    pub(crate) fn change<'d>(
        &self,
        desired: &'d Ruleset,
        table: Option<&KernelTable>,
        ledger: &dyn Ledger,
    ) -> Result<Change<'d>, ApplyError> {
        self.may_change(table.and_then(|table| table.owner))?;
        let (mut transaction, touched) = match table {
            // Whether a table outlives its owner cannot be changed.
            Some(table) if table.persists != self.protect => {
                let (mut anew, touched) = steps(desired, None, &Earlier { ledger, table }).finish();
                anew.anew();
                (anew, touched)
            }
            table => steps(desired, table, ledger).finish(),
        };
        let is_ours = table.is_some_and(|table| table.owner.is_some() && table.persists && !table.dormant);
        if self.protect && !is_ours {
            transaction.own();
        }
        Ok(Change::new(desired, transaction, touched))
    }

    /// Makes sure that a table with such an owner can be changed by us.
    pub(crate) fn may_change(&self, owner: Option<u32>) -> Result<(), ApplyError> {
        match owner {
            Some(port) if port != self.port() => Err(ApplyError::Owned { port }),
            _ => Ok(()),
        }
    }
}

/// A ledger for a table that is made anew: counters go on from what they hold.
struct Earlier<'l> {
    ledger: &'l dyn Ledger,
    table: &'l KernelTable,
}

impl Ledger for Earlier<'_> {
    fn total(&self, name: &str, _: Option<CounterValue>) -> CounterValue {
        let held = self.table.counters.get(name);
        self.ledger.total(name, held.map(|counter| counter.value))
    }

    fn made(&mut self, _: &str, _: CounterValue) {}

    fn retire(&mut self, _: &[(String, CounterValue)]) {}
}
