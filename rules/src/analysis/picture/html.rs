//! The matrix as a page.

use serde_json::{Value, json};

use super::drawing::{Drawing, Promotion, Seen, Shade};
use super::traces::Traces;
use crate::analysis::matrix::{Matrix, NodeKind, TooLarge};

/// The page, but for its title and its data.
const PAGE: &str = include_str!("page.html");

/// The matrix as one page of HTML that needs nothing else: views side by side, what promotion changes marked, sections
/// that open, and for each cell what it allows and why.
///
/// `title` is shown as it is.
///
/// # Errors
///
/// [`TooLarge`].
pub fn html(matrix: &mut Matrix<'_>, title: &str) -> Result<String, TooLarge> {
    let drawing = Drawing::of(matrix)?;
    let traces = Traces::of(matrix, &drawing);
    let data = json!({
        "notes": matrix.notes(),
        "rows": rows(matrix, &drawing),
        "sections": drawing.sections.iter().map(|(label, rows)| json!([label, rows.start, rows.end])).collect::<Vec<_>>(),
        "hasNet": drawing.has_net,
        "shades": drawing.shades.iter().map(shade).collect::<Vec<_>>(),
        "cells": drawing.cells.iter().map(|cells| runs(cells)).collect::<Vec<_>>(),
        "traces": traces,
    });
    // Inside of a script element nothing is markup but its end.
    let data = data.to_string().replace('<', "\\u003c");
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    // The data has no markup, so that it cannot hold the title's place; the title could hold the place of the data.
    let page = PAGE.replacen("/*data*/null", &data, 1);
    Ok(page.replace("<!--title-->", &title))
}

fn rows(matrix: &Matrix<'_>, drawing: &Drawing) -> Vec<Value> {
    let rows = drawing.rows.iter().map(|row| {
        let nets = row
            .members
            .iter()
            .filter_map(|&member| match &matrix.nodes()[member].kind {
                NodeKind::Endpoint(_) => None,
                NodeKind::Block { nets, .. } => {
                    Some(nets.iter().map(ToString::to_string).collect::<Vec<_>>())
                }
            });
        let nets: Vec<Vec<String>> = nets.collect();
        let names = if row.is_block {
            nets.concat()
        } else {
            row.names.clone()
        };
        json!({"label": row.label, "names": names, "isBlock": row.is_block})
    });
    rows.collect()
}

/// Amount and words of the four views, then sign and words of what promotion changes.
fn shade(shade: &Shade) -> Value {
    let seen = |seen: &Seen| json!([seen.amount as u8, seen.text]);
    let promotion =
        |promotion: &Promotion| json!([promotion.sign(), promotion.removed_text, promotion.added_text]);
    json!({
        "views": shade.views.iter().map(|world| world.iter().map(seen).collect::<Vec<_>>()).collect::<Vec<_>>(),
        "promotion": shade.promotion.iter().map(promotion).collect::<Vec<_>>(),
    })
}

/// How many cells are alike, and which, again and again.
fn runs(cells: &[usize]) -> Vec<usize> {
    cells
        .chunk_by(|a, b| a == b)
        .flat_map(|run| [run.len(), run[0]])
        .collect()
}
