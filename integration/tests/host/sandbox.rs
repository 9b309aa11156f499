//! What a running daemon has given away, as the kernel says it. Needs root, seccomp and landlock.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, ensure};
use palisade_integration::{Daemon, Setup, ThreeHosts, eventually, examples};
use serde_json::json;

const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_PTRACE: u64 = 1 << 19;

/// What a filter of system calls is called in /proc/PID/status.
const SECCOMP_FILTER: u64 = 2;

fn start(flows: &str) -> anyhow::Result<(ThreeHosts, Daemon)> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend").resource("hosts.yaml", examples::HOSTS);
    let backend = Daemon::start_with_flows(hosts.host("backend"), &setup, flows)?;
    Ok((hosts, backend))
}

/// A field of /proc/PID/status, which all threads of the daemon must agree on.
fn field(daemon: &Daemon, name: &str, radix: u32) -> anyhow::Result<u64> {
    let mut values = BTreeSet::new();
    for task in fs::read_dir(format!("/proc/{}/task", daemon.pid()))? {
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else {
            continue; // The thread has ended.
        };
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        let value = value.with_context(|| format!("no {name} in {status}"))?;
        values.insert(u64::from_str_radix(value, radix)?);
    }
    ensure!(values.len() == 1, "{name}: the threads have {values:x?}");
    values.pop_first().context("no threads")
}

#[test]
fn one_capability_is_left_and_the_kernel_says_so_of_every_thread() -> anyhow::Result<()> {
    let (_hosts, backend) = start("owners: false")?;
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(&backend, set, 16)?, CAP_NET_ADMIN, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(field(&backend, set, 16)?, 0, "{set}");
    }
    assert_eq!(field(&backend, "NoNewPrivs", 10)?, 1);
    assert_eq!(field(&backend, "Seccomp", 10)?, SECCOMP_FILTER);

    let sandbox = &backend.status()?["sandbox"];
    assert_eq!(sandbox["capabilities"], json!(["CAP_NET_ADMIN"]));
    for part in ["system_calls", "files"] {
        assert_eq!(
            sandbox[part],
            json!({"in_force": true, "why_not": null}),
            "{part}"
        );
    }
    let said = backend.cli(&["status"])?.stdout;
    assert!(
        said.contains("CAP_NET_ADMIN, no new privileges, seccomp, landlock"),
        "{said}"
    );
    assert!(!backend.log().contains("WARN"), "{}", backend.log());
    Ok(())
}

#[test]
fn naming_the_processes_behind_sockets_costs_two_capabilities_and_landlock() -> anyhow::Result<()> {
    let (_hosts, backend) = start("owners: true")?;
    let wanted = CAP_NET_ADMIN | CAP_SYS_PTRACE | CAP_DAC_READ_SEARCH;
    assert_eq!(field(&backend, "CapEff", 16)?, wanted);
    let sandbox = &backend.status()?["sandbox"];
    assert_eq!(sandbox["files"]["in_force"], false);
    let why = sandbox["files"]["why_not"].as_str().unwrap_or_default();
    assert!(why.contains("flows.owners"), "{why}");
    assert!(!backend.log().contains("WARN"), "{}", backend.log());
    Ok(())
}

#[test]
fn a_directory_that_leads_elsewhere_is_no_way_out() -> anyhow::Result<()> {
    let (_hosts, backend) = start("owners: false")?;
    let log = backend
        .records_file()
        .parent()
        .context("no directory")?
        .to_owned();
    eventually(std::time::Duration::from_secs(20), || {
        ensure!(!backend.records()?.is_empty(), "nothing written");
        Ok(())
    })?;
    let elsewhere = tempfile::tempdir()?;
    fs::rename(&log, log.with_extension("old"))?;
    symlink(elsewhere.path(), &log)?;
    // It looks for its file at the end of each interval, and would make it anew.
    eventually(std::time::Duration::from_secs(20), || {
        let log = backend.log();
        ensure!(log.contains("Permission denied"), "{log}");
        Ok(())
    })?;
    assert_eq!(fs::read_dir(elsewhere.path())?.count(), 0);
    Ok(())
}

#[test]
fn a_configuration_that_needs_more_says_so_when_it_is_reloaded() -> anyhow::Result<()> {
    let (_hosts, backend) = start("owners: false")?;
    let elsewhere = tempfile::tempdir()?;
    fs::write(elsewhere.path().join("hosts.yaml"), examples::HOSTS)?;
    let configuration = fs::read_to_string(backend.configuration())?;
    let policies = backend.policy_file("");
    let policies = policies.to_str().context("no path")?.trim_end_matches('/');
    let moved = configuration.replace(policies, elsewhere.path().to_str().context("no path")?);
    assert_ne!(moved, configuration);
    fs::write(backend.configuration(), moved)?;
    let output = backend.cli(&["reload"])?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let said = format!("write below {}", elsewhere.path().display());
    assert!(output.stderr.contains(&said), "{output:?}");
    assert!(output.stderr.contains("restart"), "{output:?}");
    Ok(())
}
