//! Why a cell is as it is: what `explain` says of a few of its connections.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::drawing::Drawing;
use crate::analysis::explain::{Answer, Query, explain};
use crate::analysis::matrix::Matrix;
use crate::analysis::trace::StepReport;

/// The most traces of a page: some megabytes at the worst.
const TRACES: usize = 20_000;

/// The most traces of a cell that is the first of its kind, or that promotion changes.
const MANY: usize = 5;

/// The most traces of any other cell.
const FEW: usize = 2;

/// Traces by cell, each step written once.
#[derive(Debug, Default, Serialize)]
pub(super) struct Traces {
    /// In words.
    steps: Vec<String>,
    /// For each row and column.
    cells: BTreeMap<String, Vec<Trace>>,
    #[serde(skip)]
    ids: BTreeMap<String, usize>,
    #[serde(skip)]
    count: usize,
}

/// One connection.
#[derive(Debug, Serialize)]
struct Trace {
    /// What was asked: from, to, and the connection.
    asked: [String; 3],
    /// The enforced world and the pending one.
    worlds: Vec<Said>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What one world says and why, and the same without the safety net where the net decided.
#[derive(Debug, Serialize)]
struct Said {
    verdict: String,
    steps: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bare: Option<Box<Said>>,
}

impl Traces {
    /// Traces of one cell of each kind, then of all that promotion changes, then of the others, as long as there is room.
    pub(super) fn of(matrix: &Matrix<'_>, drawing: &Drawing) -> Self {
        let mut traces = Traces::default();
        let mut seen = BTreeSet::new();
        let mut first: Vec<[usize; 2]> = Vec::new();
        let [mut changed, mut others] = [Vec::new(), Vec::new()];
        for (from, row) in drawing.cells.iter().enumerate() {
            for (to, &kind) in row.iter().enumerate() {
                let shade = &drawing.shades[kind];
                let is_changed = shade
                    .promotion
                    .iter()
                    .any(|promotion| !promotion.sign().is_empty());
                if shade.is_blank() {
                    continue;
                }
                let list = if seen.insert(kind) {
                    &mut first
                } else if is_changed {
                    &mut changed
                } else {
                    &mut others
                };
                list.push([from, to]);
            }
        }
        let telling = first.into_iter().chain(changed).map(|cell| (cell, MANY));
        for ([from, to], most) in telling.chain(others.into_iter().map(|cell| (cell, FEW))) {
            if traces.count >= TRACES {
                break;
            }
            traces.add(matrix, drawing, [from, to], most);
        }
        traces
    }

    fn add(&mut self, matrix: &Matrix<'_>, drawing: &Drawing, [from, to]: [usize; 2], most: usize) {
        let shade = drawing.shade(from, to);
        let protocols = matrix.protocols();
        let everything = protocols.everything();
        let changed = shade
            .promotion
            .iter()
            .flat_map(|promotion| [&promotion.removed, &promotion.added]);
        let allowed = &shade.views[0][0].traffic;
        let denied = everything.minus(allowed);
        let without = &shade.views[0][1].traffic;
        let caught = allowed.minus(without);
        let mut samples = Vec::new();
        for traffic in changed.chain([allowed, without, &denied, &caught]) {
            // One or two connections say what all of a kind would.
            samples.extend(protocols.samples(traffic).into_iter().take(2));
        }
        let mut asked: Vec<Query> = Vec::new();
        let [one, other] = drawing.pair(from, to).map(|node| matrix.text(node));
        for (protocol, port) in samples {
            let query = Query {
                from: one.clone(),
                to: other.clone(),
                protocol,
                port,
                source_port: None,
                icmp_type: None,
                icmp_code: None,
            };
            if asked.len() < most && !asked.contains(&query) {
                asked.push(query);
            }
        }
        let traces: Vec<Trace> = asked.iter().map(|query| self.trace(matrix, query)).collect();
        self.count += traces.len();
        self.cells.insert(format!("{from},{to}"), traces);
    }

    fn trace(&mut self, matrix: &Matrix<'_>, query: &Query) -> Trace {
        let port = query.port.map(|port| format!(" {port}")).unwrap_or_default();
        let asked = [
            query.from.clone(),
            query.to.clone(),
            format!("{}{port}", query.protocol),
        ];
        match explain(matrix.worlds(), query) {
            Ok(answer) => Trace {
                asked,
                worlds: self.verdicts(&answer),
                error: None,
            },
            Err(error) => Trace {
                asked,
                worlds: Vec::new(),
                error: Some(error.to_string()),
            },
        }
    }

    fn verdicts(&mut self, answer: &Answer) -> Vec<Said> {
        [&answer.enforced, &answer.pending]
            .into_iter()
            .map(|world| {
                let bare = world.without_safety_net.as_ref().map(|bare| {
                    Box::new(Said {
                        verdict: bare.verdict.to_string(),
                        steps: self.steps(&bare.steps),
                        bare: None,
                    })
                });
                Said {
                    verdict: world.verdict.to_string(),
                    steps: self.steps(&world.steps),
                    bare,
                }
            })
            .collect()
    }

    fn steps(&mut self, steps: &[StepReport]) -> Vec<usize> {
        let words = steps.iter().map(|step| {
            let place = step.source.as_ref().map(|source| format!(" at {source}"));
            format!(
                "{} {}: {} by {}{}",
                step.direction,
                step.endpoint,
                step.action,
                step.phrase(),
                place.unwrap_or_default()
            )
        });
        words
            .map(|words| {
                *self.ids.entry(words).or_insert_with_key(|words| {
                    self.steps.push(words.clone());
                    self.steps.len() - 1
                })
            })
            .collect()
    }
}
