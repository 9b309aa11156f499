//! Policies, tiers and safety nets as a whole.

use std::sync::Arc;

use palisade_rules::analysis::lint::{Options, lint};
use palisade_rules::resource::Policy;
use palisade_rules::world::{Host, resolve};

use crate::Case;
use crate::network::network;

pub(crate) const CASES: &[Case] = &[
    Case {
        code: "denies-everything",
        finds: &[
            (
                "policy p selector: role == 'web' || role == 'db', types: [Ingress]",
                &["`p` has no Allow or Pass and denies all ingress of db and web"],
            ),
            (
                "policy p selector: role == 'web', types: [Egress], egress: [{action: Log}, {action: Deny, protocol: TCP}]
                 policy net order: 100000, types: [Egress], egress: [{action: Allow}]",
                &["`p` has no Allow or Pass and denies all egress of web, but for the safety net"],
            ),
            (
                // The net comes too late.
                "tier first order: 1
                 policy p tier: first, selector: role == 'web', types: [Egress]
                 policy net order: 100000, types: [Egress], egress: [{action: Allow}]",
                &["`p` has no Allow or Pass and denies all egress of web"],
            ),
            (
                "staged p selector: role == 'web', ingress: [{action: Deny}]",
                &["`p` has no Allow or Pass and would deny all ingress of web"],
            ),
            (
                // The only Allow comes too late.
                "policy p order: 1, selector: role == 'web', ingress: [{action: Deny}]
                 policy q order: 2, selector: role == 'web', ingress: [{action: Allow, protocol: TCP}]",
                &["`p` has no Allow or Pass and denies all ingress of web"],
            ),
            (
                "policy p selector: role == 'web', types: [Ingress]
                 policy q selector: role == 'web', ingress: [{action: Allow, protocol: TCP}]
                 staged q stagedAction: Delete",
                &["`p` has no Allow or Pass and denies all ingress of web once what is staged is promoted"],
            ),
        ],
        accepts: &[
            "policy p selector: role == 'web', ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
            "policy p selector: role == 'web', types: [Ingress]
             policy q selector: has(role), ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]",
            "tier last order: 2000000, defaultAction: Pass
             policy p tier: last, selector: role == 'web', types: [Ingress]",
            "tier first order: 1
             policy p tier: first, selector: role == 'web', ingress: [{action: Allow, protocol: TCP}, {action: Pass}]
             policy q selector: role == 'web', types: [Ingress]",
        ],
    },
    Case {
        code: "safety-net-not-on-forward",
        finds: &[(
            "policy p order: 1, selector: role == 'web', applyOnForward: true, ingress: [{action: Allow, protocol: TCP}]
             policy net order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]",
            &["the end of the tier of `p` denies what goes through web: the safety net `net` has no `applyOnForward`"],
        )],
        accepts: &[
            "policy p order: 1, selector: role == 'web', applyOnForward: true, ingress: [{action: Allow, protocol: TCP}]",
            "policy p order: 1, selector: role == 'web', applyOnForward: true, ingress: [{action: Allow, protocol: TCP}]
             policy net order: 100000, applyOnForward: true, types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]",
            "policy p order: 1, selector: role == 'web', ingress: [{action: Allow, protocol: TCP}]
             policy net order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]",
            "tier t order: 1, defaultAction: Pass
             policy p tier: t, selector: role == 'web', applyOnForward: true, ingress: [{action: Allow, protocol: TCP}]
             policy net order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]",
        ],
    },
    Case {
        code: "safety-net-cut-off",
        finds: &[
            (
                "tier security order: 10
                 policy p tier: security, selector: role == 'web', ingress: [{action: Allow, protocol: TCP}]
                 policy net order: 100000, types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]",
                &["tier `security` ends in Deny before the safety net `net` is asked: ingress at web"],
            ),
            (
                "policy p tier: default, order: 1, egress: [{action: Deny}]
                 policy net order: 100000, types: [Egress], egress: [{action: Allow}]",
                &["rules before the safety net `net` leave nothing for it: egress at db, nginx, old and web"],
            ),
            (
                "tier security order: 10
                 staged p tier: security, selector: role == 'web', ingress: [{action: Allow, protocol: TCP}]
                 policy net order: 100000, types: [Ingress], ingress: [{action: Allow}]",
                &["tier `security` ends in Deny before the safety net `net` is asked: ingress at web once what is staged is promoted"],
            ),
        ],
        accepts: &[
            "tier security order: 10, defaultAction: Pass
             policy p tier: security, selector: role == 'web', ingress: [{action: Deny, protocol: TCP}]
             policy net order: 100000, types: [Ingress], ingress: [{action: Allow}]",
            "tier security order: 10
             policy p tier: security, selector: role == 'web', ingress: [{action: Deny, protocol: TCP}, {action: Pass}]
             policy net order: 100000, types: [Ingress], ingress: [{action: Allow}]",
            "policy p order: 1, selector: role == 'web', types: [Ingress]
             policy net order: 100000, types: [Ingress], ingress: [{action: Allow}]",
        ],
    },
    Case {
        code: "behind-net-in-calico",
        finds: &[
            (
                "policy p selector: role == 'web', ingress: [{action: Deny, protocol: TCP}]
                 policy net order: 100000, types: [Ingress], ingress: [{action: Allow}]",
                &["`p` has no order: Calico would ask it after `net`, which decides everything; here it is asked before"],
            ),
            (
                "policy p order: 200000, selector: role == 'web', ingress: [{action: Deny, protocol: TCP}]
                 policy net order: 100000, types: [Ingress], ingress: [{action: Allow}]",
                &["`p` has order 200000: Calico would ask it after `net`, which decides everything; here it is asked before"],
            ),
        ],
        accepts: &[
            "policy p order: 1, selector: role == 'web', ingress: [{action: Deny, protocol: TCP}]
             policy net order: 100000, types: [Ingress], ingress: [{action: Allow}]",
            "policy p selector: role == 'web', egress: [{action: Deny, protocol: TCP}]
             policy net order: 100000, types: [Ingress], ingress: [{action: Allow}]",
            "policy p selector: role == 'web', ingress: [{action: Deny, protocol: TCP}]",
        ],
    },
    Case {
        code: "no-forward-effect",
        finds: &[
            (
                "policy p selector: role == 'nginx', applyOnForward: true, ingress: [{action: Deny}]",
                &["`p` selects no host endpoint: `applyOnForward` has no effect"],
            ),
            (
                "policy p selector: role == 'nginx', applyOnForward: true, preDNAT: true, ingress: [{action: Deny}]",
                &["`p` selects no host endpoint: with `preDNAT` the whole policy has no effect"],
            ),
            (
                "policy p selector: role == 'nginx', applyOnForward: true, doNotTrack: true, ingress: [{action: Deny}]",
                &["`p` selects no host endpoint: with `doNotTrack` the whole policy has no effect"],
            ),
        ],
        accepts: &[
            "policy p selector: role == 'nginx' || role == 'web', applyOnForward: true, ingress: [{action: Deny}]",
            "policy p selector: role == 'nginx', ingress: [{action: Deny}]",
        ],
    },
    Case {
        code: "untracked-one-way",
        finds: &[
            (
                "policy p selector: role == 'db', applyOnForward: true, doNotTrack: true, types: [Ingress], \
                 ingress: [{action: Allow, protocol: UDP, destination: {ports: [123]}}]",
                &["ingress rule 0 of `p` allows packets without tracking them, and no `doNotTrack` policy allows all of their \
                   answers as egress at db"],
            ),
            (
                // Only some of the answers.
                "policy p selector: role == 'db', applyOnForward: true, doNotTrack: true, types: [Ingress, Egress], \
                 ingress: [{action: Allow, protocol: UDP, destination: {ports: [123]}}], \
                 egress: [{action: Allow, protocol: UDP, source: {ports: [123]}, destination: {nets: [10.0.0.0/8]}}]",
                &["ingress rule 0 of `p` allows packets without tracking them, and no `doNotTrack` policy allows all of their \
                   answers as egress at db"],
            ),
        ],
        accepts: &[
            "policy p selector: role == 'db', applyOnForward: true, doNotTrack: true, types: [Ingress, Egress], \
             ingress: [{action: Allow, protocol: UDP, source: {nets: [10.0.0.0/8]}, destination: {ports: [123]}}], \
             egress: [{action: Allow, protocol: UDP, source: {ports: [123]}, destination: {nets: [10.0.0.0/8]}}]",
            // In two policies.
            "policy p selector: role == 'db', applyOnForward: true, doNotTrack: true, \
             ingress: [{action: Allow, protocol: UDP, destination: {ports: [123]}}]
             policy q selector: role == 'db', applyOnForward: true, doNotTrack: true, \
             egress: [{action: Allow, protocol: UDP, source: {ports: [123]}}]",
            // A failsafe is tracked after all, and so are its answers.
            "policy p selector: role == 'db', applyOnForward: true, doNotTrack: true, \
             ingress: [{action: Allow, protocol: TCP, destination: {ports: [22]}}]",
            "policy p selector: role == 'db', applyOnForward: true, doNotTrack: true, ingress: [{action: Deny, protocol: UDP}]",
        ],
    },
];

#[test]
fn cases() {
    crate::check(CASES);
}

#[test]
fn the_daemons_own_net_has_no_place() {
    let mut snapshot = network("policy p order: 1, egress: [{action: Deny}]");
    snapshot.policies.push(Arc::new(Policy::safety_net("own")));
    let findings = lint(
        &snapshot,
        &resolve(&snapshot, Host::default()),
        &Options::default(),
    );
    let cut_off = findings
        .iter()
        .find(|finding| finding.code == "safety-net-cut-off")
        .unwrap();
    assert_eq!(
        (cut_off.position.as_ref(), cut_off.name.as_deref()),
        (None, Some("own"))
    );
}
