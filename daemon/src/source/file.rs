//! One file that was read.

use std::sync::{Arc, OnceLock};

use palisade_rules::source::File;
use palisade_rules::yaml;
use sha2::{Digest, Sha256};

/// A file that was read, with its bytes. Clones share them, and can be told by that to be the same file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    file: Arc<File>,
    rest: Arc<Rest>,
}

#[derive(Debug)]
struct Rest {
    /// The bytes, where they are not the text.
    raw: Option<Box<[u8]>>,
    sha256: OnceLock<Arc<str>>,
}

impl SourceFile {
    /// A file of these bytes; `name` is what diagnostics call it.
    pub fn new(name: impl Into<Arc<str>>, bytes: &[u8]) -> Self {
        let file = yaml::file(name, bytes);
        let is_text = file.text().as_bytes() == bytes;
        SourceFile {
            file: Arc::new(file),
            rest: Arc::new(Rest {
                raw: (!is_text).then(|| bytes.into()),
                sha256: OnceLock::new(),
            }),
        }
    }

    /// What diagnostics call it.
    pub fn name(&self) -> &str {
        self.file.name()
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        let text = || self.file.text().as_bytes();
        self.rest.raw.as_deref().unwrap_or_else(text)
    }

    /// The same as text, or what can be shown of it.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The SHA-256 of its bytes, in hexadecimal digits. It is worked out once.
    pub fn sha256(&self) -> &Arc<str> {
        let sum = || Arc::from(sha256(self.bytes()));
        self.rest.sha256.get_or_init(sum)
    }

    /// Whether they share what they hold: much cheaper than to compare it, but what is equal need not be shared.
    pub fn is_shared_with(&self, other: &SourceFile) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl PartialEq for SourceFile {
    fn eq(&self, other: &Self) -> bool {
        self.is_shared_with(other) || self.name() == other.name() && self.bytes() == other.bytes()
    }
}

impl Eq for SourceFile {}

/// The SHA-256 of these bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let sum = Sha256::digest(bytes);
    let digits = sum.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}
