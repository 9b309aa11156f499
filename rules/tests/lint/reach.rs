//! Rules that no packet reaches.

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    Case {
        code: "shadowed-rule",
        finds: &[
            (
                "policy p selector: role == 'web', ingress: [\
                 {action: Deny, protocol: TCP, destination: {ports: ['1:1023']}}, \
                 {action: Allow, protocol: TCP, source: {nets: [10.0.0.0/24]}, destination: {ports: [80, 443]}}]",
                &["ingress rule 1 of `p` is never reached: ingress rule 0 of `p` matches all that it matches, with Deny and \
                   not Allow"],
            ),
            (
                "policy p order: 2, selector: role == 'web', egress: [{action: Log, protocol: UDP, destination: {selector: net == 'lan'}}]
                 policy q order: 1, egress: [{action: Allow, protocol: UDP}]",
                &["egress rule 0 of `p` is never reached: egress rule 0 of `q` matches all that it matches, so nothing is logged"],
            ),
            (
                // The same action, in an earlier tier.
                "tier first order: 1
                 policy p tier: first, ingress: [{action: Allow, source: {selector: net == 'lan'}}, {action: Pass}]
                 policy q order: 1, ingress: [{action: Allow, source: {nets: [10.9.8.0/24]}}]",
                &["ingress rule 0 of `q` is never reached: ingress rule 0 of `p` matches all that it matches, and does the same"],
            ),
            (
                // A named port is one address and one number.
                "policy p ingress: [\
                 {action: Allow, protocol: TCP, destination: {nets: [10.0.0.0/24], ports: ['5000:6000']}}, \
                 {action: Deny, ipVersion: 4, protocol: TCP, destination: {ports: [sql]}}]",
                &["ingress rule 1 of `p` is never reached: ingress rule 0 of `p` matches all that it matches, with Allow and \
                   not Deny"],
            ),
            (
                // At every stage at which it is asked: to the host, and through it.
                "policy p order: 1, applyOnForward: true, ingress: [{action: Deny, protocol: UDP}]
                 policy q order: 2, applyOnForward: true, ingress: [{action: Allow, protocol: UDP, source: {nets: [10.0.0.0/8]}}]",
                &["ingress rule 0 of `q` is never reached: ingress rule 0 of `p` matches all that it matches, with Deny and \
                   not Allow"],
            ),
            (
                "policy p order: 1, ingress: [{action: Deny, protocol: ICMP, icmp: {type: 8}}, \
                 {action: Allow, protocol: ICMP, icmp: {type: 8, code: 0}}]",
                &["ingress rule 1 of `p` is never reached: ingress rule 0 of `p` matches all that it matches, with Deny and \
                   not Allow"],
            ),
            (
                // Everywhere only once the policy is promoted.
                "policy p order: 1, selector: role == 'web', egress: [{action: Allow}]
                 staged p order: 1, egress: [{action: Allow}]
                 policy q order: 2, selector: has(role), egress: [{action: Deny, protocol: TCP}]",
                &["egress rule 0 of `q` is never reached once what is staged is promoted: egress rule 0 of `p` matches all that \
                   it matches, with Allow and not Deny"],
            ),
            (
                // One rule of Kubernetes is several here, and still one.
                "workload red/one-k8s-pod-eth0 node: one, orchestrator: k8s, pod: pod, endpoint: eth0, interfaceName: cali1, \
                 ipNetworks: [10.0.0.7/32]
                 kubernetes red/p podSelector: {}, ingress: [\
                 {from: [{ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: 10.1.0.0/16}}, {ipBlock: {cidr: 192.0.2.0/24}}]}, \
                 {from: [{ipBlock: {cidr: 10.1.0.0/16}}, {ipBlock: {cidr: 10.2.0.0/16}}], ports: [{port: 80}, {port: 443}]}]",
                &["ingress rule 1 of `red/p` is never reached: ingress rule 0 of `red/p` matches all that it matches, and does the \
                   same"],
            ),
        ],
        accepts: &[
            // Not all of the ports, of the addresses, of the families, of the protocols.
            "policy p ingress: [{action: Deny, protocol: TCP, destination: {ports: ['1:442']}}, \
             {action: Allow, protocol: TCP, destination: {ports: [80, 443]}}]",
            "policy p ingress: [{action: Deny, source: {nets: [10.0.0.0/24]}}, {action: Allow, source: {nets: [10.0.0.0/23]}}]",
            "policy p ingress: [{action: Deny, ipVersion: 4}, {action: Allow, source: {selector: net == 'lan'}}]",
            "policy p ingress: [{action: Deny, protocol: TCP}, {action: Allow, notProtocol: UDP}]",
            // Not the same types of ICMP, and not the protocol that a named port goes with.
            "policy p ingress: [{action: Deny, notICMP: {type: 8}}, {action: Allow, protocol: ICMP, icmp: {type: 8}}]",
            "policy p ingress: [{action: Allow, destination: {ports: [sql]}}, \
             {action: Deny, protocol: UDP, destination: {nets: [10.0.0.2/32], ports: [5432]}}]",
            // Log lets go on.
            "policy p ingress: [{action: Log}, {action: Allow}]",
            // The earlier one is at other endpoints.
            "policy p order: 1, selector: role == 'web', ingress: [{action: Deny}]
             policy q order: 2, selector: role == 'db', ingress: [{action: Allow}]",
            // The earlier one is not asked about what goes through the host.
            "policy p order: 1, ingress: [{action: Deny, protocol: UDP}]
             policy q order: 2, applyOnForward: true, ingress: [{action: Allow, protocol: UDP}]",
            // A Pass in the earlier tier goes around its Deny.
            "tier first order: 1
             policy p tier: first, ingress: [{action: Pass, protocol: TCP}, {action: Deny}]
             policy q ingress: [{action: Allow, protocol: TCP}]",
            // What answers a failsafe never meets a policy before conntrack.
            "policy p order: 1, doNotTrack: true, applyOnForward: true, ingress: [{action: Deny, protocol: UDP}]
             policy q order: 2, selector: role == 'web', ingress: [{action: Allow, protocol: UDP, source: {ports: [53]}}]",
            // The net is gone some day.
            "policy net order: 100000, types: [Ingress], ingress: [{action: Allow}]
             policy p tier: kube-baseline, ingress: [{action: Deny}]",
        ],
    },
    Case {
        code: "unreachable-rule",
        finds: &[
            (
                "policy p selector: role == 'web', ingress: [\
                 {action: Deny, source: {nets: [0.0.0.0/1]}}, {action: Deny, source: {nets: [128.0.0.0/1]}}, \
                 {action: Allow, ipVersion: 4, protocol: TCP}]",
                &["ingress rule 2 of `p` is never reached: ingress rule 0 of `p` and ingress rule 1 of `p` take all before, \
                   with Deny and not Allow"],
            ),
            (
                "tier first order: 1
                 policy p tier: first, ingress: [{action: Allow, protocol: UDP}]
                 policy q order: 1, ingress: [{action: Allow, protocol: TCP}]",
                &["ingress rule 0 of `q` is never reached, at none of the 4 endpoints it governs: the end of tier `first` takes \
                   all before, with Deny and not Allow"],
            ),
            (
                "policy p order: 1, egress: [{action: Deny, protocol: TCP, destination: {notPorts: [443]}}, \
                 {action: Allow, protocol: TCP, destination: {ports: [443]}}, {action: Allow, protocol: TCP}]",
                &["egress rule 2 of `p` is never reached, at none of the 4 endpoints it governs: egress rule 0 of `p` and egress \
                   rule 1 of `p` take all before, with Allow and Deny and not Allow"],
            ),
        ],
        accepts: &[
            "policy p ingress: [{action: Deny, source: {nets: [0.0.0.0/1]}}, {action: Deny, source: {nets: [128.0.0.0/1]}}, \
             {action: Allow, protocol: TCP}]",
            "tier first order: 1, defaultAction: Pass
             policy p tier: first, ingress: [{action: Allow, protocol: UDP}]
             policy q order: 1, ingress: [{action: Allow, protocol: TCP}]",
            // What early policies leave undecided goes on, whatever their tier says.
            "tier first order: 1
             policy p tier: first, preDNAT: true, applyOnForward: true, ingress: [{action: Allow, protocol: UDP}]
             policy q order: 1, selector: role == 'web', ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
            // What notICMP matches is ICMP.
            "policy p ingress: [{action: Deny, notICMP: {type: 8}}, {action: Deny, notICMP: {type: 0}}, {action: Allow, protocol: UDP}]",
        ],
    },
    Case {
        code: "partly-unreachable-rule",
        finds: &[
            (
                "policy p order: 1, selector: role == 'web', ingress: [{action: Deny, protocol: TCP}]
                 policy q order: 2, selector: has(role), ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
                &["ingress rule 0 of `q` is not reached at web: ingress rule 0 of `p` takes all before, with Deny and not Allow"],
            ),
            (
                "staged p order: 1, selector: role == 'web' || role == 'db', egress: [{action: Allow}]
                 policy q order: 2, selector: has(role), egress: [{action: Deny, protocol: TCP}]",
                &["egress rule 0 of `q` is not reached at db and web once what is staged is promoted: egress rule 0 of `p` takes \
                   all before, with Allow and not Deny"],
            ),
            (
                "policy p order: 1, selector: role == 'web', egress: [{action: Allow}]
                 staged p stagedAction: Delete
                 policy q order: 2, selector: has(role), egress: [{action: Deny, protocol: TCP}]",
                &["egress rule 0 of `q` is not reached at web as things are, before what is staged is promoted: egress rule 0 of \
                   `p` takes all before, with Allow and not Deny"],
            ),
            (
                // At one endpoint already, at another once the policy is promoted.
                "policy p order: 1, selector: role == 'web', egress: [{action: Allow}]
                 staged r order: 1, selector: role == 'db', egress: [{action: Allow}]
                 policy q order: 2, selector: has(role), egress: [{action: Deny, protocol: TCP}]",
                &[
                    "egress rule 0 of `q` is not reached at db once what is staged is promoted: egress rule 0 of `r` takes all \
                     before, with Allow and not Deny",
                    "egress rule 0 of `q` is not reached at web: egress rule 0 of `p` takes all before, with Allow and not Deny",
                ],
            ),
        ],
        accepts: &["policy p order: 1, selector: role == 'web', ingress: [{action: Deny, protocol: UDP}]
                    policy q order: 2, selector: has(role), ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]"],
    },
    Case {
        code: "duplicate-rule",
        finds: &[(
            "policy p ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}, {action: Log, protocol: TCP}, \
             {action: Log, protocol: TCP}, {action: Allow, protocol: TCP, destination: {ports: [80]}}]",
            &[
                "ingress rule 2 of `p` says the same as rule 1",
                "ingress rule 3 of `p` says the same as rule 0",
            ],
        )],
        accepts: &[
            "policy p types: [Ingress, Egress], ingress: [{action: Allow, protocol: TCP}], egress: [{action: Allow, protocol: TCP}]",
            "policy p ingress: [{action: Log, protocol: TCP}, {action: Allow, protocol: TCP}]",
        ],
    },
    Case {
        code: "never-matching-rule",
        finds: &[
            (
                "policy p ingress: [{action: Allow, source: {nets: [10.0.0.0/24], notNets: [10.0.0.0/8]}}]",
                &["ingress rule 0 of `p` matches no packet: its conditions rule each other out"],
            ),
            (
                "policy p ingress: [{action: Allow, protocol: TCP, notProtocol: TCP}]",
                &["ingress rule 0 of `p` matches no packet: its conditions rule each other out"],
            ),
            (
                "policy p ingress: [{action: Allow, protocol: TCP, destination: {ports: [80], notPorts: ['1:100']}}]",
                &["ingress rule 0 of `p` matches no packet: its conditions rule each other out"],
            ),
            (
                "policy p egress: [{action: Allow, destination: {selector: net == 'lan', nets: [192.0.2.0/24]}}]",
                &["egress rule 0 of `p` matches no packet: its conditions rule each other out"],
            ),
        ],
        accepts: &[
            "policy p ingress: [{action: Allow, source: {nets: [10.0.0.0/8], notNets: [10.0.0.0/24]}}]",
            // That is said of the selector.
            "policy p ingress: [{action: Allow, source: {selector: role == 'nobody'}}]",
        ],
    },
];

#[test]
fn cases() {
    crate::check(CASES);
}
