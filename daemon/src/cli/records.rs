//! Flow records from files: those of the daemon, rotated and compressed ones among them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;

use super::Failure;
use crate::exit::Exit;
use crate::flows::record::Record;

/// What a file said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Flow records.
    pub(super) flows: usize,
    /// Lines that are no record.
    pub(super) unreadable: usize,
}

impl Said {
    /// What of a file was left out, if anything was.
    pub(super) fn remark(self, file: &Path) -> Option<String> {
        (self.unreadable > 0).then(|| {
            format!(
                "{} lines of {} are no records and were left out",
                self.unreadable,
                file.display()
            )
        })
    }
}

/// The files that are meant, oldest first: a directory stands for the files in it whose name has `.jsonl` in it.
pub(super) fn meant(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let found: io::Result<Vec<(SystemTime, PathBuf)>> = fs::read_dir(path)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .and_then(|entries| {
                let logs = entries
                    .iter()
                    .filter(|entry| entry.file_name().to_string_lossy().contains(".jsonl"));
                logs.map(|entry| Ok((entry.metadata()?.modified()?, entry.path())))
                    .collect()
            });
        let mut found = found.map_err(|error| unreadable(path, &error))?;
        if found.is_empty() {
            return Err(Failure::new(
                Exit::Usage,
                format!("{} holds no file with .jsonl in its name", path.display()),
            ));
        }
        found.sort();
        files.extend(found.into_iter().map(|(_, file)| file));
    }
    Ok(files)
}

/// Hands out the records of a file, until it is told to stop. A line that cannot be read is counted; one without an
/// end is still being written.
pub(super) fn read(
    path: &Path,
    mut record: impl FnMut(Record) -> Result<ControlFlow<()>, Failure>,
) -> Result<(Said, ControlFlow<()>), Failure> {
    let mut lines = open(path).map_err(|error| unreadable(path, &error))?;
    let mut said = Said::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = lines
            .read_until(b'\n', &mut line)
            .map_err(|error| unreadable(path, &error))?;
        if length == 0 || !line.ends_with(b"\n") {
            return Ok((said, ControlFlow::Continue(())));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(read) => {
                said.flows += usize::from(matches!(read, Record::Flow(_)));
                if record(read)?.is_break() {
                    return Ok((said, ControlFlow::Break(())));
                }
            }
            Err(_) => said.unreadable += 1,
        }
    }
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file = File::open(path)?;
    let bytes: Box<dyn Read> = if path.extension() == Some(OsStr::new("gz")) {
        Box::new(MultiGzDecoder::new(BufReader::new(file)))
    } else {
        Box::new(file)
    };
    Ok(Box::new(BufReader::new(bytes)))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_directory_is_all_its_records_compressed_ones_among_them() {
        let directory = tempfile::tempdir().unwrap();
        let status = json!({"complete": true, "lost": 0, "unreadable": 0, "folded": 0, "accounting": false, "ends_lost": 0, "ends_unknown": 0});
        let interval = |generation: u64| {
            let record = json!({
                "type": "interval", "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:01:00Z", "generation": generation,
                "flows": 0, "folded_flows": 0, "evaluated": 0, "sampled": 0, "counted": 0, "evaluated_total": 0, "counted_total": 0,
                "suppressed": 0, "suppressed_evaluated": 0, "missed_total": 0, "log_status": status,
            });
            format!("{record}\n")
        };
        let rotated = directory.path().join("flows.jsonl.1.gz");
        let mut compressed = GzEncoder::new(File::create(&rotated).unwrap(), Compression::fast());
        compressed.write_all(interval(1).as_bytes()).unwrap();
        compressed.finish().unwrap();
        let current = directory.path().join("flows.jsonl");
        fs::write(&current, interval(2) + "no record\n" + "{\"type\": \"inter").unwrap();
        fs::write(directory.path().join("other"), "not meant\n").unwrap();

        let mut files = meant(&[directory.path().to_owned()]).unwrap();
        files.sort();
        assert_eq!(files, [current.clone(), rotated]);
        let mut generations = Vec::new();
        let mut remarks = Vec::new();
        for file in &files {
            let (said, _) = read(file, |record| {
                if let Record::Interval(interval) = record {
                    generations.push(interval.generation);
                }
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            remarks.extend(said.remark(file));
        }
        assert_eq!(generations, [2, 1]);
        let remark = format!(
            "1 lines of {} are no records and were left out",
            current.display()
        );
        assert_eq!(remarks, [remark]);
    }
}
