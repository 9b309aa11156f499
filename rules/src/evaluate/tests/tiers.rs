//! Tiers: their order, Pass, and how they end.

use super::*;

#[test]
fn they_come_by_order_then_by_name() {
    let log = |tier: &str| {
        policy(
            &format!("in-{tier}"),
            &format!("tier: {tier}, ingress: [{{action: Log}}]"),
        )
    };
    enforced(
        &[
            tier("b", "order: 7, defaultAction: Pass"),
            tier("a", "order: 7, defaultAction: Pass"),
            tier("z", "order: 3, defaultAction: Pass"),
            log("kube-baseline"),
            log("b"),
            log("kube-admin"),
            log("z"),
            log("a"),
        ],
        &[(
            "in tcp 10.0.0.2 80",
            "allow: Log in-z/0, Pass end of z (in-z), Log in-a/0, Pass end of a (in-a), Log in-b/0, \
             Pass end of b (in-b), Log in-kube-admin/0, Pass end of kube-admin (in-kube-admin), \
             Log in-kube-baseline/0, Pass end of kube-baseline (in-kube-baseline), Allow profile",
        )],
    );
}

#[test]
fn pass_skips_the_rest_of_its_tier_only() {
    enforced(
        &[
            tier("first", "order: 1"),
            policy(
                "passes",
                "tier: first, order: 1, ingress: [{action: Pass, protocol: TCP}]",
            ),
            policy("denies", "tier: first, order: 2, ingress: [{action: Deny}]"),
            policy(
                "web",
                "ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
            ),
        ],
        &[
            ("in tcp 10.0.0.2 80", "allow: Pass passes/0, Allow web/0"),
            (
                "in tcp 10.0.0.2 81",
                "deny: Pass passes/0, Deny end of default (web)",
            ),
            ("in udp 10.0.0.2 80", "deny: Deny denies/0"),
        ],
    );
}

#[test]
fn pass_in_the_last_tier_goes_to_the_profiles() {
    let worlds = network(&[policy("p", "ingress: [{action: Pass}, {action: Deny}]")]);
    let said = |endpoint| ask_at(&worlds, endpoint, WorldKind::Enforced, "in tcp 10.0.0.2 80");
    assert_eq!(said("web"), "allow: Pass p/0, Allow profile");
    assert_eq!(said("bare"), "deny: Pass p/0, Deny no profile");
}

#[test]
fn one_that_governs_only_one_direction_ends_only_there() {
    enforced(
        &[policy(
            "p",
            "types: [Egress], egress: [{action: Deny, protocol: UDP}]",
        )],
        &[
            ("in tcp 10.0.0.2 80", "allow: Allow profile"),
            ("out tcp 10.0.0.2 80", "deny: Deny end of default (p)"),
            ("out udp 10.0.0.2 80", "deny: Deny p/0"),
        ],
    );
}

#[test]
fn one_whose_policies_select_others_says_nothing() {
    enforced(
        &[policy("p", "selector: role == 'db', ingress: [{action: Deny}]")],
        &[("in tcp 10.0.0.2 80", "allow: Allow profile")],
    );
}

#[test]
fn its_end_names_the_last_policy_that_governs_the_direction() {
    enforced(
        &[
            policy("a", "order: 1, selector: role == 'web', types: [Ingress]"),
            policy("b", "order: 2, types: [Ingress, Egress]"),
            policy("c", "order: 3, types: [Egress]"),
            policy("d", "order: 4, selector: role == 'db', types: [Ingress, Egress]"),
        ],
        &[
            ("in tcp 10.0.0.2 80", "deny: Deny end of default (b)"),
            ("out tcp 10.0.0.2 80", "deny: Deny end of default (c)"),
        ],
    );
}
