//! Printing: tables for people, JSON, YAML and CSV for programs.

use std::error::Error;
use std::io::{ErrorKind, IsTerminal, Write};
use std::ops::ControlFlow;

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
        Format::Csv => say(&csv(rows, columns, true)?),
        Format::Json | Format::Yaml => whole(format, &rows),
    }
}

/// As [`rows`], but a table has no column in which every cell says the usual.
pub(super) fn telling_rows<T: Serialize>(
    format: Format,
    all: &[T],
    columns: &[Column<T>],
    usual: &[(&str, &str)],
) -> Result<(), Failure> {
    if format != Format::Table {
        return rows(format, all, columns);
    }
    let tells = |(heading, cell): &&Column<T>| {
        let usual = usual.iter().find(|(column, _)| column == heading);
        usual.is_none_or(|(_, usual)| all.iter().any(|row| cell(row) != *usual))
    };
    let telling: Vec<Column<T>> = columns.iter().filter(tells).copied().collect();
    rows(format, all, &telling)
}

/// Prints a value whole, as JSON or YAML.
pub(super) fn whole<T: Serialize>(format: Format, value: &T) -> Result<(), Failure> {
    match format {
        Format::Yaml => say(&yaml(value)?),
        Format::Csv => Err(Failure::new(
            Exit::Usage,
            "this is no list, and CSV is for lists: use -o json, -o yaml or -o table",
        )),
        Format::Table | Format::Json => {
            let text = serde_json::to_string_pretty(value).map_err(|error| unprintable(&error))?;
            say(&(text + "\n"))
        }
    }
}

/// A value as a YAML document.
pub(super) fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_yaml::to_string(value).map_err(|error| unprintable(&error))
}

/// A value as JSON in one line, without its end.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| unprintable(&error))
}

/// Rows as CSV, with or without headings.
pub(super) fn csv<T>(rows: &[T], columns: &[Column<T>], headings: bool) -> Result<String, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if headings {
        let headings = columns.iter().map(|(heading, _)| heading.to_lowercase());
        writer
            .write_record(headings)
            .map_err(|error| unprintable(&error))?;
    }
    for row in rows {
        let cells = columns.iter().map(|(_, cell)| cell(row));
        writer.write_record(cells).map_err(|error| unprintable(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| unprintable(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unprintable(error: &dyn Error) -> Failure {
    Failure::new(Exit::ApplyFailed, format!("cannot write the answer: {error}"))
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
    say_on(text).map(drop)
}

/// As [`say`], for output that has no end of its own: breaks once nobody reads it any more.
pub(super) fn say_on(text: &str) -> Result<ControlFlow<()>, Failure> {
    bytes_on(text.as_bytes())
}

/// As [`say_on`], for what is no text yet.
pub(super) fn bytes_on(bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
    let mut stdout = std::io::stdout().lock();
    after(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// As [`say`], for what was written to standard output in another way.
pub(super) fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    after(result).map(drop)
}

fn after(result: std::io::Result<()>) -> Result<ControlFlow<()>, Failure> {
    match result {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::new(
            Exit::ApplyFailed,
            format!("cannot write to standard output: {error}"),
        )),
    }
}

/// Whether what is written there may have colours.
pub(super) fn is_coloured(to: &impl IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
