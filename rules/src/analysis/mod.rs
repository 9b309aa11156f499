//! Questions about the worlds, answered by the evaluator.

mod address_class;
mod answer_view;
pub mod connections;
mod diff;
pub mod expectations;
mod explain;
pub mod learn;
mod lines;
pub mod lint;
mod matrix;
mod names;
pub mod picture;
mod questions;
mod route;
mod speakers;
#[cfg(test)]
mod tests;
mod trace;
mod trace_json;

pub use diff::{BlockNets, Change, ChangeText, Difference, Side, Verdicts, Witness, diff};
pub use explain::{Answer, BareAnswer, Query, QueryError, WorldAnswer, explain};
pub use lines::{QueryLines, parse_protocol};
pub use matrix::{
    Allowed, Cell, Line, Matrix, Node, NodeKind, Protocols, Reach, Shown, TooLarge, Traffic, View,
};
pub use names::{NameKind, Named, name_of};
pub use questions::Questions;
pub use trace::{StepReport, Trigger};
