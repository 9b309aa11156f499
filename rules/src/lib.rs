//! The meaning of palisade's policies, and nothing else.
//!
//! One road leads through this crate, and every module is a stretch of it:
//!
//! ```text
//! text ─▶ yaml ─▶ decode ─▶ resource ─▶ snapshot ─▶ world ─┬─▶ compile ─▶ ruleset ─▶ nft text
//!        (places are kept all the way)     (selectors and  └─▶ evaluate ─▶ verdict and trace
//!                                           labels are gone)
//! ```
//!
//! The crate is pure: no I/O, no clock, no async, no unsafe, and no order that depends on a hash. The same
//! input gives the same output, byte for byte. What a rule means is said here and nowhere else: the
//! [`evaluate`] module is the definition, [`compile`] must agree with it, and the tests prove that it does on
//! a real kernel.
#![forbid(unsafe_code)]

pub mod analysis;
pub mod compile;
pub mod decode;
pub mod diagnostic;
pub mod evaluate;
pub mod failsafe;
pub mod net;
pub mod print;
pub mod resource;
pub mod rewrite;
pub mod ruleset;
pub mod schema;
pub mod selector;
pub mod shared_map;
pub mod snapshot;
pub mod source;
#[cfg(test)]
mod testing;
pub mod world;
pub mod yaml;
