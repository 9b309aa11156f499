//! Copies of packets from the kernel's NFLOG groups (nfnetlink_log).
//!
//! A `log group N` rule hands the kernel a copy of the packet; the kernel collects some and sends them in one datagram.
//! The reader never makes packets wait: what it does not read in time is lost, and [`NflogSocket::lost`] says how much.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

use crate::abi::{NFNL_SUBSYS_ULOG, nflog};
use crate::attribute::{Message, Messages};
use crate::message::MessageBuilder;
use crate::nft::Nft;
use crate::socket::{failure, request_flags, set_netlink_option, set_receive_buffer};

/// How long the kernel may take to answer the configuration, in milliseconds.
const ANSWER_TIMEOUT: u16 = 5000;

/// How a group is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NflogOptions {
    /// Bytes of each packet that are copied, from the IP header on.
    pub snaplen: u32,
    /// Bytes of the datagram that the kernel collects copies in. More than 64 KiB gains nothing.
    pub datagram: u32,
    /// Packets after which the datagram is sent; a rule's own `queue-threshold` comes before it.
    pub threshold: u32,
    /// Hundredths of a second after which it is sent anyway.
    pub timeout: u32,
    /// Bytes of datagrams that the socket holds until they are read.
    pub receive_buffer: usize,
}

impl Default for NflogOptions {
    /// 128 bytes a packet; 64 packets or 100 ms a datagram; 8 MiB of buffer.
    fn default() -> Self {
        NflogOptions {
            snaplen: 128,
            datagram: 64 * 1024,
            threshold: 64,
            timeout: 10,
            receive_buffer: 8 * 1024 * 1024,
        }
    }
}

/// One logged packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NflogPacket<'a> {
    /// The prefix of the rule that logged it.
    pub prefix: &'a str,
    /// The hook that it was at (`NF_INET_*`: 1 is input, 2 forward, 3 output).
    pub hook: u8,
    /// The interface that it came in by; 0 for none.
    pub input_ifindex: u32,
    /// The interface that it goes out by; 0 for none.
    pub output_ifindex: u32,
    /// The packet mark.
    pub mark: u32,
    /// The user that sent it, where the kernel knows a local socket.
    pub uid: Option<u32>,
    /// The packet from its IP header on, cut to the snaplen.
    pub payload: &'a [u8],
    /// The number of the packet in its group, from 0; it wraps.
    pub seq: u32,
}

/// Why a group cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NflogError {
    /// The process may not.
    #[error(
        "reading NFLOG group {group} needs CAP_NET_ADMIN in this network namespace: run as root, or grant the capability"
    )]
    Privilege {
        /// The group.
        group: u16,
    },
    /// Another socket reads it.
    #[error(
        "NFLOG group {group} is read by another program already; choose another group (flows.nflogGroup), or stop that program"
    )]
    Busy {
        /// The group.
        group: u16,
    },
    /// The kernel cannot.
    #[error(
        "this kernel has no NFLOG: load it with `modprobe nfnetlink_log`, or use a kernel built with CONFIG_NETFILTER_NETLINK_LOG"
    )]
    NoNflog,
    /// Something else.
    #[error("cannot read NFLOG group {group}")]
    Io {
        /// The group.
        group: u16,
        /// The failure.
        source: io::Error,
    },
}

/// A socket that gets the packets of one NFLOG group. It never blocks: wait until its descriptor is readable.
#[derive(Debug)]
pub struct NflogSocket {
    socket: OwnedFd,
    next_seq: u32,
    lost: u64,
}

impl NflogSocket {
    /// The size of the buffer that [`NflogSocket::receive`] needs, in bytes: any datagram fits.
    pub const BUFFER: usize = 128 * 1024 + 64 * 1024;

    /// Opens a socket in the network namespace of the calling thread and binds it to a group.
    pub fn bind(group: u16, options: NflogOptions) -> Result<NflogSocket, NflogError> {
        let io = |source: Errno| NflogError::Io {
            group,
            source: source.into(),
        };
        let socket = open(options.receive_buffer).map_err(|errno| match errno {
            Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT => NflogError::NoNflog,
            errno => io(errno),
        })?;
        configure(&socket, group, options).map_err(|errno| match errno {
            // The kernel says the same for both; whoever may use nf_tables may use NFLOG.
            Errno::EPERM | Errno::EACCES if Nft::open().is_ok() => NflogError::Busy { group },
            Errno::EPERM | Errno::EACCES => NflogError::Privilege { group },
            Errno::EBUSY => NflogError::Busy { group },
            Errno::EINVAL | Errno::EOPNOTSUPP => NflogError::NoNflog,
            errno => io(errno),
        })?;
        Ok(NflogSocket {
            socket,
            next_seq: 0,
            lost: 0,
        })
    }

    /// Reads one datagram and gives each packet in it to `each`; returns how many there were.
    ///
    /// `buffer` should be [`NflogSocket::BUFFER`] bytes long; what does not fit counts as lost. Where there is nothing to
    /// read, the error is [`io::ErrorKind::WouldBlock`].
    pub fn receive(&mut self, buffer: &mut [u8], mut each: impl FnMut(NflogPacket<'_>)) -> io::Result<usize> {
        let length = recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        let mut packets = 0;
        for packet in Messages::new(&buffer[..length]).filter_map(packet) {
            // Unsigned and wrapping, as the kernel counts.
            self.lost += u64::from(packet.seq.wrapping_sub(self.next_seq));
            self.next_seq = packet.seq.wrapping_add(1);
            packets += 1;
            each(packet);
        }
        Ok(packets)
    }

    /// How many packets were lost since the group was bound: the gaps in the numbers of those that came.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl AsFd for NflogSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for NflogSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn open(receive_buffer: usize) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags,
        SockProtocol::NetlinkNetFilter,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    // An overrun is counted from the sequence numbers; without this the kernel would drop everything until the socket
    // is empty.
    set_netlink_option(&socket, libc::NETLINK_NO_ENOBUFS)?;
    set_receive_buffer(&socket, receive_buffer);
    Ok(socket)
}

fn configure(socket: &OwnedFd, group: u16, options: NflogOptions) -> nix::Result<()> {
    const SEQ: u32 = 1;
    let kind = NFNL_SUBSYS_ULOG << 8 | nflog::MSG_CONFIG;
    let flags = request_flags(libc::NLM_F_ACK);
    let mut mode = [0; 6];
    mode[..4].copy_from_slice(&options.snaplen.to_be_bytes());
    mode[4] = nflog::COPY_PACKET;
    let mut request = Vec::new();
    MessageBuilder::with_resource(&mut request, kind, flags, SEQ, 0, group)
        .put(nflog::CFG_CMD, &[nflog::CMD_BIND])
        .put(nflog::CFG_MODE, &mode)
        .put(nflog::CFG_NLBUFSIZ, &options.datagram.to_be_bytes())
        .put(nflog::CFG_TIMEOUT, &options.timeout.to_be_bytes())
        .put(nflog::CFG_QTHRESH, &options.threshold.to_be_bytes())
        .put(nflog::CFG_FLAGS, &nflog::F_SEQ.to_be_bytes())
        .finish();
    send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut buffer = vec![0; 8192];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                // A packet that comes before the answer is one that nobody waits for yet; it counts as lost.
                let answer = Messages::new(&buffer[..length])
                    .find(|message| message.seq == SEQ && i32::from(message.kind) == libc::NLMSG_ERROR);
                if let Some(answer) = answer {
                    return failure(answer).map_or(Ok(()), |failure| Err(failure.errno));
                }
            }
            Err(Errno::EAGAIN) => {
                let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                if poll(&mut ready, PollTimeout::from(ANSWER_TIMEOUT))? == 0 {
                    return Err(Errno::ETIMEDOUT);
                }
            }
            Err(errno) => return Err(errno),
        }
    }
}

fn packet(message: Message<'_>) -> Option<NflogPacket<'_>> {
    if message.kind != NFNL_SUBSYS_ULOG << 8 | nflog::MSG_PACKET {
        return None;
    }
    let mut packet = NflogPacket {
        prefix: "",
        hook: 0,
        input_ifindex: 0,
        output_ifindex: 0,
        mark: 0,
        uid: None,
        payload: &[],
        seq: 0,
    };
    for attribute in message.attributes() {
        match attribute.kind {
            nflog::PACKET_HDR => packet.hook = attribute.payload.get(2).copied().unwrap_or(0),
            nflog::MARK => packet.mark = attribute.u32(),
            nflog::IFINDEX_INDEV => packet.input_ifindex = attribute.u32(),
            nflog::IFINDEX_OUTDEV => packet.output_ifindex = attribute.u32(),
            nflog::PAYLOAD => packet.payload = attribute.payload,
            nflog::UID => packet.uid = Some(attribute.u32()),
            nflog::SEQ => packet.seq = attribute.u32(),
            nflog::PREFIX => {
                let bytes = attribute
                    .payload
                    .split(|&byte| byte == 0)
                    .next()
                    .unwrap_or_default();
                packet.prefix = std::str::from_utf8(bytes).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(packet)
}
