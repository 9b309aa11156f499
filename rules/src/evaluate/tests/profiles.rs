//! What decides where no tier does.

use super::*;

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
