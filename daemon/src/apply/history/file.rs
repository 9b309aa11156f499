//! The history as a file: a line that says how many follow, then one for each counter that has counted something.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use palisade_nft::CounterValue;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::{info, warn};

use crate::apply::state::replace_file;

/// The totals of all counters.
pub(super) const HISTORY: &str = "counters.jsonl";

/// What `palisade panic` has read last.
pub(super) const AT_PANIC: &str = "counters-at-panic.jsonl";

/// Up to this many counters are written whenever one has moved: about a megabyte.
const SMALL: usize = 10_000;

/// How often more than that are written, and how often what failed is tried again.
const SELDOM: Duration = Duration::from_mins(1);

/// Where the history is kept, and how much of it is there already. Clones stand for the same file.
#[derive(Clone, Debug)]
pub(super) struct HistoryFile {
    directory: PathBuf,
    written: Arc<Mutex<Written>>,
}

#[derive(Debug, Default)]
struct Written {
    version: u64,
    tried: Option<Instant>,
    failing: bool,
}

/// The history at one moment, to be written whenever there is time.
#[derive(Debug)]
pub struct Unwritten {
    file: HistoryFile,
    version: u64,
    text: Vec<u8>,
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    counters: usize,
}

/// Any other line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line<'l> {
    /// Its name in the kernel.
    #[serde(borrow)]
    pub(super) counter: Cow<'l, str>,
    packets: u64,
    bytes: u64,
    /// When it was last in force, if it is not.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) retired: Option<OffsetDateTime>,
}

impl<'l> Line<'l> {
    pub(super) fn new(counter: &'l str, value: CounterValue, retired: Option<OffsetDateTime>) -> Self {
        Line {
            counter: counter.into(),
            packets: value.packets,
            bytes: value.bytes,
            retired,
        }
    }

    pub(super) fn value(&self) -> CounterValue {
        CounterValue {
            packets: self.packets,
            bytes: self.bytes,
        }
    }
}

impl HistoryFile {
    /// The file in this directory, of which nothing is known yet.
    pub(super) fn new(directory: &Path) -> Self {
        HistoryFile {
            directory: directory.to_owned(),
            written: Arc::default(),
        }
    }

    /// The state directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether it holds this version, or a later one.
    pub(super) fn has(&self, version: u64) -> bool {
        self.written().version >= version
    }

    /// Whether it is time to write this version of so many counters.
    pub(super) fn is_due(&self, version: u64, counters: usize) -> bool {
        let written = self.written();
        let often = counters <= SMALL && !written.failing;
        let rested = written.tried.is_none_or(|tried| tried.elapsed() >= SELDOM);
        written.version < version && (often || rested)
    }

    pub(super) fn unwritten(&self, version: u64, text: Vec<u8>) -> Unwritten {
        Unwritten {
            file: self.clone(),
            version,
            text,
        }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unwritten {
    /// Writes it, unless a later one is there already. Failures, and that they are over, are told in the log; says whether
    /// it is there.
    pub fn write(self) -> bool {
        let mut written = self.file.written();
        if written.version >= self.version {
            return true;
        }
        written.tried = Some(Instant::now());
        let directory = self.file.directory.display();
        match replace_file(&self.file.directory, HISTORY, &self.text) {
            Ok(()) => {
                written.version = self.version;
                if std::mem::take(&mut written.failing) {
                    info!("the totals of counters are kept in {directory}/{HISTORY} again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut written.failing, true) {
                    warn!(
                        %error,
                        "the totals of counters cannot be kept in {directory}/{HISTORY}: the kernel goes on counting, but \
                         a reboot would set it back to what is there; trying again"
                    );
                }
                false
            }
        }
    }
}

/// Lines as the text of a file.
pub(super) fn text<'l>(lines: impl Iterator<Item = Line<'l>>) -> Vec<u8> {
    let (mut body, mut counters) = (Vec::new(), 0);
    for line in lines {
        append(&mut body, &line);
        counters += 1;
    }
    let mut text = Vec::with_capacity(body.len() + 32);
    append(&mut text, &Head { counters });
    text.append(&mut body);
    text
}

/// Gives each line of a file to `each`. Of a damaged one those that can be read; the log says so, and the file is set
/// aside. Says whether it is whole, or there is none.
pub(super) fn read(directory: &Path, name: &str, mut each: impl FnMut(Line<'_>)) -> bool {
    let path = directory.join(name);
    let damage = match fs::read(&path) {
        Ok(text) => lines(&text, &mut each),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(error.to_string()),
    };
    let Some(damage) = damage else {
        return true;
    };
    let aside = directory.join(format!("{name}.damaged"));
    let set_aside = match fs::rename(&path, &aside) {
        Ok(()) => format!("it is set aside as {}", aside.display()),
        Err(error) => format!("it could not be set aside: {error}"),
    };
    warn!(
        "{} is damaged ({damage}); {set_aside}. Counters whose totals are lost go on from what the kernel has, or from 0",
        path.display()
    );
    false
}

/// What is wrong with the text, if anything is.
fn lines(text: &[u8], each: &mut impl FnMut(Line<'_>)) -> Option<String> {
    let mut lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let head = lines.next().unwrap_or_default();
    let Ok(Head { counters }) = serde_json::from_slice(head) else {
        return Some("its first line does not say how many counters follow".to_owned());
    };
    let mut read = 0;
    for line in lines.filter_map(|line| serde_json::from_slice(line).ok()) {
        each(line);
        read += 1;
    }
    (read != counters).then(|| format!("{read} of {counters} counters can be read"))
}

fn append(text: &mut Vec<u8>, line: &impl Serialize) {
    // Memory takes whatever is written, and numbers and texts are always JSON.
    if serde_json::to_writer(&mut *text, line).is_ok() {
        text.push(b'\n');
    }
}
