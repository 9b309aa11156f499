//! What palisade promises, in short.

use std::time::Duration;

use anyhow::ensure;
use palisade_integration::{
    DENIED_PORTS, Daemon, Setup, ThreeHosts, denied, differences, eventually, examples, nft,
};
use serde_json::json;

/// How long a window ends after, at the latest; emulated machines are slow.
const PATIENCE: Duration = Duration::from_mins(1);

/// First packets from one host to the backend that no failsafe accepts: two IP versions.
const ROUND: u64 = 2 * DENIED_PORTS.len() as u64;

/// The file of the policy that is staged, and promoted.
const LOCKDOWN: &str = "20-lockdown.yaml";

/// Nobody reaches the backend once the staged policy is enforced.
fn staged() -> anyhow::Result<(ThreeHosts, Daemon)> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource(LOCKDOWN, examples::LOCKDOWN_STAGED);
    let backend = Daemon::start_with_flows(hosts.host("backend"), &setup, "owners: false")?;
    Ok((hosts, backend))
}

/// How much of what the policy denies, once it is enforced, is denied.
fn denied_of(hosts: &ThreeHosts) -> anyhow::Result<usize> {
    Ok(denied(&hosts.between("frontend", "backend")?).len())
}

#[test]
fn staging_changes_nothing_and_promotion_denies_what_it_counted() -> anyhow::Result<()> {
    let (hosts, backend) = staged()?;
    let before = hosts.between("frontend", "backend")?;
    assert_eq!(denied(&before).len(), 0, "{before:#?}");
    let counters = backend.counters()?;
    let end = counters.end_of_tier("pending", "ingress", "default")?;
    assert_eq!((end.packets_total, end.action.as_str()), (ROUND, "Deny"));

    backend.apply(LOCKDOWN, &examples::lockdown_promoted())?;
    let after = hosts.between("frontend", "backend")?;
    assert_eq!(denied(&after).len() as u64, ROUND);
    assert_eq!(differences(&before, &after).len() as u64, ROUND);
    let counters = backend.counters()?;
    let end = counters.end_of_tier("enforced", "ingress", "default")?;
    assert_eq!(end.packets_total, 2 * ROUND, "in the same counter");
    backend.agrees_with_nft()
}

#[test]
fn a_restart_finds_the_table_and_changes_nothing() -> anyhow::Result<()> {
    let (_hosts, mut backend) = staged()?;
    backend.kill9()?;
    let held = backend.held()?;
    backend.start_again()?;
    assert_eq!(backend.held()?, held);
    Ok(())
}

#[test]
fn the_listing_loads_again() -> anyhow::Result<()> {
    let (hosts, backend) = staged()?;
    let listing = backend.listing()?;
    let other = hosts.host("frontend").namespace();
    nft(other, &["-f", "-"], &listing)?;
    assert_eq!(
        nft(other, &["-s", "list", "table", "inet", "palisade"], "")?,
        backend.nft(&["-s", "list", "table", "inet", "palisade"])?
    );
    Ok(())
}

#[test]
fn what_is_not_confirmed_ends_in_the_kernel_without_a_daemon() -> anyhow::Result<()> {
    let (hosts, mut backend) = staged()?;
    let file = std::fs::read(backend.policy_file(LOCKDOWN))?;
    let output = backend.cli(&["promote", "--all", "--confirm-within", "10s", "--no-wait"])?;
    assert_eq!(output.code, Some(0), "{output:?}");
    backend.kill9()?;
    assert_ne!(std::fs::read(backend.policy_file(LOCKDOWN))?, file);
    assert_eq!(denied_of(&hosts)? as u64, ROUND, "in force until the window ends");
    eventually(PATIENCE, || {
        let denied = denied_of(&hosts)?;
        ensure!(denied == 0, "{denied} still denied:\n{}", backend.listing()?);
        Ok(())
    })?;

    backend.start_again()?;
    assert_eq!(std::fs::read(backend.policy_file(LOCKDOWN))?, file);
    assert_eq!(denied_of(&hosts)?, 0);
    Ok(())
}

#[test]
fn what_is_confirmed_stays() -> anyhow::Result<()> {
    let (hosts, backend) = staged()?;
    let output = backend.cli(&["promote", "--all", "--confirm-within", "1m", "--no-wait"])?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let output = backend.cli(&["confirm"])?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(denied_of(&hosts)? as u64, ROUND);
    let listing = backend.listing()?;
    assert!(!listing.contains("set unconfirmed"), "{listing}");
    Ok(())
}

#[test]
fn what_somebody_flushes_is_put_back_and_told() -> anyhow::Result<()> {
    let (hosts, backend) = staged()?;
    backend.apply(LOCKDOWN, &examples::lockdown_promoted())?;
    assert_eq!(denied_of(&hosts)? as u64, ROUND);
    // Counters are listed in the order in which they were made.
    let sorted = || -> anyhow::Result<Vec<String>> {
        let listed = backend.nft(&["-s", "list", "table", "inet", "palisade"])?;
        let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        Ok(lines)
    };
    let before = sorted()?;
    backend.nft(&["flush", "ruleset"])?;
    eventually(PATIENCE, || {
        let listed = sorted()?;
        ensure!(listed == before, "{listed:#?}\nthe log:\n{}", backend.log());
        Ok(())
    })?;
    assert_eq!(denied_of(&hosts)? as u64, ROUND);
    let told = backend.status()?["foreign_changes"].to_string();
    assert!(told.contains("nft"), "{told}");
    Ok(())
}

#[test]
fn panic_takes_everything_away_until_resume() -> anyhow::Result<()> {
    let (hosts, backend) = staged()?;
    backend.apply(LOCKDOWN, &examples::lockdown_promoted())?;
    let configuration = backend.configuration().display().to_string();
    let output = backend.cli(&["panic", "--config", &configuration])?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(denied_of(&hosts)?, 0);
    let tables = backend.nft(&["list", "tables"])?;
    assert!(!tables.contains("palisade"), "{tables}");
    let output = backend.cli(&["resume", "--config", &configuration])?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(denied_of(&hosts)? as u64, ROUND);
    Ok(())
}

#[test]
fn the_daemon_gives_away_what_it_does_not_need() -> anyhow::Result<()> {
    let (_hosts, backend) = staged()?;
    let sandbox = &backend.status()?["sandbox"];
    assert_eq!(sandbox["capabilities"], json!(["CAP_NET_ADMIN"]));
    assert_eq!(sandbox["no_new_privileges"], true);
    assert_eq!(sandbox["system_calls"]["in_force"], true, "{sandbox}");
    assert_eq!(sandbox["files"]["in_force"], true, "{sandbox}");
    Ok(())
}
