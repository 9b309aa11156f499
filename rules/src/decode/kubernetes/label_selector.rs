//! Selectors in Kubernetes' form: `matchLabels` and `matchExpressions`.

use super::super::fields::{Context, Field, Fields, is_default};
use super::super::{metadata, names, selector};
use super::items;
use crate::diagnostic::{Diagnostic, quoted};
use crate::schema::{LABEL_SELECTOR, MATCH_EXPRESSION};
use crate::selector::Selector;
use crate::source::Span;
use crate::yaml::Node;

const OPERATORS: [(&str, Operator); 4] = [
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("Exists", Operator::Exists),
    ("DoesNotExist", Operator::DoesNotExist),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// Reads a selector of Kubernetes; `None` if it selects everything.
pub(super) fn label_selector(context: &mut Context<'_>, field: Field<'_>) -> Option<Selector> {
    let mut fields = Fields::of(context, field.value, &LABEL_SELECTOR, field.key.span)?;
    let labels = fields.optional("matchLabels");
    let expressions = fields.optional("matchExpressions");
    fields.finish(context);

    let mut parts = Vec::new();
    if let Some(labels) = labels {
        let (labels, _) = metadata::labels(context, labels.value);
        parts.extend(
            labels
                .iter()
                .map(|(key, value)| Some(Selector::equals(key, value))),
        );
    }
    if let Some(expressions) = expressions {
        for node in items(context, expressions, "a list of expressions") {
            parts.push(expression(context, node));
        }
    }
    selector::together(context, field.key.span, parts)
}

fn expression(context: &mut Context<'_>, node: &Node) -> Option<Selector> {
    let mut fields = Fields::of(context, node, &MATCH_EXPRESSION, node.span)?;
    let key = fields.required(context, "key");
    let operator = fields.required(context, "operator");
    let values = fields
        .optional("values")
        .filter(|values| !is_default(values.value));
    fields.finish(context);

    let key = key.and_then(|key| label_key(context, key.value))?;
    let operator = operator?;
    let compared = context.choice(operator.value, "an operator", &OPERATORS)?;
    let problem = |message: &str, place: Span, help: &str| {
        Diagnostic::error("match-values", message)
            .at(place, "")
            .help(help)
    };
    match (compared, values) {
        (Operator::Exists | Operator::DoesNotExist, Some(values)) => {
            context.report(problem(
                "`Exists` and `DoesNotExist` have no values",
                values.key.span,
                "remove `values`, or use `In` or `NotIn`",
            ));
            None
        }
        (Operator::In | Operator::NotIn, None) => {
            context.report(problem(
                "`In` and `NotIn` need at least one value",
                operator.value.span,
                "add `values: [...]`, or use `Exists` or `DoesNotExist`",
            ));
            None
        }
        (Operator::Exists, None) => Some(Selector::has(key)),
        (Operator::DoesNotExist, None) => Some(Selector::has(key).negated()),
        (Operator::In, Some(values)) => Some(Selector::one_of(key, label_values(context, values))),
        (Operator::NotIn, Some(values)) => Some(Selector::none_of(key, label_values(context, values))),
    }
}

fn label_key<'n>(context: &mut Context<'_>, node: &'n Node) -> Option<&'n str> {
    let key = context.text(node, "a label key")?;
    if !names::is_qualified(key) {
        context.invalid(
            "invalid-label",
            node,
            format!("{} is not a valid label key", quoted(key)),
            "a key is written `name` or `example.com/name`",
        );
        return None;
    }
    Some(key)
}

fn label_values(context: &mut Context<'_>, field: Field<'_>) -> Vec<String> {
    let mut values = Vec::new();
    for node in items(context, field, "a list of label values") {
        let Some(value) = context.text(node, "a label value") else {
            continue;
        };
        if !names::is_label_value(value) {
            context.invalid(
                "invalid-label",
                node,
                format!("{} is not a valid label value", quoted(value)),
                "a value is empty or has at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends",
            );
        }
        values.push(value.to_owned());
    }
    values
}
