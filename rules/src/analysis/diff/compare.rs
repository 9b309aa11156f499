//! What changes between two ends.

use std::collections::BTreeMap;

use super::parties::{Parties, Stand};
use super::{Change as Described, ChangeText, Side, witness};
use crate::analysis::matrix::{AnswerId, Ends, Frame, Latest, Relation, Traffic, View};
use crate::net::{Family, Protocol};

/// What was found of pairs so far.
#[derive(Debug)]
pub(super) struct Comparison<'w> {
    frame: &'w Frame,
    sides: [Side<'w>; 2],
    parties: Parties<'w>,
    ends: [Ends<'w>; 2],
    /// With safety nets, and without.
    changes: Vec<[Change; 2]>,
    ids: BTreeMap<[Change; 2], usize>,
    by_answers: BTreeMap<Vec<Answers>, Option<usize>>,
    /// Whether answers of the two sides say the same.
    latest: Latest<bool>,
}

/// What one side allows and the other does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) added: Traffic,
    pub(super) removed: Traffic,
}

/// What the sides say of one pair of addresses; `None` where it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Answers {
    family: Family,
    sides: [Option<AnswerId>; 2],
}

/// What a side allows between two addresses: whichever way a packet takes, and by some way.
type Reach = [Traffic; 2];

impl Change {
    pub(super) fn is_none(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    fn of([old, new]: [&Reach; 2]) -> Self {
        let gained = |old: &Reach, new: &Reach| new[0].minus(&old[0]).or(&new[1].minus(&old[1]));
        Change {
            added: gained(old, new),
            removed: gained(new, old),
        }
    }

    fn or(&self, other: &Change) -> Self {
        Change {
            added: self.added.or(&other.added),
            removed: self.removed.or(&other.removed),
        }
    }
}

impl<'w> Comparison<'w> {
    pub(super) fn new(frame: &'w Frame, sides: [Side<'w>; 2]) -> Self {
        let ends = sides.map(|side| {
            let views = [false, true].map(|without_safety_net| View {
                world: side.world,
                without_safety_net,
            });
            Ends::new(side.worlds, &views, frame)
        });
        Comparison {
            frame,
            sides,
            parties: Parties::new(frame, sides.map(|side| side.worlds), &ends),
            ends,
            changes: Vec::new(),
            ids: BTreeMap::new(),
            by_answers: BTreeMap::new(),
            latest: Latest::new(),
        }
    }

    pub(super) fn parties(&self) -> &Parties<'w> {
        &self.parties
    }

    /// A change that was found, with safety nets and without.
    pub(super) fn change(&self, id: usize) -> &[Change; 2] {
        &self.changes[id]
    }

    /// What changes from members of a group to those of another, or to other members.
    pub(super) fn between(&mut self, from: usize, to: usize) -> Option<usize> {
        let [one, other] = [from, to].map(|group| self.parties.group_of(group));
        if one.is_block && other.is_block {
            return None;
        }
        let to = *other.members.get(usize::from(from == to))?;
        self.compare(one.members[0], to)
    }

    /// What changes from members of a group to themselves.
    pub(super) fn with_itself(&mut self, group: usize) -> Option<usize> {
        let group = self.parties.group_of(group);
        let member = group.members[0];
        (!group.is_block).then(|| self.compare(member, member))?
    }

    fn compare(&mut self, from: usize, to: usize) -> Option<usize> {
        let Comparison {
            parties,
            ends: [old_ends, new_ends],
            ..
        } = self;
        let [from, to] = [from, to].map(|party| parties.party(party));
        let [old, new] = [0, 1].map(|side| pairs(&from.stands[side], &to.stands[side]));
        let mut answers: Vec<Answers> = Vec::with_capacity(old.len());
        let mut left = new.clone();
        for (source, destination) in old {
            let is_same = |(other_source, other_destination): &(&Stand, &Stand)| {
                other_source.address == source.address && other_destination.address == destination.address
            };
            let same = left.iter().position(is_same).map(|index| left.remove(index));
            answers.push(Answers {
                family: source.spot.family,
                sides: [
                    Some(say(old_ends, source, destination)),
                    same.map(|(source, destination)| say(new_ends, source, destination)),
                ],
            });
        }
        answers.extend(left.into_iter().map(|(source, destination)| Answers {
            family: source.spot.family,
            sides: [None, Some(say(new_ends, source, destination))],
        }));
        if answers.iter().all(|answers| self.say_the_same(*answers)) {
            return None;
        }
        answers.sort_unstable();
        answers.dedup();
        if let Some(&known) = self.by_answers.get(&answers) {
            return known;
        }
        let change = [0, 1].map(|view| self.changed(&answers, view));
        let id = change.iter().any(|change| !change.is_none()).then(|| {
            let next = self.changes.len();
            *self.ids.entry(change.clone()).or_insert_with(|| {
                self.changes.push(change);
                next
            })
        });
        self.by_answers.insert(answers, id);
        id
    }

    /// Whether both sides have an answer and it is the same in both views.
    fn say_the_same(&mut self, answers: Answers) -> bool {
        let [Some(old), Some(new)] = answers.sides else {
            return false;
        };
        if let Some(is_same) = self.latest.get(old, new) {
            return is_same;
        }
        let [old_answers, new_answers] = self.ends.each_ref().map(|ends| &ends.answers);
        let is_same = (0..2).all(|view| old_answers.reach(old, view) == new_answers.reach(new, view));
        self.latest.set(old, new, is_same);
        is_same
    }

    /// What changes over all pairs of addresses, in one view. ICMP is asked of pairs of its own family, where a side has
    /// any.
    fn changed(&self, answers: &[Answers], view: usize) -> Change {
        let protocols = &self.frame.protocols;
        let [icmp, icmpv6] = Family::BOTH.map(|family| protocols.all_of(Protocol::icmp_of(family)));
        let rest = protocols.everything().minus(&icmp).minus(&icmpv6);
        [(rest, None), (icmp, Some(Family::V4)), (icmpv6, Some(Family::V6))]
            .iter()
            .map(|(traffic, family)| self.changed_of(answers, view, traffic, *family))
            .reduce(|one, other| one.or(&other))
            .unwrap_or_default()
    }

    /// What changes of some connections, those that pairs of one family are asked about first. Pairs that only one side
    /// has are compared together with those that only the other has or, if there are none, with all of the other.
    fn changed_of(
        &self,
        answers: &[Answers],
        view: usize,
        traffic: &Traffic,
        family: Option<Family>,
    ) -> Change {
        let is_asked = |pair: &Answers, side: usize| {
            let is_own = |pair: &Answers| pair.sides[side].is_some() && Some(pair.family) == family;
            is_own(pair) || !answers.iter().any(is_own)
        };
        let reach = |pair: &Answers, side: usize| -> Option<Reach> {
            let answer = pair.sides[side].filter(|_| is_asked(pair, side))?;
            let reach = self.ends[side].answers.reach(answer, view);
            Some(reach.map(|reach| reach.and(traffic)))
        };
        let mut change = Change::default();
        let mut left: [Option<Traffic>; 2] = [None, None];
        let mut all = [Traffic::default(), Traffic::default()];
        for pair in answers {
            let reaches = [0, 1].map(|side| reach(pair, side));
            for (all, reach) in all.iter_mut().zip(&reaches) {
                if let Some([_, some]) = reach {
                    *all = all.or(some);
                }
            }
            match reaches {
                [Some(old), Some(new)] => change = change.or(&Change::of([&old, &new])),
                reaches => {
                    for (left, reach) in left.iter_mut().zip(reaches) {
                        if let Some([_, some]) = reach {
                            *left = Some(left.take().unwrap_or_default().or(&some));
                        }
                    }
                }
            }
        }
        let [old_against, new_against] = [0, 1].map(|side| left[side].as_ref().unwrap_or(&all[side]));
        if let Some(new) = &left[1] {
            change.added = change.added.or(&new.minus(old_against));
        }
        if let Some(old) = &left[0] {
            change.removed = change.removed.or(&old.minus(new_against));
        }
        change
    }

    /// A change between groups, with witnesses from the first pair.
    pub(super) fn describe(
        &self,
        change: &Change,
        from: &[usize],
        to: &[usize],
        without_safety_net: bool,
    ) -> Described {
        let members = |groups: &[usize]| -> Vec<usize> {
            let mut members: Vec<usize> = groups
                .iter()
                .flat_map(|&group| &self.parties.group_of(group).members)
                .copied()
                .collect();
            members.sort_unstable();
            members
        };
        let (from, to) = (members(from), members(to));
        let in_both = from
            .iter()
            .filter(|party| to.binary_search(party).is_ok())
            .count();
        let pair = from
            .iter()
            .find_map(|&from| Some((from, *to.iter().find(|&&to| to != from)?)));
        self.described(
            change,
            [&from, &to],
            from.len() * to.len() - in_both,
            pair,
            without_safety_net,
        )
    }

    /// A change of each member of a group with itself.
    pub(super) fn describe_with_itself(
        &self,
        change: &Change,
        group: usize,
        without_safety_net: bool,
    ) -> Vec<Described> {
        let members = self.parties.group_of(group).members.iter();
        members
            .map(|&member| {
                let alone: &[usize] = &[member];
                self.described(
                    change,
                    [alone, alone],
                    1,
                    Some((member, member)),
                    without_safety_net,
                )
            })
            .collect()
    }

    fn described(
        &self,
        change: &Change,
        [from, to]: [&[usize]; 2],
        pairs: usize,
        pair: Option<(usize, usize)>,
        without_safety_net: bool,
    ) -> Described {
        let protocols = &self.frame.protocols;
        let names = |parties: &[usize]| {
            let names = parties
                .iter()
                .map(|&party| self.parties.party(party).name.clone());
            names.collect()
        };
        let text = |traffic: &Traffic| (!traffic.is_empty()).then(|| protocols.describe(traffic));
        let witnesses = [(&change.added, true), (&change.removed, false)]
            .into_iter()
            .filter_map(|(traffic, is_added)| {
                let (from, to) = pair?;
                let [from, to] = [from, to].map(|party| self.parties.party(party));
                witness::find(
                    self.sides,
                    [from, to],
                    &protocols.samples(traffic),
                    is_added,
                    without_safety_net,
                )
            })
            .collect();
        Described {
            from: names(from),
            to: names(to),
            pairs,
            without_safety_net,
            added: protocols.allowed(&change.added),
            removed: protocols.allowed(&change.removed),
            text: ChangeText {
                added: text(&change.added),
                removed: text(&change.removed),
            },
            witnesses,
        }
    }
}

/// The pairs of addresses of one family.
fn pairs<'a>(from: &'a [Stand], to: &'a [Stand]) -> Vec<(&'a Stand, &'a Stand)> {
    let of_family = |source: &'a Stand| {
        let is_of_family = move |to: &&Stand| to.spot.family == source.spot.family;
        to.iter().filter(is_of_family).map(move |to| (source, to))
    };
    from.iter().flat_map(of_family).collect()
}

/// What a side says of two addresses.
fn say(ends: &mut Ends<'_>, from: &Stand, to: &Stand) -> AnswerId {
    let relation = match (from.endpoint, to.endpoint) {
        (Some(from), Some(to)) => ends.relation(from, to),
        _ => Relation::Remote,
    };
    ends.answers.between(&from.spot, &to.spot, relation)
}
