//! The order in which policies are asked.

use std::cmp::{Ordering, Reverse};

use super::WorldPolicy;
use crate::resource::{Order, PolicyId};

/// What decides where a policy stands.
#[derive(PartialEq, Eq)]
pub(super) struct Rank<'p> {
    tier: usize,
    safety_net: bool,
    order: (Reverse<bool>, Option<Order>),
    id: &'p PolicyId,
}

impl<'p> Rank<'p> {
    /// Where this policy stands.
    pub(super) fn of(policy: &'p WorldPolicy) -> Self {
        Rank {
            tier: policy.tier,
            safety_net: policy.safety_net,
            // A policy without order comes after every number, the safety net after all.
            order: (Reverse(policy.order.is_some()), policy.order),
            id: &policy.id,
        }
    }
}

impl Ord for Rank<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.tier, self.safety_net, self.order)
            .cmp(&(other.tier, other.safety_net, other.order))
            .then_with(|| self.id.cmp_in_order(other.id))
    }
}

impl PartialOrd for Rank<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
