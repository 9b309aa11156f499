//! Profiles.

use super::finding::Finding;
use super::input::Input;
use crate::diagnostic::quoted;
use crate::net::Direction;
use crate::resource::Action;

/// Pass in a profile.
pub(super) fn passes(input: &Input<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for profile in input.snapshot.profiles.values() {
        for direction in Direction::BOTH {
            for rule in profile
                .rules(direction)
                .iter()
                .filter(|rule| rule.action == Action::Pass)
            {
                let name = quoted(&profile.name);
                let message = format!(
                    "{direction} rule {} of profile {name} passes: the next profile is asked",
                    rule.index
                );
                let mut finding = Finding::new("pass-in-profile", message)
                    .of("Profile", &profile.name, Some(&rule.position))
                    .label("skips the rest of this profile");
                finding.path = Some(format!("spec.{direction}[{}]", rule.index));
                findings.push(finding);
            }
        }
    }
    findings
}
