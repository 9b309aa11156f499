//! Policies about what goes through a host, and the hosts they are about.

use super::finding::Finding;
use super::input::Input;
use crate::diagnostic::quoted;
use crate::resource::PolicyStage;
use crate::world::EndpointKind;

/// Policies for forwarded, untranslated or untracked packets that select no host endpoint.
pub(super) fn no_forward_effect(input: &Input<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for policy in input.policies() {
        let (field, what) = match policy.stage {
            PolicyStage::Normal {
                apply_on_forward: false,
            } => continue,
            PolicyStage::Normal {
                apply_on_forward: true,
            } => ("applyOnForward", "`applyOnForward` has no effect"),
            PolicyStage::PreDnat => ("preDNAT", "with `preDNAT` the whole policy has no effect"),
            PolicyStage::Untracked => ("doNotTrack", "with `doNotTrack` the whole policy has no effect"),
        };
        let selector = &input.snapshot.policies[policy.source].selector;
        let selected = input.worlds.endpoints.iter();
        let kinds: Vec<EndpointKind> = selected
            .filter(|endpoint| selector.matches(&endpoint.labels))
            .map(|endpoint| endpoint.kind)
            .collect();
        if kinds.is_empty() || kinds.contains(&EndpointKind::Host) {
            continue;
        }
        let name = quoted(&policy.id.to_string());
        let message = format!("{name} selects no host endpoint: {what}");
        let mut finding = Finding::new("no-forward-effect", message)
            .of_policy(policy)
            .label("selects workloads or services only");
        finding.path = Some(format!("spec.{field}"));
        findings.push(finding);
    }
    findings
}
