//! Source files and places in them.

use std::fmt;
use std::sync::Arc;

/// A file in a [`Files`] collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(u32);

/// A stretch of one file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A place a person can go to: `file:line:column`, both counted from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file's name as it was given.
    pub file: Arc<str>,
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Every file that was read, with its text, so that any [`Span`] can be shown.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: Vec<File>,
}

#[derive(Clone, Debug)]
struct File {
    name: Arc<str>,
    text: Arc<str>,
    line_starts: Vec<usize>,
}

impl Files {
    /// Adds a file and says under which id its spans go.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> FileId {
        let text = text.into();
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(index, _)| index + 1))
            .collect();
        self.files.push(File {
            name: name.into(),
            text,
            line_starts,
        });
        FileId(
            u32::try_from(self.files.len() - 1)
                .expect("fewer than 2^32 files: each holds a descriptor's worth of text"),
        )
    }

    /// The name the file was added under.
    pub fn name(&self, id: FileId) -> &Arc<str> {
        &self.file(id).name
    }

    /// The whole text of the file.
    pub fn text(&self, id: FileId) -> &Arc<str> {
        &self.file(id).text
    }

    /// Where a span begins.
    pub fn position(&self, span: Span) -> Position {
        let file = self.file(span.file);
        let start = span.start.min(file.text.len());
        let line = file
            .line_starts
            .partition_point(|&line_start| line_start <= start);
        let line_start = file.line_starts[line - 1];
        let column = file
            .text
            .get(line_start..start)
            .map_or(0, |before| before.chars().count())
            + 1;
        Position {
            file: Arc::clone(&file.name),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    fn file(&self, id: FileId) -> &File {
        &self.files[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let mut files = Files::default();
        let file = files.add("a.yaml", "first\nzweité: x\n");
        let at = |start| {
            files
                .position(Span {
                    file,
                    start,
                    end: start,
                })
                .to_string()
        };
        assert_eq!(at(0), "a.yaml:1:1");
        assert_eq!(at(6), "a.yaml:2:1");
        assert_eq!(at(15), "a.yaml:2:9");
        assert_eq!(at(17), "a.yaml:3:1");
    }
}
