//! Listing what the kernel knows over netlink, for what no crate decodes.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{
    NLA_ALIGNTO, NLA_F_NESTED, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NlaBuffer, NlasIterator,
    nla_align as align,
};
use nix::errno::Errno;
use nix::libc::{NLMSG_DONE, NLMSG_ERROR};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use nix::sys::time::TimeVal;

/// The kernel fills at most 32 KiB of a buffer in a dump.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// The kernel answers at once. What takes longer is broken.
const TIMEOUT_SECONDS: i64 = 10;

/// Bytes of a netlink message header.
const HEADER: usize = 16;

/// Bytes of the header of an attribute.
const NLA_HEADER: usize = 4;

/// Asks for everything of one kind, and gives the payload of each message to `each` until that has enough.
pub(super) fn dump(
    protocol: SockProtocol,
    kind: u16,
    request: &[u8],
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    let socket = open(protocol)?;
    let message = message(kind, NLM_F_REQUEST | NLM_F_DUMP, request)?;
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut buffer = vec![0; RECEIVE_BUFFER];
    loop {
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => continue,
            length => length?,
        };
        let mut rest = &buffer[..length];
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            match i32::from(message.message_type()) {
                // Both carry an error number, negative, or 0.
                NLMSG_DONE | NLMSG_ERROR => {
                    let code = message
                        .payload()
                        .first_chunk()
                        .map_or(0, |code| i32::from_ne_bytes(*code));
                    return match code {
                        0 => Ok(()),
                        code => Err(Errno::from_raw(code.saturating_neg()).into()),
                    };
                }
                _ if each(message.payload()).is_break() => return Ok(()),
                _ => {}
            }
            let next = align!(message.length() as usize);
            rest = rest.get(next..).unwrap_or_default();
        }
    }
}

/// Asks for something to be done, once for each request, and says how often it was. What is not there any more is passed
/// over.
pub(super) fn order(
    protocol: SockProtocol,
    kind: u16,
    requests: impl Iterator<Item = Vec<u8>>,
) -> io::Result<usize> {
    let socket = open(protocol)?;
    let mut buffer = vec![0; RECEIVE_BUFFER];
    let mut done = 0;
    for request in requests {
        let message = message(kind, NLM_F_REQUEST | NLM_F_ACK, &request)?;
        send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
        let length = loop {
            match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                length => break length?,
            }
        };
        let answer = NetlinkBuffer::new_checked(&buffer[..length]).map_err(io::Error::other)?;
        let code = answer
            .payload()
            .first_chunk()
            .map_or(0, |code| i32::from_ne_bytes(*code));
        match Errno::from_raw(code.saturating_neg()) {
            _ if code == 0 => done += 1,
            Errno::ENOENT => {}
            error => return Err(error.into()),
        }
    }
    Ok(done)
}

/// An attribute, padded, of this kind and value.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(NLA_HEADER + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(align!(bytes.len()), 0);
    bytes
}

/// An attribute that holds others.
pub(super) fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, &attributes.concat())
}

/// The attributes in a stretch of bytes; what is cut short is not there.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

/// The first bytes of an attribute, if it has as many.
pub(super) fn value<const N: usize>(attribute: &NlaBuffer<&[u8]>) -> Option<[u8; N]> {
    attribute.value().first_chunk().copied()
}

fn open(protocol: SockProtocol) -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        protocol,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    setsockopt(
        &socket,
        sockopt::ReceiveTimeout,
        &TimeVal::new(TIMEOUT_SECONDS, 0),
    )?;
    Ok(socket)
}

fn message(kind: u16, flags: u16, request: &[u8]) -> io::Result<Vec<u8>> {
    let length = HEADER + request.len();
    let mut bytes = vec![0; length];
    let mut message = NetlinkBuffer::new(&mut bytes);
    message.set_length(u32::try_from(length).map_err(io::Error::other)?);
    message.set_message_type(kind);
    message.set_flags(flags);
    message.set_sequence_number(1);
    message.set_port_number(0);
    message.payload_mut().copy_from_slice(request);
    Ok(bytes)
}
