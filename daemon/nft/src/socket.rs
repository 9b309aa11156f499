//! A netlink socket to nf_tables: requests, dumps, and batches in one datagram.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::abi::NFNL_SUBSYS_NFTABLES;
use crate::attribute::{Attribute, Attributes, HEADER, Message, Messages, align, u32_ne};

/// The kernel fills at most 32 KiB of a buffer in a dump, and needs the more passes the less it gets.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// Room for the errors of a batch: each failing message is one datagram.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Requests that are sent in one datagram. Each answer takes some 5 kB of the receive buffer, whatever is in it.
const IN_FLIGHT: usize = 256;

/// The kernel answers at once. What takes longer is broken, and must not hang the daemon.
const TIMEOUT_SECONDS: i64 = 30;

/// A failure that the kernel reported for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The message.
    pub(crate) seq: u32,
    /// What failed.
    pub(crate) errno: Errno,
    /// The kernel's own words, if it had any.
    pub(crate) message: Option<String>,
}

/// Why a request got no full answer.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The kernel refused it.
    Refused(Failure),
    /// What was dumped changed during the dump.
    Interrupted,
    /// The socket failed.
    Io(io::Error),
}

/// An answer that is no netlink message, or not all of one.
#[derive(Debug, thiserror::Error)]
#[error("the kernel's answer is cut short or malformed; this is a defect of the kernel, or of palisade")]
struct Malformed;

/// No answer.
#[derive(Debug, thiserror::Error)]
#[error("the kernel has not answered for {TIMEOUT_SECONDS} s")]
struct Silent;

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, malformed)
    }
}

impl From<Errno> for RequestError {
    fn from(errno: Errno) -> Self {
        RequestError::Io(errno.into())
    }
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        RequestError::Io(error)
    }
}

/// A socket, its sequence numbers and its receive buffer.
pub(crate) struct Socket {
    inner: mnl::Socket,
    next_seq: u32,
    buffer: Vec<u8>,
}

// SAFETY: libmnl's socket is a file descriptor and an address in memory of its own, not tied to a thread; nothing else
// has the pointer. (Not `Sync`: its functions are not called from two threads at once.)
unsafe impl Send for Socket {}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = Socket {
            inner: mnl::Socket::new(mnl::Bus::Netfilter)?,
            next_seq: 1,
            buffer: vec![0; RECEIVE_BUFFER],
        };
        fcntl(socket.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        setsockopt(
            &socket,
            sockopt::ReceiveTimeout,
            &TimeVal::new(TIMEOUT_SECONDS, 0),
        )?;
        set_receive_buffer(&socket, SOCKET_BUFFER);
        set_netlink_option(&socket, libc::NETLINK_EXT_ACK)?;
        set_netlink_option(&socket, libc::NETLINK_CAP_ACK)?;
        Ok(socket)
    }

    /// Its port: what the kernel knows it by.
    pub(crate) fn port(&self) -> u32 {
        self.inner.portid()
    }

    /// The sequence number that the next message is to carry.
    pub(crate) fn next_seq(&mut self) -> u32 {
        // A batch numbers its messages upwards from here, and must not wrap.
        if self.next_seq > u32::MAX / 2 {
            self.next_seq = 1;
        }
        self.next_seq
    }

    /// Declares the sequence numbers below `next` used.
    pub(crate) fn set_next_seq(&mut self, next: u32) {
        self.next_seq = next;
    }

    /// Sends one request, which `write` makes with a sequence number, and gives each message of the answer to `each`.
    /// `dump` says whether the answer ends with `NLMSG_DONE` or after its first message.
    pub(crate) fn request(
        &mut self,
        dump: bool,
        write: impl FnOnce(&mut Vec<u8>, u32),
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), RequestError> {
        let seq = self.next_seq();
        self.next_seq = seq + 1;
        let mut request = Vec::with_capacity(256);
        write(&mut request, seq);
        self.send(&request)?;
        let mut interrupted = false;
        loop {
            // An answer to an earlier request that failed half-way has another number.
            for message in self.receive()?.filter(|message| message.seq == seq) {
                interrupted |= has_flag(message.flags, libc::NLM_F_DUMP_INTR);
                match i32::from(message.kind) {
                    // Both carry an error, or 0.
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                        return match verdict(message).map_err(io::Error::from)? {
                            Some(failure) => Err(RequestError::Refused(failure)),
                            None if interrupted => Err(RequestError::Interrupted),
                            None => Ok(()),
                        };
                    }
                    libc::NLMSG_NOOP => {}
                    _ if !message.is_whole() => return Err(io::Error::from(Malformed).into()),
                    _ => {
                        each(message);
                        if !dump {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Sends many requests that have one message for an answer each, [`IN_FLIGHT`] at a time, and gives each answer to
    /// `each` with the number of its request, from 0. `write` makes a request of its number and its sequence number.
    pub(crate) fn requests(
        &mut self,
        count: usize,
        mut write: impl FnMut(usize, &mut Vec<u8>, u32),
        mut each: impl FnMut(usize, Result<Message<'_>, Failure>),
    ) -> Result<(), RequestError> {
        let mut datagram = Vec::new();
        let (mut first, mut in_flight) = (0, IN_FLIGHT);
        while first < count {
            let sent = in_flight.min(count - first);
            let seq = self.next_seq();
            // At most IN_FLIGHT are added, to less than half of what there is.
            let numbers = seq..seq + u32::try_from(sent).unwrap_or(0);
            self.next_seq = numbers.end;
            datagram.clear();
            for (number, seq) in (first..).zip(numbers.clone()) {
                write(number, &mut datagram, seq);
            }
            self.send(&datagram)?;
            match self.answers(numbers, |place, answer| each(first + place, answer)) {
                Ok(()) => first += sent,
                // The answers were more than the receive buffer holds: ask for fewer at once.
                Err(error) if is_overrun(&error) && sent > 1 => {
                    self.drain();
                    in_flight = sent / 2;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Receives one answer for each of these numbers.
    fn answers(
        &mut self,
        numbers: Range<u32>,
        mut each: impl FnMut(usize, Result<Message<'_>, Failure>),
    ) -> io::Result<()> {
        let mut left = numbers.len();
        while left > 0 {
            for message in self.receive()? {
                let Some(place) = message.seq.checked_sub(numbers.start) else {
                    continue;
                };
                if !numbers.contains(&message.seq) {
                    continue;
                }
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                if i32::from(message.kind) != libc::NLMSG_ERROR {
                    if !message.is_whole() {
                        return Err(Malformed.into());
                    }
                    each(place, Ok(message));
                } else if let Some(failure) = verdict(message)? {
                    each(place, Err(failure));
                }
                left = left.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Sends a batch in one datagram and returns what the kernel refused of it. Nothing refused means that it is in
    /// force.
    ///
    /// The kernel works through the whole batch before the call that sends it returns, so its answers are there
    /// already; there are none for what succeeds.
    pub(crate) fn send_batch(&mut self, bytes: &[u8]) -> io::Result<Vec<Failure>> {
        self.drain();
        set_send_buffer(&*self, bytes.len() + SOCKET_BUFFER);
        self.send(bytes)?;
        let mut failures = Vec::new();
        let mut overrun = false;
        loop {
            match self.receive_with(MsgFlags::MSG_DONTWAIT) {
                Ok(messages) => {
                    for message in messages.filter(|message| i32::from(message.kind) == libc::NLMSG_ERROR) {
                        failures.extend(verdict(message)?);
                    }
                }
                // That nothing is refused is so only if nothing was lost.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && overrun && failures.is_empty() => {
                    return Err(Errno::ENOBUFS.into());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(failures),
                // More errors than the receive buffer holds. Those that it holds follow.
                Err(error) if is_overrun(&error) => overrun = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a datagram to the kernel.
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match send(self.inner.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                // Nothing was sent.
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for a datagram from the kernel.
    fn receive(&mut self) -> io::Result<Messages<'_>> {
        self.receive_with(MsgFlags::empty())
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, Silent),
                _ => error,
            })
    }

    /// Receives a datagram; a signal in between is no reason to stop, although a socket that has a timeout stops for it.
    fn receive_with(&mut self, flags: MsgFlags) -> io::Result<Messages<'_>> {
        let length = loop {
            // With MSG_TRUNC the length is the datagram's own, whatever fits.
            match recv(
                self.inner.as_raw_fd(),
                &mut self.buffer,
                flags | MsgFlags::MSG_TRUNC,
            ) {
                Err(Errno::EINTR) => {}
                answer => break answer?,
            }
        };
        let messages = Messages::new(self.buffer.get(..length).ok_or(Malformed)?);
        if messages.is_whole() {
            Ok(messages)
        } else {
            Err(Malformed.into())
        }
    }

    /// Throws away what an earlier request left behind.
    fn drain(&mut self) {
        while matches!(
            recv(self.inner.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT),
            Ok(_) | Err(Errno::EINTR)
        ) {}
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as the socket lives, which outlives the borrow.
        unsafe { BorrowedFd::borrow_raw(self.inner.as_raw_fd()) }
    }
}

/// Turns a boolean option of level `SOL_NETLINK` on.
pub(crate) fn set_netlink_option(socket: &impl AsFd, option: libc::c_int) -> nix::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default();
    // SAFETY: the descriptor is open, and pointer and length are those of an integer that outlives the call.
    let code = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            length,
        )
    };
    Errno::result(code).map(drop)
}

/// Makes room for this many bytes until they are read; for fewer where the process lacks CAP_NET_ADMIN outside user
/// namespaces, which costs losses and nothing else.
pub(crate) fn set_receive_buffer(socket: &impl AsFd, bytes: usize) {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &bytes);
    }
}

/// Makes room for a datagram of this many bytes; for a smaller one where the process lacks CAP_NET_ADMIN outside user
/// namespaces, and then sending a larger one fails with EMSGSIZE.
fn set_send_buffer(socket: &impl AsFd, bytes: usize) {
    if setsockopt(socket, sockopt::SndBufForce, &bytes).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &bytes);
    }
}

/// The type of an nf_tables message.
pub(crate) fn nft_message(kind: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | kind
}

/// `NLM_F_REQUEST` and more.
pub(crate) fn request_flags(flags: libc::c_int) -> u16 {
    // The kernel's flags are 16 bits; libc's constants are wider.
    u16::try_from(libc::NLM_F_REQUEST | flags).unwrap_or_default()
}

fn has_flag(flags: u16, flag: libc::c_int) -> bool {
    i32::from(flags) & flag != 0
}

fn is_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

/// As [`failure`], of a message that says either.
fn verdict(message: Message<'_>) -> Result<Option<Failure>, Malformed> {
    match u32_ne(message.body) {
        Some(_) => Ok(failure(message)),
        None => Err(Malformed),
    }
}

/// What an `NLMSG_ERROR` or `NLMSG_DONE` reports; `None` if it says that all went well.
pub(crate) fn failure(message: Message<'_>) -> Option<Failure> {
    let code = u32_ne(message.body)?.cast_signed();
    if code == 0 {
        return None;
    }
    Some(Failure {
        seq: message.seq,
        errno: Errno::from_raw(code.saturating_neg()),
        message: extended_text(message),
    })
}

/// The text in the attributes after the failed message, of which only the header or all of it is repeated.
fn extended_text(message: Message<'_>) -> Option<String> {
    const TEXT: u16 = 1; // NLMSGERR_ATTR_MSG
    if !has_flag(message.flags, libc::NLM_F_ACK_TLVS) {
        return None;
    }
    let repeated = if has_flag(message.flags, libc::NLM_F_CAPPED) {
        HEADER
    } else {
        usize::try_from(u32_ne(message.body.get(4..)?)?).ok()?
    };
    let attributes = Attributes::new(message.body.get(align(repeated).checked_add(4)?..)?);
    let text = attributes.get(TEXT).as_ref().map(Attribute::text)?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
