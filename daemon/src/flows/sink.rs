//! The file that records go to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::Record;

/// A JSON Lines file. It is opened again when it was moved away, so that logrotate needs no help.
pub struct FileSink {
    path: PathBuf,
    file: Option<File>,
}

impl FileSink {
    /// A sink that opens its file, and makes its directory if need be, with the first record.
    pub fn new(path: PathBuf) -> Self {
        FileSink { path, file: None }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends records, all of them or, on an error, none; then the file is opened anew the next time.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        let result = self.open().and_then(|file| write_whole(file, &lines));
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
            _ => {
                if let Some(directory) = self.path.parent() {
                    std::fs::create_dir_all(directory)?;
                }
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .mode(0o640)
                    .open(&self.path)?
            }
        };
        Ok(self.file.insert(file))
    }
}

/// Writes all or nothing: half a line would spoil the next one too.
fn write_whole(mut file: &File, lines: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(lines).inspect_err(|_| {
        // Not a file that somebody has cut meanwhile, nor a pipe; and if this fails as well, there is nothing left to try.
        if file
            .metadata()
            .is_ok_and(|now| now.is_file() && now.len() > before)
        {
            let _ = file.set_len(before);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::record::{CounterRow, RuleRecord};
    use time::OffsetDateTime;

    fn record(counter: &str) -> Record {
        let counter = CounterRow {
            counter: counter.to_owned(),
            world: "enforced".to_owned(),
            direction: "ingress".to_owned(),
            stage: "normal".to_owned(),
            tier: String::new(),
            kind: "Invalid".to_owned(),
            namespace: None,
            name: String::new(),
            rule_index: -1,
            rule_name: None,
            action: "Deny".to_owned(),
            without_safety_net: false,
            packets_total: 0,
            bytes_total: 0,
        };
        Record::Rule(Box::new(RuleRecord {
            start_time: OffsetDateTime::UNIX_EPOCH,
            end_time: OffsetDateTime::UNIX_EPOCH,
            counter,
            packets_delta: 0,
            bytes_delta: 0,
        }))
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log/flows.jsonl");
        let mut sink = FileSink::new(path.clone());
        sink.append(&[record("a"), record("b")]).unwrap();
        let moved = path.with_extension("1");
        std::fs::rename(&path, &moved).unwrap();
        sink.append(&[record("c")]).unwrap();
        let read = |path: &Path| -> Vec<Record> {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        assert_eq!(read(&moved), [record("a"), record("b")]);
        assert_eq!(read(&path), [record("c")]);
    }
}
