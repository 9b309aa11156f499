//! What others do to our table is noticed, told and put right; what they do to theirs is none of ours. Needs root.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use palisade_integration::{DENIED_PORTS, Daemon, Setup, ThreeHosts, denied, eventually, examples};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

fn locked_down(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::lockdown_promoted());
    Daemon::start(hosts.host("backend"), &setup)
}

/// What the daemon says of foreign changes.
fn changes(daemon: &Daemon) -> anyhow::Result<Value> {
    Ok(daemon.status()?["foreign_changes"].clone())
}

/// The listing, without handles and values.
fn structure(daemon: &Daemon) -> anyhow::Result<String> {
    daemon.nft(&["-s", "list", "table", "inet", "palisade"])
}

/// Waits until so many changes have been put right, and makes sure that the table is what it was.
fn put_right(daemon: &Daemon, number: u64, good: &str) -> anyhow::Result<Value> {
    let changes = eventually(PATIENCE, || {
        let changes = changes(daemon)?;
        ensure!(
            changes["total"].as_u64() == Some(number),
            "{changes:#}\n{}",
            daemon.log()
        );
        Ok(changes)
    })?;
    assert_eq!(structure(daemon)?, good);
    Ok(changes["recent"][0].clone())
}

/// Changes the table by `nft`, and expects it to be put right and told in these words.
fn told(change: &[&str], words: &str) -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let good = structure(&backend)?;
    backend.nft(change)?;
    let last = put_right(&backend, 1, &good)?;
    assert_eq!(last["by"]["name"], "nft", "{last:#}");
    assert!(last["by"]["pid"].as_u64() > Some(0), "{last:#}");
    assert_eq!(last["outcome"], "repaired", "{last:#}");
    assert!(last["what"].to_string().contains(words), "{last:#}");
    let log = backend.log();
    assert!(log.contains(words) && log.contains("put right"), "{log}");
    let shown = backend.cli(&["status"])?.stdout;
    assert!(
        shown.contains("changed by others") && shown.contains(words),
        "{shown}"
    );
    let metrics = backend.get("/metrics")?;
    assert!(metrics.contains("palisade_foreign_changes_total 1"), "{metrics}");
    assert_eq!(
        denied(&hosts.between("frontend", "backend")?).len(),
        2 * DENIED_PORTS.len()
    );
    Ok(())
}

#[test]
fn a_rule_added_by_hand_goes() -> anyhow::Result<()> {
    told(
        &["insert", "rule", "inet", "palisade", "input", "accept"],
        "chain input has",
    )
}

#[test]
fn a_chain_emptied_by_hand_is_filled() -> anyhow::Result<()> {
    told(
        &["flush", "chain", "inet", "palisade", "input"],
        "chain input has 0 rules",
    )
}

#[test]
fn a_deleted_table_comes_back() -> anyhow::Result<()> {
    told(&["delete", "table", "inet", "palisade"], "the table is missing")
}

#[test]
fn a_flush_of_everything_is_survived() -> anyhow::Result<()> {
    told(&["flush", "ruleset"], "the table is missing")
}

#[test]
fn a_table_that_is_switched_off_is_switched_on() -> anyhow::Result<()> {
    told(
        &["add", "table", "inet", "palisade", "{ flags dormant; }"],
        "switched off",
    )
}

#[test]
fn a_single_deleted_rule_comes_back() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let good = structure(&backend)?;
    let listing = backend.nft(&["-a", "list", "chain", "inet", "palisade", "input"])?;
    let last = listing.lines().rfind(|line| line.contains("# handle"));
    let (_, handle) = last
        .and_then(|line| line.rsplit_once(' '))
        .context(listing.clone())?;
    backend.nft(&["delete", "rule", "inet", "palisade", "input", "handle", handle])?;
    put_right(&backend, 1, &good)?;
    Ok(())
}

#[test]
fn what_is_done_to_other_tables_and_by_the_daemon_itself_is_nothing() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    for _ in 0..3 {
        backend.nft(&["add", "table", "inet", "theirs"])?;
        backend.nft(&["add", "chain", "inet", "theirs", "one"])?;
        backend.nft(&["add", "rule", "inet", "theirs", "one", "accept"])?;
        backend.apply("15-other.yaml", examples::ALLOW_7000)?;
        backend.nft(&["reset", "counters", "table", "inet", "palisade"])?;
        backend.nft(&["delete", "table", "inet", "theirs"])?;
        backend.remove("15-other.yaml")?;
        backend.reload_well()?;
    }
    let changes = changes(&backend)?;
    assert_eq!(changes["total"], 0, "{changes:#}");
    assert_eq!(changes["recent"], Value::Array(Vec::new()), "{changes:#}");
    Ok(())
}

#[test]
fn a_fight_is_backed_off_from_and_won_in_the_end() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let good = structure(&backend)?;
    let add = ["add", "rule", "inet", "palisade", "input", "accept"];
    for round in 1..=3 {
        backend.nft(&add)?;
        put_right(&backend, round, &good)?;
    }
    backend.nft(&add)?;
    let waits = eventually(PATIENCE, || {
        let changes = changes(&backend)?;
        ensure!(changes["waits_until"].is_string(), "{changes:#}");
        Ok(changes)
    })?;
    assert_eq!(waits["total"], 3, "{waits:#}");
    assert!(backend.log().contains("keeps changing"), "{}", backend.log());
    put_right(&backend, 4, &good)?;
    assert!(changes(&backend)?["waits_until"].is_null());
    // A reload does not wait.
    backend.nft(&add)?;
    backend.reload_well()?;
    assert_eq!(structure(&backend)?, good);
    Ok(())
}

#[test]
fn more_changes_than_the_daemon_can_be_told_of_are_put_right_too() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let good = structure(&backend)?;
    backend.signal(Signal::SIGSTOP)?;
    let mut rules = String::new();
    for number in 0..20_000 {
        writeln!(
            rules,
            "add rule inet palisade input tcp dport {number} accept comment \"{number}\""
        )?;
    }
    for _ in 0..4 {
        palisade_integration::nft(backend.namespace(), &["-f", "-"], &rules)?;
    }
    backend.nft(&["flush", "ruleset"])?;
    backend.signal(Signal::SIGCONT)?;
    eventually(PATIENCE, || {
        ensure!(structure(&backend)? == good, "{}", backend.log());
        Ok(())
    })
}

#[test]
fn under_a_panic_the_table_stays_away() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let configuration = backend.configuration().display().to_string();
    let panicked = backend.cli(&["panic", "--config", &configuration])?;
    assert_eq!(panicked.code, Some(0), "{panicked:?}");
    backend.nft(&["add", "table", "inet", "palisade"])?;
    backend.nft(&["delete", "table", "inet", "palisade"])?;
    let status = backend.status()?;
    assert_eq!(status["panic"], true, "{status:#}");
    assert_eq!(status["foreign_changes"]["total"], 0, "{status:#}");
    assert!(!backend.nft(&["list", "tables"])?.contains("inet palisade\n"));
    Ok(())
}

#[test]
fn an_unconfirmed_generation_is_put_right_with_its_way_back() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = locked_down(&hosts)?;
    let before = structure(&backend)?;
    backend.write("15-other.yaml", examples::ALLOW_7000)?;
    let reloaded = backend.cli(&["reload", "--confirm-within", "60s", "--no-wait"])?;
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    let unconfirmed = chains(&backend)?;
    assert!(unconfirmed.contains("@unconfirmed"), "{unconfirmed}");
    for (round, change) in [
        &["delete", "table", "inet", "palisade"][..],
        &["insert", "rule", "inet", "palisade", "input", "accept"],
    ]
    .into_iter()
    .enumerate()
    {
        backend.nft(change)?;
        eventually(PATIENCE, || {
            let changes = changes(&backend)?;
            ensure!(changes["total"].as_u64() > Some(round as u64), "{changes:#}");
            Ok(())
        })?;
        assert_eq!(chains(&backend)?, unconfirmed);
    }
    let status = backend.status()?;
    assert!(status["unconfirmed"].is_object(), "{status:#}");
    let back = backend.cli(&["rollback"])?;
    assert_eq!(back.code, Some(0), "{back:?}");
    assert_eq!(structure(&backend)?, before);
    Ok(())
}

/// The chains of our table, without the set whose time runs out.
fn chains(daemon: &Daemon) -> anyhow::Result<String> {
    let structure = structure(daemon)?;
    let (_, chains) = structure.split_once("\tchain ").context(structure.clone())?;
    Ok(chains.to_owned())
}
