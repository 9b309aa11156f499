//! Questions about the worlds, answered by the evaluator.

mod address_class;
pub mod expectations;
mod explain;
mod lines;
pub mod lint;
mod names;
mod questions;
mod route;
mod speakers;
#[cfg(test)]
mod tests;
mod trace;

pub use explain::{Answer, BareAnswer, Query, QueryError, WorldAnswer, explain};
pub use lines::parse_protocol;
pub use names::{NameKind, Named, name_of};
pub use questions::Questions;
pub use trace::{StepReport, Trigger};
