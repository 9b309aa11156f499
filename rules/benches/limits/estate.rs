//! A large estate, always the same, as people and their tools write it.

use std::fmt::Write as _;

use palisade_rules::world::Host;

/// How large an estate is.
#[derive(Clone, Copy)]
pub(crate) struct Estate {
    /// Policies of five rules.
    pub(crate) policies: usize,
    /// HostEndpoints with two addresses.
    pub(crate) endpoints: usize,
    /// Of [`MEMBERS`] each.
    pub(crate) sets: usize,
    /// Whether every policy governs every endpoint; if not, ten govern most of them.
    pub(crate) everywhere: bool,
}

const SETS: usize = 100;
const MEMBERS: usize = 1_000;

/// One application in ten endpoints, and ten policies for each.
const APPS: usize = 1_000;
const TIERS: [&str; 3] = ["web", "api", "db"];
const ENVIRONMENTS: [&str; 4] = ["prod", "prod", "staging", "dev"];
const ZONES: [&str; 5] = ["fra1", "fra2", "ams1", "lhr1", "waw1"];

/// A size, or a small one where the benchmark is only tried out, once and unoptimised.
pub(crate) fn size(size: usize) -> usize {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    if is_bench { size } else { size.min(300) }
}

/// Names and texts of the files.
pub(crate) fn texts(estate: Estate) -> Vec<(&'static str, String)> {
    let mut policies = documents(estate.policies, policy);
    if estate.everywhere {
        policies = policies.replace("\n  selector: app", "\n  selector: all() || app");
    }
    vec![
        ("policies.yaml", policies),
        ("endpoints.yaml", documents(estate.endpoints, endpoint)),
        ("sets.yaml", documents(estate.sets, network_set)),
    ]
}

/// The host that resolves the estate: that of one of the endpoints.
pub(crate) fn host() -> Host {
    Host {
        node: Some(node(217)),
        interfaces: [
            ("lo".to_owned(), vec!["127.0.0.1".parse().expect("an address")]),
            ("eth0".to_owned(), Vec::new()),
        ]
        .into(),
        ..Host::default()
    }
}

fn documents(number: usize, write: fn(&mut String, usize)) -> String {
    let mut text = String::new();
    for index in 0..number {
        if index > 0 {
            text.push_str("---\n");
        }
        write(&mut text, index);
    }
    text
}

/// An application's name, such as `web-17`.
fn app(index: usize) -> String {
    let index = index % APPS;
    format!("{}-{}", TIERS[index % TIERS.len()], index)
}

/// An endpoint's node; the endpoint's own name has `-eth0` behind it.
pub(crate) fn node(index: usize) -> String {
    format!("host-{index:05}")
}

fn policy(text: &mut String, index: usize) {
    let (app, client, upstream) = (app(index), app(index * 7 + 1), app(index * 13 + 5));
    let team = index % 40;
    let set = index % SETS;
    let subnet = index % 200;
    let port = 8_000 + index % 1_000;
    // The lines of a raw string keep their indentation: it is YAML's.
    let _ = write!(
        text,
        r"apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: {app}-{index:05}
  labels:
    team: team-{team}
spec:
  order: {order}
  selector: app == '{app}' && env in {{'prod', 'staging'}}
  types:
    - Ingress
    - Egress
  ingress:
    # The callers of this service.
    - action: Allow
      protocol: TCP
      source:
        selector: app == '{client}' && env in {{'prod', 'staging'}}
      destination:
        ports: [{port}, 9000:9010]
    - action: Allow
      protocol: TCP
      source:
        nets:
          - 10.{subnet}.0.0/16
          - 192.168.{subnet}.0/24
        notNets: [10.{subnet}.13.0/24]
      destination:
        ports:
          - 22
    - action: Deny
      source:
        selector: role == 'blocklist' && list == 'list-{set}'
  egress:
    - action: Allow
      protocol: TCP
      destination:
        selector: app == '{upstream}' && !has(retired)
        ports: [5432]
    - action: Allow
      protocol: UDP
      destination:
        selector: role == 'resolver'
        ports:
          - 53
",
        order = 100 + index % 500,
    );
}

fn endpoint(text: &mut String, index: usize) {
    let _ = write!(
        text,
        r#"apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata:
  name: {node}-eth0
  labels:
    app: {app}
    env: {environment}
    zone: {zone}
    role: {role}
spec:
  node: {node}
  interfaceName: eth0
  expectedIPs:
    - 10.{high}.{low}.1
    - "fd00:{high:x}:{low:x}::1"
"#,
        node = node(index),
        app = app(index),
        environment = ENVIRONMENTS[index / APPS % ENVIRONMENTS.len()],
        zone = ZONES[index % ZONES.len()],
        role = if index.is_multiple_of(500) {
            "resolver"
        } else {
            "server"
        },
        high = index / 250,
        low = index % 250,
    );
}

fn network_set(text: &mut String, index: usize) {
    let _ = write!(
        text,
        r"apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata:
  name: list-{index}
  labels:
    role: blocklist
    list: list-{index}
spec:
  nets:
"
    );
    for member in 0..MEMBERS {
        let number = index * MEMBERS + member;
        let (high, low) = (number / 256, number % 256);
        let _ = match member % 4 {
            0 => writeln!(text, "    - 203.{}.{low}.0/24", high % 256),
            1 => writeln!(text, "    - 2001:db8:{high:x}:{low:x}::/64"),
            _ => writeln!(text, "    - 198.{}.{}.{low}/32", 18 + high / 256, high % 256),
        };
    }
}
