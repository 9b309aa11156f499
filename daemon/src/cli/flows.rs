//! `palisade flows`.

use super::args::{FlowsArgs, Format};
use super::show::moment;
use super::{Outcome, output};
use crate::api::client::Client;
use crate::exit::Exit;
use crate::flows::record::FlowRecord;

pub(super) async fn run(client: &Client, args: &FlowsArgs, format: Format) -> Outcome {
    if args.follow {
        let mut heading = format == Format::Table;
        client
            .follow("/v1/flows?follow=true", |line| {
                let Ok(record) = serde_json::from_str::<FlowRecord>(line) else {
                    return;
                };
                if !wanted(args, &record) {
                    return;
                }
                let text = match format {
                    Format::Table => row(&record, std::mem::take(&mut heading)),
                    _ => format!("{line}\n"),
                };
                if output::say(&text).is_err() {
                    std::process::exit(i32::from(Exit::ApplyFailed as u8));
                }
            })
            .await?;
        return Ok(Exit::Fine);
    }
    let mut records = Vec::new();
    client
        .follow("/v1/flows", |line| {
            records.extend(
                serde_json::from_str(line)
                    .ok()
                    .filter(|record| wanted(args, record)),
            );
        })
        .await?;
    if records.is_empty() && format == Format::Table {
        eprintln!("no flow records yet: they are made once an interval (flows.interval); -f waits for them");
        return Ok(Exit::Fine);
    }
    output::rows(
        format,
        &records,
        &[
            ("TIME", |record| moment(record.end_time)),
            ("DIRECTION", |record| record.direction.clone()),
            ("FROM", |record| record.source_name.clone()),
            ("TO", |record| record.dest_name.clone()),
            ("PROTO", |record| record.proto.clone()),
            ("PORT", |record| record.dest_port.to_string()),
            ("PACKETS", |record| {
                (record.packets_in + record.packets_out).to_string()
            }),
            ("ACTION", |record| record.action.clone()),
            ("PENDING", pending),
            ("BECAUSE", because),
        ],
    )?;
    Ok(Exit::Fine)
}

fn wanted(args: &FlowsArgs, record: &FlowRecord) -> bool {
    let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let at = |name: &String| record.source_name == *name || record.dest_name == *name;
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
            &record.source_name,
            &record.dest_name,
            &record.proto,
            &record.dest_port.to_string(),
            &(record.packets_in + record.packets_out).to_string(),
            &action,
            &because(record),
        ])
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
