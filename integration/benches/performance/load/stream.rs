//! Real TCP connections: how many a second, and how much goes through one.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::libc;
use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};

use crate::estate::SERVER;
use crate::ground::{Ground, measuring_core, pin, pin_off};

/// Connections that a server accepts in a second: one client makes one after the other, and resets it at once.
pub(crate) fn accepts(ground: &Ground, port: u16, time: Duration) -> anyhow::Result<f64> {
    serve(ground, port, drop, |server| {
        pin(measuring_core())?;
        let (begun, mut made) = (Instant::now(), 0_u32);
        while begun.elapsed() < time {
            let stream = TcpStream::connect(server).context("a connection was denied")?;
            // Reset instead of closed: nothing of it stays.
            let at_once = libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            setsockopt(&stream, sockopt::Linger, &at_once)?;
            made += 1;
        }
        Ok(f64::from(made) / begun.elapsed().as_secs_f64())
    })
}

/// What goes through one connection in a second, in Gbit.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 bytes are sent")]
pub(crate) fn throughput(ground: &Ground, port: u16, time: Duration) -> anyhow::Result<f64> {
    let take = |mut stream: TcpStream| {
        let mut buffer = vec![0; 1 << 17];
        // It ends with the connection, well or not.
        while matches!(stream.read(&mut buffer), Ok(1..)) {}
    };
    serve(ground, port, take, |server| {
        pin(measuring_core())?;
        let mut stream = TcpStream::connect(server).context("a connection was denied")?;
        let buffer = vec![0; 1 << 17];
        let (begun, mut sent) = (Instant::now(), 0_u64);
        while begun.elapsed() < time {
            stream.write_all(&buffer)?;
            sent += buffer.len() as u64;
        }
        Ok(sent as f64 * 8.0 / 1e9 / begun.elapsed().as_secs_f64())
    })
}

/// Runs a client against a server that does the same with every connection.
fn serve<T: Send>(
    ground: &Ground,
    port: u16,
    with_each: impl Fn(TcpStream) + Sync,
    client: impl FnOnce(SocketAddrV4) -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let address = SocketAddrV4::new(SERVER, port);
    let listener = ground.server().run(|| TcpListener::bind(address))??;
    thread::scope(|scope| {
        scope.spawn(|| {
            // Without a core of its own the server is only slower.
            let _ = pin_off();
            while let Ok((stream, _)) = listener.accept() {
                with_each(stream);
            }
        });
        let done = ground.client().run(|| client(address));
        // Wakes the server out of waiting for the next one.
        shutdown(listener.as_raw_fd(), Shutdown::Both)?;
        done?
    })
}
