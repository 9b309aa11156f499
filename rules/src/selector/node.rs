//! The parsed selector: matching and canonical text.

use std::collections::BTreeSet;
use std::fmt;

use crate::resource::Labels;

/// One node of the expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    /// `all()`.
    All,
    /// `global()`.
    Global,
    /// `has(label)`.
    Has(String),
    /// `label == "value"` and its like.
    Compare {
        label: String,
        comparison: Comparison,
        value: String,
    },
    /// `label in {...}`.
    In { label: String, values: BTreeSet<String> },
    /// `label not in {...}`.
    NotIn { label: String, values: BTreeSet<String> },
    /// `!node`; never holds another `Not`.
    Not(Box<Node>),
    /// At least two nodes.
    And(Vec<Node>),
    /// At least two nodes.
    Or(Vec<Node>),
}

/// How a label's value is compared with one string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Comparison {
    Is,
    IsNot,
    Contains,
    StartsWith,
    EndsWith,
}

impl Comparison {
    /// The operator as the canonical text has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Comparison::Is => "==",
            Comparison::IsNot => "!=",
            Comparison::Contains => "contains",
            Comparison::StartsWith => "starts with",
            Comparison::EndsWith => "ends with",
        }
    }

    fn holds(self, actual: Option<&str>, value: &str) -> bool {
        let Some(actual) = actual else {
            return self == Comparison::IsNot;
        };
        match self {
            Comparison::Is => actual == value,
            Comparison::IsNot => actual != value,
            Comparison::Contains => actual.contains(value),
            Comparison::StartsWith => actual.starts_with(value),
            Comparison::EndsWith => actual.ends_with(value),
        }
    }
}

impl Node {
    /// `!self`. Two negations cancel out, in parentheses too: `!(!a)` would print as `!!a`, which reads back as `a`.
    pub(super) fn negated(self) -> Node {
        match self {
            Node::Not(inner) => *inner,
            node => Node::Not(Box::new(node)),
        }
    }

    pub(super) fn matches(&self, labels: &Labels) -> bool {
        match self {
            Node::All | Node::Global => true,
            Node::Has(label) => labels.contains_key(label),
            Node::Compare {
                label,
                comparison,
                value,
            } => comparison.holds(labels.get(label).map(String::as_str), value),
            Node::In { label, values } => labels.get(label).is_some_and(|actual| values.contains(actual)),
            Node::NotIn { label, values } => labels.get(label).is_none_or(|actual| !values.contains(actual)),
            Node::Not(node) => !node.matches(labels),
            Node::And(nodes) => nodes.iter().all(|node| node.matches(labels)),
            Node::Or(nodes) => nodes.iter().any(|node| node.matches(labels)),
        }
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        let mut to_visit = vec![self];
        std::iter::from_fn(move || {
            loop {
                match to_visit.pop()? {
                    Node::All | Node::Global => {}
                    Node::Has(label)
                    | Node::Compare { label, .. }
                    | Node::In { label, .. }
                    | Node::NotIn { label, .. } => return Some(label.as_str()),
                    Node::Not(node) => to_visit.push(node),
                    Node::And(nodes) | Node::Or(nodes) => to_visit.extend(nodes.iter().rev()),
                }
            }
        })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::All => f.write_str("all()"),
            Node::Global => f.write_str("global()"),
            Node::Has(label) => write!(f, "has({label})"),
            Node::Compare {
                label,
                comparison,
                value,
            } => write!(f, "{label} {} {}", comparison.as_str(), Quoted(value)),
            Node::In { label, values } => {
                write!(f, "{label} in {{")?;
                separated(f, ", ", values.iter().map(|value| Quoted(value)))?;
                f.write_str("}")
            }
            Node::NotIn { label, values } => {
                write!(f, "{label} not in {{")?;
                separated(f, ", ", values.iter().map(|value| Quoted(value)))?;
                f.write_str("}")
            }
            Node::Not(node) => write!(f, "!{node}"),
            Node::And(nodes) => {
                f.write_str("(")?;
                separated(f, " && ", nodes)?;
                f.write_str(")")
            }
            Node::Or(nodes) => {
                f.write_str("(")?;
                separated(f, " || ", nodes)?;
                f.write_str(")")
            }
        }
    }
}

/// A string as a selector's text has it. No string holds both quotes: the grammar has no way to write it.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains('"') {
            write!(f, "'{}'", self.0)
        } else {
            write!(f, "\"{}\"", self.0)
        }
    }
}

fn separated<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    separator: &str,
    items: impl IntoIterator<Item = T>,
) -> fmt::Result {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}
