//! What decides where no tier does.

use super::*;

/// A host endpoint with these profiles, and profiles with these rules.
fn with_profiles(profiles: &str, rules: &[(&str, &str)]) -> Worlds {
    let mut resources: Vec<String> = rules
        .iter()
        .map(|(name, rules)| object("Profile", name, rules))
        .collect();
    resources.push(object(
        "HostEndpoint",
        "h",
        &format!("node: one, interfaceName: eth7, expectedIPs: [10.0.0.7], profiles: [{profiles}]"),
    ));
    network(&resources)
}

/// What the endpoint says.
fn say(worlds: &Worlds, packet: &str) -> String {
    ask_at(worlds, "h", WorldKind::Enforced, packet)
}

const TCP_ONLY: (&str, &str) = (
    "tcp-only",
    "ingress: [{action: Allow, protocol: TCP}], egress: [{action: Deny, protocol: UDP}]",
);

#[test]
fn they_decide_where_no_tier_governs() {
    let worlds = network(&[]);
    for packet in ["in tcp 10.0.0.2 80", "out udp fd00::2 80"] {
        assert_eq!(ask(&worlds, WorldKind::Enforced, packet), "allow: Allow profile");
        assert_eq!(
            ask_at(&worlds, "bare", WorldKind::Enforced, packet),
            "deny: Deny no profile"
        );
    }
}

#[test]
fn a_failsafe_holds_without_a_profile_too() {
    assert_eq!(
        ask_at(&network(&[]), "bare", WorldKind::Enforced, "in tcp 10.0.0.2 22"),
        "allow: Allow failsafe tcp:22"
    );
}

#[test]
fn each_is_asked_in_turn_and_then_all_is_denied() {
    let udp_only = (
        "udp-only",
        "ingress: [{action: Log}, {action: Allow, protocol: UDP}]",
    );
    let worlds = with_profiles("tcp-only, udp-only", &[TCP_ONLY, udp_only]);
    assert_eq!(
        say(&worlds, "in tcp 10.0.0.2 80"),
        "allow: Allow profile tcp-only/0"
    );
    assert_eq!(
        say(&worlds, "in udp 10.0.0.2 80"),
        "allow: Log profile udp-only/0, Allow profile udp-only/1"
    );
    assert_eq!(
        say(&worlds, "in icmp 10.0.0.2 type 8"),
        "deny: Log profile udp-only/0, Deny no profile"
    );
    assert_eq!(
        say(&worlds, "out udp 10.0.0.2 80"),
        "deny: Deny profile tcp-only/0"
    );
    assert_eq!(say(&worlds, "out tcp 10.0.0.2 80"), "deny: Deny no profile");
}

#[test]
fn the_order_is_the_endpoints() {
    let deny = ("deny", "ingress: [{action: Deny}]");
    let packet = "in tcp 10.0.0.2 80";
    for (profiles, expected) in [
        ("tcp-only, deny", "allow: Allow profile tcp-only/0"),
        ("deny, tcp-only", "deny: Deny profile deny/0"),
        ("projectcalico-default-allow, deny", "allow: Allow profile"),
    ] {
        let worlds = with_profiles(profiles, &[TCP_ONLY, deny]);
        assert_eq!(say(&worlds, packet), expected, "{profiles}");
    }
}

#[test]
fn a_pass_goes_to_the_next_profile() {
    let passes = (
        "passes",
        "ingress: [{action: Pass, protocol: TCP}, {action: Deny}]",
    );
    let worlds = with_profiles("passes, tcp-only", &[TCP_ONLY, passes]);
    assert_eq!(
        say(&worlds, "in tcp 10.0.0.2 80"),
        "allow: Pass profile passes/0, Allow profile tcp-only/0"
    );
    assert_eq!(say(&worlds, "in udp 10.0.0.2 80"), "deny: Deny profile passes/1");
    let alone = with_profiles("passes", &[passes]);
    assert_eq!(
        say(&alone, "in tcp 10.0.0.2 80"),
        "deny: Pass profile passes/0, Deny no profile"
    );
}

#[test]
fn a_pass_out_of_the_last_tier_gets_there() {
    let mut resources = vec![policy("p", "selector: role == 'web', ingress: [{action: Pass}]")];
    enforced(
        &resources,
        &[("in tcp 10.0.0.2 80", "allow: Pass p/0, Allow profile")],
    );
    resources.push(tier("late", "order: 2000000"));
    resources.push(policy(
        "q",
        "tier: late, selector: role == 'web', ingress: [{action: Log}]",
    ));
    enforced(
        &resources,
        &[(
            "in tcp 10.0.0.2 80",
            "deny: Pass p/0, Log q/0, Deny end of late (q)",
        )],
    );
}
