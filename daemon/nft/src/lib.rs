//! nf_tables over netlink: palisade's table in the kernel, and the packets that it logs.
//!
//! The crate knows [`palisade_rules::ruleset`] and nothing of policies. One road leads through it:
//!
//! ```text
//! Ruleset ─▶ lower ───┐
//!                     ├─▶ diff ─▶ Transaction ─▶ encode ─▶ socket ─▶ kernel
//! kernel ─▶ dump ─────┘
//! ```
//!
//! After a change, what palisade has left in the kernel stands in for the dump, and only what differs is lowered at all.
//!
//! [`Nft`] is the whole of it for a caller; [`NflogSocket`], [`Tracer`] and [`Watch`] stand beside it. Messages are built with libnftnl and sent
//! with libmnl; what the kernel answers is read in place. No `nft` process is started, and no other
//! table is touched, but for the one that a [`Tracer`] makes and that goes with it, and the one that is a note: [`NOTE_TABLE`].
//!
//! This is the only crate of palisade with `unsafe` in it, all of it in `handle`, `expression`, `socket` and `memory`.

#![deny(unsafe_op_in_unsafe_fn)]

mod abi;
mod attribute;
mod change;
mod counters;
mod decode;
mod diff;
mod dump;
mod elements;
mod encode;
mod error;
mod expression;
mod handle;
mod image;
mod kind;
mod lower;
pub mod memory;
mod message;
mod mismatch;
mod nflog;
mod nft;
mod note;
mod program;
mod protect;
mod socket;
mod survey;
mod trace;
mod transaction;
mod userdata;
mod watch;
mod ways;

pub use change::{Applied, Repaired};
pub use counters::{Ledger, Reading};
pub use diff::diff;
pub use dump::{
    CounterValue, KernelBase, KernelChain, KernelCounter, KernelMap, KernelRule, KernelSet, KernelTable,
};
pub use error::{ApplyError, OpenError, ReadError, Refusal, ReplaceError, VerifyError};
pub use handle::EncodeError;
pub use image::Image;
pub use kind::{MapKind, SetKind};
pub use lower::lower;
pub use mismatch::Mismatch;
pub use nflog::{NflogError, NflogOptions, NflogPacket, NflogSocket};
pub use nft::Nft;
pub use note::{NOTE_TABLE, note};
pub use program::{CompareOp, Data, Instruction, MetaKey, PayloadBase, Register, Verdict};
pub use survey::{Forwarding, SurveyedChain, TableFamily};
pub use trace::{TRACE_TABLE, TraceError, TraceEvent, TraceFilter, TraceVerdict, Tracer};
pub use transaction::{Operation, Transaction};
pub use watch::{Commit, Notice, Watch};
pub use ways::Way;
