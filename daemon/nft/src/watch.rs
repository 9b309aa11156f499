//! Who changes nf_tables: the kernel tells of every commit, and of the thread that made it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use palisade_rules::ruleset::TABLE;

use crate::abi::{NFNL_SUBSYS_NFTABLES, NFPROTO_INET, generation, msg, table};
use crate::attribute::{Message, Messages};
use crate::socket::{nft_message, set_receive_buffer};

/// Room for messages until they are read, in bytes: the commit of 10,000 rules fits.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// The kernel fills datagrams up to a page or two.
const BUFFER: usize = 64 * 1024;

/// The multicast group `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;

/// Hears of every commit to nf_tables in one network namespace: that of the thread that opened it.
///
/// What the kernel does by itself, as when elements of a set time out, is no commit. Neither is `nft reset counters`.
pub struct Watch {
    socket: OwnedFd,
    buffer: Vec<u8>,
    /// Whether the commit that is being told of has touched our table so far.
    touched: bool,
}

/// What a [`Watch`] hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A commit that touched our table.
    Changed(Commit),
    /// The kernel had more to tell than there was room for: anything may have changed.
    Lost,
}

/// A commit, and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The generation of nf_tables that it made.
    pub generation: u32,
    /// The port of the netlink socket that it came through; see [`crate::Nft::port`].
    pub port: u32,
    /// The thread that sent it, as the initial pid namespace numbers it; 0 where the kernel does not say.
    pub pid: u32,
    /// The name of that thread, at most 15 bytes; empty where the kernel does not say.
    pub process: String,
}

impl Watch {
    /// Hears of all that is committed from now on.
    pub fn open() -> io::Result<Watch> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            flags,
            SockProtocol::NetlinkNetFilter,
        )?;
        set_receive_buffer(&socket, RECEIVE_BUFFER);
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1 << (GROUP - 1)))?;
        Ok(Watch {
            socket,
            buffer: vec![0; BUFFER],
            touched: false,
        })
    }

    /// The next thing that concerns our table; `None` if there is nothing more for now. Commits to other tables are
    /// passed over.
    pub fn hear(&mut self) -> io::Result<Option<Notice>> {
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(Errno::ENOBUFS) => {
                    // Part of a commit may be gone, and its end with it.
                    self.touched = false;
                    return Ok(Some(Notice::Lost));
                }
                Err(errno) => return Err(errno.into()),
            };
            // The kernel sends the end of a commit in a datagram of its own.
            let mut changed = None;
            for message in Messages::new(&self.buffer[..length]) {
                if message.kind == nft_message(msg::NEW_GEN) {
                    if std::mem::take(&mut self.touched) {
                        changed = Some(commit(message));
                    }
                } else {
                    self.touched |= is_ours(message);
                }
            }
            if let Some(commit) = changed {
                return Ok(Some(Notice::Changed(commit)));
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether what is told of is our table, or in it. Whatever it is, its first attribute is the name of its table.
fn is_ours(message: Message<'_>) -> bool {
    message.kind >> 8 == NFNL_SUBSYS_NFTABLES
        && message.body.first() == Some(&NFPROTO_INET)
        && message
            .attributes()
            .get(table::NAME)
            .is_some_and(|name| name.text() == TABLE)
}

fn commit(message: Message<'_>) -> Commit {
    let attributes = message.attributes();
    let number = |attribute| attributes.get(attribute).map_or(0, |number| number.u32());
    Commit {
        generation: number(generation::ID),
        port: message.port,
        pid: number(generation::PROCESS),
        process: attributes
            .get(generation::PROCESS_NAME)
            .map_or_else(String::new, |name| name.text().to_owned()),
    }
}
