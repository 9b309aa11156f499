//! Selectors, what several of them say together, and where in the file their mistakes are.

use super::fields::Context;
use crate::diagnostic::Diagnostic;
use crate::resource::{NAMESPACE_LABEL, NAMESPACE_PREFIX, SERVICE_ACCOUNT_LABEL, SERVICE_ACCOUNT_PREFIX};
use crate::selector::{MAX_DEPTH, MAX_LABEL, Selector, SyntaxError};
use crate::source::Span;
use crate::yaml::{Node, Value};

/// The most characters of a selector.
const MAX_CHARACTERS: usize = 1024;

const GLOBAL: &str = "global()";

/// How `global()` begins; a selector that holds this, even in a string, is taken to mean it, as in Calico.
const GLOBAL_CALL: &str = "global(";

/// Reads a selector of an object's own labels; `None` if it is empty, which is no condition, and if it is wrong.
pub(super) fn selector(context: &mut Context<'_>, node: &Node) -> Option<Selector> {
    let text = text(context, node)?;
    check_no_global(context, node, text)?;
    parse(context, node, text)
}

/// Reads the `namespaceSelector` of a policy, as a selector of the labels that what is in a namespace has.
pub(super) fn namespace_selector(context: &mut Context<'_>, node: &Node) -> Option<Selector> {
    let written = selector(context, node)?;
    of_group(context, node, &written, NAMESPACE_PREFIX, NAMESPACE_LABEL)
}

/// As [`namespace_selector`], of the entity of a rule: there `global()`, alone, is what is in no namespace.
pub(super) fn namespace_or_global_selector(context: &mut Context<'_>, node: &Node) -> Option<Selector> {
    if let Some(text) = node.text()
        && let Some(start) = text.find(GLOBAL_CALL)
        && Selector::parse(text).is_ok()
    {
        if text.split([' ', '\t']).collect::<String>() == GLOBAL {
            return Some(Selector::has(NAMESPACE_LABEL).negated());
        }
        let span = span_in(context, node, text, start..start + GLOBAL_CALL.len());
        context.report(
            Diagnostic::error(
                "selector-global",
                "`global()` must stand alone in a namespaceSelector",
            )
            .at(span, "not alone")
            .help("write a rule of its own for objects in no namespace, with `namespaceSelector: global()`"),
        );
        return None;
    }
    namespace_selector(context, node)
}

/// Reads a selector of service accounts, as a selector of the labels that what runs as one has.
pub(super) fn service_account_selector(context: &mut Context<'_>, node: &Node) -> Option<Selector> {
    let written = selector(context, node)?;
    of_group(
        context,
        node,
        &written,
        SERVICE_ACCOUNT_PREFIX,
        SERVICE_ACCOUNT_LABEL,
    )
}

/// The selector that all of `parts` say together, if there are any; `place` is pointed at if that becomes too deep.
pub(super) fn together(
    context: &mut Context<'_>,
    place: Span,
    parts: impl IntoIterator<Item = Option<Selector>>,
) -> Option<Selector> {
    let together = parts
        .into_iter()
        .flatten()
        .reduce(|together, part| together.and(&part))?;
    if together.depth() > MAX_DEPTH {
        context.report(
            Diagnostic::error(
                "selector-syntax",
                format!("together the selectors are nested more than {MAX_DEPTH} levels deep"),
            )
            .at(place, "these together")
            .help("leave out parentheses that are not needed, or split the policy"),
        );
        return None;
    }
    Some(together)
}

/// The text of a selector that says something and is short enough.
fn text<'n>(context: &mut Context<'_>, node: &'n Node) -> Option<&'n str> {
    let text = context.text(node, "a selector")?;
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
    (!text.is_empty()).then_some(text)
}

fn check_no_global(context: &mut Context<'_>, node: &Node, text: &str) -> Option<()> {
    let Some(start) = text.find(GLOBAL_CALL) else {
        return Some(());
    };
    let span = span_in(context, node, text, start..start + GLOBAL_CALL.len());
    context.report(
        Diagnostic::error(
            "selector-global",
            "`global()` has a meaning in the namespaceSelector of a rule only",
        )
        .at(span, "not allowed here")
        .help(
            "select objects in no namespace with `!has(projectcalico.org/namespace)`, or by their own labels",
        ),
    );
    None
}

fn parse(context: &mut Context<'_>, node: &Node, text: &str) -> Option<Selector> {
    match Selector::parse(text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            syntax_error(context, node, text, error);
            None
        }
    }
}

fn of_group(
    context: &mut Context<'_>,
    node: &Node,
    written: &Selector,
    prefix: &str,
    member: &str,
) -> Option<Selector> {
    let selector = written.of_group(prefix, member);
    if selector.has_long_label() {
        context.invalid(
            "too-long",
            node,
            format!("with `{prefix}` before it a label has more than {MAX_LABEL} bytes"),
            "choose a shorter label",
        );
        return None;
    }
    Some(selector)
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
