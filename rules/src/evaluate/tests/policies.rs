//! What a policy governs, Log, and what steps say of rules.

use super::*;

#[test]
fn types_follow_the_rules_that_are_written() {
    let allowed = "allow: Allow profile";
    let denied = "deny: Deny end of default (p)";
    for (spec, ingress, egress) in [
        ("", denied, allowed),
        ("ingress: [{action: Log, protocol: 99}]", denied, allowed),
        ("egress: [{action: Log, protocol: 99}]", allowed, denied),
        (
            "ingress: [{action: Log, protocol: 99}], egress: [{action: Log, protocol: 99}]",
            denied,
            denied,
        ),
        ("types: [Egress]", allowed, denied),
        ("types: [Ingress, Egress]", denied, denied),
        // Rules of a direction that is not among the types are never asked.
        ("types: [Egress], ingress: [{action: Allow}]", allowed, denied),
    ] {
        enforced(
            &[policy("p", spec)],
            &[("in tcp 10.0.0.2 80", ingress), ("out tcp 10.0.0.2 80", egress)],
        );
    }
}

#[test]
fn log_goes_on() {
    enforced(
        &[policy(
            "p",
            "ingress: [{action: Log}, {action: Log, protocol: UDP}, {action: Allow, protocol: TCP}]",
        )],
        &[
            ("in tcp 10.0.0.2 80", "allow: Log p/0, Allow p/2"),
            (
                "in udp 10.0.0.2 80",
                "deny: Log p/0, Log p/1, Deny end of default (p)",
            ),
        ],
    );
}

#[test]
fn a_rule_keeps_the_name_it_was_given() {
    let rule = "{action: Allow, metadata: {annotations: {palisade.dev/rule-name: http}}}";
    enforced(
        &[policy("p", &format!("ingress: [{rule}]"))],
        &[("in tcp 10.0.0.2 80", "allow: Allow p/0 (http)")],
    );
}

#[test]
fn steps_say_where_their_rule_is_written() {
    let text = "\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: p
spec:
  ingress:
    - action: Log
    - action: Deny
      protocol: UDP
";
    let worlds = resolve(&snapshot(&[NETWORK, text]), host("one"));
    let web = crate::testing::endpoint(&worlds, "web");
    let packet = Packet {
        source: "10.0.0.2".parse().unwrap(),
        destination: "10.0.0.1".parse().unwrap(),
        protocol: Protocol::TCP,
        source_port: 40_000,
        destination_port: 80,
        icmp_type: 0,
        icmp_code: 0,
    };
    let decision = evaluate(&worlds, &worlds.enforced, web, Direction::Ingress, &packet);
    let places: Vec<String> = decision
        .outcome
        .steps
        .iter()
        .map(|step| step.position.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(places, ["1.yaml:7:7", "1.yaml:4:9"]);
}
