//! Flow records from files: those of the daemon, rotated and compressed ones among them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;

use crate::cli::Failure;
use crate::exit::Exit;
use crate::flows::record::{FlowRecord, Record};

/// What a file said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Flow records.
    pub(super) flows: usize,
    /// Lines that are no record.
    pub(super) unreadable: usize,
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

/// Hands out the flow records of a file, until it is told to stop. A line that cannot be read is counted; one without an
/// end is still being written.
pub(super) fn read(
    path: &Path,
    mut record: impl FnMut(Arc<FlowRecord>) -> Result<ControlFlow<()>, Failure>,
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
            Ok(Record::Flow(flow)) => {
                said.flows += 1;
                if record(Arc::from(flow))?.is_break() {
                    return Ok((said, ControlFlow::Break(())));
                }
            }
            Ok(Record::Rule(_) | Record::Interval(_)) => {}
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
