//! What goes wrong around the daemon costs what it must, and is said. Needs root.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use palisade_integration::{
    DENIED_PORTS, Daemon, Disk, Setup, ThreeHosts, denied, eventually, examples, palisade,
};

/// Several flow intervals.
const PATIENCE: Duration = Duration::from_secs(10);

fn locked_down(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::lockdown_promoted());
    Daemon::start(hosts.host("backend"), &setup)
}

/// The directory that everything of a daemon is in.
fn directory(daemon: &Daemon) -> anyhow::Result<PathBuf> {
    let configuration = daemon.configuration();
    let directory = configuration.parent();
    Ok(directory
        .context("the configuration is in no directory")?
        .to_owned())
}

#[test]
fn a_daemon_that_starts_under_a_panic_waits_for_its_end() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = locked_down(&hosts)?;
    let configuration = backend.configuration().display().to_string();
    let panicked = backend.cli(&["panic", "--config", &configuration])?;
    assert_eq!(panicked.code, Some(0), "{panicked:?}");
    backend.kill9()?;

    backend.start_again()?;
    let status = backend.status()?;
    assert_eq!(status["panic"], true, "{status:#}");
    assert!(!backend.nft(&["list", "tables"])?.contains("inet palisade"));
    let refused = backend.cli(&["reload"])?;
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("palisade resume"), "{refused:?}");
    assert!(!backend.nft(&["list", "tables"])?.contains("inet palisade"));
    assert!(denied(&hosts.between("frontend", "backend")?).is_empty());

    let resumed = backend.cli(&["resume", "--config", &configuration])?;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(backend.status()?["panic"], false);
    assert_eq!(
        denied(&hosts.between("frontend", "backend")?).len(),
        2 * DENIED_PORTS.len()
    );
    Ok(())
}

#[test]
fn a_change_of_addresses_does_not_hide_a_refused_reload() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    // No HostEndpoint: the endpoint is made from the labels, and its addresses are the host's.
    let setup = Setup::new("backend").config("host: {labels: {app: backend}}\n");
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    backend.write("30-broken.yaml", "kind: Nonsense\n")?;
    assert_eq!(backend.reload()?["ok"], false);

    let add = ["address", "add", "192.0.2.77/32", "dev", "lo"];
    let added = backend.namespace().output(Command::new("ip").args(add), "")?;
    ensure!(added.status.success(), "{added:?}");
    eventually(PATIENCE, || {
        let endpoints = backend.json(&["endpoints"])?;
        ensure!(endpoints.to_string().contains("192.0.2.77"), "{endpoints:#}");
        Ok(())
    })?;
    let last = backend.status()?["last_reload"].clone();
    assert_eq!(last["ok"], false, "{last:#}");
    Ok(())
}

#[test]
fn the_last_packets_before_a_stop_are_in_the_records() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    hosts.between("frontend", "backend")?;
    backend.terminate()?;
    let packets: u64 = backend
        .records()?
        .iter()
        .filter(|record| record["type"] == "flow" && record["action"] == "deny")
        .filter_map(|record| record["evaluated"].as_u64())
        .sum();
    assert_eq!(packets, 2 * DENIED_PORTS.len() as u64);
    Ok(())
}

#[test]
fn a_full_disk_costs_records_and_nothing_else() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let disk = Disk::mount(&directory(&backend)?.join("log"), 8)?;
    eventually(PATIENCE, || {
        // A change of generation writes a record for every counter.
        backend.apply("15-other.yaml", examples::ALLOW_7000)?;
        backend.remove("15-other.yaml")?;
        backend.reload_well()?;
        let flows = backend.status()?["flows"].clone();
        ensure!(flows["not_written"].as_u64() > Some(0), "{flows:#}");
        Ok(())
    })?;
    assert_eq!(
        denied(&hosts.between("frontend", "backend")?).len(),
        2 * DENIED_PORTS.len()
    );
    disk.grow(8 << 10)?;
    hosts.between("frontend", "backend")?;
    eventually(PATIENCE, || {
        // Every line is whole, those around the failure too.
        let records = backend.records()?;
        let flow = records.iter().any(|record| record["type"] == "flow");
        ensure!(flow, "no flow record since there is room again: {records:#?}");
        Ok(())
    })
}

#[test]
fn following_records_ends_when_nobody_reads_them() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let socket = directory(&backend)?.join("palisade.sock");
    let mut follow = Command::new("timeout");
    follow
        .args([
            "20",
            "bash",
            "-c",
            "set -o pipefail; \"$0\" --socket \"$1\" flows -f | head -n 1",
        ])
        .arg(palisade()?)
        .arg(socket);
    let follow = backend.namespace().spawn(&follow)?;
    eventually(PATIENCE, || {
        hosts.between("frontend", "backend")?;
        let status = follow.ended()?.context("still following")?;
        ensure!(status.success(), "ended with {status}: {}", follow.stderr());
        Ok(())
    })
}

#[test]
fn many_hangups_at_once_leave_the_last_word_in_force() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let storm = scope.spawn(|| -> anyhow::Result<()> {
            for _ in 0..20 {
                backend.reload()?;
            }
            Ok(())
        });
        for round in 0..10 {
            backend.write(
                "15-other.yaml",
                &examples::ALLOW_7000.replace("7000", &format!("70{round:02}")),
            )?;
            let reloaded = backend.cli(&["reload"])?;
            ensure!(reloaded.code == Some(0), "{reloaded:?}");
            let listing = backend.listing()?;
            ensure!(
                listing.contains(&format!("70{round:02}")),
                "not in force when the command ends: {listing}"
            );
        }
        storm.join().expect("no panic there")
    })
}
