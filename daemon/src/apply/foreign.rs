//! What others have done to our table is put right.

use palisade_nft::{Repaired, ReplaceError};
use palisade_rules::ruleset::Ruleset;

use super::{Engine, ReloadError};
use crate::kernel::KernelError;

impl Engine {
    /// The port of the netlink socket that the engine changes the kernel through.
    pub fn port(&self) -> u32 {
        self.nft.port()
    }

    /// Puts the kernel's table right if it is not what is in force, in one transaction; `None` if it is, and under a
    /// panic, which takes the table away for good.
    pub fn repair(&mut self) -> Result<Option<Repaired>, ReloadError> {
        if self.panicked() {
            return Ok(None);
        }
        let Some(ruleset) = self.ruleset_in_force() else {
            return Ok(None);
        };
        self.let_go();
        self.history.absorb();
        let ruleset = &ruleset;
        let repaired = match self.nft.repair(ruleset, &mut self.history) {
            // Another writer came between the repair and reading it back.
            Err(ReplaceError::Mismatch(_)) => self.nft.repair(ruleset, &mut self.history),
            result => result,
        };
        let repaired = repaired.map_err(KernelError::from)?;
        self.settled = true;
        if repaired.is_some() {
            self.settle()?;
        }
        Ok(repaired)
    }

    /// What the kernel is to hold; `None` before the first generation, and while one is gone back from.
    fn ruleset_in_force(&self) -> Option<Ruleset> {
        match self.window() {
            Some(_) => self.unconfirmed_ruleset(),
            None => Some(self.current()?.compiled.ruleset.clone()),
        }
    }
}
