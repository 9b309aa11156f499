//! One question to a host, and what came of it.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

use super::{During, Error, Namespace, Result};

/// How long a probe waits before it says [`Outcome::TimedOut`], unless told otherwise.
///
/// Shorter than the second after which the kernel sends a SYN again, so that a denied TCP probe is exactly
/// one packet, as a UDP or ICMP probe always is.
pub const DENIED_AFTER: Duration = Duration::from_millis(700);

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side answered: a server's line, or `echo reply`.
    Answered(String),
    /// Refused: a TCP reset, or ICMP port unreachable.
    Refused,
    /// Another ICMP error: unreachable or administratively prohibited; or no route.
    ///
    /// A TCP probe can miss the error and time out: the kernel ignores one that comes while the call that sent
    /// the SYN is still running, which is usual between namespaces.
    Unreachable,
    /// The kernel refused to send: dropped in the sender's own output.
    NotPermitted,
    /// Nothing came back.
    TimedOut,
}

impl Outcome {
    /// Whether the other side answered.
    pub fn is_answered(&self) -> bool {
        matches!(self, Outcome::Answered(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Answered(line) => return write!(f, "answered {line:?}"),
            Outcome::Refused => "refused",
            Outcome::Unreachable => "unreachable",
            Outcome::NotPermitted => "not permitted to send",
            Outcome::TimedOut => "timed out",
        })
    }
}

/// A question from a namespace to an address.
#[derive(Clone, Debug)]
pub struct Probe {
    from: Namespace,
    question: Question,
    timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Tcp(SocketAddr),
    Udp { from_port: u16, to: SocketAddr },
    Icmp(IpAddr),
}

impl Probe {
    /// Connects, and reads the line with which a [`super::TcpServer`] greets.
    ///
    /// A server that closes without a line has answered too, with an empty one.
    pub fn tcp(from: &Namespace, to: SocketAddr) -> Self {
        Probe::new(from, Question::Tcp(to))
    }

    /// Sends one datagram, and reads the answer of a [`super::UdpServer`].
    pub fn udp(from: &Namespace, to: SocketAddr) -> Self {
        Probe::udp_from(from, 0, to)
    }

    /// The same from a port of the caller's choice; 0 leaves it to the kernel.
    pub fn udp_from(from: &Namespace, from_port: u16, to: SocketAddr) -> Self {
        Probe::new(from, Question::Udp { from_port, to })
    }

    /// Sends one echo request, and reads the reply.
    pub fn icmp(from: &Namespace, to: IpAddr) -> Self {
        Probe::new(from, Question::Icmp(to))
    }

    /// Waits for the answer as long as `timeout` instead of [`DENIED_AFTER`].
    ///
    /// From one second on, a TCP probe sends more than one SYN to a port that drops them.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Asks, and waits for what comes of it.
    ///
    /// # Errors
    /// When the probe itself could not be made; whatever the other side does is an [`Outcome`].
    pub fn run(&self) -> Result<Outcome> {
        let asked = self.from.run(|| match self.question {
            Question::Tcp(to) => ask_tcp(to, self.timeout),
            Question::Udp { from_port, to } => ask_udp(from_port, to, self.timeout),
            Question::Icmp(to) => ask_icmp(to, self.timeout),
        })?;
        asked.or_else(|error| outcome(error, &self.question))
    }

    fn new(from: &Namespace, question: Question) -> Self {
        Probe {
            from: from.clone(),
            question,
            timeout: DENIED_AFTER,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Tcp(to) => write!(f, "TCP {to}"),
            Question::Udp { to, .. } => write!(f, "UDP {to}"),
            Question::Icmp(to) => write!(f, "ICMP {to}"),
        }
    }
}

/// Runs all the probes at once and gives their outcomes in the same order.
///
/// Takes as long as the slowest of them, one thread each.
pub fn probe_all(probes: &[Probe]) -> Result<Vec<Outcome>> {
    thread::scope(|scope| {
        let started: Vec<_> = probes.iter().map(|probe| scope.spawn(|| probe.run())).collect();
        started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
            .collect()
    })
}

/// A TCP connection that stays open, to be asked again later.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects from a namespace to a [`super::TcpServer`] and reads its greeting.
    ///
    /// `Ok(Err(_))` says why there is no connection.
    pub fn open(from: &Namespace, to: SocketAddr) -> Result<std::result::Result<Self, Outcome>> {
        let connected = from.run(|| {
            let stream = TcpStream::connect_timeout(&to, DENIED_AFTER)?;
            read_line(&stream, DENIED_AFTER)?;
            Ok(Connection { stream })
        })?;
        match connected {
            Ok(connection) => Ok(Ok(connection)),
            Err(error) => outcome(error, &Question::Tcp(to)).map(Err),
        }
    }

    /// Sends a line and waits for the server to say it back.
    pub fn exchange(&mut self, line: &str, timeout: Duration) -> Result<Outcome> {
        let said = (&self.stream)
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| read_line(&self.stream, timeout));
        said.map(Outcome::Answered).or_else(|error| {
            let to = self
                .stream
                .peer_addr()
                .during(|| "ask for a connection's other end".to_owned())?;
            outcome(error, &Question::Tcp(to))
        })
    }
}

fn ask_tcp(to: SocketAddr, timeout: Duration) -> io::Result<Outcome> {
    let started = Instant::now();
    let stream = TcpStream::connect_timeout(&to, timeout)?;
    read_line(&stream, timeout.saturating_sub(started.elapsed())).map(Outcome::Answered)
}

fn ask_udp(from_port: u16, to: SocketAddr, timeout: Duration) -> io::Result<Outcome> {
    let family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket(
        family,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Udp,
    )?;
    // Many may ask from one port: connected, each hears only its own answer.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    bind(
        socket.as_raw_fd(),
        &SockaddrStorage::from(SocketAddr::new(any, from_port)),
    )?;
    let socket = UdpSocket::from(socket);
    // Connected, so that ICMP errors come back as errors.
    socket.connect(to)?;
    let mut answer = [0; 512];
    let length = exchange(&socket, b"palisade\n", &mut answer, timeout)?;
    Ok(Outcome::Answered(
        String::from_utf8_lossy(&answer[..length]).trim_end().to_owned(),
    ))
}

/// Over a ping socket, to which the kernel gives only the replies to its own requests.
fn ask_icmp(to: IpAddr, timeout: Duration) -> io::Result<Outcome> {
    const ECHO_REPLY: u8 = 0;
    const ECHO_REQUEST: u8 = 8;
    const ECHO_REPLY_V6: u8 = 129;
    const ECHO_REQUEST_V6: u8 = 128;
    // Closed to everybody in a fresh namespace; for both IP versions, in spite of its name.
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")?;
    let (family, protocol, request, reply) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, ECHO_REQUEST, ECHO_REPLY),
        IpAddr::V6(_) => (
            AddressFamily::Inet6,
            SockProtocol::IcmpV6,
            ECHO_REQUEST_V6,
            ECHO_REPLY_V6,
        ),
    };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?;
    // std has no type of its own for it; connect, send and receive are the same calls.
    let socket = UdpSocket::from(socket);
    socket.connect((to, 0))?;
    // Type, code, checksum, identifier, sequence number, data; the kernel fills in the third and fourth.
    let message = [
        request, 0, 0, 0, 0, 0, 0, 1, b'p', b'a', b'l', b'i', b's', b'a', b'd', b'e',
    ];
    let mut answer = [0; 512];
    let length = exchange(&socket, &message, &mut answer, timeout)?;
    match answer[..length] {
        [first, ..] if first == reply => Ok(Outcome::Answered("echo reply".to_owned())),
        _ => Err(io::Error::new(ErrorKind::InvalidData, "not an echo reply")),
    }
}

fn exchange(socket: &UdpSocket, message: &[u8], answer: &mut [u8], timeout: Duration) -> io::Result<usize> {
    socket.set_read_timeout(Some(timeout))?;
    socket.send(message)?;
    socket.recv(answer)
}

/// Reads one line, without its end. At most `timeout` passes between two packets of it.
fn read_line(stream: &TcpStream, timeout: Duration) -> io::Result<String> {
    // Zero would mean for ever.
    stream.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// What an error says about the other side, or the error if it says nothing about it.
fn outcome(error: io::Error, question: &Question) -> Result<Outcome> {
    /// How IPv6 reports "administratively prohibited".
    const PROHIBITED: i32 = Errno::EACCES as i32;
    match (error.kind(), error.raw_os_error()) {
        (_, Some(PROHIBITED)) | (ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable, _) => {
            Ok(Outcome::Unreachable)
        }
        (ErrorKind::TimedOut | ErrorKind::WouldBlock, _) => Ok(Outcome::TimedOut),
        (ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset, _) => Ok(Outcome::Refused),
        (ErrorKind::PermissionDenied, _) => Ok(Outcome::NotPermitted),
        _ => Err(Error::System {
            action: format!("probe {question}"),
            source: error,
        }),
    }
}
