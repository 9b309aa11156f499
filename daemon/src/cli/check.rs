//! `palisade check`.

use palisade_rules::diagnostic::{Diagnostics, Record};
use palisade_rules::source::Files;

use super::args::{CheckArgs, Format};
use super::{Failure, Outcome, offline, output};
use crate::config::Config;
use crate::exit::Exit;

pub(super) fn run(args: &CheckArgs, format: Format) -> Outcome {
    let mut config_files = Files::default();
    let config = match &args.config {
        None => Diagnostics::default(),
        Some(path) => {
            Config::read(&mut config_files, path)
                .map_err(|error| Failure::new(Exit::Invalid, error.to_string()))?
                .1
        }
    };
    let reading = offline::read(&args.paths)?;
    let checked = [(&config, &config_files), (&reading.diagnostics, &reading.files)];
    let errors: usize = checked.iter().map(|(found, _)| found.error_count()).sum();
    match format {
        Format::Table => {
            for (found, files) in checked {
                eprint!("{}", found.render(files, output::is_coloured(&std::io::stderr())));
            }
            let warnings: usize = checked.iter().map(|(found, _)| found.warning_count()).sum();
            if errors > 0 {
                eprintln!(
                    "\n{}, {}: nothing of this would be brought into force",
                    count(errors, "error"),
                    count(warnings, "warning"),
                );
            }
            if let Some(snapshot) = reading.snapshot.as_ref().filter(|_| errors == 0) {
                let staged = snapshot
                    .policies
                    .iter()
                    .filter(|policy| policy.staged.is_some())
                    .count();
                let others: String = [
                    (snapshot.workload_endpoints.len(), "workload endpoint"),
                    (snapshot.service_endpoints.len(), "service endpoint"),
                ]
                .into_iter()
                .filter(|(number, _)| *number > 0)
                .fold(String::new(), |text, (number, thing)| {
                    format!("{text}, {}", count(number, thing))
                });
                output::say(&format!(
                    "valid: {} enforced and {staged} staged policies, {} host endpoints{others}, {} network sets\n",
                    snapshot.policies.len() - staged,
                    snapshot.host_endpoints.len(),
                    snapshot.network_sets.len(),
                ))?;
            }
        }
        Format::Csv => output::rows(format, &records(&checked), &COLUMNS)?,
        Format::Json | Format::Yaml => output::whole(format, &records(&checked))?,
    }
    Ok(if errors == 0 { Exit::Fine } else { Exit::Invalid })
}

/// The columns of problems for spreadsheets.
pub(super) const COLUMNS: [output::Column<Record>; 6] = [
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
];

fn records(checked: &[(&Diagnostics, &Files)]) -> Vec<Record> {
    checked
        .iter()
        .flat_map(|(found, files)| found.records(files))
        .collect()
}

/// `1 error`, `2 errors`.
pub(super) fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
