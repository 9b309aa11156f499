//! Reads the NFLOG group: the first packet of each connection, whatever becomes of it.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use palisade_nft::{NflogOptions, NflogSocket};
use palisade_rules::net::Direction;
use tracing::{info, warn};

use super::observe::{Connection, Missing};
use super::packet;
use crate::service::Daemon;

/// The kernel hands its copies over after this long at most, if they do not fill a datagram before (the timeout of
/// [`NflogOptions::default`], and time to read them).
pub const COLLECTED_WITHIN: Duration = Duration::from_millis(150);

/// Binds the group and reads it on a thread of its own, so that neither a reload nor a slow request makes packets wait,
/// until the process ends. Without the group there are no flow records, but everything else works: the daemon says so
/// and goes on.
pub fn start(daemon: Arc<Daemon>, group: u16) {
    let mut socket = match NflogSocket::bind(group, NflogOptions::default()) {
        Ok(socket) => socket,
        Err(error) => {
            warn!(group, %error, "no flow records");
            return;
        }
    };
    daemon.set_reading(true);
    info!(group, "reading the NFLOG group");
    let reader = std::thread::Builder::new()
        .name("nflog".to_owned())
        .spawn(move || {
            if let Err(error) = follow(&daemon, &mut socket) {
                warn!(group, %error, "no more flow records: the NFLOG group cannot be read any longer");
            }
            daemon.set_reading(false);
        });
    if let Err(error) = reader {
        warn!(group, %error, "no flow records: their thread cannot be started");
    }
}

fn follow(daemon: &Daemon, socket: &mut NflogSocket) -> io::Result<()> {
    let mut buffer = vec![0; NflogSocket::BUFFER];
    let mut lost = 0;
    loop {
        match socket.receive(&mut buffer, |packet| saw(daemon, packet.prefix, packet.payload)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(socket)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The kernel had no room: the gap in the numbers of the next packets says how much is lost.
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
            Err(error) => return Err(error),
        }
        let total = socket.lost();
        if total > lost {
            daemon.missed(Missing {
                lost: total - lost,
                ..Missing::default()
            });
            lost = total;
        }
    }
}

fn wait(socket: &NflogSocket) -> io::Result<()> {
    match poll(
        &mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)],
        PollTimeout::NONE,
    ) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn saw(daemon: &Daemon, prefix: &str, payload: &[u8]) {
    let Some((direction, generation, place)) = parse_prefix(prefix) else {
        return;
    };
    let seen_by = daemon.generation_by_number(generation);
    let endpoint = seen_by.endpoint_at(place);
    match (packet::parse(payload), endpoint) {
        (Some((packet, bytes)), Some(endpoint)) => {
            daemon.saw(
                generation,
                &seen_by,
                Connection {
                    endpoint,
                    direction,
                    packet,
                },
                bytes,
            );
        }
        _ => daemon.missed(Missing {
            unreadable: 1,
            ..Missing::default()
        }),
    }
}

/// `palisade/in/12/eth0`: direction, generation, and the place of the endpoint. Log rules have another form.
fn parse_prefix(prefix: &str) -> Option<(Direction, u64, &str)> {
    let mut parts = prefix.strip_prefix("palisade/")?.splitn(3, '/');
    let direction = match parts.next()? {
        "in" => Direction::Ingress,
        "out" => Direction::Egress,
        _ => return None,
    };
    Some((direction, parts.next()?.parse().ok()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_flow_records_are_told_from_those_of_log_rules() {
        assert_eq!(
            parse_prefix("palisade/in/12/eth0"),
            Some((Direction::Ingress, 12, "eth0"))
        );
        assert_eq!(
            parse_prefix("palisade/out/7/*"),
            Some((Direction::Egress, 7, "*"))
        );
        assert_eq!(parse_prefix("palisade/log/web/0"), None);
        assert_eq!(parse_prefix("somebody else"), None);
    }
}
