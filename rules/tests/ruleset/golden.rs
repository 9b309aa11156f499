//! Rulesets as text, for people to read: `tests/golden/DIRECTORY/NODE.nft` is what that node gets from the resources
//! of the directory.
//!
//! `UPDATE_GOLDEN=1 cargo test -p palisade-rules --test ruleset golden` writes them; then read what changed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use palisade_rules::compile::{DenyAction, FlowLog, Options, compile, safety_net_only};
use palisade_rules::decode::decode;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::Files;
use palisade_rules::world::{Host, resolve};

use crate::shape;

#[test]
fn examples() {
    let snapshot = read(&root().join("../examples"));
    for node in ["backend", "database", "frontend"] {
        check("examples", &snapshot, offline(node), &with_flow_log());
    }
}

#[test]
fn the_lockdown_promoted_and_the_net_removed() {
    let mut snapshot = read(&root().join("../examples"));
    snapshot
        .policies
        .retain(|policy| policy.id.name != "zzz-final-allow-everything");
    for policy in snapshot.policies.iter_mut().map(Arc::make_mut) {
        policy.staged = None;
    }
    check("promoted", &snapshot, offline("backend"), &Options::default());
}

#[test]
fn tiers_passes_sets_and_every_kind_of_staging() {
    let addresses =
        |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
    let host = Host {
        interfaces: [
            ("eth0".to_owned(), addresses(&["192.0.2.1"])),
            (
                "eth1".to_owned(),
                addresses(&["10.1.0.1", "fd00:1::1", "fe80::1"]),
            ),
        ]
        .into(),
        ..offline("edge")
    };
    let options = Options {
        deny: DenyAction::Reject,
        ..with_flow_log()
    };
    check("edge", &read(&root().join("tests/golden/edge")), host, &options);
}

#[test]
fn stages_workloads_services_and_named_ports() {
    let host = Host {
        cgroups: [("system.slice/resolver.service".to_owned(), 4711)].into(),
        ..offline("gateway")
    };
    let resources = read(&root().join("tests/golden/gateway"));
    check("gateway", &resources, host, &with_flow_log());
}

#[test]
fn the_safety_net_alone() {
    let text = safety_net_only("zzz-final-allow-everything").to_string();
    compare(&root().join("tests/golden/safety-net.nft"), &text);
}

fn check(directory: &str, snapshot: &Snapshot, host: Host, options: &Options) {
    let path = format!("tests/golden/{directory}/{}.nft", host.node.as_deref().unwrap());
    let compiled = compile(&resolve(snapshot, host), options);
    shape::assert_well_formed(&compiled);
    compare(&root().join(path), &compiled.ruleset.to_string());
}

fn compare(path: &Path, text: &str) {
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let differs = |line: &usize| expected.lines().nth(*line) != text.lines().nth(*line);
    let lines = expected.lines().count().max(text.lines().count());
    if let Some(line) = (0..lines).find(differs) {
        panic!(
            "{}:{}\nexpected: {}\n   found: {}\nSet UPDATE_GOLDEN=1 to accept what was found.",
            path.display(),
            line + 1,
            expected.lines().nth(line).unwrap_or("(the end)"),
            text.lines().nth(line).unwrap_or("(the end)"),
        );
    }
}

/// The resources of every YAML file of a directory.
fn read(directory: &Path) -> Snapshot {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    let mut files = Files::default();
    let ids: Vec<_> = paths
        .iter()
        .map(|path| files.add(path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect();
    let (snapshot, diagnostics) = decode(&files, &ids);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(&files, false));
    snapshot.unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn offline(node: &str) -> Host {
    Host {
        node: Some(node.to_owned()),
        ..Host::default()
    }
}

fn with_flow_log() -> Options {
    Options {
        flow_log: Some(FlowLog {
            group: 7,
            generation: 1,
        }),
        ..Options::default()
    }
}
