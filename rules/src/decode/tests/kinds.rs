//! Tiers, network sets and profiles.

use super::objects::{host_endpoint, object, set, tier};
use super::{good, refused};
use crate::net::{Direction, Protocol};
use crate::resource::{DEFAULT_ALLOW_PROFILE, ObjectName, Order, TierAction};

#[test]
fn tiers() {
    for (spec, order, action) in [
        ("{}", 1_000_000.0, TierAction::Deny),
        ("{order: ~, defaultAction: Pass}", 1_000_000.0, TierAction::Pass),
        ("{order: -1.5, defaultAction: Deny}", -1.5, TierAction::Deny),
        ("{order: 0x10}", 16.0, TierAction::Deny),
    ] {
        let snapshot = good(&tier("a", spec));
        assert_eq!(
            (snapshot.tiers["a"].order, snapshot.tiers["a"].default_action),
            (Order::new(order), action)
        );
        assert_eq!(
            snapshot.tiers["a"].position.as_ref().unwrap().to_string(),
            "t:3:18"
        );
    }
    for (spec, code, path, words) in [
        (
            "{order: '5'}",
            "wrong-type",
            "spec.order",
            "a finite number, found the text `5`",
        ),
        ("{order: .inf}", "wrong-type", "spec.order", "finite"),
        ("{order: .nan}", "wrong-type", "spec.order", "finite"),
        (
            "{defaultAction: deny}",
            "invalid-value",
            "spec.defaultAction",
            "did you mean `Deny`?",
        ),
        (
            "{defaultAction: Allow}",
            "invalid-value",
            "spec.defaultAction",
            "one of Deny, Pass",
        ),
        ("{oder: 5}", "unknown-field", "spec.oder", "did you mean `order`?"),
        ("[]", "wrong-type", "spec", "found a list"),
    ] {
        refused(&tier("a", spec), code, path, words);
    }
    for (name, spec) in [
        ("default", "{}"),
        ("default", "{order: 1000000, defaultAction: Deny}"),
        ("kube-admin", "{order: 1000, defaultAction: Pass}"),
        ("kube-baseline", "{order: 1e7, defaultAction: Pass}"),
    ] {
        let snapshot = good(&tier(name, spec));
        assert_eq!(snapshot.tiers.len(), 3);
        assert!(snapshot.tiers[name].position.is_some());
    }
    for (name, spec, words) in [
        (
            "default",
            "{order: 5}",
            "always has order 1000000 and default action Deny",
        ),
        ("default", "{defaultAction: Pass}", "always has"),
        (
            "kube-admin",
            "{}",
            "write `order: 1000` and `defaultAction: Pass`",
        ),
        ("kube-admin", "{order: 1000}", "always has"),
        (
            "kube-baseline",
            "{defaultAction: Pass}",
            "always has order 10000000",
        ),
    ] {
        refused(&tier(name, spec), "built-in-tier", "metadata.name", words);
    }
}

#[test]
fn network_sets() {
    let text = set(
        "{name: a, labels: {b: c}}",
        "[10.1.2.3/8, 192.0.2.1, 'fd00::1/64', '::1']",
    );
    let snapshot = good(&text);
    let nets = snapshot
        .network_sets
        .values()
        .next()
        .unwrap()
        .nets
        .iter()
        .map(ToString::to_string);
    assert_eq!(
        nets.collect::<Vec<_>>(),
        ["10.0.0.0/8", "192.0.2.1/32", "fd00::/64", "::1/128"]
    );
    assert_eq!(snapshot.network_sets.values().next().unwrap().labels["b"], "c");
    assert!(
        good(&object("GlobalNetworkSet", "{name: a}", "~"))
            .network_sets
            .values()
            .next()
            .unwrap()
            .nets
            .is_empty()
    );
    good(&set("{name: a}", "[0.0.0.0/0, '::/0']"));
    for (nets, code, path, words) in [
        ("[10.0.0.0/33]", "invalid-net", "spec.nets[0]", "is not a prefix"),
        ("[10.0.0]", "invalid-net", "spec.nets[0]", "is not a prefix"),
        (
            "[010.0.0.1]",
            "invalid-net",
            "spec.nets[0]",
            "without leading zeros",
        ),
        ("[example.com]", "invalid-net", "spec.nets[0]", "is not a prefix"),
        (
            "['::ffff:10.0.0.1']",
            "invalid-net",
            "spec.nets[0]",
            "write the IPv4 address: `10.0.0.1`",
        ),
        (
            "['::ffff:10.0.0.0/104']",
            "invalid-net",
            "spec.nets[0]",
            "IPv6 form",
        ),
        (
            "[10.0.0.0/8, 10.0.0.0/8]",
            "duplicate-entry",
            "spec.nets[1]",
            "there twice",
        ),
        ("[10]", "wrong-type", "spec.nets[0]", "found the number `10`"),
        ("10.0.0.0/8", "wrong-type", "spec.nets", "expected a list"),
    ] {
        refused(&set("{name: a}", nets), code, path, words);
    }
    refused(
        &object("GlobalNetworkSet", "{name: a}", "{net: []}"),
        "unknown-field",
        "spec.net",
        "did you mean `nets`?",
    );
}

#[test]
fn network_sets_in_a_namespace() {
    let id = ObjectName {
        namespace: Some("x".to_owned()),
        name: "a".to_owned(),
    };
    let snapshot = good(&object(
        "NetworkSet",
        "{name: a, namespace: x, labels: {b: c}}",
        "{nets: [10.0.0.1]}",
    ));
    assert_eq!(snapshot.network_sets[&id].id, id);
    assert_eq!(snapshot.network_sets[&id].nets[0].to_string(), "10.0.0.1/32");
    refused(
        &object(
            "NetworkSet",
            "{name: a, namespace: x, labels: {projectcalico.org/namespace: y}}",
            "{}",
        ),
        "reserved-label",
        "metadata.labels.projectcalico.org/namespace",
        "NetworkSet must not",
    );
}

#[test]
fn profiles() {
    let profile = |spec: &str| object("Profile", "{name: kns.x}", spec);
    let snapshot = good(&profile(
        "{labelsToApply: {pcns.env: prod}, ingress: [{action: Pass}], egress: [{action: Deny, protocol: TCP}]}",
    ));
    let read = &snapshot.profiles["kns.x"];
    assert_eq!(read.labels_to_apply["pcns.env"], "prod");
    assert_eq!(read.rules(Direction::Ingress)[0].action.as_str(), "Pass");
    assert_eq!(
        read.rules(Direction::Egress)[0].protocol.unwrap().protocol,
        Protocol::TCP
    );
    assert!(read.position.is_some());
    assert!(snapshot.profiles[DEFAULT_ALLOW_PROFILE].position.is_none());
    good(&profile("~"));
    for (spec, code, path, words) in [
        ("{labels: {}}", "unknown-field", "spec.labels", "labelsToApply"),
        (
            "{labelsToApply: {'a b': c}}",
            "invalid-label",
            "spec.labelsToApply.a b",
            "",
        ),
        (
            "{ingress: [{action: Alow}]}",
            "invalid-value",
            "spec.ingress[0].action",
            "Allow",
        ),
        ("[]", "wrong-type", "spec", "the fields of the spec of a Profile"),
    ] {
        refused(&profile(spec), code, path, words);
    }
    refused(
        &object("Profile", "{name: projectcalico-default-allow}", "{}"),
        "built-in-profile",
        "metadata.name",
        "exists unwritten",
    );
}

#[test]
fn profiles_are_found_wherever_they_are_written() {
    let endpoint = host_endpoint("{name: a}", "interfaceName: e, profiles: [one, two]");
    let profile = |name: &str| object("Profile", &format!("{{name: {name}}}"), "{}");
    let all = [endpoint.clone(), profile("one"), profile("two")].join("---\n");
    assert_eq!(good(&all).host_endpoints["a"].profiles, ["one", "two"]);
    refused(
        &[endpoint, profile("one")].join("---\n"),
        "unknown-profile",
        "spec.profiles[1]",
        "there is no profile `two`",
    );
}
