//! Follows conntrack: each end of a connection as it is told, and those that are alive from time to time.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{info, warn};

use super::tracks::Tracked;
use crate::kernel::conntrack::connections;
use crate::kernel::conntrack_ends::{ConntrackEnds, account};
use crate::service::Daemon;

/// Ends that are handed on at once.
const TOGETHER: usize = 4_096;

/// Ends that come together are read together.
const COLLECTED: Duration = Duration::from_millis(50);

/// The share of time that listing connections may take: after a second of it, none for a hundred; none for two thousand
/// where no flow has come that was not known the last time. The kernel looks through its whole table, empty or not.
const REST: [u32; 2] = [100, 2_000];

/// Follows the ends of connections on a thread of its own, until the process ends. Without them, records count first
/// packets, and everything else works: the daemon says so and goes on.
pub fn start(daemon: Arc<Daemon>) {
    if let Err(error) = account() {
        warn!(%error, "flow records count first packets alone: conntrack does not account the others");
    }
    let mut ends = match ConntrackEnds::open() {
        Ok(ends) => ends,
        Err(error) => {
            warn!(%error, "flow records will not tell of the ends of connections");
            return;
        }
    };
    info!("following the ends of connections");
    let follower = std::thread::Builder::new()
        .name("conntrack".to_owned())
        .spawn(move || {
            if let Err(error) = follow(&daemon, &mut ends) {
                warn!(%error, "flow records tell no longer of the ends of connections");
            }
        });
    if let Err(error) = follower {
        warn!(%error, "flow records will not tell of the ends of connections: their thread cannot be started");
    }
}

fn follow(daemon: &Daemon, ends: &mut ConntrackEnds) -> io::Result<()> {
    let mut overruns = 0;
    let mut ended = Vec::with_capacity(TOGETHER);
    loop {
        match ends.receive(TOGETHER, |entry| ended.push(*entry)) {
            Ok(_) => {
                daemon.ended(&ended, ends.overruns() - overruns);
                overruns = ends.overruns();
                if ended.len() < TOGETHER {
                    std::thread::sleep(COLLECTED);
                }
                ended.clear();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match poll(
                    &mut [PollFd::new(ends.as_fd(), PollFlags::POLLIN)],
                    PollTimeout::NONE,
                ) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Looks at the connections that are alive, as often as that is cheap.
#[derive(Debug, Default)]
pub struct Alive {
    /// When that was done last, and how long it took.
    looked: Option<(Instant, Duration)>,
}

impl Alive {
    /// Looks at them, unless there can be none, or the last time was long and not long ago.
    pub fn look(&mut self, daemon: &Daemon) {
        let rest = match daemon.tracked() {
            Tracked::Nothing => return,
            Tracked::New => REST[0],
            Tracked::NothingNew => REST[1],
        };
        let began = Instant::now();
        if self.looked.is_some_and(|(at, took)| began < at + took * rest) {
            return;
        }
        match connections() {
            Ok(entries) => daemon.alive(&entries),
            Err(error) => tracing::debug!(%error, "the connections that are alive are unknown"),
        }
        self.looked = Some((Instant::now(), began.elapsed()));
    }
}
