//! A network namespace without a name.

use std::fs::File;
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
