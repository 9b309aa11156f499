//! Single rules.

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    Case {
        code: "broad-allow",
        finds: &[
            (
                "policy p ingress: [{action: Allow}]",
                &["ingress rule 0 of `p` lets anyone reach everything"],
            ),
            (
                "policy p ingress: [{action: Allow, protocol: TCP, source: {nets: [0.0.0.0/0]}}]",
                &["ingress rule 0 of `p` lets anyone over IPv4 reach every port of tcp"],
            ),
            (
                "policy p ingress: [{action: Allow, protocol: UDP, source: {nets: ['::/0']}, destination: {ports: ['1:65535']}}]",
                &["ingress rule 0 of `p` lets anyone over IPv6 reach every port of udp"],
            ),
            (
                "set world[net=world] nets: [0.0.0.0/1, 128.0.0.0/1]
                 policy p ingress: [{action: Allow, source: {selector: net == 'world'}}]",
                &["ingress rule 0 of `p` lets anyone over IPv4 reach everything"],
            ),
        ],
        accepts: &[
            "policy p egress: [{action: Allow}]",
            "policy p ingress: [{action: Deny}]",
            "policy p ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
            "policy p ingress: [{action: Allow, source: {nets: [10.0.0.0/8]}}]",
            "policy p ingress: [{action: Allow, protocol: ICMP}]",
            "policy net order: 100000, types: [Ingress], ingress: [{action: Allow}]",
        ],
    },
    Case {
        code: "icmp-never-new",
        finds: &[
            (
                "policy p ingress: [{action: Allow, protocol: ICMP, icmp: {type: 3, code: 4}}]",
                &["ingress rule 0 of `p` never decides: conntrack calls no ICMP of type 3 new"],
            ),
            (
                "policy p ingress: [{action: Allow, protocol: ICMPv6, icmp: {type: 8}}]",
                &["ingress rule 0 of `p` never decides: conntrack calls no ICMPv6 of type 8 new"],
            ),
            (
                "policy p egress: [{action: Deny, protocol: 58, icmp: {type: 135}}]",
                &["egress rule 0 of `p` never decides: conntrack calls no ICMPv6 of type 135 new"],
            ),
        ],
        accepts: &[
            "policy p ingress: [{action: Allow, protocol: ICMP, icmp: {type: 8}}, {action: Allow, protocol: ICMPv6, icmp: {type: 128}}]",
            "policy p ingress: [{action: Allow, protocol: ICMP, notICMP: {type: 3}}]",
            "policy p doNotTrack: true, applyOnForward: true, ingress: [{action: Allow, protocol: ICMP, icmp: {type: 3}}]",
        ],
    },
    Case {
        code: "failsafe-wins",
        finds: &[
            (
                "policy p selector: role == 'web' || role == 'nginx', ingress: [{action: Deny, protocol: TCP, destination: {ports: ['1:1023']}}]",
                &[
                    "ingress rule 0 of `p` does not shut `tcp:22` at web: a failsafe, which comes before every policy",
                ],
            ),
            (
                "policy p selector: role == 'web', egress: [{action: Deny, destination: {nets: [192.0.2.0/24]}}]",
                &[
                    "egress rule 0 of `p` does not shut `udp:53`, `tcp:53`, `udp:67` and `udp:547` at web: failsafes, which come \
                   before every policy",
                ],
            ),
        ],
        accepts: &[
            "policy p selector: role == 'web', ingress: [{action: Deny, protocol: TCP, destination: {ports: [80]}}]",
            "policy p selector: role == 'nginx', ingress: [{action: Deny, protocol: TCP, destination: {ports: [22]}}]",
            "policy p selector: role == 'web', ingress: [{action: Allow, protocol: TCP, destination: {ports: [22]}}]",
            // A default deny is not about any port.
            "policy p selector: role == 'web', ingress: [{action: Deny}]",
            "policy p selector: role == 'web', ingress: [{action: Deny, protocol: TCP}]",
        ],
    },
    Case {
        code: "pass-in-profile",
        finds: &[(
            "profile prod ingress: [{action: Log}, {action: Pass, protocol: TCP}], egress: [{action: Allow}]",
            &["ingress rule 1 of profile `prod` passes: the next profile is asked"],
        )],
        accepts: &[
            "profile prod ingress: [{action: Deny, protocol: TCP}], egress: [{action: Allow}]",
            "policy p ingress: [{action: Pass, protocol: TCP}]",
        ],
    },
];

#[test]
fn cases() {
    crate::check(CASES);
}
