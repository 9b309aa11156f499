//! Who holds the sockets of connections: asked on a thread of its own, so that neither packets nor records wait.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use palisade_rules::net::Direction;
use time::OffsetDateTime;
use tracing::warn;

use super::observations::Wanted;
use crate::kernel::sockets::{Process, Socket, Sockets, cgroup_paths, holders, unit};
use crate::live::Owner;
use crate::service::Daemon;

/// Questions that wait. What comes beyond is not asked now; the next first packet of its like asks again.
const QUESTIONS: usize = 4_096;

/// Questions that come together are answered together.
const TOGETHER: Duration = Duration::from_millis(20);

/// The share of its time that the thread may be busy: after a second of work it rests for fifty.
const REST: u32 = 50;

/// Cgroups and sockets whose names are remembered.
const REMEMBERED: usize = 16_384;

/// Where to ask.
#[derive(Clone, Debug)]
pub struct Owners(SyncSender<Wanted>);

/// Where it can be asked, and where it is answered.
pub fn questions() -> (Owners, Receiver<Wanted>) {
    let (questions, asked) = sync_channel(QUESTIONS);
    (Owners(questions), asked)
}

/// Starts the thread that answers; it ends with the daemon.
pub fn start(daemon: Arc<Daemon>, asked: Receiver<Wanted>) {
    let thread = std::thread::Builder::new()
        .name("owners".to_owned())
        .spawn(move || answer(&daemon, &asked));
    if let Err(error) = thread {
        warn!(%error, "flow records will not name processes and units: their thread cannot be started");
    }
}

impl Owners {
    /// Asks who holds the socket of a connection. Never waits.
    pub fn ask(&self, wanted: Wanted) {
        // Who is not asked now is asked with the next packet.
        let _ = self.0.try_send(wanted);
    }
}

fn answer(daemon: &Daemon, asked: &Receiver<Wanted>) {
    let mut names = Names::default();
    while let Ok(first) = asked.recv() {
        std::thread::sleep(TOGETHER);
        let began = Instant::now();
        let mut wanted = vec![first];
        wanted.extend(asked.try_iter().take(QUESTIONS));
        match Sockets::read() {
            Ok(sockets) => {
                let found: Vec<Option<Socket>> = wanted.iter().map(|wanted| find(&sockets, wanted)).collect();
                names.look_up(found.iter().flatten());
                let owners: Vec<Option<Owner>> = wanted
                    .iter()
                    .zip(&found)
                    .map(|(wanted, socket)| names.owner(wanted, socket.as_ref()))
                    .collect();
                daemon.owned(&wanted, &owners, OffsetDateTime::now_utc());
            }
            Err(error) => {
                warn!(%error, "flow records do not name processes and units: the kernel does not list its sockets; load inet_diag");
                return;
            }
        }
        std::thread::sleep(began.elapsed() * REST);
    }
}

/// The socket of this host's end.
fn find(sockets: &Sockets, wanted: &Wanted) -> Option<Socket> {
    let packet = &wanted.connection.packet;
    let source = SocketAddr::new(packet.source, wanted.source_port);
    let destination = SocketAddr::new(packet.destination, packet.destination_port);
    let (own, far) = match wanted.connection.direction {
        Direction::Ingress => (destination, source),
        Direction::Egress => (source, destination),
    };
    sockets.find(packet.protocol.0, own, far)
}

/// What cgroups and sockets are called, as far as it is known; `None` is that it cannot be known.
#[derive(Default)]
struct Names {
    units: BTreeMap<u64, Option<String>>,
    processes: BTreeMap<u32, Option<Process>>,
}

impl Names {
    fn look_up<'s>(&mut self, sockets: impl Iterator<Item = &'s Socket> + Clone) {
        if self.units.len() > REMEMBERED {
            self.units.clear();
        }
        if self.processes.len() > REMEMBERED {
            self.processes.clear();
        }
        let cgroups: BTreeSet<u64> = sockets
            .clone()
            .filter_map(|socket| socket.cgroup)
            .filter(|cgroup| !self.units.contains_key(cgroup))
            .collect();
        let mut paths = cgroup_paths(&cgroups);
        self.units.extend(cgroups.into_iter().map(|cgroup| {
            let path = paths.remove(&cgroup);
            (cgroup, path.and_then(|path| unit(&path).map(str::to_owned)))
        }));
        let inodes: BTreeSet<u32> = sockets
            .map(|socket| socket.inode)
            .filter(|inode| *inode != 0 && !self.processes.contains_key(inode))
            .collect();
        if !inodes.is_empty() {
            let mut found = holders(&inodes);
            self.processes
                .extend(inodes.into_iter().map(|inode| (inode, found.remove(&inode))));
        }
    }

    /// Without a process number: what starts anew for each connection is one owner.
    fn owner(&self, wanted: &Wanted, socket: Option<&Socket>) -> Option<Owner> {
        let unknown = |uid| Owner {
            unit: None,
            pid: None,
            comm: None,
            uid,
            connections: 1,
        };
        let Some(socket) = socket else {
            // Gone already; but whoever sends a packet is known to the kernel.
            return wanted.uid.map(unknown);
        };
        let process = self.processes.get(&socket.inode).and_then(Option::as_ref);
        let unit = socket
            .cgroup
            .and_then(|cgroup| self.units.get(&cgroup).cloned().flatten());
        Some(Owner {
            unit,
            comm: process.map(|process| process.comm.clone()),
            ..unknown(socket.uid)
        })
    }
}
