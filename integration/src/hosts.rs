//! The three hosts of the examples, and the traffic between them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use palisade::lab::{Host, Network, Outcome, Probe, TcpServer, UdpServer, probe_all};

/// The ports on which every host serves TCP; 22 is a failsafe.
pub const TCP_PORTS: [u16; 3] = [22, 8080, 9090];

/// The port on which every host serves UDP.
pub const UDP_PORT: u16 = 5353;

/// What [`ThreeHosts::matrix`] calls an echo request.
pub const ICMP: &str = "icmp echo";

/// The questions, each over both IP versions, that a default deny denies: all but the failsafe.
pub const DENIED_PORTS: [&str; 4] = ["tcp 8080", "tcp 9090", "udp 5353", ICMP];

/// The example resources.
pub mod examples {
    /// The three hosts.
    pub const HOSTS: &str = include_str!("../../examples/hosts.yaml");
    /// The allow-all net.
    pub const SAFETY_NET: &str = include_str!("../../examples/00-safety-net.yaml");
    /// Enforced: the database takes TCP 8080 from the backend.
    pub const DATABASE: &str = include_str!("../../examples/10-database.yaml");
    /// Staged: nobody reaches the backend.
    pub const LOCKDOWN_STAGED: &str = include_str!("../../examples/20-backend-lockdown.yaml");

    /// Not of the examples: selects the backend, sorts before the lockdown, and allows one port.
    pub const ALLOW_7000: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: backend-allow-7000}
spec:
  order: 5
  selector: app == 'backend'
  types: [Ingress]
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [7000]}}
";
    /// Not of the examples either, staged: lets TCP 8080 in to the backend from everybody, and nothing else.
    pub const OPEN_8080_STAGED: &str = "
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: backend}
spec:
  selector: app == 'backend'
  types: [Ingress]
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [8080]}}
";

    /// The lockdown, promoted: one word less.
    pub fn lockdown_promoted() -> String {
        LOCKDOWN_STAGED.replace("kind: StagedGlobalNetworkPolicy", "kind: GlobalNetworkPolicy")
    }
}

/// Who reached whom: `frontend to backend: tcp 8080 over IPv4` and what came of it.
pub type Matrix = BTreeMap<String, Outcome>;

/// Backend, database and frontend on one switch, with servers on all of them.
#[derive(Debug)]
pub struct ThreeHosts {
    network: Network,
    _servers: Vec<(TcpServer, UdpServer)>,
}

impl ThreeHosts {
    /// Builds them.
    ///
    /// # Errors
    /// Without root, saying so.
    pub fn new() -> anyhow::Result<Self> {
        let network = Network::builder()
            .host("backend", ["10.42.0.10/24", "fd00:42::10/64"])
            .host("database", ["10.42.0.20/24", "fd00:42::20/64"])
            .host("frontend", ["10.42.0.30/24", "fd00:42::30/64"])
            .build()?;
        let serve = |host: &Host| -> anyhow::Result<_> {
            let tcp = TcpServer::start(host.namespace(), host.name(), &TCP_PORTS)?;
            let udp = UdpServer::start(host.namespace(), host.name(), &[UDP_PORT])?;
            Ok((tcp, udp))
        };
        let servers = network.hosts().iter().map(serve).collect::<anyhow::Result<_>>()?;
        Ok(ThreeHosts {
            network,
            _servers: servers,
        })
    }

    /// The host of that name.
    ///
    /// # Panics
    /// If there is none.
    pub fn host(&self, name: &str) -> &Host {
        self.network.host(name)
    }

    /// Asks everything from everybody to everybody, at once, each question with exactly one packet.
    pub fn matrix(&self) -> anyhow::Result<Matrix> {
        let hosts = self.network.hosts();
        let pairs = hosts
            .iter()
            .flat_map(|from| hosts.iter().map(move |to| (from, to)));
        ask(pairs.filter(|(from, to)| from.name() != to.name()))
    }

    /// The part of the matrix from one host to another.
    pub fn between(&self, from: &str, to: &str) -> anyhow::Result<Matrix> {
        ask([(self.host(from), self.host(to))].into_iter())
    }

    /// The entry of the matrix that asks one question over one IP version, 4 or 6.
    pub fn question(from: &str, to: &str, what: &str, version: u8) -> String {
        format!("{from} to {to}: {what} over IPv{version}")
    }
}

/// What was not answered.
pub fn denied(matrix: &Matrix) -> BTreeSet<&str> {
    matrix
        .iter()
        .filter(|(_, outcome)| !outcome.is_answered())
        .map(|(question, _)| question.as_str())
        .collect()
}

/// What came out otherwise, in words; empty for equal matrices.
pub fn differences(before: &Matrix, after: &Matrix) -> Vec<String> {
    let changed = before
        .iter()
        .filter(|(question, outcome)| after.get(*question) != Some(outcome));
    changed
        .map(|(question, outcome)| format!("{question}: {outcome}, then {:?}", after.get(question)))
        .collect()
}

fn ask<'h>(pairs: impl Iterator<Item = (&'h Host, &'h Host)>) -> anyhow::Result<Matrix> {
    let (questions, probes): (Vec<_>, Vec<_>) = pairs.flat_map(|(from, to)| questions(from, to)).unzip();
    Ok(questions.into_iter().zip(probe_all(&probes)?).collect())
}

fn questions(from: &Host, to: &Host) -> Vec<(String, Probe)> {
    let mut questions = Vec::new();
    for ip in to.ips() {
        let version = if ip.is_ipv4() { 4 } else { 6 };
        let mut ask = |what: &str, probe| {
            questions.push((ThreeHosts::question(from.name(), to.name(), what, version), probe));
        };
        for port in TCP_PORTS {
            ask(
                &format!("tcp {port}"),
                Probe::tcp(from.namespace(), SocketAddr::new(ip, port)),
            );
        }
        ask(
            &format!("udp {UDP_PORT}"),
            Probe::udp(from.namespace(), SocketAddr::new(ip, UDP_PORT)),
        );
        ask(ICMP, Probe::icmp(from.namespace(), ip));
    }
    questions
}
