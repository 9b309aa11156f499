//! How `palisade top` looks: three lists one below the other, the one that keys go to with the most room. Colours only
//! repeat what words say.

use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table, TableState, Wrap};

use super::state::{Pane, Rate, State};
use crate::cli::flows::{because, clock, from, packets, to, verdict};
use crate::cli::staged::port;
use crate::flows::record::FlowRecord;
use crate::flows::report::{StagedReport, Verdict};

/// Below this height only the pane that keys go to is shown.
const ALL_PANES: u16 = 15;

/// From this width on there is room to say why.
const WIDE: u16 = 110;

/// Lines of the staged policies that stay where reasons are shown below them: title, headings, and some policies.
const LIST: u16 = 5;

const KEYS: &str = "\
q, Ctrl-C        quit
Tab, 1 2 3       go to a pane
j k, arrows      up and down; PgUp PgDn, g G
s                sort by something else
/                show only rows with a text; Esc shows all
p                pause, and go on
?                this

rules            packets a second and in total, of every counter;
                 enforced: it happens; pending: it would, promoted;
                 no net: it would, with the safety net removed too
staged           may it be promoted, and the net then be removed;
                 below it the reasons of the selected policy
flows            one line for each flow of an interval";

/// How words look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Whether there may be colours.
    pub(super) colours: bool,
}

/// Where the lists have been scrolled to.
#[derive(Debug, Default)]
pub(super) struct Scrolled([TableState; 3]);

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, scrolled: &mut Scrolled, look: Look) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(header(state), head);
    frame.render_widget(footer(state), foot);
    for (pane, area) in panes(state.pane, body) {
        let table = &mut scrolled.0[pane as usize];
        match pane {
            Pane::Rules => rules(frame, state, table, area, look),
            Pane::Staged => staged(frame, state, table, area, look),
            Pane::Flows => flows(frame, state, table, area, look),
        }
    }
    if state.help {
        help(frame, body);
    }
}

/// The pane that keys go to has half of the room, or all of it.
fn panes(chosen: Pane, body: Rect) -> Vec<(Pane, Rect)> {
    if body.height < ALL_PANES {
        return vec![(chosen, body)];
    }
    let heights = Pane::ALL.map(|pane| {
        if pane == chosen {
            Constraint::Fill(1)
        } else {
            Constraint::Length(body.height / 4)
        }
    });
    let areas: [Rect; 3] = Layout::vertical(heights).areas(body);
    Pane::ALL.into_iter().zip(areas).collect()
}

fn header(state: &State) -> Line<'_> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut words = vec![Span::styled("palisade top", bold)];
    if let Some(why) = &state.lost {
        let why = why.lines().next().unwrap_or_default();
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        words.push(Span::raw("  "));
        words.push(Span::styled(format!("LOST, trying again: {why}"), reversed));
        return Line::from(words);
    }
    let Some(status) = &state.status else {
        words.push(Span::raw("  waiting for palisaded"));
        return Line::from(words);
    };
    if state.is_paused() {
        words.push(Span::styled("  PAUSED", bold));
    }
    let net = if status.safety_net {
        "net in place"
    } else {
        "no safety net"
    };
    words.push(Span::raw(format!(
        "  {}, generation {}, {net}",
        status.node, status.generation
    )));
    if status.panic {
        words.push(Span::styled("  PANIC: NOTHING IS FILTERED", bold));
    }
    let missing = status.flows.missing.total();
    if !status.flows.reading {
        words.push(Span::styled("  FLOWS NOT READ", bold));
    }
    for (count, what) in [(missing, "packets missing"), (state.missed, "flows missed")] {
        if count > 0 {
            words.push(Span::raw(format!("  {count} {what}")));
        }
    }
    Line::from(words)
}

fn footer(state: &State) -> Line<'_> {
    if state.typing {
        return Line::from(format!(
            "/{}_   Enter keeps it, Esc shows all",
            state.filter(state.pane)
        ));
    }
    Line::from("q quit  Tab 1-3 pane  jk scroll  s sort  / filter  p pause  ? keys")
}

/// The rule above a pane, which says what it is.
fn block<'a>(state: &State, pane: Pane, rows: usize) -> Block<'a> {
    let name = match pane {
        Pane::Rules => "rules",
        Pane::Staged => "staged",
        Pane::Flows => "flows",
    };
    let mut title = format!(
        " {} {name}: {rows}, by {}",
        pane as usize + 1,
        state.order(pane).word()
    );
    let filter = state.filter(pane);
    if !filter.is_empty() {
        title += &format!(", with {filter:?}");
    }
    title.push(' ');
    let style = if pane == state.pane {
        Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)
    } else {
        Style::new()
    };
    Block::new()
        .borders(Borders::TOP)
        .title(Span::styled(title, style))
}

/// A list under its title.
fn list<const N: usize>(
    state: &State,
    pane: Pane,
    rows: Vec<Row<'static>>,
    columns: [(&'static str, Constraint); N],
) -> Table<'static> {
    let count = rows.len();
    let heading = Row::new(columns.map(|(heading, _)| Cell::from(heading)));
    let heading = heading.style(Style::new().add_modifier(Modifier::UNDERLINED));
    let widths = columns.map(|(_, width)| width);
    let table = Table::new(rows, widths)
        .header(heading)
        .block(block(state, pane, count));
    if pane == state.pane {
        table.row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
    } else {
        table
    }
}

fn render(
    frame: &mut Frame<'_>,
    state: &State,
    pane: Pane,
    table: Table<'_>,
    at: &mut TableState,
    area: Rect,
) {
    at.select(Some(state.selected(pane)));
    frame.render_stateful_widget(table, area, at);
}

fn rules(frame: &mut Frame<'_>, state: &State, at: &mut TableState, area: Rect, look: Look) {
    let row = |rate: &&Rate| {
        let per_second = rate
            .per_second
            .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
        Row::new([
            Cell::from(rate.world().to_owned()),
            Cell::from(rate.row.direction.clone()),
            Cell::from(rate.row.what()),
            coloured(&rate.row.action.to_lowercase(), look),
            right(&per_second, 9),
            right(&rate.row.packets_total.to_string(), 12),
        ])
    };
    let rows = state.rules().iter().map(row).collect();
    let columns = [
        ("WORLD", Constraint::Length(8)),
        ("WAY", Constraint::Length(7)),
        ("RULE", Constraint::Fill(1)),
        ("ACTION", Constraint::Length(6)),
        ("PACKETS/S", Constraint::Length(9)),
        ("     PACKETS", Constraint::Length(12)),
    ];
    render(
        frame,
        state,
        Pane::Rules,
        list(state, Pane::Rules, rows, columns),
        at,
        area,
    );
}

fn staged(frame: &mut Frame<'_>, state: &State, at: &mut TableState, area: Rect, look: Look) {
    let row = |report: &&StagedReport| {
        let without = report.without_safety_net.as_ref();
        let without = without.map_or_else(|| Cell::from("-"), |judgement| judged(judgement.verdict, look));
        Row::new([
            Cell::from(report.name.clone()),
            judged(report.judgement.verdict, look),
            without,
            right(&report.would_deny.to_string(), 7),
            right(&report.would_deny_without_safety_net.to_string(), 7),
        ])
    };
    let reports = state.staged();
    let rows = reports.iter().map(row).collect();
    let columns = [
        ("POLICY", Constraint::Fill(1)),
        ("TO PROMOTE", Constraint::Length(19)),
        ("THEN WITHOUT NET", Constraint::Length(19)),
        ("   DENY", Constraint::Length(7)),
        ("W/O NET", Constraint::Length(7)),
    ];
    let table = list(state, Pane::Staged, rows, columns);
    let selected = reports.get(state.selected(Pane::Staged));
    let Some(report) = selected.filter(|_| state.pane == Pane::Staged && area.height > LIST) else {
        render(frame, state, Pane::Staged, table, at, area);
        return;
    };
    let lines = reasons(report);
    let broken = |line: &Line<'_>| line.width().div_ceil(usize::from(area.width.max(1)));
    let wanted = lines.iter().map(broken).sum::<usize>();
    let most = area.height - LIST;
    let height = u16::try_from(wanted).unwrap_or(most).min(most);
    let [above, below] = Layout::vertical([Constraint::Fill(1), Constraint::Length(height)]).areas(area);
    render(frame, state, Pane::Staged, table, at, above);
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), below);
}

/// Why the selected policy is not ready.
fn reasons(report: &StagedReport) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let judgements = [
        ("to promote", Some(&report.judgement)),
        ("without the net", report.without_safety_net.as_ref()),
    ];
    for (what, judgement) in judgements {
        let Some(judgement) = judgement else { continue };
        let verdict = judgement.verdict;
        match judgement.reasons.as_slice() {
            [] => lines.push(Line::from(format!("{what}: {verdict}"))),
            reasons => lines.extend(
                reasons
                    .iter()
                    .map(|reason| Line::from(format!("{what}: {reason}"))),
            ),
        }
    }
    lines
}

fn flows(frame: &mut Frame<'_>, state: &State, at: &mut TableState, area: Rect, look: Look) {
    let is_wide = area.width >= WIDE;
    let row = |flow: &&Arc<FlowRecord>| {
        let mut cells = vec![
            Cell::from(clock(flow.end_time)),
            Cell::from(from(flow)),
            Cell::from(to(flow)),
            Cell::from(port(&flow.proto, flow.dest_port)),
            right(&packets(flow).to_string(), 8),
            coloured(verdict(flow), look),
        ];
        if is_wide {
            cells.push(Cell::from(because(flow)));
        }
        Row::new(cells)
    };
    let rows = state.flows().iter().map(row).collect();
    let because = if is_wide {
        ("BECAUSE", Constraint::Fill(2))
    } else {
        ("", Constraint::Length(0))
    };
    let columns = [
        ("TIME", Constraint::Length(8)),
        ("FROM", Constraint::Fill(1)),
        ("TO", Constraint::Fill(1)),
        ("PORT", Constraint::Length(10)),
        (" PACKETS", Constraint::Length(8)),
        ("VERDICT", Constraint::Length(16)),
        because,
    ];
    render(
        frame,
        state,
        Pane::Flows,
        list(state, Pane::Flows, rows, columns),
        at,
        area,
    );
}

fn help(frame: &mut Frame<'_>, body: Rect) {
    let lines = u16::try_from(KEYS.lines().count()).unwrap_or(u16::MAX);
    let area = body.centered(Constraint::Max(68), Constraint::Max(lines.saturating_add(2)));
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" keys: any of them closes this ");
    frame.render_widget(Paragraph::new(KEYS).block(block), area);
}

fn judged(verdict: Verdict, look: Look) -> Cell<'static> {
    let (text, colour) = match verdict {
        Verdict::NotReady => ("NOT READY", Color::Red),
        Verdict::TooLittleEvidence => ("too little evidence", Color::Yellow),
        Verdict::Ready => ("ready", Color::Green),
    };
    in_colour(text, colour, look)
}

/// A verdict on packets.
fn coloured(text: &str, look: Look) -> Cell<'static> {
    match text {
        "deny" => in_colour(text, Color::Red, look),
        "WOULD DENY" | "DENY without net" => in_colour(text, Color::Yellow, look),
        _ => Cell::from(text.to_owned()),
    }
}

fn in_colour(text: &str, colour: Color, look: Look) -> Cell<'static> {
    let cell = Cell::from(text.to_owned());
    if look.colours {
        cell.style(Style::new().fg(colour))
    } else {
        cell
    }
}

/// Aligned at the right.
fn right(text: &str, width: usize) -> Cell<'static> {
    Cell::from(format!("{text:>width$}"))
}
