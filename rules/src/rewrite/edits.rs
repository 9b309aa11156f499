//! Changes of texts, a few bytes each.

use std::ops::Range;

use super::Rewritten;
use super::find::{Object, Place};
use crate::source::{FileId, Files, Span};
use crate::yaml::{Node, Value};

/// The changes of all files.
#[derive(Default)]
pub(super) struct Edits {
    replaced: Vec<(Span, String)>,
    removed: Vec<Object>,
}

impl Edits {
    /// The object is gone.
    pub(super) fn remove(&mut self, object: &Object) {
        self.removed.push(object.clone());
    }

    /// The object is enforced, as this kind of this group.
    pub(super) fn promote(&mut self, files: &Files, object: &Object, (kind, api_version): (&str, &str)) {
        let node = &object.node;
        let text = files.text(node.span.file);
        match node.get("kind") {
            Some(old) => self.replace(text, old, kind),
            // The list says the kind of those that say none.
            None => self.insert_first(text, node, "kind", kind),
        }
        match node.get("apiVersion") {
            Some(old) if old.text() == Some(api_version) => {}
            Some(old) => self.replace(text, old, api_version),
            None if api_version == crate::schema::CALICO => {}
            None => self.insert_first(text, node, "apiVersion", api_version),
        }
        if let Some(spec) = node.get("spec")
            && let Value::Mapping(entries) = &spec.value
            && let Some(index) = entries
                .iter()
                .position(|(key, _)| key.text() == Some("stagedAction"))
        {
            self.remove_entry(text, spec, entries, index);
        }
    }

    /// Replaces a scalar, in the quotes that it has.
    fn replace(&mut self, text: &str, old: &Node, new: &str) {
        let span = scalar(text, old.span);
        let quote = match text.as_bytes().get(span.start) {
            Some(b'"') => "\"",
            Some(b'\'') => "'",
            _ => "",
        };
        self.replaced.push((span, format!("{quote}{new}{quote}")));
    }

    /// Makes this the first entry of a mapping.
    fn insert_first(&mut self, text: &str, node: &Node, key: &str, value: &str) {
        let start = node.span.start;
        let (at, entry) = if is_flow(text, node.span) {
            // What a JSON file is like, it stays like.
            let is_json = text[start..node.span.end].contains('"');
            let quote = if is_json { "\"" } else { "" };
            (start + 1, format!("{quote}{key}{quote}: {quote}{value}{quote}, "))
        } else {
            let column = text[line_start(text, start)..start].chars().count();
            let newline = if text[..start].ends_with("\r\n") || text.contains("\r\n") {
                "\r\n"
            } else {
                "\n"
            };
            (start, format!("{key}: {value}{newline}{}", " ".repeat(column)))
        };
        let place = Span {
            start: at,
            end: at,
            ..node.span
        };
        self.replaced.push((place, entry));
    }

    /// Takes an entry out of a mapping, with its line where it has lines of its own.
    fn remove_entry(&mut self, text: &str, mapping: &Node, entries: &[(Node, Node)], index: usize) {
        let spans: Vec<Span> = entries
            .iter()
            .map(|(key, value)| Span {
                end: scalar(text, value.span).end.max(key.span.end),
                ..key.span
            })
            .collect();
        let (range, instead) = if is_flow(text, mapping.span) {
            (without_in_flow(text, &spans, index), "")
        } else if entries.len() == 1 {
            // An object that is there must not become one that is not.
            (spans[index].start..spans[index].end, "{}")
        } else {
            (lines(text, spans[index]), "")
        };
        let span = Span {
            start: range.start,
            end: range.end,
            ..mapping.span
        };
        self.replaced.push((span, instead.to_owned()));
    }

    /// The files that change.
    pub(super) fn apply(mut self, files: &Files) -> Vec<Rewritten> {
        for (span, instead) in removals(files, &self.removed) {
            self.replaced.push((span, instead));
        }
        let mut ids: Vec<FileId> = self.replaced.iter().map(|(span, _)| span.file).collect();
        ids.sort_unstable();
        ids.dedup();
        let rewritten = |file: FileId| {
            let mut changes: Vec<&(Span, String)> = self
                .replaced
                .iter()
                .filter(|(span, _)| span.file == file)
                .collect();
            changes.sort_by_key(|(span, _)| (span.start, span.end));
            let old = files.text(file);
            let mut text = String::with_capacity(old.len());
            let mut done = 0;
            for (span, instead) in changes {
                // Two things that share a place are said to be different when the text is decoded.
                if span.start >= done {
                    text.push_str(&old[done..span.start]);
                    text.push_str(instead);
                    done = span.end;
                }
            }
            text.push_str(&old[done..]);
            Rewritten { file, text }
        };
        ids.into_iter().map(rewritten).collect()
    }
}

/// What goes with removed objects, and what comes in its place.
fn removals(files: &Files, removed: &[Object]) -> Vec<(Span, String)> {
    let mut removals = Vec::new();
    let mut lists: Vec<(Span, &[Span], Vec<usize>)> = Vec::new();
    for object in removed {
        let text = files.text(object.node.span.file);
        match &object.place {
            Place::Document => {
                let range = document(text, object.node.span);
                removals.push((at(object.node.span, range), String::new()));
            }
            Place::Item { list, items, index } => match lists.iter_mut().find(|(known, ..)| known == list) {
                Some((.., indices)) => indices.push(*index),
                None => lists.push((*list, items, vec![*index])),
            },
        }
    }
    for (list, items, indices) in lists {
        let text = files.text(list.file);
        if is_flow_list(text, list) {
            let kept = |index: usize| !indices.contains(&index);
            for &index in &indices {
                // The comma of what is kept before stays only if something that is kept follows.
                let range = if (index + 1..items.len()).any(kept) || items.len() == 1 {
                    items[index].start..items.get(index + 1).map_or(items[index].end, |next| next.start)
                } else {
                    let start = index
                        .checked_sub(1)
                        .map_or(items[index].start, |before| items[before].end);
                    start..items[index].end
                };
                removals.push((at(list, range), String::new()));
            }
        } else {
            let is_empty = indices.len() == items.len();
            for (nth, &index) in indices.iter().enumerate() {
                let range = item(text, items[index]);
                let indent = " ".repeat(range.indent + 1);
                let instead = if is_empty && nth == 0 {
                    format!("{indent}[]{}", range.line_end)
                } else {
                    String::new()
                };
                removals.push((at(list, range.range), instead));
            }
        }
    }
    removals
}

fn at(span: Span, range: Range<usize>) -> Span {
    Span {
        start: range.start,
        end: range.end,
        ..span
    }
}

/// The bytes of a document, from its `---` to the next, or to the end; of a first one without a mark, from the comments
/// that stand right above it, for what stands further up is about the file.
fn document(text: &str, object: Span) -> Range<usize> {
    let is_mark = |line: &str| {
        let rest = line.strip_prefix("---");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    };
    let mut start = None;
    let mut end = text.len();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if is_mark(line) {
            if offset <= object.start {
                start = Some(offset);
            } else {
                end = offset;
                break;
            }
        }
        offset += line.len();
    }
    let start = start.unwrap_or_else(|| {
        let mut start = line_start(text, object.start);
        while start > 0 {
            let before = line_start(text, start - 1);
            if !text[before..start].trim_start().starts_with('#') {
                break;
            }
            start = before;
        }
        start
    });
    start..end
}

/// The lines of an item of a block list.
struct ItemLines {
    range: Range<usize>,
    /// How far the dash is indented.
    indent: usize,
    line_end: &'static str,
}

fn item(text: &str, item: Span) -> ItemLines {
    let mut start = line_start(text, item.start);
    // The dash may stand on a line before, with a comment.
    while start > 0 && !text[start..].trim_start_matches([' ', '\t']).starts_with('-') {
        start = line_start(text, start - 1);
    }
    let range = start..lines(text, item).end;
    let line = &text[start..];
    let line_end = match &text[range.clone()] {
        lines if lines.ends_with("\r\n") => "\r\n",
        lines if lines.ends_with('\n') => "\n",
        _ => "",
    };
    ItemLines {
        range,
        indent: line.len() - line.trim_start_matches(' ').len(),
        line_end,
    }
}

/// The whole lines that this stands on.
fn lines(text: &str, span: Span) -> Range<usize> {
    let start = line_start(text, span.start);
    let end = span.end.max(start);
    // A block scalar ends where the next line begins.
    if end > start && text[..end].ends_with('\n') {
        return start..end;
    }
    let end = text[end..]
        .find('\n')
        .map_or(text.len(), |newline| end + newline + 1);
    start..end
}

/// What is taken out of a flow mapping with one of its entries.
fn without_in_flow(text: &str, entries: &[Span], index: usize) -> Range<usize> {
    let entry = entries[index];
    match (entries.get(index + 1), index.checked_sub(1)) {
        (Some(next), _) => entry.start..next.start,
        (None, Some(before)) => entries[before].end..entry.end,
        (None, None) => entry.start..entry.end.min(text.len()),
    }
}

/// A scalar without its anchor and its tag, and without what follows on its line: the parser counts the one in, and behind
/// quotes the other.
fn scalar(text: &str, mut span: Span) -> Span {
    while text[span.start..span.end].starts_with(['&', '!']) {
        let written = &text[span.start..span.end];
        let word = written.find(char::is_whitespace).unwrap_or(written.len());
        let rest = written[word..].trim_start();
        span.start = span.end - rest.len();
    }
    let mut characters = text[span.start..span.end].char_indices();
    let Some((_, quote @ ('"' | '\''))) = characters.next() else {
        return span;
    };
    let mut characters = characters.peekable();
    while let Some((offset, character)) = characters.next() {
        if character == '\\' && quote == '"' {
            characters.next();
        } else if character == quote {
            // In single quotes, two stand for one.
            let is_doubled = quote == '\'' && characters.peek().is_some_and(|(_, next)| *next == quote);
            if !is_doubled {
                span.end = span.start + offset + 1;
                break;
            }
            characters.next();
        }
    }
    span
}

fn line_start(text: &str, byte: usize) -> usize {
    text[..byte].rfind('\n').map_or(0, |newline| newline + 1)
}

fn is_flow(text: &str, mapping: Span) -> bool {
    text.as_bytes().get(mapping.start) == Some(&b'{')
}

fn is_flow_list(text: &str, list: Span) -> bool {
    text.as_bytes().get(list.start) == Some(&b'[')
}
