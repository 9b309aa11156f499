//! Reads the NFLOG group: the first packet of each connection, whatever becomes of it, and what Log rules log.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::net::if_::if_indextoname;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use palisade_nft::{NflogOptions, NflogPacket, NflogSocket};
use time::OffsetDateTime;
use tracing::{info, warn};

use super::arrivals::{Arrivals, Seat};
use super::observe::{Connection, Missing};
use super::packet;
use super::prefix::Prefix;
use super::traced::{TraceReport, Traced, judge};
use crate::apply::Way;
use crate::service::Daemon;

/// Packets are judged after this long at most, those alike together.
const HANDED_ON_WITHIN: Duration = Duration::from_millis(50);

/// A packet is judged after this long at most: the kernel hands its copies over after 100 ms, if they do not fill a datagram
/// before (the timeout of [`NflogOptions::default`]); then it waits for others; and both take their time.
pub const JUDGED_WITHIN: Duration = Duration::from_millis(250);

/// Binds the group, before the first rule copies a packet to it: what comes then waits in the kernel until it is read.
/// Without the group there are no flow records, but everything else works: the daemon says so and goes on.
pub fn bind(group: u16) -> Option<NflogSocket> {
    NflogSocket::bind(group, NflogOptions::default())
        .inspect_err(|error| warn!(group, %error, "no flow records"))
        .ok()
}

/// Reads the group on a thread of its own, so that neither a reload nor a slow request makes packets wait, until the
/// process ends.
pub fn start(daemon: Arc<Daemon>, mut socket: NflogSocket, group: u16) {
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
    let mut arrivals = Arrivals::default();
    let mut handed_on = Instant::now();
    let mut lost = 0;
    let mut generation = 0;
    loop {
        let now = OffsetDateTime::now_utc();
        let in_force = daemon.generation().number;
        if in_force != generation {
            generation = in_force;
            arrivals.forget_seats();
        }
        match socket.receive(&mut buffer, |copy| take(daemon, &mut arrivals, &copy, now)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let patience = if arrivals.is_empty() {
                    None
                } else {
                    Some(HANDED_ON_WITHIN)
                };
                wait(socket, patience)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The kernel had no room: the gap in the numbers of the next packets says how much is lost.
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
            Err(error) => return Err(error),
        }
        if arrivals.is_full() || !arrivals.is_empty() && handed_on.elapsed() >= HANDED_ON_WITHIN {
            let (seen, unreadable) = arrivals.hand_on();
            daemon.arrived(seen, unreadable, now);
            handed_on = Instant::now();
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

fn wait(socket: &NflogSocket, patience: Option<Duration>) -> io::Result<()> {
    let timeout = patience.map_or(PollTimeout::NONE, |patience| {
        PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO)
    });
    match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn take(daemon: &Daemon, arrivals: &mut Arrivals, copy: &NflogPacket<'_>, now: OffsetDateTime) {
    if let Some(Prefix::Log { policy, rule }) = Prefix::parse(copy.prefix) {
        info!(policy, rule, "{}", logged(policy, rule, copy));
        return;
    }
    arrivals.take(copy, now, |prefix| seat(daemon, prefix));
}

/// Where a first packet was seen. What somebody else logs to our group is nowhere.
fn seat(daemon: &Daemon, prefix: &str) -> Option<Seat> {
    let Some(Prefix::First(first)) = Prefix::parse(prefix) else {
        return None;
    };
    let seen_by = daemon.generation_by_number(first.generation);
    // Records are made by the worlds that saw it, reports by those in force.
    let source_ports = daemon.generation().looks_at_source_ports;
    Seat::of(&first, seen_by, source_ports)
}

/// What the endpoint of a prefix says of a packet that the kernel has traced there.
pub fn traced(daemon: &Daemon, traced: &Traced) -> Option<TraceReport> {
    let Some(Prefix::First(first)) = Prefix::parse(&traced.prefix) else {
        return None;
    };
    let generation = daemon.generation_by_number(first.generation);
    let connection = Connection {
        endpoint: generation.endpoint_at(first.way, first.place)?,
        direction: first.direction,
        forwarded: first.way == Way::Forward,
        packet: traced.packet(),
    };
    judge(&generation, &connection, traced)
}

/// What a Log rule has logged, in one line. How often it does is limited in the kernel.
fn logged(policy: &str, rule: &str, packet: &NflogPacket<'_>) -> String {
    let mut line = format!("log rule {rule} of policy {policy}: ");
    line += &match packet::parse(packet.payload) {
        Some((read, bytes)) => format!("{}, {bytes} bytes", packet::phrase(&read)),
        None => "a packet that cannot be read".to_owned(),
    };
    for (word, interface) in [("in", packet.input_ifindex), ("out", packet.output_ifindex)] {
        if let Some(interface) = Some(interface).filter(|&index| index != 0) {
            let name = if_indextoname(interface);
            let name = name.map_or_else(
                |_| interface.to_string(),
                |name| name.to_string_lossy().into_owned(),
            );
            line += &format!(", {word} by {name}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_packet_is_one_line() {
        let mut payload = vec![
            0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        payload.extend([
            0xc0, 0, 0x1f, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
        ]);
        let packet = |payload, output_ifindex| NflogPacket {
            prefix: "",
            hook: 3,
            input_ifindex: 0,
            output_ifindex,
            mark: 0,
            uid: None,
            payload,
            seq: 0,
        };
        assert_eq!(
            logged("shop/web", "2", &packet(&payload, 1)),
            "log rule 2 of policy shop/web: tcp 10.0.0.1:49152 -> 10.0.0.2:8080, 40 bytes, out by lo"
        );
        assert_eq!(
            logged("web", "0", &packet(&[], 0)),
            "log rule 0 of policy web: a packet that cannot be read"
        );
    }
}
