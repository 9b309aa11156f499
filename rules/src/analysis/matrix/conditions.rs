//! What rules ask of an address, and which addresses no rule can tell apart.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::space::Space;
use crate::net::{Family, merge_nets};
use crate::world::{AddressSetId, NamedPortSetId, Worlds};

/// Every condition on an address that occurs in a rule, each once.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    list: Vec<Condition>,
    ids: BTreeMap<Condition, ConditionId>,
}

/// A condition in [`Conditions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConditionId(usize);

/// What a rule asks of an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    /// Whether it is in one of these; the fewest sorted nets.
    Nets(Vec<IpNet>),
    /// Whether it is in this address set.
    Set(AddressSetId),
    /// Which of its ports have a name.
    Named(NamedPortSetId),
}

/// Addresses that answer every condition alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::analysis) struct ClassId(pub(super) usize);

/// Which class every point of the space is in, and which classes meet which condition.
#[derive(Debug)]
pub(super) struct Classes {
    of_point: Vec<ClassId>,
    families: Vec<Family>,
    meeting: Vec<Meeting>,
    /// For each class the conditions on nets and sets that it meets, sorted.
    met: Vec<Vec<ConditionId>>,
}

/// The classes that meet a condition, sorted.
#[derive(Debug)]
enum Meeting {
    /// These do.
    All(Vec<ClassId>),
    /// These have these ports, sorted; the others none.
    Ports(Vec<(ClassId, Vec<u16>)>),
}

impl Conditions {
    /// The condition of being in one of these nets.
    pub(super) fn nets(&mut self, nets: &[IpNet]) -> ConditionId {
        self.intern(Condition::Nets(merge_nets(nets)))
    }

    /// The condition of being in this address set.
    pub(super) fn set(&mut self, set: AddressSetId) -> ConditionId {
        self.intern(Condition::Set(set))
    }

    /// The question which ports of an address are meant.
    pub(super) fn named(&mut self, set: NamedPortSetId) -> ConditionId {
        self.intern(Condition::Named(set))
    }

    fn intern(&mut self, condition: Condition) -> ConditionId {
        if let Some(&id) = self.ids.get(&condition) {
            return id;
        }
        let id = ConditionId(self.list.len());
        self.list.push(condition.clone());
        self.ids.insert(condition, id);
        id
    }
}

impl Classes {
    /// Sorts the points of a space by what the conditions say of them.
    pub(super) fn new(worlds: &Worlds, conditions: &Conditions, space: &Space) -> Self {
        let found: Vec<Found> = conditions
            .list
            .iter()
            .map(|condition| Found::of(worlds, condition, space))
            .collect();
        let is_v6 = |point: &usize| Family::of(space.points()[*point]) == Family::V6;
        let mut parts = Parts::new(space.points().len());
        parts.split((0..space.points().len()).filter(is_v6));
        for found in &found {
            match found {
                Found::Points(points) => parts.split(points.iter().cloned().flatten()),
                Found::Ports(members) => {
                    for points in by_ports(members).values() {
                        parts.split(points.iter().copied());
                    }
                }
            }
        }
        let (of_point, count) = parts.numbered();
        let mut families = vec![Family::V4; count];
        for (point, class) in of_point.iter().enumerate() {
            families[class.0] = Family::of(space.points()[point]);
        }
        let meeting: Vec<Meeting> = found.iter().map(|found| found.meeting(&of_point)).collect();
        let mut met = vec![Vec::new(); count];
        for (condition, meeting) in meeting.iter().enumerate() {
            if let Meeting::All(classes) = meeting {
                for class in classes {
                    met[class.0].push(ConditionId(condition));
                }
            }
        }
        Classes {
            of_point,
            families,
            meeting,
            met,
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.families.len()
    }

    /// The class of a point of the space.
    pub(super) fn of_point(&self, point: usize) -> ClassId {
        self.of_point[point]
    }

    /// The family of the addresses in a class.
    pub(super) fn family(&self, class: ClassId) -> Family {
        self.families[class.0]
    }

    /// The conditions on nets and sets that a class meets, sorted.
    pub(super) fn met(&self, class: ClassId) -> &[ConditionId] {
        &self.met[class.0]
    }

    /// Who meets a condition.
    fn meeting(&self, condition: ConditionId) -> &Meeting {
        &self.meeting[condition.0]
    }

    /// Whether a class meets a condition on nets or sets.
    pub(super) fn meets(&self, class: ClassId, condition: ConditionId) -> bool {
        self.met(class).binary_search(&condition).is_ok()
    }

    /// Which ports of a class a condition about named ports means.
    pub(super) fn ports(&self, class: ClassId, condition: ConditionId) -> &[u16] {
        match self.meeting(condition) {
            Meeting::All(_) => &[],
            Meeting::Ports(members) => members
                .binary_search_by_key(&class, |(member, _)| *member)
                .map_or(&[], |index| &members[index].1),
        }
    }

    /// For each class its place among those that these conditions, and perhaps the family, tell apart; and one of each.
    pub(super) fn told_apart_by(
        &self,
        conditions: &[ConditionId],
        is_by_family: bool,
    ) -> (Vec<u32>, Vec<ClassId>) {
        let mut parts = Parts::new(self.count());
        let is_v6 = |&class: &usize| self.families[class] == Family::V6;
        parts.split((0..self.count()).filter(|class| is_by_family && is_v6(class)));
        for &condition in conditions {
            match self.meeting(condition) {
                Meeting::All(classes) => parts.split(classes.iter().map(|class| class.0)),
                Meeting::Ports(members) => {
                    for classes in by_ports(members).values() {
                        parts.split(classes.iter().map(|class| class.0));
                    }
                }
            }
        }
        let (numbered, count) = parts.numbered();
        let mut samples = vec![ClassId(0); count];
        for (class, part) in numbered.iter().enumerate().rev() {
            samples[part.0] = ClassId(class);
        }
        let part = |part: &ClassId| u32::try_from(part.0).unwrap_or(u32::MAX);
        (numbered.iter().map(part).collect(), samples)
    }

    /// What these conditions say of one class: equal for two that they cannot tell apart.
    pub(super) fn answers(&self, class: ClassId, conditions: &[ConditionId]) -> Vec<(bool, &[u16])> {
        conditions
            .iter()
            .map(|&condition| (self.meets(class, condition), self.ports(class, condition)))
            .collect()
    }
}

/// The points that meet a condition.
enum Found {
    Points(Vec<std::ops::Range<usize>>),
    Ports(Vec<(usize, Vec<u16>)>),
}

impl Found {
    fn of(worlds: &Worlds, condition: &Condition, space: &Space) -> Self {
        match condition {
            Condition::Nets(nets) => Found::Points(stretches(nets, space)),
            Condition::Set(set) => Found::Points(stretches(&worlds.address_sets.get(*set).nets, space)),
            Condition::Named(set) => {
                let mut members: Vec<(usize, Vec<u16>)> = Vec::new();
                // Sorted by address, then port.
                for &(address, port) in &worlds.named_ports.get(*set).members {
                    // A member is an endpoint's address, and so a point.
                    let Some(point) = space.point(address) else {
                        continue;
                    };
                    match members.last_mut() {
                        Some((last, ports)) if *last == point => ports.push(port),
                        _ => members.push((point, vec![port])),
                    }
                }
                Found::Ports(members)
            }
        }
    }

    fn meeting(&self, of_point: &[ClassId]) -> Meeting {
        match self {
            Found::Points(stretches) => {
                let points = stretches.iter().cloned().flatten();
                let mut classes: Vec<ClassId> = points.map(|point| of_point[point]).collect();
                classes.sort_unstable();
                classes.dedup();
                Meeting::All(classes)
            }
            Found::Ports(members) => {
                let classes = members
                    .iter()
                    .map(|(point, ports)| (of_point[*point], ports.clone()));
                Meeting::Ports(classes.collect::<BTreeMap<_, _>>().into_iter().collect())
            }
        }
    }
}

/// The points in these nets, which are sorted and disjoint.
fn stretches(nets: &[IpNet], space: &Space) -> Vec<std::ops::Range<usize>> {
    let stretches = nets.iter().map(|&net| space.points_in(net));
    stretches.filter(|stretch| !stretch.is_empty()).collect()
}

/// Members with the same ports together.
fn by_ports<T: Copy>(members: &[(T, Vec<u16>)]) -> BTreeMap<&[u16], Vec<T>> {
    let mut groups: BTreeMap<&[u16], Vec<T>> = BTreeMap::new();
    for (member, ports) in members {
        groups.entry(ports).or_default().push(*member);
    }
    groups
}

/// A partition that gets finer.
struct Parts {
    part_of: Vec<usize>,
    /// For each part, the split that touched it last and where its members go in it.
    moved: Vec<(usize, usize)>,
    splits: usize,
}

impl Parts {
    fn new(members: usize) -> Self {
        Parts {
            part_of: vec![0; members],
            moved: vec![(0, 0)],
            splits: 0,
        }
    }

    /// Tells these members, each given once, apart from all others.
    fn split(&mut self, members: impl Iterator<Item = usize>) {
        self.splits += 1;
        for member in members {
            let part = self.part_of[member];
            if self.moved[part].0 != self.splits {
                self.moved[part] = (self.splits, self.moved.len());
                self.moved.push((0, 0));
            }
            self.part_of[member] = self.moved[part].1;
        }
        // Most splits move whole parts; without this, their numbers would grow with the conditions.
        if self.moved.len() > 2 * self.part_of.len() + 64 {
            let (numbered, count) = self.numbered();
            self.part_of = numbered.iter().map(|part| part.0).collect();
            self.moved = vec![(0, 0); count];
        }
    }

    /// The part of each member, numbered in the order in which they occur, and how many there are.
    fn numbered(&self) -> (Vec<ClassId>, usize) {
        let mut numbers: Vec<Option<usize>> = vec![None; self.moved.len()];
        let mut next = 0;
        let number = |&part: &usize| {
            let number = *numbers[part].get_or_insert_with(|| {
                next += 1;
                next - 1
            });
            ClassId(number)
        };
        let numbered = self.part_of.iter().map(number).collect();
        (numbered, next)
    }
}
