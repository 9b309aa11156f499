//! Rules.

use super::policies::{good_policy, good_rule, policy, rule, source};
use super::{good, refused};
use crate::net::{Family, Protocol};
use crate::resource::{IcmpMatch, ProtocolMatch};

#[test]
fn actions_versions_and_protocols() {
    for (fields, protocol, family) in [
        ("protocol: TCP", 6, None),
        ("protocol: UDPLite", 136, None),
        ("protocol: ICMP", 1, Some(Family::V4)),
        ("protocol: ICMPv6", 58, Some(Family::V6)),
        ("protocol: 1", 1, None),
        ("protocol: 255", 255, None),
        ("protocol: '6'", 6, None),
        ("protocol: ICMP, ipVersion: 4", 1, Some(Family::V4)),
        ("protocol: 58, ipVersion: 6", 58, None),
        ("protocol: SCTP, ipVersion: 6", 132, None),
    ] {
        let protocol = ProtocolMatch {
            protocol: Protocol(protocol),
            family,
        };
        assert_eq!(good_rule(fields).protocol, Some(protocol), "{fields}");
        let not = good_rule(&fields.replace("protocol", "notProtocol"));
        assert_eq!(not.not_protocol, Some(protocol), "{fields}");
    }
    assert_eq!(good_rule("ipVersion: ~").ip_version, None);
    let icmp = |icmp_type, code| Some(IcmpMatch { icmp_type, code });
    for (fields, is, is_not) in [
        ("protocol: ICMP, icmp: {type: 8}", icmp(8, None), None),
        (
            "protocol: 58, icmp: {type: 0, code: 255}",
            icmp(0, Some(255)),
            None,
        ),
        ("notICMP: {type: 254, code: 0}", None, icmp(254, Some(0))),
        (
            "protocol: ICMPv6, icmp: {type: 1}, notICMP: {type: 1, code: 4}",
            icmp(1, None),
            icmp(1, Some(4)),
        ),
    ] {
        let rule = good_rule(fields);
        assert_eq!((rule.icmp, rule.not_icmp), (is, is_not), "{fields}");
    }
    for (fields, code, path, words) in [
        (
            "protocol: tcp",
            "invalid-value",
            "protocol",
            "did you mean `TCP`?",
        ),
        (
            "protocol: IGMP",
            "invalid-value",
            "protocol",
            "one of TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite",
        ),
        ("protocol: 0", "invalid-protocol", "protocol", "from 1 to 255"),
        ("protocol: 256", "invalid-protocol", "protocol", "from 1 to 255"),
        ("protocol: -6", "invalid-protocol", "protocol", "from 1 to 255"),
        ("protocol: '0'", "invalid-protocol", "protocol", "from 1 to 255"),
        (
            "protocol: '99999999999999999999'",
            "invalid-value",
            "protocol",
            "not a protocol",
        ),
        ("protocol: [TCP]", "wrong-type", "protocol", "found a list"),
        ("ipVersion: 5", "wrong-type", "ipVersion", "expected 4 or 6"),
        ("ipVersion: '4'", "wrong-type", "ipVersion", "found the text `4`"),
        (
            "ipVersion: 6, protocol: ICMP",
            "mixed-families",
            "protocol",
            "ICMP belongs to IPv4",
        ),
        (
            "ipVersion: 6, notProtocol: 1",
            "mixed-families",
            "notProtocol",
            "ICMP belongs to IPv4",
        ),
        (
            "ipVersion: 4, protocol: 58",
            "mixed-families",
            "protocol",
            "ICMPv6 belongs to IPv6",
        ),
        (
            "icmp: {type: 8}",
            "icmp-without-protocol",
            "icmp",
            "add `protocol: ICMP`",
        ),
        (
            "protocol: TCP, icmp: {type: 8}",
            "icmp-without-protocol",
            "icmp",
            "needs a protocol that is ICMP",
        ),
        (
            "protocol: ICMP, icmp: {code: 0}",
            "missing-field",
            "icmp",
            "needs `type`",
        ),
        ("notICMP: {type: 255}", "out-of-range", "notICMP.type", "0 to 254"),
        (
            "notICMP: {type: 3, code: 256}",
            "out-of-range",
            "notICMP.code",
            "0 to 255",
        ),
        (
            "http: {methods: [GET]}",
            "unsupported",
            "http",
            "does not enforce",
        ),
        (
            "sources: {}",
            "unknown-field",
            "sources",
            "did you mean `source`?",
        ),
        (
            "source: [10.0.0.0/8]",
            "wrong-type",
            "source",
            "the fields of a `source`",
        ),
    ] {
        refused(&rule(fields), code, &format!("spec.ingress[0].{path}"), words);
    }
    for (item, code, path, words) in [
        (
            "{action: allow}",
            "invalid-value",
            "[0].action",
            "did you mean `Allow`?",
        ),
        (
            "{action: Drop}",
            "invalid-value",
            "[0].action",
            "one of Allow, Deny, Pass, Log",
        ),
        ("{protocol: TCP}", "missing-field", "[0]", "needs `action`"),
        ("~", "wrong-type", "[0]", "found nothing"),
        ("Allow", "wrong-type", "[0]", "the fields of a rule"),
    ] {
        refused(
            &policy(&format!("{{egress: [{item}]}}")),
            code,
            &format!("spec.egress{path}"),
            words,
        );
    }
}

#[test]
fn nets() {
    for nets in [
        "[10.0.0.0/8]",
        "[0.0.0.0/0]",
        "['::/0']",
        "[10.1.2.3/32, 10.0.0.0/8]",
        "['fd00::/8']",
    ] {
        good(&source(&format!("nets: {nets}")));
    }
    for (fields, code, path, words) in [
        (
            "nets: [10.0.0.1]",
            "invalid-net",
            "nets[0]",
            "write `10.0.0.1/32`",
        ),
        (
            "nets: ['fd00::1']",
            "invalid-net",
            "nets[0]",
            "write `fd00::1/128`",
        ),
        (
            "nets: [10.0.0.1/8]",
            "invalid-net",
            "nets[0]",
            "write `10.0.0.0/8` for the whole prefix, or `10.0.0.1/32`",
        ),
        (
            "nets: [10.0.0.0/8, 10.0.0.0/8]",
            "duplicate-entry",
            "nets[1]",
            "twice",
        ),
        (
            "nets: []",
            "empty-list",
            "nets",
            "remove `nets` to match anything",
        ),
        ("nets: ~", "empty-list", "nets", "`nets` is empty"),
        ("notNets: []", "empty-list", "notNets", "`notNets` is empty"),
        (
            "notNets: [0.0.0.0/0]",
            "invalid-net",
            "notNets",
            "excludes every address",
        ),
        (
            "notNets: ['0::/0']",
            "invalid-net",
            "notNets",
            "excludes every address",
        ),
        (
            "nets: [10.0.0.0/8, 'fd00::/8']",
            "mixed-families",
            "nets[1]",
            "both IPv4 and IPv6",
        ),
        (
            "nets: [10.0.0.0/8], notNets: ['fd00::/8']",
            "mixed-families",
            "notNets[0]",
            "both IPv4 and IPv6",
        ),
        (
            "nets: 10.0.0.0/8",
            "wrong-type",
            "nets",
            "expected a list of prefixes",
        ),
        (
            "services: {name: a}",
            "unsupported",
            "services",
            "does not enforce",
        ),
        ("net: []", "unknown-field", "net", "did you mean `nets`?"),
    ] {
        refused(
            &source(fields),
            code,
            &format!("spec.ingress[0].source.{path}"),
            words,
        );
    }
    let both = "source: {nets: [10.0.0.0/8]}, destination: {notNets: ['fd00::/8']}";
    refused(
        &rule(both),
        "mixed-families",
        "spec.ingress[0].destination.notNets[0]",
        "one rule for each family",
    );
    let wrong = "ipVersion: 6, source: {nets: [10.0.0.0/8]}";
    refused(
        &rule(wrong),
        "mixed-families",
        "spec.ingress[0].source.nets[0]",
        "IPv4 in a rule for IPv6 only",
    );
    good(&rule("ipVersion: 6, source: {nets: ['fd00::/8']}"));
}

#[test]
fn ports() {
    for ports in [
        "[1, 65535]",
        "['80']",
        "[8000:8059]",
        "['80:80']",
        "[80, 80]",
        "[0x50]",
    ] {
        good(&source(&format!("ports: {ports}")));
        good(&source(&format!("notPorts: {ports}")));
    }
    for (ports, code, path, words) in [
        ("[0]", "invalid-port", "[0]", "from 1 to 65535"),
        ("[65536]", "invalid-port", "[0]", "from 1 to 65535"),
        ("['0:5']", "invalid-port", "[0]", "from 1 to 65535"),
        ("[8059:8000]", "invalid-port", "[0]", "write `8000:8059`"),
        (
            "[8000-8059]",
            "invalid-port",
            "[0]",
            "a range is written with a colon",
        ),
        ("[':80']", "invalid-port", "[0]", "is not a port"),
        ("['+80']", "invalid-port", "[0]", "is not a port"),
        ("[80.5]", "invalid-port", "[0]", "is not a port"),
        ("[[80]]", "wrong-type", "[0]", "found a list"),
        ("[Http]", "invalid-port", "[0]", "lower-case letters"),
        ("[a--b]", "invalid-port", "[0]", "at most 15"),
        ("[http_alt]", "invalid-port", "[0]", "is not a port"),
        ("[abcdefghijklmnop]", "invalid-port", "[0]", "at most 15"),
        ("[]", "empty-list", "", "is empty"),
        ("~", "empty-list", "", "is empty"),
        ("80", "wrong-type", "", "expected a list of ports"),
    ] {
        for name in ["ports", "notPorts"] {
            let path = format!("spec.ingress[0].source.{name}{path}");
            refused(&source(&format!("{name}: {ports}")), code, &path, words);
        }
    }
    for protocol in ["TCP", "UDP", "SCTP", "6", "'132'"] {
        good(&rule(&format!(
            "protocol: {protocol}, destination: {{ports: [80]}}"
        )));
    }
    let path = "spec.ingress[0].destination.ports";
    for (protocol, words) in [
        ("protocol: ICMP", "the protocol icmp has no ports"),
        ("protocol: UDPLite", "has no ports"),
        ("protocol: 47", "the protocol 47 has no ports"),
        ("notProtocol: TCP", "add `protocol: TCP`, `UDP` or `SCTP`"),
    ] {
        refused(
            &rule(&format!("{protocol}, destination: {{ports: [80]}}")),
            "ports-without-protocol",
            path,
            words,
        );
    }
    // A protocol that cannot be read is one mistake, not two.
    refused(
        &rule("protocol: tcp, destination: {ports: [80]}"),
        "invalid-value",
        "spec.ingress[0].protocol",
        "",
    );
}

#[test]
fn names_of_rules() {
    let named = |name: &str| {
        format!("{{action: Allow, metadata: {{annotations: {{palisade.dev/rule-name: {name}}}}}}}")
    };
    let one = |name: &str| policy(&format!("{{ingress: [{}]}}", named(name)));
    let path = "spec.ingress[0].metadata.annotations.palisade.dev/rule-name";
    assert_eq!(
        good_policy(&one("ssh-in")).ingress[0].name.as_deref(),
        Some("ssh-in")
    );
    for (name, code) in [
        ("''", "invalid-name"),
        ("A", "invalid-name"),
        ("'a b'", "invalid-name"),
        ("5", "wrong-type"),
    ] {
        refused(&one(name), code, path, "");
    }
    let both = |first: &str, second: &str| policy(&format!("{{ingress: [{first}, {second}]}}"));
    refused(
        &both(&named("a"), &named("a")),
        "duplicate-entry",
        "spec.ingress[1].metadata.annotations.palisade.dev/rule-name",
        "twice",
    );
    // The other direction is another place, and other annotations are nobody's business.
    good(&policy(&format!("{{ingress: [{0}], egress: [{0}]}}", named("a"))));
    assert_eq!(good_rule("metadata: {annotations: {x: y}}").name, None);
    refused(
        &rule("metadata: {name: x}"),
        "unknown-field",
        "spec.ingress[0].metadata.name",
        "annotations",
    );
}

#[test]
fn annotations_of_rules() {
    let annotated = |annotations: &str| rule(&format!("metadata: {{annotations: {annotations}}}"));
    let rule = good_policy(&annotated(
        "{x: y, palisade.dev/rule-name: ssh, Example.com/A: 'b c', empty: '', nothing: ~}",
    ))
    .ingress
    .remove(0);
    assert_eq!(rule.name.as_deref(), Some("ssh"));
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        rule.annotations,
        [pair("Example.com/A", "b c"), pair("empty", ""), pair("x", "y")]
    );
    assert_eq!(good_rule("metadata: {}").annotations, []);
    let large = format!("{{a: {}}}", "x".repeat(300_000));
    for (annotations, code, path) in [
        ("{a: 5}", "wrong-type", ".a"),
        ("{'a b': c}", "invalid-annotation", ".a b"),
        ("[a]", "wrong-type", ""),
        (&large, "too-long", ""),
    ] {
        let path = format!("spec.ingress[0].metadata.annotations{path}");
        refused(&annotated(annotations), code, &path, "");
    }
}

#[test]
fn limits_hold_on_either_side() {
    for (field, code, path) in [
        ("notNets: [10.0.0.1]", "invalid-net", "notNets[0]"),
        ("notNets: [10.0.0.1/8]", "invalid-net", "notNets[0]"),
        (
            "notNets: [10.0.0.0/8, 10.0.0.0/8]",
            "duplicate-entry",
            "notNets[1]",
        ),
        ("services: {name: a, namespace: b}", "unsupported", "services"),
    ] {
        let path = format!("spec.ingress[0].destination.{path}");
        refused(&rule(&format!("destination: {{{field}}}")), code, &path, "");
    }
    good(&source("notNets: [10.0.0.0/8, 10.1.2.3/32], nets: [10.0.0.0/7]"));
    for (icmp, refused_at) in [
        ("{type: 254, code: 255}", None),
        ("{type: 255}", Some("icmp.type")),
    ] {
        let text = rule(&format!("protocol: ICMP, icmp: {icmp}"));
        match refused_at {
            None => drop(good(&text)),
            Some(path) => refused(
                &text,
                "out-of-range",
                &format!("spec.ingress[0].{path}"),
                "0 to 254",
            ),
        }
    }
}
