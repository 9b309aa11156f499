//! What is drawn, before it is drawn: rows, cells, and what promotion changes.

use std::collections::BTreeMap;

use crate::analysis::matrix::{Cell, Matrix, NodeKind, TooLarge, Traffic, View, check_size};
use crate::world::WorldKind;

/// How many rows a section has at most, so that a closed one always hides something that can be opened.
const ROWS_IN_SECTION: usize = 20;

/// The matrix with a row and a column for each set of nodes that policies treat alike.
#[derive(Debug)]
pub(super) struct Drawing {
    pub(super) rows: Vec<Row>,
    /// Rows that belong together, first to last, and what they are called.
    pub(super) sections: Vec<(String, std::ops::Range<usize>)>,
    /// Row by row, indices into `shades`.
    pub(super) cells: Vec<Vec<usize>>,
    pub(super) shades: Vec<Shade>,
    /// Whether a safety net can be taken away.
    pub(super) has_net: bool,
}

/// Nodes that policies treat alike.
#[derive(Debug)]
pub(super) struct Row {
    /// The first name, and how many more there are.
    pub(super) label: String,
    pub(super) members: Vec<usize>,
    pub(super) names: Vec<String>,
    pub(super) is_block: bool,
}

/// What a cell shows. Equal cells have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shade {
    /// Each world with its safety net, and then without.
    pub(super) views: [[Seen; 2]; 2],
    /// What promotion changes, with safety nets and without.
    pub(super) promotion: [Promotion; 2],
}

/// What one view of a cell shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) amount: Amount,
    /// In words.
    pub(super) text: String,
    pub(super) traffic: Traffic,
}

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Amount {
    Nothing,
    Some,
    Everything,
}

/// What the pending world allows and the enforced one does not, and the reverse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promotion {
    pub(super) added: Traffic,
    pub(super) removed: Traffic,
    pub(super) added_text: Option<String>,
    pub(super) removed_text: Option<String>,
}

impl Promotion {
    /// `+`, `-`, both or nothing.
    pub(super) fn sign(&self) -> &'static str {
        match (self.added.is_empty(), self.removed.is_empty()) {
            (true, true) => "",
            (false, true) => "+",
            (true, false) => "\u{2212}",
            (false, false) => "\u{b1}",
        }
    }
}

impl Shade {
    /// Whether nothing is allowed in any view.
    pub(super) fn is_blank(&self) -> bool {
        self.views
            .iter()
            .flatten()
            .all(|seen| seen.amount == Amount::Nothing)
    }

    /// The view of a world, with its safety net or without.
    pub(super) fn seen(&self, world: WorldKind, without_safety_net: bool) -> &Seen {
        &self.views[world as usize][usize::from(without_safety_net)]
    }
}

impl Drawing {
    pub(super) fn of(matrix: &mut Matrix<'_>) -> Result<Self, TooLarge> {
        let rows = rows(matrix);
        check_size(rows.len())?;
        let mut drawing = Drawing {
            sections: sections(&rows),
            rows,
            cells: Vec::new(),
            shades: Vec::new(),
            has_net: matrix.has_safety_net(),
        };
        let mut known: BTreeMap<Cell, usize> = BTreeMap::new();
        for from in 0..drawing.rows.len() {
            let mut cells = Vec::with_capacity(drawing.rows.len());
            for to in 0..drawing.rows.len() {
                let [one, other] = drawing.pair(from, to);
                let cell = matrix.cell(one, other);
                let shade = *known.entry(cell).or_insert_with(|| {
                    drawing.shades.push(shade(matrix, cell));
                    drawing.shades.len() - 1
                });
                cells.push(shade);
            }
            drawing.cells.push(cells);
        }
        Ok(drawing)
    }

    /// A node of one row, and another one of another.
    pub(super) fn pair(&self, from: usize, to: usize) -> [usize; 2] {
        let one = self.rows[from].members[0];
        let others = &self.rows[to].members;
        let other = others.iter().copied().find(|&other| other != one);
        [one, other.unwrap_or(one)]
    }

    /// What a cell shows.
    pub(super) fn shade(&self, from: usize, to: usize) -> &Shade {
        &self.shades[self.cells[from][to]]
    }
}

fn rows(matrix: &Matrix<'_>) -> Vec<Row> {
    let all: Vec<usize> = (0..matrix.nodes().len()).collect();
    matrix
        .alike(&all)
        .into_iter()
        .map(|members| {
            let names: Vec<String> = members
                .iter()
                .map(|&member| matrix.nodes()[member].name.clone())
                .collect();
            let label = match names.as_slice() {
                [first, rest @ ..] if !rest.is_empty() => format!("{first} +{}", rest.len()),
                _ => names.concat(),
            };
            let is_block = matches!(matrix.nodes()[members[0]].kind, NodeKind::Block { .. });
            Row {
                label,
                members,
                names,
                is_block,
            }
        })
        .collect()
}

/// Rows whose names begin alike, in equal parts of twenty at most.
fn sections(rows: &[Row]) -> Vec<(String, std::ops::Range<usize>)> {
    let mut sections = Vec::new();
    let mut first = 0;
    for alike in rows.chunk_by(|a, b| stem(a) == stem(b)) {
        let parts = alike.len().div_ceil(ROWS_IN_SECTION);
        for part in alike.chunks(alike.len().div_ceil(parts)) {
            let label = match part {
                [one] => one.label.clone(),
                [one, ..] if one.is_block => format!("{} blocks of addresses", part.len()),
                [one, ..] => {
                    let members: usize = part.iter().map(|row| row.members.len()).sum();
                    format!("{} +{}", one.names[0], members - 1)
                }
                [] => String::new(),
            };
            sections.push((label, first..first + part.len()));
            first += part.len();
        }
    }
    sections
}

/// What names of one kind begin with: all before the first digit.
fn stem(row: &Row) -> &str {
    if row.is_block {
        return "";
    }
    let name = row.names.first().map_or("", String::as_str);
    name.split(|character: char| character.is_ascii_digit())
        .next()
        .unwrap_or(name)
}

fn shade(matrix: &Matrix<'_>, cell: Cell) -> Shade {
    let protocols = matrix.protocols();
    let views = WorldKind::BOTH.map(|world| {
        [false, true].map(|without| {
            let reach = matrix.reach(cell, View::of(world, without));
            let mut text = protocols.describe(reach.all);
            if reach.some != reach.all {
                text.push_str("; for some of their addresses ");
                text.push_str(&protocols.describe(&reach.some.minus(reach.all)));
            }
            let amount = if reach.some.is_empty() {
                Amount::Nothing
            } else if *reach.all == protocols.everything() {
                Amount::Everything
            } else {
                Amount::Some
            };
            Seen {
                amount,
                text,
                traffic: reach.some.clone(),
            }
        })
    });
    let promotion = [false, true].map(|without| {
        let [enforced, pending] = WorldKind::BOTH.map(|world| matrix.reach(cell, View::of(world, without)));
        let gained = |new: &Traffic, old: &Traffic| new.minus(old);
        let added = gained(pending.all, enforced.all).or(&gained(pending.some, enforced.some));
        let removed = gained(enforced.all, pending.all).or(&gained(enforced.some, pending.some));
        let text = |traffic: &Traffic| (!traffic.is_empty()).then(|| protocols.describe(traffic));
        Promotion {
            added_text: text(&added),
            removed_text: text(&removed),
            added,
            removed,
        }
    });
    Shade { views, promotion }
}
