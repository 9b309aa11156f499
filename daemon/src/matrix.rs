//! The matrix in every form in which it is printed, the same by the daemon and by the command line.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};
use palisade_rules::analysis::picture::{dot, html, svg};
use palisade_rules::analysis::{Cell, Line, Matrix, QueryError, Shown, TooLarge, View};
use palisade_rules::world::{WorldKind, Worlds};
use serde::{Deserialize, Serialize};

/// `POST /v1/matrix`: what is to be printed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// How.
    pub form: Form,
    /// Only connections from these; from everywhere if there are none.
    #[serde(default)]
    pub from: Vec<String>,
    /// Only connections to these; to everywhere if there are none.
    #[serde(default)]
    pub to: Vec<String>,
    /// Only in this world.
    #[serde(default)]
    pub world: Option<OneWorld>,
}

/// How the matrix is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// For reading.
    Table,
    /// For programs.
    Json,
    /// For spreadsheets: a row for each pair, view and protocol.
    Csv,
    /// A page for the browser.
    Html,
    /// An image.
    Svg,
    /// A graph for Graphviz.
    Dot,
}

/// One of the two worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OneWorld {
    /// What is in force.
    Enforced,
    /// What would be, with everything staged promoted.
    Pending,
}

/// Why there is no matrix.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// A name in the question.
    #[error(transparent)]
    Name(#[from] QueryError),
    /// More than anybody could read.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// A part of a picture.
    #[error("a picture shows everything: --from, --to and --world are for table, json, yaml and csv")]
    Part,
    /// It cannot be written where it should be.
    #[error("cannot write the matrix: {0}")]
    Write(#[from] io::Error),
}

impl From<OneWorld> for WorldKind {
    fn from(world: OneWorld) -> Self {
        match world {
            OneWorld::Enforced => WorldKind::Enforced,
            OneWorld::Pending => WorldKind::Pending,
        }
    }
}

/// How wide a table is.
const WIDTH: u16 = 100;

/// How many names a cell of a table shows before it says how many more there are.
const NAMES: usize = 6;

/// Writes the matrix of these worlds. Nothing is written before the question is known to have an answer.
pub fn write(
    worlds: &Worlds,
    question: &Question,
    title: &str,
    out: &mut impl Write,
) -> Result<(), MatrixError> {
    let mut matrix = Matrix::new(worlds);
    let shown = matrix.shown(&question.from, &question.to, question.world.map(WorldKind::from))?;
    let is_part = !question.from.is_empty() || !question.to.is_empty() || question.world.is_some();
    match question.form {
        Form::Html | Form::Svg | Form::Dot if is_part => return Err(MatrixError::Part),
        Form::Table => out.write_all(table(&mut matrix, &shown)?.as_bytes())?,
        Form::Json => json(&mut matrix, &shown, out)?,
        Form::Csv => csv(&mut matrix, &shown, out)?,
        Form::Html => out.write_all(html(&mut matrix, title)?.as_bytes())?,
        Form::Svg => out.write_all(svg(&mut matrix)?.as_bytes())?,
        Form::Dot => out.write_all(dot(&mut matrix)?.as_bytes())?,
    }
    Ok(out.flush()?)
}

/// Text written to a stream of bytes, which keeps the reason if that fails.
struct Text<'a, W> {
    out: &'a mut W,
    error: Option<io::Error>,
}

impl<W: Write> fmt::Write for Text<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}

fn json(matrix: &mut Matrix<'_>, shown: &Shown, out: &mut impl Write) -> io::Result<()> {
    let mut text = Text { out, error: None };
    let written = matrix.write_json(shown, &mut text);
    if let Some(error) = text.error {
        return Err(error);
    }
    written.map_err(io::Error::other)?;
    out.write_all(b"\n")
}

fn csv(matrix: &mut Matrix<'_>, shown: &Shown, out: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record([
        "from",
        "to",
        "world",
        "without_safety_net",
        "protocol",
        "ports",
        "addresses",
    ])?;
    let mut known: BTreeMap<Cell, Vec<[String; 5]>> = BTreeMap::new();
    matrix.each(shown, |matrix, [from, to], cell| -> io::Result<()> {
        let rows = known.entry(cell).or_insert_with(|| csv_rows(matrix, shown, cell));
        let [from, to] = [from, to].map(|node| &matrix.nodes()[node].name);
        for row in rows {
            writer.write_record([from, to].into_iter().chain(row.iter()))?;
        }
        Ok(())
    })?;
    writer.flush()
}

/// What stands behind the names, for each view and protocol.
fn csv_rows(matrix: &Matrix<'_>, shown: &Shown, cell: Cell) -> Vec<[String; 5]> {
    let mut rows = Vec::new();
    for &view in &shown.views {
        let reach = matrix.reach(cell, view);
        let only_some = reach.some.minus(reach.all);
        for (traffic, addresses) in [(reach.all, "all"), (&only_some, "some")] {
            for allowed in matrix.protocols().allowed(traffic) {
                let ranges = allowed.ports.unwrap_or_default();
                let ranges: Vec<String> = ranges.iter().map(|&range| ports(range)).collect();
                rows.push([
                    view.world.as_str().to_owned(),
                    view.without_safety_net.to_string(),
                    allowed.protocol,
                    ranges.join(" "),
                    addresses.to_owned(),
                ]);
            }
        }
    }
    rows
}

fn ports([first, last]: [u16; 2]) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

fn table(matrix: &mut Matrix<'_>, shown: &Shown) -> Result<String, TooLarge> {
    let lines = matrix.summary(shown)?;
    if lines.is_empty() {
        return Ok("nothing is allowed\n".to_owned());
    }
    let columns = columns(matrix, shown, &lines);
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH);
    let titles = columns.iter().map(|column| column.title.clone());
    table.set_header(["FROM".to_owned(), "TO".to_owned()].into_iter().chain(titles));
    for (index, line) in lines.iter().enumerate() {
        let to = if line.to.is_empty() {
            "itself".to_owned()
        } else {
            names(matrix, &line.to)
        };
        let said = columns.iter().map(|column| column.cells[index].clone());
        table.add_row([names(matrix, &line.from), to].into_iter().chain(said));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index < 2 {
            column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(26)));
        }
    }
    let mut text = table.trim_fmt() + "\n";
    text += "\nWhat is not listed is not allowed.\n";
    if shown.views.iter().any(|view| view.without_safety_net) && matrix.has_safety_net() {
        text += "The net is the safety net: what it alone allows is denied once it is removed.\n";
    }
    for note in matrix.notes() {
        text += &format!("note: {note}\n");
    }
    Ok(text)
}

/// Views that say the same on every line.
struct Column {
    views: Vec<View>,
    title: String,
    cells: Vec<String>,
}

/// A column for each view that says something of its own. Where the pending world says what the enforced one does, that is
/// said.
fn columns(matrix: &Matrix<'_>, shown: &Shown, lines: &[Line]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for &view in &shown.views {
        let cells: Vec<String> = lines.iter().map(|line| words(matrix, line.cell, view)).collect();
        match columns.iter_mut().find(|column| column.cells == cells) {
            Some(column) => column.views.push(view),
            None => columns.push(Column {
                views: vec![view],
                title: String::new(),
                cells,
            }),
        }
    }
    let titles: Vec<String> = columns
        .iter()
        .map(|column| heading(column, columns.len(), matrix.has_safety_net()))
        .collect();
    let of = |columns: &[Column], view: View| columns.iter().position(|column| column.views.contains(&view));
    for without_safety_net in [true, false] {
        let [enforced, pending] =
            WorldKind::BOTH.map(|world| of(&columns, View::of(world, without_safety_net)));
        if let (Some(enforced), Some(pending)) = (enforced, pending)
            && enforced != pending
        {
            let before = columns[enforced].cells.clone();
            for (cell, before) in columns[pending].cells.iter_mut().zip(before) {
                if *cell == before {
                    "the same".clone_into(cell);
                }
            }
        }
    }
    for (column, title) in columns.iter_mut().zip(titles) {
        column.title = title;
    }
    columns.sort_by_key(|column| {
        let first = column.views[0];
        (first.without_safety_net, first.world)
    });
    columns
}

fn heading(column: &Column, of: usize, has_safety_net: bool) -> String {
    if of == 1 {
        return "ALLOWED".to_owned();
    }
    let has = |without| {
        let mut views = column.views.iter();
        let world = |world| View::of(world, without);
        let all: Vec<View> = views.by_ref().copied().collect();
        WorldKind::BOTH.map(|kind| all.contains(&world(kind)))
    };
    let worlds = |[enforced, pending]: [bool; 2]| match (enforced, pending) {
        (true, true) => Some("BOTH WORLDS"),
        (true, false) => Some("ENFORCED"),
        (false, true) => Some("PENDING"),
        (false, false) => None,
    };
    let (with, without) = (worlds(has(false)), worlds(has(true)));
    match (with, without) {
        (Some(with), Some(without)) if with == without => with.to_owned(),
        (Some(with), Some(without)) if has_safety_net => format!("{with}, AND {without} WITHOUT THE NET"),
        (Some(with), _) => with.to_owned(),
        (None, Some(without)) => format!("{without} WITHOUT THE NET"),
        (None, None) => String::new(),
    }
}

fn words(matrix: &Matrix<'_>, cell: Cell, view: View) -> String {
    let reach = matrix.reach(cell, view);
    let protocols = matrix.protocols();
    let mut words = protocols.describe(reach.all);
    if reach.some != reach.all {
        words += "; from or to some addresses ";
        words += &protocols.describe(&reach.some.minus(reach.all));
    }
    words
}

fn names(matrix: &Matrix<'_>, nodes: &[usize]) -> String {
    let name = |&node: &usize| matrix.nodes()[node].name.as_str();
    let mut names: Vec<&str> = nodes.iter().take(NAMES).map(name).collect();
    let more = format!("and {} more", nodes.len().saturating_sub(NAMES));
    if nodes.len() > NAMES {
        names.push(&more);
    }
    names.join(" ")
}
