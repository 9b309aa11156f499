//! Servers that say who they are.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{During, Namespace, Result};

/// Accepts TCP connections on some ports of both IP versions, greets each with the line `NAME:PORT`, then
/// says back whatever it hears. Stops, and closes its connections, when dropped.
#[derive(Debug)]
pub struct TcpServer {
    _thread: Running,
}

/// Answers each UDP datagram on some ports of both IP versions with the line `NAME:PORT`. Stops when dropped.
///
/// The answer comes from the address the kernel prefers: right on a host with one address of each version.
#[derive(Debug)]
pub struct UdpServer {
    _thread: Running,
}

impl TcpServer {
    /// Starts one in a namespace; when this returns, it can be connected to.
    pub fn start(namespace: &Namespace, name: &str, ports: &[u16]) -> Result<Self> {
        let listeners = bind(namespace, ports, |address| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })?;
        let name = name.to_owned();
        Running::start(move |stop| serve_tcp(&name, &listeners, stop))
            .map(|thread| TcpServer { _thread: thread })
    }
}

impl UdpServer {
    /// Starts one in a namespace; when this returns, it can be asked.
    pub fn start(namespace: &Namespace, name: &str, ports: &[u16]) -> Result<Self> {
        let sockets = bind(namespace, ports, |address| {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        let name = name.to_owned();
        Running::start(move |stop| serve_udp(&name, &sockets, stop))
            .map(|thread| UdpServer { _thread: thread })
    }
}

/// Makes a socket for each port, inside the namespace. `[::]` takes IPv4 as well.
fn bind<S: Send>(
    namespace: &Namespace,
    ports: &[u16],
    socket: impl Fn((Ipv6Addr, u16)) -> io::Result<S> + Send + Sync,
) -> Result<Vec<(u16, S)>> {
    let open = |port: u16| {
        let socket =
            socket((Ipv6Addr::UNSPECIFIED, port)).during(|| format!("open port {port} for a server"))?;
        Ok((port, socket))
    };
    namespace.run(|| ports.iter().map(|port| open(*port)).collect())?
}

fn serve_tcp(name: &str, listeners: &[(u16, TcpListener)], stop: &PipeReader) {
    let mut connections: Vec<TcpStream> = Vec::new();
    loop {
        let watched = listeners.iter().map(|(_, listener)| listener.as_fd());
        let Some(ready) = wait(stop, watched.chain(connections.iter().map(AsFd::as_fd))) else {
            return;
        };
        let (calling, talking) = ready.split_at(listeners.len());
        // Connections first: their places in `ready` hold only until others are accepted.
        let mut talking = talking.iter();
        connections
            .retain_mut(|connection| !talking.next().is_some_and(|ready| *ready) || say_back(connection));
        for ((port, listener), _) in listeners.iter().zip(calling).filter(|(_, calling)| **calling) {
            while let Ok((mut connection, _)) = listener.accept() {
                let greeted = writeln!(connection, "{name}:{port}");
                if greeted.and_then(|()| connection.set_nonblocking(true)).is_ok() {
                    connections.push(connection);
                }
            }
        }
    }
}

/// Says back what has come in; false when the connection is over.
fn say_back(connection: &mut TcpStream) -> bool {
    let mut heard = [0; 4096];
    match connection.read(&mut heard) {
        Ok(0) => false,
        Ok(length) => connection.write_all(&heard[..length]).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

fn serve_udp(name: &str, sockets: &[(u16, UdpSocket)], stop: &PipeReader) {
    while let Some(ready) = wait(stop, sockets.iter().map(|(_, socket)| socket.as_fd())) {
        for ((port, socket), _) in sockets.iter().zip(ready).filter(|(_, ready)| *ready) {
            let mut heard = [0; 4096];
            while let Ok((_, from)) = socket.recv_from(&mut heard) {
                // The asker sees a lost answer as one.
                let _ = socket.send_to(format!("{name}:{port}\n").as_bytes(), from);
            }
        }
    }
}

/// Waits until one of the files can be read, and says which; `None` when it is time to stop.
fn wait<'fd>(stop: &'fd PipeReader, files: impl Iterator<Item = BorrowedFd<'fd>>) -> Option<Vec<bool>> {
    let mut watched: Vec<_> = std::iter::once(stop.as_fd())
        .chain(files)
        .map(|file| PollFd::new(file, PollFlags::POLLIN))
        .collect();
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(_) => return None,
            Ok(_) => break,
        }
    }
    let ready: Vec<_> = watched.iter().map(|file| file.any().unwrap_or(true)).collect();
    let (stop, files) = ready.split_first()?;
    (!stop).then(|| files.to_vec())
}

/// A thread that is told to stop, and waited for, when this is dropped.
#[derive(Debug)]
struct Running {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(work: impl FnOnce(&PipeReader) + Send + 'static) -> Result<Self> {
        let (told, stop) = io::pipe().during(|| "make a pipe".to_owned())?;
        let thread = thread::Builder::new()
            .name("server".to_owned())
            .spawn(move || work(&told))
            .during(|| "start a thread".to_owned())?;
        Ok(Running {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its closing is what the thread waits for.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}
