//! What can be written, and what is said of what cannot.

use palisade_rules::analysis::expectations::Party;
use palisade_rules::evaluate::Verdict;
use palisade_rules::net::{PortRange, Protocol};
use palisade_rules::selector::Selector;
use palisade_rules::world::WorldKind;

use super::*;

/// Every problem with one item in one line, without the file.
fn problems(item: &str) -> Vec<String> {
    let (_, files, diagnostics) = read(&file(&format!("- {item}")));
    let lines = diagnostics
        .iter()
        .map(|problem| problem.one_line(&files).replace("expected.yaml:", ""));
    lines.collect()
}

#[test]
fn every_field() {
    let (expectations, _, diagnostics) = read(&file(
        "- name: the web servers reach the database
  from: [{selector: role == 'web'}, 192.0.2.1]
  to: hep:db
  protocol: UDP
  ports: [90, '80:85', 86]
  sourcePort: 68
  expect: allow
  world: pending
  withoutSafetyNet: true
- {from: a, to: b, protocol: ICMPv6, icmp: {type: 128, code: 1}, expect: deny}",
    ));
    assert!(diagnostics.is_empty());
    let [full, short] = expectations.as_slice() else {
        panic!("{expectations:?}")
    };
    let selector = Selector::parse("role == 'web'").unwrap();
    let position = full.position.clone();
    let expected = Expectation {
        suite: Some("suite".to_owned()),
        name: "the web servers reach the database".to_owned(),
        from: vec![Party::Selected(selector), Party::Named("192.0.2.1".to_owned())],
        to: vec![Party::Named("hep:db".to_owned())],
        protocol: Protocol::UDP,
        ports: vec![PortRange { first: 80, last: 86 }, PortRange::one(90)],
        source_port: Some(68),
        icmp: None,
        expect: Verdict::Allow,
        worlds: vec![WorldKind::Pending],
        without_safety_net: true,
        position,
    };
    assert_eq!(
        (full, full.position.to_string()),
        (&expected, "expected.yaml:5:3".to_owned())
    );
    assert_eq!((short.icmp, short.ports.len()), (Some((128, 1)), 0));
    assert_eq!(
        (short.name.as_str(), short.worlds.len()),
        ("deny a to b icmpv6", 2)
    );
}

#[test]
fn what_has_no_name_is_named_by_what_it_says() {
    for (item, name) in [
        (
            "{from: a, to: [b, c], ports: [80, '90:99'], expect: allow}",
            "allow a to b, c tcp 80,90-99",
        ),
        (
            "{from: {selector: x == 'y'}, to: b, protocol: udp, expect: deny}",
            "deny x == \"y\" to b any port of udp",
        ),
    ] {
        let (expectations, ..) = read(&file(&format!("- {item}")));
        assert_eq!(expectations[0].name, name);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (item, expected) in [
        (
            "{from: a, to: b}",
            "5:3: error[missing-field]: an expectation needs `expect`",
        ),
        (
            "{from: a, to: b, expect: maybe}",
            "5:28: error[invalid-value]: `maybe` is not a verdict",
        ),
        (
            "{from: a, to: b, expect: deny, port: 80}",
            "5:34: error[unknown-field]: unknown field `port` in an expectation",
        ),
        (
            "{from: a, to: b, expect: deny, ports: []}",
            "5:41: error[empty-list]: `ports` is empty",
        ),
        (
            "{from: a, to: b, expect: deny, ports: [0]}",
            "5:42: error[invalid-port]: `0` is not a port",
        ),
        (
            "{from: a, to: b, expect: deny, ports: ['90:80']}",
            "5:42: error[invalid-port]: `90:80` is not a port",
        ),
        (
            "{from: a, to: b, expect: deny, protocol: ICMP, ports: [80]}",
            "5:50: error[ports-without-protocol]: the protocol icmp has no ports",
        ),
        (
            "{from: a, to: b, expect: deny, protocol: tcpp}",
            "5:44: error[invalid-protocol]: `tcpp` is not a protocol",
        ),
        (
            "{from: a, to: b, expect: deny, icmp: {type: 8}}",
            "5:34: error[icmp-without-protocol]: `icmp` needs a protocol that is ICMP",
        ),
        (
            "{from: [], to: b, expect: deny}",
            "5:10: error[empty-list]: `from` is empty",
        ),
        (
            "{from: {selector: role = 'web'}, to: b, expect: deny}",
            "5:21: error[selector-syntax]: the selector is not valid: expected an operator after the label `role`, found `=`",
        ),
        (
            "{from: a, to: b, expect: deny, world: next}",
            "5:41: error[invalid-value]: `next` is not a world",
        ),
    ] {
        assert_eq!(problems(item), [expected], "{item}");
    }
}

#[test]
fn a_path_leads_to_the_problem() {
    let (expectations, _, diagnostics) = read(&file("- {from: a, to: b, expect: deny, ports: [80, none]}"));
    assert!(expectations.is_empty());
    let found: Vec<_> = diagnostics
        .iter()
        .map(|problem| (problem.path.as_deref(), problem.name.as_deref()))
        .collect();
    assert_eq!(found, [(Some("spec[0].ports[1]"), Some("suite"))]);
}

#[test]
fn other_kinds_are_refused_and_empty_documents_are_not() {
    let (_, files, diagnostics) = read("apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\n");
    let lines: Vec<String> = diagnostics
        .iter()
        .map(|problem| problem.one_line(&files))
        .collect();
    assert_eq!(
        lines,
        ["expected.yaml:2:7: error[unknown-kind]: expected the kind Expectations, found `Tier`"]
    );
    let (expectations, _, diagnostics) = read("---\n---\n");
    assert!(expectations.is_empty() && diagnostics.is_empty());
    let (_, files, diagnostics) = read("apiVersion: palisade.dev/v2\nkind: Expectations\nspec: []\n");
    let lines: Vec<String> = diagnostics
        .iter()
        .map(|problem| problem.one_line(&files))
        .collect();
    assert_eq!(
        lines,
        ["expected.yaml:1:13: error[unknown-api-version]: Expectations is a kind of palisade.dev/v1"]
    );
}

#[test]
fn among_the_resources_they_are_refused() {
    let mut files = Files::default();
    let id = files.add("policy.d/expected.yaml", file("- {from: a, to: b, expect: deny}"));
    let (snapshot, diagnostics) = decode_resources(&files, &[id]);
    assert!(snapshot.is_none());
    let codes: Vec<&str> = diagnostics.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["unknown-kind"]);
}
