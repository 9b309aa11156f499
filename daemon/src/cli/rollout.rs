//! `palisade confirm`, `rollback` and `history`, and waiting for the end of a window.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::args::{Format, RollbackArgs, WaitArgs};
use super::show::moment;
use super::{Failure, Outcome, output, reload, session};
use crate::api::client::{Client, ClientError};
use crate::api::rollout::{HistoryRow, RollbackRequest, Unconfirmed};
use crate::api::types::{ReloadReport, Status};
use crate::exit::Exit;

/// How often the daemon is asked whether somebody has confirmed.
const LOOK: Duration = Duration::from_millis(250);

/// How long a daemon that is started anew may take to say what became of it.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn confirm(client: &Client, format: Format) -> Outcome {
    let report: ReloadReport = client.post("/v1/confirm", &()).await?;
    told(&report, format, |report| {
        let cut = report.cut.map_or_else(String::new, |cut| {
            format!("{cut} connections that are denied now were ended\n")
        });
        format!("generation {} is confirmed\n{cut}", report.generation)
    })
}

pub(super) async fn rollback(client: &Client, args: &RollbackArgs, format: Format) -> Outcome {
    let request = RollbackRequest {
        to: args.generation,
        confirm_within_ms: args.confirm_within.map(milliseconds),
        force: args.force,
        sessions: session::own(),
    };
    let report: ReloadReport = client.post("/v1/rollback", &request).await?;
    let end = told(&report, format, |report| match args.generation {
        None => format!("generation {} is in force again\n", report.generation),
        Some(number) => format!(
            "the files are those of generation {number}; generation {} is in force: {} changes in the kernel\n",
            report.generation, report.changes
        ),
    })?;
    match end {
        Exit::Fine => wait(client, &report, args.waiting, format).await,
        other => Ok(other),
    }
}

/// Says what came of a change.
fn told(report: &ReloadReport, format: Format, fine: impl FnOnce(&ReloadReport) -> String) -> Outcome {
    if matches!(format, Format::Json | Format::Yaml) {
        output::whole(format, report)?;
        return Ok(reload::exit(report));
    }
    if let Some(error) = &report.error {
        return Err(Failure::new(reload::exit(report), error.clone()));
    }
    eprint!("{}", report.warnings);
    if let Some(guard) = &report.guard {
        eprint!("{}", guard.text());
    }
    output::say(&fine(report))?;
    Ok(Exit::Fine)
}

pub(super) async fn history(client: &Client, format: Format) -> Outcome {
    let rows: Vec<HistoryRow> = client.get("/v1/history").await?;
    if rows.is_empty() && format == Format::Table {
        output::say("no generation is kept yet\n")?;
        return Ok(Exit::Fine);
    }
    output::rows(format, &rows, &COLUMNS)?;
    Ok(Exit::Fine)
}

const COLUMNS: [output::Column<HistoryRow>; 6] = [
    ("GENERATION", |row| {
        if row.last > row.generation {
            format!("{}-{}", row.generation, row.last)
        } else {
            row.generation.to_string()
        }
    }),
    ("SINCE", |row| moment(row.at)),
    ("STATE", |row| match (&row.rolled_back, row.in_force) {
        (Some(why), _) => format!("{}: {why}", row.state.as_str()),
        (None, true) => "in force".to_owned(),
        (None, false) => row.state.as_str().to_owned(),
    }),
    ("CHANGE", |row| row.why.clone()),
    ("BY", |row| row.who.to_string()),
    ("FILES", |row| row.files.to_string()),
];

/// A time as the API has it.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Says until when a change has to be confirmed and, where somebody looks, waits for what becomes of it.
pub(super) async fn wait(client: &Client, report: &ReloadReport, args: WaitArgs, format: Format) -> Outcome {
    let Some(unconfirmed) = report.unconfirmed.as_ref().filter(|_| report.ok) else {
        return Ok(reload::exit(report));
    };
    let is_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let waits = args.wait || is_terminal && !args.no_wait && format == Format::Table;
    eprintln!("{}", unconfirmed.sentence());
    if unconfirmed.canary.is_none() {
        eprintln!("open another session, to see that you still can, and type there: palisade confirm");
    }
    if !waits {
        return Ok(Exit::Fine);
    }
    let end = outcome(client, unconfirmed, is_terminal).await;
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    end
}

/// Waits for the end of a window.
async fn outcome(client: &Client, unconfirmed: &Unconfirmed, is_terminal: bool) -> Outcome {
    let ends = Instant::now() + Duration::from_secs(unconfirmed.remaining_seconds);
    loop {
        match client.get::<Status>("/v1/status").await {
            Ok(status) => {
                let is_over = match &status.unconfirmed {
                    Some(other) => other.previous != unconfirmed.previous || other.why != unconfirmed.why,
                    None => true,
                };
                if is_over {
                    return ended(&status, unconfirmed);
                }
            }
            Err(ClientError::Unreachable { .. } | ClientError::Broken(_)) => {
                if Instant::now() > ends + PATIENCE {
                    return Err(Failure::new(
                        Exit::RolledBack,
                        format!(
                            "palisaded does not answer, and generation {} was not confirmed: the kernel has gone back to generation {} by \
                             itself; the files go back when palisaded is started (systemctl start palisade)",
                            unconfirmed.generation, unconfirmed.previous
                        ),
                    ));
                }
            }
            Err(error) => return Err(error.into()),
        }
        if is_terminal {
            let left = ends.saturating_duration_since(Instant::now()).as_secs();
            eprint!("\r\x1b[K{left} s left");
            // A countdown that cannot be written is not missed.
            let _ = std::io::stderr().flush();
        }
        sleep(LOOK).await;
    }
}

fn ended(status: &Status, unconfirmed: &Unconfirmed) -> Outcome {
    let back = status.rolled_back.as_ref();
    match back.filter(|back| back.generation == unconfirmed.generation) {
        Some(back) if back.canary => {
            output::say(&format!(
                "the canary has ended ({}): generation {} governs all again\n",
                back.why, back.previous
            ))?;
            Ok(Exit::Fine)
        }
        Some(back) => {
            let notes: String = back.notes.iter().flat_map(|note| ["\n", note]).collect();
            Err(Failure::new(
                Exit::RolledBack,
                format!(
                    "generation {} was rolled back, for {}: generation {} is in force again, and so are its files{notes}",
                    back.generation, back.why, back.previous
                ),
            ))
        }
        None if unconfirmed.canary.is_some() => {
            output::say("the canary has been followed by another change\n")?;
            Ok(Exit::Fine)
        }
        None => {
            output::say(&format!("generation {} is confirmed\n", status.generation))?;
            Ok(Exit::Fine)
        }
    }
}
