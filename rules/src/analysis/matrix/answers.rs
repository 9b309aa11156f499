//! What each gate lets pass, worked out once for all addresses that it treats alike.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::View;
use super::conditions::{ClassId, Classes};
use super::eligible::Eligible;
use super::gates::{Gate, GateId, Gates, Relation, Way};
use super::latest::Latest;
use super::program::{ProgramId, Programs};
use super::rules::Side;
use super::traffic::Traffic;
use crate::net::{Family, Protocol};

/// The most views that a matrix has: two worlds, each with its safety net and without.
pub(super) const VIEWS: usize = 4;

/// Gates, and what they said.
#[derive(Debug)]
pub(in crate::analysis) struct Answers<'w> {
    pub(super) programs: Programs<'w>,
    pub(super) classes: Classes,
    views: Vec<View>,
    gates: Gates,
    tables: Vec<Table>,
    traffics: Vec<Traffic>,
    traffic_ids: BTreeMap<Traffic, TrafficId>,
    list: Vec<Answer>,
    ids: BTreeMap<Answer, AnswerId>,
    both: BTreeMap<(AnswerId, AnswerId), AnswerId>,
    latest: Latest<AnswerId>,
    merged: BTreeMap<Vec<(Family, AnswerId)>, AnswerId>,
}

/// A set of connections, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TrafficId(u32);

/// An answer, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::analysis) struct AnswerId(u32);

/// What is allowed, in each view.
type Answer = [Reach; VIEWS];

/// What is allowed in one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reach {
    /// Whichever addresses and interfaces of the two ends are used.
    all: TrafficId,
    /// With some of them.
    some: TrafficId,
}

/// An address of one end as the gates see it: equal for two that no policy can tell apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::analysis) struct Spot {
    pub(in crate::analysis) family: Family,
    pub(super) class: ClassId,
    pub(super) remote: [Option<Place>; 2],
    pub(super) neighbours: [Option<Place>; 2],
    pub(super) local: [Option<Place>; 2],
    /// `None` where nobody decides about loopback.
    pub(super) loopback: Option<[Option<Place>; 2]>,
}

/// One near address at one gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    gate: u32,
    row: u32,
}

/// The answers of one gate.
#[derive(Debug, Default)]
struct Table {
    /// A row for all near addresses that the gate treats alike.
    rows: Vec<Row>,
    /// The answers, row by row.
    answers: Vec<AnswerId>,
    row_of: BTreeMap<Vec<(bool, Vec<u16>)>, u32>,
    /// For each class of far addresses, the column.
    column_of: Vec<u32>,
    /// One class of each column.
    columns: Vec<ClassId>,
    far_eligible: BTreeMap<(ProgramId, u32), Eligible>,
}

#[derive(Debug)]
struct Row {
    /// One of the addresses.
    near: ClassId,
    eligible: BTreeMap<ProgramId, Eligible>,
}

const NOTHING: TrafficId = TrafficId(0);
const EVERYTHING: TrafficId = TrafficId(1);

impl AnswerId {
    /// Nothing, in every view.
    pub(in crate::analysis) const NOTHING: AnswerId = AnswerId(0);
    /// Everything, in every view.
    pub(super) const EVERYTHING: AnswerId = AnswerId(1);
    /// Not worked out yet.
    const UNKNOWN: AnswerId = AnswerId(u32::MAX);

    pub(super) fn number(self) -> u32 {
        self.0
    }
}

impl<'w> Answers<'w> {
    pub(super) fn new(programs: Programs<'w>, classes: Classes, gates: Gates, views: &[View]) -> Self {
        let everything = programs.protocols.everything();
        let mut answers = Answers {
            tables: (0..gates.len()).map(|_| Table::default()).collect(),
            programs,
            classes,
            views: views.to_vec(),
            gates,
            traffics: Vec::new(),
            traffic_ids: BTreeMap::new(),
            list: Vec::new(),
            ids: BTreeMap::new(),
            both: BTreeMap::new(),
            latest: Latest::new(),
            merged: BTreeMap::new(),
        };
        // In the order of the constants.
        for traffic in [Traffic::default(), everything] {
            let id = answers.traffic_id(traffic);
            answers.answer_id([Reach { all: id, some: id }; VIEWS]);
        }
        answers
    }

    /// What an answer allows in a view: with all addresses, and with some.
    pub(in crate::analysis) fn reach(&self, answer: AnswerId, view: usize) -> [&Traffic; 2] {
        let Reach { all, some } = self.list[answer.0 as usize][view];
        [all, some].map(|id| self.traffic(id))
    }

    /// Where addresses of a class stand at a gate.
    pub(super) fn place(&mut self, gate: GateId, near: ClassId) -> Place {
        let table = &mut self.tables[gate.0];
        let described = self.gates.get(gate);
        if table.columns.is_empty() {
            (table.column_of, table.columns) =
                self.classes.told_apart_by(&described.far, described.is_by_family);
        }
        let said = described.near_answers(&self.classes, near);
        let mut key: Vec<(bool, Vec<u16>)> = said
            .into_iter()
            .map(|(meets, ports)| (meets, ports.to_vec()))
            .collect();
        let is_v6 = described.is_by_family && self.classes.family(near) == Family::V6;
        key.push((is_v6, Vec::new()));
        let row = *table.row_of.entry(key).or_insert_with(|| {
            table.rows.push(Row {
                near,
                eligible: BTreeMap::new(),
            });
            let answers = table.rows.len() * table.columns.len();
            table.answers.resize(answers, AnswerId::UNKNOWN);
            number(table.rows.len() - 1)
        });
        Place {
            gate: number(gate.0),
            row,
        }
    }

    /// What is allowed from one address to another of the same family.
    pub(in crate::analysis) fn between(&mut self, from: &Spot, to: &Spot, relation: Relation) -> AnswerId {
        let (source, destination) = match relation {
            Relation::Remote => (from.remote[0], to.remote[1]),
            Relation::Neighbours => (from.neighbours[0], to.neighbours[1]),
            Relation::Local => (from.local[0], to.local[1]),
            Relation::Loopback => match (from.loopback, to.loopback) {
                (Some(from), Some(to)) => (from[0], to[1]),
                _ => return AnswerId::EVERYTHING,
            },
        };
        let source = self.at(source, to.class);
        let destination = self.at(destination, from.class);
        self.both(source, destination)
    }

    /// What is allowed from one address to each of these on other hosts; `None` where the families differ.
    pub(in crate::analysis) fn row(&mut self, from: &Spot, to: &[Spot]) -> Vec<Option<AnswerId>> {
        to.iter()
            .map(|to| (to.family == from.family).then(|| self.between(from, to, Relation::Remote)))
            .collect()
    }

    /// One answer for all pairs of addresses of two ends; `None` if they have no family in common.
    pub(in crate::analysis) fn of_all(
        &mut self,
        pairs: impl Iterator<Item = (Family, AnswerId)> + Clone,
    ) -> Option<AnswerId> {
        let (_, first) = pairs.clone().next()?;
        if pairs.clone().all(|(_, answer)| answer == first) {
            return Some(first);
        }
        let mut pairs: Vec<(Family, AnswerId)> = pairs.collect();
        pairs.sort_unstable();
        pairs.dedup();
        if let Some(&merged) = self.merged.get(&pairs) {
            return Some(merged);
        }
        let merged = self.merge(&pairs);
        self.merged.insert(pairs, merged);
        Some(merged)
    }

    /// One answer for several pairs of addresses. ICMP is IPv4's and ICMPv6 is IPv6's where there is a pair of it.
    fn merge(&mut self, pairs: &[(Family, AnswerId)]) -> AnswerId {
        let mut merged = [Reach {
            all: NOTHING,
            some: NOTHING,
        }; VIEWS];
        for (view, merged) in merged.iter_mut().enumerate() {
            let mut all = self.traffic(EVERYTHING).clone();
            let mut some = Traffic::default();
            for &(family, answer) in pairs {
                let [in_all, in_some] = self.reach(answer, view);
                let left_to_others = self.left_to_others(family, pairs);
                all = all.and(&in_all.or(&left_to_others));
                some = some.or(&in_some.minus(&left_to_others));
            }
            *merged = Reach {
                all: self.traffic_id(all),
                some: self.traffic_id(some),
            };
        }
        self.answer_id(merged)
    }

    /// What pairs of this family have no say about.
    fn left_to_others(&self, family: Family, pairs: &[(Family, AnswerId)]) -> Traffic {
        let other = match family {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        };
        if pairs.iter().any(|&(family, _)| family == other) {
            self.programs.protocols.all_of(Protocol::icmp_of(other))
        } else {
            Traffic::default()
        }
    }

    /// What a gate lets pass between its near address and one of a class.
    fn at(&mut self, place: Option<Place>, far: ClassId) -> AnswerId {
        let Some(Place { gate, row }) = place else {
            return AnswerId::EVERYTHING;
        };
        let table = &self.tables[gate as usize];
        let column = table.column_of[far.0];
        let index = row as usize * table.columns.len() + column as usize;
        let known = table.answers[index];
        if known != AnswerId::UNKNOWN {
            return known;
        }
        let answer = self.ask(GateId(gate as usize), row as usize, column);
        self.tables[gate as usize].answers[index] = answer;
        answer
    }

    fn ask(&mut self, gate: GateId, row: usize, column: u32) -> AnswerId {
        let described = self.gates.get(gate);
        let said = said(
            described,
            &self.programs,
            &self.classes,
            &mut self.tables[gate.0],
            row,
            column,
        );
        let mut reach = [Reach {
            all: NOTHING,
            some: NOTHING,
        }; VIEWS];
        let everything = self.traffic(EVERYTHING).clone();
        for (view, reach) in reach.iter_mut().enumerate().take(self.views.len()) {
            let without = usize::from(self.views[view].without_safety_net);
            let passes = |way: &Way| {
                let mut passes = Cow::Borrowed(&everything);
                for program in &way[view] {
                    if let Some((_, said)) = said.iter().find(|(asked, _)| asked == program) {
                        passes = Cow::Owned(passes.and(&said[without]));
                    }
                }
                passes.into_owned()
            };
            let mut ways = self.gates.get(gate).ways.iter().map(passes);
            let mut all = ways.next().unwrap_or_default();
            let mut some = None;
            for way in ways {
                some = Some(some.unwrap_or_else(|| all.clone()).or(&way));
                all = all.and(&way);
            }
            reach.all = self.traffic_id(all);
            reach.some = some.map_or(reach.all, |some| self.traffic_id(some));
        }
        self.answer_id(reach)
    }

    /// What both let pass.
    fn both(&mut self, a: AnswerId, b: AnswerId) -> AnswerId {
        if a == b || b == AnswerId::EVERYTHING || a == AnswerId::NOTHING {
            return a;
        }
        if a == AnswerId::EVERYTHING || b == AnswerId::NOTHING {
            return b;
        }
        if let Some(both) = self.latest.get(a, b) {
            return both;
        }
        let both = if let Some(&both) = self.both.get(&(a, b)) {
            both
        } else {
            let [one, other] = [a, b].map(|answer| self.list[answer.0 as usize]);
            let mut both = one;
            for (both, other) in both.iter_mut().zip(other) {
                let mut and = |a: TrafficId, b: TrafficId| {
                    let traffic = self.traffic(a).and(self.traffic(b));
                    self.traffic_id(traffic)
                };
                *both = Reach {
                    all: and(both.all, other.all),
                    some: and(both.some, other.some),
                };
            }
            let id = self.answer_id(both);
            self.both.insert((a, b), id);
            id
        };
        self.latest.set(a, b, both);
        both
    }

    fn traffic(&self, id: TrafficId) -> &Traffic {
        &self.traffics[id.0 as usize]
    }

    fn traffic_id(&mut self, traffic: Traffic) -> TrafficId {
        if let Some(&id) = self.traffic_ids.get(&traffic) {
            return id;
        }
        let id = TrafficId(number(self.traffics.len()));
        self.traffics.push(traffic.clone());
        self.traffic_ids.insert(traffic, id);
        id
    }

    fn answer_id(&mut self, answer: Answer) -> AnswerId {
        if let Some(&id) = self.ids.get(&answer) {
            return id;
        }
        let id = AnswerId(number(self.list.len()));
        self.list.push(answer);
        self.ids.insert(answer, id);
        id
    }
}

/// What each program of a gate says of one row and column: with safety nets, and without.
fn said(
    gate: &Gate,
    programs: &Programs<'_>,
    classes: &Classes,
    table: &mut Table,
    row: usize,
    column: u32,
) -> Vec<(ProgramId, [Traffic; 2])> {
    let far = table.columns[column as usize];
    let Row { near, eligible } = &mut table.rows[row];
    let asked = gate.ways.iter().flatten().flatten().copied();
    let mut said: Vec<(ProgramId, [Traffic; 2])> = Vec::new();
    for program in asked {
        if said.iter().any(|(asked, _)| *asked == program) {
            continue;
        }
        let near_eligible = &*eligible
            .entry(program)
            .or_insert_with(|| programs.eligible(program, gate.side, classes, *near));
        let far_eligible = &*table
            .far_eligible
            .entry((program, column))
            .or_insert_with(|| programs.eligible(program, gate.side.other(), classes, far));
        let (ends, eligible) = match gate.side {
            Side::Source => ([*near, far], [near_eligible, far_eligible]),
            Side::Destination => ([far, *near], [far_eligible, near_eligible]),
        };
        said.push((program, programs.run(program, classes, ends, eligible)));
    }
    said
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("4 billion different answers do not fit into memory")
}
