//! What each kind of step says.

use super::*;

/// One step of the enforced answer, as JSON, without what every step has alike.
fn step(worlds: &Worlds, text: &str, index: usize) -> Value {
    let answer = ask(worlds, text);
    let mut step = serde_json::to_value(&answer.enforced.steps[index]).unwrap();
    let fields = step.as_object_mut().unwrap();
    for common in ["endpoint", "direction", "source"] {
        fields.remove(common);
    }
    step
}

#[test]
fn of_every_kind() {
    let rule = |action: &str, index: i64, name: Value| {
        json!({
            "tier": "default", "kind": "GlobalNetworkPolicy", "namespace": null, "name": "p",
            "rule_index": index, "rule_name": name, "action": action, "trigger": null,
        })
    };
    let other = |kind: &str, name: &str, index: i64, action: &str| {
        json!({
            "tier": "", "kind": kind, "namespace": null, "name": name,
            "rule_index": index, "rule_name": null, "action": action, "trigger": null,
        })
    };
    let named = "{action: Pass, protocol: TCP, metadata: {annotations: {palisade.dev/rule-name: on}}}";
    let worlds = network(&[
        policy(
            "p",
            &format!("selector: has(role), ingress: [{{action: Log}}, {named}]"),
        ),
        object("Tier", "late", "order: 2000000, defaultAction: Pass"),
        policy("late", "tier: late"),
    ]);
    let unknown = "192.0.2.1";
    let tcp = format!("{unknown} bare tcp 80");
    assert_eq!(step(&worlds, &tcp, 0), rule("Log", 0, Value::Null));
    assert_eq!(step(&worlds, &tcp, 1), rule("Pass", 1, json!("on")));
    assert_eq!(
        step(&worlds, &tcp, 2),
        json!({
            "tier": "late", "kind": "EndOfTier", "namespace": null, "name": "",
            "rule_index": -1, "rule_name": null, "action": "Pass",
            "trigger": {
                "kind": "GlobalNetworkPolicy", "tier": "late", "namespace": null, "name": "late",
            },
        })
    );
    assert_eq!(step(&worlds, &tcp, 3), other("Profile", "", -1, "Deny"));
    assert_eq!(
        step(&worlds, &format!("{unknown} web tcp 80"), 3),
        other("Profile", "projectcalico-default-allow", 0, "Allow")
    );
    assert_eq!(
        step(&worlds, &format!("{unknown} web tcp 22"), 0),
        other("Failsafe", "tcp:22", -1, "Allow")
    );
    assert_eq!(
        step(&worlds, "web bare tcp 80", 0),
        other("Loopback", "", -1, "Allow")
    );
    assert_eq!(say(&worlds, "web bare tcp 80"), "allow: egress web loopback");
}

#[test]
fn a_staged_policy_has_the_kind_it_is_written_with() {
    let worlds = network(&[staged("p", "ingress: [{action: Deny}]")]);
    let answer = ask(&worlds, "192.0.2.1 web tcp 80");
    let [denies] = answer.pending.steps.as_slice() else {
        panic!("{answer:?}")
    };
    assert_eq!(denies.kind, "StagedGlobalNetworkPolicy");
    assert_eq!(answer.enforced.verdict, "allow");
}
