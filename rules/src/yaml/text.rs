//! From the bytes of a file to text.

use std::sync::Arc;

use super::MAX_BYTES;
use crate::diagnostic::Diagnostic;
use crate::source::{File, FileId, Files, Span};

/// Why bytes are not text that palisade reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// The byte at this offset does not belong to UTF-8.
    #[error("line {line} holds a byte that is not UTF-8: save the file as UTF-8")]
    Utf8 {
        /// Its offset.
        offset: usize,
        /// Its line, from 1.
        line: usize,
    },
    /// There is a NUL at this offset.
    #[error("line {line} holds a NUL byte: this is not a text file, or it is damaged")]
    Nul {
        /// Its offset.
        offset: usize,
        /// Its line, from 1.
        line: usize,
    },
    /// The file has more than [`MAX_BYTES`].
    #[error("the file has {bytes} bytes, and {MAX_BYTES} are the most that palisade reads: split it")]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
}

/// The text of a file, if it is text.
pub fn text(bytes: &[u8]) -> Result<&str, NotText> {
    if bytes.len() > MAX_BYTES {
        return Err(NotText::TooLarge { bytes: bytes.len() });
    }
    let line = |offset: usize| bytes[..offset].split(|&byte| byte == b'\n').count();
    let text = str::from_utf8(bytes).map_err(|error| NotText::Utf8 {
        offset: error.valid_up_to(),
        line: line(error.valid_up_to()),
    })?;
    match text.find('\0') {
        Some(offset) => Err(NotText::Nul {
            offset,
            line: line(offset),
        }),
        None => Ok(text),
    }
}

/// A file of these bytes. If they are not text, it has what can be shown of them; [`problem`] says what is wrong.
pub fn file(name: impl Into<Arc<str>>, bytes: &[u8]) -> File {
    match text(bytes) {
        Ok(text) => File::new(name, text),
        Err(why @ NotText::TooLarge { .. }) => File::not_text(name, "", why),
        Err(why) => File::not_text(name, String::from_utf8_lossy(bytes).as_ref(), why),
    }
}

/// What is wrong with a file whose bytes are not text, pointing into what is shown of it.
pub fn problem(files: &Files, file: FileId) -> Option<Diagnostic> {
    let problem = files.get(file).why_not_text()?;
    let (code, offset, label) = match problem {
        NotText::Utf8 { offset, .. } => ("not-utf8", offset, "from here"),
        NotText::Nul { offset, .. } => ("nul-byte", offset, "here"),
        NotText::TooLarge { .. } => ("too-large", 0, ""),
    };
    // What comes before the offset is valid, so the offset is the same in the shown text.
    let first = files.text(file)[offset..].chars().next();
    let span = Span {
        file,
        start: offset,
        end: offset + first.map_or(0, char::len_utf8),
    };
    Some(Diagnostic::error(code, problem.to_string()).at(span, label))
}

/// Adds a file to `files`. If it is not text, what can be shown of it is added all the same, and the error
/// points into that.
pub fn add(files: &mut Files, name: impl Into<Arc<str>>, bytes: &[u8]) -> Result<FileId, Box<Diagnostic>> {
    let id = files.push(Arc::new(file(name, bytes)));
    problem(files, id).map_or(Ok(id), |problem| Err(Box::new(problem)))
}
