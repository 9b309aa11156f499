//! What `palisade top` shows, and how keys change it. Nothing here knows how it is drawn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::api::types::Status;
use crate::cli::flows::{because, from, packets, to, verdict};
use crate::flows::record::{CounterRow, FlowRecord};
use crate::flows::report::{StagedReport, Verdict};

/// Flow records that are kept to scroll through.
const FLOWS: usize = 2_000;

/// Rows that a page is.
const PAGE: usize = 10;

/// What has come to be known.
#[derive(Debug)]
pub(super) enum Event {
    /// A key.
    Key(KeyEvent),
    /// The terminal has another size: everything is to be drawn anew.
    Resized,
    /// How the daemon fares.
    Status(Box<Status>),
    /// The counters, so long after the start.
    Counters(Vec<CounterRow>, Duration),
    /// The staged policies.
    Staged(Vec<StagedReport>),
    /// The stream of flows begins, again with those that the daemon remembers.
    FlowsAnew,
    /// A flow.
    Flow(Arc<FlowRecord>),
    /// Flows that came too fast.
    Missed(u64),
    /// The daemon does not answer, and why.
    Lost(String),
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on.
    On,
    /// End.
    Quit,
}

/// One of the three lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    /// Counters of rules.
    #[default]
    Rules,
    /// Staged policies.
    Staged,
    /// Flow records.
    Flows,
}

impl Pane {
    /// All of them, in order.
    pub(super) const ALL: [Pane; 3] = [Pane::Rules, Pane::Staged, Pane::Flows];

    /// What it may be sorted by; the first to begin with.
    fn orders(self) -> &'static [Order] {
        match self {
            Pane::Rules => &[Order::Rate, Order::Count, Order::Evaluation],
            Pane::Staged => &[Order::Worst, Order::Name],
            Pane::Flows => &[Order::Newest, Order::Count],
        }
    }
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Packets a second, most first.
    Rate,
    /// Packets, most first.
    Count,
    /// As packets meet them.
    Evaluation,
    /// The worst verdict first.
    Worst,
    /// By name.
    Name,
    /// The newest first.
    Newest,
}

impl Order {
    /// In a word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Order::Rate => "rate",
            Order::Count => "count",
            Order::Evaluation => "evaluation",
            Order::Worst => "worst",
            Order::Name => "name",
            Order::Newest => "newest",
        }
    }
}

/// A counter, and how fast it moves.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rate {
    /// The counter.
    pub(super) row: CounterRow,
    /// Packets a second; `None` until it was read twice.
    pub(super) per_second: Option<f64>,
}

impl Rate {
    /// `enforced`, `pending`, or `no net`: pending, after the safety net is removed.
    pub(super) fn world(&self) -> &str {
        if self.row.without_safety_net {
            "no net"
        } else {
            &self.row.world
        }
    }
}

/// What was received.
#[derive(Clone, Debug, Default)]
struct Data {
    counters: Vec<Rate>,
    staged: Vec<StagedReport>,
    flows: VecDeque<Arc<FlowRecord>>,
}

/// How one pane is looked at.
#[derive(Clone, Debug, Default)]
struct View {
    selected: usize,
    order: usize,
    filter: String,
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct State {
    /// How the daemon fares, once it was asked.
    pub(super) status: Option<Status>,
    /// Why the daemon does not answer.
    pub(super) lost: Option<String>,
    /// Flows that came too fast to be shown.
    pub(super) missed: u64,
    /// The pane that keys go to.
    pub(super) pane: Pane,
    /// Whether the keys are being explained.
    pub(super) help: bool,
    /// Whether a filter is being typed.
    pub(super) typing: bool,
    now: Data,
    /// What was there when it was paused.
    paused: Option<Data>,
    counted_at: Option<Duration>,
    views: [View; 3],
}

impl State {
    /// Takes in what has come to be known.
    pub(super) fn take(&mut self, event: Event) -> Next {
        match event {
            Event::Key(key) => return self.key(key),
            Event::Resized => {}
            Event::Status(status) => self.answered(|state| state.status = Some(*status)),
            Event::Counters(rows, at) => self.answered(|state| state.counters(rows, at)),
            Event::Staged(reports) => self.answered(|state| state.now.staged = reports),
            Event::FlowsAnew => self.now.flows.clear(),
            Event::Flow(record) => {
                self.now.flows.push_back(record);
                if self.now.flows.len() > FLOWS {
                    self.now.flows.pop_front();
                }
            }
            Event::Missed(flows) => self.missed += flows,
            Event::Lost(why) => self.lost = Some(why),
        }
        Next::On
    }

    fn answered(&mut self, take: impl FnOnce(&mut Self)) {
        self.lost = None;
        take(self);
    }

    fn counters(&mut self, rows: Vec<CounterRow>, at: Duration) {
        let before: BTreeMap<&str, u64> = self
            .now
            .counters
            .iter()
            .map(|rate| (rate.row.counter.as_str(), rate.row.packets_total))
            .collect();
        let elapsed = self.counted_at.and_then(|before| at.checked_sub(before));
        let seconds = elapsed
            .map(|elapsed| elapsed.as_secs_f64())
            .filter(|seconds| *seconds > 0.0);
        let rate = |row: CounterRow| {
            // One that is lower than it was began anew.
            let moved = before
                .get(row.counter.as_str())
                .and_then(|before| row.packets_total.checked_sub(*before));
            #[expect(clippy::cast_precision_loss, reason = "a rate for reading")]
            let per_second = moved.zip(seconds).map(|(moved, seconds)| moved as f64 / seconds);
            Rate { row, per_second }
        };
        let counters = rows.into_iter().map(rate).collect();
        self.now.counters = counters;
        self.counted_at = Some(at);
    }

    fn key(&mut self, key: KeyEvent) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::On;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return Next::Quit;
        }
        if self.typing {
            self.type_filter(key.code);
            return Next::On;
        }
        if self.help {
            self.help = false;
            return Next::On;
        }
        match key.code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Tab => self.pane = Pane::ALL[(self.pane as usize + 1) % 3],
            KeyCode::BackTab => self.pane = Pane::ALL[(self.pane as usize + 2) % 3],
            KeyCode::Char(digit @ '1'..='3') => self.pane = Pane::ALL[digit as usize - '1' as usize],
            KeyCode::Down | KeyCode::Char('j') => self.select(|selected| selected + 1),
            KeyCode::Up | KeyCode::Char('k') => self.select(|selected| selected.saturating_sub(1)),
            KeyCode::PageDown | KeyCode::Char(' ') => self.select(|selected| selected + PAGE),
            KeyCode::PageUp => self.select(|selected| selected.saturating_sub(PAGE)),
            KeyCode::Home | KeyCode::Char('g') => self.select(|_| 0),
            KeyCode::End | KeyCode::Char('G') => self.select(|_| usize::MAX),
            KeyCode::Char('s') => {
                let view = &mut self.views[self.pane as usize];
                view.order = (view.order + 1) % self.pane.orders().len();
                view.selected = 0;
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => self.views[self.pane as usize].filter.clear(),
            KeyCode::Char('p') => {
                self.paused = match self.paused.take() {
                    Some(_) => None,
                    None => Some(self.now.clone()),
                };
            }
            KeyCode::Char('?' | 'h') => self.help = true,
            _ => {}
        }
        Next::On
    }

    fn type_filter(&mut self, code: KeyCode) {
        let view = &mut self.views[self.pane as usize];
        view.selected = 0;
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                view.filter.clear();
                self.typing = false;
            }
            KeyCode::Backspace => drop(view.filter.pop()),
            KeyCode::Char(character) => view.filter.push(character),
            _ => {}
        }
    }

    fn select(&mut self, to: impl FnOnce(usize) -> usize) {
        let rows = match self.pane {
            Pane::Rules => self.rules().len(),
            Pane::Staged => self.staged().len(),
            Pane::Flows => self.flows().len(),
        };
        let view = &mut self.views[self.pane as usize];
        view.selected = to(view.selected.min(rows.saturating_sub(1))).min(rows.saturating_sub(1));
    }

    /// Whether what is shown stands still.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// What a pane is sorted by.
    pub(super) fn order(&self, pane: Pane) -> Order {
        pane.orders()[self.views[pane as usize].order]
    }

    /// What rows of a pane must contain.
    pub(super) fn filter(&self, pane: Pane) -> &str {
        &self.views[pane as usize].filter
    }

    /// Which row of a pane is selected.
    pub(super) fn selected(&self, pane: Pane) -> usize {
        self.views[pane as usize].selected
    }

    /// The counters, as they are to be shown.
    pub(super) fn rules(&self) -> Vec<&Rate> {
        let wants = self.wants(Pane::Rules);
        let shown = self.shown().counters.iter();
        let mut rates: Vec<&Rate> = shown
            .filter(|rate| {
                wants(&[
                    rate.world(),
                    &rate.row.direction,
                    &rate.row.what(),
                    &rate.row.action,
                ])
            })
            .collect();
        match self.order(Pane::Rules) {
            // Those that stand still by what they have counted.
            Order::Rate => rates.sort_by(|a, b| {
                let [of_a, of_b] = [a, b].map(|rate| rate.per_second.unwrap_or(0.0));
                let packets = b.row.packets_total.cmp(&a.row.packets_total);
                of_b.total_cmp(&of_a).then(packets)
            }),
            Order::Count => rates.sort_by_key(|rate| std::cmp::Reverse(rate.row.packets_total)),
            _ => {}
        }
        rates
    }

    /// The staged policies, as they are to be shown.
    pub(super) fn staged(&self) -> Vec<&StagedReport> {
        let wants = self.wants(Pane::Staged);
        let shown = self.shown().staged.iter();
        let mut reports: Vec<&StagedReport> = shown
            .filter(|report| wants(&[&report.name, &report.judgement.verdict.to_string()]))
            .collect();
        match self.order(Pane::Staged) {
            Order::Worst => reports.sort_by_key(|report| {
                let without = report.without_safety_net.as_ref();
                let without = without.map_or(Verdict::Ready, |judgement| judgement.verdict);
                (
                    report.judgement.verdict,
                    without,
                    std::cmp::Reverse(report.would_deny),
                )
            }),
            _ => reports.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        reports
    }

    /// The flows, as they are to be shown.
    pub(super) fn flows(&self) -> Vec<&Arc<FlowRecord>> {
        let wants = self.wants(Pane::Flows);
        let shown = self.shown().flows.iter().rev();
        let mut flows: Vec<&Arc<FlowRecord>> = shown
            .filter(|flow| {
                wants(&[
                    &from(flow),
                    &to(flow),
                    &flow.proto,
                    &flow.dest_port.to_string(),
                    verdict(flow),
                    &because(flow),
                ])
            })
            .collect();
        if self.order(Pane::Flows) == Order::Count {
            flows.sort_by_key(|flow| std::cmp::Reverse(packets(flow)));
        }
        flows
    }

    fn shown(&self) -> &Data {
        self.paused.as_ref().unwrap_or(&self.now)
    }

    fn wants(&self, pane: Pane) -> impl Fn(&[&str]) -> bool {
        let wanted = self.filter(pane).to_lowercase();
        move |cells: &[&str]| wanted.is_empty() || cells.join(" ").to_lowercase().contains(&wanted)
    }
}
