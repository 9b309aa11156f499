//! Files with some policies promoted or removed, and every other byte as it was.
//!
//! A promotion is little more than a word: `StagedGlobalNetworkPolicy` becomes `GlobalNetworkPolicy`. That is what is
//! changed in the text, so that comments, order, quotes and line breaks stay. What comes of it is decoded again, and is
//! given out only if it means exactly what [`Snapshot::promoted`] means; what cannot be said by such a change (an anchor
//! that something else repeats) is refused.

mod edits;
mod find;
mod meaning;

use crate::decode::decode;
use crate::resource::{Policy, PolicyKind, StagedAction};
use crate::snapshot::Snapshot;
use crate::source::{FileId, Files};
use edits::Edits;
use find::Objects;

/// A file as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Which file.
    pub file: FileId,
    /// Its new text.
    pub text: String,
}

/// Why files cannot be rewritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// There is no object where the policy was read.
    #[error("{policy} is not at {place} any more; reload, then try again")]
    Gone {
        /// The policy.
        policy: String,
        /// Where it was.
        place: String,
    },
    /// The text would not mean what it is to mean.
    #[error(
        "the files cannot be changed by a word or two so that they mean the same but for {policies} ({why}); edit them by \
         hand, then reload"
    )]
    Different {
        /// The policies.
        policies: String,
        /// What is in the way.
        why: String,
    },
}

/// The files in which something changes when these staged policies are promoted: each comes in place of the enforced one
/// of its identity, or takes it away. Parked ones stay as they are.
///
/// # Errors
///
/// If a change of a few words cannot say that; nothing is half changed.
pub fn promote(
    files: &Files,
    ids: &[FileId],
    snapshot: &Snapshot,
    is_promoted: impl Fn(&Policy) -> bool,
) -> Result<Vec<Rewritten>, RewriteError> {
    let is_promoted =
        |policy: &Policy| !matches!(policy.staged, None | Some(StagedAction::Ignore)) && is_promoted(policy);
    let policies = snapshot.policies.iter().map(|policy| &**policy);
    let promoted: Vec<&Policy> = policies.filter(|policy| is_promoted(policy)).collect();
    let is_replaced =
        |policy: &Policy| policy.staged.is_none() && promoted.iter().any(|promoted| promoted.id == policy.id);
    let change = |policy: &Policy| match policy.staged {
        Some(StagedAction::Delete) if is_promoted(policy) => Some(Change::Remove),
        Some(_) if is_promoted(policy) => Some(Change::Promote),
        None if is_replaced(policy) => Some(Change::Remove),
        _ => None,
    };
    rewrite(files, ids, snapshot, change, &snapshot.promoted(is_promoted))
}

/// The files in which something changes when these policies are removed.
///
/// # Errors
///
/// As [`promote`].
pub fn remove(
    files: &Files,
    ids: &[FileId],
    snapshot: &Snapshot,
    is_removed: impl Fn(&Policy) -> bool,
) -> Result<Vec<Rewritten>, RewriteError> {
    let policies = snapshot.policies.iter().filter(|policy| !is_removed(policy));
    let expected = Snapshot {
        policies: policies.cloned().collect(),
        ..snapshot.clone()
    };
    let change = |policy: &Policy| is_removed(policy).then_some(Change::Remove);
    rewrite(files, ids, snapshot, change, &expected)
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Promote,
    Remove,
}

fn rewrite(
    files: &Files,
    ids: &[FileId],
    snapshot: &Snapshot,
    change: impl Fn(&Policy) -> Option<Change>,
    expected: &Snapshot,
) -> Result<Vec<Rewritten>, RewriteError> {
    let changed = snapshot.policies.iter().map(|policy| &**policy);
    let changed: Vec<(&Policy, Change)> = changed
        .filter_map(|policy| Some((policy, change(policy)?)))
        .collect();
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let objects = Objects::of(files, ids, changed.iter().map(|(policy, _)| &policy.position));
    let mut edits = Edits::default();
    for (policy, change) in &changed {
        let object = objects.at(&policy.position).ok_or_else(|| RewriteError::Gone {
            policy: format!("{} {}", policy.written_kind(), policy.id),
            place: policy.position.to_string(),
        })?;
        match change {
            Change::Remove => edits.remove(object),
            Change::Promote => edits.promote(files, object, written(policy.id.kind)),
        }
    }
    let rewritten = edits.apply(files);
    let different = |why: String| RewriteError::Different {
        policies: names(&changed),
        why,
    };
    let mut after = Files::default();
    let text = |id: FileId| {
        let new = rewritten.iter().find(|rewritten| rewritten.file == id);
        new.map_or_else(|| files.text(id).to_string(), |new| new.text.clone())
    };
    let ids: Vec<FileId> = ids
        .iter()
        .map(|&id| after.add(files.name(id).clone(), text(id)))
        .collect();
    let (decoded, diagnostics) = decode(&after, &ids);
    match decoded {
        Some(decoded) if meaning::is_same(&decoded, expected) => Ok(rewritten),
        Some(_) => Err(different("something else would change as well".to_owned())),
        None => Err(different(diagnostics.render(&after, false).trim_end().to_owned())),
    }
}

/// The kind and the group of an enforced policy, as they are written.
fn written(kind: PolicyKind) -> (&'static str, &'static str) {
    match kind {
        PolicyKind::GlobalNetworkPolicy => ("GlobalNetworkPolicy", crate::schema::CALICO),
        PolicyKind::NetworkPolicy => ("NetworkPolicy", crate::schema::CALICO),
        PolicyKind::KubernetesNetworkPolicy => ("NetworkPolicy", crate::schema::KUBERNETES),
    }
}

fn names(changed: &[(&Policy, Change)]) -> String {
    let names = changed.iter().map(|(policy, _)| policy.id.to_string());
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
