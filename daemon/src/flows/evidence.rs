//! What reports are made of, on disk: it outlives the daemon and the host.
//!
//! A file of JSON lines in the state directory: what is missing, then each connection. It is written whole and put in
//! place at once, some minutes after something was seen and at the end; a crash loses what was seen since.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_rules::evaluate::Packet;
use palisade_rules::net::{Direction, Protocol};
use palisade_rules::world::EndpointKind;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::kept::{Entry, Kept};
use super::observe::{Connection, Missing, Tally};
use crate::apply::EndpointKey;
use crate::live::Owner;

/// The version of the file. Another one is not read.
const VERSION: u32 = 1;

/// Why evidence could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The file cannot be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something else than it should.
    #[error("line {line} of {path} is damaged ({reason}); the file is set aside as {}", aside(path).display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where evidence is in a state directory.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("evidence.jsonl")
}

/// Writes everything, so that a crash leaves the old file or the new one.
pub fn save(state_dir: &Path, kept: &Kept) -> Result<(), EvidenceError> {
    let path = path(state_dir);
    let write = || -> io::Result<()> {
        let file = tempfile::NamedTempFile::new_in(state_dir)?;
        let mut out = BufWriter::new(file);
        let header = Header {
            version: VERSION,
            missing: kept.missing(),
        };
        line(&mut out, &header)?;
        for (connection, entry) in kept.entries() {
            line(&mut out, &Stored::of(connection, entry))?;
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(|source| EvidenceError::Io {
        path: path.clone(),
        source,
    })
}

/// Reads what was saved; nothing, if nothing was. A damaged file is set aside.
pub fn load(state_dir: &Path) -> Result<Kept, EvidenceError> {
    let path = path(state_dir);
    let failed = |source| EvidenceError::Io {
        path: path.clone(),
        source,
    };
    let file = match fs::File::open(&path) {
        Ok(file) => BufReader::new(file),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(failed(error)),
    };
    let damaged = |line: usize, reason: String| {
        // Whoever wants to know what it was finds it there; if it cannot be moved, it is overwritten.
        let _ = fs::rename(&path, aside(&path));
        EvidenceError::Damaged {
            path: path.clone(),
            line,
            reason,
        }
    };
    let mut kept = Kept::default();
    for (index, text) in file.lines().enumerate() {
        let text = text.map_err(|error| damaged(index + 1, error.to_string()))?;
        let wrong = |error: serde_json::Error| damaged(index + 1, error.to_string());
        if index == 0 {
            let header: Header = serde_json::from_str(&text).map_err(wrong)?;
            if header.version != VERSION {
                let reason = format!("its version is {}, and not {VERSION}", header.version);
                return Err(damaged(1, reason));
            }
            kept.missed(header.missing);
        } else {
            let stored: Stored = serde_json::from_str(&text).map_err(wrong)?;
            let (connection, entry) = stored
                .restored()
                .ok_or_else(|| damaged(index + 1, "it names no endpoint, direction or time".to_owned()))?;
            kept.restore(connection, entry);
        }
    }
    Ok(kept)
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("jsonl.damaged")
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    missing: Missing,
}

/// A connection as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Stored {
    kind: String,
    namespace: Option<String>,
    name: String,
    direction: String,
    forwarded: bool,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: [u16; 2],
    icmp: [u8; 2],
    /// Generation, packets, bytes, and when the first and the last was seen, in microseconds since 1970.
    seen: Vec<(u64, u64, u64, i64, i64)>,
    owners: Vec<Owner>,
    alike: u64,
    stands_for_others: bool,
}

impl Stored {
    fn of(connection: &Connection, entry: &Entry) -> Self {
        let Connection {
            endpoint,
            direction,
            forwarded,
            packet,
        } = connection;
        let seen = |(generation, tally): &(u64, Tally)| {
            let micros =
                |time: OffsetDateTime| i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or(0);
            let (first, last) = (micros(tally.first_seen), micros(tally.last_seen));
            (*generation, tally.packets, tally.bytes, first, last)
        };
        Stored {
            kind: endpoint.kind.as_str().to_owned(),
            namespace: endpoint.namespace.clone(),
            name: endpoint.name.clone(),
            direction: direction.as_str().to_owned(),
            forwarded: *forwarded,
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol.0,
            ports: [packet.source_port, packet.destination_port],
            icmp: [packet.icmp_type, packet.icmp_code],
            seen: entry.tallies.iter().map(seen).collect(),
            owners: entry.owners.clone(),
            alike: entry.alike,
            stands_for_others: entry.stands_for_others,
        }
    }

    fn restored(self) -> Option<(Connection, Entry)> {
        let kinds = [EndpointKind::Host, EndpointKind::Workload, EndpointKind::Service];
        let kind = kinds.into_iter().find(|kind| kind.as_str() == self.kind)?;
        let mut directions = Direction::BOTH.into_iter();
        let direction = directions.find(|direction| direction.as_str() == self.direction)?;
        let endpoint = EndpointKey {
            kind,
            namespace: self.namespace,
            name: self.name,
        };
        let packet = Packet {
            source: self.source,
            destination: self.destination,
            protocol: Protocol(self.protocol),
            source_port: self.ports[0],
            destination_port: self.ports[1],
            icmp_type: self.icmp[0],
            icmp_code: self.icmp[1],
        };
        let seen = |(generation, packets, bytes, first, last): (u64, u64, u64, i64, i64)| {
            let time =
                |micros: i64| OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok();
            let tally = Tally {
                packets,
                bytes,
                first_seen: time(first)?,
                last_seen: time(last)?,
            };
            Some((generation, tally))
        };
        let tallies: Option<VecDeque<_>> = self.seen.into_iter().map(seen).collect();
        let connection = Connection {
            endpoint: Arc::new(endpoint),
            direction,
            forwarded: self.forwarded,
            packet,
        };
        let mut entry = Entry::new(self.alike);
        entry.tallies = tallies?;
        entry.owners = self.owners;
        entry.stands_for_others = self.stands_for_others;
        Some((connection, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(port: u16) -> Connection {
        let packet = Packet {
            source: "10.0.0.1".parse().unwrap(),
            destination: "fd00::2".parse().unwrap(),
            protocol: Protocol::TCP,
            source_port: 0,
            destination_port: port,
            icmp_type: 3,
            icmp_code: 4,
        };
        let endpoint = EndpointKey {
            kind: EndpointKind::Service,
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        Connection {
            endpoint: Arc::new(endpoint),
            direction: Direction::Egress,
            forwarded: false,
            packet,
        }
    }

    fn seen(port: u16) -> Kept {
        let mut kept = Kept::default();
        let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        kept.keep(3, &connection(port), 7, Tally::one(60, at));
        kept.keep(4, &connection(port), 7, Tally::one(61, at));
        let owner = Owner {
            unit: Some("web.service".to_owned()),
            pid: None,
            comm: None,
            uid: 33,
            connections: 2,
        };
        kept.owned(&connection(port), Some(&owner), at);
        kept.missed(Missing {
            lost: 5,
            ..Missing::default()
        });
        kept
    }

    #[test]
    fn what_was_saved_is_what_is_read() {
        let directory = tempfile::tempdir().unwrap();
        assert!(load(directory.path()).unwrap().is_empty());
        let kept = seen(80);
        save(directory.path(), &kept).unwrap();
        let read = load(directory.path()).unwrap();
        for generation in [0, 4, 5] {
            let all = |kept: &Kept| -> Vec<(Connection, Tally)> {
                let since = kept.since(generation);
                since
                    .map(|(connection, tally)| (connection.clone(), tally))
                    .collect()
            };
            assert_eq!(all(&read), all(&kept));
        }
        assert_eq!(read.owners(&connection(80)), kept.owners(&connection(80)));
        assert_eq!((read.owners(&connection(80)).len(), read.missing().lost), (1, 5));
    }

    #[test]
    fn a_damaged_file_is_named_and_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), &seen(80)).unwrap();
        let file = path(directory.path());
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, &text[..text.len() - 20]).unwrap();
        let error = load(directory.path()).unwrap_err().to_string();
        assert!(
            error.contains("line 2 of") && error.contains("evidence.jsonl.damaged"),
            "{error}"
        );
        assert!(aside(&file).exists() && !file.exists());
        assert!(load(directory.path()).unwrap().is_empty());
    }
}
