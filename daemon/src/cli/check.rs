//! `palisade check`.

use super::args::{CheckArgs, Format};
use super::{Failure, Outcome, offline, output};
use crate::config::Config;
use crate::exit::Exit;

pub(super) fn run(args: &CheckArgs, format: Format) -> Outcome {
    if let Some(config) = &args.config {
        Config::load(config).map_err(|error| Failure::new(Exit::Invalid, error.to_string()))?;
    }
    let reading = offline::read(&args.paths)?;
    let records = reading.diagnostics.records(&reading.files);
    match format {
        Format::Table => {
            eprint!(
                "{}",
                reading.diagnostics.render(&reading.files, offline::colour())
            );
            let (errors, warnings) = (
                reading.diagnostics.error_count(),
                reading.diagnostics.warning_count(),
            );
            if errors > 0 {
                eprintln!(
                    "\n{errors} errors, {warnings} warnings: nothing of this would be brought into force"
                );
            }
            if let Some(snapshot) = &reading.snapshot {
                let staged = snapshot
                    .policies
                    .iter()
                    .filter(|policy| policy.staged.is_some())
                    .count();
                output::say(&format!(
                    "valid: {} enforced and {staged} staged policies, {} host endpoints, {} network sets\n",
                    snapshot.policies.len() - staged,
                    snapshot.host_endpoints.len(),
                    snapshot.network_sets.len(),
                ))?;
            }
        }
        Format::Csv => output::rows(
            format,
            &records,
            &[
                ("SEVERITY", |record| record.severity.as_str().to_owned()),
                ("CODE", |record| record.code.to_string()),
                ("FILE", |record| record.file.clone().unwrap_or_default()),
                ("LINE", |record| {
                    record.line.map(|line| line.to_string()).unwrap_or_default()
                }),
                ("COLUMN", |record| {
                    record.column.map(|column| column.to_string()).unwrap_or_default()
                }),
                ("MESSAGE", |record| record.message.clone()),
            ],
        )?,
        Format::Json | Format::Yaml => output::whole(format, &records)?,
    }
    Ok(if reading.snapshot.is_some() {
        Exit::Fine
    } else {
        Exit::Invalid
    })
}
