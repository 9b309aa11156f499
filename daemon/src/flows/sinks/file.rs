//! The file that records go to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

use time::OffsetDateTime;

use super::budget::{self, Budget, Room};
use super::part::{Line, Part, push_line};
use super::rotate::Rotation;
use super::stdout::write_stream;
use super::stream::Stream;
use super::{Outcome, Sink};
use crate::config::RotateConfig;

/// A JSON Lines file. It is opened again when it was moved away, so that logrotate needs no help. It may be a FIFO.
pub(super) struct FileSink {
    path: PathBuf,
    file: Option<File>,
    stream: Stream,
    rotation: Rotation,
    /// What is full now and not yet compressed, nor the oldest removed; so are those that an earlier daemon left.
    untidy: bool,
    bytes_per_day: Option<u64>,
    budget: Option<Budget>,
}

/// The lines of a part.
struct Lines {
    bytes: Vec<u8>,
    /// Records among them.
    records: u64,
    /// Records of the part for which there is no room.
    dropped: u64,
}

impl FileSink {
    /// A sink that opens its file, and makes its directory if need be, with the first record.
    pub(super) fn new(path: PathBuf, rotate: RotateConfig, bytes_per_day: Option<u64>) -> Self {
        FileSink {
            rotation: Rotation::new(path.clone(), rotate),
            path,
            file: None,
            stream: Stream::default(),
            untidy: true,
            bytes_per_day,
            budget: None,
        }
    }

    /// As [`Sink::write`], at that time.
    fn write_at(&mut self, part: &Part<'_>, now: SystemTime) -> Outcome {
        let room = self.room(now);
        let lines = match Lines::new(part, room) {
            Ok(lines) => lines,
            Err(error) => {
                return Outcome {
                    missed: part.records(),
                    error: Some(error.to_string()),
                };
            }
        };
        let mut outcome = self.append(&lines, now);
        outcome.missed += lines.dropped;
        if lines.dropped > 0 && outcome.error.is_none() {
            outcome.error =
                Some("flows.bytesPerDay is spent: records are left out until midnight UTC".to_owned());
        }
        outcome
    }

    /// What the budget leaves. What an earlier daemon has written today is counted at the first call.
    fn room(&mut self, now: SystemTime) -> Room {
        let Some(limit) = self.bytes_per_day else {
            return Room {
                flows: u64::MAX,
                all: u64::MAX,
            };
        };
        let day = OffsetDateTime::from(now).date();
        let budget = self.budget.get_or_insert_with(|| {
            let spent = budget::spent(&self.rotation, &self.path, day, limit);
            Budget::new(limit, day, spent)
        });
        budget.room(day)
    }

    /// Appends lines: to a file all of them or, on an error, none; then it is opened anew the next time.
    fn append(&mut self, lines: &Lines, now: SystemTime) -> Outcome {
        if lines.records == 0 {
            return Outcome::default();
        }
        let added = lines.bytes.len() as u64;
        let outcome = match self.open(added, now) {
            Ok((file, is_file, complaint)) => {
                let mut outcome = if is_file {
                    let result = write_whole(&file, &lines.bytes);
                    Outcome {
                        missed: if result.is_err() { lines.records } else { 0 },
                        error: result.err().map(|error| error.to_string()),
                    }
                } else {
                    write_stream(&mut self.stream, &file, &lines.bytes, lines.records)
                };
                if outcome.error.is_none() {
                    outcome.error = complaint;
                    self.file = Some(file);
                }
                outcome
            }
            Err(error) => Outcome {
                missed: lines.records,
                error: Some(match error.raw_os_error() {
                    Some(nix::libc::ENXIO) => "nobody reads the FIFO".to_owned(),
                    _ => error.to_string(),
                }),
            },
        };
        if let Some(budget) = self.budget.as_mut().filter(|_| outcome.missed < lines.records) {
            budget.spend(added);
        }
        outcome
    }

    /// The file, whether it is one, and what is wrong with moving a full one away: the records still go to it then.
    fn open(&mut self, adding: u64, now: SystemTime) -> io::Result<(File, bool, Option<String>)> {
        let is_current = |file: &File| {
            let (open, there) = (file.metadata()?, std::fs::metadata(&self.path)?);
            io::Result::Ok(open.ino() == there.ino() && open.dev() == there.dev())
        };
        let file = match self.file.take() {
            Some(file) if is_current(&file).unwrap_or(false) => file,
            _ => self.open_anew()?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok((file, false, None));
        }
        if !self.rotation.is_due(&metadata, adding, now) {
            return Ok((file, true, None));
        }
        match self.rotation.rotate(now) {
            Ok(()) => {
                self.untidy = true;
                Ok((self.open_anew()?, true, None))
            }
            Err(error) => Ok((
                file,
                true,
                Some(format!("it is full and cannot be moved away: {error}")),
            )),
        }
    }

    fn open_anew(&self) -> io::Result<File> {
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        // Without O_NONBLOCK, opening a FIFO that nobody reads would wait for a reader. Files do not know it.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(&self.path)
    }
}

impl Sink for FileSink {
    fn write(&mut self, part: &Part<'_>) -> Outcome {
        self.write_at(part, SystemTime::now())
    }

    fn tidy(&mut self) -> Result<(), String> {
        if !std::mem::take(&mut self.untidy) {
            return Ok(());
        }
        let tidied = self.rotation.tidy();
        tidied.map_err(|error| format!("full files cannot be compressed or removed: {error}"))
    }
}

impl Lines {
    fn new(part: &Part<'_>, room: Room) -> io::Result<Self> {
        let mut lines = Lines {
            bytes: Vec::new(),
            records: 0,
            dropped: 0,
        };
        for rule in part.rules {
            lines.push(&Line::Rule(rule), room.all)?;
        }
        for flow in &part.flows {
            lines.push(&Line::Flow(flow), room.flows)?;
        }
        if let Some(interval) = part.interval(lines.dropped) {
            lines.push(&Line::Interval(&interval), room.all)?;
        }
        Ok(lines)
    }

    fn push(&mut self, line: &Line<'_>, room: u64) -> io::Result<()> {
        let before = self.bytes.len();
        push_line(&mut self.bytes, line)?;
        if self.bytes.len() as u64 > room {
            self.bytes.truncate(before);
            self.dropped += 1;
        } else {
            self.records += 1;
        }
        Ok(())
    }
}

/// Writes all or nothing: half a line would spoil the next one too.
fn write_whole(mut file: &File, lines: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(lines).inspect_err(|_| {
        // Not a file that somebody has cut meanwhile; and if this fails as well, there is nothing left to try.
        if file.metadata().is_ok_and(|now| now.len() > before) {
            let _ = file.set_len(before);
        }
    })
}

#[cfg(test)]
mod tests;
