//! What one compilation takes over from the one before.
//!
//! A policy's chain depends on the policy, on what is true of all (the tiers, the safety nets of the preview, the options),
//! on the enforced policy of the same name, whose counters it must not take, and on what its address sets are called. As
//! long as all of that is as it was, it is the same chain. Counters and sets follow the chains that come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::index::Memo;
use super::reject::has_reject;
use super::sets::{SetInterner, SetSource, SetUse, shape};
use super::{Compiled, Counted, Options};
use crate::net::{Direction, Family};
use crate::resource::{PolicyId, PolicyStage};
use crate::ruleset::{Chain, Match, Name, Set};
use crate::shared_map::SharedMap;
use crate::world::{
    AddressSetId, NamedPortSetId, WorldEntity, WorldKind, WorldPolicy, WorldPorts, WorldTier, Worlds,
};

/// What the next compilation may take over: no part of what is compiled, and never compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) setting: Setting,
    /// Of each world and direction, in order of evaluation.
    pub(super) parts: [[Arc<[Arc<Part>]>; 2]; 2],
    /// All chains but those of policies.
    pub(super) others: Arc<[Arc<Chain>]>,
    /// Which chains copy packets for flow records: by their place among all, and among these.
    pub(super) flows: Arc<[[usize; 2]]>,
    /// What those count.
    pub(super) others_count: Arc<BTreeMap<Name, Counted>>,
    /// The sets, by how many conditions look into them.
    pub(super) uses: SharedMap<Name, SetUse>,
    /// The indexed tiers.
    pub(super) memo: Memo,
}

impl PartialEq for Kept {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What every policy's chain depends on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Setting {
    /// But for the generation, which no policy's chain bears.
    options: Options,
    tiers: [Arc<[WorldTier]>; 2],
    /// The safety nets of the pending world: their tier, their stage and whether they govern ingress and egress.
    nets: Vec<(usize, PolicyStage, [bool; 2])>,
    /// Two sets would have had one name, so that names depend on the order in which the sets were met: nothing is taken
    /// over, and nothing from here.
    pub(super) has_clash: bool,
}

impl Setting {
    pub(super) fn new(worlds: &Worlds, options: &Options) -> Self {
        let mut options = options.clone();
        if let Some(flow_log) = &mut options.flow_log {
            flow_log.generation = 0;
        }
        let nets = worlds.pending.safety_nets();
        Setting {
            options,
            tiers: WorldKind::BOTH.map(|world| Arc::clone(&worlds.world(world).tiers)),
            nets: nets
                .map(|net| {
                    let governs = Direction::BOTH.map(|direction| net.rules(direction).is_some());
                    (net.tier, net.stage, governs)
                })
                .collect(),
            has_clash: false,
        }
    }
}

/// One policy's chain in one world and direction, and what it was made from.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) policy: Arc<WorldPolicy>,
    /// For one of the pending world: the enforced policy whose counters would have the same names.
    pub(super) rival: Option<Arc<WorldPolicy>>,
    /// `None` if the policy does not govern the direction.
    pub(super) chain: Option<Arc<Chain>>,
    /// What it counts: also for rules that can match nothing, and so are not there.
    pub(super) counters: Arc<[Name]>,
    /// Whether a rule answers what it denies.
    pub(super) rejects: bool,
    sets: Arc<[AddressSetId]>,
    named_ports: Arc<[NamedPortSetId]>,
}

impl Part {
    pub(super) fn new(
        policy: &Arc<WorldPolicy>,
        rival: Option<&Arc<WorldPolicy>>,
        direction: Direction,
        chain: Option<Arc<Chain>>,
        counters: Arc<[Name]>,
    ) -> Self {
        let rules = policy.rules(direction).unwrap_or_default();
        let sides = || rules.iter().flat_map(|rule| [&rule.source, &rule.destination]);
        let sets: BTreeSet<AddressSetId> = sides()
            .flat_map(|side| [side.set, side.not_set])
            .flatten()
            .collect();
        let named = |ports: &Option<WorldPorts>| ports.as_ref().and_then(|ports| ports.named);
        let named_ports: BTreeSet<NamedPortSetId> = sides()
            .flat_map(|side: &WorldEntity| [named(&side.ports), named(&side.not_ports)])
            .flatten()
            .collect();
        Part {
            policy: Arc::clone(policy),
            rival: rival.map(Arc::clone),
            counters,
            rejects: chain.as_deref().is_some_and(has_reject),
            chain,
            sets: sets.into_iter().collect(),
            named_ports: named_ports.into_iter().collect(),
        }
    }
}

/// The previous compilation, from which parts are taken.
pub(super) struct Previous<'a> {
    pub(super) compiled: &'a Compiled,
    /// The sets that have other members than before, and the same name.
    changed: BTreeSet<SetSource>,
    /// Those that are called otherwise.
    renamed: BTreeSet<SetSource>,
}

impl<'a> Previous<'a> {
    /// The previous compilation, if anything of it can be taken over.
    pub(super) fn new(
        (worlds, compiled): (&Worlds, &'a Compiled),
        now: &Worlds,
        setting: &Setting,
    ) -> Option<Self> {
        if compiled.kept.setting != *setting {
            return None;
        }
        let sets = now.address_sets.others_than(&worlds.address_sets).map(|id| {
            let (was, is) = (worlds.address_sets.get(id), now.address_sets.get(id));
            let mut families = Family::BOTH.into_iter();
            let keeps =
                was.selector == is.selector && families.all(|family| shape(was, family) == shape(is, family));
            (SetSource::Addresses(id), keeps)
        });
        let ports = now.named_ports.others_than(&worlds.named_ports).map(|id| {
            let (was, is) = (worlds.named_ports.get(id), now.named_ports.get(id));
            let keeps = was.text == is.text && was.protocol == is.protocol;
            (SetSource::NamedPorts(id), keeps)
        });
        let (changed, renamed): (Vec<_>, Vec<_>) = sets.chain(ports).partition(|(_, keeps)| *keeps);
        Some(Previous {
            compiled,
            changed: changed.into_iter().map(|(source, _)| source).collect(),
            renamed: renamed.into_iter().map(|(source, _)| source).collect(),
        })
    }

    /// Whether a part is what the policy would be made into again.
    pub(super) fn still_holds(
        &self,
        part: &Part,
        policy: &Arc<WorldPolicy>,
        rival: Option<&Arc<WorldPolicy>>,
    ) -> bool {
        let is_renamed = |source| self.renamed.contains(&source);
        Arc::ptr_eq(&part.policy, policy)
            && same(part.rival.as_ref(), rival)
            && (self.renamed.is_empty()
                || !part.sets.iter().any(|&id| is_renamed(SetSource::Addresses(id)))
                    && !part
                        .named_ports
                        .iter()
                        .any(|&id| is_renamed(SetSource::NamedPorts(id))))
    }
}

fn same(one: Option<&Arc<WorldPolicy>>, other: Option<&Arc<WorldPolicy>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// How far an unchanged policy is looked for: this many in a row may come or go.
const FAR: usize = 64;

/// Goes through the parts of one world and direction in step with its policies.
pub(super) struct Walk<'p> {
    left: &'p [Arc<Part>],
}

impl<'p> Walk<'p> {
    pub(super) fn new(parts: &'p [Arc<Part>]) -> Self {
        Walk { left: parts }
    }

    /// The part of this very policy, if it is not far ahead; those before it are `gone`.
    pub(super) fn find(
        &mut self,
        policy: &Arc<WorldPolicy>,
        gone: &mut Vec<&'p Arc<Part>>,
    ) -> Option<&'p Arc<Part>> {
        let mut ahead = self.left.iter().take(FAR);
        let place = ahead.position(|part| Arc::ptr_eq(&part.policy, policy))?;
        gone.extend(&self.left[..place]);
        let part = &self.left[place];
        self.left = &self.left[place + 1..];
        Some(part)
    }

    /// What nobody asked for.
    pub(super) fn rest(self) -> &'p [Arc<Part>] {
        self.left
    }
}

/// The enforced policies whose counters a policy of the pending world may not take.
#[derive(Default)]
pub(super) struct Rivals {
    /// By source, the enforced policies that govern a local endpoint.
    by_source: Vec<Option<u32>>,
    /// Those that the pending world does not have: others stand in their place there.
    replaced: BTreeMap<PolicyId, u32>,
}

impl Rivals {
    pub(super) fn new(worlds: &Worlds) -> Self {
        let enforced = &*worlds.enforced.policies;
        let pending = &*worlds.pending.policies;
        let sources = enforced
            .iter()
            .chain(pending)
            .map(|policy| policy.source + 1)
            .max();
        let mut by_source = vec![None; sources.unwrap_or_default()];
        for (id, endpoint, _) in worlds.local() {
            for &index in worlds.enforced.selecting(id) {
                let policy = &enforced[index as usize];
                if endpoint
                    .kind
                    .stages()
                    .iter()
                    .any(|stage| stage.asks(policy.stage))
                {
                    by_source[policy.source] = Some(index);
                }
            }
        }
        let mut is_pending = vec![false; by_source.len()];
        for policy in pending {
            is_pending[policy.source] = true;
        }
        let replaced = by_source
            .iter()
            .zip(is_pending)
            .filter(|(_, is_pending)| !is_pending);
        let replaced = replaced
            .filter_map(|(index, _)| *index)
            .map(|index| (enforced[index as usize].id.clone(), index))
            .collect();
        Rivals { by_source, replaced }
    }

    /// The rival of a policy of the pending world.
    pub(super) fn of<'w>(
        &self,
        worlds: &'w Worlds,
        source: usize,
        id: &PolicyId,
    ) -> Option<&'w Arc<WorldPolicy>> {
        let index = self.by_source.get(source).copied().flatten();
        let index = index.or_else(|| self.replaced.get(id).copied())?;
        Some(&worlds.enforced.policies[index as usize].policy)
    }
}

/// What chains come and go, and with them counters and sets.
#[derive(Default)]
pub(super) struct Exchange {
    pub(super) come: Vec<Arc<Chain>>,
    pub(super) gone: Vec<Arc<Chain>>,
    /// What the chains of policies that go counted.
    pub(super) uncounted: Vec<Name>,
    /// What the chains of policies that come count.
    pub(super) counted: Vec<(Name, Counted)>,
}

impl Exchange {
    /// Makes the counters and sets of a compilation out of those of the previous one.
    pub(super) fn apply(
        self,
        worlds: &Worlds,
        previous: Option<&Previous<'_>>,
        sets: SetInterner,
        compiled: &mut Compiled,
    ) {
        self.exchange_counters(previous, compiled);
        self.exchange_sets(worlds, previous, sets, compiled);
    }

    fn exchange_counters(&self, previous: Option<&Previous<'_>>, compiled: &mut Compiled) {
        let others = Arc::clone(&compiled.kept.others_count);
        let entries = self
            .counted
            .iter()
            .map(|(name, counted)| (name, counted))
            .chain(others.iter());
        let Some(previous) = previous else {
            let entries: Vec<(Name, Counted)> = entries
                .map(|(name, counted)| (name.clone(), counted.clone()))
                .collect();
            let comments = entries
                .iter()
                .map(|(name, counted)| (name.clone(), counted.comment()));
            compiled.ruleset.counters = comments.collect();
            compiled.counters = entries.into_iter().collect();
            return;
        };
        compiled.counters = previous.compiled.counters.clone();
        compiled.ruleset.counters = previous.compiled.ruleset.counters.clone();
        let come: BTreeMap<&Name, &Counted> = entries.collect();
        let had = previous.compiled.kept.others_count.keys();
        for name in self.uncounted.iter().chain(had) {
            if !come.contains_key(name) {
                compiled.counters.remove(name);
                compiled.ruleset.counters.remove(name);
            }
        }
        for (name, counted) in come {
            if compiled.counters.get(name) != Some(counted) {
                compiled.counters.insert(name.clone(), counted.clone());
                let comment = counted.comment();
                if compiled.ruleset.counters.get(name) != Some(&comment) {
                    compiled.ruleset.counters.insert(name.clone(), comment);
                }
            }
        }
    }

    fn exchange_sets(
        &self,
        worlds: &Worlds,
        previous: Option<&Previous<'_>>,
        made: SetInterner,
        compiled: &mut Compiled,
    ) {
        let mut counts: BTreeMap<&Name, isize> = BTreeMap::new();
        for name in self.come.iter().flat_map(|chain| sets_of(chain)) {
            *counts.entry(name).or_default() += 1;
        }
        let (mut uses, mut sets) = match previous {
            Some(previous) => (
                previous.compiled.kept.uses.clone(),
                previous.compiled.ruleset.sets.clone(),
            ),
            None => Default::default(),
        };
        for name in self.gone.iter().flat_map(|chain| sets_of(chain)) {
            *counts.entry(name).or_default() -= 1;
        }
        let made = made.into_made();
        let mut fresh = Vec::new();
        for (name, count) in counts {
            let Some(other) = made.get(name).map(|made| &made.used).or_else(|| uses.get(name)) else {
                continue;
            };
            let before = uses.get(name).map_or(0, |used| used.count);
            let count = before.saturating_add_signed(count);
            let mut used = other.clone();
            used.count = count;
            if previous.is_none() {
                fresh.push((name.clone(), used));
            } else if count == 0 {
                uses.remove(name);
                sets.remove(name);
            } else if uses.get(name) != Some(&used) {
                uses.insert(name.clone(), used);
            }
        }
        if previous.is_none() {
            uses = fresh.into_iter().collect();
        }
        let mut put = |name: &Name, set: Set| {
            if sets.get(name).is_none_or(|other| **other != set) {
                sets.insert(name.clone(), Arc::new(set));
            }
        };
        for (name, made) in made {
            if uses.contains_key(&name) {
                put(&name, made.set);
            }
        }
        if let Some(previous) = previous.filter(|previous| !previous.changed.is_empty()) {
            for (name, used) in &uses {
                if previous.changed.contains(&used.source)
                    && let Some(set) = used.set(worlds)
                {
                    put(name, set);
                }
            }
        }
        compiled.ruleset.sets = sets;
        compiled.kept.uses = uses;
    }
}

/// The chains that are no policy's; one that is as it was is the very same.
pub(super) struct Others<'a> {
    /// Those of before that have not been met, in order.
    left: &'a [Arc<Chain>],
    /// Those that were passed over.
    passed: BTreeMap<&'a Name, &'a Arc<Chain>>,
    has: Vec<Arc<Chain>>,
    come: Vec<Arc<Chain>>,
}

impl<'a> Others<'a> {
    pub(super) fn of(previous: Option<&Previous<'a>>) -> Self {
        Others {
            left: previous.map_or(&[][..], |previous| &previous.compiled.kept.others),
            passed: BTreeMap::new(),
            has: Vec::new(),
            come: Vec::new(),
        }
    }

    /// The place that the next chain has among the others.
    pub(super) fn place(&self) -> usize {
        self.has.len()
    }

    /// Whether the chain is the very one that was there.
    pub(super) fn keep(&mut self, chain: &Arc<Chain>) -> bool {
        let mut ahead = self.left.iter().take(FAR);
        let Some(place) = ahead.position(|had| Arc::ptr_eq(had, chain)) else {
            return false;
        };
        self.pass(place);
        self.has.push(Arc::clone(chain));
        true
    }

    /// The chain as it was, or as it is now.
    pub(super) fn share(&mut self, chain: Arc<Chain>) -> Arc<Chain> {
        let mut ahead = self.left.iter().take(FAR);
        let had = match ahead.position(|had| had.name == chain.name) {
            Some(place) => Some(self.pass(place)),
            None => self.passed.remove(&chain.name),
        };
        let chain = match had {
            Some(had) if *had == chain => Arc::clone(had),
            had => {
                self.passed.extend(had.map(|had| (&had.name, had)));
                self.come.push(Arc::clone(&chain));
                chain
            }
        };
        self.has.push(Arc::clone(&chain));
        chain
    }

    /// Goes on behind a chain that comes, and gives it.
    fn pass(&mut self, place: usize) -> &'a Arc<Chain> {
        let (passed, left) = self.left.split_at(place);
        self.passed.extend(passed.iter().map(|had| (&had.name, had)));
        self.left = &left[1..];
        &left[0]
    }

    /// All of them. What has come and what has gone is noted.
    pub(super) fn finish(self, exchange: &mut Exchange) -> Arc<[Arc<Chain>]> {
        exchange.come.extend(self.come);
        exchange.gone.extend(self.passed.into_values().cloned());
        exchange.gone.extend_from_slice(self.left);
        self.has.into()
    }
}

fn sets_of(chain: &Chain) -> impl Iterator<Item = &Name> {
    chain
        .rules
        .iter()
        .flat_map(|rule| &rule.matches)
        .filter_map(Match::set)
}
