//! What is in force before the daemon is: the last generation that is there to stay, as messages that the kernel takes
//! as they are. No policy is read.
//!
//! The file is gzip's, which notices damage: a line of JSON that says what follows, a line for each counter, and the
//! messages.

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use palisade_nft::{ApplyError, Image, Nft};
use palisade_rules::compile::safety_net_only;
use palisade_rules::ruleset::{Match, Rule, Ruleset};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::history::History;
use super::state::replace_file;
use super::{Panic, SAFETY_NET};
use crate::config::{Config, DEFAULT_STATE_DIR};
use crate::kernel::KernelError;

/// The directory below the state directory, and the file in it.
const PLACE: [&str; 2] = ["boot", "ruleset"];

/// What the file is like; another one counts as damaged.
const FORMAT: u32 = 2;

/// So many bytes are packed at a time.
const CHUNK: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: u32,
    generation: u64,
    counters: usize,
}

/// What a boot came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booted {
    /// The generation of this number is in force.
    Generation(u64),
    /// The safety net is, for there was no generation, or it could not be used.
    SafetyNet {
        /// Why.
        because: String,
    },
    /// There is a table already, and it was left alone.
    AlreadyThere,
    /// Nothing is in force, for this reason.
    Out {
        /// `palisade panic`, or the kernel's command line.
        because: String,
    },
}

/// Why there is nothing to boot with.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("no generation has been kept in {} yet", .0.display())]
    Missing(PathBuf),
    #[error("{} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("the kernel refuses generation {generation}: {why}")]
    Refused { generation: u64, why: ApplyError },
}

/// Keeps a ruleset for the next boot, in place of what is kept.
///
/// Rules for cgroups are left out: a cgroup has another number after a reboot, and none before its service is started.
pub fn keep(state_dir: &Path, ruleset: &Ruleset, generation: u64) -> io::Result<()> {
    let [directory, file] = PLACE;
    let directory = state_dir.join(directory);
    fs::create_dir_all(&directory)?;
    replace_file(&directory, file, &encode(&lasting(ruleset), generation)?)
}

/// Puts into force what was kept, unless there is a table already, or it is to stay away; the safety net if nothing can be
/// used. The counters go on from their totals.
pub fn boot(config_path: &Path) -> Result<Booted, KernelError> {
    let mut nft = Nft::open()?;
    let (state_dir, protect) = match Config::load(config_path) {
        Ok(config) => (config.state_dir, config.protect_table),
        Err(error) => {
            warn!("looking in {DEFAULT_STATE_DIR}, for the configuration cannot be used: {error}");
            (DEFAULT_STATE_DIR.into(), false)
        }
    };
    let panic = Panic::new(&state_dir);
    panic.obey_command_line(&mut nft)?;
    if let Some(because) = panic.reason() {
        return Ok(Booted::Out { because });
    }
    if nft.has_table()? {
        return Ok(Booted::AlreadyThere);
    }
    // An orphan once this process has ended; the daemon takes it over. Where the kernel cannot, the daemon says so.
    if protect {
        nft.protect()?;
    }
    let mut history = History::open(&state_dir);
    let loaded = read(&state_dir).and_then(|(generation, image)| {
        let loaded = nft.load(&image, &mut history);
        loaded.map_err(|why| Unusable::Refused { generation, why })?;
        Ok(generation)
    });
    Ok(match loaded {
        Ok(generation) => Booted::Generation(generation),
        Err(because) => {
            nft.replace(&safety_net_only(SAFETY_NET), &mut history)?;
            Booted::SafetyNet {
                because: because.to_string(),
            }
        }
    })
}

impl Booted {
    /// Says it in the log.
    pub fn tell(&self) {
        match self {
            Booted::Generation(number) => {
                info!("generation {number} is in force until palisaded has read the policies");
            }
            Booted::SafetyNet { because } => warn!(
                "only the safety net is in force until palisaded has read the policies, nothing is denied: {because}"
            ),
            Booted::AlreadyThere => info!("the table inet palisade is there already: it is left alone"),
            Booted::Out { because } => warn!("{because}"),
        }
    }
}

/// What means the same after a reboot.
fn lasting(ruleset: &Ruleset) -> Ruleset {
    let lasts = |rule: &Rule| {
        let mut matches = rule.matches.iter();
        !matches.any(|condition| matches!(condition, Match::SocketCgroup { .. }))
    };
    let mut lasting = ruleset.clone();
    for chain in &mut lasting.chains {
        if !chain.rules.iter().all(lasts) {
            Arc::make_mut(chain).rules.retain(lasts);
        }
    }
    lasting
}

fn encode(ruleset: &Ruleset, generation: u64) -> io::Result<Vec<u8>> {
    // The encoder makes room for much whenever it is given anything, and a message is little.
    let mut file = BufWriter::with_capacity(CHUNK, GzEncoder::new(Vec::new(), Compression::fast()));
    let head = Head {
        format: FORMAT,
        generation,
        counters: ruleset.counters.len(),
    };
    serde_json::to_writer(&mut file, &head)?;
    for (name, comment) in &ruleset.counters {
        file.write_all(b"\n")?;
        serde_json::to_writer(&mut file, &(name.as_str(), comment.as_str()))?;
    }
    file.write_all(b"\n")?;
    Image::write_messages(ruleset, &mut file).map_err(io::Error::other)?;
    file.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .finish()
}

fn read(state_dir: &Path) -> Result<(u64, Image), Unusable> {
    let path: PathBuf = [state_dir, PLACE[0].as_ref(), PLACE[1].as_ref()].iter().collect();
    match fs::read(&path) {
        Ok(bytes) => decode(&bytes).map_err(|why| Unusable::Damaged {
            path,
            why: why.to_string(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Unusable::Missing(path)),
        Err(error) => Err(Unusable::Damaged {
            path,
            why: error.to_string(),
        }),
    }
}

fn decode(bytes: &[u8]) -> io::Result<(u64, Image)> {
    let mut file = BufReader::new(GzDecoder::new(bytes));
    let head: Head = serde_json::from_slice(&line(&mut file)?)?;
    if head.format != FORMAT {
        return Err(io::Error::other(format!(
            "its format is {}, not {FORMAT}",
            head.format
        )));
    }
    let counters = (0..head.counters).map(|_| Ok(serde_json::from_slice(&line(&mut file)?)?));
    let counters = counters.collect::<io::Result<_>>()?;
    let mut messages = Vec::new();
    // To the end, where the checksum is.
    file.read_to_end(&mut messages)?;
    Ok((head.generation, Image { counters, messages }))
}

fn line(file: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_and_damage_is_noticed_wherever_it_is() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read(directory.path()), Err(Unusable::Missing(_))));
        let ruleset = safety_net_only(SAFETY_NET);
        keep(directory.path(), &ruleset, 7).unwrap();
        let (generation, image) = read(directory.path()).unwrap();
        assert_eq!((generation, image), (7, Image::of(&ruleset).unwrap()));

        let path = directory.path().join("boot/ruleset");
        let good = fs::read(&path).unwrap();
        for place in 0..good.len() {
            // Ten bytes of gzip's head carry nothing.
            if (3..10).contains(&place) {
                continue;
            }
            let mut bad = good.clone();
            bad[place] ^= 0x10;
            let is_noticed = decode(&bad).map_or(true, |read| read == decode(&good).unwrap());
            assert!(is_noticed, "byte {place}");
            assert!(decode(&good[..place]).is_err(), "cut at {place}");
        }
    }
}
