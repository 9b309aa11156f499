//! `palisade lint`.

use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser};
use palisade_rules::analysis::lint::{self, Finding, Options, codes::CODES};
use palisade_rules::diagnostic::Record;

use super::args::{Format, LintArgs};
use super::check::{COLUMNS, count};
use super::{Outcome, offline, output};
use crate::api::client::Client;
use crate::exit::Exit;

/// How long a policy may stay staged unless the command says otherwise.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a few weeks are no more than 65,535 days"
)]
pub(super) const STALE_AFTER_DAYS: u16 = (lint::STALE_AFTER.as_secs() / DAY) as u16;

const DAY: u64 = 24 * 60 * 60;

/// The kinds of finding there are.
pub(super) fn codes() -> PossibleValuesParser {
    CODES
        .iter()
        .map(|code| PossibleValue::new(code.word).help(code.meaning))
        .collect::<Vec<_>>()
        .into()
}

pub(super) async fn run(client: &Client, args: &LintArgs, format: Format) -> Outcome {
    let found = if args.from_files.files.is_empty() {
        let path = format!("/v1/lint?stale_after_days={}", args.stale_after);
        let mut records: Vec<Record> = client.get(&path).await?;
        records.retain(|record| !args.allow.iter().any(|code| *code == record.code));
        if format == Format::Table {
            output::say(&records.iter().map(text).collect::<String>())?;
        }
        records
    } else {
        let all = offline::all(&args.from_files)?;
        let options = Options {
            stale_after: stale_after(args.stale_after),
            allow: args.allow.iter().cloned().collect(),
            ..Options::default()
        };
        let findings = lint::lint(&all.snapshot, &all.worlds, &options);
        if format == Format::Table {
            let diagnostics = lint::diagnostics(&findings, &all.files, &all.ids);
            let colour = output::is_coloured(&std::io::stdout());
            output::say(&(diagnostics.render(&all.files, colour) + "\n"))?;
        }
        findings.iter().map(Finding::record).collect()
    };
    if format != Format::Table {
        output::rows(format, &found, &COLUMNS)?;
    } else if found.is_empty() {
        output::say("nothing found\n")?;
    } else {
        output::say(&format!("{}\n", count(found.len(), "finding")))?;
    }
    Ok(if found.is_empty() {
        Exit::Fine
    } else {
        Exit::Findings
    })
}

/// The limit that a number of days stands for.
fn stale_after(days: u16) -> Option<Duration> {
    (days > 0).then(|| Duration::from_secs(u64::from(days) * DAY))
}

/// A finding where the files are not at hand: without an excerpt.
fn text(record: &Record) -> String {
    let mut text = format!("{}[{}]: {}\n", record.severity, record.code, record.message);
    if let (Some(file), Some(line), Some(column)) = (&record.file, record.line, record.column) {
        text += &format!("  --> {file}:{line}:{column}\n");
    }
    if let Some(help) = &record.help {
        text += &format!("  = help: {help}\n");
    }
    text + "\n"
}
