//! What goes through a host.

use super::*;

/// What the host endpoint `web` says of packets that only pass its interface.
fn check_forwarded(resources: &[String], table: &[(&str, &str)]) {
    let worlds = network(resources);
    for (packet, expected) in table {
        let said = ask_forwarded(&worlds, WorldKind::Enforced, packet);
        assert_eq!(said, *expected, "{packet} through\n{}", resources.concat());
    }
}

const DENY: &str = "ingress: [{action: Deny}], egress: [{action: Deny}]";

#[test]
fn only_policies_that_apply_on_forward_are_asked() {
    let table = [
        ("in tcp 10.0.0.2 80", "allow: "),
        ("out tcp 10.0.0.2 80", "allow: "),
    ];
    check_forwarded(&[], &table);
    check_forwarded(&[policy("p", DENY)], &table);
    check_forwarded(
        &[policy("p", &format!("applyOnForward: true, {DENY}"))],
        &[
            ("in tcp 10.0.0.2 80", "deny: Deny p/0 at forward"),
            ("out tcp 10.0.0.2 80", "deny: Deny p/0 at forward"),
        ],
    );
}

#[test]
fn they_decide_about_the_host_itself_as_well() {
    enforced(
        &[policy("p", &format!("applyOnForward: true, {DENY}"))],
        &[("in tcp 10.0.0.2 80", "deny: Deny p/0")],
    );
}

#[test]
fn the_tier_ends_and_there_is_no_profile() {
    check_forwarded(
        &[
            policy(
                "p",
                "applyOnForward: true, ingress: [{action: Allow, protocol: UDP}]",
            ),
            policy("not-asked", "order: 1, ingress: [{action: Allow}]"),
        ],
        &[
            ("in udp 10.0.0.2 1", "allow: Allow p/0 at forward"),
            ("in tcp 10.0.0.2 1", "deny: Deny end of default (p) at forward"),
            ("out tcp 10.0.0.2 1", "allow: "),
        ],
    );
    check_forwarded(
        &[
            tier("open", "order: 1, defaultAction: Pass"),
            policy("p", "tier: open, applyOnForward: true, ingress: [{action: Log}]"),
        ],
        &[(
            "in tcp 10.0.0.2 1",
            "allow: Log p/0 at forward, Pass end of open (p) at forward",
        )],
    );
}

#[test]
fn failsafes_are_about_the_host_alone() {
    check_forwarded(
        &[policy("p", &format!("applyOnForward: true, {DENY}"))],
        &[
            ("in tcp 10.0.0.2 22", "deny: Deny p/0 at forward"),
            ("out udp 10.0.0.2 53", "deny: Deny p/0 at forward"),
        ],
    );
}

#[test]
fn what_comes_in_has_met_the_early_stages() {
    let resources = |fields: &str| {
        [
            policy(
                "early",
                &format!("{fields}, applyOnForward: true, ingress: [{{action: Allow, protocol: TCP}}]"),
            ),
            policy("p", &format!("applyOnForward: true, {DENY}")),
        ]
    };
    for (fields, stage) in [("doNotTrack: true", "untracked"), ("preDNAT: true", "pre-dnat")] {
        let allowed = format!("allow: Allow early/0 at {stage}");
        check_forwarded(
            &resources(fields),
            &[
                ("in tcp 10.0.0.2 80", allowed.as_str()),
                ("in udp 10.0.0.2 80", "deny: Deny p/0 at forward"),
                // A failsafe takes it past the early stage, and no further.
                ("in tcp 10.0.0.2 22", "deny: Deny p/0 at forward"),
            ],
        );
    }
    // What goes out was not sent by this host.
    check_forwarded(
        &[policy(
            "raw",
            "doNotTrack: true, applyOnForward: true, types: [Egress], egress: [{action: Deny}]",
        )],
        &[("out tcp 10.0.0.2 80", "allow: ")],
    );
}

#[test]
fn a_net_catches_what_is_forwarded_if_it_applies_there() {
    let net = |fields: &str| {
        policy(
            "net",
            &format!("order: 100000, {fields}ingress: [{{action: Allow}}]"),
        )
    };
    let p = policy(
        "p",
        "applyOnForward: true, ingress: [{action: Allow, protocol: UDP}]",
    );
    check_forwarded(
        &[net("applyOnForward: true, "), p.clone()],
        &[(
            "in tcp 10.0.0.2 1",
            "allow: Allow net/0 at forward | deny: Deny end of default (p) at forward",
        )],
    );
    check_forwarded(
        &[net(""), p],
        &[("in tcp 10.0.0.2 1", "deny: Deny end of default (p) at forward")],
    );
}
