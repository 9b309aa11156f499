//! `palisade learn` on a real host: real traffic becomes a policy that denies none of it, and denies what was not seen.
//! Needs root.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use palisade::lab::{Probe, probe_all};
use palisade_integration::{Daemon, Setup, ThreeHosts, eventually, examples};
use serde_json::Value;

/// Several flow intervals.
const PATIENCE: Duration = Duration::from_secs(10);

/// The frontend asks for the backend's TCP 8080 over both IP versions, and pings it: so many flows.
const FLOWS: u64 = 4;

fn everyday_traffic(hosts: &ThreeHosts) -> anyhow::Result<()> {
    let from = hosts.host("frontend").namespace();
    let probes = hosts
        .host("backend")
        .ips()
        .flat_map(|ip| [Probe::tcp(from, SocketAddr::new(ip, 8080)), Probe::icmp(from, ip)]);
    let outcomes = probe_all(&probes.collect::<Vec<_>>())?;
    ensure!(
        outcomes.iter().all(palisade::lab::Outcome::is_answered),
        "{outcomes:?}"
    );
    Ok(())
}

fn report(backend: &Daemon, name: &str) -> anyhow::Result<Value> {
    let reports = backend.json(&["staged", name])?;
    reports.get(0).cloned().context("no report")
}

#[test]
fn what_was_learnt_denies_nothing_of_it_and_everything_else() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("00-net.yaml", examples::SAFETY_NET);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    let early = backend.cli(&["learn", "backend-learnt"])?;
    assert_eq!(early.code, Some(1), "nothing was seen: {early:?}");
    assert!(
        early.stderr.contains("nothing was observed at backend-eth0"),
        "{early:?}"
    );

    everyday_traffic(&hosts)?;
    let proposal = eventually(PATIENCE, || {
        let proposal = backend.json(&["learn", "backend-learnt"])?;
        let rules = proposal["rules"].as_array().context("no rules")?;
        let connections: u64 = rules.iter().filter_map(|rule| rule["connections"].as_u64()).sum();
        ensure!(
            (rules.len(), connections) == (3, FLOWS),
            "TCP 8080, and echo requests of two families: {proposal:#}"
        );
        Ok(proposal)
    })?;
    let file = backend.policy_file("30-learnt.yaml").display().to_string();
    let written = backend.cli(&["learn", "backend-learnt", "--write", &file])?;
    assert_eq!(written.code, Some(0), "{written:?}");
    assert!(
        written.stderr.contains("palisade staged backend-learnt"),
        "{written:?}"
    );
    let again = backend.cli(&["learn", "backend-learnt", "--write", &file])?;
    assert_eq!(again.code, Some(2), "nothing is overwritten: {again:?}");
    let text = std::fs::read_to_string(&file)?;
    assert!(proposal["text"].to_string().contains("0 denied"), "{proposal:#}");
    // Neighbour discovery was seen in both directions, and is nothing to learn from.
    assert!(!text.contains("- Egress"), "{text}");
    assert!(text.contains("selector: app == \"backend\""), "{text}");
    assert!(text.contains("selector: app == \"frontend\""), "{text}");
    let directory = backend.policy_file("").display().to_string();
    let checked = backend.cli(&["check", &directory])?;
    assert_eq!(checked.code, Some(0), "{checked:?}\n{text}");

    backend.reload_well()?;
    everyday_traffic(&hosts)?;
    eventually(PATIENCE, || {
        let report = report(&backend, "backend-learnt")?;
        ensure!(report["would_allow"].as_u64() >= Some(FLOWS), "{report:#}");
        Ok(())
    })?;
    let seen = report(&backend, "backend-learnt")?;
    assert_eq!(
        (&seen["would_deny"], &seen["would_deny_without_safety_net"]),
        (&0.into(), &0.into()),
        "{seen:#}"
    );

    // The rest of the matrix was never seen before: the other ports, and the database.
    hosts.between("database", "backend")?;
    eventually(PATIENCE, || {
        let report = report(&backend, "backend-learnt")?;
        let denied = report["would_deny_without_safety_net"].as_u64();
        ensure!(denied >= Some(FLOWS), "{report:#}");
        Ok(())
    })?;
    // And learning again completes it.
    let completed = eventually(PATIENCE, || {
        let completed = backend.json(&["learn", "backend-learnt"])?;
        ensure!(
            completed["rules"]
                .as_array()
                .is_some_and(|rules| !rules.is_empty()),
            "{completed:#}"
        );
        Ok(completed)
    })?;
    assert!(
        completed["replaces"].to_string().contains("30-learnt.yaml"),
        "{completed:#}"
    );
    Ok(())
}

#[test]
fn the_records_alone_are_enough_to_learn_from() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend").resource("hosts.yaml", examples::HOSTS);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    everyday_traffic(&hosts)?;
    eventually(PATIENCE, || {
        let records = backend.records()?;
        let ports = records.iter().filter(|record| record["dest_port"] == 8080);
        ensure!(ports.count() > 0, "{records:#?}");
        Ok(())
    })?;
    let records = backend.policy_file("../log/flows.jsonl").display().to_string();
    let directory = backend.policy_file("").display().to_string();
    let offline = ["learn", "backend-learnt", "-f", &directory, "--node", "backend"];
    let refused = backend.cli(&offline)?;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let learnt = backend.cli(&[&offline[..], &["--from", &records]].concat())?;
    assert_eq!(learnt.code, Some(0), "{learnt:?}");
    assert!(
        learnt.stdout.contains("selector: app == \"frontend\""),
        "{}",
        learnt.stdout
    );
    assert!(
        learnt.stdout.contains("echo requests are assumed"),
        "{}",
        learnt.stdout
    );
    Ok(())
}
