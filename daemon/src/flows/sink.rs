//! The file that records go to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::record::Record;

/// A JSON Lines file. It is opened again when it was moved away, so that logrotate needs no help.
pub struct FileSink {
    path: PathBuf,
    file: Option<File>,
}

impl FileSink {
    /// A sink that opens its file with the first record.
    pub fn new(path: PathBuf) -> Self {
        FileSink { path, file: None }
    }

    /// Appends records, all of them or, on an error, perhaps the first few; then the file is opened anew the next time.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        let result = self.open().and_then(|mut file| file.write_all(&lines));
        if result.is_err() {
            self.file = None;
        }
        result
    }

    fn open(&mut self) -> io::Result<&File> {
        let is_current = |file: &File| {
            let (open, there) = (file.metadata()?, std::fs::metadata(&self.path)?);
            io::Result::Ok(open.ino() == there.ino() && open.dev() == there.dev())
        };
        let file = match self.file.take() {
            Some(file) if is_current(&file).unwrap_or(false) => file,
            _ => OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o640)
                .open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }
}
