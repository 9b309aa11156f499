//! Selectors made of others: several fields of a resource say together what is selected.

use std::collections::BTreeSet;

use super::node::{Comparison, Node};
use super::{MAX_LABEL, Selector};

/// What a selector demands of one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'s> {
    /// `label == "value"`.
    Equals(&'s str, &'s str),
    /// `label in {values}`.
    OneOf(&'s str, &'s BTreeSet<String>),
    /// `label not in {values}`.
    NoneOf(&'s str, &'s BTreeSet<String>),
    /// `has(label)`.
    Has(&'s str),
    /// `!has(label)`.
    HasNot(&'s str),
}

impl Selector {
    /// `has(label)`.
    pub fn has(label: &str) -> Self {
        Selector::of(Node::Has(label.to_owned()))
    }

    /// `label == "value"`.
    pub fn equals(label: &str, value: &str) -> Self {
        Selector::of(Node::Compare {
            label: label.to_owned(),
            comparison: Comparison::Is,
            value: value.to_owned(),
        })
    }

    /// `label in {values}`.
    pub fn one_of(label: &str, values: impl IntoIterator<Item = String>) -> Self {
        Selector::of(Node::In {
            label: label.to_owned(),
            values: values.into_iter().collect::<BTreeSet<_>>(),
        })
    }

    /// `label not in {values}`.
    pub fn none_of(label: &str, values: impl IntoIterator<Item = String>) -> Self {
        Selector::of(Node::NotIn {
            label: label.to_owned(),
            values: values.into_iter().collect::<BTreeSet<_>>(),
        })
    }

    /// `!self`.
    #[must_use]
    pub fn negated(&self) -> Self {
        Selector::of(Node::clone(&self.0).negated())
    }

    /// `self && other`, in one group. What `self` demands already is not said twice, so adding a condition a second
    /// time changes nothing; and `all()` on one side gives the other.
    #[must_use]
    pub fn and(&self, other: &Selector) -> Self {
        if self.is_all() {
            return other.clone();
        }
        let mut nodes = conjuncts(&self.0);
        let before = nodes.len();
        for node in conjuncts(&other.0) {
            if *node != Node::All && !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        if nodes.len() == before {
            return self.clone();
        }
        Selector::of(Node::And(nodes.into_iter().cloned().collect()))
    }

    /// The same selector asked of the namespace or service account that an object is in: what is in one has its labels
    /// with `prefix` before their keys, and the label `member`. So each key gains the prefix, and `all()`, at any
    /// depth, becomes `has(member)` (reference 2.4).
    #[must_use]
    pub fn of_group(&self, prefix: &str, member: &str) -> Self {
        Selector::of(of_group(&self.0, prefix, member))
    }

    /// The selector of which [`Selector::of_group`] makes this one, if there is such a selector.
    pub fn within_group(&self, prefix: &str, member: &str) -> Option<Self> {
        within_group(&self.0, prefix, member).map(Selector::of)
    }

    /// The conditions that must all hold, each as a selector of its own.
    pub fn conjuncts(&self) -> impl Iterator<Item = Selector> {
        conjuncts(&self.0).into_iter().cloned().map(Selector::of)
    }

    /// What it demands, if that is about one label as a whole: the conditions that selectors of Kubernetes have too.
    pub fn as_condition(&self) -> Option<Condition<'_>> {
        match &*self.0 {
            Node::Compare {
                label,
                comparison: Comparison::Is,
                value,
            } => Some(Condition::Equals(label, value)),
            Node::In { label, values } => Some(Condition::OneOf(label, values)),
            Node::NotIn { label, values } => Some(Condition::NoneOf(label, values)),
            Node::Has(label) => Some(Condition::Has(label)),
            Node::Not(node) => match node.as_ref() {
                Node::Has(label) => Some(Condition::HasNot(label)),
                _ => None,
            },
            _ => None,
        }
    }

    /// How many levels of parentheses its canonical text has. Only up to [`super::MAX_DEPTH`] can be parsed again.
    pub fn depth(&self) -> usize {
        depth(&self.0)
    }

    /// Whether a label's name is too long to be parsed again: a prefix makes names longer.
    pub fn has_long_label(&self) -> bool {
        self.labels().any(|label| label.len() > MAX_LABEL)
    }
}

/// What must all hold, however the `&&` between are parenthesised.
fn conjuncts(node: &Node) -> Vec<&Node> {
    match node {
        Node::And(nodes) => nodes.iter().flat_map(conjuncts).collect(),
        node => vec![node],
    }
}

fn of_group(node: &Node, prefix: &str, member: &str) -> Node {
    let prefixed = |label: &str| format!("{prefix}{label}");
    let each = |nodes: &[Node]| nodes.iter().map(|node| of_group(node, prefix, member)).collect();
    match node {
        Node::All => Node::Has(member.to_owned()),
        Node::Global => Node::Global,
        Node::Has(label) => Node::Has(prefixed(label)),
        Node::Compare {
            label,
            comparison,
            value,
        } => Node::Compare {
            label: prefixed(label),
            comparison: *comparison,
            value: value.clone(),
        },
        Node::In { label, values } => Node::In {
            label: prefixed(label),
            values: values.clone(),
        },
        Node::NotIn { label, values } => Node::NotIn {
            label: prefixed(label),
            values: values.clone(),
        },
        Node::Not(node) => Node::Not(Box::new(of_group(node, prefix, member))),
        Node::And(nodes) => Node::And(each(nodes)),
        Node::Or(nodes) => Node::Or(each(nodes)),
    }
}

fn within_group(node: &Node, prefix: &str, member: &str) -> Option<Node> {
    let bare = |label: &str| {
        let bare = label.strip_prefix(prefix).filter(|bare| !bare.is_empty());
        bare.map(str::to_owned)
    };
    let each = |nodes: &[Node]| {
        let nodes = nodes.iter().map(|node| within_group(node, prefix, member));
        nodes.collect::<Option<Vec<_>>>()
    };
    Some(match node {
        Node::All => return None,
        Node::Global => Node::Global,
        Node::Has(label) if label == member => Node::All,
        Node::Has(label) => Node::Has(bare(label)?),
        Node::Compare {
            label,
            comparison,
            value,
        } => Node::Compare {
            label: bare(label)?,
            comparison: *comparison,
            value: value.clone(),
        },
        Node::In { label, values } => Node::In {
            label: bare(label)?,
            values: values.clone(),
        },
        Node::NotIn { label, values } => Node::NotIn {
            label: bare(label)?,
            values: values.clone(),
        },
        Node::Not(node) => Node::Not(Box::new(within_group(node, prefix, member)?)),
        Node::And(nodes) => Node::And(each(nodes)?),
        Node::Or(nodes) => Node::Or(each(nodes)?),
    })
}

fn depth(node: &Node) -> usize {
    match node {
        Node::Not(node) => depth(node),
        Node::And(nodes) | Node::Or(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
