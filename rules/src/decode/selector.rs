//! Selectors, and where in the file their mistakes are.

use super::fields::Context;
use crate::diagnostic::Diagnostic;
use crate::selector::{Selector, SyntaxError};
use crate::source::Span;
use crate::yaml::{Node, Value};

/// The most characters of a selector.
const MAX_CHARACTERS: usize = 1024;

/// Reads a selector; `None` if it is empty, which is no condition, and if it is wrong.
pub(super) fn selector(context: &mut Context<'_>, node: &Node) -> Option<Selector> {
    let text = context.text(node, "a selector")?;
    if text.is_empty() {
        return None;
    }
    let characters = text.chars().count();
    if characters > MAX_CHARACTERS {
        context.invalid(
            "too-long",
            node,
            format!("the selector has {characters} characters, and {MAX_CHARACTERS} are allowed"),
            "give the objects a label of their own, and select that",
        );
        return None;
    }
    if let Some(start) = text.find("global(") {
        let span = span_in(context, node, text, start..start + "global(".len());
        context.report(
            Diagnostic::error(
                "selector-global",
                "`global()` has a meaning in a namespaceSelector only",
            )
            .at(span, "not allowed here")
            .help("select global objects by their labels"),
        );
        return None;
    }
    match Selector::parse(text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            syntax_error(context, node, text, error);
            None
        }
    }
}

fn syntax_error(context: &mut Context<'_>, node: &Node, text: &str, error: SyntaxError) {
    let span = span_in(context, node, text, error.span);
    let problem = Diagnostic::error(
        "selector-syntax",
        format!("the selector is not valid: {}", error.message),
    )
    .at(span, "here");
    context.report(match error.help {
        Some(help) => problem.help(help),
        None => problem,
    });
}

/// Where a part of a scalar's text is in the file: exactly, if the scalar is written as its text is, with or
/// without quotes; else the whole scalar.
fn span_in(context: &Context<'_>, node: &Node, text: &str, part: std::ops::Range<usize>) -> Span {
    let written = context
        .files
        .text(node.span.file)
        .get(node.span.start..node.span.end)
        .unwrap_or_default();
    let quotes = match &node.value {
        Value::Scalar(scalar) if !scalar.plain => 1,
        _ => 0,
    };
    let inner = written.get(quotes..written.len().saturating_sub(quotes));
    if inner != Some(text) || part.start > part.end || part.end > text.len() {
        return node.span;
    }
    let start = node.span.start + quotes;
    Span {
        start: start + part.start,
        end: start + part.end,
        ..node.span
    }
}
