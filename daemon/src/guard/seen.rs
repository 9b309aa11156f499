//! What the guard looks at, as the host has it.
//!
//! TCP connections are taken from the sockets themselves: conntrack does not know those that are older than its first
//! rule. It is asked for what only it knows: destinations as they were before translation, UDP, and DNS in use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::panic::resume_unwind;
use std::thread::{Builder, ScopedJoinHandle};

use palisade_rules::analysis::Side;
use palisade_rules::analysis::connections::Tracked;
use palisade_rules::evaluate::Packet;
use palisade_rules::net::Protocol;

use super::Session;
use super::cuts::Assessed;
use super::nearby::{gateways, resolvers, source_for};
use crate::kernel::conntrack::{self, ConntrackError, Entry, connections};
use crate::kernel::sockets::{Socket, Sockets, cgroup_paths, held_by_named, holders, unit};
use crate::live::{as_tracked, has_services, owners};

/// The port of DNS.
const DNS: u16 = 53;

/// The names of the SSH server's process, in OpenSSH and Dropbear.
const SSH_SERVERS: [&str; 2] = ["sshd", "dropbear"];

/// The units that listen for SSH, in Debian and elsewhere.
const SSH_UNITS: [&str; 5] = [
    "ssh.service",
    "ssh.socket",
    "sshd.service",
    "sshd.socket",
    "dropbear.service",
];

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The connections to sockets of this host.
    pub(super) connections: Vec<Connection>,
    /// The ports that SSH servers listen on.
    pub(super) ssh_ports: BTreeSet<u16>,
    /// The DNS servers, and the addresses they are asked from.
    pub(super) resolvers: BTreeMap<IpAddr, IpAddr>,
    /// The default gateways, and this host's addresses towards them.
    pub(super) gateways: BTreeMap<IpAddr, IpAddr>,
    /// What could not be looked at.
    pub(super) notes: Vec<String>,
}

/// A connection that somebody elsewhere has opened to a socket of this host.
#[derive(Debug)]
pub(super) struct Connection {
    /// Its ends, as its socket knows them.
    pub(super) ends: Session,
    /// As policies see it.
    pub(super) tracked: Tracked,
    /// Its socket here.
    pub(super) socket: Socket,
}

/// A connection by its protocol and ends, the one of this host first.
type Ends = (u8, SocketAddr, SocketAddr);

impl Seen {
    /// Looks at the network namespace of the calling thread.
    pub(super) fn read(before: Side<'_>, after: Side<'_>) -> Self {
        // The kernel takes its time for what conntrack knows, and it is the only one who is at work then.
        std::thread::scope(|scope| {
            let entries = Builder::new().spawn_scoped(scope, tracked_connections);
            Seen::with(before, after, || match entries.map(ScopedJoinHandle::join) {
                Ok(Ok(entries)) => entries,
                Ok(Err(panic)) => resume_unwind(panic),
                // The host has no thread to spare.
                Err(_) => tracked_connections(),
            })
        })
    }

    fn with(
        before: Side<'_>,
        after: Side<'_>,
        entries: impl FnOnce() -> Result<Vec<Entry>, ConntrackError>,
    ) -> Self {
        let mut seen = Seen::default();
        let sockets = Sockets::read().unwrap_or_else(|error| {
            seen.notes.push(format!(
                "the kernel does not list its sockets ({error}): of the connections to this host, the guard knows the \
                 caller's alone; load inet_diag, tcp_diag and udp_diag with modprobe"
            ));
            Sockets::default()
        });
        seen.ssh_ports = ssh_ports(&sockets);
        let own: BTreeSet<IpAddr> = [before, after]
            .iter()
            .flat_map(|side| side.worlds.host.interfaces.values().flatten().copied())
            .collect();
        let towards = |far: IpAddr| Some((far, source_for(far)?));
        seen.gateways = gateways().into_iter().filter_map(towards).collect();
        let mut asked = resolvers();
        let entries = entries().unwrap_or_else(|error| {
            seen.notes.push(format!(
                "what is translated, and UDP, was left out by the guard: {error}"
            ));
            Vec::new()
        });
        asked.extend(dns_in_use(&entries, &own));
        seen.resolvers = asked.into_iter().filter_map(towards).collect();
        seen.connections = to_this_host(&sockets, &entries);
        if has_services(before.worlds) || has_services(after.worlds) {
            seen.fill_in_cgroups();
        }
        seen
    }

    fn fill_in_cgroups(&mut self) {
        let ids = self.connections.iter().filter_map(|found| found.socket.cgroup);
        let paths = cgroup_paths(&ids.collect());
        for Connection { tracked, socket, .. } in &mut self.connections {
            tracked.to_cgroup = socket.cgroup.and_then(|id| paths.get(&id).cloned());
        }
    }

    /// Says of each cut who holds the sockets. That is asked last, and of few: it takes a walk through all processes.
    pub(super) fn name_owners(&self, assessed: &mut Assessed) {
        let sockets: Vec<Vec<Socket>> = assessed
            .members
            .iter()
            .map(|members| {
                members
                    .iter()
                    .map(|&member| self.connections[member].socket)
                    .collect()
            })
            .collect();
        let all = || sockets.iter().flatten();
        let held: BTreeSet<u32> = all().map(|socket| socket.inode).collect();
        if held.is_empty() {
            return;
        }
        let processes = holders(&held);
        let paths = cgroup_paths(&all().filter_map(|socket| socket.cgroup).collect());
        for (cut, sockets) in assessed.report.cut.iter_mut().zip(&sockets) {
            cut.owners = owners(sockets, &processes, &paths);
        }
    }
}

/// The connections that conntrack knows.
fn tracked_connections() -> Result<Vec<Entry>, ConntrackError> {
    if conntrack::is_empty() {
        return Ok(Vec::new());
    }
    connections()
}

/// The connections to sockets that listen, or that take what comes from anybody.
fn to_this_host(sockets: &Sockets, entries: &[Entry]) -> Vec<Connection> {
    let tcp = Protocol::TCP.0;
    let known: BTreeMap<Ends, &Entry> = entries.iter().map(|entry| (ends_of(entry), entry)).collect();
    let listening: BTreeSet<u16> = sockets
        .iter()
        .filter(|listed| listed.protocol == tcp && listed.far.is_none())
        .map(|listed| listed.own.port())
        .collect();
    let connected = sockets.iter().filter_map(|listed| {
        let far = listed.far?;
        // One without an inode is closed, and has nobody behind it.
        let is_taken = listed.protocol == tcp
            && listed.socket.inode != 0
            && listening.contains(&listed.own.port())
            && !listed.own.ip().is_loopback();
        is_taken.then(|| Connection {
            ends: Session {
                remote: far,
                local: listed.own,
            },
            tracked: match known.get(&(tcp, listed.own, far)) {
                Some(entry) => as_tracked(entry),
                None => tracked(Protocol::TCP, far, listed.own),
            },
            socket: listed.socket,
        })
    });
    let datagrams = entries.iter().filter_map(|entry| {
        let (protocol, own, far) = ends_of(entry);
        let socket = sockets.find(protocol, own, far)?;
        let is_taken = protocol == Protocol::UDP.0 && entry.is_alive() && !own.ip().is_loopback();
        // What this host has opened itself has its own end as the source.
        let is_inbound = entry.translated().destination == own.ip() && entry.original.source != own.ip();
        (is_taken && is_inbound).then(|| Connection {
            ends: Session {
                remote: far,
                local: own,
            },
            tracked: as_tracked(entry),
            socket,
        })
    });
    connected.chain(datagrams).collect()
}

/// The ends of what comes to this host, as its socket knows them.
fn ends_of(entry: &Entry) -> Ends {
    let reply = entry.reply;
    (
        reply.protocol,
        SocketAddr::new(reply.source, reply.source_port),
        SocketAddr::new(reply.destination, reply.destination_port),
    )
}

/// A connection between two ends, opened by the first, that nobody translates.
pub(super) fn tracked(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> Tracked {
    let packet = Packet {
        source: from.ip(),
        destination: to.ip(),
        protocol,
        source_port: from.port(),
        destination_port: to.port(),
        icmp_type: 0,
        icmp_code: 0,
    };
    Tracked {
        arriving: packet,
        packet,
        answered: true,
        expected: false,
        from_cgroup: None,
        to_cgroup: None,
    }
}

/// The servers that this host is asking for names.
fn dns_in_use(entries: &[Entry], own: &BTreeSet<IpAddr>) -> impl Iterator<Item = IpAddr> {
    entries.iter().filter_map(|entry| {
        let asked = entry.original;
        let is_ours = own.contains(&asked.source) && !own.contains(&asked.destination);
        let has_ports = Protocol(asked.protocol).has_ports();
        let is_dns = has_ports && asked.destination_port == DNS && !asked.destination.is_loopback();
        (is_ours && is_dns).then_some(asked.destination)
    })
}

/// The ports that SSH servers listen on: by the unit, which anybody may see, and by the process.
fn ssh_ports(sockets: &Sockets) -> BTreeSet<u16> {
    let listening: Vec<_> = sockets
        .iter()
        .filter(|listed| listed.protocol == Protocol::TCP.0 && listed.far.is_none())
        .collect();
    let cgroups = listening.iter().filter_map(|listed| listed.socket.cgroup);
    let paths = cgroup_paths(&cgroups.collect());
    let held = held_by_named(&SSH_SERVERS);
    let is_ssh = |socket: &Socket| {
        let path = socket.cgroup.and_then(|id| paths.get(&id));
        let by_unit = path
            .and_then(|path| unit(path))
            .is_some_and(|unit| SSH_UNITS.contains(&unit));
        by_unit || held.contains(&socket.inode)
    };
    listening
        .iter()
        .filter(|listed| is_ssh(&listed.socket))
        .map(|listed| listed.own.port())
        .collect()
}
