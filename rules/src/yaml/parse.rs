//! From events to trees, within bounds.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::input::Text;
use super::schema::is_null;
use super::{Node, Scalar, Value};
use crate::diagnostic::{Diagnostic, Diagnostics, quoted};
use crate::source::{FileId, Files, Span};

/// The most bytes of a file.
pub const MAX_BYTES: usize = 64 << 20;

/// The deepest nesting of lists and mappings.
pub const MAX_DEPTH: usize = 64;

/// The most nodes in a file.
pub const MAX_NODES: usize = 4_000_000;

/// The most nodes that anchors and aliases may repeat in a file; 64 bytes of text count as one more.
pub const MAX_REPEATED: usize = 100_000;

/// The documents of a file, one at a time, so that only one tree is held.
pub struct Documents<'a> {
    files: &'a Files,
    file: FileId,
    parser: Parser<'a, Text<'a>>,
    /// Where the last event begins: which character it is, and at which byte.
    last: (usize, usize),
    anchors: BTreeMap<usize, Anchor>,
    nodes: usize,
    pub(super) max_nodes: usize,
    repeated: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Finished,
    Broken,
}

struct Anchor {
    node: Node,
    weight: usize,
}

/// A list or mapping that is still open.
struct Frame {
    start: usize,
    children: Children,
    anchor: usize,
    weight: usize,
}

enum Children {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<(Node, Node)>,
        key: Option<Node>,
    },
}

impl<'a> Documents<'a> {
    /// The documents of a file.
    pub fn new(files: &'a Files, file: FileId) -> Self {
        Documents {
            files,
            file,
            parser: Parser::new(Text::new(files.text(file))),
            last: (0, 0),
            anchors: BTreeMap::new(),
            nodes: 0,
            max_nodes: MAX_NODES,
            repeated: 0,
            state: State::Reading,
        }
    }

    /// The next document; `None` after the last, and after a problem that leaves no sense in the rest.
    pub fn next(&mut self, diagnostics: &mut Diagnostics) -> Option<Node> {
        if self.state != State::Reading {
            return None;
        }
        match self.read(diagnostics) {
            Ok(Some(node)) => Some(node),
            Ok(None) => {
                self.state = State::Finished;
                None
            }
            Err(problem) => {
                self.state = State::Broken;
                diagnostics.push(*problem);
                None
            }
        }
    }

    /// Whether a problem kept the rest of the file from being read.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    fn read(&mut self, diagnostics: &mut Diagnostics) -> Result<Option<Node>, Box<Diagnostic>> {
        if self.files.text(self.file).len() > MAX_BYTES {
            return Err(self.too_much(
                "too-large",
                0,
                format!("the file has more than {MAX_BYTES} bytes"),
                "split it into several files",
            ));
        }
        let mut stack: Vec<Frame> = Vec::new();
        loop {
            let (event, place) = match self.parser.next_event() {
                None => return Ok(None),
                Some(Ok(event)) => event,
                Some(Err(error)) => return Err(self.syntax_error(&error)),
            };
            let span = self.span(place.start.index(), place.end.index());
            let done = match event {
                Event::StreamEnd => return Ok(None),
                Event::Scalar(text, style, anchor, tag) => {
                    self.count(span)?;
                    let plain = style == ScalarStyle::Plain && !is_tagged(tag.as_deref(), "str", span)?;
                    let weight = 1 + text.len() / 64;
                    let value = if plain && is_null(&text) {
                        Value::Null
                    } else {
                        let text = text.into_owned();
                        Value::Scalar(Scalar { text, plain })
                    };
                    self.done(Node { span, value }, anchor, weight)?
                }
                Event::SequenceStart(anchor, tag) => {
                    is_tagged(tag.as_deref(), "seq", span)?;
                    self.open(&mut stack, span, anchor, Children::Sequence(Vec::new()))?;
                    continue;
                }
                Event::MappingStart(anchor, tag) => {
                    is_tagged(tag.as_deref(), "map", span)?;
                    let children = Children::Mapping {
                        entries: Vec::new(),
                        key: None,
                    };
                    self.open(&mut stack, span, anchor, children)?;
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(frame) = stack.pop() else { continue };
                    let (anchor, weight) = (frame.anchor, frame.weight);
                    let node = self.close(frame, span, diagnostics);
                    self.done(node, anchor, weight)?
                }
                Event::Alias(anchor) => self.repeat(anchor, span)?,
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
                Event::DocumentEnd => {
                    self.anchors.clear();
                    continue;
                }
            };
            match stack.last_mut() {
                None => return Ok(Some(done.0)),
                Some(frame) => self.attach(frame, done)?,
            }
        }
    }

    fn open(
        &mut self,
        stack: &mut Vec<Frame>,
        span: Span,
        anchor: usize,
        children: Children,
    ) -> Result<(), Box<Diagnostic>> {
        self.count(span)?;
        if stack.len() >= MAX_DEPTH {
            return Err(self.too_deep(span.start));
        }
        stack.push(Frame {
            start: span.start,
            children,
            anchor,
            weight: 1,
        });
        Ok(())
    }

    fn attach(&self, frame: &mut Frame, (node, weight): (Node, usize)) -> Result<(), Box<Diagnostic>> {
        frame.weight += weight;
        match &mut frame.children {
            Children::Sequence(items) => items.push(node),
            Children::Mapping { entries, key } => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(self.key(node)?),
            },
        }
        Ok(())
    }

    /// A key of a mapping is text; a number or `null` is taken as it is written.
    fn key(&self, mut node: Node) -> Result<Node, Box<Diagnostic>> {
        match &mut node.value {
            Value::Scalar(scalar) if scalar.plain && scalar.text == "<<" => Err(Box::new(
                Diagnostic::error("merge-key", "merge keys (`<<`) are not part of YAML 1.2")
                    .at(node.span, "not supported")
                    .help("write the fields out"),
            )),
            Value::Scalar(_) => Ok(node),
            Value::Null => {
                let text = self.files.text(self.file)[node.span.start..node.span.end].to_owned();
                node.value = Value::Scalar(Scalar { text, plain: true });
                Ok(node)
            }
            Value::Sequence(_) | Value::Mapping(_) => Err(Box::new(
                Diagnostic::error("complex-key", format!("{} cannot be a key", node.describe()))
                    .at(node.span, "a key is text here")
                    .help("braces and brackets that belong to a text need quotes around it"),
            )),
        }
    }

    fn close(&self, frame: Frame, end: Span, diagnostics: &mut Diagnostics) -> Node {
        // A block ends where the next thing begins, perhaps many lines on: its last value says more.
        let is_block = end.start == end.end;
        let (first, last, value) = match frame.children {
            Children::Sequence(items) => (
                items.first().map(|item| item.span.start),
                items.last().map(|item| item.span.end),
                Value::Sequence(items),
            ),
            Children::Mapping { entries, .. } => {
                let ends = (
                    entries.first().map(|(key, _)| key.span.start),
                    entries.last().map(|(_, value)| value.span.end),
                );
                (ends.0, ends.1, Value::Mapping(unique(entries, diagnostics)))
            }
        };
        let (start, end) = match (first, last) {
            (Some(first), Some(last)) if is_block => (first, last),
            _ => (frame.start, end.end),
        };
        let span = Span {
            file: self.file,
            start,
            end: end.max(start),
        };
        Node { span, value }
    }

    /// A finished node and its weight, remembered if it has an anchor.
    fn done(&mut self, node: Node, anchor: usize, weight: usize) -> Result<(Node, usize), Box<Diagnostic>> {
        if anchor != 0 {
            self.charge(weight, node.span)?;
            let node = node.clone();
            self.anchors.insert(anchor, Anchor { node, weight });
        }
        Ok((node, weight))
    }

    fn repeat(&mut self, anchor: usize, span: Span) -> Result<(Node, usize), Box<Diagnostic>> {
        let Some(weight) = self.anchors.get(&anchor).map(|anchor| anchor.weight) else {
            return Err(Box::new(
                Diagnostic::error("yaml-syntax", "an alias stands inside the value that it repeats")
                    .at(span, "this would never end"),
            ));
        };
        self.charge(weight, span)?;
        let mut node = self.anchors[&anchor].node.clone();
        // What is wrong with the whole value is said of the alias; what is wrong inside, of the inside.
        node.span = span;
        Ok((node, weight))
    }

    fn charge(&mut self, weight: usize, span: Span) -> Result<(), Box<Diagnostic>> {
        self.repeated += weight;
        if self.repeated > MAX_REPEATED {
            return Err(self.too_much(
                "too-many-aliases",
                span.start,
                format!("anchors and aliases repeat more than {MAX_REPEATED} values"),
                "write the values out, or split the file",
            ));
        }
        Ok(())
    }

    fn count(&mut self, span: Span) -> Result<(), Box<Diagnostic>> {
        self.nodes += 1;
        if self.nodes > self.max_nodes {
            return Err(self.too_much(
                "too-large",
                span.start,
                format!("the file holds more than {} values", self.max_nodes),
                "split it into several files",
            ));
        }
        Ok(())
    }

    fn too_deep(&self, start: usize) -> Box<Diagnostic> {
        self.too_much(
            "too-deep",
            start,
            format!("lists and mappings are nested more than {MAX_DEPTH} deep"),
            "no file needs that: look for a missing closing bracket",
        )
    }

    fn too_much(&self, code: &'static str, start: usize, message: String, help: &str) -> Box<Diagnostic> {
        let span = Span {
            file: self.file,
            start,
            end: start,
        };
        Box::new(Diagnostic::error(code, message).at(span, "").help(help))
    }

    fn syntax_error(&self, error: &ScanError) -> Box<Diagnostic> {
        let text = self.files.text(self.file);
        let at = self.files.byte_of_character(self.file, error.marker().index());
        let (at, label) = if at >= text.len() {
            (text.trim_end().len(), "the text ends here")
        } else {
            (at, "here")
        };
        let span = Span {
            file: self.file,
            start: at,
            end: at
                + text[at..]
                    .chars()
                    .next()
                    .filter(|&c| c != '\n')
                    .map_or(0, char::len_utf8),
        };
        let info = error.info();
        if info.contains("recursion limit") {
            // The parser looks ahead, and has a limit of its own.
            return self.too_deep(at);
        }
        let problem =
            Diagnostic::error("yaml-syntax", format!("this is not valid YAML: {info}")).at(span, label);
        Box::new(match advice(info) {
            Some(advice) => problem.help(advice),
            None => problem,
        })
    }

    /// The bytes of these characters.
    fn span(&mut self, start: usize, end: usize) -> Span {
        let byte_of = |character, known| self.files.byte_of_character_near(self.file, character, known);
        self.last = (start, byte_of(start, self.last));
        Span {
            file: self.file,
            start: self.last.1,
            end: byte_of(end.max(start), self.last),
        }
    }
}

/// Whether the core tag `allowed` is there.
fn is_tagged(tag: Option<&Tag>, allowed: &str, span: Span) -> Result<bool, Box<Diagnostic>> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == allowed => Ok(true),
        Some(tag) => {
            let written = if tag.is_yaml_core_schema() {
                format!("!!{}", tag.suffix)
            } else {
                format!("{}{}", tag.handle, tag.suffix)
            };
            Err(Box::new(
                Diagnostic::error(
                    "unsupported-tag",
                    format!("the tag {} means nothing here", quoted(&written)),
                )
                .at(span, "tagged")
                .help("write the value without a tag, text in quotes where it looks like something else"),
            ))
        }
    }
}

/// The entries of a mapping without those whose key was there before, which are reported.
fn unique(entries: Vec<(Node, Node)>, diagnostics: &mut Diagnostics) -> Vec<(Node, Node)> {
    if entries.len() <= FEW && !has_repeated_key(&entries) {
        return entries;
    }
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    let mut again = BTreeSet::new();
    for (index, (key, _)) in entries.iter().enumerate() {
        let text = key.text().unwrap_or_default();
        if let Some(&earlier) = first.get(text) {
            diagnostics.push(
                Diagnostic::error(
                    "duplicate-key",
                    format!("the key {} is there twice", quoted(text)),
                )
                .at(key.span, "again here")
                .related(earlier, "first written here")
                .help("keep one of the two"),
            );
            again.insert(index);
        } else {
            first.insert(text, key.span);
        }
    }
    if again.is_empty() {
        return entries;
    }
    let kept = entries
        .into_iter()
        .enumerate()
        .filter(|(index, _)| !again.contains(index));
    kept.map(|(_, entry)| entry).collect()
}

/// Keys among which a repeated one is sooner found by comparing each with each than in a tree.
const FEW: usize = 16;

fn has_repeated_key(entries: &[(Node, Node)]) -> bool {
    let is_repeated = |(index, (key, _)): (usize, &(Node, Node))| {
        let earlier = &entries[..index];
        earlier.iter().any(|(other, _)| other.text() == key.text())
    };
    entries.iter().enumerate().any(is_repeated)
}

/// What to do about the mistakes that people make most.
fn advice(info: &str) -> Option<&'static str> {
    let contains = |part| info.contains(part);
    if contains("tabs disallowed") {
        Some("indent with spaces: YAML allows no tabs there")
    } else if contains("mapping values are not allowed") {
        Some(
            "a value that holds `: ` needs quotes; or the line above lacks its `:`, or the indentation is off",
        )
    } else if contains("unexpected character") || contains("cannot start any token") {
        Some("a value that begins with this character needs quotes")
    } else if contains("unknown anchor") {
        Some(
            "an alias (`*name`) repeats a value marked `&name` earlier in the document; a value that begins with `*` needs quotes",
        )
    } else if contains("unexpected end of stream") {
        Some("a quote that is opened must be closed")
    } else if contains("expected ',' or") {
        Some("look for a bracket, brace or comma that is missing")
    } else if contains("invalid Unicode character escape code") {
        Some("write the character itself: halves of a character (`\\ud83d\\ude00`) are not read")
    } else {
        None
    }
}
