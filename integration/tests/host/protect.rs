//! With `protectTable`, nobody but the daemon changes our table, and the way out works all the same. Needs root, and Linux
//! 6.9 or later.

use std::time::Duration;

use anyhow::ensure;
use nix::sys::signal::Signal;
use palisade_integration::{DENIED_PORTS, Daemon, Setup, ThreeHosts, denied, eventually, examples, nft};

const PATIENCE: Duration = Duration::from_secs(20);

const PROTECTED: &str = "safetyNet: false\nprotectTable: true\n";

/// What another process may try on our table.
const ATTEMPTS: [&[&str]; 5] = [
    &["delete", "table", "inet", "palisade"],
    &["flush", "table", "inet", "palisade"],
    &["insert", "rule", "inet", "palisade", "input", "accept"],
    &["flush", "chain", "inet", "palisade", "input"],
    &["add", "table", "inet", "palisade", "{ flags dormant; }"],
];

fn setup(configuration: &str) -> Setup {
    Setup::new("backend")
        .config(configuration)
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::lockdown_promoted())
}

fn protected(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    Daemon::start(hosts.host("backend"), &setup(PROTECTED))
}

fn assert_denied(hosts: &ThreeHosts) -> anyhow::Result<()> {
    let denied = denied(&hosts.between("frontend", "backend")?).len();
    assert_eq!(denied, 2 * DENIED_PORTS.len());
    Ok(())
}

/// The chains of our table, without the generation's number, which is in the prefixes of its log rules.
fn chains(daemon: &Daemon) -> anyhow::Result<String> {
    let listing = daemon.nft(&["-s", "list", "table", "inet", "palisade"])?;
    let chains = &listing[listing.find("\tchain ").unwrap_or(0)..];
    let number = daemon.status()?["generation"].clone();
    Ok(chains.replace(&format!("/{number}/eth0"), "/N/eth0"))
}

/// Whatever others try comes to nothing.
fn assert_out_of_reach(daemon: &Daemon) -> anyhow::Result<()> {
    let before = chains(daemon)?;
    for attempt in ATTEMPTS {
        let refused = daemon.nft(attempt);
        assert!(refused.is_err(), "{attempt:?} was possible: {refused:?}");
    }
    daemon.nft(&["flush", "ruleset"])?;
    assert_eq!(chains(daemon)?, before);
    Ok(())
}

#[test]
fn others_cannot_touch_it_and_the_daemon_can() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = protected(&hosts)?;
    assert_out_of_reach(&backend)?;
    assert_denied(&hosts)?;
    let before = chains(&backend)?;
    backend.apply("15-other.yaml", examples::ALLOW_7000)?;
    assert_ne!(chains(&backend)?, before);
    assert_out_of_reach(&backend)?;
    backend.remove("15-other.yaml")?;
    backend.reload_well()?;
    assert_eq!(chains(&backend)?, before);
    assert_eq!(backend.status()?["foreign_changes"]["total"], 0);
    assert!(!backend.log().contains("protectTable needs"), "{}", backend.log());
    Ok(())
}

#[test]
fn a_killed_daemon_leaves_it_in_force_and_the_next_one_takes_it_over() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = protected(&hosts)?;
    let good = chains(&backend)?;
    for change in [None, Some(ATTEMPTS[2]), Some(ATTEMPTS[3]), Some(ATTEMPTS[0])] {
        backend.kill9()?;
        // Nobody holds it then.
        match change {
            None => assert_denied(&hosts)?,
            Some(change) => {
                eventually(PATIENCE, || backend.nft(change))?;
            }
        }
        backend.start_again()?;
        assert_eq!(chains(&backend)?, good);
        assert_out_of_reach(&backend)?;
        assert_denied(&hosts)?;
    }
    Ok(())
}

/// The way out, and that no daemon takes it back but by the way back.
fn panics(state: impl Fn(&Daemon) -> anyhow::Result<()>, is_alive: bool) -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = protected(&hosts)?;
    assert_denied(&hosts)?;
    state(&backend)?;
    let configuration = backend.configuration().display().to_string();
    let panicked = backend.cli(&["panic", "--config", &configuration])?;
    assert_eq!(panicked.code, Some(0), "{panicked:?}");
    let killed = format!("palisaded (pid {}) was killed", backend.pid());
    assert_eq!(panicked.stdout.contains(&killed), is_alive, "{panicked:?}");
    assert!(denied(&hosts.between("frontend", "backend")?).is_empty());
    // As systemd does.
    eventually(PATIENCE, || backend.start_again())?;
    assert_eq!(backend.status()?["panic"], true);
    assert!(!backend.nft(&["list", "tables"])?.contains("inet palisade\n"));
    assert!(denied(&hosts.between("frontend", "backend")?).is_empty());

    let resumed = backend.cli(&["resume", "--config", &configuration])?;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_denied(&hosts)?;
    assert_out_of_reach(&backend)
}

#[test]
fn panic_works_with_a_living_daemon() -> anyhow::Result<()> {
    panics(|_| Ok(()), true)
}

#[test]
fn panic_works_with_a_stopped_daemon() -> anyhow::Result<()> {
    panics(|daemon| daemon.signal(Signal::SIGSTOP), true)
}

#[test]
fn panic_works_with_a_dead_daemon() -> anyhow::Result<()> {
    panics(
        |daemon| {
            daemon.kill9()?;
            eventually(PATIENCE, || {
                // Another may change it again: its owner is gone.
                daemon.nft(&["add", "chain", "inet", "palisade", "theirs"])
            })?;
            Ok(())
        },
        false,
    )
}

#[test]
fn a_boot_leaves_an_orphan_that_the_daemon_takes_over() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = protected(&hosts)?;
    eventually(PATIENCE, || {
        ensure!(backend.state("boot/ruleset").exists(), "{}", backend.log());
        Ok(())
    })?;
    backend.terminate()?;

    let rebooted = ThreeHosts::new()?;
    let host = rebooted.host("backend");
    let booted = backend.boot(host)?;
    assert_eq!(booted.code, Some(0), "{booted:?}");
    assert_denied(&rebooted)?;
    nft(
        host.namespace(),
        &["add", "chain", "inet", "palisade", "theirs"],
        "",
    )?;
    backend.start_again_in(host)?;
    assert!(!chains(&backend)?.contains("theirs"));
    assert_out_of_reach(&backend)?;
    assert_denied(&rebooted)
}

#[test]
fn switched_on_and_off_the_table_is_made_anew_and_its_counters_go_on() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut backend = Daemon::start(hosts.host("backend"), &setup("safetyNet: false\n"))?;
    assert_denied(&hosts)?;
    let plain = std::fs::read_to_string(backend.configuration())?;
    let protected = format!("{plain}protectTable: true\n");
    for configuration in [&protected, &plain, &protected] {
        let totals = backend.nft_counters()?;
        ensure!(totals.values().any(|(packets, _)| *packets > 0), "{totals:?}");
        std::fs::write(backend.configuration(), configuration)?;
        backend.reload_well()?;
        assert!(backend.log().contains("protectTable"), "{}", backend.log());
        backend.terminate()?;
        backend.start_again()?;
        for (name, (packets, _)) in totals {
            let now = backend.nft_counters()?[&name].0;
            assert!(now >= packets, "{name} has fallen from {packets} to {now}");
        }
        let can_be_changed = backend
            .nft(&["add", "chain", "inet", "palisade", "theirs"])
            .is_ok();
        assert_eq!(can_be_changed, configuration == &plain);
        assert_denied(&hosts)?;
    }
    assert_out_of_reach(&backend)
}

#[test]
fn a_table_that_another_process_owns_is_said_to_be_and_panic_leaves_that_process_alone() -> anyhow::Result<()>
{
    let hosts = ThreeHosts::new()?;
    let backend = protected(&hosts)?;
    backend.kill9()?;
    let host = hosts.host("backend");
    // This test's own process takes the table first.
    let mut other = host.namespace().run(palisade_nft::Nft::open)??;
    assert!(other.protect()?);
    eventually(PATIENCE, || {
        other.replace(&palisade_rules::ruleset::Ruleset::default(), &mut ())?;
        Ok(())
    })?;
    let configuration = backend.configuration().display().to_string();
    let panicked = backend.cli(&["panic", "--config", &configuration])?;
    assert_eq!(panicked.code, Some(5), "{panicked:?}");
    let pid = format!("pid {}", std::process::id());
    assert!(
        panicked.stderr.contains(&pid) && panicked.stderr.contains("no palisaded"),
        "{panicked:?}"
    );
    drop(other);
    let panicked = backend.cli(&["panic", "--config", &configuration])?;
    assert_eq!(panicked.code, Some(0), "{panicked:?}");
    Ok(())
}
