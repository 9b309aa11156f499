//! `palisade flows`.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::args::{FlowsArgs, Format};
use super::show::moment;
use super::{Failure, Outcome, output};
use crate::api::client::Client;
use crate::api::types::FlowLine;
use crate::exit::Exit;
use crate::flows::record::FlowRecord;

pub(super) async fn run(client: &Client, args: &FlowsArgs, format: Format) -> Outcome {
    if args.follow {
        return follow(client, args, format).await;
    }
    let (mut records, mut seen) = (Vec::new(), 0);
    client
        .follow("/v1/flows", |line| {
            if let Ok(FlowLine::Flow(record)) = serde_json::from_str(line) {
                seen += 1;
                records.extend(Some(record).filter(|record| wanted(args, record)));
            }
            ControlFlow::Continue(())
        })
        .await?;
    match format {
        Format::Table if seen == 0 => {
            eprintln!(
                "no flow records yet: they are made once an interval (flows.interval); -f waits for them"
            );
        }
        Format::Table if records.is_empty() => {
            eprintln!("none of the last {seen} flow records is asked for");
        }
        Format::Table | Format::Csv => output::rows(format, &records, &COLUMNS)?,
        Format::Json | Format::Yaml => {
            let lines: Vec<FlowLine> = records.into_iter().map(FlowLine::Flow).collect();
            output::whole(format, &lines)?;
        }
    }
    Ok(Exit::Fine)
}

/// Prints records as they come: lines of a table or of CSV, JSON Lines, or a list in YAML that goes on.
async fn follow(client: &Client, args: &FlowsArgs, format: Format) -> Outcome {
    let mut heading = true;
    let mut outcome = Ok(Exit::Fine);
    let mut one = |line: &str| -> Result<ControlFlow<()>, Failure> {
        let record = match serde_json::from_str(line) {
            Ok(FlowLine::Flow(record)) if wanted(args, &record) => record,
            Ok(FlowLine::Missed { records }) => {
                eprintln!("palisade: {records} records were missed: they came faster than they are read");
                return Ok(ControlFlow::Continue(()));
            }
            Ok(FlowLine::Flow(_)) | Err(_) => return Ok(ControlFlow::Continue(())),
        };
        let first = std::mem::take(&mut heading);
        output::say_on(&match format {
            Format::Table => row(&record, first),
            Format::Csv => output::csv(&[record], &COLUMNS, first)?,
            Format::Yaml => output::yaml(&[FlowLine::Flow(record)])?,
            Format::Json => format!("{line}\n"),
        })
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

const COLUMNS: [output::Column<Arc<FlowRecord>>; 10] = [
    ("TIME", |record| moment(record.end_time)),
    ("DIRECTION", |record| record.direction.clone()),
    ("FROM", |record| {
        named(record.source_namespace.as_ref(), &record.source_name)
    }),
    ("TO", |record| {
        named(record.dest_namespace.as_ref(), &record.dest_name)
    }),
    ("PROTO", |record| record.proto.clone()),
    ("PORT", |record| record.dest_port.to_string()),
    ("PACKETS", |record| {
        (record.packets_in + record.packets_out).to_string()
    }),
    ("ACTION", |record| record.action.clone()),
    ("PENDING", |record| pending(record)),
    ("BECAUSE", |record| because(record)),
];

fn wanted(args: &FlowsArgs, record: &FlowRecord) -> bool {
    let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let parties = [
        (&record.source_namespace, &record.source_name),
        (&record.dest_namespace, &record.dest_name),
    ];
    let at = |name: &String| {
        let is_it = |(namespace, its): (&Option<String>, &String)| {
            its == name || named(namespace.as_ref(), its) == *name
        };
        parties.into_iter().any(is_it)
    };
    let traces = &record.policies;
    let without = [
        &traces.enforced_without_safety_net,
        &traces.pending_without_safety_net,
    ]
    .into_iter()
    .flatten();
    let speaks = |name: &String| {
        [&traces.enforced, &traces.pending]
            .into_iter()
            .chain(without.clone())
            .flatten()
            .any(|step| {
                step.name == *name || step.trigger.as_ref().is_some_and(|trigger| trigger.name == *name)
            })
    };
    is(&args.verdict, &record.action)
        && is(&args.pending, &record.pending_action)
        && args.endpoint.as_ref().is_none_or(at)
        && args.policy.as_ref().is_none_or(speaks)
}

/// One line of `-f`: columns of fixed width, for what comes later is not known yet.
fn row(record: &FlowRecord, heading: bool) -> String {
    let line = |cells: [&str; 8]| {
        let [time, from, to, proto, port, packets, action, because] = cells;
        format!(
            "{time:<23}  {from:<18}  {to:<18}  {proto:<5} {port:>5}  {packets:>7}  {action:<28}  {because}\n"
        )
    };
    let heading = if heading {
        line([
            "TIME", "FROM", "TO", "PROTO", "PORT", "PACKETS", "ACTION", "BECAUSE",
        ])
    } else {
        String::new()
    };
    let action = if record.action == record.pending_action && !record.safety_net.caught {
        record.action.clone()
    } else {
        format!("{}, pending {}", record.action, pending(record))
    };
    heading
        + &line([
            &moment(record.end_time),
            &named(record.source_namespace.as_ref(), &record.source_name),
            &named(record.dest_namespace.as_ref(), &record.dest_name),
            &record.proto,
            &record.dest_port.to_string(),
            &(record.packets_in + record.packets_out).to_string(),
            &action,
            &because(record),
        ])
}

/// `namespace/name`, or the name alone.
fn named(namespace: Option<&String>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
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
fn because(record: &FlowRecord) -> String {
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
