//! Policies and rules.

use super::{good, problems, refused};
use crate::net::{Direction, Family, PortRange, Protocol};
use crate::resource::{Action, IcmpMatch, Order, Policy, ProtocolMatch, Rule, StagedAction};

fn policy(spec: &str) -> String {
    object("GlobalNetworkPolicy", spec)
}

fn staged(spec: &str) -> String {
    object("StagedGlobalNetworkPolicy", spec)
}

fn object(kind: &str, spec: &str) -> String {
    format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata:\n  name: p\nspec: {spec}\n")
}

fn rule(fields: &str) -> String {
    policy(&format!("{{ingress: [{{action: Allow, {fields}}}]}}"))
}

fn source(fields: &str) -> String {
    rule(&format!("protocol: TCP, source: {{{fields}}}"))
}

fn good_policy(text: &str) -> Policy {
    good(text).policies.remove(0)
}

fn good_rule(fields: &str) -> Rule {
    good_policy(&rule(fields)).ingress.remove(0)
}

#[test]
fn a_whole_policy() {
    let text = "\
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata:
  name: web.in
spec:
  tier: default
  order: 10.5
  stagedAction: Learn
  selector: role == 'web'
  types: [Egress, Ingress]
  applyOnForward: false
  doNotTrack: false
  preDNAT: false
  namespaceSelector: ''
  performanceHints: [AssumeNeededOnEveryNode]
  ingress:
    - action: Allow
      metadata: {annotations: {palisade.dev/rule-name: http}}
      ipVersion: 4
      protocol: TCP
      notProtocol: 17
      source: {nets: [10.0.0.0/8], notNets: [10.1.0.0/16], selector: '', notSelector: has(x)}
      destination: {ports: [80, '443', 8000:8059], notPorts: ['8001']}
    - {action: Log, source: {}, destination: ~}
  egress:
    - action: Pass
";
    let policy = good_policy(text);
    assert_eq!(policy.id.name, "web.in");
    assert_eq!(policy.id.namespace, None);
    assert_eq!(policy.written_kind(), "StagedGlobalNetworkPolicy");
    assert_eq!(policy.staged, Some(StagedAction::Learn));
    assert_eq!(policy.tier, "default");
    assert_eq!(policy.order, Some(Order::new(10.5)));
    assert!(policy.governs(Direction::Ingress) && policy.governs(Direction::Egress));
    assert_eq!(policy.position.to_string(), "t:4:9");
    assert_eq!(policy.egress[0].action, Action::Pass);

    let [first, second] = policy.ingress.as_slice() else {
        panic!("{policy:?}")
    };
    assert_eq!(first.name.as_deref(), Some("http"));
    assert_eq!(first.position.to_string(), "t:17:7");
    assert_eq!(first.ip_version, Some(Family::V4));
    assert_eq!(first.protocol.unwrap().protocol, Protocol::TCP);
    assert_eq!(first.not_protocol.unwrap().protocol, Protocol::UDP);
    assert_eq!(first.source.nets.as_ref().unwrap()[0].to_string(), "10.0.0.0/8");
    assert_eq!(
        first.source.not_nets.as_ref().unwrap()[0].to_string(),
        "10.1.0.0/16"
    );
    assert_eq!(first.source.selector, None);
    assert!(first.source.not_selector.is_some());
    let range = |first, last| PortRange { first, last };
    assert_eq!(
        first.destination.ports.as_deref(),
        Some(&[range(80, 80), range(443, 443), range(8000, 8059)][..])
    );
    assert_eq!(
        first.destination.not_ports.as_deref(),
        Some(&[range(8001, 8001)][..])
    );
    assert_eq!(second.position.to_string(), "t:24:7");
    assert_eq!(second.source, crate::resource::Entity::default());
}

#[test]
fn types_that_are_not_given() {
    for (spec, ingress, egress) in [
        ("{}", true, false),
        ("{ingress: [], egress: []}", true, false),
        ("{types: []}", true, false),
        ("{types: ~, ingress: ~, egress: ~}", true, false),
        ("{ingress: [{action: Allow}]}", true, false),
        ("{egress: [{action: Allow}]}", false, true),
        (
            "{ingress: [{action: Allow}], egress: [{action: Deny}]}",
            true,
            true,
        ),
        ("{types: [Egress]}", false, true),
        ("{types: [Ingress, Egress]}", true, true),
    ] {
        let policy = good_policy(&policy(spec));
        assert_eq!(
            (policy.types.ingress, policy.types.egress),
            (ingress, egress),
            "{spec}"
        );
        assert!(policy.selector.is_all() && policy.order.is_none() && policy.staged.is_none());
    }
    for (types, code, path, words) in [
        (
            "[ingress]",
            "invalid-value",
            "spec.types[0]",
            "did you mean `Ingress`?",
        ),
        ("[Ingress, Ingress]", "duplicate-entry", "spec.types[1]", "twice"),
        ("Ingress", "wrong-type", "spec.types", "expected a list"),
    ] {
        refused(&policy(&format!("{{types: {types}}}")), code, path, words);
    }
}

#[test]
fn fields_of_a_policy() {
    for (spec, code, path, words) in [
        (
            "{selectr: all()}",
            "unknown-field",
            "spec.selectr",
            "did you mean `selector`?",
        ),
        ("{order: high}", "wrong-type", "spec.order", "a finite number"),
        ("{tier: 5}", "wrong-type", "spec.tier", "quotes"),
        (
            "{tier: Default}",
            "unknown-tier",
            "spec.tier",
            "did you mean `default`?",
        ),
        (
            "{tier: app}",
            "unknown-tier",
            "spec.tier",
            "these tiers exist: default, kube-admin, kube-baseline",
        ),
        (
            "{stagedAction: Set}",
            "unknown-field",
            "spec.stagedAction",
            "only a staged policy has it",
        ),
        (
            "{namespaceSelector: all()}",
            "unsupported",
            "spec.namespaceSelector",
            "does not enforce `namespaceSelector`",
        ),
        (
            "{serviceAccountSelector: all()}",
            "unsupported",
            "spec.serviceAccountSelector",
            "does not enforce",
        ),
        (
            "{doNotTrack: true}",
            "unsupported",
            "spec.doNotTrack",
            "does not enforce",
        ),
        (
            "{preDNAT: true}",
            "unsupported",
            "spec.preDNAT",
            "does not enforce",
        ),
        (
            "{applyOnForward: true}",
            "unsupported",
            "spec.applyOnForward",
            "does not enforce",
        ),
        (
            "{performanceHints: [Faster]}",
            "invalid-value",
            "spec.performanceHints[0]",
            "AssumeNeededOnEveryNode",
        ),
        (
            "{ingress: {action: Allow}}",
            "wrong-type",
            "spec.ingress",
            "expected a list of rules",
        ),
        ("~", "missing-field", "spec", "no value"),
        ("all()", "wrong-type", "spec", "expected the fields of"),
    ] {
        refused(&policy(spec), code, path, words);
    }
    let warned = "{types: [Egress], ingress: [{action: Allow}]}";
    refused(
        &policy(warned),
        "unused-rules",
        "spec.ingress",
        "`types` has no Ingress",
    );
    let tier = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: app}\n---\n";
    assert_eq!(
        good_policy(&format!("{}---\n{tier}", policy("{tier: app}"))).tier,
        "app"
    );
    assert_eq!(good_policy(&policy("{tier: ''}")).tier, "default");
    // A tier with a mistake of its own exists.
    let wrong = tier.replace("{name: app}", "{name: app}\nspec: {order: x}");
    assert_eq!(
        problems(&format!("{wrong}{}", policy("{tier: app}"))),
        ["4:15 wrong-type spec.order"]
    );
    // What a broken file would have held is not called missing.
    assert_eq!(
        problems(&format!("{}---\na: [\n", policy("{tier: app}"))),
        ["7:5 yaml-syntax -"]
    );
}

#[test]
fn staged_actions() {
    for (action, expected) in [
        ("Set", StagedAction::Set),
        ("Learn", StagedAction::Learn),
        ("Ignore", StagedAction::Ignore),
        ("Delete", StagedAction::Delete),
        ("~", StagedAction::Set),
    ] {
        let policy = good_policy(&staged(&format!("{{stagedAction: {action}}}")));
        assert_eq!(policy.staged, Some(expected));
        assert_eq!(policy.types.ingress, expected != StagedAction::Delete);
    }
    assert_eq!(good_policy(&staged("{}")).staged, Some(StagedAction::Set));
    good(&staged(
        "{stagedAction: Delete, tier: default, selector: '', types: [], doNotTrack: false, order: ~}",
    ));
    for field in [
        "order: 0",
        "selector: all()",
        "types: [Ingress]",
        "ingress: [{}]",
        "egress: [{}]",
        "preDNAT: true",
    ] {
        let name = field.split(':').next().unwrap();
        let text = staged(&format!("{{stagedAction: Delete, {field}}}"));
        refused(
            &text,
            "staged-delete",
            &format!("spec.{name}"),
            "only `tier` may stand beside it",
        );
    }
    refused(
        &staged("{stagedAction: Delete, tier: app}"),
        "unknown-tier",
        "spec.tier",
        "",
    );
    refused(
        &staged("{stagedAction: delete}"),
        "invalid-value",
        "spec.stagedAction",
        "did you mean `Delete`?",
    );
    refused(
        &staged("{stagedAction: Delete, selectr: x}"),
        "unknown-field",
        "spec.selectr",
        "",
    );
    // Ignored, and validated all the same.
    refused(
        &staged("{stagedAction: Ignore, ingress: [{action: allow}]}"),
        "invalid-value",
        "spec.ingress[0].action",
        "",
    );
}

#[test]
fn selectors() {
    let long = "a".repeat(1025);
    for (selector, code, words) in [
        ("a ==", "selector-syntax", "the selector is not valid"),
        (&long, "too-long", "1025 characters"),
        ("'global()'", "selector-global", "`global()` has a meaning"),
        ("5", "wrong-type", "quotes"),
        ("[a]", "wrong-type", "expected a selector"),
    ] {
        refused(
            &policy(&format!("{{selector: {selector}}}")),
            code,
            "spec.selector",
            words,
        );
        for name in ["selector", "notSelector"] {
            let path = format!("spec.ingress[0].source.{name}");
            refused(&source(&format!("{name}: {selector}")), code, &path, words);
        }
    }
    good(&policy(&format!("{{selector: has({})}}", "a".repeat(500))));
    // The mistake is pointed at inside the selector where it is written as it reads.
    let column = |selector: &str| {
        let problems = problems(&policy(&format!("{{selector: {selector}}}")));
        problems[0].split(' ').next().unwrap().to_owned()
    };
    let plain = column("a == 'b' && !");
    assert_ne!(plain, "5:18", "inside the selector, not at its start");
    let quoted = column("\"a == 'b' && !\"");
    let number = |place: &str| place.split_once(':').unwrap().1.parse::<u32>().unwrap();
    assert_eq!(number(&quoted), number(&plain) + 1);
    assert_eq!(column("'a == ''b'' && !'"), "5:18", "escaped: the whole scalar");
}

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
            "namespaceSelector: all()",
            "unsupported",
            "namespaceSelector",
            "does not enforce",
        ),
        (
            "serviceAccounts: {names: [a]}",
            "unsupported",
            "serviceAccounts",
            "does not enforce",
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
        ("[http]", "unsupported", "[0]", "the named port `http`"),
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
fn limits() {
    let rules = |count: usize| policy(&format!("{{ingress: [{}]}}", "{action: Allow}, ".repeat(count)));
    assert_eq!(good_policy(&rules(1024)).ingress.len(), 1024);
    refused(&rules(1025), "too-many", "spec.ingress", "1025 rules");
    let nets = |count: usize| {
        let nets: Vec<_> = (0..count)
            .map(|n| format!("10.{}.{}.0/24", n / 256, n % 256))
            .collect();
        source(&format!("nets: [{}]", nets.join(", ")))
    };
    good(&nets(256));
    refused(
        &nets(257),
        "too-many",
        "spec.ingress[0].source.nets",
        "257 entries",
    );
    let ports = |count: usize| source(&format!("ports: [{}]", "80, ".repeat(count)));
    good(&ports(50));
    refused(
        &ports(51),
        "too-many",
        "spec.ingress[0].source.ports",
        "51 entries",
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
