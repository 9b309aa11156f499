//! The matrix as a graph for Graphviz.

use std::fmt::Write as _;

use super::drawing::{Amount, Drawing, Shade};
use crate::analysis::matrix::{Matrix, TooLarge};
use crate::world::WorldKind;

/// The matrix as a directed graph in Graphviz's language.
///
/// An edge is what the enforced world allows, without a label where it is everything; dotted, if only the safety net
/// allows it. What promotion takes away is an edge of its own, red and dashed, what it adds a green one, and what it takes
/// away once the net is removed an orange one. Where both directions are alike, one edge has two heads. Endpoints are
/// boxes, blocks of addresses are ellipses. A node with itself is not drawn.
///
/// # Errors
///
/// [`TooLarge`].
pub fn dot(matrix: &mut Matrix<'_>) -> Result<String, TooLarge> {
    let drawing = Drawing::of(matrix)?;
    let mut text = String::from(
        "digraph palisade {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=11];\n  \
         edge [fontname=\"sans-serif\", fontsize=9];\n",
    );
    for (index, row) in drawing.rows.iter().enumerate() {
        let shape = if row.is_block { "ellipse" } else { "box" };
        let names = quoted(&row.names.join("\n"));
        let label = quoted(&row.label);
        let _ = writeln!(
            text,
            "  n{index} [label={label}, tooltip={names}, shape={shape}];"
        );
    }
    for (from, row) in drawing.rows.iter().enumerate() {
        for to in 0..drawing.rows.len() {
            if from != to || row.members.len() > 1 {
                write_edges(&mut text, &drawing, from, to);
            }
        }
    }
    text.push_str("}\n");
    Ok(text)
}

fn write_edges(text: &mut String, drawing: &Drawing, from: usize, to: usize) {
    let there = edges(drawing.shade(from, to));
    let back = if from == to {
        Vec::new()
    } else {
        edges(drawing.shade(to, from))
    };
    for edge in there {
        let is_both_ways = back.contains(&edge);
        if is_both_ways && from > to {
            continue;
        }
        let heads = if is_both_ways { ", dir=both" } else { "" };
        let _ = writeln!(text, "  n{from} -> n{to} [{edge}{heads}];");
    }
}

/// The edges of a cell, by their attributes.
fn edges(shade: &Shade) -> Vec<String> {
    let mut edges = Vec::new();
    let enforced = shade.seen(WorldKind::Enforced, false);
    if enforced.amount != Amount::Nothing {
        let is_caught = shade.seen(WorldKind::Enforced, true).amount == Amount::Nothing;
        let style = if is_caught { "dotted" } else { "solid" };
        let label = if enforced.amount == Amount::Everything {
            ""
        } else {
            &enforced.text
        };
        edges.push(format!("label={}, style={style}", quoted(label)));
    }
    edges.extend(marks(shade).into_iter().map(|(label, colour)| {
        let label = quoted(&label);
        format!("label={label}, color=\"{colour}\", fontcolor=\"{colour}\", style=dashed, penwidth=2")
    }));
    edges
}

/// What promotion changes: in words, with the colour.
fn marks(shade: &Shade) -> Vec<(String, &'static str)> {
    let [with, without] = &shade.promotion;
    let mut marks = Vec::new();
    if let Some(added) = &with.added_text {
        marks.push((format!("+ {added}"), "#1a7f37"));
    }
    if let Some(removed) = &with.removed_text {
        marks.push((format!("\u{2212} {removed}"), "#cf222e"));
    } else if let Some(removed) = &without.removed_text {
        marks.push((format!("\u{2212} {removed}, once the net is removed"), "#bc4c00"));
    }
    marks
}

/// A string of Graphviz: quoted, with `\n` for a new line.
fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}
