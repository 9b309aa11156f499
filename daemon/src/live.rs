//! Live connections: what conntrack holds, judged by the evaluator, and whose they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use palisade_rules::analysis::Side;
use palisade_rules::analysis::connections::{Affected, Effect, Sweep, Tracked, sweep};
use palisade_rules::evaluate::Packet;
use palisade_rules::net::Protocol;
use palisade_rules::world::{Attachment, Worlds};
use serde::{Deserialize, Serialize};

use crate::kernel::conntrack::{ConntrackError, Entry, MOST, Tuple, connections, forget};
use crate::kernel::sockets::{Process, Socket, Sockets, cgroup_paths, holders, unit};

/// What a change of worlds does to the connections that are alive: `GET /v1/connections`, and a part of the plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveReport {
    /// Connections looked at.
    pub connections: usize,
    /// Of these, those that no policy is asked about: loopback, and those that another connection has announced.
    pub exempt: usize,
    /// Of these, those that would be allowed before and after.
    pub unaffected: usize,
    /// The others, those alike together.
    pub affected: Vec<LiveGroup>,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// Connections that are alike, and whose they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveGroup {
    /// What is done to them.
    #[serde(flatten)]
    pub connections: Affected,
    /// Who holds the sockets of this host's end; empty for what only goes through it, and for workloads.
    pub owners: Vec<Owner>,
}

/// Who holds sockets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// The systemd unit whose cgroup the socket was made in.
    pub unit: Option<String>,
    /// The process; `None` if none may be looked into that holds it.
    pub pid: Option<i32>,
    /// The name of the process.
    pub comm: Option<String>,
    /// The user who made the socket.
    pub uid: u32,
    /// How many connections.
    pub connections: usize,
}

impl LiveReport {
    /// How many connections the change does this to.
    pub fn count(&self, effect: Effect) -> usize {
        let groups = self.affected.iter().map(|group| &group.connections);
        let affected = groups.filter(|group| group.effect == effect);
        affected.map(|group| group.connections).sum()
    }
}

impl Owner {
    /// `nginx[812] (nginx.service)`, as much of it as is known.
    pub fn phrase(&self) -> String {
        let process = match (&self.comm, self.pid) {
            (Some(comm), Some(pid)) => format!("{comm}[{pid}]"),
            (Some(comm), None) => comm.clone(),
            _ => format!("a process of uid {}", self.uid),
        };
        match &self.unit {
            Some(unit) => format!("{process} ({unit})"),
            None => process,
        }
    }
}

/// Reads the connections in the network namespace of the calling thread and says what the step between two worlds does
/// to them. How long that takes with 100,000 connections is what `make bench-conntrack` says.
pub fn look(before: Side<'_>, after: Side<'_>) -> Result<LiveReport, ConntrackError> {
    let services = has_services(before.worlds) || has_services(after.worlds);
    let read = read(after.worlds, services)?;
    let swept = sweep(before, after, &read.tracked);
    Ok(read.ends.report(swept, &read.entries))
}

/// Ends the connections that would be denied in the later world if they were opened again, and says how many there were.
pub fn cut(before: Side<'_>, after: Side<'_>) -> Result<usize, ConntrackError> {
    let services = has_services(before.worlds) || has_services(after.worlds);
    let read = read(after.worlds, services)?;
    let swept = sweep(before, after, &read.tracked);
    let is_denied = |group: &&Affected| matches!(group.effect, Effect::Denied | Effect::AlreadyDenied);
    let denied = swept.affected.iter().filter(is_denied);
    let entries = denied.flat_map(|group| group.members.iter().map(|&member| &read.entries[member]));
    forget(entries)
}

/// The connections that are alive, as policies see them.
#[derive(Clone, Debug, Default)]
pub struct Alive {
    /// The connections.
    pub connections: Vec<Tracked>,
    /// Whether there are no more than could be read.
    pub is_complete: bool,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// Reads the connections in the network namespace of the calling thread.
pub fn alive(worlds: &Worlds) -> Result<Alive, ConntrackError> {
    let read = read(worlds, has_services(worlds))?;
    Ok(Alive {
        connections: read.tracked,
        is_complete: read.is_complete,
        notes: read.ends.notes,
    })
}

/// The connections that are alive, as the kernel and as policies see them.
struct Read {
    entries: Vec<Entry>,
    tracked: Vec<Tracked>,
    is_complete: bool,
    ends: Ends,
}

fn read(worlds: &Worlds, has_services: bool) -> Result<Read, ConntrackError> {
    let mut entries = connections()?;
    let is_complete = entries.len() < MOST;
    entries.retain(Entry::is_alive);
    let mut tracked: Vec<Tracked> = entries.iter().map(as_tracked).collect();
    let mut ends = Ends::new(worlds);
    if !is_complete {
        ends.notes.push(format!(
            "there are more connections than the first {MOST}, and only those were looked at"
        ));
    }
    if has_services {
        ends.fill_in_cgroups(&entries, &mut tracked);
    }
    Ok(Read {
        entries,
        tracked,
        is_complete,
        ends,
    })
}

/// A connection as policies see it.
pub(crate) fn as_tracked(entry: &Entry) -> Tracked {
    let packet = |tuple: Tuple| Packet {
        source: tuple.source,
        destination: tuple.destination,
        protocol: Protocol(tuple.protocol),
        source_port: tuple.source_port,
        destination_port: tuple.destination_port,
        icmp_type: tuple.icmp_type,
        icmp_code: tuple.icmp_code,
    };
    Tracked {
        arriving: packet(entry.original),
        packet: packet(entry.translated()),
        answered: entry.status.seen_reply(),
        expected: entry.status.expected(),
        from_cgroup: None,
        to_cgroup: None,
    }
}

/// Whether there are endpoints of services, which are known by the cgroups of sockets.
pub(crate) fn has_services(worlds: &Worlds) -> bool {
    let mut local = worlds.local();
    local.any(|(.., attachment)| matches!(attachment, Attachment::Cgroups(cgroups) if !cgroups.is_empty()))
}

/// The ends of connections that are on this host, and their sockets, read when they are asked for.
struct Ends {
    own: BTreeSet<IpAddr>,
    sockets: Option<Sockets>,
    notes: Vec<String>,
}

impl Ends {
    fn new(worlds: &Worlds) -> Self {
        Ends {
            own: worlds.host.interfaces.values().flatten().copied().collect(),
            sockets: None,
            notes: Vec::new(),
        }
    }

    /// The socket that opened a connection, and the one that took it, if they are of this host.
    fn sockets_of(&mut self, entry: &Entry) -> [Option<Socket>; 2] {
        let Entry { original, reply, .. } = entry;
        let is_own = |address: IpAddr| address.is_loopback() || self.own.contains(&address);
        // Who opens it knows the destination as it was, who takes it the source as it becomes.
        let ends = [
            (
                original.source,
                original.source_port,
                original.destination,
                original.destination_port,
            ),
            (
                reply.source,
                reply.source_port,
                reply.destination,
                reply.destination_port,
            ),
        ];
        let ends = ends.map(|end| is_own(end.0).then_some(end));
        let sockets = self.sockets.get_or_insert_with(|| {
            Sockets::read().unwrap_or_else(|error| {
                self.notes.push(format!(
                    "whose the connections are is unknown: the kernel does not list its sockets ({error}); load inet_diag, \
                     tcp_diag and udp_diag with modprobe"
                ));
                Sockets::default()
            })
        });
        ends.map(|end| {
            let (own, own_port, far, far_port) = end?;
            let (own, far) = (SocketAddr::new(own, own_port), SocketAddr::new(far, far_port));
            sockets.find(original.protocol, own, far)
        })
    }

    fn fill_in_cgroups(&mut self, entries: &[Entry], tracked: &mut [Tracked]) {
        let sockets: Vec<_> = entries.iter().map(|entry| self.sockets_of(entry)).collect();
        let ids = sockets
            .iter()
            .flatten()
            .flatten()
            .filter_map(|socket| socket.cgroup);
        let paths = cgroup_paths(&ids.collect());
        let path =
            |socket: &Option<Socket>| -> Option<Arc<str>> { paths.get(&socket.as_ref()?.cgroup?).cloned() };
        for (tracked, [from, to]) in tracked.iter_mut().zip(&sockets) {
            tracked.from_cgroup = path(from);
            tracked.to_cgroup = path(to);
        }
    }

    /// The report of a sweep, with the owners of what is affected.
    fn report(mut self, swept: Sweep, entries: &[Entry]) -> LiveReport {
        let found: Vec<(Affected, Vec<Socket>)> = swept
            .affected
            .into_iter()
            .map(|group| {
                let entries = group.members.iter().map(|&member| &entries[member]);
                let sockets = entries.filter_map(|entry| self.sockets_of(entry).into_iter().flatten().next());
                let sockets = sockets.collect();
                (group, sockets)
            })
            .collect();
        let sockets = || found.iter().flat_map(|(_, sockets)| sockets);
        let held: BTreeSet<u32> = sockets()
            .map(|socket| socket.inode)
            .filter(|inode| *inode != 0)
            .collect();
        let processes = if held.is_empty() {
            BTreeMap::new()
        } else {
            holders(&held)
        };
        let paths = cgroup_paths(&sockets().filter_map(|socket| socket.cgroup).collect());
        if processes.len() < held.len() {
            self.notes.push(format!(
                "the processes of {} sockets are unknown: seeing them takes CAP_SYS_PTRACE, which palisaded's unit gives \
                 with its drop-in processes.conf only; the unit and the user are those that the socket was made by",
                held.len() - processes.len()
            ));
        }
        let affected = found.into_iter().map(|(connections, sockets)| LiveGroup {
            connections,
            owners: owners(&sockets, &processes, &paths),
        });
        LiveReport {
            connections: swept.connections,
            exempt: swept.exempt,
            unaffected: swept.unaffected,
            affected: affected.collect(),
            notes: self.notes,
        }
    }
}

/// Who holds these sockets, whoever holds most of them first.
pub(crate) fn owners(
    sockets: &[Socket],
    processes: &BTreeMap<u32, Process>,
    paths: &BTreeMap<u64, Arc<str>>,
) -> Vec<Owner> {
    let mut owners: Vec<Owner> = Vec::new();
    let mut known: BTreeMap<(Option<&str>, Option<&Process>, u32), usize> = BTreeMap::new();
    for socket in sockets {
        let path = socket.cgroup.and_then(|id| paths.get(&id));
        let unit = path.and_then(|path| unit(path));
        let process = processes.get(&socket.inode);
        let owner = *known.entry((unit, process, socket.uid)).or_insert_with(|| {
            owners.push(Owner {
                unit: unit.map(str::to_owned),
                pid: process.map(|process| process.pid),
                comm: process.map(|process| process.comm.clone()),
                uid: socket.uid,
                connections: 0,
            });
            owners.len() - 1
        });
        owners[owner].connections += 1;
    }
    owners.sort_by(|a, b| b.connections.cmp(&a.connections).then_with(|| a.cmp(b)));
    owners
}
