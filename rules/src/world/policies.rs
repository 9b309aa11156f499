//! One world: its tiers and policies, and which policies select which endpoint.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::governing::Governing;
use super::port_mask::PortMask;
use super::selections::{Classes, Group};
use super::{EndpointId, Stage, WorldRule};
use crate::net::Direction;
use crate::resource::{Action, Order, PolicyId, PolicyStage, TierAction};
use crate::source::Position;

/// One world: tiers and policies in order of evaluation. A copy costs nothing.
#[derive(Clone, Debug)]
pub struct World {
    /// Tiers in order.
    pub tiers: Arc<[WorldTier]>,
    /// Policies in order: by tier, then within it, the safety net last.
    pub policies: Arc<[PlacedPolicy]>,
    /// Which of them select which endpoint.
    selecting: Arc<Selecting>,
    /// The indices of those that the other world lacks.
    alone: Arc<[u32]>,
    /// The indices of the safety nets.
    nets: Arc<[u32]>,
    /// Whether a rule looks at source ports.
    looks_at_source_ports: bool,
    /// In which directions and at which stages a policy governs.
    ways: u8,
}

impl World {
    /// The world of these policies, in order of evaluation.
    pub(super) fn new(
        tiers: Arc<[WorldTier]>,
        policies: Arc<[PlacedPolicy]>,
        selecting: Arc<Selecting>,
    ) -> Self {
        let alone = (0..).zip(policies.iter()).filter(|(_, policy)| policy.is_alone);
        let nets = (0..).zip(policies.iter()).filter(|(_, policy)| policy.is_net);
        World {
            tiers,
            alone: alone.map(|(index, _)| index).collect(),
            nets: nets.map(|(index, _)| index).collect(),
            looks_at_source_ports: policies.iter().any(|policy| policy.looks_at_source_ports),
            ways: policies.iter().fold(0, |all, policy| all | policy.ways),
            policies,
            selecting,
        }
    }

    /// The world of these policies, in order of evaluation. `selecting` has for each endpoint the indices of those that
    /// select it, in order.
    pub(crate) fn of_lists(
        tiers: Arc<[WorldTier]>,
        policies: Arc<[PlacedPolicy]>,
        selecting: Vec<Arc<[u32]>>,
    ) -> Self {
        let selecting = Arc::new(Selecting::of_lists(selecting, &policies));
        World::new(tiers, policies, selecting)
    }

    /// Which of the policies select which endpoint.
    pub(super) fn selections(&self) -> &Arc<Selecting> {
        &self.selecting
    }

    /// The indices of the policies that select an endpoint, in order.
    pub fn selecting(&self, endpoint: EndpointId) -> &[u32] {
        &self.selecting.of(endpoint, &self.policies).policies
    }

    /// The safety nets, in order.
    pub(crate) fn safety_nets(&self) -> impl Iterator<Item = &PlacedPolicy> {
        self.nets.iter().map(|&index| &self.policies[index as usize])
    }

    /// The policies that govern one direction of an endpoint at a stage, in order.
    pub fn governing(
        &self,
        endpoint: EndpointId,
        direction: Direction,
        stage: Stage,
    ) -> impl Iterator<Item = &PlacedPolicy> {
        let indices = self.governing_by_tier(endpoint, direction, stage).policies.iter();
        indices.map(|&index| &self.policies[index as usize])
    }

    /// The same, by tier.
    pub(crate) fn governing_by_tier(
        &self,
        endpoint: EndpointId,
        direction: Direction,
        stage: Stage,
    ) -> &Governing {
        let list = self.selecting.of(endpoint, &self.policies);
        list.governing(direction, stage, &self.policies)
    }

    /// Whether there is one that governs this direction of an endpoint at this stage.
    pub(super) fn has_governing(&self, endpoint: EndpointId, direction: Direction, stage: Stage) -> bool {
        let ways = self.selecting.of(endpoint, &self.policies).ways;
        ways & way(direction, stage) != 0
    }

    /// The policies that the other world lacks and that govern this direction of an endpoint at this stage, in order.
    pub(super) fn governing_alone(
        &self,
        endpoint: EndpointId,
        direction: Direction,
        stage: Stage,
    ) -> impl Iterator<Item = &PlacedPolicy> {
        self.alone
            .iter()
            .filter(move |index| {
                self.policies[**index as usize].governs(direction, stage)
                    && self.selecting(endpoint).binary_search(index).is_ok()
            })
            .map(|&index| &self.policies[index as usize])
    }

    /// Whether a rule looks at source ports.
    pub(super) fn looks_at_source_ports(&self) -> bool {
        self.looks_at_source_ports
    }

    /// Whether a policy governs anything at this stage.
    pub fn has_stage(&self, stage: Stage) -> bool {
        let mut directions = Direction::BOTH.into_iter();
        directions.any(|direction| self.ways & way(direction, stage) != 0)
    }
}

/// Worlds are equal when the same policies stand in the same places and select the same endpoints.
impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let lists = |world: &World| world.selecting.classes.of_endpoint.len();
        let selects_alike = |id| self.selecting(EndpointId(id)) == other.selecting(EndpointId(id));
        self.tiers == other.tiers
            && (Arc::ptr_eq(&self.policies, &other.policies) || self.policies == other.policies)
            && (Arc::ptr_eq(&self.selecting, &other.selecting)
                || (lists(self) == lists(other) && (0..lists(self)).all(selects_alike)))
    }
}

/// Which policies of a world select which endpoint: found out for a class of endpoints when one of them is asked about.
#[derive(Debug)]
pub(super) struct Selecting {
    classes: Arc<Classes>,
    /// Where the policies of each group begin in `members`, and where the last ends.
    starts: Vec<u32>,
    /// The indices of the policies of each group, in order.
    members: Vec<u32>,
    /// By class.
    lists: Vec<OnceLock<List>>,
}

/// The policies that select an endpoint.
#[derive(Debug)]
struct List {
    /// Their indices, in order.
    policies: Arc<[u32]>,
    /// In which directions and at which stages one of them governs.
    ways: u8,
    /// Those that govern, by the place of the bit in `ways`: found out when they are asked for.
    governing: [OnceLock<Governing>; 8],
}

impl Selecting {
    /// Of these policies; there are so many groups.
    pub(super) fn new(classes: Arc<Classes>, groups: usize, policies: &[PlacedPolicy]) -> Self {
        let mut starts = vec![0_u32; groups + 1];
        for policy in policies {
            starts[policy.group.index() + 1] += 1;
        }
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let mut members = vec![0; policies.len()];
        for (index, policy) in (0..).zip(policies) {
            let place = &mut next[policy.group.index()];
            members[*place as usize] = index;
            *place += 1;
        }
        Selecting {
            lists: std::iter::repeat_with(OnceLock::new)
                .take(classes.groups.len())
                .collect(),
            classes,
            starts,
            members,
        }
    }

    /// Of endpoints with these lists, each a class of its own.
    fn of_lists(lists: Vec<Arc<[u32]>>, policies: &[PlacedPolicy]) -> Self {
        Selecting {
            classes: Arc::new(Classes {
                of_endpoint: (0..).take(lists.len()).collect(),
                groups: Vec::new(),
            }),
            starts: Vec::new(),
            members: Vec::new(),
            lists: lists
                .into_iter()
                .map(|list| OnceLock::from(List::new(list, policies)))
                .collect(),
        }
    }

    /// Whether these are the classes, and these policies are of the same groups in the same order as those, and alike in
    /// all that lists tell of them.
    pub(super) fn is_of(
        &self,
        classes: &Arc<Classes>,
        before: &[PlacedPolicy],
        policies: &[PlacedPolicy],
    ) -> bool {
        let alike = |a: &PlacedPolicy, b: &PlacedPolicy| {
            a.group == b.group
                && a.ways == b.ways
                && a.passes == b.passes
                && a.is_net == b.is_net
                && (Arc::ptr_eq(&a.policy, &b.policy) || a.tier == b.tier)
        };
        Arc::ptr_eq(&self.classes, classes)
            && before.len() == policies.len()
            && before.iter().zip(policies).all(|(a, b)| alike(a, b))
    }

    /// The classes of the endpoints.
    pub(super) fn classes(&self) -> &Arc<Classes> {
        &self.classes
    }

    fn of(&self, endpoint: EndpointId, policies: &[PlacedPolicy]) -> &List {
        let class = self.classes.of_endpoint[endpoint.0] as usize;
        self.lists[class].get_or_init(|| {
            let groups = self.classes.groups[class].iter();
            // A group that is younger than the policies has none.
            let groups = groups.filter(|group| group.index() + 1 < self.starts.len());
            let mut list: Vec<u32> = groups
                .flat_map(|group| {
                    let ends = [group.index(), group.index() + 1].map(|group| self.starts[group] as usize);
                    &self.members[ends[0]..ends[1]]
                })
                .copied()
                .collect();
            list.sort_unstable();
            List::new(list.into(), policies)
        })
    }
}

impl List {
    fn new(list: Arc<[u32]>, policies: &[PlacedPolicy]) -> Self {
        let ways = list.iter().map(|&index| policies[index as usize].ways);
        List {
            ways: ways.fold(0, |all, ways| all | ways),
            policies: list,
            governing: [const { OnceLock::new() }; 8],
        }
    }

    fn governing(&self, direction: Direction, stage: Stage, policies: &[PlacedPolicy]) -> &Governing {
        let governing = &self.governing[bit(direction, stage) as usize];
        governing.get_or_init(|| {
            let govern = |index: &&u32| policies[**index as usize].governs(direction, stage);
            let indices = if self.ways & way(direction, stage) == 0 {
                Arc::default()
            } else if self.policies.iter().all(|index| govern(&index)) {
                Arc::clone(&self.policies)
            } else {
                self.policies.iter().filter(govern).copied().collect()
            };
            Governing::new(indices, direction, policies)
        })
    }
}

/// The bit of a direction and stage, by its place.
fn bit(direction: Direction, stage: Stage) -> u8 {
    2 * stage as u8 + direction as u8
}

/// A bit for each direction and stage.
fn way(direction: Direction, stage: Stage) -> u8 {
    1 << bit(direction, stage)
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
#[derive(Clone, Debug)]
pub struct PlacedPolicy {
    /// Which policy of the snapshot it is.
    pub source: usize,
    /// Its place in the tier, from 0.
    pub place: usize,
    /// What it says, the same in both worlds, and from one generation to the next as long as nothing it depends on
    /// changes.
    pub policy: Arc<WorldPolicy>,
    /// The group it is in; here and below, what is asked so often that it must not be far.
    group: Group,
    /// In which directions and at which stages it governs.
    ways: u8,
    /// Whether the other world lacks it.
    is_alone: bool,
    /// Whether it is a safety net.
    is_net: bool,
    /// Whether a rule of it looks at source ports.
    looks_at_source_ports: bool,
    /// Whether a rule of it passes, of ingress and of egress.
    passes: [bool; 2],
    /// The destination ports that its rules may match.
    ports: PortMask,
}

impl PlacedPolicy {
    /// A policy that is not placed yet.
    pub(super) fn new(policy: Arc<WorldPolicy>, group: Group) -> Self {
        let mut ways = 0;
        for direction in Direction::BOTH
            .into_iter()
            .filter(|&direction| policy.rules(direction).is_some())
        {
            for stage in Stage::ALL.into_iter().filter(|stage| stage.asks(policy.stage)) {
                ways |= way(direction, stage);
            }
        }
        let rules = |direction| policy.rules(direction).unwrap_or_default();
        let rules = || Direction::BOTH.into_iter().flat_map(rules);
        let ports = rules().map(PortMask::of_rule);
        PlacedPolicy {
            source: 0,
            place: 0,
            group,
            ways,
            is_alone: false,
            is_net: policy.safety_net,
            looks_at_source_ports: rules().any(WorldRule::looks_at_source_ports),
            ports: ports.fold(PortMask::default(), PortMask::or),
            passes: Direction::BOTH.map(|direction| policy.has_pass(direction)),
            policy,
        }
    }

    /// The same policy somewhere else.
    pub(super) fn at(&self, source: usize, place: usize, is_alone: bool) -> Self {
        PlacedPolicy {
            source,
            place,
            is_alone,
            ..self.clone()
        }
    }

    /// The same policy, which stands in a tier of another index now.
    pub(super) fn in_tier(&self, tier: usize) -> Self {
        if tier == self.policy.tier {
            return self.clone();
        }
        let policy = Arc::new(WorldPolicy {
            tier,
            ..WorldPolicy::clone(&self.policy)
        });
        PlacedPolicy {
            policy,
            ..self.clone()
        }
    }

    /// A policy with fewer rules in the same place.
    pub(crate) fn with(&self, policy: WorldPolicy) -> Self {
        PlacedPolicy {
            policy: Arc::new(policy),
            ..self.clone()
        }
    }

    /// Whether a rule of a direction passes.
    pub(crate) fn passes(&self, direction: Direction) -> bool {
        self.passes[direction as usize]
    }

    /// Whether a rule of it may match one of these destination ports.
    pub(crate) fn may_match(&self, ports: PortMask) -> bool {
        self.ports.meets(ports)
    }

    fn governs(&self, direction: Direction, stage: Stage) -> bool {
        self.ways & way(direction, stage) != 0
    }
}

/// Equal when they say the same and stand in the same place.
impl PartialEq for PlacedPolicy {
    fn eq(&self, other: &Self) -> bool {
        (self.source, self.place) == (other.source, other.place)
            && (Arc::ptr_eq(&self.policy, &other.policy) || self.policy == other.policy)
    }
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
    /// Whether a rule of a direction passes.
    pub(crate) fn has_pass(&self, direction: Direction) -> bool {
        let rules = self.rules(direction).unwrap_or_default();
        rules.iter().any(|rule| rule.action == Action::Pass)
    }

    /// The rules of one direction, or `None` if the policy does not govern it.
    pub fn rules(&self, direction: Direction) -> Option<&[WorldRule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}
