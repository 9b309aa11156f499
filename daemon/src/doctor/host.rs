//! What files say: units that are enabled, settings of the kernel, the clock.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Finding;
use super::hooks::Legacy;

/// The share of the conntrack table that is worth a warning, in percent.
const FULL: u64 = 80;

/// How far the clock may be behind what has been written.
const BEHIND: Duration = Duration::from_mins(1);

/// Units that bring rules of their own, and what that means.
const FIREWALLS: [(&str, &str); 4] = [
    (
        "firewalld.service",
        "its rules are in table inet firewalld, and stay there when it is reloaded",
    ),
    ("ufw.service", "its rules are in the tables of iptables"),
    (
        "netfilter-persistent.service",
        "it loads the tables of iptables at boot",
    ),
    ("iptables.service", "it loads the tables of iptables at boot"),
];

/// The tables of iptables-legacy that are in use in this network namespace.
pub(super) fn legacy_tables(root: &Path) -> Vec<Legacy> {
    let mut tables = Vec::new();
    for (family, file) in [
        ("ip", "proc/net/ip_tables_names"),
        ("ip6", "proc/net/ip6_tables_names"),
    ] {
        let names = fs::read_to_string(root.join(file)).unwrap_or_default();
        tables.extend(names.lines().map(|name| (family, name.to_owned())));
    }
    tables
}

pub(super) fn findings(root: &Path, state_dir: &Path) -> Vec<Finding> {
    let mut findings = units(root);
    findings.extend(settings(root));
    findings.extend(clock(state_dir));
    findings
}

fn units(root: &Path) -> Vec<Finding> {
    let enabled = enabled(root);
    let mut findings = Vec::new();
    for (unit, without) in [
        ("palisade.service", "after a reboot nothing filters"),
        (
            "palisade-boot.service",
            "at a boot nothing filters before palisaded has read the policies",
        ),
    ] {
        if !enabled.contains(unit) {
            findings.push(Finding::warning(
                "not-enabled",
                format!("{unit} is not enabled: {without}"),
                format!("systemctl enable {unit}"),
            ));
        }
    }
    let script = fs::read_to_string(root.join("etc/nftables.conf")).unwrap_or_default();
    let flushes = script
        .lines()
        .any(|line| line.trim().starts_with("flush ruleset"));
    if enabled.contains("nftables.service") && flushes {
        findings.push(Finding::warning(
            "flush-ruleset",
            "nftables.service is enabled, and /etc/nftables.conf says `flush ruleset`: whenever it is restarted, palisade's \
             table is deleted too. palisaded puts it back at once, but for that moment nothing is filtered",
            "let /etc/nftables.conf flush its own tables only (`table inet filter {}` and `flush table inet filter`), or: \
             systemctl disable --now nftables",
        ));
    }
    for (unit, means) in FIREWALLS {
        if enabled.contains(unit) {
            findings.push(Finding::note(
                "other-firewall",
                format!("{unit} is enabled: {means}"),
                "a packet must be allowed by both; if palisade is to decide alone, disable it",
            ));
        }
    }
    findings
}

/// The units that another one wants or requires.
fn enabled(root: &Path) -> BTreeSet<String> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    entries(&root.join("etc/systemd/system"))
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.ends_with(".wants") || name.ends_with(".requires")
        })
        .flat_map(|entry| entries(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn settings(root: &Path) -> Vec<Finding> {
    let directory = root.join("proc/sys/net/netfilter");
    let value = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(directory.join(name)).ok()?;
        text.trim().parse().ok()
    };
    let Some(most) = value("nf_conntrack_max") else {
        return vec![Finding::note(
            "no-conntrack",
            "conntrack is not loaded: flow records count first packets alone, and settings for it are not in force",
            "modprobe nf_conntrack, and at boot: /etc/modules-load.d",
        )];
    };
    let mut findings = Vec::new();
    let entries = value("nf_conntrack_count").unwrap_or(0);
    if most > 0 && entries.saturating_mul(100) / most >= FULL {
        findings.push(Finding::warning(
            "conntrack-full",
            format!(
                "conntrack has {entries} of at most {most} connections: when it is full, new ones are dropped"
            ),
            format!(
                "sysctl -w net.netfilter.nf_conntrack_max={}",
                most.saturating_mul(2)
            ),
        ));
    }
    for (name, without) in [
        ("nf_conntrack_acct", "packets and bytes"),
        ("nf_conntrack_timestamp", "durations"),
    ] {
        if value(name) == Some(0) {
            findings.push(Finding::note(
                "conntrack-accounting",
                format!("net.netfilter.{name} is 0: flow records lack {without} of connections"),
                format!("sysctl -w net.netfilter.{name}=1"),
            ));
        }
    }
    findings
}

/// A clock that is behind what the daemon has written was set back, or lost its battery.
fn clock(state_dir: &Path) -> Option<Finding> {
    let files = fs::read_dir(state_dir).into_iter().flatten().flatten();
    let written = files
        .filter_map(|file| file.metadata().ok()?.modified().ok())
        .max()?;
    let behind = written.duration_since(SystemTime::now()).ok()?;
    (behind > BEHIND).then(|| {
        Finding::warning(
            "clock-behind",
            format!(
                "the clock is {} s behind the last thing that palisaded wrote",
                behind.as_secs()
            ),
            "set it (timedatectl status): times in reports and flow records are wrong until then",
        )
    })
}
