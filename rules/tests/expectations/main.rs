//! Written expectations: what can be written, what is wrong with what cannot, and what comes of them.
#![allow(clippy::unwrap_used)] // all of this is tests

mod checks;
mod formats;
mod reading;

use palisade_rules::analysis::expectations::{Expectation, Report, check, decode};
use palisade_rules::decode::decode as decode_resources;
use palisade_rules::diagnostic::Diagnostics;
use palisade_rules::source::Files;
use palisade_rules::world::{Host, Worlds, resolve};

/// Three hosts. The database takes 5432 from the web servers, and a range for everyone; a staged policy shuts half of
/// that range; a safety net stands behind all.
const RESOURCES: &str = r#"
apiVersion: v1
kind: List
items:
- apiVersion: projectcalico.org/v3
  kind: HostEndpoint
  metadata: {name: web1, labels: {role: web}}
  spec: {node: one, interfaceName: eth0, expectedIPs: [10.0.0.1, "fd00::1"], profiles: [projectcalico-default-allow]}
- apiVersion: projectcalico.org/v3
  kind: HostEndpoint
  metadata: {name: web2, labels: {role: web}}
  spec: {node: two, interfaceName: eth0, expectedIPs: [10.0.0.2], profiles: [projectcalico-default-allow]}
- apiVersion: projectcalico.org/v3
  kind: HostEndpoint
  metadata: {name: db, labels: {role: db}}
  spec: {node: three, interfaceName: eth0, expectedIPs: [10.0.0.3, "fd00::3"], profiles: [projectcalico-default-allow]}
- apiVersion: projectcalico.org/v3
  kind: GlobalNetworkPolicy
  metadata: {name: database}
  spec:
    order: 10
    selector: role == 'db'
    ingress:
    - {action: Allow, protocol: TCP, source: {selector: role == 'web'}, destination: {ports: [5432]}}
    - {action: Allow, protocol: TCP, destination: {ports: ["8000:8059"]}}
    - {action: Deny, protocol: ICMP, icmp: {type: 8, code: 7}}
- apiVersion: projectcalico.org/v3
  kind: StagedGlobalNetworkPolicy
  metadata: {name: shut}
  spec:
    order: 5
    selector: role == 'db'
    ingress:
    - {action: Deny, protocol: TCP, destination: {ports: ["8030:9000"]}}
- apiVersion: projectcalico.org/v3
  kind: GlobalNetworkPolicy
  metadata: {name: net}
  spec: {order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]}
"#;

/// The worlds of these resources, offline.
fn worlds(resources: &str) -> Worlds {
    let mut files = Files::default();
    let id = files.add("resources.yaml", resources);
    let (snapshot, diagnostics) = decode_resources(&files, &[id]);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)));
    resolve(&snapshot, Host::default())
}

/// A file with these items.
fn file(items: &str) -> String {
    format!("apiVersion: palisade.dev/v1\nkind: Expectations\nmetadata: {{name: suite}}\nspec:\n{items}\n")
}

fn read(text: &str) -> (Vec<Expectation>, Files, Diagnostics) {
    let mut files = Files::default();
    let id = files.add("expected.yaml", text);
    let (expectations, diagnostics) = decode(&files, &[id]);
    (expectations, files, diagnostics)
}

/// What comes of these items.
fn run(items: &str) -> Report {
    let (expectations, files, diagnostics) = read(&file(items));
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(&files, false));
    check(&worlds(RESOURCES), &expectations)
}
