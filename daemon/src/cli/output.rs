//! Printing: tables for people, JSON, YAML and CSV for programs.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use super::Failure;
use super::args::Format;
use crate::exit::Exit;

/// A column of a table: its heading, and the cell of a row.
pub(super) type Column<T> = (&'static str, fn(&T) -> String);

/// Prints rows: the columns as a table or CSV, the rows whole as JSON or YAML.
pub(super) fn rows<T: Serialize>(format: Format, rows: &[T], columns: &[Column<T>]) -> Result<(), Failure> {
    match format {
        Format::Table => say(&table(rows, columns)),
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            let broken = |error| Failure::new(Exit::ApplyFailed, format!("cannot write CSV: {error}"));
            writer
                .write_record(columns.iter().map(|(heading, _)| heading.to_lowercase()))
                .map_err(broken)?;
            for row in rows {
                writer
                    .write_record(columns.iter().map(|(_, cell)| cell(row)))
                    .map_err(broken)?;
            }
            let bytes = writer
                .into_inner()
                .map_err(|error| Failure::new(Exit::ApplyFailed, format!("cannot write CSV: {error}")))?;
            say(&String::from_utf8_lossy(&bytes))
        }
        Format::Json | Format::Yaml => whole(format, &rows),
    }
}

/// Prints a value whole, as JSON or YAML.
pub(super) fn whole<T: Serialize>(format: Format, value: &T) -> Result<(), Failure> {
    let broken = |error: String| Failure::new(Exit::ApplyFailed, format!("cannot write the answer: {error}"));
    match format {
        Format::Yaml => say(&serde_yaml::to_string(value).map_err(|error| broken(error.to_string()))?),
        _ => say(&(serde_json::to_string_pretty(value).map_err(|error| broken(error.to_string()))? + "\n")),
    }
}

/// Rows as an aligned table with headings, ending in a line break.
pub(super) fn table<T>(rows: &[T], columns: &[Column<T>]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for row in rows {
        table.add_row(columns.iter().map(|(_, cell)| cell(row)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt() + "\n"
}

/// Prints text to standard output. A reader that has seen enough (`| head`) is no failure.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::ApplyFailed,
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}
