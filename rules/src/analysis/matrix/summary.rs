//! The matrix in as few lines as there are answers: what is alike is said once.

use std::collections::BTreeMap;

use super::answers::AnswerId;
use super::{Cell, Matrix, NodeKind, Shown, Traffic};

/// The most rows or columns that differ, for a table or a picture: nobody could read more, and no browser shows them.
pub(in crate::analysis) const MOST_ROWS: usize = 1_000;

/// Why there is no table and no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{rows} different rows are too many to look at, {limit} is the most: choose some with --from and --to, or use -o json"
)]
pub struct TooLarge {
    /// How many rows there would be.
    pub rows: usize,
    /// How many there may be.
    pub limit: usize,
}

/// Pairs of nodes between which the same is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where connections come from.
    pub from: Vec<usize>,
    /// Where they go to: every one of `from` reaches every other one of these. Empty where each reaches itself.
    pub to: Vec<usize>,
    /// What is allowed.
    pub cell: Cell,
}

/// Nodes that are alike, by number.
type Row = usize;

impl Matrix<'_> {
    /// What is shown, with one line for all pairs that allow the same, sorted by where they go. Pairs that allow nothing in
    /// any of the views shown are left out, and so is a host with itself where all is allowed.
    ///
    /// # Errors
    ///
    /// [`TooLarge`].
    pub fn summary(&mut self, shown: &Shown) -> Result<Vec<Line>, TooLarge> {
        let [sources, targets] = [&shown.from, &shown.to].map(|nodes| self.alike(nodes));
        check_size(sources.len().max(targets.len()))?;
        let mut firsts = Firsts::default();
        let mut by_target: BTreeMap<(Row, Cell), Vec<Row>> = BTreeMap::new();
        for (from, one) in sources.iter().enumerate() {
            for (to, other) in targets.iter().enumerate() {
                let Some([one, other]) = a_pair(one, other) else {
                    continue;
                };
                let cell = self.cell(one, other);
                if let Some(cell) = firsts.of(self, shown, cell) {
                    by_target.entry((to, cell)).or_default().push(from);
                }
            }
        }
        let mut alike: BTreeMap<(Cell, Vec<Row>), Vec<Row>> = BTreeMap::new();
        for ((to, cell), from) in by_target {
            alike.entry((cell, from)).or_default().push(to);
        }
        let nodes = |rows: &[Row], of: &[Vec<usize>]| {
            let mut nodes: Vec<usize> = rows.iter().flat_map(|&row| &of[row]).copied().collect();
            nodes.sort_unstable();
            nodes
        };
        let mut lines: Vec<Line> = alike
            .into_iter()
            .map(|((cell, from), to)| Line {
                from: nodes(&from, &sources),
                to: nodes(&to, &targets),
                cell,
            })
            .collect();
        lines.sort_by(|a, b| (&a.to, &a.from).cmp(&(&b.to, &b.from)));
        lines.extend(self.with_itself(shown, &mut firsts));
        Ok(lines)
    }

    /// Who does not reach itself as it likes.
    fn with_itself(&mut self, shown: &Shown, firsts: &mut Firsts) -> Vec<Line> {
        let is_shown = |node: &usize| shown.to.binary_search(node).is_ok();
        let nodes: Vec<usize> = shown.from.iter().copied().filter(is_shown).collect();
        let mut lines = Vec::new();
        for nodes in self.alike(&nodes) {
            if matches!(self.nodes[nodes[0]].kind, NodeKind::Block { .. }) {
                continue;
            }
            let cell = self.cell(nodes[0], nodes[0]);
            let cell = firsts.of(self, shown, cell);
            if let Some(cell) = cell.filter(|cell| cell.0 != AnswerId::EVERYTHING) {
                lines.push(Line {
                    from: nodes,
                    to: Vec::new(),
                    cell,
                });
            }
        }
        lines
    }
}

/// Refuses what nobody could read.
pub(in crate::analysis) fn check_size(rows: usize) -> Result<(), TooLarge> {
    if rows > MOST_ROWS {
        return Err(TooLarge {
            rows,
            limit: MOST_ROWS,
        });
    }
    Ok(())
}

/// One node of each, not the same if there is a choice; `None` if there is none.
fn a_pair(one: &[usize], other: &[usize]) -> Option<[usize; 2]> {
    one.iter().find_map(|&from| {
        let to = other.iter().copied().find(|&to| to != from)?;
        Some([from, to])
    })
}

/// For each cell the first one that says the same in the views shown; `None` where it is nothing.
#[derive(Default)]
struct Firsts {
    known: BTreeMap<Cell, Option<Cell>>,
    by_said: BTreeMap<Vec<[Traffic; 2]>, Cell>,
}

impl Firsts {
    fn of(&mut self, matrix: &Matrix<'_>, shown: &Shown, cell: Cell) -> Option<Cell> {
        if let Some(&known) = self.known.get(&cell) {
            return known;
        }
        let views = shown.views.iter().map(|&view| matrix.reach(cell, view));
        let said: Vec<[Traffic; 2]> = views
            .map(|reach| [reach.all.clone(), reach.some.clone()])
            .collect();
        let is_nothing = said.iter().all(|[_, some]| some.is_empty());
        let first = (!is_nothing).then(|| *self.by_said.entry(said).or_insert(cell));
        self.known.insert(cell, first);
        first
    }
}
