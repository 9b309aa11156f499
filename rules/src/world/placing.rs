//! The policies of a snapshot, resolved, and put in order for both worlds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::order::Rank;
use super::policies::Selecting;
use super::resolve::Previous;
use super::resolver::Resolver;
use super::selections::Classes;
use super::{PlacedPolicy, World, WorldKind, WorldTier, Worlds};
use crate::resource::{Policy, PolicyId, StagedAction};
use crate::snapshot::Snapshot;

/// How far a walk along two lists looks ahead for where they meet again.
const LOOK_AHEAD: usize = 64;

/// The policies of a snapshot, each resolved once for both worlds.
pub(super) struct Placing<'a> {
    snapshot: &'a Snapshot,
    before: Option<&'a Worlds>,
    /// Those that cannot be taken from the worlds before as they are, by their index.
    made: BTreeMap<usize, PlacedPolicy>,
    /// Where each policy of the snapshot before is now, if it can.
    now: Vec<Option<u32>>,
    /// Whether all are what and where they were.
    all_stay: bool,
}

impl<'a> Placing<'a> {
    /// Resolves those that have changed.
    pub(super) fn new(
        previous: Option<&Previous<'a>>,
        snapshot: &'a Snapshot,
        tiers: &Arc<[WorldTier]>,
        resolver: &mut Resolver<'_>,
    ) -> Self {
        let places: BTreeMap<&str, usize> = tiers.iter().map(|tier| tier.name.as_str()).zip(0..).collect();
        let in_a_world =
            |policy: &Policy| !matches!(policy.staged, Some(StagedAction::Delete | StagedAction::Ignore));
        let tier = |policy: &Policy| places.get(policy.tier.as_str()).copied().unwrap_or_default();
        let Some(Previous {
            snapshot: was,
            worlds,
            ..
        }) = previous
        else {
            let all = snapshot.policies.iter().enumerate();
            let all = all.filter(|(_, policy)| in_a_world(policy));
            return Placing {
                snapshot,
                before: None,
                made: all
                    .map(|(index, policy)| (index, resolver.placed(policy, tier(policy))))
                    .collect(),
                now: Vec::new(),
                all_stay: false,
            };
        };
        let tiers_stay = Arc::ptr_eq(tiers, &worlds.enforced.tiers);
        let found = found(&was.policies, &snapshot.policies);
        let all_stay = tiers_stay
            && was.policies.len() == snapshot.policies.len()
            && (0..).zip(&found).all(|(index, found)| *found == Some(index));
        let mut now = vec![None; was.policies.len()];
        let mut made = BTreeMap::new();
        let by_source = if tiers_stay {
            Vec::new()
        } else {
            by_source(was, worlds)
        };
        for (index, (policy, found)) in snapshot.policies.iter().zip(&found).enumerate() {
            let found = found.map(|found| found as usize);
            if tiers_stay && let Some(found) = found {
                now[found] = u32::try_from(index).ok();
                continue;
            }
            if !in_a_world(policy) {
                continue;
            }
            // In another tier it still says the same.
            let known = found.and_then(|found| *by_source.get(found)?);
            let placed = match known {
                Some(known) => known.in_tier(tier(policy)),
                None => resolver.placed(policy, tier(policy)),
            };
            made.insert(index, placed);
        }
        Placing {
            snapshot,
            before: Some(worlds),
            made,
            now,
            all_stay,
        }
    }

    /// Both worlds, where endpoints are of these classes and policies of so many groups.
    pub(super) fn worlds(
        &self,
        tiers: &Arc<[WorldTier]>,
        classes: &Arc<Classes>,
        groups: usize,
    ) -> [World; 2] {
        if let Some(before) = self.before.filter(|_| self.all_stay) {
            let selecting = |world: &World| {
                let selecting = world.selections();
                if Arc::ptr_eq(selecting.classes(), classes) {
                    return world.clone();
                }
                let selecting = Selecting::new(Arc::clone(classes), groups, &world.policies);
                World::new(
                    Arc::clone(tiers),
                    Arc::clone(&world.policies),
                    Arc::new(selecting),
                )
            };
            let enforced = selecting(&before.enforced);
            if Arc::ptr_eq(&before.enforced.policies, &before.pending.policies) {
                return [enforced.clone(), enforced];
            }
            return [enforced, selecting(&before.pending)];
        }
        let members = [enforced(self.snapshot), pending(self.snapshot)];
        if members[0] == members[1] {
            let world = self.world(WorldKind::Enforced, [&members[0]; 2], tiers, classes, groups);
            return [world.clone(), world];
        }
        let [enforced, pending] = [&members[0], &members[1]];
        [
            self.world(WorldKind::Enforced, [enforced, pending], tiers, classes, groups),
            self.world(WorldKind::Pending, [pending, enforced], tiers, classes, groups),
        ]
    }

    /// The world of some policies of the snapshot, where the other world has others.
    fn world(
        &self,
        kind: WorldKind,
        [members, others]: [&[bool]; 2],
        tiers: &Arc<[WorldTier]>,
        classes: &Arc<Classes>,
        groups: usize,
    ) -> World {
        let before = self.before.map(|worlds| worlds.world(kind));
        let policies: Arc<[PlacedPolicy]> = self.ordered(before, members, others).into();
        let selecting = before
            .filter(|before| before.selections().is_of(classes, &before.policies, &policies))
            .map(|before| Arc::clone(before.selections()));
        let selecting =
            selecting.unwrap_or_else(|| Arc::new(Selecting::new(Arc::clone(classes), groups, &policies)));
        World::new(Arc::clone(tiers), policies, selecting)
    }

    /// The policies of a world in order: those that it had before are in order already, the others come between.
    fn ordered(&self, before: Option<&World>, members: &[bool], others: &[bool]) -> Vec<PlacedPolicy> {
        let mut is_missing = members.to_vec();
        let mut kept: Vec<(usize, &PlacedPolicy)> = Vec::new();
        for policy in before.into_iter().flat_map(|world| world.policies.iter()) {
            let now = self.now[policy.source].map(|now| now as usize);
            if let Some(now) = now.filter(|&now| members[now]) {
                is_missing[now] = false;
                kept.push((now, policy));
            }
        }
        let mut missing: Vec<(Rank<'_>, usize, &PlacedPolicy)> = is_missing
            .iter()
            .enumerate()
            .filter(|(_, is_missing)| **is_missing)
            .filter_map(|(index, _)| Some((index, self.resolved(index)?)))
            .map(|(index, policy)| (Rank::of(policy), index, policy))
            .collect();
        missing.sort_unstable_by(|a, b| a.0.cmp(&b.0));

        let mut ordered: Vec<PlacedPolicy> = Vec::with_capacity(kept.len() + missing.len());
        let mut place = |source: usize, policy: &PlacedPolicy| {
            let place = match ordered.last() {
                Some(last) if last.tier == policy.tier => last.place + 1,
                _ => 0,
            };
            ordered.push(policy.at(source, place, !others[source]));
        };
        let mut kept = kept.as_slice();
        for (rank, source, policy) in &missing {
            let earlier = kept.partition_point(|(_, policy)| Rank::of(policy) < *rank);
            let (before, behind) = kept.split_at(earlier);
            for &(source, policy) in before {
                place(source, policy);
            }
            place(*source, policy);
            kept = behind;
        }
        for &(source, policy) in kept {
            place(source, policy);
        }
        ordered
    }

    /// A policy that this world did not have, or not so.
    fn resolved(&self, index: usize) -> Option<&PlacedPolicy> {
        if let Some(made) = self.made.get(&index) {
            return Some(made);
        }
        // The other world has had it.
        let before = self.before?;
        let was = (0..)
            .zip(&self.now)
            .find(|(_, now)| now.is_some_and(|now| now as usize == index));
        let (was, _) = was?;
        let mut had = WorldKind::BOTH
            .into_iter()
            .flat_map(|kind| before.world(kind).policies.iter());
        had.find(|policy| policy.source == was)
    }
}

/// Which policies the enforced world has.
fn enforced(snapshot: &Snapshot) -> Vec<bool> {
    let policies = snapshot.policies.iter();
    policies.map(|policy| policy.staged.is_none()).collect()
}

/// Which policies the pending world has: a staged object stands in for the enforced one of that identity, or takes it
/// away.
fn pending(snapshot: &Snapshot) -> Vec<bool> {
    let policies = || snapshot.policies.iter();
    let replaced: BTreeSet<&PolicyId> = policies()
        .filter(|policy| {
            matches!(
                policy.staged,
                Some(StagedAction::Set | StagedAction::Learn | StagedAction::Delete)
            )
        })
        .map(|policy| &policy.id)
        .collect();
    policies()
        .map(|policy| match policy.staged {
            None => replaced.is_empty() || !replaced.contains(&policy.id),
            Some(StagedAction::Set | StagedAction::Learn) => true,
            Some(StagedAction::Delete | StagedAction::Ignore) => false,
        })
        .collect()
}

/// The policies of worlds by their index in the snapshot.
fn by_source<'w>(snapshot: &Snapshot, worlds: &'w Worlds) -> Vec<Option<&'w PlacedPolicy>> {
    let mut by_source = vec![None; snapshot.policies.len()];
    for policy in WorldKind::BOTH
        .into_iter()
        .flat_map(|kind| worlds.world(kind).policies.iter())
    {
        by_source[policy.source] = Some(policy);
    }
    by_source
}

/// For each policy of a list where an equal one is in the list before: where the lists go side by side by their pointers,
/// and what is left by what it is called and what it says.
fn found(was: &[Arc<Policy>], is: &[Arc<Policy>]) -> Vec<Option<u32>> {
    let mut found = vec![None; is.len()];
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (0, 0);
    while old < was.len() || new < is.len() {
        let (old_end, new_end) = meeting(&was[old..], &is[new..]);
        gone.extend(old..old + old_end);
        come.extend(new..new + new_end);
        (old, new) = (old + old_end, new + new_end);
        while old < was.len() && new < is.len() && Arc::ptr_eq(&was[old], &is[new]) {
            found[new] = u32::try_from(old).ok();
            (old, new) = (old + 1, new + 1);
        }
    }
    let by_id: BTreeMap<(&PolicyId, bool), usize> = gone
        .into_iter()
        .map(|old| ((&was[old].id, was[old].staged.is_some()), old))
        .collect();
    for new in come {
        let policy = &is[new];
        let old = by_id.get(&(&policy.id, policy.staged.is_some())).copied();
        let same = old.filter(|&old| Arc::ptr_eq(&was[old], policy) || was[old] == *policy);
        found[new] = same.and_then(|old| u32::try_from(old).ok());
    }
    found
}

/// How much of two lists to skip until they meet again; all of both, if they do not soon.
fn meeting(was: &[Arc<Policy>], is: &[Arc<Policy>]) -> (usize, usize) {
    let ahead = 0..LOOK_AHEAD.min(was.len().max(is.len()));
    for further in ahead {
        for nearer in 0..=further {
            for (old, new) in [(nearer, further), (further, nearer)] {
                if let (Some(a), Some(b)) = (was.get(old), is.get(new))
                    && Arc::ptr_eq(a, b)
                {
                    return (old, new);
                }
            }
        }
    }
    (was.len(), is.len())
}
