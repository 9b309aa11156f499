//! The policies that govern an endpoint, by tier.

use std::ops::Range;
use std::sync::Arc;

use super::PlacedPolicy;
use crate::net::Direction;

/// The policies that govern one direction of an endpoint at a stage.
#[derive(Debug)]
pub(crate) struct Governing {
    /// Their indices, in order.
    pub(crate) policies: Arc<[u32]>,
    /// The tiers that they are of, in order.
    pub(crate) tiers: Vec<GoverningTier>,
}

/// Those of one tier.
#[derive(Debug)]
pub(crate) struct GoverningTier {
    /// An index into [`World::tiers`](super::World::tiers).
    pub(crate) tier: usize,
    /// Their places among the indices of all tiers.
    pub(crate) places: Range<usize>,
    /// Whether a rule of one passes.
    pub(crate) passes: bool,
    /// Whether a safety net is among them.
    pub(crate) has_net: bool,
    /// Whether another policy is.
    pub(crate) has_others: bool,
}

impl Governing {
    /// Those of these indices, which are in order.
    pub(super) fn new(indices: Arc<[u32]>, direction: Direction, policies: &[PlacedPolicy]) -> Self {
        let mut tiers: Vec<GoverningTier> = Vec::new();
        for (place, &index) in indices.iter().enumerate() {
            let policy = &policies[index as usize];
            if tiers.last().is_none_or(|last| last.tier != policy.tier) {
                tiers.push(GoverningTier {
                    tier: policy.tier,
                    places: place..place,
                    passes: false,
                    has_net: false,
                    has_others: false,
                });
            }
            // There is one: it has just been put there, or was.
            if let Some(tier) = tiers.last_mut() {
                tier.places.end = place + 1;
                tier.passes |= policy.passes(direction);
                tier.has_net |= policy.safety_net;
                tier.has_others |= !policy.safety_net;
            }
        }
        Governing {
            policies: indices,
            tiers,
        }
    }

    /// Those of one tier; `None` if there are none.
    pub(crate) fn tier(&self, tier: usize) -> Option<&GoverningTier> {
        self.tiers.iter().find(|of| of.tier == tier)
    }
}
