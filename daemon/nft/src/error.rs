//! Why something failed, in sentences.

use std::io;

use nix::errno::Errno;
use palisade_rules::ruleset::TABLE;

use crate::handle::EncodeError;
use crate::mismatch::Mismatch;
use crate::nft::ATTEMPTS;
use crate::socket::RequestError;

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

/// Why [`Nft::verify`](crate::Nft::verify) does not say yes.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The kernel's state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The kernel holds something else.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// Why [`Nft::replace`](crate::Nft::replace) failed.
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
