//! What is not confirmed undoes itself: in the kernel, in the files, and in what is said of it. Needs root.

mod canary;
mod files;
mod interrupted;
mod stored;
mod window;

use std::time::Duration;

use anyhow::ensure;
use palisade_integration::{DENIED_PORTS, Daemon, Output, Setup, ThreeHosts, denied, eventually, examples};
use serde_json::Value;

/// Longer than any window that a test lets end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The staged policy that denies everything towards the backend but a failsafe.
const NAME: &str = "backend-lockdown-staged";

/// Its file.
const FILE: &str = "20-lockdown.yaml";

/// A window that no test waits for.
const LONG: &str = "10m";

/// A window that ends while a test waits for it.
const SHORT: &str = "2s";

/// The backend, with nothing in force and the lockdown staged.
fn staged(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    staged_with(hosts, "safetyNet: false\n")
}

fn staged_with(hosts: &ThreeHosts, config: &str) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .config(config)
        .resource("hosts.yaml", examples::HOSTS)
        .resource(FILE, examples::LOCKDOWN_STAGED);
    Daemon::start(hosts.host("backend"), &setup)
}

/// Promotes the lockdown, whoever it locks out, and gives the report.
fn promote(backend: &Daemon, window: &str) -> anyhow::Result<Value> {
    let report = backend.json(&["promote", NAME, "--confirm-within", window, "--force"])?;
    ensure!(report["ok"] == true, "{report:#}\n{}", backend.log());
    Ok(report)
}

/// Runs a command that must end well.
fn well(backend: &Daemon, arguments: &[&str]) -> anyhow::Result<Output> {
    let output = backend.cli(arguments)?;
    ensure!(
        output.code == Some(0),
        "{arguments:?}: {output:?}\n{}",
        backend.log()
    );
    Ok(output)
}

/// The lockdown denies what it is to deny.
fn assert_locked_down(hosts: &ThreeHosts) -> anyhow::Result<()> {
    let matrix = hosts.between("frontend", "backend")?;
    ensure!(denied(&matrix).len() == 2 * DENIED_PORTS.len(), "{matrix:#?}");
    Ok(())
}

/// Nothing is denied.
fn assert_open(hosts: &ThreeHosts) -> anyhow::Result<()> {
    let matrix = hosts.between("frontend", "backend")?;
    ensure!(denied(&matrix).is_empty(), "{matrix:#?}");
    Ok(())
}

/// The file in the policy directory.
fn text(backend: &Daemon, file: &str) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(backend.policy_file(file))?)
}

/// Waits until nothing is unconfirmed, and gives the status.
fn after_the_window(backend: &Daemon) -> anyhow::Result<Value> {
    eventually(PATIENCE, || {
        let status = backend.status()?;
        ensure!(status["unconfirmed"].is_null(), "{status:#}");
        Ok(status)
    })
}

/// There is no trace of a window left on the disk.
fn assert_tidy(backend: &Daemon) -> anyhow::Result<()> {
    ensure!(
        !backend.state("unconfirmed.json").exists(),
        "the note is still there"
    );
    for entry in std::fs::read_dir(backend.policy_file(""))? {
        let name = entry?.file_name();
        ensure!(
            !name.as_encoded_bytes().starts_with(b"."),
            "{} is still there",
            name.display()
        );
    }
    Ok(())
}
