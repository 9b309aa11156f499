//! Tiers, network sets and host endpoints.

use super::objects::{host_endpoint, object, set, tier};
use super::{good, refused};
use crate::resource::{InterfaceName, Order, TierAction};

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
    let nets = snapshot.network_sets["a"].nets.iter().map(ToString::to_string);
    assert_eq!(
        nets.collect::<Vec<_>>(),
        ["10.0.0.0/8", "192.0.2.1/32", "fd00::/64", "::1/128"]
    );
    assert_eq!(snapshot.network_sets["a"].labels["b"], "c");
    assert!(
        good(&object("GlobalNetworkSet", "{name: a}", "~")).network_sets["a"]
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
fn host_endpoints() {
    for spec in [
        "interfaceName: eth0",
        "interfaceName: '*'",
        "interfaceName: br-lan.10_x",
        "expectedIPs: [10.0.0.1, 'fd00::1']",
        "interfaceName: '', expectedIPs: [10.0.0.1]",
        "interfaceName: e, profiles: [], ports: []",
        "interfaceName: e, profiles: [projectcalico-default-allow]",
    ] {
        good(&host_endpoint("{name: a}", spec));
    }
    let any = good(&host_endpoint("{name: a}", "interfaceName: '*'"));
    assert_eq!(any.host_endpoints["a"].interface, Some(InterfaceName::Any));
    for (spec, code, path, words) in [
        (
            "profiles: []",
            "missing-field",
            "spec",
            "`interfaceName` or `expectedIPs`",
        ),
        (
            "expectedIPs: []",
            "missing-field",
            "spec",
            "`interfaceName` or `expectedIPs`",
        ),
        (
            "interfaceName: waytoolongforlinux",
            "invalid-name",
            "spec.interfaceName",
            "1 to 15",
        ),
        (
            "interfaceName: 'eth 0'",
            "invalid-name",
            "spec.interfaceName",
            "1 to 15",
        ),
        (
            "interfaceName: eth*",
            "invalid-name",
            "spec.interfaceName",
            "1 to 15",
        ),
        ("interfaceName: 0", "wrong-type", "spec.interfaceName", "quotes"),
        (
            "expectedIPs: [10.0.0.1/24]",
            "invalid-address",
            "spec.expectedIPs[0]",
            "write `10.0.0.1`",
        ),
        (
            "expectedIPs: [host]",
            "invalid-address",
            "spec.expectedIPs[0]",
            "not an IP address",
        ),
        (
            "expectedIPs: [10.0.0.1, 10.0.0.1]",
            "duplicate-entry",
            "spec.expectedIPs[1]",
            "twice",
        ),
        (
            "expectedIPs: ['fd00::1', 'fd00:0::1']",
            "duplicate-entry",
            "spec.expectedIPs[1]",
            "twice",
        ),
        (
            "interfaceName: e, profiles: [mine]",
            "unknown-profile",
            "spec.profiles[0]",
            "no profile `mine`",
        ),
        (
            "interfaceName: e, profiles: [projectcalico-default-allow, projectcalico-default-allow]",
            "duplicate-entry",
            "spec.profiles[1]",
            "twice",
        ),
        (
            "interfaceName: e, ports: [{name: http, protocol: TCP, port: 80}]",
            "unsupported",
            "spec.ports",
            "named ports",
        ),
        (
            "interfacename: e, expectedIPs: [10.0.0.1]",
            "unknown-field",
            "spec.interfacename",
            "did you mean `interfaceName`?",
        ),
    ] {
        refused(&host_endpoint("{name: a}", spec), code, path, words);
    }
    let with_node = |node: &str| {
        object(
            "HostEndpoint",
            "{name: a}",
            &format!("{{node: {node}, interfaceName: e}}"),
        )
    };
    good(&with_node("Host_1.example.com"));
    refused(
        &with_node("'a b'"),
        "invalid-name",
        "spec.node",
        "not a name of a host",
    );
    refused(&with_node(&"n".repeat(254)), "invalid-name", "spec.node", "253");
    refused(&with_node("''"), "invalid-name", "spec.node", "1 to 253");
    refused(&with_node("~"), "missing-field", "spec.node", "no value");
    refused(
        &object("HostEndpoint", "{name: a}", "~"),
        "missing-field",
        "spec",
        "no value",
    );
}
