//! The way out works whatever else does not, and one daemon does not fight another. Needs root.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use nix::sys::signal::Signal;
use palisade_integration::{
    DENIED_PORTS, Daemon, Disk, Setup, ThreeHosts, denied, eventually, examples, palisade,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn setup() -> Setup {
    Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::lockdown_promoted())
}

fn locked_down(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    Daemon::start(hosts.host("backend"), &setup())
}

/// Nothing is filtered, whatever the daemon does.
fn assert_open(hosts: &ThreeHosts, backend: &Daemon) -> anyhow::Result<()> {
    assert!(denied(&hosts.between("frontend", "backend")?).is_empty());
    let refused = backend.cli(&["reload"])?;
    assert_eq!(refused.code, Some(5), "{refused:?}");
    let status = backend.status()?;
    assert_eq!(status["panic"], true, "{status:#}");
    let tables = backend.nft(&["list", "tables"])?;
    assert!(!tables.contains("inet palisade\n"), "{tables}");
    Ok(())
}

fn assert_resumed(hosts: &ThreeHosts, backend: &Daemon) -> anyhow::Result<()> {
    let configuration = backend.configuration().display().to_string();
    let resumed = backend.cli(&["resume", "--config", &configuration])?;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let denied = denied(&hosts.between("frontend", "backend")?).len();
    assert_eq!(denied, 2 * DENIED_PORTS.len());
    let tables = backend.nft(&["list", "tables"])?;
    assert!(!tables.contains("palisade_panic"), "{tables}");
    Ok(())
}

#[test]
fn a_daemon_that_was_stopped_meanwhile_does_not_put_the_table_back() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    backend.signal(Signal::SIGSTOP)?;
    let configuration = backend.configuration().display().to_string();
    let panicked = backend.cli(&["panic", "--config", &configuration])?;
    assert_eq!(panicked.code, Some(0), "{panicked:?}");
    assert!(denied(&hosts.between("frontend", "backend")?).is_empty());
    backend.signal(Signal::SIGCONT)?;
    assert_open(&hosts, &backend)?;
    assert_resumed(&hosts, &backend)
}

#[test]
fn a_state_directory_that_cannot_be_written_stops_nothing() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let directory = backend.state("");
    let disk = Disk::mount(&directory, 64)?;
    std::fs::write(backend.state("filling"), vec![0; 64 << 10])?;
    // While the daemon writes, the disk cannot be.
    eventually(PATIENCE, || disk.freeze())?;
    let configuration = backend.configuration().display().to_string();
    let panicked = backend.cli(&["panic", "--config", &configuration])?;
    assert_eq!(panicked.code, Some(0), "{panicked:?}");
    assert!(panicked.stderr.contains("with the next reboot"), "{panicked:?}");
    assert_open(&hosts, &backend)?;
    assert_resumed(&hosts, &backend)
}

#[test]
fn without_a_configuration_a_running_daemon_keeps_out_too() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    // In a mount namespace of its own: the machine's own state directory is not this test's.
    let script = "mount -t tmpfs tmpfs /var/lib && exec \"$0\" panic --config /nonexistent/palisade.yaml";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(palisade()?);
    let panicked = backend.namespace().output(&command, "")?;
    assert!(panicked.status.success(), "{panicked:?}");
    let said = String::from_utf8_lossy(&panicked.stderr);
    assert!(said.contains("/nonexistent/palisade.yaml"), "{said}");
    assert_open(&hosts, &backend)?;
    assert_resumed(&hosts, &backend)
}

#[test]
fn a_second_daemon_is_refused_with_the_first_ones_number() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = locked_down(&hosts)?;
    let number = format!("pid {}", backend.pid());
    let in_the_same_host = locked_down(&hosts);
    let said = format!("{:#}", in_the_same_host.expect_err("there is one table"));
    assert!(
        said.contains(&number) && said.contains("this network namespace"),
        "{said}"
    );

    let state = backend.state("").display().to_string();
    let elsewhere = setup().state_dir(&backend.state(""));
    let refused = Daemon::start(hosts.host("database"), &elsewhere);
    let said = format!("{:#}", refused.expect_err("there is one state directory"));
    assert!(
        said.contains(&number) && said.contains(&state[..state.len() - 1]),
        "{said}"
    );

    // However the first one ends.
    backend.kill9()?;
    eventually(PATIENCE, || {
        let status = backend.start_again();
        ensure!(status.is_ok(), "{status:?}");
        Ok(())
    })
}
