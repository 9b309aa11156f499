//! Which policy and rule comes first.

use super::*;

#[test]
fn lower_comes_first_whatever_the_names() {
    enforced(
        &[
            one_rule("a", "20", "action: Allow"),
            one_rule("b", "-3.5", "action: Deny"),
            one_rule("c", "10", "action: Allow"),
        ],
        &[("in tcp 10.0.0.2 80", "deny: Deny b/0")],
    );
}

#[test]
fn ties_go_by_the_bytes_of_the_name() {
    // As text `a-b/` sorts before `a.b/`, and `a/` after both: '-' < '.' < '/'.
    let policies = |names: [&str; 3]| {
        let [first, second, third] = names.map(|name| one_rule(name, "1", "action: Log"));
        [first, second, third]
    };
    for names in [["a", "a.b", "a-b"], ["a-b", "a.b", "a"]] {
        enforced(
            &policies(names),
            &[(
                "in tcp 10.0.0.2 80",
                "deny: Log a-b/0, Log a.b/0, Log a/0, Deny end of default (a)",
            )],
        );
    }
}

#[test]
fn a_policy_without_order_comes_after_every_number() {
    enforced(
        &[
            policy("a", "ingress: [{action: Deny}]"),
            one_rule("z", "1.0e+300", "action: Allow, protocol: TCP"),
        ],
        &[("in tcp 10.0.0.2 80", "allow: Allow z/0")],
    );
}

#[test]
fn the_safety_net_comes_last_of_all_in_its_tier() {
    enforced(
        &[
            safety_net(),
            one_rule("huge", "1000000", "action: Allow, protocol: UDP"),
            policy("unordered", "ingress: [{action: Deny, protocol: TCP}]"),
        ],
        &[
            ("in tcp 10.0.0.2 80", "deny: Deny unordered/0"),
            ("in udp 10.0.0.2 80", "allow: Allow huge/0"),
            (
                "in icmp 10.0.0.2 type 8",
                "allow: Allow net/0 | deny: Deny end of default (unordered)",
            ),
        ],
    );
}

#[test]
fn rules_stand_as_written() {
    let rules = "ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}, \
                 {action: Deny, protocol: TCP}, {action: Allow}]";
    enforced(
        &[policy("p", rules)],
        &[
            ("in tcp 10.0.0.2 80", "allow: Allow p/0"),
            ("in tcp 10.0.0.2 81", "deny: Deny p/1"),
            ("in udp 10.0.0.2 81", "allow: Allow p/2"),
        ],
    );
}
