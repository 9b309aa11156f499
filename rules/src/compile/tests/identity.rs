//! Counters are known by what they count, and outlive changes around it.

use super::*;

/// The counter of the rule of policy `p` that says this.
fn counter(resources: &[String], text: &str) -> String {
    let compiled = compiled(resources);
    let says = |counted: &Counted| matches!(&counted.by, CountedBy::Rule { policy, text: said, .. } if policy.name == "p" && **said == *text);
    let mut found = compiled.counters.iter().filter(|(_, counted)| says(counted));
    let (name, _) = found.next().unwrap();
    assert_eq!(found.next(), None, "{text} has one counter");
    name.to_string()
}

#[test]
fn survives_reorder_and_edits_elsewhere() {
    let text = "allow tcp to ports 80";
    let name = counter(&[ingress("p", "", &[HTTP])], text);
    assert!(name.starts_with("gnp/p/in/allow-tcp-80-"), "{name}");
    for changed in [
        ingress("p", "", &[NTP, HTTP]),
        ingress("p", "", &[HTTP, "action: Deny"]),
        ingress("p", "order: 7, ", &[HTTP]),
        ingress("p", "selector: has(role), ", &[HTTP]),
        ingress("p", "tier: kube-baseline, ", &[HTTP]),
        ingress("p", "types: [Ingress, Egress], ", &[HTTP]),
    ] {
        let among = [changed, policy("other", "order: 0")];
        assert_eq!(counter(&among, text), name, "{}", among.concat());
    }
}

#[test]
fn survives_promotion() {
    let text = "allow tcp to ports 80";
    let enforced = ingress("p", "", &[HTTP]);
    let as_staged = staged("p", &format!("ingress: [{{{HTTP}}}]"));
    assert_eq!(counter(&[as_staged], text), counter(&[enforced], text));
}

#[test]
fn in_two_worlds_is_two_counters_and_the_enforced_one_keeps_its_name() {
    let compiled = compiled(&[
        ingress("p", "", &[HTTP]),
        staged("p", &format!("ingress: [{{{HTTP}}}, {{{NTP}}}]")),
    ]);
    let http = counters(&compiled, "gnp/p/in/allow-tcp").remove(0);
    let ntp = counters(&compiled, "gnp/p/in/allow-udp").remove(0);
    let world = |name: &str| compiled.counters[&Name::new(name)].world;
    assert_eq!(world(&http), WorldKind::Enforced);
    assert_eq!(world(&format!("pending/{http}")), WorldKind::Pending);
    assert_eq!(world(&ntp), WorldKind::Pending);
    assert_eq!(counters(&compiled, "pending/gnp/p"), [format!("pending/{http}")]);
}

#[test]
fn a_name_outlives_what_the_rule_says() {
    let named = |rule: &str| {
        let rule = format!("{rule}, metadata: {{annotations: {{palisade.dev/rule-name: web}}}}");
        counters(&compiled(&[ingress("p", "", &[&rule])]), "gnp/p")
    };
    assert_eq!(named(HTTP), ["gnp/p/in/web"]);
    assert_eq!(named(NTP), ["gnp/p/in/web"]);
}

#[test]
fn rules_that_say_the_same_are_numbered() {
    let name = "action: Allow, metadata: {annotations: {palisade.dev/rule-name: allow.2}}";
    let compiled = compiled(&[ingress(
        "p",
        "",
        &[name, "action: Allow", "action: Allow", "action: Allow"],
    )]);
    assert_eq!(
        counters(&compiled, "gnp/p"),
        [
            "gnp/p/in/allow",
            "gnp/p/in/allow.2",
            "gnp/p/in/allow_2",
            "gnp/p/in/allow_3"
        ]
    );
}

#[test]
fn directions_and_policies_count_apart() {
    let both = "ingress: [{action: Allow}], egress: [{action: Allow}]";
    let compiled = compiled(&[policy("p", both), policy("q", both)]);
    assert_eq!(
        counters(&compiled, "gnp/"),
        [
            "gnp/p/in/allow",
            "gnp/p/out/allow",
            "gnp/q/in/allow",
            "gnp/q/out/allow"
        ]
    );
}

#[test]
fn the_safety_net_goes_on_in_the_series_it_began_alone() {
    let alone = safety_net_only("net");
    let compiled = compiled(&[safety_net()]);
    for (name, comment) in &alone.counters {
        assert_eq!(compiled.ruleset.counters.get(name), Some(comment), "{name}");
    }
    assert_eq!(alone.counters.len(), 2);
}
