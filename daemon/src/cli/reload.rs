//! `palisade reload`: as SIGHUP, but waits and reports.

use super::args::{Format, ReloadArgs};
use super::{Failure, Outcome, output, rollout, session};
use crate::api::client::Client;
use crate::api::types::{ReloadReport, ReloadRequest};
use crate::exit::Exit;

pub(super) async fn run(client: &Client, args: &ReloadArgs, format: Format) -> Outcome {
    let request = ReloadRequest {
        sessions: session::own(),
        force: args.force,
        confirm_within_ms: args.confirm_within.map(rollout::milliseconds),
    };
    let report: ReloadReport = client.post("/v1/reload", &request).await?;
    if matches!(format, Format::Json | Format::Yaml) {
        output::whole(format, &report)?;
        return rollout::wait(client, &report, args.waiting, format).await;
    }
    if let Some(error) = &report.error {
        return Err(Failure::new(
            exit(&report),
            format!(
                "reload refused, nothing was changed (generation {}):\n{error}",
                report.generation
            ),
        ));
    }
    eprint!("{}", report.warnings);
    if let Some(guard) = &report.guard {
        eprint!("{}", guard.text());
    }
    output::say(&match report.changes {
        0 => format!("nothing changed: generation {} is in force\n", report.generation),
        changes => format!(
            "generation {} is in force: {changes} changes in the kernel\n",
            report.generation
        ),
    })?;
    rollout::wait(client, &report, args.waiting, format).await
}

pub(super) fn exit(report: &ReloadReport) -> Exit {
    match report.exit {
        0 => Exit::Fine,
        2 => Exit::Usage,
        3 => Exit::Invalid,
        6 => Exit::RolledBack,
        7 => Exit::Refused,
        77 => Exit::NoPrivilege,
        _ => Exit::ApplyFailed,
    }
}
