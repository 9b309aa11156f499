//! `palisade staged`: what each staged policy would have done.

use super::args::{Format, StagedArgs};
use super::show::{action, moment};
use super::{Failure, Outcome, output};
use crate::api::client::Client;
use crate::exit::Exit;
use crate::flows::report::{StagedFlow, StagedReport};

pub(super) async fn run(client: &Client, args: &StagedArgs, format: Format) -> Outcome {
    let mut reports: Vec<StagedReport> = client.get("/v1/staged").await?;
    if let Some(name) = &args.name {
        let known: Vec<String> = reports.iter().map(|report| report.name.clone()).collect();
        reports.retain(|report| report.name == *name);
        if reports.is_empty() {
            let known = if known.is_empty() {
                "nothing is".to_owned()
            } else {
                known.join(", ")
            };
            return Err(Failure::new(
                Exit::Usage,
                format!("no policy {name:?} is staged (staged: {known})"),
            ));
        }
    }
    match format {
        Format::Table if reports.is_empty() => output::say("nothing is staged: both worlds are one\n")?,
        Format::Table => {
            for report in &reports {
                output::say(&text(report))?;
            }
        }
        Format::Csv => {
            let flows: Vec<FlowRow> = reports.iter().flat_map(flow_rows).collect();
            output::say(&output::csv(&flows, &FLOW_COLUMNS, true)?)?;
        }
        Format::Json | Format::Yaml => output::whole(format, &reports)?,
    }
    Ok(if reports.iter().any(|report| report.would_deny > 0) {
        Exit::Findings
    } else {
        Exit::Fine
    })
}

/// A report for reading.
pub(super) fn text(report: &StagedReport) -> String {
    let on = if report.endpoints.is_empty() {
        "no endpoint of this host: it can have no effect here".to_owned()
    } else {
        report.endpoints.join(", ")
    };
    let mut text = format!(
        "{} {}\n  staged since {}, tier {}, {}, on {on}\n  {}\n",
        report.kind,
        report.name,
        moment(report.since),
        report.tier,
        report.source,
        verdict(report),
    );
    if !report.missing.is_nothing() {
        let missing = report.missing;
        text += &format!(
            "  incomplete: {} packets lost, {} unreadable, {} folded together; the counters are exact\n",
            missing.lost, missing.unreadable, missing.folded
        );
    }
    for (heading, body) in [
        (
            "connections",
            output::table(&flow_rows(report), &FLOW_COLUMNS[1..]),
        ),
        (
            "counters in the kernel",
            output::table(
                &report.counters,
                &[
                    ("COUNTER", |row| row.counter.clone()),
                    ("MEANS", |row| {
                        let what = if row.rule_index < 0 {
                            format!("end of tier {}", row.tier)
                        } else {
                            format!("{} rule {}", row.direction, row.rule_index)
                        };
                        format!("{what}: {}", action(row))
                    }),
                    ("PACKETS", |row| row.packets_total.to_string()),
                ],
            ),
        ),
    ] {
        if body.lines().count() > 1 {
            text += &format!("  {heading}\n");
            for line in body.lines() {
                text += &format!("    {}\n", line.trim_end());
            }
        }
    }
    text
}

/// The report in a sentence.
fn verdict(report: &StagedReport) -> String {
    let (deny, bare) = (report.would_deny, report.would_deny_without_safety_net);
    match (deny, bare, report.safety_net) {
        (0, 0, _) if report.would_allow == 0 => {
            "no connection has met it yet: nothing can be said".to_owned()
        }
        (0, 0, true) => "would deny nothing that was seen, with the safety net or without it".to_owned(),
        (0, 0, false) => "would deny nothing that was seen".to_owned(),
        (0, bare, _) => format!(
            "nothing would be denied while the safety net stands; without it, {} would be",
            packets(bare)
        ),
        (deny, bare, true) if bare != deny => {
            format!(
                "WOULD DENY {}, and {} once the safety net is removed",
                packets(deny),
                packets(bare)
            )
        }
        (deny, _, _) => format!("WOULD DENY {}", packets(deny)),
    }
}

fn packets(count: u64) -> String {
    if count == 1 {
        "1 first packet".to_owned()
    } else {
        format!("{count} first packets")
    }
}

/// Connections that a policy would have decided.
struct FlowRow {
    policy: String,
    flow: StagedFlow,
}

fn flow_rows(report: &StagedReport) -> Vec<FlowRow> {
    let row = |flow: &StagedFlow| FlowRow {
        policy: report.name.clone(),
        flow: flow.clone(),
    };
    report.flows.iter().map(row).collect()
}

const FLOW_COLUMNS: [output::Column<FlowRow>; 10] = [
    ("POLICY", |row| row.policy.clone()),
    ("DIRECTION", |row| row.flow.direction.clone()),
    ("FROM", |row| row.flow.from.clone()),
    ("TO", |row| row.flow.to.clone()),
    ("PROTO", |row| row.flow.proto.clone()),
    ("PORT", |row| row.flow.port.to_string()),
    ("PACKETS", |row| row.flow.packets.to_string()),
    ("NOW", |row| row.flow.action.clone()),
    ("PROMOTED", |FlowRow { flow, .. }| {
        if flow.pending_action == flow.pending_without_safety_net {
            flow.pending_action.clone()
        } else {
            format!(
                "{} ({} without the net)",
                flow.pending_action, flow.pending_without_safety_net
            )
        }
    }),
    ("BECAUSE", |row| row.flow.because.clone()),
];
