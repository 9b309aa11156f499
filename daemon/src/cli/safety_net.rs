//! `palisade safety-net`: what the net holds, taking it away, and bringing it back.

use super::args::{Format, SafetyNetCommand, SafetyNetRemoveArgs};
use super::{Failure, Outcome, connections, output, reload, rollout, session};
use crate::api::client::Client;
use crate::api::safety_net::{Caught, SafetyNetReport, SafetyNetRequest};
use crate::api::types::ReloadReport;
use crate::exit::Exit;

/// Groups that are shown.
const SHOWN: usize = 20;

pub(super) async fn run(client: &Client, command: &SafetyNetCommand, format: Format) -> Outcome {
    match command {
        SafetyNetCommand::Status => status(client, format).await,
        SafetyNetCommand::Remove(args) => remove(client, args, format).await,
        SafetyNetCommand::Restore => {
            let report: ReloadReport = client.post("/v1/safety-net/restore", &()).await?;
            told(&report, format, "the safety net is back")
        }
    }
}

async fn status(client: &Client, format: Format) -> Outcome {
    let report: SafetyNetReport = client.get("/v1/safety-net").await?;
    match format {
        Format::Table => output::say(&text(&report))?,
        Format::Csv => output::say(&output::csv(&report.caught, &COLUMNS, true)?)?,
        Format::Json | Format::Yaml => output::whole(format, &report)?,
    }
    Ok(if report.caught.is_empty() {
        Exit::Fine
    } else {
        Exit::Findings
    })
}

async fn remove(client: &Client, args: &SafetyNetRemoveArgs, format: Format) -> Outcome {
    let request = SafetyNetRequest {
        confirm_within_ms: args.confirm_within.map(rollout::milliseconds),
        force: args.force,
        sessions: session::own(),
    };
    let report: ReloadReport = client.post("/v1/safety-net/remove", &request).await?;
    match told(&report, format, "the safety net is removed")? {
        Exit::Fine => rollout::wait(client, &report, args.waiting, format).await,
        other => Ok(other),
    }
}

/// Says what came of a change.
fn told(report: &ReloadReport, format: Format, done: &str) -> Outcome {
    if matches!(format, Format::Json | Format::Yaml) {
        output::whole(format, report)?;
        return Ok(reload::exit(report));
    }
    if let Some(error) = &report.error {
        return Err(Failure::new(
            reload::exit(report),
            format!("nothing was changed (generation {}):\n{error}", report.generation),
        ));
    }
    eprint!("{}", report.warnings);
    if let Some(guard) = &report.guard {
        eprint!("{}", guard.text());
    }
    output::say(&format!(
        "{done}: generation {} is in force, {} changes in the kernel\n",
        report.generation, report.changes
    ))?;
    Ok(Exit::Fine)
}

const COLUMNS: [output::Column<Caught>; 7] = [
    ("PACKETS", |row| row.packets.to_string()),
    ("DIRECTION", |row| row.direction.clone()),
    ("FROM", |row| row.from.clone()),
    ("TO", |row| row.to.clone()),
    ("PROTO", |row| row.protocol.clone()),
    ("PORT", |row| row.port.to_string()),
    ("DENIED BY", |row| row.because.clone()),
];

/// A report for reading.
fn text(report: &SafetyNetReport) -> String {
    let mut text = String::new();
    if report.nets.is_empty() {
        text += "there is no safety net: what no policy allows is denied\n";
    }
    for net in &report.nets {
        let source = net
            .source
            .as_deref()
            .unwrap_or("`safetyNet: true` of the configuration");
        text += &format!("the safety net {} is in force ({source})\n", net.name);
    }
    for counted in &report.counted {
        text += &format!(
            "  {}: {} first packets, {} bytes\n",
            counted.direction, counted.packets, counted.bytes
        );
    }
    if !report.before.is_empty() {
        text += "\nnot everything gets to it:\n";
        for line in &report.before {
            text += &format!("  {line}\n");
        }
    }
    if report.nets.is_empty() {
        return text;
    }
    match report.since {
        Some(since) if report.caught.is_empty() => {
            text += &format!(
                "\nof all that was seen since {}, nothing would be denied today without it\n",
                super::show::moment(since)
            );
        }
        Some(since) => {
            text += &format!(
                "\nof all that was seen since {}, this would be denied today without it:\n",
                super::show::moment(since)
            );
            let shown = &report.caught[..report.caught.len().min(SHOWN)];
            for line in output::table(shown, &COLUMNS).lines() {
                text += &format!("  {}\n", line.trim_end());
            }
            if report.caught.len() > SHOWN {
                text += &format!(
                    "  and {} more (-o json lists them)\n",
                    report.caught.len() - SHOWN
                );
            }
        }
        None => {
            text += "\nno connection was seen yet: what would be denied without it is unknown\n";
        }
    }
    if report.missing > 0 {
        text += &format!("{} first packets could not be seen\n", report.missing);
    }
    if let Some(live) = &report.connections {
        text += "\n";
        text += &connections::text(live, "this is in force");
    }
    text
}
