//! YAML 1.2 (core schema) and JSON, as a tree in which every node knows its place.
//!
//! The tree is built from the events of saphyr-parser: serde_yaml, which palisade prints with, stops at the
//! first problem and forgets where values stood. What a person may write is bounded (depth, nodes, bytes, what
//! aliases repeat), so that a hostile file costs bounded time and memory. Of YAML's less used features anchors
//! and aliases work, merge keys (`<<`) and custom tags are refused, and so is a key that is there twice. Escapes of
//! JSON that are halves of one character (`\ud83d\ude00`) are refused too: write the character itself.

mod input;
mod parse;
mod schema;
mod text;

pub use parse::{Documents, MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_REPEATED};
pub use schema::Core;
pub use text::{NotText, add, file, problem, text};

use std::fmt::Write as _;

use crate::diagnostic::shortened;
use crate::source::Span;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it is: of a block, from its first to its last value; of a value that is not there, the place
    /// where it would be.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// Any other single value.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys, each a scalar and there once, and their values, in the order written.
    Mapping(Vec<(Node, Node)>),
}

/// A single value as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text, quotes and escapes resolved.
    pub text: String,
    /// Whether it stands without quotes, so that the core schema says what it is.
    pub plain: bool,
}

impl Scalar {
    /// What the scalar is by the core schema; with quotes it is always text.
    pub fn core(&self) -> Core<'_> {
        if self.plain {
            Core::of_plain(&self.text)
        } else {
            Core::Text(&self.text)
        }
    }
}

impl Node {
    /// Whether it is `null` or nothing.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The text of a scalar, whatever the core schema makes of it.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The value under a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries
                .iter()
                .find(|(name, _)| name.text() == Some(key))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// What it is, with an article: `a number`, `a list`.
    pub fn describe(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(scalar) => match scalar.core() {
                Core::Null => "nothing",
                Core::Bool(_) => "a boolean",
                Core::Integer(_) | Core::Float(_) => "a number",
                Core::Text(_) => "text",
            },
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// The way from this node to the smallest part that begins where `span` does, as `spec.ingress[0].action`;
    /// empty if it leads nowhere.
    pub fn path_to(&self, span: Span) -> String {
        let mut path = String::new();
        let mut node = self;
        'down: loop {
            match &node.value {
                Value::Mapping(entries) => {
                    for (key, value) in entries {
                        if contains(key.span, span) || contains(value.span, span) {
                            if !path.is_empty() {
                                path.push('.');
                            }
                            path.push_str(&shortened(key.text().unwrap_or_default()));
                            if contains(key.span, span) {
                                return path;
                            }
                            node = value;
                            continue 'down;
                        }
                    }
                    return path;
                }
                Value::Sequence(items) => {
                    for (index, item) in items.iter().enumerate() {
                        if contains(item.span, span) {
                            // Writing to a string cannot fail.
                            let _ = write!(path, "[{index}]");
                            node = item;
                            continue 'down;
                        }
                    }
                    return path;
                }
                Value::Null | Value::Scalar(_) => return path,
            }
        }
    }
}

/// Whether `inner` begins in `outer`; an empty one may also stand at its end, where something is missing.
fn contains(outer: Span, inner: Span) -> bool {
    let last = if inner.start == inner.end {
        outer.end
    } else {
        outer.end.saturating_sub(1).max(outer.start)
    };
    outer.file == inner.file && (outer.start..=last).contains(&inner.start) && inner.end <= outer.end
}

#[cfg(test)]
mod tests;
