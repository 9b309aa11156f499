//! Names with several addresses.

use super::*;

#[test]
fn every_pair_of_one_family_must_agree() {
    let worlds = network(&[
        policy("egress", "types: [Egress], egress: [{action: Allow}]"),
        policy(
            "p",
            "selector: role == 'web', ingress: [{action: Deny, source: {nets: ['fd00::/64']}}, {action: Allow}]",
        ),
    ]);
    assert_eq!(
        problem(&worlds, "cache web tcp 80"),
        "the answer depends on the address: 10.0.0.3 to 10.0.0.1 is not decided as fd00::3 to fd00::1; \
         ask by address"
    );
    assert_eq!(ask(&worlds, "10.0.0.3 web tcp 80").enforced.verdict, "allow");
    assert_eq!(ask(&worlds, "cache fd00::1 tcp 80").enforced.verdict, "deny");
}

#[test]
fn there_must_be_a_pair() {
    assert_eq!(
        problem(&network(&[]), "10.0.0.2 fd00::1 tcp 80"),
        "\"10.0.0.2\" and \"fd00::1\" have no addresses of the same family"
    );
}

#[test]
fn icmp_is_asked_in_its_own_family_where_there_is_one() {
    let worlds = network(&[
        policy("egress", "types: [Egress], egress: [{action: Allow}]"),
        policy(
            "p",
            "selector: role == 'web', ingress: [{action: Allow, protocol: ICMP}, \
             {action: Allow, protocol: ICMPv6, source: {selector: has(role)}}]",
        ),
    ]);
    let decided = |text: &str| {
        let answer = ask(&worlds, text).enforced;
        format!("{} {}", answer.verdict, answer.steps.last().unwrap().phrase())
    };
    assert_eq!(decided("db web icmp"), "allow p (ingress rule 0)");
    assert_eq!(decided("db web icmpv6"), "allow p (ingress rule 1)");
    // Somebody who insists on the other family gets an answer.
    assert_eq!(decided("fd00::2 web icmp"), "deny p (end of tier default)");
}
