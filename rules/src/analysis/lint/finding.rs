//! A finding, for people and for programs.

use std::collections::BTreeMap;

use super::codes;
use crate::diagnostic::{Diagnostic, Diagnostics, Record, Severity};
use crate::source::{FileId, Files, Position, Span};
use crate::world::PlacedPolicy;
use crate::yaml::{Documents, Node, Value};

/// The file of what exists without being written, such as the daemon's own safety net.
const BUILT_IN: &str = "(built in)";

/// What lint has to say of one place.
///
/// Resources know where they were written by line, not by byte, so that findings can be made where the files are no
/// longer at hand; [`diagnostics`] shows them in their files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of finding: a word of [`codes::CODES`].
    pub code: &'static str,
    /// What is found, in one line.
    pub message: String,
    /// Where; `None` for what is written nowhere.
    pub position: Option<Position>,
    /// A few words under the place.
    pub label: String,
    /// What to do about it.
    pub help: String,
    /// Other places that matter, each with a few words.
    pub related: Vec<(Position, String)>,
    /// The kind of the object, as written.
    pub kind: Option<String>,
    /// The name of the object.
    pub name: Option<String>,
    /// The place in the object, such as `spec.ingress[0].source.selector`.
    pub path: Option<String>,
    /// The way from what stands at `position` to the field that is meant.
    field: Vec<&'static str>,
}

impl Finding {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        let known = codes::find(code);
        debug_assert!(known.is_some(), "{code} is not among the codes");
        Finding {
            code,
            message: message.into(),
            position: None,
            label: String::new(),
            help: known.map_or_else(String::new, |code| code.help.to_owned()),
            related: Vec::new(),
            kind: None,
            name: None,
            path: None,
            field: Vec::new(),
        }
    }

    /// About a policy as a whole.
    pub(super) fn of_policy(self, policy: &PlacedPolicy) -> Self {
        self.of(policy.written_kind, &policy.id.name, Some(&policy.position))
    }

    /// About an object.
    pub(super) fn of(mut self, kind: &str, name: &str, position: Option<&Position>) -> Self {
        self.kind = Some(kind.to_owned());
        self.name = Some(name.to_owned());
        self.position = position.filter(|position| is_written(position)).cloned();
        self
    }

    /// About a field of what stands at the position.
    pub(super) fn field(mut self, field: &[&'static str]) -> Self {
        for name in field {
            if let Some(path) = &mut self.path {
                path.push('.');
                path.push_str(name);
            }
        }
        self.field = field.to_vec();
        self
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    pub(super) fn related(mut self, position: &Position, label: impl Into<String>) -> Self {
        if is_written(position) {
            self.related.push((position.clone(), label.into()));
        }
        self
    }

    /// In the shape that `palisade check -o json` prints.
    pub fn record(&self) -> Record {
        Record {
            severity: Severity::Warning,
            code: self.code.into(),
            message: self.message.clone(),
            file: self.position.as_ref().map(|position| position.file.to_string()),
            line: self.position.as_ref().map(|position| position.line),
            column: self.position.as_ref().map(|position| position.column),
            kind: self.kind.clone(),
            name: self.name.clone(),
            path: self.path.clone(),
            help: Some(self.help.clone()),
        }
    }
}

fn is_written(position: &Position) -> bool {
    &*position.file != BUILT_IN
}

/// The findings as warnings in the files that the resources were read from.
pub fn diagnostics(findings: &[Finding], files: &Files, ids: &[FileId]) -> Diagnostics {
    let mut trees = Trees {
        files,
        ids: ids.iter().map(|&id| (&**files.name(id), id)).collect(),
        read: BTreeMap::new(),
    };
    let mut diagnostics = Diagnostics::default();
    for finding in findings {
        let related = finding.related.iter();
        diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            code: finding.code,
            message: finding.message.clone(),
            span: finding
                .position
                .as_ref()
                .and_then(|position| trees.span(position, &finding.field)),
            label: finding.label.clone(),
            help: Some(finding.help.clone()),
            related: related
                .filter_map(|(position, label)| Some((trees.span(position, &[])?, label.clone())))
                .collect(),
            kind: finding.kind.clone(),
            name: finding.name.clone(),
            path: finding.path.clone(),
        });
    }
    diagnostics.sorted()
}

/// Files read once more, to find what stands at a position.
struct Trees<'f> {
    files: &'f Files,
    ids: BTreeMap<&'f str, FileId>,
    read: BTreeMap<FileId, Tree>,
}

/// What a file holds.
struct Tree {
    /// The first byte of each line.
    lines: Vec<usize>,
    documents: Vec<Node>,
}

impl Trees<'_> {
    /// Where a field of the value at a position is; of the value itself if it has no such field.
    fn span(&mut self, position: &Position, field: &[&str]) -> Option<Span> {
        let file = *self.ids.get(&*position.file)?;
        let files = self.files;
        let tree = self.read.entry(file).or_insert_with(|| Tree::read(files, file));
        let line = *tree
            .lines
            .get(usize::try_from(position.line).ok()?.checked_sub(1)?)?;
        let column = usize::try_from(position.column).ok()?.checked_sub(1)?;
        let text = &files.text(file)[line..];
        let start = line
            + text
                .char_indices()
                .nth(column)
                .map_or(text.len(), |(byte, _)| byte);
        let node = tree
            .documents
            .iter()
            .find_map(|document| node_at(document, start));
        let Some(node) = node else {
            return Some(Span {
                file,
                start,
                end: start,
            });
        };
        let meant = field.iter().try_fold(node, |node, name| node.get(name));
        Some(meant.unwrap_or(node).span)
    }
}

impl Tree {
    fn read(files: &Files, file: FileId) -> Self {
        let text = files.text(file);
        let breaks = text.match_indices('\n').map(|(index, _)| index + 1);
        let mut documents = Documents::new(files, file);
        // What is wrong with the text has been said when it was decoded.
        let mut ignored = Diagnostics::default();
        Tree {
            lines: std::iter::once(0).chain(breaks).collect(),
            documents: std::iter::from_fn(|| documents.next(&mut ignored)).collect(),
        }
    }
}

/// The largest mapping or scalar that begins at a byte.
fn node_at(node: &Node, start: usize) -> Option<&Node> {
    if !(node.span.start..=node.span.end).contains(&start) {
        return None;
    }
    match &node.value {
        Value::Sequence(items) => items.iter().find_map(|item| node_at(item, start)),
        _ if node.span.start == start => Some(node),
        Value::Mapping(entries) => entries.iter().find_map(|(_, value)| node_at(value, start)),
        Value::Null | Value::Scalar(_) => None,
    }
}
