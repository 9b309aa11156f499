//! What is done to our table after the first transaction and before the daemon hears of changes is put right too. Needs root.
//!
//! The daemon listens after its first transaction, and looks at the table once more. `strace` stops it in between: at the call that
//! makes the socket it is to listen on.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade::lab::Host;
use palisade_integration::{DENIED_PORTS, Daemon, Setup, ThreeHosts, denied, eventually, examples, nft};

const PATIENCE: Duration = Duration::from_secs(20);

/// The group of `NFNLGRP_NFTABLES`, in which the kernel tells of changes, as `bind` takes it.
const CHANGES: u32 = 1 << 6;

/// A start that `strace` writes into a file, and stops at the `socket` of that number, if any.
fn traced(file: &Path, stop: Option<usize>) -> Setup {
    let mut strace = ["strace", "-D", "-f", "-e", "trace=socket,bind", "-o"]
        .map(str::to_owned)
        .to_vec();
    strace.push(file.display().to_string());
    if let Some(number) = stop {
        let inject = format!("inject=socket:signal=SIGSTOP:when={number}");
        strace.extend(["-e".to_owned(), inject]);
    }
    Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::lockdown_promoted())
        .under(strace)
}

/// The how manieth `socket` it is that is bound to the group of changes, counted from one.
fn socket_of_changes(trace: &str) -> Option<usize> {
    let mut sockets = 0;
    for line in trace.lines() {
        // `1234 bind(9, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=0x000040}, 12) = 0`
        let (_, call) = line.split_once(' ')?;
        if call.starts_with("socket(") {
            sockets += 1;
        } else if call.starts_with("bind(") && groups(call) == Some(CHANGES) {
            return Some(sockets);
        }
    }
    None
}

fn groups(call: &str) -> Option<u32> {
    let (_, groups) = call.split_once("nl_groups=0x")?;
    let (groups, _) = groups.split_once('}')?;
    u32::from_str_radix(groups, 16).ok()
}

/// The thread that has been stopped.
fn stopped(trace: &str) -> Option<Pid> {
    let line = trace.lines().find(|line| line.contains("stopped by SIGSTOP"))?;
    let (thread, _) = line.split_once(' ')?;
    thread.parse().ok().map(Pid::from_raw)
}

/// The chains of our table. Counters of what is out of force stay for a while.
fn chains(host: &Host) -> anyhow::Result<String> {
    let table = nft(host.namespace(), &["-s", "list", "table", "inet", "palisade"], "")?;
    let (_, chains) = table.split_once("\tchain ").context(table.clone())?;
    Ok(chains.to_owned())
}

#[test]
fn what_is_done_before_the_daemon_listens_is_put_right() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let host = hosts.host("backend");
    let directory = tempfile::tempdir()?;
    let files = ["undisturbed", "stopped"].map(|name| directory.path().join(name));
    let read = |file: &Path| fs::read_to_string(file).with_context(|| "install Debian's package strace");

    let undisturbed = Daemon::start(host, &traced(&files[0], None))?;
    let number = eventually(PATIENCE, || {
        let trace = read(&files[0])?;
        socket_of_changes(&trace).with_context(|| format!("does not listen:\n{trace}"))
    })?;
    drop(undisturbed);
    nft(host.namespace(), &["flush", "ruleset"], "")?;

    let (daemon, good) = thread::scope(|scope| -> anyhow::Result<(Daemon, String)> {
        let daemon = scope.spawn(|| Daemon::start(host, &traced(&files[1], Some(number))));
        let thread = eventually(PATIENCE, || stopped(&read(&files[1])?).context("not stopped"))?;
        let good = chains(host)?;
        nft(
            host.namespace(),
            &["insert", "rule", "inet", "palisade", "input", "accept"],
            "",
        )?;
        kill(thread, Signal::SIGCONT)?;
        let daemon = daemon.join().expect("no panic there")?;
        Ok((daemon, good))
    })?;

    let last = eventually(PATIENCE, || {
        let changes = daemon.status()?["foreign_changes"].clone();
        ensure!(changes["total"] == 1, "{changes:#}\n{}", daemon.log());
        Ok(changes["recent"][0].clone())
    })?;
    assert!(last["by"].is_null(), "it was heard, not looked for: {last:#}");
    assert_eq!(last["outcome"], "repaired", "{last:#}");
    assert!(last["what"].to_string().contains("chain input has"), "{last:#}");
    assert_eq!(chains(host)?, good);
    assert_eq!(
        denied(&hosts.between("frontend", "backend")?).len(),
        2 * DENIED_PORTS.len()
    );
    Ok(())
}
