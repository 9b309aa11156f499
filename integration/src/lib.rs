//! Helpers for tests on the real kernel.
//!
//! A test builds hosts with [`palisade::lab`], runs a real `palisaded` in one of them ([`Daemon`]), sends real
//! traffic ([`ThreeHosts::matrix`]) and asks `nft` as an independent witness ([`Daemon::nft`]). Nothing here looks
//! into the daemon's own types: what is checked is what other programs see. [`fuzz`] stands apart: it has no daemon, and
//! asks the evaluator what the kernel is to do.
//!
//! The tests need root, and say so when they do not have it. They never touch the network namespace they are
//! started in, and run side by side.
#![forbid(unsafe_code)]

mod binaries;
mod clock;
mod collector;
mod counters;
mod daemon;
mod disk;
mod eventually;
pub mod fuzz;
mod hosts;
mod packet;
mod pair;
mod setup;
mod site;
mod ssh;
mod unit;
mod witness;

pub use binaries::{palisade, palisaded, promtool, sshd};
pub use clock::Clock;
pub use collector::{Collector, Taken};
pub use counters::{Counter, Counters};
pub use daemon::{CounterValues, Daemon, Output, http_get, nft};
pub use disk::Disk;
pub use eventually::eventually;
pub use hosts::{DENIED_PORTS, ICMP, Matrix, TCP_PORTS, ThreeHosts, UDP_PORT, denied, differences, examples};
pub use packet::Packet;
pub use pair::Pair;
pub use setup::Setup;
pub use site::{Ask, Site};
pub use ssh::{Said, SshServer, SshSession};
pub use unit::Unit;
pub use witness::Witness;
