//! The policy as a document, with its evidence in comments.

use std::collections::BTreeMap;

use super::Question;
use super::evidence::{few, when};
use super::frame::Frame;
use super::scope::Scope;
use crate::net::Direction;
use crate::print;
use crate::resource::Policy;
use crate::world::Worlds;

/// Columns of a comment, its `#` and indentation left out.
const WIDTH: usize = 110;

/// What stands above the document.
pub(super) fn head(
    worlds: &Worlds,
    question: &Question,
    frame: &Frame,
    scope: &Scope<'_>,
    warnings: &[String],
) -> Vec<String> {
    let at: Vec<String> = frame
        .subjects
        .iter()
        .map(|&id| worlds.endpoint(id).to_string())
        .collect();
    let seen = &scope.replayed;
    let connections: u64 = seen.iter().map(|observed| observed.connections).sum();
    let mut lines = vec![format!(
        "learnt from {} flows ({connections} connections) of {}, seen {}",
        seen.len(),
        few(&at),
        when(seen)
    )];
    lines.push(format!(
        "replayed {} flows in the pending world, without the safety net: 0 denied",
        seen.len()
    ));
    if let Some(position) = &frame.replaces {
        lines.push(format!(
            "comes in place of {} {} ({position})",
            frame.policy.written_kind(),
            question.name
        ));
    }
    for (by, count) in &scope.allowed_by {
        lines.push(format!(
            "no rule is needed for {}, which {by} allows",
            count.phrase()
        ));
    }
    for (reason, count) in &scope.left_out {
        lines.push(format!("left out: {} {reason}", count.phrase()));
    }
    lines.extend(question.notes.iter().cloned());
    lines.extend(warnings.iter().map(|warning| format!("WARNING: {warning}")));
    lines
}

/// The document with comments: above all of it, and above rules by direction and index. Those without are rules that were
/// there.
pub(super) fn annotated(
    policy: &Policy,
    head: &[String],
    comments: &BTreeMap<(Direction, usize), Vec<String>>,
) -> String {
    let mut text = String::new();
    let mut direction = None;
    let mut index = 0;
    for line in head {
        comment(&mut text, "", line);
    }
    for line in print::policy(policy).lines() {
        match line {
            "  ingress:" => (direction, index) = (Some(Direction::Ingress), 0),
            "  egress:" => (direction, index) = (Some(Direction::Egress), 0),
            _ => {}
        }
        // Nothing else in a list stands so far to the left.
        if let Some(direction) = direction.filter(|_| line.starts_with("  - ")) {
            match comments.get(&(direction, index)) {
                Some(lines) => lines.iter().for_each(|line| comment(&mut text, "  ", line)),
                None => comment(&mut text, "  ", "kept as it was"),
            }
            index += 1;
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// A comment in as many lines as it takes. Names of processes may hold anything.
fn comment(text: &mut String, indent: &str, line: &str) {
    let clean: String = line
        .chars()
        .map(|it| if it.is_control() { '?' } else { it })
        .collect();
    let mut length = 0;
    text.push_str(indent);
    text.push('#');
    for word in clean.split(' ') {
        let word_length = word.chars().count() + 1;
        if length > 0 && length + word_length > WIDTH {
            text.push('\n');
            text.push_str(indent);
            text.push_str("#  ");
            length = 2;
        }
        text.push(' ');
        text.push_str(word);
        length += word_length;
    }
    text.push('\n');
}
