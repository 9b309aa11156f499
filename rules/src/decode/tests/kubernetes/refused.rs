//! What the API server of Kubernetes would refuse, and limits.

use super::super::refused;
use super::{only, spec};

#[test]
fn what_the_api_server_refuses() {
    let ports = "spec.ingress[0].ports[0]";
    let from = "spec.ingress[0].from[0]";
    for (rule, code, path, words) in [
        (
            "{from: [{}]}",
            "missing-field",
            from,
            "to match any address, remove the list",
        ),
        (
            "{from: [~]}",
            "wrong-type",
            from,
            "the fields of a Kubernetes peer",
        ),
        (
            "{to: []}",
            "unknown-field",
            "spec.ingress[0].to",
            "the fields here are from, ports",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}",
            "conflicting-fields",
            &*format!("{from}.podSelector"),
            "write two peers",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.1}}]}",
            "invalid-net",
            &*format!("{from}.ipBlock.cidr"),
            "write `10.0.0.1/32`",
        ),
        (
            "{from: [{ipBlock: {except: [10.0.0.0/8]}}]}",
            "missing-field",
            &*format!("{from}.ipBlock"),
            "needs `cidr`",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}",
            "invalid-net",
            &*format!("{from}.ipBlock.except[0]"),
            "is not within 10.0.0.0/8",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.9.9.9/8]}}]}",
            "invalid-net",
            &*format!("{from}.ipBlock.except[0]"),
            "is all of the `cidr`",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: ['fd00::/16']}}]}",
            "invalid-net",
            &*format!("{from}.ipBlock.except[0]"),
            "a smaller part of it",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.1.0.0/16]}}]}",
            "duplicate-entry",
            &*format!("{from}.ipBlock.except[1]"),
            "twice",
        ),
        (
            "{ports: [{protocol: ICMP}]}",
            "invalid-value",
            &*format!("{ports}.protocol"),
            "one of TCP, UDP, SCTP",
        ),
        (
            "{ports: [{port: 0}]}",
            "invalid-port",
            &*format!("{ports}.port"),
            "from 1 to 65535",
        ),
        (
            "{ports: [{port: '80'}]}",
            "invalid-port",
            &*format!("{ports}.port"),
            "write `80` without quotes",
        ),
        (
            "{ports: [{port: 80:90}]}",
            "invalid-port",
            &*format!("{ports}.port"),
            "write `port: 80` and `endPort: 90`",
        ),
        (
            "{ports: [{port: hTTp}]}",
            "invalid-port",
            &*format!("{ports}.port"),
            "lower-case",
        ),
        (
            "{ports: [{port: htpp}]}",
            "unknown-port",
            &*format!("{ports}.port"),
            "no endpoint has a TCP port named `htpp`",
        ),
        (
            "{ports: [{port: 80, endPort: 79}]}",
            "invalid-port",
            &*format!("{ports}.endPort"),
            "before it begins at 80",
        ),
        (
            "{ports: [{endPort: 79}]}",
            "invalid-port",
            &*format!("{ports}.endPort"),
            "needs a `port` that is a number",
        ),
        (
            "{ports: [{port: 80, endPort: 65536}]}",
            "out-of-range",
            &*format!("{ports}.endPort"),
            "1 to 65535",
        ),
        ("{ports: [80]}", "wrong-type", ports, "the fields of a"),
        ("~", "wrong-type", "spec.ingress[0]", "found nothing"),
    ] {
        refused(&spec(&format!("{{ingress: [{rule}]}}")), code, path, words);
    }
    for (selector, code, path, words) in [
        ("[]", "wrong-type", "", "found a list"),
        (
            "{matchLabel: {}}",
            "unknown-field",
            ".matchLabel",
            "did you mean `matchLabels`?",
        ),
        (
            "{matchLabels: {'a b': c}}",
            "invalid-label",
            ".matchLabels.a b",
            "label key",
        ),
        ("{matchLabels: {a: 5}}", "wrong-type", ".matchLabels.a", "quotes"),
        (
            "{matchExpressions: [{key: a, operator: in, values: [b]}]}",
            "invalid-value",
            ".matchExpressions[0].operator",
            "did you mean `In`?",
        ),
        (
            "{matchExpressions: [{operator: Exists}]}",
            "missing-field",
            ".matchExpressions[0]",
            "needs `key`",
        ),
        (
            "{matchExpressions: [{key: 'a b', operator: Exists}]}",
            "invalid-label",
            ".matchExpressions[0].key",
            "label key",
        ),
        (
            "{matchExpressions: [{key: a, operator: In}]}",
            "match-values",
            ".matchExpressions[0].operator",
            "at least one value",
        ),
        (
            "{matchExpressions: [{key: a, operator: NotIn, values: []}]}",
            "match-values",
            ".matchExpressions[0].operator",
            "at least one value",
        ),
        (
            "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
            "match-values",
            ".matchExpressions[0].values",
            "have no values",
        ),
        (
            "{matchExpressions: [{key: a, operator: In, values: ['b c']}]}",
            "invalid-label",
            ".matchExpressions[0].values[0]",
            "label value",
        ),
    ] {
        refused(
            &spec(&format!("{{podSelector: {selector}}}")),
            code,
            &format!("spec.podSelector{path}"),
            words,
        );
        for field in ["podSelector", "namespaceSelector"] {
            refused(
                &spec(&format!("{{ingress: [{{from: [{{{field}: {selector}}}]}}]}}")),
                code,
                &format!("{from}.{field}{path}"),
                words,
            );
        }
    }
}

#[test]
fn limits() {
    let rule = |peers: usize, ports: usize| {
        let peers = "{podSelector: {}}, ".repeat(peers);
        let ports: Vec<String> = (1..=ports).map(|port| format!("{{port: {port}}}")).collect();
        let ports = ports.join(", ");
        spec(&format!("{{ingress: [{{from: [{peers}], ports: [{ports}]}}]}}"))
    };
    assert_eq!(only(&rule(1024, 16)).ingress.len(), 1024);
    refused(&rule(1025, 1), "too-many", "spec.ingress[0].from", "1025 entries");
    refused(
        &rule(1, 1025),
        "too-many",
        "spec.ingress[0].ports",
        "1025 entries",
    );
    refused(
        &rule(1024, 17),
        "too-many",
        "spec.ingress[0]",
        "17 ports for each of 1024 peers",
    );
    let rules = |count: usize| spec(&format!("{{egress: [{}]}}", "{}, ".repeat(count)));
    assert_eq!(only(&rules(1024)).egress.len(), 1024);
    refused(&rules(1025), "too-many", "spec.egress", "1025 rules");
}
