//! `explain --live` shows what the kernel does, and notices when that is not what policies say. Needs root.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use palisade::lab::{Probe, Process, probe_all};
use palisade_integration::{Daemon, Setup, ThreeHosts, eventually, examples, palisade};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// A tier before the default one that passes on what the frontend sends, and stages a deny for the backend.
const TIER: &str = "
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: early}
spec: {order: 100, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: early.on}
spec:
  tier: early
  selector: app == 'database'
  types: [Ingress]
  ingress: [{action: Pass, protocol: TCP}]
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: shut}
spec:
  order: 1
  selector: app == 'database'
  types: [Ingress]
  ingress: [{action: Deny, protocol: TCP, destination: {ports: [8080]}}]
";

fn database(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    let setup = Setup::new("database")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-database.yaml", examples::DATABASE)
        .resource("20-early.yaml", TIER);
    Daemon::start(hosts.host("database"), &setup)
}

/// Traces in the daemon's host, and waits until it does.
fn live(daemon: &Daemon, arguments: &[&str]) -> anyhow::Result<Process> {
    let mut command = Command::new(palisade()?);
    command
        .arg("--socket")
        .arg(daemon.configuration().with_file_name("palisade.sock"))
        .args(["-o", "json", "explain", "--live", "--for", "60s"])
        .args(arguments);
    let process = daemon.namespace().spawn(&command)?;
    eventually(PATIENCE, || {
        ensure!(
            process.stderr().contains("tracing"),
            "not tracing: {}",
            process.stderr()
        );
        Ok(())
    })?;
    Ok(process)
}

/// The lines about a packet that policies were asked about, as soon as there are so many.
fn lines(process: &Process, number: usize) -> anyhow::Result<Vec<Value>> {
    eventually(PATIENCE, || {
        let said = process.stdout();
        let lines: Vec<Value> = said
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| !line["report"].is_null())
            .collect();
        ensure!(
            lines.len() >= number,
            "{} lines: {said}{}",
            lines.len(),
            process.stderr()
        );
        Ok(lines)
    })
}

fn send(hosts: &ThreeHosts, from: &str, what: &str, version: u8) -> anyhow::Result<()> {
    let to = hosts.host("database");
    let address = if version == 4 { to.ipv4() } else { to.ipv6() };
    let (protocol, port) = what.split_once(' ').context("protocol and port")?;
    let to = SocketAddr::new(address, port.parse()?);
    let from = hosts.host(from).namespace();
    let probe = if protocol == "tcp" {
        Probe::tcp(from, to)
    } else {
        Probe::udp(from, to)
    };
    probe_all(&[probe])?;
    Ok(())
}

/// The steps of one world, in words.
fn steps(world: &Value) -> Vec<String> {
    let steps = world["steps"].as_array().into_iter().flatten();
    let word = |step: &Value, field: &str| step[field].as_str().unwrap_or_default().to_owned();
    steps
        .map(|step| {
            format!(
                "{} {} {}",
                word(step, "kind"),
                word(step, "name"),
                word(step, "action")
            )
        })
        .collect()
}

#[test]
fn packets_are_shown_in_the_words_of_policies() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let daemon = database(&hosts)?;
    let tracing = live(&daemon, &["--to", "HEP:database-eth0"])?;
    for (number, (from, what, version, verdict, pending, kind)) in [
        (
            "backend",
            "tcp 8080",
            4,
            "allow",
            Some("deny"),
            "GlobalNetworkPolicy",
        ),
        (
            "backend",
            "tcp 8080",
            6,
            "allow",
            Some("deny"),
            "GlobalNetworkPolicy",
        ),
        ("frontend", "tcp 9090", 4, "deny", Some("deny"), "EndOfTier"),
        ("frontend", "udp 5353", 6, "deny", Some("deny"), "EndOfTier"),
        ("frontend", "tcp 22", 4, "allow", None, "Failsafe"),
    ]
    .into_iter()
    .enumerate()
    {
        send(&hosts, from, what, version)?;
        let lines = lines(&tracing, number + 1)?;
        let line = &lines[number];
        let report = &line["report"];
        assert_eq!(line["verdict"], verdict, "{line:#}");
        assert_eq!(line["agrees"], true, "{line:#}");
        assert_eq!(report["endpoint"], "database-eth0", "{line:#}");
        assert_eq!(report["from"], format!("{from}-eth0"), "{line:#}");
        assert_eq!(report["pending"]["verdict"].as_str(), pending, "{line:#}");
        let steps = steps(&report["enforced"]);
        assert!(
            steps.last().is_some_and(|last| last.starts_with(kind)),
            "{line:#}"
        );
        if what == "tcp 8080" {
            assert_eq!(steps[0], "GlobalNetworkPolicy early.on Pass", "{line:#}");
            let source = report["enforced"]["steps"][0]["source"]
                .as_str()
                .unwrap_or_default();
            assert!(source.contains("20-early.yaml:"), "{line:#}");
        }
    }
    Ok(())
}

/// Adds a rule until the daemon, which removes it, takes its time.
fn foreign_rule(daemon: &Daemon) -> anyhow::Result<()> {
    let add = "add rule inet palisade failsafe/in tcp dport 8080 drop";
    let add: Vec<&str> = add.split(' ').collect();
    // The third pause is of four seconds.
    for round in 0..6 {
        daemon.nft(&add)?;
        eventually(PATIENCE, || {
            let changes = daemon.status()?["foreign_changes"].clone();
            let is_enough = if round < 5 {
                changes["total"].as_u64() > Some(round)
            } else {
                changes["waits_until"].is_string()
            };
            ensure!(is_enough, "{changes:#}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_rule_that_is_not_ours_is_a_disagreement() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let daemon = database(&hosts)?;
    let tracing = live(
        &daemon,
        &["--to", "database-eth0", "--proto", "tcp", "--port", "8080"],
    )?;
    foreign_rule(&daemon)?;
    send(&hosts, "backend", "tcp 8080", 4)?;
    let lines = lines(&tracing, 1)?;
    let line = &lines[0];
    assert_eq!(line["verdict"], "deny", "{line:#}");
    assert_eq!(line["agrees"], false, "{line:#}");
    assert_eq!(
        line["report"]["enforced"]["expected_verdict"], "allow",
        "{line:#}"
    );
    let foreign = line["foreign_rules"][0].as_str().unwrap_or_default();
    assert!(foreign.starts_with("chain failsafe/in"), "{line:#}");
    Ok(())
}

#[test]
fn nothing_is_left_behind_and_one_traces_at_a_time() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let daemon = database(&hosts)?;
    let before = daemon.held()?.0;
    let tracing = live(&daemon, &[])?;
    assert!(daemon.nft(&["list", "tables"])?.contains("palisade_trace"));
    let second = daemon.cli(&["explain", "--live", "--for", "1s"])?;
    assert_eq!(second.code, Some(5), "{second:?}");
    assert!(
        second.stderr.contains("another `palisade explain --live`"),
        "{second:?}"
    );
    tracing.kill()?;
    eventually(PATIENCE, || {
        let tables = daemon.nft(&["list", "tables"])?;
        ensure!(!tables.contains("palisade_trace"), "{tables}");
        Ok(())
    })?;
    assert_eq!(daemon.held()?.0, before, "our own table was not touched");
    Ok(())
}
