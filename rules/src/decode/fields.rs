//! A small toolkit to read trees into types: an object whose fields are asked for by name, and readers for
//! single values. Every reader reports what is wrong and goes on.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::diagnostic::{Diagnostic, Diagnostics, quoted, shortened};
use crate::source::{Files, Position, Span};
use crate::yaml::{Core, Node, Value};

/// Where problems go while a file is decoded.
pub struct Context<'a> {
    /// The files that spans point into.
    pub files: &'a Files,
    /// What was found so far.
    pub diagnostics: Diagnostics,
}

/// A field of an object that is there.
#[derive(Clone, Copy)]
pub struct Field<'n> {
    /// Its name.
    pub key: &'n Node,
    /// Its value.
    pub value: &'n Node,
}

/// The fields of one object. It remembers which were asked for; [`Fields::finish`] reports all others.
pub struct Fields<'n> {
    what: &'static str,
    place: Span,
    entries: &'n [(Node, Node)],
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The fields of a mapping. `what` names the object in messages, with an article (`a rule`); `place` is
    /// pointed at when something is missing.
    pub fn of(context: &mut Context<'_>, node: &'n Node, what: &'static str, place: Span) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else {
            context.wrong_type(node, &format!("the fields of {what}"));
            return None;
        };
        Some(Fields {
            what,
            place,
            entries,
            known: Vec::new(),
        })
    }

    /// What is pointed at for the object as a whole.
    pub fn place(&self) -> Span {
        self.place
    }

    /// A field, even if its value is `null`.
    pub fn written(&mut self, name: &'static str) -> Option<Field<'n>> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.entries
            .iter()
            .find(|(key, _)| key.text() == Some(name))
            .map(|(key, value)| Field { key, value })
    }

    /// A field; one that is `null` is not there.
    pub fn optional(&mut self, name: &'static str) -> Option<Field<'n>> {
        self.written(name).filter(|field| !field.value.is_null())
    }

    /// A field that must be there, and not be `null`.
    pub fn required(&mut self, context: &mut Context<'_>, name: &'static str) -> Option<Field<'n>> {
        let written = self.written(name);
        match written {
            Some(field) if !field.value.is_null() => return Some(field),
            Some(field) => context.report(
                Diagnostic::error("missing-field", format!("`{name}` of {} has no value", self.what))
                    .at(field.key.span, "nothing behind it"),
            ),
            None => context.report(
                Diagnostic::error("missing-field", format!("{} needs `{name}`", self.what))
                    .at(self.place, format!("`{name}` is missing here")),
            ),
        }
        None
    }

    /// Fields that may be there and mean nothing to palisade.
    pub fn ignored(&mut self, names: &[&'static str]) {
        self.known.extend_from_slice(names);
    }

    /// A field that is known and not enforced: an error unless it has the value that changes nothing
    /// (`false`, empty or `null`). `why` is a sentence.
    pub fn unsupported(&mut self, context: &mut Context<'_>, name: &'static str, why: &str) {
        if let Some(field) = self.written(name)
            && !is_default(field.value)
        {
            context.report(
                Diagnostic::error(
                    "unsupported",
                    format!("palisade does not enforce `{name}` of {}", self.what),
                )
                .at(field.key.span, "not enforced")
                .help(why),
            );
        }
    }

    /// Reports every field that was never asked for, with the name that was probably meant.
    pub fn finish(self, context: &mut Context<'_>) {
        for (key, _) in self.entries {
            let written = key.text().unwrap_or_default();
            if self.known.contains(&written) {
                continue;
            }
            let mut known = self.known.clone();
            known.sort_unstable();
            let allowed = known.join(", ");
            let help = match nearest(written, self.known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`? The fields here are {allowed}"),
                None => format!("the fields here are {allowed}"),
            };
            context.report(
                Diagnostic::error(
                    "unknown-field",
                    format!("unknown field {} in {}", quoted(written), self.what),
                )
                .at(key.span, "not a field here")
                .help(help),
            );
        }
    }
}

/// Whether a value is the one that a field has when it is not given.
pub fn is_default(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Scalar(scalar) => matches!(scalar.core(), Core::Bool(false) | Core::Text("")),
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(_) => false,
    }
}

impl<'a> Context<'a> {
    /// Nothing found yet.
    pub fn new(files: &'a Files) -> Self {
        Context {
            files,
            diagnostics: Diagnostics::default(),
        }
    }

    /// What was found, sorted, each with the way to its place from `root`, the only document there is, if any.
    pub fn finish(mut self, root: Option<&Node>) -> Diagnostics {
        for problem in self.diagnostics.since(0) {
            problem.path = root.and_then(|root| Some(root.path_to(problem.span?)));
        }
        self.diagnostics.sorted()
    }

    /// Adds a problem.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports a value that is not what its field needs.
    pub fn invalid(
        &mut self,
        code: &'static str,
        node: &Node,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Diagnostic::error(code, message).at(node.span, "").help(help));
    }

    /// Where a node begins.
    pub fn position(&self, node: &Node) -> Position {
        self.files.position(node.span)
    }

    /// Reports that a node is not what its field holds; `expected` has an article.
    pub fn wrong_type(&mut self, node: &Node, expected: &str) {
        let found = found(node);
        let problem = Diagnostic::error("wrong-type", format!("expected {expected}, found {found}"))
            .at(node.span, format!("expected {expected}"));
        self.report(problem);
    }

    /// Text. A value without quotes that reads as a number or a boolean is an error that suggests quotes.
    pub fn text<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n str> {
        if let Value::Scalar(scalar) = &node.value {
            if let Core::Text(text) = scalar.core() {
                return Some(text);
            }
            let problem = Diagnostic::error(
                "wrong-type",
                format!("expected {expected}, which is text, found {}", found(node)),
            )
            .at(node.span, "needs quotes to be text")
            .help(format!("put it in quotes: \"{}\"", shortened(&scalar.text)));
            self.report(problem);
        } else {
            self.wrong_type(node, expected);
        }
        None
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, node: &Node) -> Option<bool> {
        if let Value::Scalar(scalar) = &node.value
            && let Core::Bool(value) = scalar.core()
        {
            return Some(value);
        }
        self.wrong_type(node, "`true` or `false`");
        None
    }

    /// A whole number in a range.
    pub fn integer(&mut self, node: &Node, range: RangeInclusive<i64>) -> Option<i64> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        match &node.value {
            Value::Scalar(scalar) => match scalar.core() {
                Core::Integer(value) if range.contains(&value) => return Some(value),
                Core::Integer(_) | Core::Float(_) => self.report(
                    Diagnostic::error(
                        "out-of-range",
                        format!("expected {expected}, found {}", found(node)),
                    )
                    .at(node.span, "out of range"),
                ),
                _ => self.wrong_type(node, &expected),
            },
            _ => self.wrong_type(node, &expected),
        }
        None
    }

    /// A finite number.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a number in a document is a float by definition; beyond 2^53 it is rounded"
    )]
    pub fn number(&mut self, node: &Node) -> Option<f64> {
        if let Value::Scalar(scalar) = &node.value {
            match scalar.core() {
                Core::Integer(value) => return Some(value as f64),
                Core::Float(value) if value.is_finite() => return Some(value),
                _ => {}
            }
        }
        self.wrong_type(node, "a finite number");
        None
    }

    /// The items of a list; nothing if it is something else.
    pub fn list<'n>(&mut self, node: &'n Node, expected: &str) -> &'n [Node] {
        if let Value::Sequence(items) = &node.value {
            return items;
        }
        self.wrong_type(node, expected);
        &[]
    }

    /// The entries of a mapping with free keys; nothing if it is something else.
    pub fn map<'n>(&mut self, node: &'n Node, expected: &str) -> &'n [(Node, Node)] {
        if let Value::Mapping(entries) = &node.value {
            return entries;
        }
        self.wrong_type(node, expected);
        &[]
    }

    /// One of a few words, written exactly so.
    pub fn choice<T: Copy>(
        &mut self,
        node: &Node,
        expected: &str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(node, expected)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words = choices.iter().map(|(word, _)| *word);
        let listed = words.clone().collect::<Vec<_>>().join(", ");
        let help = match nearest(text, words) {
            Some(word) => format!("did you mean `{word}`? It is one of {listed}"),
            None => format!("it is one of {listed}"),
        };
        self.report(
            Diagnostic::error("invalid-value", format!("{} is not {expected}", quoted(text)))
                .at(node.span, format!("not {expected}"))
                .help(help),
        );
        None
    }
}

/// Things of which each may be there once.
pub struct Unique<K> {
    first: BTreeMap<K, Span>,
}

impl<K: Ord> Unique<K> {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Unique::default()
    }

    /// Whether `key` was not there before; if it was, both places are reported.
    pub fn insert(&mut self, context: &mut Context<'_>, key: K, node: &Node) -> bool {
        if let Some(&first) = self.first.get(&key) {
            let shown = quoted(node.text().unwrap_or_default());
            context.report(
                Diagnostic::error("duplicate-entry", format!("{shown} is there twice"))
                    .at(node.span, "again here")
                    .related(first, "first written here"),
            );
            return false;
        }
        self.first.insert(key, node.span);
        true
    }
}

impl<K: Ord> Default for Unique<K> {
    fn default() -> Self {
        Unique {
            first: BTreeMap::new(),
        }
    }
}

/// The known word that is most like the written one, if any is like it.
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Names are short; what is not would only cost time.
    const LONGEST: usize = 80;
    if written.len() > LONGEST {
        return None;
    }
    let lower = written.to_lowercase();
    let most = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&lower, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, word)| word)
}

/// What a node is, for a message: ``the number `8080` ``, `a list`.
fn found(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => {
            let kind = match scalar.core() {
                Core::Text(_) => "the text",
                Core::Bool(_) => "the boolean",
                _ => "the number",
            };
            format!("{kind} {}", quoted(&scalar.text))
        }
        _ => node.describe().to_owned(),
    }
}
