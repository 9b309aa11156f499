//! What a file may grow by in a day.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use time::Date;
use time::macros::format_description;

use super::rotate::Rotation;

/// How much of a line is looked at for its time, which is among the first of its fields.
const HEAD: usize = 256;

/// Bytes a day, from midnight UTC. Flow records may use nine tenths; the rest is for rule and interval records, so that
/// what the counters say is still written when the flows are too many.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    day: Date,
    spent: u64,
}

/// What may still be written today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes, where flow records are the last of them.
    pub(super) flows: u64,
    /// Bytes in all.
    pub(super) all: u64,
}

impl Budget {
    /// A budget of which so much is spent on that day already.
    pub(super) fn new(limit: u64, day: Date, spent: u64) -> Self {
        Budget { limit, day, spent }
    }

    /// What may be written on that day.
    pub(super) fn room(&mut self, day: Date) -> Room {
        // A clock that is set back gives nothing away.
        if day > self.day {
            self.day = day;
            self.spent = 0;
        }
        let reserve = self.limit / 10;
        Room {
            flows: (self.limit - reserve).saturating_sub(self.spent),
            all: self.limit.saturating_sub(self.spent),
        }
    }

    /// Notes what was written.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.spent += bytes;
    }
}

/// How many bytes of a day's records the files hold already. Looks no further than `limit`. A file that cannot be read
/// counts with its size: what is not known must not be spent twice.
pub(super) fn spent(rotation: &Rotation, path: &Path, day: Date, limit: u64) -> u64 {
    let full = rotation.all().unwrap_or_default();
    let full = full.into_iter().filter(|full| full.is_of(day));
    let files = full.map(|full| (full.path, full.compressed));
    let files = files.chain(std::iter::once((path.to_owned(), false)));
    files
        .map(|(path, compressed)| {
            let Ok(metadata) = std::fs::metadata(&path) else {
                return 0;
            };
            if !metadata.is_file() {
                return 0;
            }
            bytes_in(&path, compressed, day, limit).unwrap_or(metadata.len())
        })
        .sum()
}

fn bytes_in(path: &Path, compressed: bool, day: Date, limit: u64) -> io::Result<u64> {
    let file = BufReader::new(File::open(path)?);
    if compressed {
        bytes_of_day(BufReader::new(MultiGzDecoder::new(file)), day, limit)
    } else {
        bytes_of_day(file, day, limit)
    }
}

fn bytes_of_day(mut lines: impl BufRead, day: Date, limit: u64) -> io::Result<u64> {
    let Ok(day) = day.format(format_description!("[year]-[month]-[day]")) else {
        return Ok(0);
    };
    let sought = format!("\"end_time\":\"{day}");
    let (mut bytes, mut line) = (0, Vec::new());
    while bytes < limit {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let head = &line[..line.len().min(HEAD)];
        if head.windows(sought.len()).any(|part| part == sought.as_bytes()) {
            bytes += line.len() as u64;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(ordinal: u16) -> Date {
        Date::from_ordinal_date(2026, ordinal).unwrap()
    }

    #[test]
    fn flows_leave_a_tenth_and_midnight_gives_all_back() {
        let mut budget = Budget::new(1_000, day(1), 100);
        assert_eq!(budget.room(day(1)), Room { flows: 800, all: 900 });
        budget.spend(850);
        assert_eq!(budget.room(day(1)), Room { flows: 0, all: 50 });
        budget.spend(60);
        assert_eq!(budget.room(day(1)), Room { flows: 0, all: 0 });
        let whole = Room {
            flows: 900,
            all: 1_000,
        };
        assert_eq!(budget.room(day(2)), whole);
        budget.spend(1_000);
        assert_eq!(budget.room(day(1)).all, 0, "a clock that was set back");
    }

    #[test]
    fn only_the_lines_of_the_day_count() {
        let line = |day: &str| {
            format!(
                "{{\"type\":\"flow\",\"start_time\":\"2026-01-01T23:59:50Z\",\"end_time\":\"{day}T00:00:00Z\"}}\n"
            )
        };
        let today = line("2026-01-02");
        let text = line("2026-01-01") + &today + "torn\n" + &today;
        let bytes = |limit| bytes_of_day(text.as_bytes(), day(2), limit).unwrap();
        assert_eq!(bytes(u64::MAX), 2 * today.len() as u64);
        assert_eq!(bytes(1), today.len() as u64, "no further than it takes");
    }
}
