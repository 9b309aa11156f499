//! A diagnostic as the Rust compiler would print it.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, Severity, quoted};
use crate::source::{FileId, Files, Span};

/// Lines longer than this (JSON without line breaks) are not excerpted: their place is named instead.
const LONGEST_LINE: usize = 2_000;

/// Places of one file that lie within this many bytes share an excerpt.
const LONGEST_EXCERPT: usize = 8_000;

pub(super) fn render(diagnostic: &Diagnostic, files: &Files, colour: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(
        level
            .primary_title(diagnostic.message.as_str())
            .id(diagnostic.code),
    );
    for excerpt in excerpts(diagnostic, files) {
        group = match excerpt {
            Excerpt::Lines(snippet) => group.element(snippet),
            Excerpt::Place(origin) => group.element(origin),
        };
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    if let Some(object) = object(diagnostic) {
        group = group.element(Level::NOTE.message(object));
    }
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&[group])
}

enum Excerpt<'a> {
    Lines(Snippet<'a, annotate_snippets::Annotation<'a>>),
    Place(Origin<'a>),
}

/// The excerpts in the order they are shown: the offending text first, then the related places, merged where
/// they are near each other. Only the lines concerned are handed on, for the file may be large.
fn excerpts<'a>(diagnostic: &'a Diagnostic, files: &'a Files) -> Vec<Excerpt<'a>> {
    let Some(primary) = diagnostic.span else {
        return Vec::new();
    };
    let mut windows = vec![Window::new(
        files,
        primary,
        AnnotationKind::Primary,
        &diagnostic.label,
    )];
    for (span, label) in &diagnostic.related {
        let window = Window::new(files, *span, AnnotationKind::Context, label);
        match windows.iter_mut().find(|other| other.is_near(&window)) {
            Some(near) => near.merge(window),
            None => windows.push(window),
        }
    }
    windows.into_iter().map(|window| window.excerpt(files)).collect()
}

/// Whole lines of a file, and what to point at in them.
struct Window<'a> {
    file: FileId,
    lines: Range<usize>,
    marks: Vec<(AnnotationKind, Range<usize>, &'a str)>,
}

impl<'a> Window<'a> {
    /// The line on which a span begins; a span of several lines is marked on its first.
    fn new(files: &Files, span: Span, kind: AnnotationKind, label: &'a str) -> Self {
        let text = files.text(span.file);
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let lines = files.line(span.file, start);
        let end = text.floor_char_boundary(span.end.clamp(start, lines.end.max(start)));
        Window {
            file: span.file,
            lines,
            marks: vec![(kind, start..end, label)],
        }
    }

    fn is_near(&self, other: &Window<'_>) -> bool {
        let start = self.lines.start.min(other.lines.start);
        let end = self.lines.end.max(other.lines.end);
        self.file == other.file && end - start <= LONGEST_EXCERPT
    }

    fn merge(&mut self, other: Window<'a>) {
        self.lines = self.lines.start.min(other.lines.start)..self.lines.end.max(other.lines.end);
        self.marks.extend(other.marks);
    }

    fn excerpt(self, files: &'a Files) -> Excerpt<'a> {
        let place = files.position(Span {
            file: self.file,
            start: self.marks[0].1.start,
            end: self.marks[0].1.end,
        });
        let name: &str = files.name(self.file);
        let excerpt = &files.text(self.file)[self.lines.clone()];
        if excerpt.lines().any(|line| line.len() > LONGEST_LINE) {
            return Excerpt::Place(
                Origin::path(name)
                    .line(place.line as usize)
                    .char_column(place.column as usize),
            );
        }
        let first = files.position(Span {
            file: self.file,
            start: self.lines.start,
            end: self.lines.start,
        });
        let marks = self.marks.into_iter().map(|(kind, range, label)| {
            let range = range.start - self.lines.start..range.end - self.lines.start;
            kind.span(range)
                .label(Some(label).filter(|label| !label.is_empty()))
        });
        Excerpt::Lines(
            Snippet::source(excerpt)
                .path(name)
                .line_start(first.line as usize)
                .annotations(marks),
        )
    }
}

/// In which object the place is, for a file that holds many.
fn object(diagnostic: &Diagnostic) -> Option<String> {
    let kind = diagnostic.kind.as_deref()?;
    let name = diagnostic.name.as_deref();
    let object = match name {
        Some(name) => format!("in {kind} {}", quoted(name)),
        None => format!("in an object of kind {kind} without a name"),
    };
    Some(match diagnostic.path.as_deref() {
        Some(path) if !path.is_empty() => format!("{object}, at `{path}`"),
        _ => object,
    })
}
