//! `palisade doctor`.

use super::args::{DoctorArgs, Format};
use super::{Failure, Outcome, output};
use crate::api::client::Client;
use crate::config::{Config, DEFAULT_STATE_DIR};
use crate::doctor::{self, Answers, Finding, HookRow, Severity};
use crate::exit::Exit;

pub(super) async fn run(client: &Client, args: &DoctorArgs, format: Format) -> Outcome {
    let state_dir =
        Config::load(&args.config).map_or_else(|_| DEFAULT_STATE_DIR.into(), |config| config.state_dir);
    let policies = client.get("/v1/policies").await.ok();
    let answers = policies.map(|policies| Answers { policies });
    let report = doctor::examine(&args.root, &state_dir, answers.as_ref()).map_err(|error| {
        let exit = if error.is_privilege() {
            Exit::NoPrivilege
        } else {
            Exit::ApplyFailed
        };
        Failure::new(exit, error.to_string())
    })?;
    if format == Format::Table {
        output::say(&hooks(&report.hooks))?;
        output::say(&report.findings.iter().map(text).collect::<String>())?;
    } else {
        output::whole(format, &report)?;
    }
    let warned = report
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Warning);
    if !warned && format == Format::Table {
        output::say("nothing to warn of\n")?;
    }
    Ok(if warned { Exit::Findings } else { Exit::Fine })
}

fn hooks(rows: &[HookRow]) -> String {
    output::table(
        rows,
        &[
            ("HOOK", |row| row.hook.clone()),
            ("PRIORITY", |row| row.priority.to_string()),
            ("TABLE", |row| format!("{} {}", row.family, row.table)),
            ("CHAIN", |row| {
                if row.chain.is_empty() {
                    "-".to_owned()
                } else {
                    row.chain.clone()
                }
            }),
            ("WHOSE", |row| row.owner.clone()),
            ("DROPS", |row| match row.drops {
                Some(true) => "yes".to_owned(),
                Some(false) => "no".to_owned(),
                None => "?".to_owned(),
            }),
        ],
    ) + "\n"
}

fn text(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    format!(
        "{severity}[{}]: {}\n  {}\n",
        finding.code, finding.message, finding.help
    )
}
