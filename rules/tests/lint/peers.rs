//! Selectors, sets and names that stand for nothing, or for one family alone.

use palisade_rules::analysis::lint::{Options, lint};
use palisade_rules::world::{Host, resolve};

use crate::Case;
use crate::network::{resources, snapshot};

pub(crate) const CASES: &[Case] = &[
    Case {
        code: "selects-nothing",
        finds: &[(
            "policy p selector: role == 'wbe', ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
            &["`p` selects no endpoint: `role == \"wbe\"` matches none"],
        )],
        accepts: &[
            "policy p selector: role == 'nginx', ingress: [{action: Deny}]",
            // It deletes another, and selects nothing by itself.
            "policy p selector: role == 'web'
             staged p stagedAction: Delete",
        ],
    },
    Case {
        code: "peer-selects-nothing",
        finds: &[
            (
                "policy p ingress: [{action: Allow, source: {selector: role == 'wbe'}}]",
                &["`role == \"wbe\"` selects nothing: ingress rule 0 of `p` never matches"],
            ),
            (
                "policy p egress: [{action: Deny, destination: {notSelector: role == 'wbe'}}]",
                &["`role == \"wbe\"` selects nothing: egress rule 0 of `p` excludes nobody by it"],
            ),
            (
                "policy p egress: [{action: Allow, destination: {selector: role == 'nginx'}}]",
                &[
                    "`role == \"nginx\"` selects ServiceEndpoint nginx, without any address: egress rule 0 of `p` never matches",
                ],
            ),
        ],
        accepts: &[
            "policy p ingress: [{action: Allow, source: {selector: role == 'db'}}, {action: Deny, source: {notSelector: net == 'lan'}}]",
        ],
    },
    Case {
        code: "one-family-peer",
        finds: &[(
            "policy p selector: role == 'web', ingress: [{action: Deny, source: {selector: role == 'old'}}]",
            &[
                "`role == \"old\"` stands for no IPv6 address, and ingress rule 0 of `p` governs endpoints that have some",
            ],
        )],
        accepts: &[
            "policy p selector: role == 'web', ingress: [{action: Deny, ipVersion: 4, source: {selector: role == 'old'}}]",
            "policy p selector: role == 'old', ingress: [{action: Deny, source: {selector: role == 'old'}}]",
            "policy p selector: role == 'web', ingress: [{action: Deny, protocol: ICMP, source: {selector: role == 'old'}}]",
            "policy p selector: role == 'web', ingress: [{action: Deny, source: {selector: role == 'db'}}]",
        ],
    },
    Case {
        code: "one-family-rule",
        finds: &[
            (
                "policy p selector: role == 'old', ingress: [{action: Allow, source: {notNets: [10.0.0.0/8]}}]",
                &["ingress rule 0 of `p` does not exist for IPv6: its prefixes are of the other family"],
            ),
            (
                "policy p selector: role == 'web', egress: [{action: Deny, destination: {nets: ['2001:db8::/32']}}]",
                &["egress rule 0 of `p` does not exist for IPv4: its prefixes are of the other family"],
            ),
            (
                "policy p selector: role == 'nginx', egress: [{action: Allow, destination: {nets: [0.0.0.0/0]}}]",
                &["egress rule 0 of `p` does not exist for IPv6: its prefixes are of the other family"],
            ),
        ],
        accepts: &[
            "policy p selector: role == 'old', ingress: [{action: Allow, source: {nets: [10.0.0.0/8]}}]",
            "policy p selector: role == 'web', ingress: [{action: Allow, ipVersion: 4, source: {notNets: [10.0.0.0/8]}}]",
            "policy p selector: role == 'web', ingress: [{action: Allow, protocol: TCP, source: {nets: [10.0.0.0/8]}}, \
             {action: Allow, protocol: TCP, source: {nets: ['fd00::/8']}}]",
        ],
    },
    Case {
        code: "empty-network-set",
        finds: &[("set nobody[net=nobody] nets: []", &["`nobody` has no members"])],
        accepts: &["set office[net=office] nets: [192.0.2.0/24]"],
    },
    Case {
        code: "unresolved-port-name",
        finds: &[(
            "policy p selector: role == 'db', ingress: [{action: Allow, protocol: TCP, destination: {selector: role == 'web', \
             ports: [sql, 80]}}]",
            &[
                "no endpoint that `role == \"web\"` selects has the tcp port `sql`: ingress rule 0 of `p` looks for it in vain",
            ],
        )],
        accepts: &[
            "policy p ingress: [{action: Allow, protocol: TCP, destination: {ports: [sql]}}]",
            "policy p ingress: [{action: Allow, protocol: TCP, destination: {selector: role == 'db', notPorts: [sql]}}]",
        ],
    },
];

#[test]
fn cases() {
    crate::check(CASES);
}

#[test]
fn without_endpoints_that_is_all_that_is_said() {
    let snapshot = snapshot(&[resources(
        "policy p selector: a == 'b', egress: [{action: Allow, protocol: TCP}]",
    )]);
    let findings = lint(
        &snapshot,
        &resolve(&snapshot, Host::default()),
        &Options::default(),
    );
    let said: Vec<(&str, &str)> = findings
        .iter()
        .map(|finding| (finding.code, finding.message.as_str()))
        .collect();
    let message = "there are no endpoints: what policies select could not be checked";
    assert_eq!(said, [("no-endpoints", message)]);
}
