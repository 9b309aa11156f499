//! Which policies and profiles need chains: those that an endpoint of this host asks.

use std::sync::Arc;

use super::{Compiler, endpoint};
use crate::net::Direction;
use crate::world::{Stage, WorldKind};

/// What the endpoints of this host ask in one direction, by world: indices, sorted.
pub(super) struct Needed {
    pub(super) policies: [Arc<[u32]>; 2],
    pub(super) profiles: [Vec<usize>; 2],
}

impl Compiler<'_> {
    pub(super) fn needed(&self, direction: Direction) -> Needed {
        let mut lists: [Vec<&Arc<[u32]>>; 2] = Default::default();
        let mut profiles: [Vec<usize>; 2] = Default::default();
        for (id, endpoint, _) in self.worlds.local() {
            for stage in Stage::ALL {
                if !self.is_asked(id, endpoint, direction, stage) {
                    continue;
                }
                let has_preview = self.worlds.differs(id, direction, stage);
                let worlds = WorldKind::BOTH.into_iter();
                for world in worlds.filter(|world| *world == WorldKind::Enforced || has_preview) {
                    let governing = self.worlds.world(world).governing_by_tier(id, direction, stage);
                    lists[world as usize].push(&governing.policies);
                    if stage == Stage::Normal {
                        profiles[world as usize].extend(endpoint::reachable_profiles(self.worlds, id));
                    }
                }
            }
        }
        for profiles in &mut profiles {
            profiles.sort_unstable();
            profiles.dedup();
        }
        Needed {
            policies: lists.map(|lists| in_any(&lists)),
            profiles,
        }
    }
}

/// What is in any of some sorted lists, sorted.
fn in_any(lists: &[&Arc<[u32]>]) -> Arc<[u32]> {
    let mut lists: Vec<&Arc<[u32]>> = lists.iter().copied().filter(|list| !list.is_empty()).collect();
    lists.dedup_by(|one, other| Arc::ptr_eq(one, other));
    match lists.as_slice() {
        [] => Arc::default(),
        [only] => Arc::clone(only),
        lists => {
            let mut all: Vec<u32> = lists.iter().flat_map(|list| list.iter()).copied().collect();
            all.sort_unstable();
            all.dedup();
            all.into()
        }
    }
}
