//! One generator of cases, and one definition of what is to come of them.
//!
//! A [`Case`] is a directory of random resources, a host, and [`Journey`]s: packets and the ways they take. [`expected`]
//! asks the evaluator what each journey is to end in, and every counter that it is to move. The tests of the compiler
//! hold an interpreter of the ruleset against that, and the tests of the kernel the kernel.
#![allow(clippy::unwrap_used)] // all of this is tests, and what is unwrapped is written in this crate

mod events;
mod expected;
mod generate;
mod journey;
mod promote;

pub use events::{describe, event};
pub use expected::{Expected, Passed, expected};
pub use generate::{CGROUPS, Case, PORTS, case};
pub use journey::{Journey, Way};
pub use promote::{predicted, without_safety_nets, without_staged};
