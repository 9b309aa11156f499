//! Answers as other programs see them.

mod addresses;
mod directions;
mod examples;
mod loopback;
mod names;
mod protocols;
mod routes;
mod steps;

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::net::Protocol;
use crate::resource::StagedAction;
use crate::snapshot::Snapshot;
use crate::testing::{NETWORK, host, network, object, policy, safety_net, snapshot, staged};
use crate::world::{Host, WorldKind, Worlds, resolve};

/// A query such as `web db tcp 80`.
fn query(text: &str) -> Query {
    let words: Vec<&str> = text.split(' ').collect();
    Query {
        from: words[0].to_owned(),
        to: words[1].to_owned(),
        protocol: Protocol::parse(words[2]).unwrap(),
        port: words.get(3).map(|port| port.parse().unwrap()),
        source_port: None,
        icmp_type: None,
        icmp_code: None,
    }
}

fn ask(worlds: &Worlds, text: &str) -> Answer {
    explain(worlds, &query(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The enforced answer in one line: `deny: Log p, Deny end of tier`, and behind a bar what it is without the net.
fn say(worlds: &Worlds, text: &str) -> String {
    phrase(&ask(worlds, text).enforced)
}

fn phrase(answer: &WorldAnswer) -> String {
    let steps = |verdict: &str, steps: &[StepReport]| {
        let steps: Vec<String> = steps
            .iter()
            .map(|step| format!("{} {} {}", step.direction, step.endpoint, step.phrase()))
            .collect();
        format!("{verdict}: {}", steps.join(", "))
    };
    let with = steps(&answer.verdict, &answer.steps);
    match &answer.without_safety_net {
        Some(without) => format!("{with} | {}", steps(&without.verdict, &without.steps)),
        None => with,
    }
}

/// The problem with a query, in words.
fn problem(worlds: &Worlds, text: &str) -> String {
    explain(worlds, &query(text)).unwrap_err().to_string()
}

#[test]
fn a_staged_object_that_does_nothing_changes_no_answer() {
    let mut snapshot = snapshot(&[NETWORK, &policy("p", "types: [Ingress, Egress]")]);
    let before = resolve(&snapshot, host("one"));
    let mut parked = snapshot.policies[0].clone();
    Arc::make_mut(&mut parked).staged = Some(StagedAction::Ignore);
    snapshot.policies.push(parked);
    let after = resolve(&snapshot, host("one"));
    for connection in ["db web tcp 80", "web db udp 53", "192.0.2.1 bare tcp 22"] {
        assert_eq!(ask(&before, connection), ask(&after, connection));
    }
    let both = WorldKind::BOTH.map(|world| after.world(world).policies.len());
    assert_eq!(both, [1, 1]);
}
