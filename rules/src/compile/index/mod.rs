//! The index: which policies of a tier can say anything about a packet.
//!
//! A tier of many policies is not walked from end to end. A tree of verdict maps takes a packet, by its protocol and port
//! and by its addresses, to a chain that lists, in order, the policies that may match it; the others are left out. It is
//! conservative by construction: a policy is listed wherever one of its rules might match, the rule itself decides in the
//! policy's own chain, and a packet that no map knows meets everything that is not tied to one.

mod chains;
mod region;
mod split;
mod tree;

pub(super) use chains::{chain_name, onward};
pub(super) use region::Region;
pub use tree::Limits;
pub(super) use tree::{End, Rest, Step, Tree};
