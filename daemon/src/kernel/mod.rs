//! What the kernel does for us, and how it fails.

pub mod cgroups;
pub mod conntrack;
pub mod conntrack_ends;
pub mod links;
mod netlink;
pub mod processes;
pub mod sockets;
pub mod table_owner;

use std::error::Error;

/// Why what the kernel holds could not be read or changed, with every cause behind it.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// nf_tables cannot be used.
    #[error("{}", with_causes(.0))]
    Open(#[from] palisade_nft::OpenError),
    /// The table could not be read.
    #[error("{}", with_causes(.0))]
    Read(#[from] palisade_nft::ReadError),
    /// The table could not be changed.
    #[error("{}", with_causes(.0))]
    Apply(#[from] palisade_nft::ApplyError),
    /// The table could not be brought to what it should be.
    #[error("{}", with_causes(.0))]
    Replace(#[from] palisade_nft::ReplaceError),
    /// The connections could not be read.
    #[error(transparent)]
    Conntrack(#[from] conntrack::ConntrackError),
}

impl KernelError {
    /// Whether root, or CAP_NET_ADMIN, is what is missing.
    pub fn is_privilege(&self) -> bool {
        use palisade_nft::{ApplyError, OpenError, ReplaceError};
        matches!(
            self,
            KernelError::Open(OpenError::Privilege)
                | KernelError::Apply(ApplyError::Privilege)
                | KernelError::Replace(ReplaceError::Apply(ApplyError::Privilege))
                | KernelError::Conntrack(conntrack::ConntrackError::Privilege)
        )
    }

    /// Whether the change was made, and then the kernel held something else.
    pub fn is_mismatch(&self) -> bool {
        matches!(
            self,
            KernelError::Replace(palisade_nft::ReplaceError::Mismatch(_))
        )
    }
}

/// An error and its causes in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Transparent errors repeat what they wrap.
        if !text.ends_with(&next) {
            text += ": ";
            text += &next;
        }
        cause = error.source();
    }
    text
}
