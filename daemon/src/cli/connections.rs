//! `palisade connections`: live connections that would be denied if they were opened again.

use palisade_rules::analysis::connections::Effect;

use super::args::Format;
use super::{Outcome, output};
use crate::api::client::Client;
use crate::exit::Exit;
use crate::live::{LiveGroup, LiveReport, Owner};

/// Owners that a cell names.
const NAMED: usize = 3;

pub(super) async fn run(client: &Client, format: Format) -> Outcome {
    let report: LiveReport = client.get("/v1/connections").await?;
    match format {
        Format::Table => output::say(&text(&report, "the staged policies are promoted"))?,
        Format::Csv => output::say(&output::csv(&report.affected, &COLUMNS, true)?)?,
        Format::Json | Format::Yaml => output::whole(format, &report)?,
    }
    let denied = |group: &LiveGroup| group.connections.effect != Effect::AllowedAgain;
    Ok(if report.affected.iter().any(denied) {
        Exit::Findings
    } else {
        Exit::Fine
    })
}

/// A report for reading; `change` is what is compared, as a sentence behind "once".
pub(super) fn text(report: &LiveReport, change: &str) -> String {
    let looked_at = match report.exempt {
        0 => format!("{} live connections", report.connections),
        exempt => format!(
            "{} live connections, {exempt} of them exempt from policy",
            report.connections
        ),
    };
    let mut text = if report.affected.is_empty() {
        format!("{looked_at}: none would be denied if opened again\n")
    } else {
        format!("{looked_at}; none is cut\n")
    };
    for (effect, heading) in [
        (
            Effect::Denied,
            format!("would be denied if opened again, once {change}"),
        ),
        (
            Effect::DeniedWithoutSafetyNet,
            format!("would be denied if opened again, once {change} and the safety net is removed"),
        ),
        (
            Effect::AlreadyDenied,
            "would be denied if opened again, already: they are older than the policy".to_owned(),
        ),
        (
            Effect::AlreadyDeniedWithoutSafetyNet,
            "would be denied if opened again, once the safety net is removed".to_owned(),
        ),
        (
            Effect::AllowedAgain,
            format!("would be denied if opened again now, and allowed once {change}"),
        ),
    ] {
        let groups: Vec<LiveGroup> = report
            .affected
            .iter()
            .filter(|group| group.connections.effect == effect)
            .cloned()
            .collect();
        if groups.is_empty() {
            continue;
        }
        text += &format!("{} {heading}\n", report.count(effect));
        for line in output::table(&groups, &COLUMNS[1..]).lines() {
            text += &format!("    {}\n", line.trim_end());
        }
    }
    let groups = || report.affected.iter().map(|group| &group.connections);
    let unanswered: usize = groups().map(|group| group.unanswered).sum();
    if unanswered > 0 {
        text += &format!(
            "note: {unanswered} of these have not been answered: policy decides about their next packet\n"
        );
    }
    if groups().any(|group| group.depends_on_interface) {
        text += "note: those marked * go through this host, and its interfaces decide differently; the strictest is shown\n";
    }
    for note in &report.notes {
        text += &format!("note: {note}\n");
    }
    text
}

const COLUMNS: [output::Column<LiveGroup>; 9] = [
    ("EFFECT", |group| {
        let effect = serde_json::to_value(group.connections.effect);
        effect
            .ok()
            .and_then(|effect| effect.as_str().map(str::to_owned))
            .unwrap_or_default()
    }),
    ("CONNECTIONS", |group| group.connections.connections.to_string()),
    ("FROM", |group| group.connections.from.clone()),
    ("TO", |group| group.connections.to.clone()),
    ("PROTO", |group| group.connections.protocol.clone()),
    ("PORT", |group| {
        group
            .connections
            .port
            .map_or_else(|| "-".to_owned(), |port| port.to_string())
    }),
    ("OWNER", |group| owners(&group.owners)),
    ("BECAUSE", |group| {
        let because = &group.connections.because;
        let mark = if group.connections.depends_on_interface {
            " *"
        } else {
            ""
        };
        let source = because.source.as_deref().map(|source| format!(", {source}"));
        format!("{}{}{mark}", because.phrase(), source.unwrap_or_default())
    }),
    ("EXAMPLE", |group| group.connections.example.clone()),
];

fn owners(owners: &[Owner]) -> String {
    let mut named: Vec<String> = owners.iter().take(NAMED).map(Owner::phrase).collect();
    if owners.len() > NAMED {
        named.push(format!("{} more", owners.len() - NAMED));
    }
    if named.is_empty() {
        "-".to_owned()
    } else {
        named.join(", ")
    }
}
