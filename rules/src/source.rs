//! Source files and places in them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::yaml::NotText;

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
    files: Vec<Arc<File>>,
}

/// A file with its text. Where its lines begin is found out when somebody asks.
#[derive(Clone, Debug)]
pub struct File {
    name: Arc<str>,
    text: Arc<str>,
    not_text: Option<NotText>,
    index: OnceLock<Index>,
}

#[derive(Clone, Debug)]
struct Index {
    line_starts: Box<[usize]>,
    /// Characters before each [`STRIDE`] bytes, so that a column on a line of many megabytes costs no more
    /// than on a short one. Empty for a file that is all ASCII, where a byte is a character.
    characters: Box<[usize]>,
}

/// Bytes between two entries of [`Index::characters`].
const STRIDE: usize = 1024;

impl File {
    /// A file of this text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        File {
            name: name.into(),
            text: text.into(),
            not_text: None,
            index: OnceLock::new(),
        }
    }

    /// A file whose bytes are not text, with what can be shown of them.
    pub(crate) fn not_text(name: impl Into<Arc<str>>, shown: impl Into<Arc<str>>, why: NotText) -> Self {
        File {
            not_text: Some(why),
            ..File::new(name, shown)
        }
    }

    /// The name it was given.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its text, or what can be shown of it.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Why its bytes are not text, if they are not.
    pub fn why_not_text(&self) -> Option<NotText> {
        self.not_text
    }

    /// Whether two files have one name and one text.
    pub fn is_same(&self, other: &File) -> bool {
        self.name == other.name && self.text == other.text && self.not_text == other.not_text
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(&self.text))
    }

    /// How many characters begin before this byte.
    fn characters_before(&self, byte: usize) -> usize {
        let characters = &self.index().characters;
        if characters.is_empty() {
            return byte;
        }
        let stride = (byte / STRIDE).min(characters.len() - 1);
        let bytes = &self.text.as_bytes()[stride * STRIDE..byte];
        characters[stride] + count_characters(bytes)
    }

    /// Where the character of this index begins, or the end of the text.
    fn byte_of(&self, character: usize) -> usize {
        let characters = &self.index().characters;
        if characters.is_empty() {
            return character.min(self.text.len());
        }
        let stride = characters.partition_point(|&before| before <= character) - 1;
        self.byte_behind(stride * STRIDE, character - characters[stride])
    }

    /// As [`File::byte_of`], counted from a character nearby whose byte is known.
    fn byte_of_near(&self, character: usize, known: (usize, usize)) -> usize {
        match character.checked_sub(known.0) {
            Some(further) if further < STRIDE && !self.index().characters.is_empty() => {
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

impl Index {
    fn of(text: &str) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(index, _)| index + 1))
            .collect();
        let mut before = 0;
        let counted = text.as_bytes().chunks(STRIDE).map(|chunk| {
            let start = before;
            before += count_characters(chunk);
            start
        });
        Index {
            line_starts,
            characters: if text.is_ascii() {
                Box::default()
            } else {
                counted.collect()
            },
        }
    }
}

impl FileId {
    /// The file of this index in a [`Files`] collection.
    pub(crate) fn of(index: usize) -> Self {
        FileId(u32::try_from(index).expect("2^32 files do not fit into memory"))
    }

    /// Its index in its [`Files`] collection.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Files {
    /// These files, in this order.
    pub fn of(files: Vec<Arc<File>>) -> Self {
        Files { files }
    }

    /// Adds a file and says under which id its spans go.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> FileId {
        self.push(Arc::new(File::new(name, text)))
    }

    /// As [`Files::add`], of a file that is shared.
    pub fn push(&mut self, file: Arc<File>) -> FileId {
        self.files.push(file);
        FileId::of(self.files.len() - 1)
    }

    /// The ids of all files, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = FileId> + use<> {
        (0..self.files.len()).map(FileId::of)
    }

    /// A file, to be shared.
    pub fn get(&self, id: FileId) -> &Arc<File> {
        &self.files[id.index()]
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
        let line_starts = &file.index().line_starts;
        let line = line_starts.partition_point(|&line_start| line_start <= start);
        let line_start = line_starts[line - 1];
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
        let line_starts = &file.index().line_starts;
        let line = line_starts.partition_point(|&line_start| line_start <= byte);
        let start = line_starts[line - 1];
        let end = line_starts.get(line).map_or(file.text.len(), |next| next - 1);
        start..end
    }

    fn file(&self, id: FileId) -> &File {
        &self.files[id.index()]
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
