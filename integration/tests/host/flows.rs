//! Flow records name who, counters say how much, and the two agree. Needs root.

use std::time::Duration;

use anyhow::{Context, ensure};
use palisade_integration::{DENIED_PORTS, Daemon, Setup, ThreeHosts, eventually, examples};
use serde_json::Value;

/// Several flow intervals.
const PATIENCE: Duration = Duration::from_secs(10);

fn staged_backend(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-lockdown.yaml", examples::LOCKDOWN_STAGED);
    Daemon::start(hosts.host("backend"), &setup)
}

/// Packets of all flow records towards the backend with these verdicts.
fn packets(records: &[Value], from: &str, action: &str, pending_action: &str) -> u64 {
    let fits = |record: &&Value| {
        record["type"] == "flow"
            && record["direction"] == "ingress"
            && record["source_name"] == from
            && record["dest_name"] == "backend-eth0"
            && record["action"] == action
            && record["pending_action"] == pending_action
    };
    records
        .iter()
        .filter(fits)
        .filter_map(|record| record["evaluated"].as_u64())
        .sum()
}

#[test]
fn a_flow_record_carries_both_verdicts_and_why() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged_backend(&hosts)?;
    hosts.between("frontend", "backend")?;
    let expected = 2 * DENIED_PORTS.len() as u64;
    let records = eventually(PATIENCE, || {
        let records = backend.records()?;
        let packets = packets(&records, "frontend-eth0", "allow", "deny");
        ensure!(
            packets == expected,
            "{packets} of {expected} packets are in the records: {records:#?}"
        );
        Ok(records)
    })?;
    let found = records
        .iter()
        .find(|record| record["proto"] == "tcp" && record["dest_port"] == 9090);
    let record = found.context("no record of TCP 9090")?;
    assert_eq!(record["source_labels"]["app"], "frontend");
    assert_eq!(record["dest_labels"]["app"], "backend");
    let last = |world: &str| {
        record["policies"][world]
            .as_array()
            .and_then(|steps| steps.last())
            .cloned()
    };
    let enforced = last("enforced").context("no enforced trace")?;
    assert_eq!(
        (&enforced["kind"], &enforced["action"]),
        (&"Profile".into(), &"Allow".into())
    );
    let pending = last("pending").context("no pending trace")?;
    assert_eq!(
        (&pending["kind"], &pending["action"]),
        (&"EndOfTier".into(), &"Deny".into())
    );
    assert!(
        pending["trigger"].to_string().contains("backend-lockdown-staged"),
        "{pending:#}"
    );
    Ok(())
}

#[test]
fn rule_records_add_up_to_the_kernels_counter() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged_backend(&hosts)?;
    let end = backend
        .counters()?
        .end_of_tier("pending", "ingress", "default")?
        .counter
        .clone();
    for round in 1..=3 {
        hosts.between("frontend", "backend")?;
        let expected = round * 2 * DENIED_PORTS.len() as u64;
        eventually(PATIENCE, || {
            let records = backend.records()?;
            let own: Vec<_> = records
                .iter()
                .filter(|record| record["type"] == "rule" && record["counter"] == end.as_str())
                .collect();
            let deltas: u64 = own
                .iter()
                .filter_map(|record| record["packets_delta"].as_u64())
                .sum();
            let total = own.last().and_then(|record| record["packets_total"].as_u64());
            ensure!(
                (deltas, total) == (expected, Some(expected)),
                "deltas {deltas}, total {total:?}, not {expected}"
            );
            Ok(())
        })?;
        assert_eq!(backend.nft_counters()?[&end].0, expected);
    }
    Ok(())
}

#[test]
fn the_staged_report_counts_what_the_kernel_counted() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = staged_backend(&hosts)?;
    assert_eq!(
        backend.cli(&["staged"])?.code,
        Some(0),
        "nothing has been seen yet"
    );
    hosts.matrix()?;
    let expected = 2 * 2 * DENIED_PORTS.len() as u64;
    eventually(PATIENCE, || {
        let reports = backend.json(&["staged"])?;
        let report = &reports[0];
        ensure!(report["name"] == "backend-lockdown-staged", "{reports:#}");
        ensure!(
            report["would_deny"] == expected,
            "would deny {}, not {expected}",
            report["would_deny"]
        );
        let flows = report["flows"].as_array().context("no flows")?;
        ensure!(
            flows
                .iter()
                .any(|flow| flow["from"] == "frontend-eth0" && flow["port"] == 9090),
            "frontend to port 9090 is not named: {report:#}"
        );
        Ok(())
    })?;
    let shown = backend.cli(&["staged"])?;
    assert_eq!(shown.code, Some(1), "would-deny is a finding: {shown:?}");
    Ok(())
}
