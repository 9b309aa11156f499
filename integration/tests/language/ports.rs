//! `ports` and `notPorts`: numbers, ranges and names, of the destination and of the source.

use std::collections::BTreeSet;
use std::fmt::Write;

use palisade::lab::{Probe, UdpServer, probe_all};
use palisade_integration::{Daemon, ICMP, Setup, ThreeHosts};

use crate::resources::{ALLOW, host_endpoint, policy};

/// What a rule on the frontend's egress says of the destination, and what it lets reach the backend and the database.
/// `web` is 8080 on the backend and 9090 on the database.
const DESTINATIONS: [(&str, &[&str], &[&str]); 9] = [
    (
        "protocol: TCP, destination: {ports: [web]}",
        &["tcp 8080"],
        &["tcp 9090"],
    ),
    ("destination: {ports: [web]}", &["tcp 8080"], &["tcp 9090"]),
    (
        "protocol: TCP, destination: {ports: [web], selector: app == 'database'}",
        &[],
        &["tcp 9090"],
    ),
    (
        "protocol: TCP, destination: {ports: [web, 22]}",
        &["tcp 22", "tcp 8080"],
        &["tcp 22", "tcp 9090"],
    ),
    ("protocol: UDP, destination: {ports: [names]}", &["udp 5353"], &[]),
    (
        "protocol: TCP, destination: {notPorts: [web]}",
        &["tcp 22", "tcp 9090"],
        &["tcp 22", "tcp 8080"],
    ),
    (
        "protocol: TCP, destination: {notPorts: ['1:1023', '9000:9999', 25]}",
        &["tcp 8080"],
        &["tcp 8080"],
    ),
    (
        "protocol: TCP, destination: {ports: [22, '8000:8099', web], notPorts: [web]}",
        &["tcp 22"],
        &["tcp 22", "tcp 8080"],
    ),
    // Excluding TCP's ports excludes nothing of other protocols.
    (
        "destination: {notPorts: [web]}",
        &["tcp 22", "tcp 9090", "udp 5353", ICMP],
        &["tcp 22", "tcp 8080", "udp 5353", ICMP],
    ),
];

/// What a rule on the backend's ingress says of the source, and from which of the frontend's ports 40001 to 40003 it
/// lets UDP in. `replies` is 40002 on the frontend.
const SOURCES: [(&str, &[u16]); 5] = [
    ("ports: [40001, '40003:40010']", &[40_001, 40_003]),
    ("notPorts: ['40000:40002']", &[40_003]),
    ("ports: [replies]", &[40_002]),
    ("notPorts: [replies, 40001]", &[40_003]),
    (
        "ports: [40001, replies], selector: app == 'frontend'",
        &[40_001, 40_002],
    ),
];

#[test]
fn destination_ports() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("frontend").resource("hosts.yaml", endpoints());
    let frontend = Daemon::start(hosts.host("frontend"), &setup)?;
    for (rule, backend, database) in DESTINATIONS {
        let spec =
            format!("selector: app == 'frontend', types: [Egress], egress: [{{action: Allow, {rule}}}]");
        frontend.apply("10-case.yaml", &policy("case", &spec))?;
        let mut matrix = hosts.between("frontend", "backend")?;
        matrix.extend(hosts.between("frontend", "database")?);
        let answered = matrix.iter().filter(|(_, outcome)| outcome.is_answered());
        let answered: BTreeSet<String> = answered.map(|(question, _)| question.clone()).collect();
        let expected = [("backend", backend), ("database", database)];
        let expected = expected
            .iter()
            .flat_map(|(to, asks)| asks.iter().map(move |what| (*to, *what)));
        let expected: BTreeSet<String> = expected
            .flat_map(|(to, what)| [4, 6].map(|version| ThreeHosts::question("frontend", to, what, version)))
            .collect();
        assert_eq!(answered, expected, "{rule}");
        let counters = frontend.counters()?;
        let counted = counters.rule("enforced", "egress", "case", 0)?.packets_total;
        assert_eq!(counted, expected.len() as u64, "{rule}");
    }
    Ok(())
}

/// One policy with a rule for each case, each on a port of its own.
#[test]
fn source_ports() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let to: Vec<u16> = (6000..).take(SOURCES.len()).collect();
    let _server = UdpServer::start(hosts.host("backend").namespace(), "backend", &to)?;
    let mut rules = String::new();
    for ((source, _), port) in SOURCES.iter().zip(&to) {
        write!(
            rules,
            "{{action: Allow, protocol: UDP, source: {{{source}}}, destination: {{ports: [{port}]}}}}, "
        )?;
    }
    let spec = format!("selector: app == 'backend', types: [Ingress], ingress: [{rules}]");
    let setup = Setup::new("backend")
        .resource("hosts.yaml", endpoints())
        .resource("cases.yaml", policy("cases", &spec));
    let backend = Daemon::start(hosts.host("backend"), &setup)?;

    let mut asked = Vec::new();
    let mut probes = Vec::new();
    for from_port in 40_001..=40_003 {
        for (case, port) in to.iter().enumerate() {
            for to in hosts.host("backend").sockets(*port) {
                asked.push((case, from_port, to));
                probes.push(Probe::udp_from(hosts.host("frontend").namespace(), from_port, to));
            }
        }
    }
    for ((case, from_port, to), outcome) in asked.iter().zip(probe_all(&probes)?) {
        let (rule, expected) = SOURCES[*case];
        assert_eq!(
            outcome.is_answered(),
            expected.contains(from_port),
            "{rule}: {from_port} to {to}: {outcome}"
        );
    }
    let counters = backend.counters()?;
    for (index, (rule, expected)) in SOURCES.iter().enumerate() {
        let counted = counters.rule("enforced", "ingress", "cases", i64::try_from(index)?)?;
        assert_eq!(counted.packets_total, 2 * expected.len() as u64, "{rule}");
    }
    Ok(())
}

fn endpoints() -> String {
    let endpoint = |name: &str, last: &str, ports: &str| {
        let rest = format!("{ALLOW}, ports: [{ports}]");
        let addresses = [format!("10.42.0.{last}"), format!("fd00:42::{last}")];
        let addresses = addresses.each_ref().map(String::as_str);
        host_endpoint(name, "eth0", &format!("app: {name}"), &addresses, &rest)
    };
    [
        endpoint(
            "backend",
            "10",
            "{name: web, protocol: TCP, port: 8080}, {name: names, protocol: UDP, port: 5353}, \
             {name: names, protocol: TCP, port: 9090}",
        ),
        endpoint("database", "20", "{name: web, protocol: TCP, port: 9090}"),
        endpoint("frontend", "30", "{name: replies, protocol: UDP, port: 40002}"),
    ]
    .concat()
}
