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
    /// Characters before each [`STRIDE`] bytes, so that a column on a line of many megabytes costs no more
    /// than on a short one. Empty for a file that is all ASCII, where a byte is a character.
    characters: Vec<usize>,
}

/// Bytes between two entries of [`File::characters`].
const STRIDE: usize = 1024;

impl File {
    /// How many characters begin before this byte.
    fn characters_before(&self, byte: usize) -> usize {
        if self.characters.is_empty() {
            return byte;
        }
        let stride = (byte / STRIDE).min(self.characters.len() - 1);
        let bytes = &self.text.as_bytes()[stride * STRIDE..byte];
        self.characters[stride] + count_characters(bytes)
    }

    /// Where the character of this index begins, or the end of the text.
    fn byte_of(&self, character: usize) -> usize {
        if self.characters.is_empty() {
            return character.min(self.text.len());
        }
        let stride = self.characters.partition_point(|&before| before <= character) - 1;
        self.byte_behind(stride * STRIDE, character - self.characters[stride])
    }

    /// As [`File::byte_of`], counted from a character nearby whose byte is known.
    fn byte_of_near(&self, character: usize, known: (usize, usize)) -> usize {
        match character.checked_sub(known.0) {
            Some(further) if further < STRIDE && !self.characters.is_empty() => {
                self.byte_behind(known.1, further)
            }
            _ => self.byte_of(character),
        }
    }

    /// Where the character begins that has so many between `start` and itself, or the end of the text.
    fn byte_behind(&self, start: usize, characters: usize) -> usize {
        self.text.as_bytes()[start..]
            .iter()
            .enumerate()
            .filter(|&(_, &byte)| begins_character(byte))
            .nth(characters)
            .map_or(self.text.len(), |(offset, _)| start + offset)
    }
}

fn begins_character(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

fn count_characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| begins_character(byte)).count()
}

impl Files {
    /// Adds a file and says under which id its spans go.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> FileId {
        let text = text.into();
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(index, _)| index + 1))
            .collect();
        let characters = if text.is_ascii() {
            Vec::new()
        } else {
            let mut before = 0;
            let counted = text.as_bytes().chunks(STRIDE).map(|chunk| {
                let start = before;
                before += count_characters(chunk);
                start
            });
            counted.collect()
        };
        self.files.push(File {
            name: name.into(),
            text,
            line_starts,
            characters,
        });
        FileId(u32::try_from(self.files.len() - 1).expect("2^32 files do not fit into memory"))
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
        let column = file.characters_before(start) - file.characters_before(line_start) + 1;
        Position {
            file: Arc::clone(&file.name),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    /// The byte at which a character begins, counted from 0; the end of the text when it has fewer.
    pub fn byte_of_character(&self, id: FileId, character: usize) -> usize {
        self.file(id).byte_of(character)
    }

    /// As [`Files::byte_of_character`], at little cost close behind a character that is `known` with its byte.
    pub(crate) fn byte_of_character_near(
        &self,
        id: FileId,
        character: usize,
        known: (usize, usize),
    ) -> usize {
        self.file(id).byte_of_near(character, known)
    }

    /// The bytes of the line that holds this byte, without its line break.
    pub fn line(&self, id: FileId, byte: usize) -> std::ops::Range<usize> {
        let file = self.file(id);
        let line = file.line_starts.partition_point(|&line_start| line_start <= byte);
        let start = file.line_starts[line - 1];
        let end = file
            .line_starts
            .get(line)
            .map_or(file.text.len(), |next| next - 1);
        start..end
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

    #[test]
    fn characters_and_bytes_agree_over_many_strides() {
        for unit in ["ascii only ", "é€😀 "] {
            let mut files = Files::default();
            let text = unit.repeat(2_000);
            let file = files.add("a", text.as_str());
            let places: Vec<usize> = text.char_indices().map(|(byte, _)| byte).collect();
            for (character, &byte) in places.iter().enumerate() {
                assert_eq!(files.byte_of_character(file, character), byte);
                for known in [
                    character,
                    character.saturating_sub(7),
                    character / 2,
                    places.len() - 1,
                ] {
                    let near = files.byte_of_character_near(file, character, (known, places[known]));
                    assert_eq!(near, byte);
                }
                assert_eq!(files.file(file).characters_before(byte), character);
            }
            assert_eq!(files.byte_of_character(file, usize::MAX), text.len());
            assert_eq!(files.line(file, 5), 0..text.len());
        }
    }
}
