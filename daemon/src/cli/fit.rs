//! Tables and sentences that fit the terminal.
//!
//! Where there is no room, a table leaves out what is needed least, and cuts long names last. Without a terminal nothing
//! is cut, for the reader may be a program.

use std::io::IsTerminal;

use ratatui::crossterm::terminal;

/// Between two columns.
const GAP: usize = 2;

/// A column of a table that fits.
pub(super) struct Field<T> {
    heading: &'static str,
    cell: fn(&T) -> String,
    right: bool,
    spare: u8,
    least: usize,
    usual: usize,
}

impl<T> Field<T> {
    /// A column that stays, and is cut down to so many characters at worst.
    pub(super) const fn new(heading: &'static str, least: usize, cell: fn(&T) -> String) -> Self {
        Field {
            heading,
            cell,
            right: false,
            spare: 0,
            least,
            usual: least,
        }
    }

    /// Aligned at its right, as numbers are.
    pub(super) const fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// Left out where there is no room: the column with the highest number first.
    pub(super) const fn spare(mut self, spare: u8) -> Self {
        self.spare = spare;
        self
    }

    /// How wide it is where its cells are not known yet.
    pub(super) const fn usual(mut self, usual: usize) -> Self {
        self.usual = usual;
        self
    }
}

/// Which columns there are, and how wide they are.
pub(super) struct Layout<'f, T> {
    columns: Vec<(&'f Field<T>, usize)>,
    /// Whether longer cells are cut.
    cuts: bool,
}

/// How wide the terminal is; `None` if there is none. `COLUMNS` stands for one.
pub(super) fn width() -> Option<usize> {
    if std::io::stdout().is_terminal() {
        let (columns, _) = terminal::size().ok()?;
        return Some(usize::from(columns)).filter(|columns| *columns > 0);
    }
    std::env::var("COLUMNS").ok()?.parse().ok()
}

/// How wide and how high the screen is that is written to, as far as the terminal says.
pub(super) fn screen() -> (usize, usize) {
    let (columns, lines) = terminal::size().unwrap_or((80, 24));
    (usize::from(columns), usize::from(lines))
}

/// Rows as a table with headings, ending in a line break.
pub(super) fn table<T>(rows: &[T], fields: &[Field<T>], width: Option<usize>) -> String {
    let layout = Layout::new(rows, fields, width);
    let lines = rows.iter().map(|row| layout.line(row));
    layout.heading() + &lines.collect::<String>()
}

impl<'f, T> Layout<'f, T> {
    /// The layout that suits these rows.
    pub(super) fn new(rows: &[T], fields: &'f [Field<T>], width: Option<usize>) -> Self {
        let natural = |field: &Field<T>| {
            let cells = rows.iter().map(|row| length(&(field.cell)(row)));
            cells.max().unwrap_or(field.usual).max(length(field.heading))
        };
        // A column that may go and says nothing goes first of all.
        let says = |field: &&Field<T>| {
            let mut cells = rows.iter().map(|row| (field.cell)(row));
            field.spare == 0 || rows.is_empty() || cells.any(|cell| !matches!(cell.as_str(), "" | "-"))
        };
        let telling = fields.iter().filter(says);
        let mut columns: Vec<(&Field<T>, usize)> = telling.map(|field| (field, natural(field))).collect();
        let Some(width) = width else {
            return Layout { columns, cuts: false };
        };
        let least = |(field, natural): &(&Field<T>, usize)| (*natural).min(field.least);
        let total =
            |widths: &mut dyn Iterator<Item = usize>| widths.map(|width| width + GAP).sum::<usize>() - GAP;
        while columns.len() > 1 && total(&mut columns.iter().map(least)) > width {
            let most_spare = (0..columns.len()).max_by_key(|&index| columns[index].0.spare);
            match most_spare.filter(|&index| columns[index].0.spare > 0) {
                Some(index) => columns.remove(index),
                None => break,
            };
        }
        while total(&mut columns.iter().map(|(_, wide)| *wide)) > width {
            let can_give = columns.iter_mut().filter(|(field, wide)| *wide > field.least);
            let Some((_, widest)) = can_give.max_by_key(|(field, wide)| *wide - field.least) else {
                break;
            };
            *widest -= 1;
        }
        Layout { columns, cuts: true }
    }

    /// The line of headings.
    pub(super) fn heading(&self) -> String {
        self.join(|field| field.heading.to_owned())
    }

    /// The line of a row.
    pub(super) fn line(&self, row: &T) -> String {
        self.join(|field| clean(&(field.cell)(row)))
    }

    fn join(&self, cell: impl Fn(&Field<T>) -> String) -> String {
        let cells = self.columns.iter().map(|&(field, width)| {
            let mut text = cell(field);
            if self.cuts {
                text = cut(&text, width);
            }
            if field.right {
                format!("{text:>width$}")
            } else {
                format!("{text:<width$}")
            }
        });
        let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
        line.trim_end().to_owned() + "\n"
    }
}

/// A text in lines, the first after `first`, the others after as many spaces.
pub(super) fn wrap(first: &str, text: &str, width: Option<usize>) -> String {
    let indent = " ".repeat(length(first));
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in clean(text).split_whitespace() {
        let wide = length(&line) + usize::from(!is_empty) + length(word);
        if !is_empty && width.is_some_and(|width| wide > width) {
            lines += line.trim_end();
            lines.push('\n');
            line.clone_from(&indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    lines + line.trim_end() + "\n"
}

/// At most so many characters; what is cut ends in an ellipsis.
pub(super) fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

/// Without what would speak to the terminal: names of processes are their own choice.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { '?' } else { character })
        .collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Column = Field<(&'static str, u32, &'static str)>;

    const FIELDS: [Column; 3] = [
        Column::new("NAME", 6, |row| row.0.to_owned()),
        Column::new("COUNT", 5, |row| row.1.to_string()).right(),
        Column::new("BECAUSE", 8, |row| row.2.to_owned()).spare(1),
    ];

    const ROWS: [(&str, u32, &str); 2] = [("frontend-eth0", 7, "end of tier default"), ("db", 12_345, "web")];

    #[test]
    fn a_table_leaves_out_then_cuts() {
        assert_eq!(
            table(&ROWS, &FIELDS, None),
            "NAME           COUNT  BECAUSE\nfrontend-eth0      7  end of tier default\ndb             12345  web\n"
        );
        assert_eq!(
            table(&ROWS, &FIELDS, Some(30)),
            "NAME        COUNT  BECAUSE\nfrontend-…      7  end of tie…\ndb          12345  web\n"
        );
        assert_eq!(
            table(&ROWS, &FIELDS, Some(18)),
            "NAME         COUNT\nfrontend-e…      7\ndb           12345\n"
        );
    }

    #[test]
    fn a_column_that_says_nothing_is_left_out() {
        assert_eq!(
            table(&[("db", 1, "-")], &FIELDS, None),
            "NAME  COUNT\ndb        1\n"
        );
    }

    #[test]
    fn nothing_speaks_to_the_terminal() {
        let rows = [("\u{1b}[2Jx", 1, "y")];
        assert_eq!(table(&rows, &FIELDS[..1], None), "NAME\n?[2Jx\n");
    }

    #[test]
    fn sentences_are_wrapped_at_words() {
        assert_eq!(
            wrap("  - ", "would deny 8 connections from frontend", Some(24)),
            "  - would deny 8\n    connections from\n    frontend\n"
        );
        assert_eq!(wrap("- ", "all in one line", None), "- all in one line\n");
    }
}
