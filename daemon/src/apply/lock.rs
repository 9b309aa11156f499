//! One daemon for a state directory, and one for a network namespace: two would undo each other's work for ever.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{UnixCredentials, getsockopt, sockopt::PeerCredentials};
use tracing::warn;

/// A name that one socket of a network namespace can have; it is free again when its process ends, however it ends.
const NAME: &[u8] = b"palisade/daemon";

/// The file of the state directory; in it is the number of the process that holds it.
const FILE: &str = "lock";

/// Held by a running daemon.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
    _name: Option<UnixListener>,
}

/// Why a daemon may not run.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another one has the state directory.
    #[error(
        "another palisaded{} has the state directory {}: stop it first, or set another stateDir for this one",
        pid(*.holder), directory.display()
    )]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Its process, if it says.
        holder: Option<i32>,
    },
    /// Another one has the network namespace.
    #[error(
        "another palisaded (pid {holder}) runs in this network namespace, and there is one table inet palisade: stop it \
         first, or run this one in a namespace of its own"
    )]
    Namespace {
        /// Its process.
        holder: i32,
    },
    /// The lock cannot be made.
    #[error("cannot lock the state directory {}: {source}; is it there, and writable for palisaded?", directory.display())]
    Io {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Lock {
    /// Takes both, or says who has one.
    pub fn take(state_dir: &Path) -> Result<Lock, LockError> {
        let file = lock(state_dir)?;
        Ok(Lock {
            _file: file,
            _name: name()?,
        })
    }
}

/// The process of the daemon of this network namespace, if one is running.
pub fn holder() -> Option<i32> {
    Some(owner().ok()?.pid())
}

fn lock(state_dir: &Path) -> Result<Flock<File>, LockError> {
    let error = |source| LockError::Io {
        directory: state_dir.to_owned(),
        source,
    };
    fs::create_dir_all(state_dir).map_err(error)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(state_dir.join(FILE)).map_err(error)?;
    let mut locked = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(locked) => locked,
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(LockError::Directory {
                directory: state_dir.to_owned(),
                holder: holder.trim().parse().ok(),
            });
        }
        Err((_, errno)) => return Err(error(errno.into())),
    };
    // On a full disk it is locked without a number in it.
    let _ = locked.set_len(0);
    let _ = writeln!(locked, "{}", std::process::id());
    Ok(locked)
}

fn name() -> Result<Option<UnixListener>, LockError> {
    let bound = SocketAddr::from_abstract_name(NAME).and_then(|name| UnixListener::bind_addr(&name));
    let error = match bound {
        Ok(listener) => return Ok(Some(listener)),
        Err(error) => error,
    };
    let us = nix::unistd::geteuid().as_raw();
    match owner() {
        // Anybody may take a name. Who may not run a daemon must not keep one from running.
        Ok(owner) if owner.uid() == 0 || owner.uid() == us => {
            Err(LockError::Namespace { holder: owner.pid() })
        }
        Ok(owner) => {
            warn!(
                "pid {} of uid {} has taken the name by which one palisaded knows of another: two could run here",
                owner.pid(),
                owner.uid()
            );
            Ok(None)
        }
        Err(_) => {
            warn!(%error, "whether another palisaded runs in this network namespace is not known");
            Ok(None)
        }
    }
}

/// Who listens at the name.
fn owner() -> io::Result<UnixCredentials> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(NAME)?)?;
    Ok(getsockopt(&stream, PeerCredentials)?)
}

fn pid(holder: Option<i32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}
