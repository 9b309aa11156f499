//! What policies mean, as tables: policies, packets, and the verdict with its trace.
//!
//! All packets come to or leave the endpoint `web` of [`crate::testing::NETWORK`], which has the default-allow profile.

mod failsafes;
mod forwarding;
mod named_ports;
mod namespaces;
mod order;
mod policies;
mod profiles;
mod rules;
mod safety_nets;
mod stages;
mod staging;
mod tiers;

use super::*;
use crate::failsafe::Failsafes;
use crate::testing::{
    NETWORK, ask, ask_at, ask_forwarded, host, namespaced, network, object, policy, safety_net, service,
    snapshot, staged, tier, workload,
};
use crate::world::{Host, WorldKind, resolve};

/// Checks the enforced world.
fn enforced(resources: &[String], table: &[(&str, &str)]) {
    check(resources, WorldKind::Enforced, table);
}

/// Checks the pending world.
fn pending(resources: &[String], table: &[(&str, &str)]) {
    check(resources, WorldKind::Pending, table);
}

fn check(resources: &[String], world: WorldKind, table: &[(&str, &str)]) {
    let worlds = network(resources);
    for (packet, expected) in table {
        assert_eq!(
            ask(&worlds, world, packet),
            *expected,
            "{packet} in the {} world of\n{}",
            world.as_str(),
            resources.concat()
        );
    }
}

/// An ingress policy of one rule.
fn one_rule(name: &str, order: &str, rule: &str) -> String {
    policy(name, &format!("order: {order}, ingress: [{{{rule}}}]"))
}
