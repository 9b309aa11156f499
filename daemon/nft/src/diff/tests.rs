//! The diff against a model of the kernel that minds references as the kernel does.

use palisade_rules::net::{Family, PortRange, Protocol};
use std::sync::Arc;

use palisade_rules::ruleset::{
    Comment, HookPoint, LookupKey, Match, Op, Rule, Set, Side, Statement, VerdictMap, Ways,
};
use proptest::prelude::*;

use super::*;
use crate::dump::{CounterValue, KernelCounter};
use crate::mismatch::compare;
use crate::program::Verdict;
use crate::transaction::Operation;
use crate::ways::Way;

/// Applies a transaction as the kernel would; panics where the kernel would refuse.
fn apply(mut table: Option<KernelTable>, transaction: &Transaction) -> Option<KernelTable> {
    for operation in transaction.operations() {
        let done = match (&mut table, operation) {
            (table, Operation::AddTable) => {
                table.get_or_insert_default().dormant = false;
                true
            }
            (Some(table), operation) => apply_one(table, operation),
            (None, _) => false,
        };
        assert!(done, "the kernel refuses \"{operation}\" of {transaction:#?}");
    }
    table
}

fn apply_one(table: &mut KernelTable, operation: &Operation) -> bool {
    match operation {
        Operation::AddTable => true,
        Operation::OwnTable | Operation::DeleteTable | Operation::SwitchOff { .. } => false,
        Operation::AddChain { name, hook, comment } => {
            let is_new = chain(table, name).is_none();
            table.chains.push(KernelChain {
                name: name.clone(),
                base: hook.map(|hook| KernelBase {
                    hook: hook_number(hook.point),
                    priority: hook.priority,
                    kind: "filter".to_owned(),
                    accepts: true,
                }),
                comment: comment.clone(),
                rules: vec![],
            });
            is_new
        }
        Operation::AcceptByPolicy(name) => chain(table, name)
            .and_then(|chain| chain.base.as_mut())
            .map(|base| base.accepts = true)
            .is_some(),
        Operation::FlushChain(name) => chain(table, name).map(|chain| chain.rules.clear()).is_some(),
        Operation::DeleteChain(name) => {
            let is_empty = chain(table, name).is_some_and(|chain| chain.rules.is_empty());
            table.chains.retain(|chain| chain.name != *name);
            is_empty && !is_referred_to(table, name)
        }
        Operation::AddRule {
            chain: name,
            program,
            comment,
            ..
        } => {
            let resolves = program.iter().all(|instruction| match instruction {
                Instruction::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => chain(table, to).is_some(),
                Instruction::Lookup { set, .. } => table.sets.contains_key(set),
                Instruction::LookupVerdict(map) => table.maps.contains_key(map),
                Instruction::Counter(counter) => table.counters.contains_key(counter),
                _ => true,
            });
            let rule = KernelRule {
                handle: 0,
                program: program.clone(),
                comment: comment.clone(),
            };
            resolves && chain(table, name).map(|chain| chain.rules.push(rule)).is_some()
        }
        Operation::AddSet { name, kind, comment } => {
            let set = KernelSet {
                kind: Some(*kind),
                comment: comment.clone(),
                elements: Some(empty(*kind)),
            };
            table.sets.insert(name.clone(), set).is_none()
        }
        Operation::DeleteSet(name) => table.sets.remove(name).is_some() && !is_referred_to(table, name),
        Operation::FlushSet(name) => {
            let set = table.sets.get_mut(name);
            set.map(|set| set.elements = set.kind.map(empty)).is_some()
        }
        Operation::AddElements { set, elements } => change_elements(table, set, |have| {
            let (all_of_have, _) = element_changes(have, elements);
            (all_of_have == *have).then(|| merge(have, elements))
        }),
        Operation::DeleteElements { set, elements } => change_elements(table, set, |have| {
            let (left, not_there) = element_changes(have, elements);
            not_there.is_empty().then_some(left)
        }),
        Operation::AddMap { name, kind, comment } => {
            let map = KernelMap {
                kind: Some(*kind),
                comment: comment.clone(),
                ways: Some(vec![]),
            };
            table.maps.insert(name.clone(), map).is_none()
        }
        Operation::DeleteMap(name) => table.maps.remove(name).is_some() && !is_referred_to(table, name),
        Operation::FlushMap(name) => {
            let map = table.maps.get_mut(name);
            map.map(|map| map.ways = Some(vec![])).is_some()
        }
        Operation::AddWays { map, ways, .. } => {
            let resolve = ways.iter().all(|way| chain(table, way.chain()).is_some());
            resolve && change_ways(table, map, |have| have.extend(ways.iter().cloned()))
        }
        Operation::DeleteWays { map, ways, .. } => {
            let ways: Vec<&Way> = ways.iter().collect();
            change_ways(table, map, |have| have.retain(|way| !ways.contains(&way)))
        }
        Operation::AddCounter { name, value, comment } => {
            let counter = KernelCounter {
                value: *value,
                comment: comment.clone(),
            };
            table.counters.insert(name.clone(), counter).is_none()
        }
        Operation::DeleteObject { name, kind } => {
            let before = table.counters.len() + table.foreign_objects.len();
            if *kind == 1 {
                table.counters.remove(name);
            }
            table
                .foreign_objects
                .retain(|object| object != &(*kind, name.clone()));
            table.counters.len() + table.foreign_objects.len() + 1 == before && !is_referred_to(table, name)
        }
    }
}

fn chain<'a>(table: &'a mut KernelTable, name: &str) -> Option<&'a mut KernelChain> {
    table.chains.iter_mut().find(|chain| chain.name == name)
}

/// Changes what a map holds; what comes and goes must not, and must, be there.
fn change_ways(table: &mut KernelTable, map: &str, change: impl FnOnce(&mut Vec<Way>)) -> bool {
    let Some(ways) = table.maps.get_mut(map).and_then(|map| map.ways.as_mut()) else {
        return false;
    };
    change(ways);
    ways.sort_unstable();
    let before = ways.len();
    ways.dedup();
    ways.len() == before
}

fn is_referred_to(table: &KernelTable, name: &str) -> bool {
    let mut ways = table.maps.values().filter_map(|map| map.ways.as_ref()).flatten();
    if ways.any(|way| way.chain() == name) {
        return true;
    }
    let rules = table.chains.iter().flat_map(|chain| &chain.rules);
    rules
        .flat_map(|rule| &rule.program)
        .any(|instruction| match instruction {
            Instruction::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => to == name,
            Instruction::Lookup { set, .. } | Instruction::LookupVerdict(set) => set == name,
            Instruction::Counter(counter) => counter == name,
            _ => false,
        })
}

fn change_elements(
    table: &mut KernelTable,
    set: &str,
    change: impl FnOnce(&Elements) -> Option<Elements>,
) -> bool {
    let elements = table.sets.get_mut(set).and_then(|set| set.elements.as_mut());
    match elements.and_then(|have| change(have).map(|after| *have = after)) {
        Some(()) => true,
        None => false,
    }
}

fn merge(have: &Elements, more: &Elements) -> Elements {
    match (have, more) {
        (Elements::Ipv4Addresses(have), Elements::Ipv4Addresses(more)) => {
            let all: BTreeSet<_> = have.iter().chain(more).copied().collect();
            Elements::Ipv4Addresses(all.into_iter().collect())
        }
        (Elements::Ports(have), Elements::Ports(more)) => {
            let all: BTreeSet<_> = have.iter().chain(more).copied().collect();
            Elements::Ports(all.into_iter().collect())
        }
        (Elements::Ipv4NamedPorts(have), Elements::Ipv4NamedPorts(more)) => {
            let all: BTreeSet<_> = have.iter().chain(more).copied().collect();
            Elements::Ipv4NamedPorts(all.into_iter().collect())
        }
        other => panic!("the model knows no such sets: {other:?}"),
    }
}

fn empty(kind: SetKind) -> Elements {
    match kind {
        SetKind::Ipv4Addresses => Elements::Ipv4Addresses(vec![]),
        SetKind::Ports => Elements::Ports(vec![]),
        SetKind::Ipv4NamedPorts => Elements::Ipv4NamedPorts(vec![]),
        other => panic!("the model knows no such sets: {other:?}"),
    }
}

const CHAINS: [&str; 5] = ["a", "b", "c", "d", "e"];
const COUNTERS: [&str; 3] = ["hits", "more", "most"];

/// Rulesets over few names, so that two of them have much in common.
fn rulesets() -> impl Strategy<Value = Ruleset> {
    let order = Just(CHAINS.to_vec()).prop_shuffle();
    let bases = prop::sample::subsequence(vec!["input", "input-after", "output"], 0..=3);
    let comments = prop::collection::vec(prop::sample::select(vec!["", "one", "two"]), 9);
    let rules = prop::collection::vec(prop::collection::vec((0..6usize, 0..5usize), 0..3), 9);
    let addresses = prop::collection::btree_set(0..6u8, 0..6);
    let ways = prop::collection::btree_map(0..4u8, 0..5usize, 0..4);
    (order, 0..=5usize, bases, comments, rules, addresses, 0..3u8, ways).prop_map(
        |(order, count, bases, comments, rules, addresses, kind, ways)| {
            let plain = &order[..count];
            let numbers = addresses.iter().copied();
            let elements = match kind {
                0 => Elements::Ports(numbers.map(|n| PortRange::one(u16::from(n))).collect()),
                1 => Elements::Ipv4Addresses(numbers.map(|n| [10, 0, 0, n].into()).collect()),
                _ => Elements::Ipv4NamedPorts(
                    numbers
                        .map(|n| ([10, 0, 0, n / 2].into(), Protocol::TCP, u16::from(n)))
                        .collect(),
                ),
            };
            let mut ruleset = Ruleset::default();
            ruleset.sets.insert(
                Name::new("members"),
                Arc::new(Set {
                    elements,
                    comment: Comment::new(comments[8]),
                }),
            );
            let ways = ways.into_iter().filter_map(|(protocol, to)| {
                let to = plain.get(to)?;
                Some((Protocol(protocol), Name::new(to)))
            });
            let map = VerdictMap {
                ways: Ways::Protocols(ways.collect()),
                comment: Comment::new(comments[7]),
            };
            ruleset.maps.insert(Name::new("ways"), Arc::new(map));
            for (index, name) in bases.iter().chain(plain).enumerate() {
                let hook = match *name {
                    "input" => Some((HookPoint::Input, 0)),
                    "input-after" => Some((HookPoint::Input, 1)),
                    "output" => Some((HookPoint::Output, 0)),
                    _ => None,
                };
                let rules = rules[index]
                    .iter()
                    .map(|&(what, which)| rule(&mut ruleset, what, which, plain))
                    .collect();
                ruleset.chains.push(Arc::new(Chain {
                    name: Name::new(name),
                    hook: hook.map(|(point, priority)| Hook { point, priority }),
                    // A base chain's comment stays, so that the chain must.
                    comment: Comment::new(if hook.is_some() { "" } else { comments[index] }),
                    rules,
                }));
            }
            ruleset
        },
    )
}

fn rule(ruleset: &mut Ruleset, what: usize, which: usize, chains: &[&str]) -> Rule {
    let mut rule = Rule::default();
    match what {
        0 => rule.statements.push(Statement::Accept),
        1 => {
            let counter = Name::new(COUNTERS[which % COUNTERS.len()]);
            ruleset.counters.insert(counter.clone(), Comment::default());
            rule.statements.push(Statement::Counter(counter));
        }
        2 => rule.matches.push(Match::AddressSet(
            Side::Source,
            Op::Is,
            Family::V4,
            Name::new("members"),
        )),
        3 => {
            let statement = Statement::Lookup(LookupKey::Protocol, Name::new("ways"));
            rule.statements.push(statement);
        }
        _ => match chains.get(which) {
            Some(chain) => rule.statements.push(Statement::Jump(Name::new(chain))),
            None => rule.comment = Comment::new("nothing"),
        },
    }
    rule
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_ruleset_becomes_any_other(first in rulesets(), second in rulesets()) {
        let start = apply(None, &diff(&first, None, &()));
        prop_assert!(diff(&first, start.as_ref(), &()).is_empty());
        prop_assert!(compare(&first, start.as_ref()).is_ok());

        let mut counted = start.unwrap();
        for counter in counted.counters.values_mut() {
            counter.value = CounterValue { packets: 3, bytes: 300 };
        }
        let transaction = diff(&second, Some(&counted), &());
        prop_assert_eq!(transaction.is_empty(), compare(&second, Some(&counted)).is_ok());
        let end = apply(Some(counted.clone()), &transaction);
        prop_assert!(diff(&second, end.as_ref(), &()).is_empty());
        let end = end.unwrap();

        // What stays has its value.
        for (name, counter) in &end.counters {
            if counted.counters.contains_key(name) {
                prop_assert_eq!(counter.value.packets, 3);
            }
        }
        // What stays of the base chains was never away.
        for chain in second.chains.iter().filter(|chain| chain.hook.is_some()) {
            let goes = Operation::DeleteChain(chain.name.to_string());
            prop_assert!(!transaction.operations().contains(&goes));
        }
        // The others are listed in order.
        let plain = |chain: &&KernelChain| chain.base.is_none();
        let listed: Vec<&str> = end.chains.iter().filter(plain).map(|chain| chain.name.as_str()).collect();
        let wanted = second.chains.iter().filter(|chain| chain.hook.is_none());
        prop_assert_eq!(listed, wanted.map(|chain| chain.name.as_str()).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_known_does_for_what_is_read(rulesets in prop::collection::vec(rulesets(), 2..5)) {
        let mut table = apply(None, &diff(&rulesets[0], None, &()));
        for pair in rulesets.windows(2) {
            let steps = held::steps(&pair[0], &pair[1], &()).unwrap();
            let (transaction, touched) = steps.finish();
            prop_assert!(!transaction.is_empty() || compare(&pair[1], table.as_ref()).is_ok());
            prop_assert_eq!(&transaction.operations().len(), &diff(&pair[1], table.as_ref(), &()).len());
            table = apply(table, &transaction);
            prop_assert!(compare(&pair[1], table.as_ref()).is_ok());
            // Whatever is touched is as it is to be then.
            for chain in touched.chains {
                prop_assert!(pair[1].chains.iter().any(|other| **other == *chain));
            }
        }
    }
}

/// Totals of which no counter may fall short.
struct AtLeast(u64);

impl Ledger for AtLeast {
    fn total(&self, _: &str, held: Option<CounterValue>) -> CounterValue {
        let held = held.unwrap_or_default();
        CounterValue {
            packets: held.packets.max(self.0),
            ..held
        }
    }

    fn made(&mut self, _: &str, _: CounterValue) {}

    fn retire(&mut self, _: &[(String, CounterValue)]) {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_counter_gets_its_total(first in rulesets(), second in rulesets(), values in prop::array::uniform3(0..4u64)) {
        let mut counted = apply(None, &diff(&first, None, &())).unwrap();
        for (counter, packets) in counted.counters.values_mut().zip(values) {
            counter.value.packets = packets;
        }
        let ledger = AtLeast(2);
        let mut transaction = diff(&second, Some(&counted), &ledger);
        let end = apply(Some(counted.clone()), &transaction);
        prop_assert!(diff(&second, end.as_ref(), &ledger).is_empty());
        for (name, counter) in end.unwrap().counters {
            let before = counted.counters.get(&name).map_or(0, |counter| counter.value.packets);
            prop_assert_eq!(counter.value.packets, before.max(2));
        }

        // What retires can be left for later, and nothing else can.
        let retired = transaction.take_retired_counters();
        let end = apply(Some(counted.clone()), &transaction).unwrap();
        for name in counted.counters.keys() {
            prop_assert!(end.counters.contains_key(name));
            prop_assert_eq!(retired.contains(name), !second.counters.contains_key(&Name::new(name)));
        }
        let deletion = retired.into_iter().map(|name| Operation::DeleteObject { name, kind: 1 });
        let end = apply(Some(end), &Transaction::new(deletion.collect()));
        prop_assert!(compare(&second, end.as_ref()).is_ok());
    }
}

#[test]
fn an_equal_table_needs_nothing_and_an_absent_one_everything() {
    let empty = Ruleset::default();
    assert_eq!(diff(&empty, None, &()).operations(), [Operation::AddTable]);
    assert!(diff(&empty, Some(&KernelTable::default()), &()).is_empty());
    let dormant = KernelTable {
        dormant: true,
        ..KernelTable::default()
    };
    assert_eq!(
        diff(&empty, Some(&dormant), &()).operations(),
        [Operation::AddTable]
    );
}

#[test]
fn what_palisade_does_not_make_goes() {
    let mut table = KernelTable::default();
    table.chains.push(KernelChain {
        name: "backdoor".to_owned(),
        base: None,
        comment: String::new(),
        rules: vec![KernelRule {
            handle: 1,
            program: vec![Instruction::Foreign("fib".to_owned())],
            comment: String::new(),
        }],
    });
    table.foreign_objects.push((2, "quota".to_owned()));
    let words: Vec<String> = diff(&Ruleset::default(), Some(&table), &())
        .operations()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        words,
        [
            "deleting the rules of chain backdoor",
            "deleting object quota of nf_tables type 2",
            "deleting chain backdoor",
        ]
    );
}
