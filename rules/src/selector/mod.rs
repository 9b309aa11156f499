//! Selectors: boolean expressions over labels, Calico's grammar and meaning.
//!
//! ```text
//! or        = and { "||" and }
//! and       = not { "&&" not }
//! not       = { "!" } condition            "!" negates the whole condition: !a == "b" is not(a == "b")
//! condition = "has(" label ")" | "all()" | "global()" | "(" or ")"
//!           | label ( "==" | "!=" | "contains" | "starts with" | "ends with" ) string
//!           | label ( "in" | "not in" ) "{" [ string { "," string } [ "," ] ] "}"
//! ```
//!
//! Space and tab separate, nothing else does. A label is `[A-Za-z0-9_./-]+`, at most 512 bytes. A string stands in
//! double or single quotes and has no escapes. Operator words are operators only behind a label, so a label may be
//! called `in`; `startswith`, `endswith` and `notin` are written in one word too.

mod compose;
mod help;
mod index;
mod lex;
mod node;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use compose::Condition;
pub use index::LabelIndex;

use crate::resource::Labels;
use node::Node;

/// The most levels of parentheses, in the text as in the canonical text. It bounds the stack that parsing, matching
/// and printing take.
pub const MAX_DEPTH: usize = 100;

/// The longest label name in a selector, in bytes (Calico's limit).
pub const MAX_LABEL: usize = 512;

/// A valid selector.
///
/// Two selectors are equal when their canonical texts are. That is about the text, not the meaning: `a == "b"` and
/// `a in {"b"}` differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector(Arc<Node>);

impl Selector {
    /// Parses a selector; an empty or blank text is `all()`.
    ///
    /// Time and memory are linear in the text (sets are sorted), whatever the text is. The length limit of a
    /// resource's field is not checked here.
    ///
    /// # Errors
    /// What is wrong with the first offending token, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse::parse(text).map(Selector::of)
    }

    /// The selector that every object matches.
    pub fn all() -> Self {
        Selector::of(Node::All)
    }

    /// Whether it is `all()`. A selector that is merely true of everything, such as `!has(a) || has(a)`, is not.
    pub fn is_all(&self) -> bool {
        *self.0 == Node::All
    }

    /// `self && !other`: Calico's meaning of `selector` together with `notSelector`.
    #[must_use]
    pub fn and_not(&self, other: &Selector) -> Self {
        let negated = Node::clone(&other.0).negated();
        Selector::of(Node::And(vec![Node::clone(&self.0), negated]))
    }

    /// Whether an object with these labels is selected. Does not allocate.
    ///
    /// Where the label is missing, `!=` and `not in` hold and every other comparison fails. `global()` holds: what
    /// it means in a `namespaceSelector` is for the one who reads that field.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.matches(labels)
    }

    /// The label keys that it mentions, as often as it does, in order.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.labels()
    }

    fn of(node: Node) -> Self {
        Selector(Arc::new(node))
    }
}

/// The canonical text, which parses to the same selector: strings in double quotes (in single ones if they hold a
/// double quote), sets sorted and without duplicates, each `&&` and `||` group in parentheses.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is wrong with a selector, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// The offending bytes of the selector's text; empty where something is missing at the end. Always on
    /// character boundaries.
    pub span: Range<usize>,
    /// What was expected and what was found.
    pub message: String,
    /// What to do about it, if that can be said.
    pub help: Option<String>,
}
