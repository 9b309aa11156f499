//! What a person makes of a directory, step by step: stage, promote, take the safety nets away.

use std::collections::BTreeSet;

use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{Host, Worlds, resolve};

/// The directory before anything was staged.
pub fn without_staged(snapshot: &Snapshot) -> Snapshot {
    let mut without = snapshot.clone();
    without.policies.retain(|policy| policy.staged.is_none());
    without
}

/// Worlds in which the pending one is in force: what the evaluator says of them, it predicts of the promoted directory.
pub fn predicted(worlds: &Worlds) -> Worlds {
    let mut predicted = worlds.clone();
    predicted.enforced = worlds.pending.clone();
    predicted
}

/// The directory without the safety nets of its pending world.
pub fn without_safety_nets(snapshot: &Snapshot, host: &Host) -> Snapshot {
    let pending = resolve(snapshot, host.clone()).pending;
    let nets = pending.policies.iter().filter(|policy| policy.safety_net);
    let nets: BTreeSet<usize> = nets.map(|policy| policy.source).collect();
    let mut without = snapshot.clone();
    let mut index = 0..;
    without
        .policies
        .retain(|_| index.next().is_some_and(|index| !nets.contains(&index)));
    without
}
