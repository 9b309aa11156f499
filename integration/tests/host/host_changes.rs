//! Interfaces that come and go and addresses that change are followed, and nothing else is rewritten. Needs root.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use palisade_integration::{Daemon, Setup, ThreeHosts, eventually};

/// Until a change of the host is in force.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets in what comes from the host's own addresses, whatever they are at the moment.
const FROM_OURSELVES: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: from-ourselves}
spec:
  selector: app == 'backend'
  types: [Ingress]
  ingress:
    - {action: Allow, source: {selector: app == 'backend'}}
";

/// An endpoint that is where its address is.
const BY_ADDRESS: &str = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: by-address, labels: {app: late}}
spec: {node: backend, expectedIPs: [192.0.2.9]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: late-closed}
spec: {selector: app == 'late', types: [Ingress]}
";

fn ip(daemon: &Daemon, arguments: &[&str]) -> anyhow::Result<()> {
    let output = daemon
        .namespace()
        .output(Command::new("ip").args(arguments), "")?;
    ensure!(output.status.success(), "ip {arguments:?}: {output:?}");
    Ok(())
}

/// Waits until our table says so.
fn listed(daemon: &Daemon, wanted: &str, is: bool) -> anyhow::Result<String> {
    eventually(PATIENCE, || {
        let listing = daemon.nft(&["-a", "list", "table", "inet", "palisade"])?;
        ensure!(listing.contains(wanted) == is, "{wanted}: not {is}\n{listing}");
        Ok(listing)
    })
}

/// The lines of a chain, handles included.
fn chain<'l>(listing: &'l str, name: &str) -> anyhow::Result<&'l str> {
    let start = listing.find(&format!("chain {name} {{"));
    let rest = &listing[start.with_context(|| format!("no chain {name}:\n{listing}"))?..];
    Ok(&rest[..rest.find("\n\t}").unwrap_or(rest.len())])
}

#[test]
fn an_address_that_is_added_is_in_the_sets_and_no_policy_is_rewritten() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .config("host: {labels: {app: backend}}\nsafetyNet: false\n")
        .resource("from-ourselves.yaml", FROM_OURSELVES);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let policy = "enforced/in/02-default/none-from-ourselves/";
    let before = listed(&backend, "10.42.0.10", true)?;

    ip(&backend, &["address", "add", "192.0.2.77/32", "dev", "eth0"])?;
    ip(&backend, &["address", "add", "2001:db8::77/128", "dev", "eth0"])?;
    listed(&backend, "192.0.2.77", true)?;
    let after = listed(&backend, "2001:db8::77", true)?;
    assert_eq!(chain(&before, policy)?, chain(&after, policy)?, "the same rules");

    ip(&backend, &["address", "del", "192.0.2.77/32", "dev", "eth0"])?;
    listed(&backend, "192.0.2.77", false)?;
    Ok(())
}

#[test]
fn a_burst_of_addresses_is_followed_to_its_end() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .config("host: {labels: {app: backend}}\nsafetyNet: false\n")
        .resource("from-ourselves.yaml", FROM_OURSELVES);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    for last in 1..=60 {
        ip(
            &backend,
            &["address", "add", &format!("192.0.2.{last}/32"), "dev", "lo"],
        )?;
    }
    for last in (1..=60).step_by(2) {
        ip(
            &backend,
            &["address", "del", &format!("192.0.2.{last}/32"), "dev", "lo"],
        )?;
    }
    eventually(PATIENCE, || {
        let listing = backend.listing()?;
        let listed: BTreeSet<&str> = listing.split([' ', ',', '\n']).collect();
        let wrong: Vec<u8> = (1..=60)
            .filter(|last| listed.contains(format!("192.0.2.{last}").as_str()) != (last % 2 == 0))
            .collect();
        ensure!(wrong.is_empty(), "{wrong:?} in\n{listing}");
        Ok(())
    })
}

#[test]
fn an_endpoint_follows_its_address_to_the_interface_that_has_it() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend").resource("by-address.yaml", BY_ADDRESS);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let way = "iifname \"late0\"";
    listed(&backend, way, false)?;
    for _ in 0..2 {
        hosts.host("backend").add_interface("late0")?;
        ip(&backend, &["address", "add", "192.0.2.9/24", "dev", "late0"])?;
        let listing = listed(&backend, way, true)?;
        assert!(
            chain(&listing, "in/late0/02-default")?.contains("late-closed"),
            "{listing}"
        );
        ip(&backend, &["link", "del", "late0"])?;
        listed(&backend, way, false)?;
    }
    Ok(())
}

#[test]
fn a_foreign_change_between_two_of_the_hosts_is_put_right_with_the_second() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .config("host: {labels: {app: backend}}\nsafetyNet: false\n")
        .resource("from-ourselves.yaml", FROM_OURSELVES);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    ip(&backend, &["address", "add", "192.0.2.1/32", "dev", "lo"])?;
    let good = listed(&backend, "192.0.2.1", true)?;
    let rules = |listing: &str| listing.matches("# handle").count();

    backend.nft(&[
        "flush",
        "chain",
        "inet",
        "palisade",
        "enforced/in/02-default/none-from-ourselves/",
    ])?;
    ip(&backend, &["address", "add", "192.0.2.2/32", "dev", "lo"])?;
    eventually(PATIENCE, || {
        let listing = listed(&backend, "192.0.2.2", true)?;
        ensure!(rules(&listing) == rules(&good), "{listing}");
        Ok(())
    })
}
