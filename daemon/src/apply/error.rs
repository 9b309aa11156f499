//! Why a change leaves everything as it was.

use super::{StateError, StoreError, WayBackError};
use crate::config::ConfigError;
use crate::exit::Exit;
use crate::guard::GuardReport;
use crate::kernel::KernelError;
use crate::kernel::cgroups::CgroupsError;
use crate::source::SourceError;

/// Why a reload left everything as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A resource file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The resources are wrong; the text shows where.
    #[error("{0}")]
    Resources(String),
    /// Somebody called for help.
    #[error("`palisade panic` is in force: nothing is filtered by palisade; `palisade resume` takes it back")]
    Panic,
    /// The cgroups of services cannot be read.
    #[error(transparent)]
    Cgroups(#[from] CgroupsError),
    /// The kernel refused, or does not hold what was applied.
    #[error("{}", not_in_force(.0))]
    Kernel(#[from] KernelError),
    /// The state directory cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// It would lock somebody out.
    #[error("{}", .0.refused())]
    Guard(Box<GuardReport>),
    /// Another change is not confirmed yet.
    #[error(
        "generation {generation} ({why}) is not confirmed yet: `palisade confirm` keeps it, `palisade rollback` goes back \
         to generation {previous}; then try again"
    )]
    Unconfirmed {
        /// The unconfirmed generation.
        generation: u64,
        /// What made it.
        why: String,
        /// What it goes back to.
        previous: u64,
    },
    /// A rolled back generation's files are still there.
    #[error(
        "generation {generation} was rolled back, but its files could not be: {why}; put that right, then type: palisade \
         rollback"
    )]
    Unfinished {
        /// The generation.
        generation: u64,
        /// What is in the way.
        why: String,
    },
    /// Generations cannot be kept, or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Files cannot be changed, or could not be changed back.
    #[error("{0}; nothing was changed")]
    WayBack(#[from] WayBackError),
}

impl ReloadError {
    /// How a command that ran into this ends.
    pub fn exit(&self) -> Exit {
        match self {
            ReloadError::Config(_) | ReloadError::Source(_) | ReloadError::Resources(_) => Exit::Invalid,
            ReloadError::Kernel(error) if error.is_privilege() => Exit::NoPrivilege,
            ReloadError::Guard(_) => Exit::Refused,
            ReloadError::Store(StoreError::Unknown { .. }) => Exit::Usage,
            ReloadError::Cgroups(_)
            | ReloadError::Kernel(_)
            | ReloadError::State(_)
            | ReloadError::Store(_)
            | ReloadError::WayBack(_)
            | ReloadError::Unconfirmed { .. }
            | ReloadError::Unfinished { .. }
            | ReloadError::Panic => Exit::ApplyFailed,
        }
    }
}

/// What a failed change means for what is in force.
fn not_in_force(error: &KernelError) -> String {
    if error.is_mismatch() {
        format!(
            "{error}; something else is changing table inet palisade (`nft monitor` shows what): stop it, then reload"
        )
    } else {
        format!("the kernel did not take the new generation, the previous one is in force: {error}")
    }
}
