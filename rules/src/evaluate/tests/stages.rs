//! Policies before conntrack and before the destination is translated.

use super::*;

const UNTRACKED: &str = "doNotTrack: true, applyOnForward: true";
const PRE_DNAT: &str = "preDNAT: true, applyOnForward: true";

/// A policy of these fields, of one ingress rule.
fn early(name: &str, fields: &str, rule: &str) -> String {
    policy(name, &format!("{fields}, ingress: [{{{rule}}}]"))
}

#[test]
fn they_come_in_stages_whatever_their_tier_and_order() {
    let log = |name: &str, fields: &str| early(name, fields, "action: Log");
    enforced(
        &[
            tier("first", "order: 1, defaultAction: Pass"),
            log("normal", "tier: first, order: 1"),
            log("dnat", &format!("{PRE_DNAT}, order: 900")),
            log("raw", &format!("{UNTRACKED}, order: 950")),
        ],
        &[(
            "in tcp 10.0.0.2 80",
            "allow: Log raw/0 at untracked, Log dnat/0 at pre-dnat, Log normal/0, Pass end of first (normal), \
             Allow profile",
        )],
    );
}

#[test]
fn what_they_allow_is_not_asked_again() {
    let deny = policy("deny", "ingress: [{action: Deny}]");
    let http = "action: Allow, protocol: TCP, destination: {ports: [80]}";
    for (fields, stage) in [(UNTRACKED, "untracked"), (PRE_DNAT, "pre-dnat")] {
        let allowed = format!("allow: Allow p/0 at {stage}");
        enforced(
            &[deny.clone(), early("p", fields, http)],
            &[
                ("in tcp 10.0.0.2 80", allowed.as_str()),
                ("in tcp fd00::2 80", allowed.as_str()),
                ("in tcp 10.0.0.2 81", "deny: Deny deny/0"),
            ],
        );
    }
    // Nor by a stage in between.
    enforced(
        &[
            early("raw", UNTRACKED, http),
            early("dnat", PRE_DNAT, "action: Deny"),
        ],
        &[
            ("in tcp 10.0.0.2 80", "allow: Allow raw/0 at untracked"),
            ("in tcp 10.0.0.2 81", "deny: Deny dnat/0 at pre-dnat"),
        ],
    );
}

#[test]
fn what_they_do_not_match_goes_on() {
    let http = "action: Deny, protocol: TCP, destination: {ports: [80]}";
    for (fields, stage) in [(UNTRACKED, "untracked"), (PRE_DNAT, "pre-dnat")] {
        let denied = format!("deny: Deny p/0 at {stage}");
        enforced(
            &[early("p", fields, http)],
            &[
                ("in tcp 10.0.0.2 80", denied.as_str()),
                // Their tier has no end, though its default is to deny.
                ("in tcp 10.0.0.2 81", "allow: Allow profile"),
                ("out tcp 10.0.0.2 80", "allow: Allow profile"),
            ],
        );
    }
}

#[test]
fn a_pass_goes_on_to_the_next_tier_of_the_stage() {
    enforced(
        &[
            tier("first", "order: 1"),
            early("a", &format!("{UNTRACKED}, tier: first"), "action: Pass"),
            early("b", &format!("{UNTRACKED}, tier: first"), "action: Deny"),
            early("c", UNTRACKED, "action: Deny, protocol: UDP"),
            policy("normal", "ingress: [{action: Allow, protocol: TCP}]"),
        ],
        &[
            (
                "in udp 10.0.0.2 80",
                "deny: Pass a/0 at untracked, Deny c/0 at untracked",
            ),
            (
                "in tcp 10.0.0.2 80",
                "allow: Pass a/0 at untracked, Allow normal/0",
            ),
        ],
    );
}

#[test]
fn before_conntrack_both_directions_are_asked() {
    let both = format!(
        "{UNTRACKED}, ingress: [{{action: Allow, protocol: UDP}}], egress: [{{action: Deny, protocol: UDP}}]"
    );
    enforced(
        &[policy("p", &both)],
        &[
            ("in udp 10.0.0.2 1", "allow: Allow p/0 at untracked"),
            ("out udp 10.0.0.2 1", "deny: Deny p/0 at untracked"),
            ("out tcp 10.0.0.2 1", "allow: Allow profile"),
        ],
    );
}

#[test]
fn they_cannot_shut_what_stays_open() {
    for fields in [UNTRACKED, PRE_DNAT] {
        enforced(
            &[early("p", fields, "action: Deny")],
            &[
                ("in tcp 10.0.0.2 22", "allow: Allow failsafe tcp:22"),
                ("in udp fd00::2 546", "allow: Allow failsafe udp:546"),
                ("in icmpv6 fd00::2 type 135", "allow: Allow failsafe icmpv6"),
            ],
        );
    }
}

#[test]
fn before_conntrack_nor_the_answers_of_what_stays_open() {
    let answer = "in udp 10.0.0.2 40000 from 53";
    enforced(
        &[early("p", UNTRACKED, "action: Deny")],
        &[
            (answer, "allow: Allow profile"),
            ("in tcp fd00::2 40000 from 53", "allow: Allow profile"),
            ("in tcp 10.0.0.2 40000 from 54", "deny: Deny p/0 at untracked"),
        ],
    );
    let out = policy(
        "p",
        &format!("{UNTRACKED}, types: [Egress], egress: [{{action: Deny}}]"),
    );
    enforced(
        &[out],
        &[
            ("out tcp 10.0.0.2 40000 from 22", "allow: Allow profile"),
            ("out udp 10.0.0.2 40000 from 22", "deny: Deny p/0 at untracked"),
        ],
    );
    // Later there is a connection that they belong to, and what claims to be one is not believed.
    enforced(
        &[early("p", PRE_DNAT, "action: Deny")],
        &[(answer, "deny: Deny p/0 at pre-dnat")],
    );
}

#[test]
fn staged_ones_are_in_the_pending_world_alone() {
    for (fields, stage) in [(UNTRACKED, "untracked"), (PRE_DNAT, "pre-dnat")] {
        let resources = [
            staged("p", &format!("{fields}, ingress: [{{action: Deny}}]")),
            safety_net(),
        ];
        let packet = "in tcp 10.0.0.2 80";
        enforced(
            &resources,
            &[(packet, "allow: Allow net/0 | allow: Allow profile")],
        );
        let denied = format!("deny: Deny staged p/0 at {stage}");
        pending(&resources, &[(packet, denied.as_str())]);
    }
}

#[test]
fn a_staged_policy_may_change_its_stage() {
    let resources = [
        early("p", PRE_DNAT, "action: Deny"),
        staged("p", "ingress: [{action: Deny}]"),
    ];
    let packet = "in tcp 10.0.0.2 80";
    enforced(&resources, &[(packet, "deny: Deny p/0 at pre-dnat")]);
    pending(&resources, &[(packet, "deny: Deny staged p/0")]);
}
