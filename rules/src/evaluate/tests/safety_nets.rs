//! What a safety net is, and that it hides nothing.

use super::*;

const DENIES: &str = "order: 5, types: [Ingress, Egress]";

#[test]
fn what_is_one() {
    for spec in [
        "order: 100000, ingress: [{action: Allow}]",
        "order: 1.0e+6, selector: all(), types: [Ingress], ingress: [{action: Allow}]",
        "order: 100000, selector: '', ingress: [{action: Allow, source: {}, destination: ~}]",
        "order: 100000, ingress: [{action: Allow, source: {selector: ''}}]",
        "order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]",
        // What it does not govern does not matter.
        "order: 100000, types: [Ingress], ingress: [{action: Allow}], egress: [{action: Deny}]",
    ] {
        enforced(
            &[policy("d", DENIES), policy("net", spec)],
            &[(
                "in tcp 10.0.0.2 80",
                "allow: Allow net/0 | deny: Deny end of default (d)",
            )],
        );
    }
}

#[test]
fn what_is_none() {
    for (spec, rule) in [
        ("order: 99999.9, ingress: [{action: Allow}]", 0),
        ("ingress: [{action: Allow}]", 0),
        (
            "order: 100000, selector: has(role), ingress: [{action: Allow}]",
            0,
        ),
        (
            "order: 100000, selector: all() && all(), ingress: [{action: Allow}]",
            0,
        ),
        ("order: 100000, ingress: [{action: Allow, protocol: TCP}]", 0),
        ("order: 100000, ingress: [{action: Allow, notProtocol: UDP}]", 0),
        ("order: 100000, ingress: [{action: Allow, ipVersion: 4}]", 0),
        (
            "order: 100000, ingress: [{action: Allow, source: {nets: [0.0.0.0/0]}}]",
            0,
        ),
        (
            "order: 100000, ingress: [{action: Allow, destination: {notSelector: has(x)}}]",
            0,
        ),
        ("order: 100000, ingress: [{action: Allow}, {action: Allow}]", 0),
        // One of its types is not a net, so the policy is none.
        (
            "order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}]",
            0,
        ),
        (
            "order: 100000, ingress: [{action: Allow}], egress: [{action: Deny}]",
            0,
        ),
    ] {
        enforced(
            &[policy("d", DENIES), policy("p", spec)],
            &[("in tcp 10.0.0.2 80", &format!("allow: Allow p/{rule}"))],
        );
    }
}

#[test]
fn it_hides_nothing() {
    enforced(
        &[
            safety_net(),
            policy(
                "p",
                "order: 5, ingress: [{action: Log}, {action: Allow, protocol: UDP}]",
            ),
        ],
        &[
            // Another rule decided: there is nothing to add.
            ("in udp 10.0.0.2 80", "allow: Log p/0, Allow p/1"),
            (
                "in tcp 10.0.0.2 80",
                "allow: Log p/0, Allow net/0 | deny: Log p/0, Deny end of default (p)",
            ),
            // Nothing else governs the tier: without the net it is not there.
            ("out tcp 10.0.0.2 80", "allow: Allow net/0 | allow: Allow profile"),
            ("in tcp 10.0.0.2 22", "allow: Allow failsafe tcp:22"),
        ],
    );
}

#[test]
fn without_one_is_without_all_of_them() {
    enforced(
        &[
            tier("early", "order: 1"),
            policy(
                "early-net",
                "tier: early, order: 100000, ingress: [{action: Allow}]",
            ),
            safety_net(),
            policy(
                "p",
                "order: 5, ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
            ),
        ],
        &[
            (
                "in tcp 10.0.0.2 80",
                "allow: Allow early-net/0 | allow: Allow p/0",
            ),
            (
                "in tcp 10.0.0.2 81",
                "allow: Allow early-net/0 | deny: Deny end of default (p)",
            ),
        ],
    );
}

#[test]
fn a_pass_goes_around_it() {
    enforced(
        &[safety_net(), policy("p", "order: 5, ingress: [{action: Pass}]")],
        &[("in tcp 10.0.0.2 80", "allow: Pass p/0, Allow profile")],
    );
}

#[test]
fn one_that_is_staged_is_one_when_promoted() {
    let resources = [
        policy("d", DENIES),
        staged("net", "order: 100000, ingress: [{action: Allow}]"),
    ];
    let denied = "deny: Deny end of default (d)";
    enforced(&resources, &[("in tcp 10.0.0.2 80", denied)]);
    pending(
        &resources,
        &[(
            "in tcp 10.0.0.2 80",
            &format!("allow: Allow staged net/0 | {denied}"),
        )],
    );
}
