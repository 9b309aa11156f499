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
    answers(&socket, &mut each)
}

/// Reads the messages of a list to its end. A list that ends otherwise is an error: who is not on it must not be.
fn answers(socket: &OwnedFd, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
    let mut buffer = vec![0; RECEIVE_BUFFER];
    loop {
        // With MSG_TRUNC the length is the datagram's own, whatever fits.
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC) {
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => return Err(io::Error::new(io::ErrorKind::TimedOut, Silent)),
            length => length?,
        };
        let mut rest = buffer.get(..length).ok_or_else(malformed)?;
        if rest.is_empty() {
            return Err(malformed());
        }
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(|_| malformed())?;
            match i32::from(message.message_type()) {
                // Both carry an error number, negative, or 0.
                NLMSG_DONE | NLMSG_ERROR => {
                    let code = message.payload().first_chunk().ok_or_else(malformed)?;
                    return match i32::from_ne_bytes(*code) {
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

/// No answer.
#[derive(Debug, thiserror::Error)]
#[error("the kernel has not answered for {TIMEOUT_SECONDS} s")]
struct Silent;

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the kernel's answer is cut short or malformed; this is a defect of the kernel, or of palisade",
    )
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

#[cfg(test)]
mod tests {
    use nix::sys::socket::{SockType, socketpair};

    use super::*;

    const EPERM: i32 = Errno::EPERM as i32;

    /// One message of a list: its kind and its payload.
    fn part(kind: i32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = message(u16::try_from(kind).unwrap(), 0, payload).unwrap();
        bytes.resize(align!(bytes.len()), 0);
        bytes
    }

    /// What comes of these datagrams: how many messages, and how they end.
    fn read(datagrams: &[Vec<u8>]) -> (usize, io::Result<()>) {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (near, far) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        setsockopt(&near, sockopt::ReceiveTimeout, &TimeVal::new(0, 20_000)).unwrap();
        for datagram in datagrams {
            send(far.as_raw_fd(), datagram, MsgFlags::empty()).unwrap();
        }
        let mut count = 0;
        let end = answers(&near, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        (count, end)
    }

    #[test]
    fn a_list_ends_where_the_kernel_says() {
        let done = |code: i32| part(NLMSG_DONE, &code.to_ne_bytes());
        let two = [part(20, b"one"), part(20, b"another")].concat();
        let (count, end) = read(&[two.clone(), done(0)]);
        assert!(count == 2 && end.is_ok(), "{count} {end:?}");
        let (_, end) = read(&[two.clone(), done(-EPERM)]);
        assert_eq!(end.unwrap_err().raw_os_error(), Some(EPERM));
        let (count, end) = read(std::slice::from_ref(&two));
        assert_eq!((count, end.unwrap_err().kind()), (2, io::ErrorKind::TimedOut));
    }

    #[test]
    fn a_list_cut_anywhere_is_an_error() {
        let whole = [
            part(20, b"one"),
            part(20, b"another"),
            part(NLMSG_DONE, &0i32.to_ne_bytes()),
        ]
        .concat();
        assert!(read(std::slice::from_ref(&whole)).1.is_ok());
        for length in 0..whole.len() {
            let (_, end) = read(&[whole[..length].to_vec()]);
            assert!(end.is_err(), "cut to {length} of {}", whole.len());
        }
        // Whatever bits flip, it ends.
        for bit in 0..8 * whole.len() {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = read(&[flipped]);
        }
    }
}
