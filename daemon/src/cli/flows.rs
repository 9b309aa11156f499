//! `palisade flows`: flow records, from the daemon or from files.

mod filter;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use self::filter::Filter;
use super::args::{FlowsArgs, Format};
use super::fit::{Field, Layout};
use super::show::moment;
use super::staged::port;
use super::{Failure, Outcome, fit, output, records};
use crate::api::client::Client;
use crate::api::types::FlowLine;
use crate::exit::Exit;
use crate::flows::record::{FlowRecord, Record};
use crate::live::Owner;

/// Records that are put into one piece of output: the first one says how wide the columns are.
const PIECE: usize = 4_096;

pub(super) async fn run(client: &Client, args: &FlowsArgs, format: Format) -> Outcome {
    let filter = Filter::new(args, OffsetDateTime::now_utc())?;
    if args.follow {
        return follow(client, args, &filter, format).await;
    }
    let mut printed = Pieces::new(format, args.limit);
    let seen = if args.files.is_empty() {
        recent(client, &filter, &mut printed).await?
    } else {
        from_files(args, &filter, &mut printed)?
    };
    let asked_for = printed.end()?;
    if asked_for == 0 && seen > 0 {
        eprintln!("none of {seen} flow records is asked for");
    } else if seen == 0 && args.files.is_empty() {
        eprintln!("no flow records yet: they are made once an interval (flows.interval); -f waits for them");
    }
    Ok(Exit::Fine)
}

/// The records that the daemon holds.
async fn recent(client: &Client, filter: &Filter<'_>, printed: &mut Pieces) -> Result<usize, Failure> {
    let (mut seen, mut outcome) = (0, Ok(ControlFlow::Continue(())));
    client
        .follow("/v1/flows", |line| {
            if let Ok(FlowLine::Flow(record)) = serde_json::from_str(line) {
                seen += 1;
                if filter.wants(&record) {
                    outcome = printed.print(record);
                }
            }
            match &outcome {
                Ok(flow) => *flow,
                Err(_) => ControlFlow::Break(()),
            }
        })
        .await?;
    outcome.map(|_| seen)
}

/// The records of files, without the daemon.
fn from_files(args: &FlowsArgs, filter: &Filter<'_>, printed: &mut Pieces) -> Result<usize, Failure> {
    let mut seen = 0;
    for file in records::meant(&args.files)? {
        let (said, flow) = records::read(&file, |record| match record {
            Record::Flow(flow) if filter.wants(&flow) => printed.print(Arc::from(flow)),
            _ => Ok(ControlFlow::Continue(())),
        })?;
        seen += said.flows;
        if let Some(remark) = said.remark(&file) {
            eprintln!("palisade: {remark}");
        }
        if flow.is_break() {
            break;
        }
    }
    if seen == 0 {
        eprintln!("no flow records in there");
    }
    Ok(seen)
}

/// Prints records as they come: lines of a table or of CSV, JSON Lines, or a list in YAML that goes on.
async fn follow(client: &Client, args: &FlowsArgs, filter: &Filter<'_>, format: Format) -> Outcome {
    let layout = Layout::new(&[], &FIELDS, fit::width());
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut heading = true;
    let mut outcome = Ok(Exit::Fine);
    let mut one = |line: &str| -> Result<ControlFlow<()>, Failure> {
        let record = match serde_json::from_str(line) {
            Ok(FlowLine::Flow(record)) if filter.is_over(&record) => return Ok(ControlFlow::Break(())),
            Ok(FlowLine::Flow(record)) if filter.wants(&record) && left > 0 => record,
            Ok(FlowLine::Missed { records }) => {
                eprintln!("palisade: {records} records were missed: they came faster than they are read");
                return Ok(ControlFlow::Continue(()));
            }
            Ok(FlowLine::Flow(_)) | Err(_) => return Ok(ControlFlow::Continue(())),
        };
        let first = std::mem::take(&mut heading);
        left -= 1;
        let flow = output::say_on(&match format {
            Format::Table if first => layout.heading() + &layout.line(&record),
            Format::Table => layout.line(&record),
            Format::Csv => output::csv(&[record], &COLUMNS, first)?,
            Format::Yaml => output::yaml(&[FlowLine::Flow(record)])?,
            Format::Json => format!("{line}\n"),
        })?;
        Ok(if left == 0 { ControlFlow::Break(()) } else { flow })
    };
    client
        .follow("/v1/flows?follow=true", |line| match one(line) {
            Ok(flow) => flow,
            Err(failure) => {
                outcome = Err(failure);
                ControlFlow::Break(())
            }
        })
        .await?;
    outcome
}

/// Records that are printed a piece at a time, however many there are.
struct Pieces {
    format: Format,
    /// With a limit, the latest so far.
    limit: Option<usize>,
    waiting: VecDeque<Arc<FlowRecord>>,
    layout: Option<Layout<'static, Arc<FlowRecord>>>,
    printed: usize,
}

impl Pieces {
    fn new(format: Format, limit: Option<usize>) -> Self {
        Pieces {
            format,
            limit,
            waiting: VecDeque::new(),
            layout: None,
            printed: 0,
        }
    }

    /// Takes one in; breaks once nobody reads any more.
    fn print(&mut self, record: Arc<FlowRecord>) -> Result<ControlFlow<()>, Failure> {
        self.waiting.push_back(record);
        match self.limit {
            Some(limit) => {
                if self.waiting.len() > limit {
                    self.waiting.pop_front();
                }
                Ok(ControlFlow::Continue(()))
            }
            None if self.waiting.len() < PIECE => Ok(ControlFlow::Continue(())),
            None => self.piece(),
        }
    }

    /// Prints the rest, and says how many there were.
    fn end(mut self) -> Result<usize, Failure> {
        let empty = self.waiting.is_empty() && self.printed == 0;
        match self.format {
            Format::Table if empty => {}
            Format::Yaml if empty => output::say("[]\n")?,
            _ => drop(self.piece()?),
        }
        if self.format == Format::Json {
            output::say(if self.printed == 0 { "]\n" } else { "\n]\n" })?;
        }
        Ok(self.printed)
    }

    fn piece(&mut self) -> Result<ControlFlow<()>, Failure> {
        let records: Vec<Arc<FlowRecord>> = self.waiting.drain(..).collect();
        let is_first = self.printed == 0;
        self.printed += records.len();
        output::say_on(&match self.format {
            Format::Table => {
                let width = fit::width();
                let layout = self
                    .layout
                    .get_or_insert_with(|| Layout::new(&records, &FIELDS, width));
                let heading = if is_first { layout.heading() } else { String::new() };
                heading
                    + &records
                        .iter()
                        .map(|record| layout.line(record))
                        .collect::<String>()
            }
            Format::Csv => output::csv(&records, &COLUMNS, is_first)?,
            Format::Yaml => {
                let lines: Vec<FlowLine> = records.into_iter().map(FlowLine::Flow).collect();
                if lines.is_empty() {
                    String::new()
                } else {
                    output::yaml(&lines)?
                }
            }
            // A list, one record a line.
            Format::Json => {
                let mut text = if is_first { "[".to_owned() } else { String::new() };
                for (index, record) in records.into_iter().enumerate() {
                    text += if is_first && index == 0 { "\n" } else { ",\n" };
                    text += &output::json(&FlowLine::Flow(record))?;
                }
                text
            }
        })
    }
}

type Column = Field<Arc<FlowRecord>>;

/// What a reader on a terminal needs first: who, to what, and what becomes of it.
static FIELDS: [Column; 10] = [
    Column::new("DATE", 10, |record| moment(record.end_time)[..10].to_owned()).spare(4),
    Column::new("TIME", 8, |record| clock(record.end_time)),
    Column::new("FROM", 12, |record| from(record)).usual(20),
    Column::new("TO", 12, |record| to(record)).usual(20),
    Column::new("PORT", 8, |record| port(&record.proto, record.dest_port)).usual(9),
    Column::new("PACKETS", 7, |record| packets(record).to_string()).right(),
    Column::new("VERDICT", 16, |record| verdict(record).to_owned()),
    Column::new("DIRECTION", 9, |record| record.direction.clone()).spare(3),
    Column::new("OWNER", 12, |record| owners(record))
        .spare(2)
        .usual(20),
    Column::new("BECAUSE", 16, |record| because(record))
        .spare(1)
        .usual(40),
];

const COLUMNS: [output::Column<Arc<FlowRecord>>; 16] = [
    ("TIME", |record| moment(record.end_time)),
    ("DIRECTION", |record| record.direction.clone()),
    ("FROM", |record| from(record)),
    ("TO", |record| to(record)),
    ("PROTO", |record| record.proto.clone()),
    ("PORT", |record| record.dest_port.to_string()),
    ("PACKETS", |record| packets(record).to_string()),
    ("ACTION", |record| record.action.clone()),
    ("PENDING", |record| pending(record)),
    ("BECAUSE", |record| because(record)),
    ("REPORTER", |record| record.reporter.clone()),
    ("EVALUATED", |record| record.evaluated.to_string()),
    ("BYTES", |record| (record.bytes_in + record.bytes_out).to_string()),
    ("OWNERS", |record| owners(record)),
    ("SAFETY_NET", |record| {
        if record.safety_net.caught { "caught" } else { "" }.to_owned()
    }),
    ("FOLDED_FLOWS", |record| record.folded_flows.to_string()),
];

/// Where it comes from: `namespace/name`, or the name alone.
pub(super) fn from(record: &FlowRecord) -> String {
    named(record.source_namespace.as_ref(), &record.source_name)
}

/// Where it goes to.
pub(super) fn to(record: &FlowRecord) -> String {
    named(record.dest_namespace.as_ref(), &record.dest_name)
}

/// `namespace/name`, or the name alone.
fn named(namespace: Option<&String>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// The time of the day, in UTC.
pub(super) fn clock(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    at.format(format_description!("[hour]:[minute]:[second]"))
        .unwrap_or_default()
}

/// What becomes of it, and what would, in a word or three.
pub(super) fn verdict(record: &FlowRecord) -> &'static str {
    let without = record.safety_net.pending_action.as_str();
    match (record.action.as_str(), record.pending_action.as_str(), without) {
        ("allow", "deny", _) => "WOULD DENY",
        ("allow", _, "deny") => "DENY without net",
        ("deny", "allow", _) => "would allow",
        ("deny", _, _) => "deny",
        _ => "allow",
    }
}

/// In both directions.
pub(super) fn packets(record: &FlowRecord) -> u64 {
    record.packets_in + record.packets_out
}

fn owners(record: &FlowRecord) -> String {
    let owners = record.source_owners.iter().chain(&record.dest_owners);
    owners.map(Owner::phrase).collect::<Vec<_>>().join(", ")
}

fn pending(record: &FlowRecord) -> String {
    let without = &record.safety_net.pending_action;
    if *without == record.pending_action {
        record.pending_action.clone()
    } else {
        format!("{} ({without} without the net)", record.pending_action)
    }
}

/// What decides: in force, or, where that would change something, in the pending world.
pub(super) fn because(record: &FlowRecord) -> String {
    let traces = &record.policies;
    let changes =
        record.action != record.pending_action || record.safety_net.pending_action != record.pending_action;
    let trace = match (changes, &traces.pending_without_safety_net) {
        (true, Some(without)) => without,
        (true, None) => &traces.pending,
        (false, _) => &traces.enforced,
    };
    trace
        .last()
        .map(palisade_rules::analysis::StepReport::phrase)
        .unwrap_or_default()
}
