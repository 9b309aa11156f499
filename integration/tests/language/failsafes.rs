//! `failsafes` of the configuration: what no policy shuts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use palisade::lab::{Probe, TcpServer, UdpServer, probe_all};
use palisade_integration::{Daemon, Setup, ThreeHosts, eventually, examples};

use crate::resources::policy;

const CLOSED: &str = "selector: all(), types: [Ingress, Egress]";

/// Ports besides those that every host serves.
const MORE_TCP: [u16; 4] = [53, 179, 6443, 8081];

/// Who is asked, by whom, what, and over which IP versions it is answered.
type Case = (&'static str, &'static str, &'static str, &'static [u8]);

fn closed(node: &str, failsafes: &str) -> Setup {
    Setup::new(node)
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-closed.yaml", policy("closed", CLOSED))
        .config(&format!("safetyNet: false\nfailsafes: {failsafes}"))
}

/// One host has lists of its own, another what Calico has, a third nothing.
#[test]
fn failsafes_open_what_they_name_both_ways() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut servers = Vec::new();
    for name in ["backend", "database", "frontend"] {
        let namespace = hosts.host(name).namespace();
        servers.push((
            TcpServer::start(namespace, name, &MORE_TCP)?,
            UdpServer::start(namespace, name, &[53])?,
        ));
    }
    let lists = "{inbound: ['tcp:10.42.0.30/32:8080', 'tcp:[fd00:42::30/128]:9000-9099', 'udp:5353'], \
                 outbound: ['tcp:10.42.0.30/32:8080-8081', 'udp:[fd00:42::/64]:5353']}";
    let backend = Daemon::start(hosts.host("backend"), &closed("backend", lists))?;
    let database = Daemon::start(hosts.host("database"), &closed("database", "{preset: calico}"))?;
    let cases: [Case; 22] = [
        // In: only from where they say, and instead of the usual.
        ("frontend", "backend", "tcp 8080", &[4]),
        ("frontend", "backend", "tcp 8081", &[]),
        ("frontend", "backend", "tcp 9090", &[6]),
        ("frontend", "backend", "udp 5353", &[4, 6]),
        ("frontend", "backend", "tcp 22", &[]),
        // Out.
        ("backend", "frontend", "tcp 8080", &[4]),
        ("backend", "frontend", "tcp 8081", &[4]),
        ("backend", "frontend", "tcp 9090", &[]),
        ("backend", "frontend", "udp 5353", &[6]),
        ("backend", "frontend", "udp 53", &[]),
        // The backend lets it out, the database does not let it in.
        ("backend", "database", "udp 5353", &[]),
        // Calico's, besides the usual ones.
        ("frontend", "database", "tcp 22", &[4, 6]),
        ("frontend", "database", "tcp 179", &[4, 6]),
        ("frontend", "database", "tcp 6443", &[4, 6]),
        ("frontend", "database", "tcp 8080", &[]),
        ("frontend", "database", "udp 5353", &[]),
        ("database", "frontend", "tcp 179", &[4, 6]),
        ("database", "frontend", "tcp 6443", &[4, 6]),
        ("database", "frontend", "udp 53", &[4, 6]),
        ("database", "frontend", "tcp 53", &[4, 6]),
        ("database", "frontend", "tcp 22", &[]),
        ("database", "frontend", "tcp 8080", &[]),
    ];
    ask(&hosts, &cases)?;
    let counted = |daemon: &Daemon, direction: &str, name: &str| {
        let counters = daemon.counters()?;
        let row =
            counters.only(|row| row.kind == "Failsafe" && row.direction == direction && row.name == name)?;
        anyhow::Ok(row.packets_total)
    };
    assert_eq!(counted(&backend, "ingress", "tcp:10.42.0.30/32:8080")?, 1);
    assert_eq!(
        counted(&backend, "ingress", "tcp:[fd00:42::30/128]:9000-9099")?,
        1
    );
    assert_eq!(counted(&backend, "ingress", "udp:5353")?, 2);
    assert_eq!(counted(&backend, "egress", "tcp:10.42.0.30/32:8080-8081")?, 2);
    assert_eq!(counted(&database, "ingress", "tcp:179")?, 2);
    assert_eq!(counted(&database, "egress", "udp:53")?, 2);
    Ok(())
}

/// With none at all, not even a neighbour's question is answered.
#[test]
fn without_failsafes_nothing_is_open() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let backend = Daemon::start(hosts.host("backend"), &closed("backend", "{preset: none}"))?;
    ask(
        &hosts,
        &[
            ("frontend", "backend", "tcp 22", &[]),
            ("backend", "frontend", "tcp 22", &[]),
        ],
    )?;
    assert!(
        backend
            .counters()?
            .rows()
            .iter()
            .all(|row| row.kind != "Failsafe")
    );
    eventually(Duration::from_secs(10), || {
        let frontend = hosts.host("frontend").namespace();
        let said = frontend.output(
            Command::new("ip").args(["-6", "neigh", "show", "fd00:42::10"]),
            "",
        )?;
        let said = String::from_utf8(said.stdout)?;
        ensure!(said.contains("FAILED") || said.contains("INCOMPLETE"), "{said}");
        Ok(())
    })
}

fn ask(hosts: &ThreeHosts, cases: &[Case]) -> anyhow::Result<()> {
    let mut asked = Vec::new();
    let mut probes = Vec::new();
    for (from, to, what, expected) in cases {
        let (protocol, port) = what.split_once(' ').expect("a protocol and a port");
        for ip in hosts.host(to).ips() {
            let version = if ip.is_ipv4() { 4 } else { 6 };
            let from_there = hosts.host(from).namespace();
            let address = SocketAddr::new(ip, port.parse()?);
            asked.push((
                format!("{from} to {to}: {what} over IPv{version}"),
                expected.contains(&version),
            ));
            probes.push(match protocol {
                "tcp" => Probe::tcp(from_there, address),
                _ => Probe::udp(from_there, address),
            });
        }
    }
    let outcomes = probe_all(&probes)?;
    let answered: BTreeSet<&str> = asked
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| outcome.is_answered())
        .map(|((text, _), _)| text.as_str())
        .collect();
    let expected: BTreeSet<&str> = asked
        .iter()
        .filter(|(_, is)| *is)
        .map(|(text, _)| text.as_str())
        .collect();
    assert_eq!(answered, expected);
    Ok(())
}
