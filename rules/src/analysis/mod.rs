//! Questions about the worlds, answered by the evaluator.

pub mod expectations;
mod explain;
pub mod lint;
mod names;
mod route;
#[cfg(test)]
mod tests;
mod trace;

pub use explain::{Answer, BareAnswer, Query, QueryError, WorldAnswer, explain};
pub use names::{NameKind, Named, name_of};
pub use trace::{StepReport, Trigger};
