//! Reads the NFLOG group: the first packet of each connection, whatever becomes of it, and what Log rules log.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_indextoname;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use palisade_nft::{NflogOptions, NflogPacket, NflogSocket};
use palisade_rules::net::Direction;
use tracing::{info, warn};

use super::observe::{Connection, Missing};
use super::packet;
use super::traced::{TraceReport, Traced, judge};
use crate::apply::Way;
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
        match socket.receive(&mut buffer, |packet| saw(daemon, &packet)) {
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

fn saw(daemon: &Daemon, packet: &NflogPacket<'_>) {
    match Prefix::parse(packet.prefix) {
        Some(Prefix::First(first)) => saw_first(daemon, &first, packet.payload),
        Some(Prefix::Log { policy, rule }) => info!(policy, rule, "{}", logged(policy, rule, packet)),
        None => {}
    }
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

/// Counts the first packet of a connection.
fn saw_first(daemon: &Daemon, first: &First<'_>, payload: &[u8]) {
    let seen_by = daemon.generation_by_number(first.generation);
    let endpoint = seen_by.endpoint_at(first.way, first.place);
    match (packet::parse(payload), endpoint) {
        (Some((packet, bytes)), Some(endpoint)) => {
            let connection = Connection {
                endpoint,
                direction: first.direction,
                forwarded: first.way == Way::Forward,
                packet,
            };
            daemon.saw(first.generation, &seen_by, connection, bytes);
        }
        _ => daemon.missed(Missing {
            unreadable: 1,
            ..Missing::default()
        }),
    }
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

/// What the prefix of a copy says.
#[derive(Debug, PartialEq, Eq)]
enum Prefix<'p> {
    /// The first packet of a connection.
    First(First<'p>),
    /// What a Log rule logs: `palisade/log/web/0`, or with the policy's namespace `palisade/log/shop/web/0`.
    Log { policy: &'p str, rule: &'p str },
}

/// `palisade/in/12/eth0`: way and direction, generation, place.
#[derive(Debug, PartialEq, Eq)]
struct First<'p> {
    way: Way,
    direction: Direction,
    generation: u64,
    place: &'p str,
}

impl<'p> Prefix<'p> {
    /// `None` for what somebody else logs to our group.
    fn parse(prefix: &'p str) -> Option<Self> {
        let (word, rest) = prefix.strip_prefix("palisade/")?.split_once('/')?;
        let (way, direction) = match word {
            "in" => (Way::Interface, Direction::Ingress),
            "out" => (Way::Interface, Direction::Egress),
            "forward-in" => (Way::Forward, Direction::Ingress),
            "forward-out" => (Way::Forward, Direction::Egress),
            "service-in" => (Way::Service, Direction::Ingress),
            "service-out" => (Way::Service, Direction::Egress),
            "log" => {
                let (policy, rule) = rest.rsplit_once('/')?;
                return Some(Prefix::Log { policy, rule });
            }
            _ => return None,
        };
        let (generation, place) = rest.split_once('/')?;
        Some(Prefix::First(First {
            way,
            direction,
            generation: generation.parse().ok()?,
            place,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_says_where_a_first_packet_was_seen() {
        let first = |way, direction, generation, place| {
            Some(Prefix::First(First {
                way,
                direction,
                generation,
                place,
            }))
        };
        let (ingress, egress) = (Direction::Ingress, Direction::Egress);
        for (prefix, says) in [
            ("palisade/in/12/eth0", first(Way::Interface, ingress, 12, "eth0")),
            ("palisade/out/7/*", first(Way::Interface, egress, 7, "*")),
            ("palisade/forward-in/7/*", first(Way::Forward, ingress, 7, "*")),
            (
                "palisade/forward-out/7/eth1",
                first(Way::Forward, egress, 7, "eth1"),
            ),
            (
                "palisade/service-in/3/web",
                first(Way::Service, ingress, 3, "web"),
            ),
            (
                "palisade/service-out/3/web",
                first(Way::Service, egress, 3, "web"),
            ),
            ("palisade/in/many/eth0", None),
            ("palisade/sideways/7/eth0", None),
            ("somebody else", None),
        ] {
            assert_eq!(Prefix::parse(prefix), says, "{prefix}");
        }
    }

    #[test]
    fn a_prefix_names_the_log_rule() {
        for (prefix, policy) in [
            ("palisade/log/web/0", "web"),
            ("palisade/log/shop/web/0", "shop/web"),
        ] {
            assert_eq!(Prefix::parse(prefix), Some(Prefix::Log { policy, rule: "0" }));
        }
        assert_eq!(Prefix::parse("palisade/log/web"), None);
    }

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
