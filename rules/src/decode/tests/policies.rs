//! Policies.

use std::sync::Arc;

use super::{good, problems, refused};
use crate::net::{Direction, Family, PortRange, Protocol};
use crate::resource::{Action, Order, Policy, Ports, Rule, StagedAction};

pub(super) fn policy(spec: &str) -> String {
    object("GlobalNetworkPolicy", spec)
}

fn staged(spec: &str) -> String {
    object("StagedGlobalNetworkPolicy", spec)
}

fn object(kind: &str, spec: &str) -> String {
    format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata:\n  name: p\nspec: {spec}\n")
}

pub(super) fn rule(fields: &str) -> String {
    policy(&format!("{{ingress: [{{action: Allow, {fields}}}]}}"))
}

pub(super) fn source(fields: &str) -> String {
    rule(&format!("protocol: TCP, source: {{{fields}}}"))
}

pub(super) fn good_policy(text: &str) -> Policy {
    Arc::unwrap_or_clone(good(text).policies.remove(0))
}

pub(super) fn good_rule(fields: &str) -> Rule {
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
    let ports = |ranges: &[PortRange]| {
        Some(Ports {
            ranges: ranges.to_vec(),
            names: Vec::new(),
        })
    };
    assert_eq!(
        first.destination.ports,
        ports(&[range(80, 80), range(443, 443), range(8000, 8059)])
    );
    assert_eq!(first.destination.not_ports, ports(&[range(8001, 8001)]));
    assert_eq!((first.index, second.index, policy.egress[0].index), (0, 1, 0));
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
            "an enforced policy has no `stagedAction`",
        ),
        (
            "{doNotTrack: maybe}",
            "wrong-type",
            "spec.doNotTrack",
            "`true` or `false`",
        ),
        (
            "{performanceHints: [AssumeNeededOnEveryNode, AssumeNeededOnEveryNode]}",
            "duplicate-entry",
            "spec.performanceHints[1]",
            "twice",
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
    good(&policy(&format!(
        "{{selector: \"a == '{}'\"}}",
        "b".repeat(1024 - 7)
    )));
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
