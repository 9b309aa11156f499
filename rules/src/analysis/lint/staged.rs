//! Staged objects that do nothing, or have been staged for too long.

use std::sync::Arc;
use std::time::Duration;

use super::Options;
use super::finding::Finding;
use super::input::Input;
use crate::diagnostic::quoted;
use crate::resource::{Policy, StagedAction};

/// Staged deletions of what is not there.
pub(super) fn deletions_of_nothing(input: &Input<'_>) -> Vec<Finding> {
    let policies = &input.snapshot.policies;
    let is_there = |deletion: &Policy| {
        policies
            .iter()
            .any(|policy| policy.staged.is_none() && policy.id == deletion.id)
    };
    let deletions = policies
        .iter()
        .filter(|policy| policy.staged == Some(StagedAction::Delete));
    let in_vain = deletions.filter(|deletion| !is_there(deletion)).map(|deletion| {
        let (kind, name) = (deletion.id.kind, quoted(&deletion.id.to_string()));
        let message = format!("there is no {kind} {name} to delete");
        of(deletion, "staged-delete-of-nothing", message).label("deletes nothing")
    });
    in_vain.collect()
}

/// Policies that have been staged for longer than they should.
pub(super) fn stale(input: &Input<'_>, options: &Options) -> Vec<Finding> {
    let Some(limit) = options.stale_after else {
        return Vec::new();
    };
    let is_staged = |policy: &&Arc<Policy>| !matches!(policy.staged, None | Some(StagedAction::Ignore));
    let staged = input.snapshot.policies.iter().filter(is_staged);
    let stale = staged.filter_map(|policy| {
        let age = *options.staged_for.get(&policy.id)?;
        let (name, days) = (quoted(&policy.id.to_string()), days(age));
        let message = format!(
            "{name} has been staged for {days}, longer than {}",
            self::days(limit)
        );
        (age > limit).then(|| of(policy, "stale-staged-policy", message).label(format!("staged for {days}")))
    });
    stale.collect()
}

fn of(policy: &Policy, code: &'static str, message: String) -> Finding {
    Finding::new(code, message).of(policy.written_kind(), &policy.id.name, Some(&policy.position))
}

/// A time in days, below two of them in hours.
fn days(time: Duration) -> String {
    match time.as_secs() / 3600 {
        1 => "1 hour".to_owned(),
        hours @ 0..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}
