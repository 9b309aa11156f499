//! What totals outlive: the table, the host, and the disk they are kept on.

use anyhow::{Context, ensure};
use palisade::lab::Host;
use palisade_integration::{Daemon, Disk, ThreeHosts, UDP_PORT, eventually, examples};

use super::{DENIED, PATIENCE, Sender, WATCHED, assert_totals, recorded, setup, staged, totals, watched};

#[test]
fn a_table_that_somebody_deleted_comes_back_with_its_totals() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = watched(&hosts)?;
    for round in 1..=3 {
        Sender::send(&hosts, UDP_PORT, 20)?;
        Sender::send(&hosts, DENIED, 10)?;
        let expected = (20 * round, 10 * round);
        assert_totals(&backend, expected)?;
        backend.nft(&["delete", "table", "inet", "palisade"])?;
        assert_eq!(totals(&backend)?, expected, "shown without a table too");
        backend.reload_well()?;
        assert_totals(&backend, expected)?;
    }
    Ok(())
}

#[test]
fn a_panic_loses_no_packet() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = watched(&hosts)?;
    let configuration = backend.configuration().display().to_string();
    for round in 1..=4 {
        Sender::send(&hosts, UDP_PORT, 20)?;
        Sender::send(&hosts, DENIED, 10)?;
        let expected = (20 * round, 10 * round);
        // Without a daemon, too, that would know what it has read last.
        if round % 2 == 0 {
            backend.kill9()?;
        }
        let panicked = backend.cli(&["panic", "--config", &configuration])?;
        assert_eq!(panicked.code, Some(0), "{panicked:?}");
        assert!(!backend.nft(&["list", "tables"])?.contains("inet palisade"));
        if round % 2 == 0 {
            backend.start_again()?;
        }
        assert_eq!(totals(&backend)?, expected, "shown under the panic");
        let resumed = backend.cli(&["resume", "--config", &configuration])?;
        assert_eq!(resumed.code, Some(0), "{resumed:?}");
        assert_totals(&backend, expected)?;
    }
    Ok(())
}

/// Stops the daemon, and starts it with the same files where the kernel knows nothing.
fn reboot(backend: &mut Daemon, into: &Host, orderly: bool) -> anyhow::Result<()> {
    if orderly {
        backend.terminate()?;
    } else {
        let state = backend.state("counters.jsonl");
        let (rule, end) = totals(backend)?;
        // What the last interval has seen is there.
        eventually(PATIENCE, || {
            let kept = std::fs::read_to_string(&state)?;
            let has = |packets: u64| kept.contains(&format!("\"packets\":{packets},"));
            ensure!(has(rule) && has(end), "{kept}");
            Ok(())
        })?;
        backend.kill9()?;
    }
    backend.start_again_in(into)
}

#[test]
fn a_reboot_is_survived() -> anyhow::Result<()> {
    let mut hosts = ThreeHosts::new()?;
    let mut backend = watched(&hosts)?;
    for round in 1..=3 {
        Sender::send(&hosts, UDP_PORT, 21)?;
        Sender::send(&hosts, DENIED, 10)?;
        let expected = (21 * round, 10 * round);
        assert_totals(&backend, expected)?;
        let rebooted = ThreeHosts::new()?;
        reboot(&mut backend, rebooted.host("backend"), round != 2)?;
        hosts = rebooted;
        assert_totals(&backend, expected)?;
        assert!(
            backend.log().contains("go on from their totals"),
            "{}",
            backend.log()
        );
        // The file of records outlives it too, and says nothing twice.
        eventually(PATIENCE, || {
            let recorded = recorded(&backend)?;
            ensure!(
                recorded == expected.0,
                "{recorded} of {expected:?} are in records"
            );
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_listing_loaded_before_the_daemon_neither_adds_nor_takes_away() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = watched(&hosts)?;
    Sender::send(&hosts, UDP_PORT, 20)?;
    assert_totals(&backend, (20, 0))?;
    let saved = backend.listing()?;
    Sender::send(&hosts, UDP_PORT, 20)?;
    assert_totals(&backend, (40, 0))?;

    let rebooted = ThreeHosts::new()?;
    let backend_there = rebooted.host("backend");
    palisade_integration::nft(backend_there.namespace(), &["-f", "-"], &saved)?;
    reboot(&mut backend, backend_there, true)?;
    assert_totals(&backend, (40, 0))
}

#[test]
fn a_reset_by_somebody_else_takes_no_total_down() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = watched(&hosts)?;
    Sender::send(&hosts, UDP_PORT, 20)?;
    Sender::send(&hosts, DENIED, 10)?;
    assert_totals(&backend, (20, 10))?;
    backend.nft(&["reset", "counters", "table", "inet", "palisade"])?;
    Sender::send(&hosts, UDP_PORT, 2)?;
    eventually(PATIENCE, || {
        let totals = totals(&backend)?;
        ensure!(totals == (22, 10), "{totals:?}");
        Ok(())
    })?;
    assert!(backend.log().contains("nft reset counters"), "{}", backend.log());
    backend.reload_well()?;
    assert_totals(&backend, (22, 10))?;
    Sender::send(&hosts, UDP_PORT, 1)?;
    assert_totals(&backend, (23, 10))
}

#[test]
fn a_damaged_history_is_told_and_set_aside() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = watched(&hosts)?;
    Sender::send(&hosts, UDP_PORT, 20)?;
    assert_totals(&backend, (20, 0))?;
    backend.terminate()?;
    std::fs::write(backend.state("counters.jsonl"), "\0\0\0\0")?;
    backend.start_again()?;
    assert!(
        backend.log().contains("counters.jsonl is damaged"),
        "{}",
        backend.log()
    );
    let aside = std::fs::read(backend.state("counters.jsonl.damaged"))?;
    assert_eq!(aside, b"\0\0\0\0");
    // The kernel still knew.
    assert_totals(&backend, (20, 0))?;
    backend.terminate()?;
    let rebooted = ThreeHosts::new()?;
    backend.start_again_in(rebooted.host("backend"))?;
    assert_totals(&backend, (20, 0))
}

/// The size of a disk that is full, in kilobytes.
const FULL: usize = 64;

#[test]
fn a_full_disk_changes_nothing_in_the_kernel() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = watched(&hosts)?;
    let disk = Disk::mount(&backend.state(""), FULL)?;
    std::fs::write(backend.state("filling"), vec![0; FULL << 10])?;
    Sender::send(&hosts, UDP_PORT, 20)?;
    assert_totals(&backend, (20, 0))?;
    eventually(PATIENCE, || {
        let log = backend.log();
        ensure!(log.contains("totals of counters cannot be kept"), "{log}");
        Ok(())
    })?;
    backend.apply("15-other.yaml", examples::ALLOW_7000)?;
    backend.remove("10-watched.yaml")?;
    backend.reload_well()?;
    backend.apply("10-watched.yaml", WATCHED)?;
    backend.nft(&["delete", "table", "inet", "palisade"])?;
    backend.reload_well()?;
    assert_totals(&backend, (20, 0))?;
    let said = backend.log().matches("totals of counters cannot be kept").count();
    assert_eq!(said, 1, "once is enough:\n{}", backend.log());

    disk.grow(16 * FULL)?;
    backend.terminate()?;
    assert!(
        backend.log().contains("counters.jsonl again"),
        "{}",
        backend.log()
    );
    let rebooted = ThreeHosts::new()?;
    backend.start_again_in(rebooted.host("backend"))?;
    assert_totals(&backend, (20, 0))
}

#[test]
fn since_when_a_policy_is_staged_survives_restart_and_reboot() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = setup().resource("10-watched.yaml", staged());
    let mut backend = Daemon::start(hosts.host("backend"), &setup)?;
    let since = |backend: &Daemon| -> anyhow::Result<String> {
        let reports = backend.json(&["staged", "watched"])?;
        Ok(reports[0]["since"].as_str().context("no since")?.to_owned())
    };
    let first = since(&backend)?;
    backend.kill9()?;
    backend.start_again()?;
    assert_eq!(since(&backend)?, first);
    // Elsewhere in the file, beside another policy: it means the same.
    backend.apply(
        "10-watched.yaml",
        &format!("# moved\n{}\n---\n{}", staged(), examples::ALLOW_7000),
    )?;
    assert_eq!(since(&backend)?, first);
    backend.terminate()?;
    let rebooted = ThreeHosts::new()?;
    backend.start_again_in(rebooted.host("backend"))?;
    assert_eq!(since(&backend)?, first);

    backend.terminate()?;
    backend.write("10-watched.yaml", &staged().replace("5353", "5354"))?;
    backend.start_again()?;
    assert!(since(&backend)? > first, "it means something else");
    Ok(())
}
