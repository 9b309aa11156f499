//! The ends of connections, as conntrack tells them (`NFNLGRP_CONNTRACK_DESTROY`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use netlink_packet_core::{NLA_ALIGNTO, NetlinkBuffer, nla_align as align};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};

use super::conntrack::{Entry, entry};

/// `NFNLGRP_CONNTRACK_DESTROY` is 3, and the group of bit 0 is 1.
const GROUP_DESTROY: u32 = 1 << 2;

/// `NFNL_SUBSYS_CTNETLINK`, and in it `IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 1 << 8 | 2;

/// Bytes of the nfgenmsg header.
const NFGEN_HEADER: usize = 4;

/// Bytes of events that wait to be read: some 10,000 of them, and as memory of the kernel only while they do.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// One event is some 250 bytes.
const BUFFER: usize = 16 * 1024;

/// A socket that is told of connections that end. It never blocks: wait until its descriptor is readable.
#[derive(Debug)]
pub struct ConntrackEnds {
    socket: OwnedFd,
    buffer: Vec<u8>,
    overruns: u64,
}

impl ConntrackEnds {
    /// Opens a socket in the network namespace of the calling thread. From now on the kernel makes an event of each end.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, and where the kernel has no nf_conntrack_netlink or no events.
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkNetFilter,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP_DESTROY))?;
        // Beyond net.core.rmem_max, which CAP_NET_ADMIN may; what cannot be had is only sooner full.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        Ok(ConntrackEnds {
            socket,
            buffer: vec![0; BUFFER],
            overruns: 0,
        })
    }

    /// Reads what there is, up to `most` events, and gives each to `each`; returns how many there were.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where there is nothing to read.
    pub fn receive(&mut self, most: usize, mut each: impl FnMut(&Entry)) -> io::Result<usize> {
        let mut events = 0;
        while events < most {
            let length = match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                // The kernel had no room for some, and does not say how many.
                Err(Errno::ENOBUFS) => {
                    self.overruns += 1;
                    continue;
                }
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) if events > 0 => break,
                length => length?,
            };
            let mut rest = &self.buffer[..length];
            while let Ok(message) = NetlinkBuffer::new_checked(rest) {
                if message.message_type() == DELETE
                    && let Some(entry) = entry(message.payload().get(NFGEN_HEADER..).unwrap_or_default())
                {
                    events += 1;
                    each(&entry);
                }
                let next = align!(message.length() as usize);
                rest = rest.get(next..).unwrap_or_default();
            }
        }
        Ok(events)
    }

    /// How often the kernel had no room for events.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }
}

impl AsFd for ConntrackEnds {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Asks conntrack of this network namespace to account packets and bytes, and to know when connections begin: for those
/// that begin from now on. Where the settings are out of sight, as they are for a confined service, nothing is asked.
///
/// # Errors
/// Names the settings that are not made and cannot be.
pub fn account() -> Result<(), AccountError> {
    let mut refused = Vec::new();
    for setting in ["nf_conntrack_acct", "nf_conntrack_timestamp"] {
        let path = Path::new("/proc/sys/net/netfilter").join(setting);
        let is_off = std::fs::read_to_string(&path).is_ok_and(|value| value.trim() == "0");
        if is_off && std::fs::write(&path, "1").is_err() {
            refused.push(format!("net.netfilter.{setting}=1"));
        }
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(AccountError(refused.join(" ")))
    }
}

/// What cannot be set here.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process cannot set them; as root, `sysctl -w {0}` does, and a file in /etc/sysctl.d keeps them"
)]
pub struct AccountError(String);
