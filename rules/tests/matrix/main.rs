//! The matrix, differences and pictures of resources written for the purpose.
#![allow(clippy::unwrap_used)] // all of this is tests

use palisade_rules::analysis::Matrix;
use palisade_rules::decode::decode;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::Files;
use palisade_rules::world::{Host, Worlds, resolve};

mod addresses;
mod diff;
mod examples;
mod grouping;
mod pictures;

const NET: &str = include_str!("../../../examples/00-safety-net.yaml");
const DATABASE: &str = include_str!("../../../examples/10-database.yaml");
const LOCKDOWN: &str = include_str!("../../../examples/20-backend-lockdown.yaml");
const HOSTS: &str = include_str!("../../../examples/hosts.yaml");

fn snapshot(texts: &[&str]) -> Snapshot {
    let mut files = Files::default();
    let ids: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| files.add(format!("{index}.yaml"), *text))
        .collect();
    let (snapshot, diagnostics) = decode(&files, &ids);
    snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)))
}

fn worlds(texts: &[&str]) -> Worlds {
    resolve(&snapshot(texts), Host::default())
}

/// One resource as a document, its metadata and its spec in flow style.
fn object(kind: &str, metadata: &str, spec: &str) -> String {
    let group = if kind == "ServiceEndpoint" {
        "palisade.dev/v1"
    } else {
        "projectcalico.org/v3"
    };
    format!("---\napiVersion: {group}\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n")
}

fn policy(name: &str, spec: &str) -> String {
    object("GlobalNetworkPolicy", &format!("name: {name}"), spec)
}

fn host(name: &str, addresses: &str) -> String {
    object(
        "HostEndpoint",
        &format!("name: {name}, labels: {{role: {name}}}"),
        &format!(
            "node: {name}, interfaceName: eth0, expectedIPs: [{addresses}], \
             profiles: [projectcalico-default-allow]"
        ),
    )
}

/// The whole matrix as `matrix -o json` prints it.
fn json(worlds: &Worlds) -> serde_json::Value {
    let mut text = String::new();
    let mut matrix = Matrix::new(worlds);
    let all = matrix.shown(&[], &[], None).unwrap();
    matrix.write_json(&all, &mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What one view says of a pair, as JSON; `null` where it is not listed.
fn listed(matrix: &serde_json::Value, from: &str, to: &str, world: &str, bare: bool) -> serde_json::Value {
    let connections = matrix["connections"].as_array().unwrap().iter();
    let mut meant = connections.filter(|connection| {
        connection["from"] == from
            && connection["to"] == to
            && connection["world"] == world
            && connection["without_safety_net"] == bare
    });
    let found = meant.next().map_or(serde_json::Value::Null, |connection| {
        connection["allowed"].clone()
    });
    assert!(meant.next().is_none(), "{from} to {to} is listed twice");
    found
}
