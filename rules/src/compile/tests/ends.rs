//! The ends of tiers, with and without a safety net.

use super::*;

/// The counters of the end of the default tier, and whether they are what would be without the net.
fn ends(resources: &[String]) -> Vec<(String, WorldKind, bool)> {
    let compiled = compiled(resources);
    let ends = compiled
        .counters
        .iter()
        .filter(|(_, counted)| counted.by == CountedBy::EndOfTier("default".to_owned()));
    ends.map(|(name, counted)| (name.to_string(), counted.world, counted.without_safety_net))
        .collect()
}

#[test]
fn each_world_counts_its_own() {
    let end = |name: &str, world, without| (name.to_owned(), world, without);
    let (enforced, lockdown) = (policy("p", ""), staged("q", ""));
    assert_eq!(
        ends(&[enforced.clone(), lockdown.clone()]),
        [
            end("pending/tier/default/in/end", WorldKind::Pending, false),
            end("tier/default/in/end", WorldKind::Enforced, false),
        ]
    );
    // Nothing enforced ends there: the pending world counts in the series that promotion goes on with.
    assert_eq!(
        ends(std::slice::from_ref(&lockdown)),
        [end("tier/default/in/end", WorldKind::Pending, false)]
    );
    // Behind the net the enforced end is out of reach, and the same holds.
    let net = policy("net", "order: 100000, ingress: [{action: Allow}]");
    assert_eq!(
        ends(&[enforced, lockdown, net]),
        [end("tier/default/in/end", WorldKind::Pending, true)]
    );
}

#[test]
fn a_net_marks_all_that_comes_behind_it() {
    let compiled = compiled(&[
        tier("early", "order: 1"),
        policy("net", "tier: early, order: 100000, ingress: [{action: Allow}]"),
        ingress("p", "", &["action: Log"]),
        staged("q", "tier: kube-baseline, ingress: [{action: Deny}]"),
    ]);
    let pending = compiled
        .counters
        .iter()
        .filter(|(_, counted)| counted.world == WorldKind::Pending);
    let without: Vec<(&str, bool)> = pending
        .map(|(name, counted)| (name.as_str(), counted.without_safety_net))
        .collect();
    assert_eq!(
        without,
        [
            ("gnp/q/in/deny", true),
            ("pending/gnp/net/in/allow", false),
            ("pending/gnp/p/in/log", true),
            ("pending/profile/none/in", true),
            ("pending/profile/projectcalico-default-allow/in", true),
            ("pending/tier/default/in/end", true),
            ("tier/kube-baseline/in/end", true),
        ]
    );
}
