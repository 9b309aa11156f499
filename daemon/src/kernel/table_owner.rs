//! Whose a table is that belongs to a process.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_rules::ruleset::TABLE;

use super::sockets::{self, Process};

/// The daemon's name.
const DAEMON: &str = "palisaded";

/// The netlink protocol of nf_tables.
const NETLINK_NETFILTER: &str = "12";

/// How long a process may take to be gone: one that sends a large table to the kernel ends only then.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why the owner of our table still is there.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// No process is seen with the socket.
    #[error(
        "table inet {TABLE} belongs to a process that cannot be seen from here (netlink port {port}): it is in another pid \
         namespace, or you are not root; end it there"
    )]
    Unknown {
        /// The port of its socket.
        port: u32,
    },
    /// It is none of ours.
    #[error("table inet {TABLE} belongs to {comm} (pid {pid}), which is no palisaded: end it, then try again", comm = .0.comm, pid = .0.pid)]
    Foreign(Process),
    /// It cannot be ended.
    #[error("table inet {TABLE} belongs to palisaded (pid {pid}), which cannot be ended: {errno}")]
    Kill {
        /// Its number.
        pid: i32,
        /// Why.
        errno: Errno,
    },
    /// It does not go away.
    #[error(
        "table inet {TABLE} belongs to palisaded (pid {pid}), which was killed and has not ended for {PATIENCE:?}: try again"
    )]
    Lingers {
        /// Its number.
        pid: i32,
    },
}

/// Kills the palisaded whose netlink socket has this port, in whatever state it is, and waits until the socket is closed.
/// Returns its number.
pub fn end(port: u32) -> Result<i32, OwnerError> {
    let Some(inode) = inode(port) else {
        return Err(OwnerError::Unknown { port });
    };
    let holder = sockets::holders(&BTreeSet::from([inode])).remove(&inode);
    let holder = holder.ok_or(OwnerError::Unknown { port })?;
    if holder.comm != DAEMON {
        return Err(OwnerError::Foreign(holder));
    }
    let pid = holder.pid;
    match kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(OwnerError::Kill { pid, errno }),
    }
    let killed = Instant::now();
    while self::inode(port) == Some(inode) {
        if killed.elapsed() > PATIENCE {
            return Err(OwnerError::Lingers { pid });
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(pid)
}

/// The inode of the netlink socket of this port, in the network namespace of the calling thread.
fn inode(port: u32) -> Option<u32> {
    find(&fs::read_to_string("/proc/thread-self/net/netlink").ok()?, port)
}

/// Looks into a list of the kernel's with a heading and the columns address, protocol, port, groups, two of memory, dump,
/// locks, drops and inode.
fn find(list: &str, port: u32) -> Option<u32> {
    let port = port.to_string();
    list.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        (columns.len() >= 10 && columns[1] == NETLINK_NETFILTER && columns[2] == port)
            .then(|| columns[9].parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_by_protocol_and_port() {
        let list = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
0000000000000000 0   741        00000000 0        0        0     2        0        1077
0000000000000000 12  741        00000000 0        0        0     2        0        4711
0000000000000000 12  4294963041 00000040 0        0        0     2        0        815
";
        assert_eq!(find(list, 741), Some(4711));
        assert_eq!(find(list, 4_294_963_041), Some(815));
        assert_eq!(find(list, 1077), None);
    }
}
