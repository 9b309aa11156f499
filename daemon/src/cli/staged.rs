//! `palisade staged`: what each staged policy would have done, and whether it may be promoted.

use super::args::{Format, StagedArgs};
use super::show::{action, moment};
use super::{Failure, Outcome, fit, output};
use crate::api::client::Client;
use crate::exit::Exit;
use crate::flows::record::CounterRow;
use crate::flows::report::{Judgement, LiveConnections, StagedFlow, StagedReport, connections};
use crate::live::Owner;

/// Reasons that are shown of each verdict; JSON has all of them.
const REASONS: usize = 8;

/// Flows that are shown of each policy on a terminal; JSON and CSV have all of them.
const FLOWS: usize = 20;

pub(super) async fn run(client: &Client, args: &StagedArgs, format: Format) -> Outcome {
    let path = format!("/v1/staged?evidence_seconds={}", args.evidence.as_secs());
    let mut reports: Vec<StagedReport> = client.get(&path).await?;
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
            let width = fit::width();
            let texts: Vec<String> = reports.iter().map(|report| text(report, width)).collect();
            output::say(&texts.join("\n"))?;
        }
        Format::Csv => {
            let flows: Vec<FlowRow> = reports.iter().flat_map(flow_rows).collect();
            output::say(&output::csv(&flows, &CSV_COLUMNS, true)?)?;
        }
        Format::Json | Format::Yaml => output::whole(format, &reports)?,
    }
    Ok(if reports.iter().any(|report| report.would_deny > 0) {
        Exit::Findings
    } else {
        Exit::Fine
    })
}

/// Whether a policy may be promoted and why not, in short.
pub(super) fn summary(report: &StagedReport, width: Option<usize>) -> String {
    let mut text = format!("{} {}\n", report.kind, fit::clean(&report.name));
    text += &fit::wrap("  ", &sentence(report), width);
    text += &judgement("to promote it", &report.judgement, &[], width);
    for said in evaluations(report) {
        text += &fit::wrap("  ", &said, width);
    }
    let missing = report.missing;
    if !missing.is_nothing() {
        let lost = format!(
            "incomplete: {} packets lost, {} unreadable, {} folded together; the counters are exact",
            missing.lost, missing.unreadable, missing.folded
        );
        text += &fit::wrap("  ", &lost, width);
    }
    text
}

/// A report for reading: first whether it may be promoted and why not, then what that rests on.
fn text(report: &StagedReport, width: Option<usize>) -> String {
    let line = |text: &str| fit::wrap("  ", text, width);
    let mut text = format!("{} {}\n", report.kind, fit::clean(&report.name));
    text += &line(&sentence(report));
    text += &judgement("to promote it", &report.judgement, &[], width);
    if let Some(without) = &report.without_safety_net {
        let told = &report.judgement.reasons;
        text += &judgement("and then to remove the safety net", without, told, width);
    }
    text += &line(&format!(
        "staged since {} in tier {}, on {}",
        moment(report.since),
        report.tier,
        if report.endpoints.is_empty() {
            "no endpoint of this host: it can have no effect here".to_owned()
        } else {
            report.endpoints.join(", ")
        }
    ));
    text += &line(&report.source);
    for said in evaluations(report) {
        text += &line(&said);
    }
    text += &line(
        &report
            .live
            .as_ref()
            .map_or_else(|| "live connections: unknown".to_owned(), live),
    );
    let missing = report.missing;
    if !missing.is_nothing() {
        text += &line(&format!(
            "incomplete: {} packets lost, {} unreadable, {} folded together; the counters are exact",
            missing.lost, missing.unreadable, missing.folded
        ));
    }
    for note in &report.notes {
        text += &line(note);
    }
    let inner = width.map(|width| width.saturating_sub(4));
    let shown = width.map_or(report.flows.len(), |_| report.flows.len().min(FLOWS));
    if shown > 0 {
        text += "  connections\n";
        text += &indented(&fit::table(&report.flows[..shown], &FLOW_FIELDS, inner));
        if shown < report.flows.len() {
            text += &line(&format!(
                "  and {} more kinds: -o csv has all of them",
                report.flows.len() - shown
            ));
        }
    }
    if !report.counters.is_empty() {
        text += "  counters in the kernel\n";
        text += &indented(&fit::table(&report.counters, &COUNTER_FIELDS, inner));
    }
    text
}

/// The report in a sentence.
fn sentence(report: &StagedReport) -> String {
    let (deny, bare) = (report.would_deny, report.would_deny_without_safety_net);
    match (deny, bare, report.safety_net) {
        (0, 0, _) if report.evaluated == 0 => "no connection has met it yet: nothing can be said".to_owned(),
        (0, 0, true) => "would deny nothing that was seen, with the safety net or without it".to_owned(),
        (0, 0, false) => "would deny nothing that was seen".to_owned(),
        (0, bare, _) => format!(
            "nothing would be denied while the safety net stands; without it, {} would be",
            connections(bare)
        ),
        (deny, bare, true) if bare != deny => {
            format!(
                "WOULD DENY {}, and {} once the safety net is removed",
                connections(deny),
                connections(bare)
            )
        }
        (deny, _, _) => format!("WOULD DENY {}", connections(deny)),
    }
}

/// A verdict and why; reasons that are told already are not repeated.
fn judgement(what: &str, judgement: &Judgement, told: &[String], width: Option<usize>) -> String {
    let verdict = judgement.verdict.to_string().to_uppercase();
    let fresh: Vec<&String> = judgement
        .reasons
        .iter()
        .filter(|reason| !told.contains(reason))
        .collect();
    let because = match (judgement.reasons.is_empty(), fresh.is_empty()) {
        (true, _) => "",
        (false, true) => ", as above",
        (false, false) => ", because",
    };
    let mut text = fit::wrap("  ", &format!("{what}: {verdict}{because}"), width);
    for reason in fresh.iter().take(REASONS) {
        text += &fit::wrap("    - ", reason, width);
    }
    if fresh.len() > REASONS {
        text += &fit::wrap(
            "    - ",
            &format!("{} more: -o json has all of them", fresh.len() - REASONS),
            width,
        );
    }
    text
}

/// What was evaluated, and when.
fn evaluations(report: &StagedReport) -> Vec<String> {
    let mut lines = vec![format!(
        "{} evaluated, {} would be allowed",
        connections(report.evaluated),
        report.would_allow
    )];
    if let (Some(first), Some(last)) = (report.first_seen, report.last_seen) {
        lines.push(format!(
            "first seen {}, last seen {}",
            moment(first),
            moment(last)
        ));
    }
    let new = report.new_in_last_hour;
    for (count, what) in [
        (new.would_deny, "would be denied"),
        (
            new.would_deny_without_safety_net,
            "would be denied without the safety net",
        ),
    ] {
        // Without a net, both are the same.
        if count > 0 && (report.safety_net || what == "would be denied") {
            lines.push(format!("new in the last hour: {count} of the flows that {what}"));
        }
    }
    lines
}

fn live(live: &LiveConnections) -> String {
    match (live.connections, live.never_evaluated) {
        (0, _) => "no live connections at its endpoints".to_owned(),
        (all, 0) => format!("{all} live connections, all of them like those evaluated"),
        (all, never) => format!(
            "{all} live connections, {never} never evaluated; of these {} would be denied if opened again, {} without the safety net",
            live.would_deny, live.would_deny_without_safety_net
        ),
    }
}

fn indented(table: &str) -> String {
    let lines = table.lines().map(|line| ["    ", line, "\n"].concat());
    lines.collect()
}

/// What promotion does to a flow, in a word or three.
fn outcome(flow: &StagedFlow) -> &'static str {
    match (
        flow.action.as_str(),
        flow.pending_action.as_str(),
        flow.pending_without_safety_net.as_str(),
    ) {
        ("allow", "deny", _) => "DENY",
        ("allow", _, "deny") => "DENY without net",
        ("deny", "allow", _) => "allow again",
        ("deny", _, _) => "denied already",
        _ => "allow",
    }
}

type OfFlow = fit::Field<StagedFlow>;

const FLOW_FIELDS: [OfFlow; 10] = [
    OfFlow::new("PROMOTED", 16, |flow| outcome(flow).to_owned()),
    OfFlow::new("COUNT", 5, |flow| flow.packets.to_string()).right(),
    OfFlow::new("FROM", 12, |flow| flow.from.clone()),
    OfFlow::new("TO", 12, |flow| flow.to.clone()),
    OfFlow::new("PORT", 8, |flow| port(&flow.proto, flow.port)),
    OfFlow::new("OWNER", 12, |flow| {
        flow.owners.first().map_or_else(|| "-".to_owned(), Owner::phrase)
    })
    .spare(1),
    OfFlow::new("DIRECTION", 9, |flow| flow.direction.clone()).spare(5),
    OfFlow::new("FIRST SEEN", 23, |flow| moment(flow.first_seen)).spare(4),
    OfFlow::new("LAST SEEN", 23, |flow| moment(flow.last_seen)).spare(3),
    OfFlow::new("BECAUSE", 16, |flow| flow.because.clone()).spare(2),
];

type OfCounter = fit::Field<CounterRow>;

const COUNTER_FIELDS: [OfCounter; 3] = [
    OfCounter::new("COUNTER", 16, |row| row.counter.clone()),
    OfCounter::new("PACKETS", 7, |row| row.packets_total.to_string()).right(),
    OfCounter::new("MEANS", 16, |row| {
        let what = if row.rule_index < 0 {
            format!("end of tier {}", row.tier)
        } else {
            format!("{} rule {}", row.direction, row.rule_index)
        };
        format!("{what}: {}", action(row))
    }),
];

/// `tcp 9090`, or the protocol alone.
pub(super) fn port(proto: &str, port: u16) -> String {
    if port == 0 {
        proto.to_owned()
    } else {
        format!("{proto} {port}")
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

const CSV_COLUMNS: [output::Column<FlowRow>; 13] = [
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
    ("OWNERS", |row| {
        let owners = row.flow.owners.iter().map(Owner::phrase);
        owners.collect::<Vec<_>>().join(", ")
    }),
    ("FIRST_SEEN", |row| moment(row.flow.first_seen)),
    ("LAST_SEEN", |row| moment(row.flow.last_seen)),
];
