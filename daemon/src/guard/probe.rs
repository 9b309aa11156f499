//! Probes: what must work once a change is in force.

use std::io::{ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Check, Probe};

/// How often a program is asked whether it has ended.
const PULSE: Duration = Duration::from_millis(10);

/// Bytes of what a program has said that a failure shows.
const SHOWN: usize = 400;

/// A probe that has failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("probe {name} ({check}) has failed: {why}")]
pub struct ProbeFailure {
    /// Its name.
    pub name: String,
    /// What it does.
    pub check: String,
    /// What came of it.
    pub why: String,
}

/// Runs all probes at once, and gives the first, in their order, that fails. That takes as long as the slowest may.
///
/// # Errors
/// The failure.
pub fn probe(probes: &[Probe]) -> Result<(), ProbeFailure> {
    let results: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = probes.iter().map(|probe| scope.spawn(|| one(probe))).collect();
        let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .map(|result| result.unwrap_or_else(|_| Err("a bug in palisaded".to_owned())))
            .collect()
    });
    for (probe, result) in probes.iter().zip(results) {
        result.map_err(|why| ProbeFailure {
            name: probe.name.clone(),
            check: probe.check.to_string(),
            why,
        })?;
    }
    Ok(())
}

fn one(probe: &Probe) -> Result<(), String> {
    match &probe.check {
        Check::Tcp { host, port } => connect(host, *port, probe.timeout),
        Check::Command(words) => run(words, probe.timeout),
    }
}

/// Connects to one of the addresses of a host.
fn connect(host: &str, port: u16, timeout: Duration) -> Result<(), String> {
    let (done, result) = channel();
    let host = host.to_owned();
    // On a thread that may outlive the probe: the resolver of the C library cannot be told how long it may take.
    thread::spawn(move || {
        let addresses = (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| format!("{host} has no address: {error}"));
        let connected = addresses.and_then(|addresses| {
            let mut why = format!("{host} has no address");
            for address in addresses {
                match TcpStream::connect_timeout(&address, timeout) {
                    Ok(_) => return Ok(()),
                    Err(error) => why = format!("{address}: {error}"),
                }
            }
            Err(why)
        });
        // Nobody may wait any more.
        let _ = done.send(connected);
    });
    result
        .recv_timeout(timeout)
        .unwrap_or_else(|_| Err(format!("no connection within {timeout:?}")))
}

/// Runs a program to its end, or kills it when its time is over.
fn run(words: &[String], timeout: Duration) -> Result<(), String> {
    let [program, arguments @ ..] = words else {
        return Err("there is no program".to_owned());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("there is no {program}"),
            _ => format!("cannot run {program}: {error}"),
        })?;
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < timeout => thread::sleep(PULSE),
            Ok(None) => {
                end(&mut child);
                return Err(format!("still running after {timeout:?}"));
            }
            Err(error) => {
                end(&mut child);
                return Err(format!("cannot be waited for: {error}"));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = [0; SHOWN];
    let length = child
        .stderr
        .as_mut()
        .map_or(0, |pipe| pipe.read(&mut said).unwrap_or(0));
    let said = String::from_utf8_lossy(&said[..length]);
    Err(match said.trim() {
        "" => status.to_string(),
        said => format!("{status}: {said}"),
    })
}

fn end(child: &mut Child) {
    // It may have ended in this very moment.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn command(words: &[&str], timeout: Duration) -> Probe {
        Probe {
            name: "p".to_owned(),
            check: Check::Command(words.iter().map(|&word| word.to_owned()).collect()),
            timeout,
        }
    }

    fn tcp(port: u16) -> Probe {
        Probe {
            name: "p".to_owned(),
            check: Check::Tcp {
                host: "127.0.0.1".to_owned(),
                port,
            },
            timeout: Duration::from_secs(10),
        }
    }

    #[test]
    fn a_port_that_listens_is_fine_and_another_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(probe(&[tcp(port)]), Ok(()));
        drop(listener);
        let failure = probe(&[tcp(port)]).unwrap_err().to_string();
        assert!(
            failure.contains(&format!(
                "probe p (tcp 127.0.0.1:{port}) has failed: 127.0.0.1:{port}: Connection refused"
            )),
            "{failure}"
        );
    }

    #[test]
    fn a_program_must_end_well_and_in_time() {
        let long = Duration::from_mins(1);
        assert_eq!(probe(&[command(&["/bin/true"], long)]), Ok(()));
        let failed = |words: &[&str], timeout| probe(&[command(words, timeout)]).unwrap_err().why;
        assert_eq!(
            failed(&["/bin/sh", "-c", "echo no database >&2; exit 3"], long),
            "exit status: 3: no database"
        );
        assert_eq!(failed(&["/nowhere/probe"], long), "there is no /nowhere/probe");
        let short = Duration::from_millis(100);
        assert_eq!(failed(&["/bin/sleep", "60"], short), "still running after 100ms");
    }

    #[test]
    fn the_first_that_fails_is_named() {
        let long = Duration::from_mins(1);
        let mut second = command(&["/bin/false"], long);
        second.name = "second".to_owned();
        let failure = probe(&[command(&["/bin/true"], long), second]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "probe second (/bin/false) has failed: exit status: 1"
        );
    }
}
