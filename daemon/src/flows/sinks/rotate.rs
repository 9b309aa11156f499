//! When a file is full, and what becomes of it.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::config::RotateConfig;

/// What a compressed file is called while it is incomplete.
const PART: &str = ".part";

/// The full files beside a file. Each bears the moment at which it was full: no name is ever given to another file.
#[derive(Debug)]
pub(super) struct Rotation {
    path: PathBuf,
    config: RotateConfig,
}

/// A full file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Full {
    /// When it was full, as its name says it: `20261123T053000Z`, with a number where that is not enough.
    moment: String,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether it is compressed.
    pub(super) compressed: bool,
}

impl Rotation {
    pub(super) fn new(path: PathBuf, config: RotateConfig) -> Self {
        Rotation { path, config }
    }

    /// Whether the file is full, where so many bytes are to be added now.
    pub(super) fn is_due(&self, file: &Metadata, adding: u64, now: SystemTime) -> bool {
        let too_large = self.config.size.is_some_and(|size| file.len() + adding > size);
        // What was written last was written in the period of all the rest: this needs no memory, and survives a restart.
        let too_old = self
            .config
            .every
            .zip(file.modified().ok())
            .is_some_and(|(every, last)| period(last, every) < period(now, every));
        file.len() > 0 && (too_large || too_old)
    }

    /// Moves the file out of the way.
    pub(super) fn rotate(&self, now: SystemTime) -> io::Result<()> {
        let moment = OffsetDateTime::from(now)
            .format(format_description!("[year][month][day]T[hour][minute][second]Z"))
            .map_err(io::Error::other)?;
        let numbers = (1..=999).map(|number| format!("{moment}-{number:03}"));
        for moment in std::iter::once(moment.clone()).chain(numbers) {
            let full = self.full(&moment);
            if !full.try_exists()? && !with(&full, ".gz").try_exists()? {
                return fs::rename(&self.path, full);
            }
        }
        Err(io::Error::other(
            "a thousand files were full within one second: flows.rotate.size is too small",
        ))
    }

    /// Removes the oldest full files, and compresses the others.
    pub(super) fn tidy(&self) -> io::Result<()> {
        let mut full = self.all()?;
        let excess = full.len().saturating_sub(self.config.keep);
        for file in full.drain(..excess) {
            fs::remove_file(file.path)?;
        }
        if self.config.compress {
            for file in full.iter().filter(|file| !file.compressed) {
                compress(&file.path)?;
            }
        }
        Ok(())
    }

    /// The full files, the oldest first.
    pub(super) fn all(&self) -> io::Result<Vec<Full>> {
        let (Some(directory), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(Vec::new());
        };
        let prefix = format!("{}-", name.to_string_lossy());
        let mut all = Vec::new();
        let entries = match fs::read_dir(directory) {
            // Made with the first record.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let Some(rest) = name.as_ref().and_then(|name| name.strip_prefix(&prefix)) else {
                continue;
            };
            let (moment, compressed) = match rest.strip_suffix(".gz") {
                Some(moment) => (moment, true),
                None => (rest, false),
            };
            if is_moment(moment) {
                let moment = moment.to_owned();
                all.push(Full {
                    moment,
                    path,
                    compressed,
                });
            }
        }
        all.sort();
        Ok(all)
    }

    fn full(&self, moment: &str) -> PathBuf {
        with(&self.path, &format!("-{moment}"))
    }
}

impl Full {
    /// Whether it was full on that day, in UTC, or later.
    pub(super) fn is_of(&self, day: time::Date) -> bool {
        let day = day.format(format_description!("[year][month][day]"));
        day.is_ok_and(|day| self.moment.as_str() >= day.as_str())
    }
}

/// Replaces a file by a compressed one. At every moment one of the two is whole.
fn compress(path: &Path) -> io::Result<()> {
    let (part, compressed) = (with(path, &format!(".gz{PART}")), with(path, ".gz"));
    let result = (|| {
        let mut from = BufReader::new(File::open(path)?);
        let to = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o640)
            .open(&part)?;
        let mut to = GzEncoder::new(to, Compression::default());
        io::copy(&mut from, &mut to)?;
        let mut to = to.finish()?;
        to.flush()?;
        to.sync_all()?;
        fs::rename(&part, &compressed)?;
        fs::remove_file(path)
    })();
    if result.is_err() {
        // If this fails as well, the next attempt cuts it.
        let _ = fs::remove_file(&part);
    }
    result
}

/// Whether that is what [`Rotation::rotate`] appends to a name: nobody else's files are touched.
fn is_moment(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (moment, number) = match text.split_once('-') {
        Some((moment, number)) => (moment, number.len() == 3 && digits(number)),
        None => (text, true),
    };
    let moment = moment.strip_suffix('Z').and_then(|moment| moment.split_once('T'));
    number
        && moment
            .is_some_and(|(date, time)| date.len() == 8 && digits(date) && time.len() == 6 && digits(time))
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn period(at: SystemTime, every: Duration) -> u128 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() / every.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn rotation(directory: &Path, keep: usize) -> Rotation {
        let config = RotateConfig {
            size: Some(100),
            every: Some(Duration::from_hours(24)),
            keep,
            compress: true,
        };
        Rotation::new(directory.join("flows.jsonl"), config)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_full_by_size_and_by_the_day_of_its_last_record() {
        let directory = tempfile::tempdir().unwrap();
        let rotation = rotation(directory.path(), 7);
        let file = File::create(&rotation.path).unwrap();
        let due = |adding, now| rotation.is_due(&file.metadata().unwrap(), adding, now);
        let day = 24 * 60 * 60;
        file.set_modified(at(3 * day + 5)).unwrap();
        assert!(!due(101, at(9 * day)), "an empty file is never full");
        file.set_len(60).unwrap();
        file.set_modified(at(3 * day + 5)).unwrap();
        assert!(!due(40, at(4 * day - 1)));
        assert!(due(41, at(4 * day - 1)));
        assert!(due(1, at(4 * day)));
        assert!(!due(1, at(2 * day)), "a clock that was set back");
    }

    #[test]
    fn no_name_is_given_twice_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let rotation = rotation(directory.path(), 3);
        for (content, moment) in [("a", 10), ("b", 10), ("c", 10), ("d", 12)] {
            fs::write(&rotation.path, content).unwrap();
            rotation.rotate(at(moment)).unwrap();
        }
        let stranger = directory.path().join("flows.jsonl-old");
        fs::write(&stranger, "").unwrap();
        rotation.tidy().unwrap();
        assert_eq!(
            names(directory.path()),
            [
                "flows.jsonl-19700101T000010Z-001.gz",
                "flows.jsonl-19700101T000010Z-002.gz",
                "flows.jsonl-19700101T000012Z.gz",
                "flows.jsonl-old",
            ]
        );
        let all = rotation.all().unwrap();
        let mut texts = Vec::new();
        for full in &all {
            let file = File::open(&full.path).unwrap();
            texts.push(io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap());
        }
        assert_eq!(texts, ["b", "c", "d"]);
        let date = |text: &str| time::Date::parse(text, format_description!("[year]-[month]-[day]")).unwrap();
        assert!(all[0].is_of(date("1970-01-01")) && !all[0].is_of(date("1970-01-02")));
    }

    #[test]
    fn what_a_crash_left_half_compressed_is_compressed_anew() {
        let directory = tempfile::tempdir().unwrap();
        let rotation = rotation(directory.path(), 7);
        fs::write(rotation.full("20260101T000000Z"), "whole").unwrap();
        fs::write(rotation.full("20260101T000000Z.gz.part"), "half").unwrap();
        rotation.tidy().unwrap();
        assert_eq!(names(directory.path()), ["flows.jsonl-20260101T000000Z.gz"]);
    }
}
