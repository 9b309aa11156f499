//! Throwaway hosts on the real kernel.
//!
//! A [`Network`] is a few hosts on one Ethernet switch, each host a network namespace of its own. Real
//! programs run in them ([`Namespace::spawn`]), real sockets serve in them ([`TcpServer`], [`UdpServer`])
//! and are probed from them ([`Probe`]).
//!
//! Nothing is left behind, however the process ends, `kill -9` included. The namespaces have no name, so
//! they live only as long as something holds them: a thread inside, an open file, a child process. The
//! first two end with the process, and a child is killed by the kernel when its parent dies. The
//! namespaces that the process itself lives in are never entered and never changed.
//!
//! Making namespaces needs root.

use std::io;

mod link;
mod namespace;
mod network;
mod probe;
mod process;
mod server;

pub use namespace::Namespace;
pub use network::{Builder, Host, Network};
pub use probe::{Connection, DENIED_AFTER, Outcome, Probe, probe_all};
pub use process::Process;
pub use server::{TcpServer, UdpServer};

/// Why a lab could not be built, or a program in it not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller may not make namespaces.
    #[error("making network namespaces needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN): run this with sudo")]
    Privilege,
    /// A system call failed.
    #[error("could not {action}: {source}")]
    System {
        /// What was being done.
        action: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel refused a change of interfaces or addresses.
    #[error("could not {action}: {source}")]
    Netlink {
        /// What was being done.
        action: String,
        /// What the kernel answered.
        source: rtnetlink::Error,
    },
    /// An address of a host is not written as one.
    #[error("{0:?} is not an address with a prefix length, such as 10.42.0.10/24 or fd00:42::10/64")]
    Address(String),
    /// A program did not end in time.
    #[error("{program} was still running after {seconds} s")]
    StillRunning {
        /// The program.
        program: String,
        /// How long it was given.
        seconds: f32,
    },
}

/// The result of building or using a lab.
pub type Result<T> = std::result::Result<T, Error>;

/// Says what was being done when a system call failed.
trait During<T> {
    /// Turns the error into [`Error::System`]; `action` completes "could not ...".
    fn during(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::System {
            action: action(),
            source: error.into(),
        })
    }
}
