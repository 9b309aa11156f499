//! One world: its tiers and policies, and which policies select which endpoint.

use std::ops::Deref;
use std::sync::Arc;

use super::{EndpointId, Stage, WorldRule};
use crate::net::Direction;
use crate::resource::{Order, PolicyId, PolicyStage, TierAction};
use crate::source::Position;

/// One world: tiers and policies in order of evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// Tiers in order.
    pub tiers: Arc<[WorldTier]>,
    /// Policies in order: by tier, then within it, the safety net last.
    pub policies: Vec<PlacedPolicy>,
    /// For each endpoint, the indices of the policies that select it, in order.
    selecting: Vec<Arc<[u32]>>,
}

impl World {
    /// The world of these policies, in order of evaluation. `selecting` has for each endpoint the indices of those that
    /// select it, in order.
    pub(crate) fn new(
        tiers: Arc<[WorldTier]>,
        policies: Vec<PlacedPolicy>,
        selecting: Vec<Arc<[u32]>>,
    ) -> Self {
        World {
            tiers,
            policies,
            selecting,
        }
    }

    /// The indices of the policies that select an endpoint, in order.
    pub fn selecting(&self, endpoint: EndpointId) -> &[u32] {
        &self.selecting[endpoint.0]
    }

    /// The policies that govern one direction of an endpoint at a stage, in order.
    pub fn governing(
        &self,
        endpoint: EndpointId,
        direction: Direction,
        stage: Stage,
    ) -> impl Iterator<Item = &PlacedPolicy> {
        self.selecting(endpoint)
            .iter()
            .map(|&index| &self.policies[index as usize])
            .filter(move |policy| stage.asks(policy.stage) && policy.rules(direction).is_some())
    }
}

/// A tier of a world.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldTier {
    /// Its name.
    pub name: String,
    /// What its end does.
    pub default_action: TierAction,
}

/// A policy, and where it stands: what changes when another policy comes or goes.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedPolicy {
    /// Which policy of the snapshot it is.
    pub source: usize,
    /// Its place in the tier, from 0.
    pub place: usize,
    /// What it says, the same in both worlds, and from one generation to the next as long as nothing it depends on
    /// changes.
    pub policy: Arc<WorldPolicy>,
}

impl Deref for PlacedPolicy {
    type Target = WorldPolicy;

    fn deref(&self) -> &WorldPolicy {
        &self.policy
    }
}

/// A policy as a trace names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRef {
    /// The kind as it is written.
    pub kind: &'static str,
    /// The tier.
    pub tier: String,
    /// The namespace; `None` for global kinds.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// A policy of a world, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldPolicy {
    /// Which policy it is.
    pub id: PolicyId,
    /// The kind as it is written.
    pub written_kind: &'static str,
    /// How traces name it.
    pub named: Arc<PolicyRef>,
    /// Its tier: an index into [`World::tiers`].
    pub tier: usize,
    /// Where on its way it meets a packet.
    pub stage: PolicyStage,
    /// Its order.
    pub order: Option<Order>,
    /// Whether it is staged, and here only because this is the pending world.
    pub staged: bool,
    /// Whether it is a safety net: what it allows carries a second verdict, without it.
    pub safety_net: bool,
    /// Rules towards the endpoint; `None` if it does not govern ingress.
    pub ingress: Option<Arc<[WorldRule]>>,
    /// Rules from the endpoint; `None` if it does not govern egress.
    pub egress: Option<Arc<[WorldRule]>>,
    /// Where it was written.
    pub position: Position,
}

impl WorldPolicy {
    /// The rules of one direction, or `None` if the policy does not govern it.
    pub fn rules(&self, direction: Direction) -> Option<&[WorldRule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}
