//! Which rules a packet can reach, at which endpoints.
//!
//! The packets that a rule matches are sent, as a region, down the way that the evaluator walks: early stages, earlier
//! tiers, earlier rules of the tier. What each of those decides is taken out. If nothing is left, no packet reaches the
//! rule. Wherever that cannot be reckoned exactly, the rule counts as reached.
//!
//! The walk is the one without safety nets: what they catch would reach more once they are removed. Failsafes are left
//! out too, for a rule that they make superfluous at a host still says what is meant.

use std::collections::BTreeMap;

use super::region::{self, MOST_BLOCKS, Region};
use super::table::{Entry, Table};
use super::way::{Steps, Target, TierSteps, Way};
use crate::net::Direction;
use crate::resource::Action;
use crate::world::{EndpointId, EndpointKind, Stage, World, Worlds};

/// A rule of a policy: which of the snapshot's, in which direction, and its index as written.
pub(super) type RuleKey = (usize, Direction, usize);

/// What takes a packet before it gets to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cover {
    /// A rule, by its number in the [`Table`].
    Rule(usize),
    /// The end of a tier that denies: the tier, and the last policy of it that governs the direction, by its index in
    /// the snapshot.
    EndOfTier(usize, usize),
}

/// What becomes of a rule in one world.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// At how many endpoints the rule is asked.
    governed: usize,
    /// Endpoints at which no packet can reach it, and what takes all of them before.
    covered: Vec<(Vec<EndpointId>, Vec<Cover>)>,
}

impl Reach {
    /// The endpoints at which no packet can reach the rule, with what takes all of them before, in order.
    pub(super) fn covered(&self) -> BTreeMap<EndpointId, &[Cover]> {
        let groups = self.covered.iter();
        let each = groups.flat_map(|(endpoints, covers)| endpoints.iter().map(|&id| (id, covers.as_slice())));
        each.collect()
    }

    /// Whether a packet can reach the rule at an endpoint that it governs.
    pub(super) fn is_reached_at(&self, endpoint: EndpointId) -> bool {
        !self
            .covered
            .iter()
            .any(|(endpoints, _)| endpoints.contains(&endpoint))
    }

    /// Whether a packet can reach the rule anywhere.
    pub(super) fn is_reached(&self) -> bool {
        self.covered
            .iter()
            .map(|(endpoints, _)| endpoints.len())
            .sum::<usize>()
            < self.governed
    }
}

/// Endpoints of one kind with the same policies, those for all other interfaces of a host apart: what holds at one of them
/// holds at all.
pub(super) fn groups(worlds: &Worlds, world: &World) -> Vec<(EndpointKind, Vec<EndpointId>)> {
    // Workloads and services are asked alike, host endpoints in their own ways.
    type Key<'a> = (bool, bool, &'a [u32]);
    let mut groups: BTreeMap<Key<'_>, (EndpointKind, Vec<EndpointId>)> = BTreeMap::new();
    for (index, endpoint) in worlds.endpoints.iter().enumerate() {
        let id = EndpointId(index);
        let (kind, wildcard) = (endpoint.kind, endpoint.wildcard);
        let group = groups.entry((kind == EndpointKind::Host, wildcard, world.selecting(id)));
        group.or_insert_with(|| (kind, Vec::new())).1.push(id);
    }
    groups.into_values().collect()
}

/// The most results that are remembered: enough for endpoints that are much alike, and no more memory than that.
const MOST_KNOWN: usize = 50_000;

/// The most numbers in all [`Walker::rows`].
const MOST_IN_ROWS: usize = 16_000_000;

/// Sends regions down ways.
pub(super) struct Walker<'a, 'w> {
    worlds: &'a Worlds,
    table: &'a Table<'w>,
    /// For a rule, the others that may take something of it; for as many as there is room.
    rows: Vec<Option<Vec<usize>>>,
    in_rows: usize,
    known: BTreeMap<(RuleKey, Steps), Option<Vec<Cover>>>,
}

/// What is left of a region, and what took the rest, in order.
pub(super) struct Walked {
    /// What gets there.
    pub(super) left: Region,
    /// What took something.
    pub(super) covers: Vec<Cover>,
}

impl<'a, 'w> Walker<'a, 'w> {
    /// For the rules of a table.
    pub(super) fn new(worlds: &'a Worlds, table: &'a Table<'w>) -> Self {
        Walker {
            worlds,
            table,
            rows: vec![None; table.len()],
            in_rows: 0,
            known: BTreeMap::new(),
        }
    }

    /// What becomes of every rule of a world that governs an endpoint, but for safety nets.
    pub(super) fn reach(&mut self, world: &World) -> BTreeMap<RuleKey, Reach> {
        let mut found: BTreeMap<RuleKey, Reach> = BTreeMap::new();
        for (kind, endpoints) in groups(self.worlds, world) {
            for direction in Direction::BOTH {
                // A policy may be asked at several stages; its rule is unreachable where no stage lets a packet to it.
                let mut covered: BTreeMap<RuleKey, Option<Vec<Cover>>> = BTreeMap::new();
                for &stage in kind.stages() {
                    let way = Way::of(self.worlds, self.table, world, endpoints[0], direction, stage);
                    for target in way.targets(self.table) {
                        let covers = self.covers(&way, &target);
                        let so_far = covered.entry(target.key).or_insert_with(|| Some(Vec::new()));
                        *so_far = so_far
                            .take()
                            .zip(covers)
                            .map(|(before, next)| joined(before, next));
                    }
                }
                for (key, covers) in covered {
                    let reach = found.entry(key).or_default();
                    reach.governed += endpoints.len();
                    reach
                        .covered
                        .extend(covers.map(|covers| (endpoints.clone(), covers)));
                }
            }
        }
        found
    }

    /// What takes every packet that a rule matches before it gets there; `None` if one may reach the rule, or if there is
    /// none that it matches.
    fn covers(&mut self, way: &Way, target: &Target) -> Option<Vec<Cover>> {
        let table = self.table;
        let memo = (target.key, way.steps(target, &self.row(&target.rules)));
        if memo.1.take_nothing() {
            return None;
        }
        if let Some(known) = self.known.get(&memo) {
            return known.clone();
        }
        let regions = target.rules.iter().map(|&id| table.get(id).region.as_ref());
        let regions: Vec<&Region> = regions.collect::<Option<_>>()?;
        let region: Region = regions.into_iter().flatten().cloned().collect();
        if region.is_empty() || region.len() > MOST_BLOCKS {
            return None;
        }
        let walked = self.walk(region.clone(), &memo.1, target.key.1);
        let covers = walked
            .filter(|walked| walked.left.is_empty())
            .map(|walked| self.simplest(walked.covers, &memo.1.own, &region));
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(memo, covers.clone());
        covers
    }

    /// The rules that may take something of one of these, without themselves.
    fn row(&mut self, rules: &[usize]) -> Vec<usize> {
        let mut row = Vec::new();
        for &id in rules {
            if let Some(known) = &self.rows[id] {
                row.extend_from_slice(known);
                continue;
            }
            let made = self.table.taking_from(id);
            row.extend_from_slice(&made);
            if self.in_rows + made.len() <= MOST_IN_ROWS {
                self.in_rows += made.len();
                self.rows[id] = Some(made);
            }
        }
        row.sort_unstable();
        row.dedup();
        row
    }

    /// Everything, down a way to a tier of its last stage, and through the rules of that tier; `None` if that cannot be
    /// reckoned.
    pub(super) fn through(&self, way: &Way, direction: Direction, tier: usize) -> Option<Walked> {
        self.walk(
            region::everything(),
            &way.steps_through(self.table, tier),
            direction,
        )
    }

    fn walk(&self, region: Region, steps: &Steps, direction: Direction) -> Option<Walked> {
        let mut walked = Walked {
            left: region,
            covers: Vec::new(),
        };
        for tier in &steps.tiers {
            self.tier(tier, direction, &mut walked)?;
        }
        for &id in &steps.own {
            if walked.left.is_empty() {
                break;
            }
            // One that cannot be reckoned may take nothing.
            if let Some(region) = &self.table.get(id).region
                && region::overlaps(&walked.left, region)
            {
                walked.left = region::minus(walked.left, region)?;
                walked.covers.push(Cover::Rule(id));
            }
        }
        Some(walked)
    }

    /// Takes out what an earlier tier decides.
    fn tier(&self, tier: &TierSteps, direction: Direction, walked: &mut Walked) -> Option<()> {
        let mut undecided = std::mem::take(&mut walked.left);
        let mut passed = Region::new();
        if tier.stage.is_early() {
            let exempt = exempt(self.worlds, tier.stage, direction);
            passed = region::intersect(&undecided, &exempt);
            undecided = region::minus(undecided, &exempt)?;
        }
        for &id in &tier.rules {
            let entry = self.table.get(id);
            let Some(region) = &entry.region else {
                // It may take anything: what it would pass goes on, what it would end may go on.
                if entry.rule.action == Action::Pass {
                    passed.extend(undecided.iter().cloned());
                }
                continue;
            };
            if !region::overlaps(&undecided, region) {
                continue;
            }
            if entry.rule.action == Action::Pass {
                passed.extend(region::intersect(&undecided, region));
            } else {
                walked.covers.push(Cover::Rule(id));
            }
            undecided = region::minus(undecided, region)?;
        }
        match tier.denies {
            Some((tier, last)) if !undecided.is_empty() => walked.covers.push(Cover::EndOfTier(tier, last)),
            Some(_) => {}
            None => passed.extend(undecided),
        }
        walked.left = passed;
        (walked.left.len() <= MOST_BLOCKS).then_some(())
    }

    /// The one rule of the own tier that takes everything by itself, if there is one; else all that take something.
    fn simplest(&self, covers: Vec<Cover>, own: &[usize], target: &Region) -> Vec<Cover> {
        let alone = |&&id: &&usize| {
            let region = self.table.get(id).region.as_ref();
            let left = region.and_then(|region| region::minus(target.clone(), region));
            left.is_some_and(|left| left.is_empty())
        };
        match own.iter().find(alone) {
            Some(&id) => vec![Cover::Rule(id)],
            None => covers,
        }
    }
}

impl Table<'_> {
    /// The rules that end what they match and may have a packet in common with one, which is not among them.
    fn taking_from(&self, id: usize) -> Vec<usize> {
        let target = self.get(id);
        let takes = |other: &Entry<'_>| {
            let overlap = match (&target.region, &other.region) {
                (Some(one), Some(other)) => region::overlaps(one, other),
                _ => true,
            };
            other.is_terminal() && other.direction == target.direction && overlap
        };
        let others = self.iter().enumerate();
        let others =
            others.filter(|&(other, entry)| other != id && target.may_overlap(entry) && takes(entry));
        others.map(|(other, _)| other).collect()
    }
}

/// What an early stage of a host endpoint never sees: failsafes, and before conntrack their answers.
pub(super) fn exempt(worlds: &Worlds, stage: Stage, direction: Direction) -> Region {
    let failsafes = &worlds.host.failsafes;
    let other = match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    };
    let mut exempt = region::of_icmpv6(failsafes.icmpv6_types(direction));
    for failsafe in failsafes.ports(direction) {
        exempt.extend(region::of_failsafe(failsafe, direction, false));
    }
    if stage == Stage::Untracked {
        for failsafe in failsafes.ports(other) {
            exempt.extend(region::of_failsafe(failsafe, direction, true));
        }
    }
    exempt
}

fn joined(mut before: Vec<Cover>, next: Vec<Cover>) -> Vec<Cover> {
    for cover in next {
        if !before.contains(&cover) {
            before.push(cover);
        }
    }
    before
}
