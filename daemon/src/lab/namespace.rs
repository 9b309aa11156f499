//! A network namespace without a name.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, mpsc};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use super::process::{self, Process};
use super::{During, Error, Result, link};

/// A network namespace that exists as long as this value, a clone of it, or a [`Process`] in it.
///
/// Its loopback interface is up, and it has no other until somebody adds one.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    net: OwnedFd,
    /// Work for the thread that lives in the namespace. It ends when this sender is dropped.
    keeper: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Namespace {
    /// Makes an empty namespace.
    ///
    /// # Errors
    /// [`Error::Privilege`] without root.
    pub fn new() -> Result<Self> {
        let (keeper, jobs) = mpsc::channel::<Job>();
        let (opened, net) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("namespace".to_owned())
            .spawn(move || {
                if opened.send(leave_for_a_fresh_one()).is_ok() {
                    for job in jobs {
                        job();
                    }
                }
            })
            .during(|| "start a thread".to_owned())?;
        // The thread sends exactly once before anything else.
        let net = net.recv().unwrap_or(Err(Error::Privilege))?;
        let namespace = Namespace(Arc::new(Inner { net, keeper }));
        // Duplicates are not looked for: without a link-local address of its own, which it gets after a second else, a
        // router does not ask for its IPv6 neighbours.
        namespace.set(&[
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            // Nor are routers: what is sent is what somebody here sends.
            ("ipv6/conf/default/router_solicitations", "0"),
        ])?;
        link::bring_up(&namespace, "lo")?;
        Ok(namespace)
    }

    /// Runs `work` on a thread of its own inside the namespace and returns what it returned.
    ///
    /// A socket belongs to the namespace it was made in for ever, so `work` may return it for use outside.
    ///
    /// # Panics
    /// If `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let inside = || {
            enter(self.0.net.as_fd())?;
            Ok(work())
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .spawn_scoped(scope, inside)
                .during(|| "start a thread".to_owned())?;
            thread
                .join()
                .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        })
    }

    /// Starts a program inside the namespace, its output captured.
    ///
    /// Of `command`, program, arguments, environment and working directory are used. The program is killed
    /// when the [`Process`] is dropped or this process dies, however it dies.
    pub fn spawn(&self, command: &Command) -> Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut mortal = process::mortal(command);
        let (sender, spawned) = mpsc::sync_channel(1);
        // By the thread that stays: the kernel kills a child with the thread that made it.
        let job = Box::new(move || {
            // The receiver waits below.
            let _ = sender.send(process::piped(&mut mortal).spawn());
        });
        self.0
            .keeper
            .send(job)
            .map_err(|_| keeper_gone())
            .during(|| format!("start {name}"))?;
        let child = spawned
            .recv()
            .map_err(|_| keeper_gone())
            .flatten()
            .during(|| format!("start {name}"))?;
        Ok(Process::new(name, child, self.clone()))
    }

    /// Runs a program inside the namespace to its end, with `input` on its standard input.
    ///
    /// A program that is not there shows as exit code 127 and a message on standard error.
    pub fn output(&self, command: &Command, input: &str) -> Result<Output> {
        self.run(|| process::output(command, input))?
    }

    /// Joins it to another by a cable (a veth pair): `interface` here, `peer` there, both up.
    pub fn connect(&self, interface: &str, other: &Namespace, peer: &str) -> Result<()> {
        link::add_veth(self, interface, other, peer)?;
        link::bring_up(other, peer)?;
        link::wait_until_up(self, interface)?;
        link::wait_until_up(other, peer)
    }

    /// Gives an interface an address with its prefix length, usable at once.
    ///
    /// # Errors
    /// [`Error::Address`] for an address that is not one; the kernel's own error for one it has already.
    pub fn add_address(&self, interface: &str, address: &str) -> Result<()> {
        link::add_address(self, interface, link::parse(address)?)
    }

    /// Sends what is for the network `to` through a neighbour.
    ///
    /// # Errors
    /// [`Error::Address`] for a network that is not one; the kernel's own error where no interface leads to the
    /// neighbour.
    pub fn add_route(&self, to: &str, via: IpAddr) -> Result<()> {
        link::add_route(self, link::parse(to)?, via)
    }

    /// Makes it a router, for both IP versions.
    pub fn forward(&self) -> Result<()> {
        self.set(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])
    }

    /// Writes below `/proc/sys/net`, of which every namespace has its own.
    fn set(&self, values: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (name, value) in values {
                fs::write(format!("/proc/sys/net/{name}"), value)
                    .during(|| format!("set {name} to {value}"))?;
            }
            Ok(())
        })?
    }

    /// A path that stands for the namespace while this process lives, as `nsenter --net=PATH` takes it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.net.as_raw_fd()).into()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.net.as_fd()
    }
}

/// Takes the calling thread into a fresh namespace and gives a handle on it.
fn leave_for_a_fresh_one() -> Result<OwnedFd> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => return Err(Error::Privilege),
        other => other.during(|| "make a network namespace".to_owned())?,
    }
    let file = File::open("/proc/thread-self/ns/net")
        .during(|| "open the network namespace just made".to_owned())?;
    Ok(file.into())
}

/// Takes the calling thread into the namespace.
fn enter(net: BorrowedFd<'_>) -> Result<()> {
    match setns(net, CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => Err(Error::Privilege),
        other => other.during(|| "enter a network namespace".to_owned()),
    }
}

fn keeper_gone() -> std::io::Error {
    std::io::Error::other("the thread that keeps the namespace has ended")
}
