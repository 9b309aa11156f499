//! The sockets of this host, and whose they are.
//!
//! The kernel lists sockets with their user and cgroup to anybody (inet_diag), and a cgroup's path names its systemd
//! unit: that needs no privilege. Which process holds a socket is in `/proc/PID/fd` alone, which for processes with other
//! credentials takes CAP_SYS_PTRACE.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::socket::SockProtocol;

use super::cgroups::{MOST_DIRECTORIES, mounted};
use super::netlink::{attributes, dump, value};

/// `IPPROTO_TCP`, `IPPROTO_UDP`.
const PROTOCOLS: [u8; 2] = [6, 17];

/// `AF_INET`, `AF_INET6`.
const INET: u8 = 2;
const INET6: u8 = 10;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;

/// Bytes of `struct inet_diag_req_v2` and of `struct inet_diag_msg`.
const REQUEST: usize = 56;
const RESPONSE: usize = 72;

/// `INET_DIAG_CGROUP_ID`.
const CGROUP_ID: u16 = 21;

/// A TCP or UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its number, which `/proc/PID/fd` shows; 0 where no process holds it any more.
    pub inode: u32,
    /// The user who made it.
    pub uid: u32,
    /// The cgroup that it was made in.
    pub cgroup: Option<u64>,
}

/// A socket and its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The number of its protocol: 6 or 17.
    pub protocol: u8,
    /// Its own end.
    pub own: SocketAddr,
    /// The far end; `None` where it is connected to nobody: of TCP, it listens.
    pub far: Option<SocketAddr>,
    /// The socket.
    pub socket: Socket,
}

/// The sockets of a network namespace by protocol and ends.
#[derive(Debug, Default)]
pub struct Sockets {
    by_ends: BTreeMap<Ends, Socket>,
}

/// Protocol, own end, far end; a far end of `None` is any.
type Ends = (u8, SocketAddr, Option<SocketAddr>);

impl Sockets {
    /// Lists the sockets in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Where the kernel has no inet_diag.
    pub fn read() -> io::Result<Self> {
        let mut sockets = Sockets::default();
        for protocol in PROTOCOLS {
            for family in [INET, INET6] {
                let mut request = [0; REQUEST];
                request[0] = family;
                request[1] = protocol;
                request[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
                dump(SockProtocol::NetlinkSockDiag, BY_FAMILY, &request, |payload| {
                    if let Some((own, far, socket)) = decode(payload) {
                        sockets.by_ends.insert((protocol, own, far), socket);
                    }
                    ControlFlow::Continue(())
                })?;
            }
        }
        Ok(sockets)
    }

    /// Every socket with its ends.
    pub fn iter(&self) -> impl Iterator<Item = Listed> {
        self.by_ends
            .iter()
            .map(|(&(protocol, own, far), &socket)| Listed {
                protocol,
                own,
                far,
                socket,
            })
    }

    /// The socket that has this end of a connection: connected to the far end, or taking what comes from anybody.
    pub fn find(&self, protocol: u8, own: SocketAddr, far: SocketAddr) -> Option<Socket> {
        let port = own.port();
        let any = |address: IpAddr| (SocketAddr::new(address, port), None);
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        let unspecified: &[_] = if own.is_ipv4() {
            &[any(v4), any(v6)]
        } else {
            &[any(v6)]
        };
        let mut candidates = [(own, Some(far)), (own, None)]
            .into_iter()
            .chain(unspecified.iter().copied());
        candidates.find_map(|(own, far)| self.by_ends.get(&(protocol, own, far)).copied())
    }
}

/// Decodes a `struct inet_diag_msg`: family, state, timer, retransmissions, both ports and addresses, the interface, a
/// cookie, four numbers of queues and times, the user and the inode.
fn decode(payload: &[u8]) -> Option<(SocketAddr, Option<SocketAddr>, Socket)> {
    let (fixed, rest) = payload.split_at_checked(RESPONSE)?;
    let port = |at: usize| Some(u16::from_be_bytes(*fixed.get(at..)?.first_chunk()?));
    let number = |at: usize| Some(u32::from_ne_bytes(*fixed.get(at..)?.first_chunk()?));
    let address = |at: usize| -> Option<IpAddr> {
        Some(if fixed[0] == INET {
            Ipv4Addr::from(*fixed.get(at..)?.first_chunk::<4>()?).into()
        } else {
            // An IPv4 connection of an IPv6 socket is an IPv4 connection.
            Ipv6Addr::from(*fixed.get(at..)?.first_chunk::<16>()?).to_canonical()
        })
    };
    let own = SocketAddr::new(address(8)?, port(4)?);
    let far = SocketAddr::new(address(24)?, port(6)?);
    let cgroup = attributes(rest).find(|attribute| attribute.kind() == CGROUP_ID);
    let socket = Socket {
        uid: number(64)?,
        inode: number(68)?,
        cgroup: cgroup.and_then(|id| value(&id)).map(u64::from_ne_bytes),
    };
    Some((own, (far.port() != 0).then_some(far), socket))
}

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its name, as `ps -o comm` shows it.
    pub comm: String,
}

/// The processes that hold these sockets, by inode: the first of each socket's, by number. A process that may not be
/// looked into is passed over.
pub fn holders(inodes: &BTreeSet<u32>) -> BTreeMap<u32, Process> {
    let mut holders = BTreeMap::new();
    let mut pids: Vec<u32> = names(Path::new("/proc"))
        .filter_map(|name| name.parse().ok())
        .collect();
    pids.sort_unstable();
    for pid in pids {
        let held: Vec<u32> = held_by(pid)
            .filter(|inode| inodes.contains(inode) && !holders.contains_key(inode))
            .collect();
        if held.is_empty() {
            continue;
        }
        let process = Process {
            pid: pid.cast_signed(),
            comm: comm(pid).unwrap_or_default(),
        };
        holders.extend(held.into_iter().map(|inode| (inode, process.clone())));
        if holders.len() == inodes.len() {
            break;
        }
    }
    holders
}

/// The inodes of the sockets that processes of these names hold. Only these are looked into: to look into all takes some
/// two microseconds for each file that is open.
pub fn held_by_named(comms: &[&str]) -> BTreeSet<u32> {
    let pids = names(Path::new("/proc")).filter_map(|name| name.parse().ok());
    let named = pids.filter(|&pid| comm(pid).is_some_and(|comm| comms.contains(&comm.as_str())));
    named.flat_map(held_by).collect()
}

/// The name of a process, as `ps -o comm` shows it.
fn comm(pid: u32) -> Option<String> {
    // The kernel gives at most 15 bytes, and the end of a line; those of a thread of its own may be some more.
    let mut comm = [0; 64];
    let mut file = File::open(format!("/proc/{pid}/comm")).ok()?;
    let length = file.read(&mut comm).ok()?;
    let comm = String::from_utf8_lossy(&comm[..length]);
    Some(comm.trim_end().to_owned())
}

/// The inodes of the sockets that a process holds; none if it may not be looked into.
pub fn held_by(pid: u32) -> impl Iterator<Item = u32> {
    let descriptors = PathBuf::from(format!("/proc/{pid}/fd"));
    let names: Vec<String> = names(&descriptors).collect();
    names.into_iter().filter_map(move |name| {
        let link = std::fs::read_link(descriptors.join(name)).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse().ok()
    })
}

/// The paths of these cgroups below the root of the hierarchy (v2), without a slash at either end; those that are gone,
/// or that cannot be looked into, are left out.
pub fn cgroup_paths(ids: &BTreeSet<u64>) -> BTreeMap<u64, Arc<str>> {
    let mut found = BTreeMap::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Some(root) = mounted(&mounts).filter(|_| !ids.is_empty()) else {
        return found;
    };
    let mut open = vec![String::new()];
    for _ in 0..MOST_DIRECTORIES {
        let Some(path) = open.pop() else { break };
        let directory = root.join(&path);
        let Ok(metadata) = std::fs::metadata(&directory) else {
            continue;
        };
        if ids.contains(&metadata.ino()) {
            found.insert(metadata.ino(), Arc::from(path.as_str()));
            if found.len() == ids.len() {
                break;
            }
        }
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(below.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            })
        }));
    }
    found
}

/// The systemd unit of a cgroup: the innermost service, scope or other unit that is no slice.
pub fn unit(path: &str) -> Option<&str> {
    const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    path.rsplit('/')
        .find(|name| KINDS.iter().any(|kind| name.ends_with(kind)))
}

/// The names in a directory; none if it cannot be read.
fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_innermost_unit_is_named() {
        assert_eq!(unit("system.slice/nginx.service"), Some("nginx.service"));
        assert_eq!(
            unit("user.slice/user-0.slice/user@0.service/app.slice/web.service"),
            Some("web.service")
        );
        assert_eq!(unit("system.slice/web.service/worker-1"), Some("web.service"));
        assert_eq!(unit("system.slice"), None);
    }

    #[test]
    fn sockets_are_found_by_the_name_of_their_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = link.to_str().unwrap();
        let inode: u32 = inode["socket:[".len()..inode.len() - 1].parse().unwrap();
        let own = comm(std::process::id()).unwrap();
        assert!(held_by_named(&[&own]).contains(&inode));
        assert!(!held_by_named(&["no such process"]).contains(&inode));
        assert_eq!(holders(&[inode].into())[&inode].comm, own);
    }

    #[test]
    fn what_is_cut_short_is_no_socket() {
        for length in 0..RESPONSE {
            assert_eq!(decode(&vec![0xff; length]), None);
        }
        assert!(decode(&[0xff; RESPONSE]).is_some());
    }
}
