//! Where on its way a policy meets a packet: `applyOnForward`, `preDNAT`, `doNotTrack`.

use super::policies::{good_policy, policy};
use super::{problems, refused};
use crate::resource::PolicyStage;

#[test]
fn stages() {
    let normal = |apply_on_forward| PolicyStage::Normal { apply_on_forward };
    for (spec, stage) in [
        ("{}", normal(false)),
        ("{applyOnForward: false}", normal(false)),
        ("{applyOnForward: ~, preDNAT: ~, doNotTrack: ~}", normal(false)),
        ("{applyOnForward: true}", normal(true)),
        (
            "{applyOnForward: true, preDNAT: false, doNotTrack: false}",
            normal(true),
        ),
        ("{applyOnForward: true, preDNAT: true}", PolicyStage::PreDnat),
        (
            "{applyOnForward: true, preDNAT: true, types: [Ingress], ingress: [{action: Allow}], egress: []}",
            PolicyStage::PreDnat,
        ),
        ("{applyOnForward: true, doNotTrack: true}", PolicyStage::Untracked),
        (
            "{applyOnForward: true, doNotTrack: true, types: [Ingress, Egress], egress: [{action: Deny}]}",
            PolicyStage::Untracked,
        ),
    ] {
        assert_eq!(good_policy(&policy(spec)).stage, stage, "{spec}");
    }
}

#[test]
fn what_does_not_go_together() {
    for (spec, code, path, words) in [
        (
            "{applyOnForward: true, doNotTrack: true, preDNAT: true}",
            "conflicting-fields",
            "spec.preDNAT",
            "both `doNotTrack` and `preDNAT`",
        ),
        (
            "{applyOnForward: true, preDNAT: true, egress: [{action: Allow}], types: [Ingress]}",
            "conflicting-fields",
            "spec.egress",
            "cannot have egress rules",
        ),
        (
            "{applyOnForward: true, preDNAT: true, types: [Ingress, Egress]}",
            "conflicting-fields",
            "spec.types",
            "cannot have the type Egress",
        ),
        (
            "{applyOnForward: true, preDNAT: true, egress: [{action: Allow}]}",
            "conflicting-fields",
            "spec.egress",
            "without `preDNAT`",
        ),
        (
            "{doNotTrack: true}",
            "needs-apply-on-forward",
            "spec.doNotTrack",
            "`doNotTrack` needs `applyOnForward: true`",
        ),
        (
            "{preDNAT: true}",
            "needs-apply-on-forward",
            "spec.preDNAT",
            "add `applyOnForward: true`",
        ),
        (
            "{preDNAT: true, applyOnForward: false}",
            "needs-apply-on-forward",
            "spec.applyOnForward",
            "",
        ),
        (
            "{preDNAT: true, applyOnForward: yes}",
            "wrong-type",
            "spec.applyOnForward",
            "found the text `yes`",
        ),
    ] {
        if spec.contains("types: [Ingress]}") {
            // Rules that never apply are worth a warning of their own.
            let found = problems(&policy(spec));
            assert!(found.iter().any(|problem| problem.contains(code)), "{found:?}");
            continue;
        }
        refused(&policy(spec), code, path, words);
    }
}
