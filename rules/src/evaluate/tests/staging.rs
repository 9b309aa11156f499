//! What staged objects do to the pending world, and never to the enforced one.

use super::*;

const PACKET: &str = "in tcp 10.0.0.2 80";

/// Checks what both worlds say to one packet.
fn both(resources: &[String], in_enforced: &str, in_pending: &str) {
    enforced(resources, &[(PACKET, in_enforced)]);
    pending(resources, &[(PACKET, in_pending)]);
}

#[test]
fn set_and_learn_exist_in_the_pending_world() {
    for action in ["", "stagedAction: Set, ", "stagedAction: Learn, "] {
        both(
            &[staged("p", &format!("{action}ingress: [{{action: Deny}}]"))],
            "allow: Allow profile",
            "deny: Deny staged p/0",
        );
    }
}

#[test]
fn ignore_exists_in_neither() {
    both(
        &[
            policy("p", "ingress: [{action: Deny}]"),
            staged("p", "stagedAction: Ignore, ingress: [{action: Allow}]"),
            staged("q", "order: 1, stagedAction: Ignore, ingress: [{action: Allow}]"),
        ],
        "deny: Deny p/0",
        "deny: Deny p/0",
    );
}

#[test]
fn delete_takes_the_enforced_one_away() {
    both(
        &[
            policy("p", "ingress: [{action: Deny}]"),
            staged("p", "stagedAction: Delete"),
        ],
        "deny: Deny p/0",
        "allow: Allow profile",
    );
    // With nothing to delete it does nothing.
    both(
        &[
            policy("p", "ingress: [{action: Deny}]"),
            staged("q", "stagedAction: Delete"),
        ],
        "deny: Deny p/0",
        "deny: Deny p/0",
    );
}

#[test]
fn set_stands_in_for_the_enforced_one_wherever_it_moves() {
    both(
        &[
            policy("p", "order: 1, ingress: [{action: Deny}]"),
            policy("q", "order: 2, ingress: [{action: Allow}]"),
            staged("p", "order: 3, ingress: [{action: Deny}]"),
        ],
        "deny: Deny p/0",
        "allow: Allow q/0",
    );
    both(
        &[
            tier("early", "order: 1"),
            policy("p", "order: 1, ingress: [{action: Deny}]"),
            staged("p", "tier: early, ingress: [{action: Pass}]"),
        ],
        "deny: Deny p/0",
        "allow: Pass staged p/0, Allow profile",
    );
    both(
        &[
            policy("p", "ingress: [{action: Deny}]"),
            staged("p", "types: [Egress]"),
        ],
        "deny: Deny p/0",
        "allow: Allow profile",
    );
}

#[test]
fn a_staged_pass_opens_the_way_to_later_tiers() {
    both(
        &[
            tier("early", "order: 1"),
            policy("closed", "tier: early, order: 2, ingress: [{action: Deny}]"),
            staged("passes", "tier: early, order: 1, ingress: [{action: Pass}]"),
            policy("open", "ingress: [{action: Allow}]"),
        ],
        "deny: Deny closed/0",
        "allow: Pass staged passes/0, Allow open/0",
    );
}

#[test]
fn a_tier_of_staged_policies_never_ends_in_the_enforced_world() {
    both(
        &[staged("lockdown", "types: [Ingress]")],
        "allow: Allow profile",
        "deny: Deny end of default (staged lockdown)",
    );
}

#[test]
fn the_end_of_a_tier_may_be_the_staged_ones_doing() {
    both(
        &[policy("a", "order: 1"), staged("b", "order: 2")],
        "deny: Deny end of default (a)",
        "deny: Deny end of default (staged b)",
    );
}

#[test]
fn the_net_hides_neither_world() {
    both(
        &[safety_net(), staged("lockdown", "types: [Ingress]")],
        "allow: Allow net/0 | allow: Allow profile",
        "allow: Allow net/0 | deny: Deny end of default (staged lockdown)",
    );
}
