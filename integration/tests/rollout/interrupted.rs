//! A window in which the daemon is killed, the host is started anew, the daemon is stopped, or the disk is full.

use anyhow::ensure;
use palisade_integration::{Disk, ThreeHosts, eventually, examples};

use super::{
    FILE, LONG, NAME, PATIENCE, SHORT, after_the_window, assert_locked_down, assert_open, assert_tidy,
    promote, staged, text, well,
};

#[test]
fn without_a_daemon_the_kernel_goes_back_by_itself() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = staged(&hosts)?;
    promote(&backend, "4s")?;
    assert_locked_down(&hosts)?;
    backend.kill9()?;
    eventually(PATIENCE, || assert_open(&hosts))?;

    backend.start_again()?;
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert_tidy(&backend)?;
    assert!(
        !backend.listing()?.contains("@unconfirmed"),
        "{}",
        backend.listing()?
    );
    let status = backend.status()?;
    assert_eq!(status["rolled_back"]["generation"], 2, "{status:#}");
    assert_eq!(
        status["generation"], 1,
        "it is the same generation again: {status:#}"
    );
    assert_eq!(status["last_reload"]["ok"], true);
    Ok(())
}

#[test]
fn a_daemon_that_is_started_anew_goes_back() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = staged(&hosts)?;
    promote(&backend, LONG)?;
    backend.kill9()?;
    assert_locked_down(&hosts)?;
    backend.start_again()?;
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert_tidy(&backend)?;
    let late = backend.cli(&["confirm"])?;
    assert_eq!(late.code, Some(6), "{late:?}");
    // The next one has a number that no other has had.
    assert_eq!(promote(&backend, LONG)?["generation"], 3);
    well(&backend, &["confirm"])?;
    assert_locked_down(&hosts)
}

#[test]
fn a_host_that_is_started_anew_goes_back() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = staged(&hosts)?;
    promote(&backend, LONG)?;
    backend.kill9()?;
    backend.nft(&["delete", "table", "inet", "palisade"])?;
    backend.start_again()?;
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert_eq!(backend.status()?["staged_policies"], 1);
    assert_tidy(&backend)
}

#[test]
fn a_daemon_that_is_stopped_goes_back_first() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    promote(&backend, LONG)?;
    assert_locked_down(&hosts)?;
    backend.terminate()?;
    assert_open(&hosts)?;
    assert!(
        backend.log().contains("palisaded was stopped"),
        "{}",
        backend.log()
    );
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert_tidy(&backend)
}

#[test]
fn a_panic_in_the_window_leaves_the_previous_files() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged(&hosts)?;
    let configuration = backend.configuration().display().to_string();
    promote(&backend, "3s")?;
    well(&backend, &["panic", "--config", &configuration])?;
    assert_open(&hosts)?;
    after_the_window(&backend)?;
    assert!(!backend.nft(&["list", "tables"])?.contains("inet palisade"));
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    well(&backend, &["resume", "--config", &configuration])?;
    assert!(backend.nft(&["list", "tables"])?.contains("inet palisade"));
    assert_open(&hosts)
}

#[test]
fn a_full_disk_refuses_before_anything_is_changed() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = staged(&hosts)?;
    backend.terminate()?;
    let disk = Disk::mount(&backend.state(""), 64)?;
    backend.start_again()?;
    let filler = backend.state("filler");
    // To the last byte.
    let _ = std::fs::write(&filler, vec![0; 1 << 20]);
    let held = backend.held()?.0;
    let refused = backend.cli(&["promote", NAME, "--confirm-within", LONG, "--force"])?;
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("No space left"), "{refused:?}");
    assert_eq!(backend.held()?.0, held);
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert_tidy(&backend)?;
    std::fs::remove_file(&filler)?;
    promote(&backend, LONG)?;
    well(&backend, &["confirm"])?;
    drop(disk);
    assert_locked_down(&hosts)
}

#[test]
fn a_disk_that_is_full_in_the_window_keeps_nobody_from_going_back() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = staged(&hosts)?;
    backend.terminate()?;
    let policies = backend.policy_file("");
    let texts: Vec<(String, String)> = ["hosts.yaml", FILE]
        .iter()
        .map(|file| Ok((String::from(*file), text(&backend, file)?)))
        .collect::<anyhow::Result<_>>()?;
    let _disks = [Disk::mount(&backend.state(""), 128)?, Disk::mount(&policies, 64)?];
    for (file, text) in &texts {
        backend.write(file, text)?;
    }
    backend.start_again()?;
    promote(&backend, SHORT)?;
    for full in [backend.state("filler"), policies.join("filler")] {
        let _ = std::fs::write(full, vec![0; 1 << 20]);
    }
    after_the_window(&backend)?;
    assert_open(&hosts)?;
    assert_eq!(text(&backend, FILE)?, examples::LOCKDOWN_STAGED);
    assert_tidy(&backend)?;
    backend.kill9()?;
    backend.start_again()?;
    assert_open(&hosts)?;
    ensure!(
        backend.status()?["staged_policies"] == 1,
        "{:#}",
        backend.status()?
    );
    Ok(())
}
