//! Traces as JSON, written straight into the line they belong to: most of an answer is its trace, and most of a trace is
//! words that are the same each time.

use serde_json::Value;

use crate::evaluate::{OpenBy, Said, SaidBy};
use crate::world::{PolicyRef, Stage, WorldRule, Worlds};

/// Appends a step as its [`StepReport`](super::StepReport) is serialised.
pub(super) fn write_step(worlds: &Worlds, step: &Said<'_>, out: &mut Vec<u8>) {
    let endpoint = worlds.endpoint(step.endpoint);
    put(out, "{\"endpoint\":\"");
    if let Some(namespace) = &endpoint.namespace {
        put_inside(out, namespace);
        put(out, "/");
    }
    put_inside(out, &endpoint.name);
    put(out, "\",\"direction\":\"");
    put(out, step.direction.as_str());
    if step.stage != Stage::Normal {
        put(out, "\",\"stage\":\"");
        put(out, step.stage.as_str());
    }
    put(out, "\",");
    let mut trigger: Option<&PolicyRef> = None;
    match step.by {
        SaidBy::Rule(policy, rule) => {
            write_speaker(
                out,
                &policy.named.tier,
                policy.named.kind,
                policy.named.namespace.as_deref(),
                &policy.named.name,
            );
            write_rule(out, Some(rule));
        }
        SaidBy::EndOfTier(tier, last) => {
            write_speaker(out, &tier.name, "EndOfTier", None, "");
            write_rule(out, None);
            trigger = Some(&last.named);
        }
        SaidBy::Profile(profile, rule) => {
            write_speaker(out, "", "Profile", None, &profile.name);
            write_rule(out, Some(rule));
        }
        SaidBy::NoProfile => {
            write_speaker(out, "", "Profile", None, "");
            write_rule(out, None);
        }
        SaidBy::Failsafe(open) => {
            let port = match open {
                OpenBy::Port(failsafe) => failsafe.to_string(),
                OpenBy::Icmpv6 => "icmpv6".to_owned(),
            };
            write_speaker(out, "", "Failsafe", None, &port);
            write_rule(out, None);
        }
        SaidBy::Loopback => {
            write_speaker(out, "", "Loopback", None, "");
            write_rule(out, None);
        }
    }
    put(out, ",\"action\":\"");
    put(out, step.action.as_str());
    put(out, "\",\"trigger\":");
    match trigger {
        None => put(out, "null"),
        Some(trigger) => {
            put(out, "{\"kind\":\"");
            put(out, trigger.kind);
            put(out, "\",\"tier\":");
            put_text(out, &trigger.tier);
            put(out, ",\"namespace\":");
            put_optional(out, trigger.namespace.as_deref());
            put(out, ",\"name\":");
            put_text(out, &trigger.name);
            put(out, "}");
        }
    }
    put(out, ",\"source\":");
    match step.position {
        None => put(out, "null"),
        Some(position) => {
            put(out, "\"");
            put_inside(out, &position.file);
            put(out, ":");
            put_number(out, position.line.into());
            put(out, ":");
            put_number(out, position.column.into());
            put(out, "\"");
        }
    }
    put(out, "}");
}

fn write_speaker(out: &mut Vec<u8>, tier: &str, kind: &str, namespace: Option<&str>, name: &str) {
    put(out, "\"tier\":");
    put_text(out, tier);
    put(out, ",\"kind\":\"");
    put(out, kind);
    put(out, "\",\"namespace\":");
    put_optional(out, namespace);
    put(out, ",\"name\":");
    put_text(out, name);
}

fn write_rule(out: &mut Vec<u8>, rule: Option<&WorldRule>) {
    put(out, ",\"rule_index\":");
    match rule {
        Some(rule) => put_number(out, i64::try_from(rule.index).unwrap_or(i64::MAX)),
        None => put(out, "-1"),
    }
    put(out, ",\"rule_name\":");
    put_optional(out, rule.and_then(|rule| rule.name.as_deref()));
}

/// Appends a text with its quotes.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, "\"");
    put_inside(out, text);
    put(out, "\"");
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_text(out, text),
        None => put(out, "null"),
    }
}

/// Appends what is between the quotes of a text.
fn put_inside(out: &mut Vec<u8>, text: &str) {
    // Counted to the end, so that the compiler looks at many bytes at once.
    let is_escaped = |byte: &u8| matches!(byte, 0..b' ' | b'"' | b'\\');
    if text.as_bytes().iter().filter(|byte| is_escaped(byte)).count() == 0 {
        put(out, text);
        return;
    }
    let quoted = Value::from(text).to_string();
    put(out, &quoted[1..quoted.len() - 1]);
}

pub(super) fn put_number(out: &mut Vec<u8>, number: i64) {
    // Writing into memory does not fail.
    let _ = serde_json::to_writer(out, &number);
}

/// Appends what needs no escape.
pub(super) fn put(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(json.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_serde_does() {
        for text in ["", "web", "a \"b\"", "a\\b", "a\tb\u{1}", "Jörg \u{7f}\u{2028}"] {
            let mut out = Vec::new();
            put_text(&mut out, text);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                serde_json::to_string(text).unwrap()
            );
        }
    }
}
