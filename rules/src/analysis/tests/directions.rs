//! Both ends decide.

use super::*;

#[test]
fn egress_at_the_source_then_ingress_at_the_destination() {
    let worlds = network(&[
        policy(
            "out",
            "selector: role == 'db', egress: [{action: Log}, {action: Allow}]",
        ),
        policy("in", "selector: role == 'cache', ingress: [{action: Allow}]"),
    ]);
    assert_eq!(
        say(&worlds, "db cache tcp 80"),
        "allow: egress db out (egress rule 0), egress db out (egress rule 1), ingress cache in (ingress rule 0)"
    );
}

#[test]
fn after_a_deny_at_the_source_the_destination_is_not_asked() {
    let worlds = network(&[
        policy("out", "selector: role == 'db', egress: [{action: Deny}]"),
        policy("in", "selector: role == 'web', ingress: [{action: Log}]"),
    ]);
    assert_eq!(
        say(&worlds, "db web tcp 80"),
        "deny: egress db out (egress rule 0)"
    );
}

#[test]
fn an_unknown_address_has_no_policy_of_its_own() {
    let worlds = network(&[policy(
        "p",
        "types: [Ingress, Egress], ingress: [{action: Deny}], egress: [{action: Deny}]",
    )]);
    assert_eq!(
        say(&worlds, "192.0.2.1 web tcp 80"),
        "deny: ingress web p (ingress rule 0)"
    );
    assert_eq!(
        say(&worlds, "web 192.0.2.1 tcp 80"),
        "deny: egress web p (egress rule 0)"
    );
    assert_eq!(say(&worlds, "192.0.2.1 192.0.2.2 tcp 80"), "allow: ");
    // An address of a network set has labels, and no policies.
    assert_eq!(say(&worlds, "10.9.0.1 192.0.2.2 tcp 80"), "allow: ");
}

#[test]
fn the_net_at_either_end_is_taken_away_at_both() {
    let deny_db = policy("d", "selector: role == 'db', types: [Ingress, Egress]");
    let worlds = network(&[safety_net(), deny_db.clone()]);
    assert_eq!(
        say(&worlds, "db web tcp 80"),
        "allow: egress db net (egress rule 0), ingress web net (ingress rule 0) \
         | deny: egress db d (end of tier default)"
    );
    assert_eq!(
        say(&worlds, "web db tcp 80"),
        "allow: egress web net (egress rule 0), ingress db net (ingress rule 0) \
         | deny: egress web profile projectcalico-default-allow, ingress db d (end of tier default)"
    );
    // A net that the packet never gets to catches nothing.
    let worlds = network(&[
        policy("net", "order: 100000, ingress: [{action: Allow}]"),
        deny_db,
    ]);
    assert_eq!(
        say(&worlds, "db web tcp 80"),
        "deny: egress db d (end of tier default)"
    );
}
