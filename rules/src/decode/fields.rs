//! A small toolkit to read trees into types: an object whose fields are asked for by name, and readers for
//! single values. Every reader reports what is wrong and goes on.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::RangeInclusive;

use crate::diagnostic::{Diagnostic, Diagnostics, quoted, shortened};
use crate::schema::{self, Object, Shape};
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

/// What an object is: one that the schema knows, or, for files that have no schema, a few words with an article.
#[derive(Clone, Copy)]
pub enum Subject {
    /// An object of the schema.
    Known(&'static Object),
    /// Any other.
    Named(&'static str),
}

impl From<&'static Object> for Subject {
    fn from(object: &'static Object) -> Self {
        Subject::Known(object)
    }
}

impl From<&'static str> for Subject {
    fn from(what: &'static str) -> Self {
        Subject::Named(what)
    }
}

/// The fields of one object. It remembers which were asked for; [`Fields::finish`] reports all others.
///
/// Of an object of the schema every field must be asked for, and no other: where code and schema disagree, debug
/// builds panic. Fields that the schema refuses, or gives no meaning, are dealt with here and never asked for.
pub struct Fields<'n> {
    subject: Subject,
    place: Span,
    entries: &'n [(Node, Node)],
    asked: Vec<&'static str>,
    misplaced: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The fields of a mapping; `place` is pointed at when something is missing.
    pub fn of(
        context: &mut Context<'_>,
        node: &'n Node,
        subject: impl Into<Subject>,
        place: Span,
    ) -> Option<Self> {
        let fields = Fields {
            subject: subject.into(),
            place,
            entries: &[],
            asked: Vec::new(),
            misplaced: Vec::new(),
        };
        let Value::Mapping(entries) = &node.value else {
            context.wrong_type(node, &format!("the fields of {}", fields.what()));
            return None;
        };
        Some(Fields { entries, ..fields })
    }

    /// What is pointed at for the object as a whole.
    pub fn place(&self) -> Span {
        self.place
    }

    /// A field, even if its value is `null`.
    ///
    /// # Panics
    /// In debug builds, if the schema has no such field here, or one that no decoder reads.
    pub fn written(&mut self, name: &'static str) -> Option<Field<'n>> {
        if let Subject::Known(object) = self.subject {
            debug_assert!(
                object.field(name).is_some_and(|field| field.shape.is_read()),
                "the schema of {} has no `{name}` to be read",
                object.what
            );
        }
        self.asked.push(name);
        self.find(name)
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
                Diagnostic::error(
                    "missing-field",
                    format!("`{name}` of {} has no value", self.what()),
                )
                .at(field.key.span, "nothing behind it")
                .help(self.about(name)),
            ),
            None => context.report(
                Diagnostic::error("missing-field", format!("{} needs `{name}`", self.what()))
                    .at(self.place, format!("`{name}` is missing here"))
                    .help(self.about(name)),
            ),
        }
        None
    }

    /// Every field that is written and has not been asked for, if the schema knows it; all fields count as asked for
    /// then. For objects in which some fields rule out all others.
    pub fn rest(&mut self) -> Vec<Field<'n>> {
        let Subject::Known(object) = self.subject else {
            return Vec::new();
        };
        let unread = object
            .fields
            .iter()
            .filter(|field| field.shape.is_read() && !self.asked.contains(&field.name));
        let unread: Vec<&'static str> = unread.map(|field| field.name).collect();
        unread.into_iter().filter_map(|name| self.written(name)).collect()
    }

    /// Reports a field that has no place here, in better words than an unknown field gets. `message` and `help` are
    /// sentences.
    pub fn misplaced(&mut self, context: &mut Context<'_>, name: &'static str, message: &str, help: &str) {
        self.misplaced.push(name);
        if let Some(field) = self.find(name) {
            context.report(
                Diagnostic::error("unknown-field", message)
                    .at(field.key.span, "not a field here")
                    .help(help),
            );
        }
    }

    /// Reports every field that has no place here, with the name that was probably meant, and every field that is
    /// known and not enforced unless its value changes nothing.
    ///
    /// # Panics
    /// In debug builds, if a field of the schema was not asked for.
    pub fn finish(self, context: &mut Context<'_>) {
        if let Subject::Known(object) = self.subject {
            for field in object.fields {
                debug_assert!(
                    !field.shape.is_read() || self.asked.contains(&field.name),
                    "`{}` of {} is in the schema, and is not read",
                    field.name,
                    object.what
                );
            }
        }
        for (key, value) in self.entries {
            let written = key.text().unwrap_or_default();
            match self.known(written).map(|field| field.shape) {
                Some(Shape::Refused(why)) if !is_default(value) => context.report(
                    Diagnostic::error(
                        "unsupported",
                        format!("palisade does not enforce `{written}` of {}", self.what()),
                    )
                    .at(key.span, "not enforced")
                    .help(why),
                ),
                Some(_) => {}
                None if self.asked.contains(&written) || self.misplaced.contains(&written) => {}
                None => self.unknown(context, key, written),
            }
        }
    }

    fn unknown(&self, context: &mut Context<'_>, key: &Node, written: &str) {
        let mut names = match self.subject {
            Subject::Known(object) => object.fields.iter().map(|field| field.name).collect(),
            Subject::Named(_) => self.asked.clone(),
        };
        let near = nearest(written, names.iter().copied());
        names.retain(|name| self.known(name).is_none_or(|field| field.shape.is_read()));
        names.sort_unstable();
        names.dedup();
        let allowed = names.join(", ");
        let help = match near {
            Some(name) => format!("did you mean `{name}`? The fields here are {allowed}"),
            None => format!("the fields here are {allowed}"),
        };
        context.report(
            Diagnostic::error(
                "unknown-field",
                format!("unknown field {} in {}", quoted(written), self.what()),
            )
            .at(key.span, "not a field here")
            .help(help),
        );
    }

    fn what(&self) -> &'static str {
        match self.subject {
            Subject::Known(object) => object.what,
            Subject::Named(what) => what,
        }
    }

    fn known(&self, name: &str) -> Option<&'static schema::Field> {
        match self.subject {
            Subject::Known(object) => object.field(name),
            Subject::Named(_) => None,
        }
    }

    /// What to write for a field that is missing.
    fn about(&self, name: &str) -> String {
        match self.known(name) {
            Some(field) => format!("add `{name}`: {}", field.meaning),
            None => format!("add `{name}`"),
        }
    }

    fn find(&self, name: &str) -> Option<Field<'n>> {
        self.entries
            .iter()
            .find(|(key, _)| key.text() == Some(name))
            .map(|(key, value)| Field { key, value })
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
        if let Value::Scalar(scalar) = &node.value
            && let Core::Integer(value) = scalar.core()
            && range.contains(&value)
        {
            return Some(value);
        }
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        match &node.value {
            Value::Scalar(scalar) => match scalar.core() {
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
        match self.first.entry(key) {
            Entry::Vacant(place) => {
                place.insert(node.span);
                true
            }
            Entry::Occupied(first) => {
                let shown = quoted(node.text().unwrap_or_default());
                context.report(
                    Diagnostic::error("duplicate-entry", format!("{shown} is there twice"))
                        .at(node.span, "again here")
                        .related(*first.get(), "first written here"),
                );
                false
            }
        }
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
