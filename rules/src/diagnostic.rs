//! What is wrong with a text, where, and what to do about it.
//!
//! Everything that reads text reports [`Diagnostic`]s into a [`Diagnostics`] and goes on, so that a person sees
//! all problems at once. One is shown as the Rust compiler shows its own, as one line, or as a [`Record`] for
//! other programs.

pub mod codes;
mod render;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::source::{FileId, Files, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The text is refused.
    Error,
    /// The text is taken, but probably does not mean what its writer thinks.
    Warning,
}

impl Severity {
    /// The word that is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable word for the kind of problem, one of [`codes::CODES`].
    pub code: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// The offending text.
    pub span: Option<Span>,
    /// A few words under the offending text.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that matter, each with a few words.
    pub related: Vec<(Span, String)>,
    /// The kind of the object it is in.
    pub kind: Option<String>,
    /// The name of the object it is in.
    pub name: Option<String>,
    /// The place in the object, such as `spec.ingress[0].source.ports[1]`.
    pub path: Option<String>,
}

impl Diagnostic {
    /// An error without a place yet.
    ///
    /// # Panics
    /// In debug builds, if the code is not one of [`codes::CODES`].
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(codes::find(code).is_some(), "{code} is not among the codes");
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            span: None,
            label: String::new(),
            help: None,
            related: Vec::new(),
            kind: None,
            name: None,
            path: None,
        }
    }

    /// A warning without a place yet.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(code, message)
        }
    }

    /// With the offending text, and a few words to put under it.
    #[must_use]
    pub fn at(mut self, span: Span, label: impl Into<String>) -> Self {
        self.span = Some(span);
        self.label = label.into();
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With another place that matters.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// The problem with an excerpt of the text, in the style of the Rust compiler; several lines, without a
    /// line break at the end. `colour` adds ANSI escapes.
    pub fn render(&self, files: &Files, colour: bool) -> String {
        render::render(self, files, colour)
    }

    /// The problem in one line: `file:line:column: error[code]: message`.
    pub fn one_line(&self, files: &Files) -> String {
        let problem = format!("{}[{}]: {}", self.severity.as_str(), self.code, self.message);
        match self.span {
            Some(span) => format!("{}: {problem}", files.position(span)),
            None => problem,
        }
    }

    /// The problem for other programs.
    pub fn record(&self, files: &Files) -> Record {
        let position = self.span.map(|span| files.position(span));
        Record {
            severity: self.severity,
            code: self.code.into(),
            message: self.message.clone(),
            file: position.as_ref().map(|position| position.file.to_string()),
            line: position.as_ref().map(|position| position.line),
            column: position.as_ref().map(|position| position.column),
            kind: self.kind.clone(),
            name: self.name.clone(),
            path: self.path.clone(),
            help: self
                .help
                .clone()
                .or_else(|| codes::find(self.code).map(|code| code.help.to_owned())),
        }
    }
}

/// A problem as `palisade check -o json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `error` or `warning`.
    pub severity: Severity,
    /// The stable word for the kind of problem.
    pub code: Cow<'static, str>,
    /// What is wrong.
    pub message: String,
    /// The file, as it was named.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column in characters, from 1.
    pub column: Option<u32>,
    /// The kind of the object.
    pub kind: Option<String>,
    /// The name of the object.
    pub name: Option<String>,
    /// The place in the object.
    pub path: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Problems as they are found: the first [`Diagnostics::LIMIT`] are kept, all are counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// How many are kept: more than a person reads, and little enough that a hostile file of nothing but
    /// mistakes fills no memory.
    pub const LIMIT: usize = 1_000;

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        match diagnostic.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        if self.list.len() < Self::LIMIT {
            self.list.push(diagnostic);
        } else if diagnostic.severity == Severity::Error
            && let Some(warning) = self
                .list
                .iter()
                .rposition(|kept| kept.severity == Severity::Warning)
        {
            self.list[warning] = diagnostic;
        }
    }

    /// Adds all of another collection.
    pub fn append(&mut self, other: Diagnostics) {
        let (errors, warnings) = (self.errors + other.errors, self.warnings + other.warnings);
        for diagnostic in other.list {
            self.push(diagnostic);
        }
        (self.errors, self.warnings) = (errors, warnings);
    }

    /// Whether any is an error.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many errors were found, kept or not.
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// How many warnings were found, kept or not.
    pub fn warning_count(&self) -> usize {
        self.warnings
    }

    /// How many were found and not kept.
    pub fn omitted(&self) -> usize {
        self.errors + self.warnings - self.list.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Those that are kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Those that were pushed after the first `kept`, to be completed.
    pub(crate) fn since(&mut self, kept: usize) -> &mut [Diagnostic] {
        let kept = kept.min(self.list.len());
        &mut self.list[kept..]
    }

    /// The same for another place of their one file among many.
    #[must_use]
    pub(crate) fn in_file(mut self, file: FileId) -> Self {
        for diagnostic in &mut self.list {
            let related = diagnostic.related.iter_mut().map(|(span, _)| span);
            for span in diagnostic.span.iter_mut().chain(related) {
                span.file = file;
            }
        }
        self
    }

    /// The same in the order of files and places, those without a place first.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.list.sort_by(|a, b| match (a.span, b.span) {
            (Some(a), Some(b)) => (a.file, a.start).cmp(&(b.file, b.start)),
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
        });
        self
    }

    /// All of them rendered, with an empty line between two, and a last line that says how many are not
    /// shown. Ends in a line break unless there is nothing to show.
    pub fn render(&self, files: &Files, colour: bool) -> String {
        let mut text = String::new();
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            text.push_str(&diagnostic.render(files, colour));
            text.push('\n');
        }
        if self.omitted() > 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n... and {} more\n", self.omitted());
        }
        text
    }

    /// All of them for other programs.
    pub fn records(&self, files: &Files) -> Vec<Record> {
        self.list
            .iter()
            .map(|diagnostic| diagnostic.record(files))
            .collect()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Text from a file, fit to stand in a message: in backquotes, without control characters, and cut where it
/// would bury the sentence.
pub fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// As [`quoted`], without the quotes.
pub fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown = String::new();
    let mut characters = text.chars();
    for c in characters.by_ref().take(LONGEST) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if characters.next().is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests;
