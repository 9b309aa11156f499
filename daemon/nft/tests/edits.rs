//! One edit after another by what is known of the table: each leaves what a fresh load would, and nothing else is touched.
//! Needs root.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::collections::BTreeMap;

use common::{
    base_chain, chain, counting, in_namespace, jump, listed_chains, loopback_up, name, open, send_to_loopback,
};
use palisade_nft::{KernelTable, Nft};
use palisade_rules::net::{Family, Protocol};
use palisade_rules::ruleset::{
    Chain, Comment, Elements, HookPoint, LookupKey, Match, Op, Rule, Ruleset, Set, Side, Statement,
    VerdictMap, Ways,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What a ruleset is made of: policies with the number of their rules, the service that leads to each, and members.
#[derive(Clone, Debug, Default)]
struct Host {
    policies: BTreeMap<u8, (u8, Option<u16>)>,
    members: BTreeMap<u8, Vec<u8>>,
    is_strict: bool,
}

#[derive(Clone, Debug)]
enum Edit {
    Policy(u8, u8),
    NoPolicy(u8),
    Service(u8, u16),
    NoService(u8),
    Member(u8, u8),
    NoMember(u8, u8),
    Strict,
    Nothing,
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (0..12u8, 0..5u8).prop_map(|(policy, rules)| Edit::Policy(policy, rules)),
        2 => (0..12u8).prop_map(Edit::NoPolicy),
        3 => (0..12u8, 0..9u16).prop_map(|(policy, port)| Edit::Service(policy, port)),
        1 => (0..12u8).prop_map(Edit::NoService),
        3 => (0..3u8, 0..9u8).prop_map(|(set, member)| Edit::Member(set, member)),
        2 => (0..3u8, 0..9u8).prop_map(|(set, member)| Edit::NoMember(set, member)),
        1 => Just(Edit::Strict),
        1 => Just(Edit::Nothing),
    ]
}

impl Host {
    fn edit(&mut self, edit: &Edit) {
        match *edit {
            Edit::Policy(policy, rules) => self.policies.entry(policy).or_default().0 = rules,
            Edit::NoPolicy(policy) => drop(self.policies.remove(&policy)),
            Edit::Service(policy, port) => {
                if let Some((_, service)) = self.policies.get_mut(&policy) {
                    *service = Some(port);
                }
            }
            Edit::NoService(policy) => {
                if let Some((_, service)) = self.policies.get_mut(&policy) {
                    *service = None;
                }
            }
            Edit::Member(set, member) => self.members.entry(set).or_default().push(member),
            Edit::NoMember(set, member) => {
                if let Some(members) = self.members.get_mut(&set) {
                    members.retain(|other| *other != member);
                }
            }
            Edit::Strict => self.is_strict = !self.is_strict,
            Edit::Nothing => {}
        }
    }

    /// Padding makes the table so large that its chains are not kept in order.
    fn ruleset(&self, padding: usize) -> Ruleset {
        let mut ruleset = Ruleset::default();
        for (set, members) in &self.members {
            let mut members: Vec<_> = members.iter().map(|last| [10, 0, *set, *last].into()).collect();
            members.sort_unstable();
            members.dedup();
            let set = Set {
                elements: Elements::Ipv4Addresses(members),
                comment: Comment::default(),
            };
            ruleset.sets.insert(members_of(ruleset.sets.len()), set.into());
        }
        let mut services: BTreeMap<(Protocol, u16), _> = BTreeMap::new();
        let mut input = vec![counting("all", vec![])];
        input.push(Rule {
            statements: vec![Statement::Lookup(LookupKey::Service, name("services"))],
            ..Rule::default()
        });
        let mut chains: Vec<Chain> = Vec::new();
        for (policy, (rules, service)) in &self.policies {
            let title = format!("policy-{policy:02}");
            match service {
                Some(port) => drop(services.insert((Protocol::UDP, *port), name(&title))),
                None => input.push(jump(&title)),
            }
            let rules = (0..*rules).map(|number| {
                let members = members_of(usize::from(number) % ruleset.sets.len().max(1));
                let mut matches = vec![Match::Protocol(Op::Is, Protocol::TCP)];
                if ruleset.sets.contains_key(&members) {
                    matches.insert(0, Match::Family(Family::V4));
                    matches.push(Match::AddressSet(Side::Source, Op::Is, Family::V4, members));
                }
                let counter = name(&format!("{title}/{number}"));
                ruleset.counters.insert(counter.clone(), Comment::default());
                let verdict = if self.is_strict {
                    Statement::Drop
                } else {
                    Statement::Accept
                };
                Rule {
                    matches,
                    statements: vec![Statement::Counter(counter), verdict],
                    comment: Comment::new(&title),
                }
            });
            chains.push(unshared(chain(&title, rules.collect())));
        }
        ruleset.counters.insert(name("all"), Comment::default());
        ruleset.maps.insert(
            name("services"),
            VerdictMap {
                ways: Ways::Services(services.into_iter().collect()),
                comment: Comment::default(),
            }
            .into(),
        );
        let padding = (padding > 0).then(|| {
            let rules = vec![common::rule(vec![Statement::Return]); padding];
            unshared(chain("padding", rules))
        });
        let input = unshared(base_chain("input", HookPoint::Input, input));
        let chains = std::iter::once(input).chain(padding).chain(chains);
        ruleset.chains = chains.map(Into::into).collect();
        ruleset
    }
}

fn unshared(chain: impl Into<std::sync::Arc<Chain>>) -> Chain {
    std::sync::Arc::unwrap_or_clone(chain.into())
}

fn members_of(set: usize) -> palisade_rules::ruleset::Name {
    name(&format!("members-{set}"))
}

/// The table without the kernel's numbers, what was counted, and the order of chains.
fn dumped(kernel: &mut Nft) -> KernelTable {
    let mut table = kernel.dump().unwrap().unwrap();
    let rules = table.chains.iter_mut().flat_map(|chain| &mut chain.rules);
    rules.for_each(|rule| rule.handle = 0);
    table.chains.sort_by(|a, b| a.name.cmp(&b.name));
    for counter in table.counters.values_mut() {
        counter.value = palisade_nft::CounterValue::default();
    }
    table
}

/// The number of each rule of each chain.
fn numbers(kernel: &mut Nft) -> BTreeMap<String, Vec<u64>> {
    let chains = kernel.dump().unwrap().unwrap().chains.into_iter();
    let numbers = |chain: palisade_nft::KernelChain| {
        let rules = chain.rules.iter().map(|rule| rule.handle);
        (chain.name, rules.collect())
    };
    chains.map(numbers).collect()
}

/// The table as a fresh load makes it, and its chains in order.
fn fresh(ruleset: &Ruleset) -> (KernelTable, Vec<String>) {
    let ruleset = ruleset.clone();
    in_namespace(move || {
        let mut kernel = open();
        kernel.replace(&ruleset, &mut ()).unwrap();
        (dumped(&mut kernel), listed_chains())
    })
}

fn any_edits(padding: usize, cases: u32) {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 8,
        ..Config::default()
    });
    let some = prop::collection::vec(edits(), 20..40);
    let outcome = runner.run(&some, |edits| {
        in_namespace(move || {
            let (mut kernel, mut witness) = (open(), open());
            let mut host = Host::default();
            let mut ruleset = host.ruleset(padding);
            kernel.replace(&ruleset, &mut ()).unwrap();
            loopback_up();
            send_to_loopback(&[b"something", b"to count"]);
            let counted = kernel.counters().unwrap()["all"];
            assert!(counted.packets >= 2);
            for edit in &edits {
                let (before, was) = (numbers(&mut witness), ruleset);
                host.edit(edit);
                ruleset = host.ruleset(padding);
                kernel.update(&ruleset, &mut ()).unwrap();
                witness.verify(&ruleset).unwrap();
                let (table, chains) = fresh(&ruleset);
                assert_eq!(dumped(&mut witness), table, "{edit:?}");
                if padding == 0 {
                    assert_eq!(listed_chains(), chains, "{edit:?}");
                } else {
                    // Whatever is the same is not touched.
                    let after = numbers(&mut witness);
                    for chain in ruleset.chains.iter().filter(|chain| was.chains.contains(chain)) {
                        let title = chain.name.as_str();
                        assert_eq!(before[title], after[title], "chain {title} after {edit:?}");
                    }
                }
                // What was counted stays.
                assert_eq!(kernel.counters().unwrap()["all"], counted);
            }
        });
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn any_edits_lead_to_what_a_fresh_load_makes() {
    any_edits(0, 8);
}

#[test]
fn in_a_large_table_edits_touch_what_differs_and_nothing_else() {
    any_edits(600, 4);
}

#[test]
fn a_commit_is_as_small_as_the_edit() {
    in_namespace(|| {
        let mut kernel = open();
        let mut host = Host::default();
        for policy in 0..10 {
            host.edit(&Edit::Policy(policy, 3));
            host.edit(&Edit::Service(policy, policy.into()));
            host.edit(&Edit::Member(0, policy));
        }
        kernel.replace(&host.ruleset(600), &mut ()).unwrap();
        let mut changes = |edit: Edit| {
            host.edit(&edit);
            kernel.update(&host.ruleset(600), &mut ()).unwrap().changes
        };
        assert_eq!(changes(Edit::Nothing), 0);
        assert_eq!(changes(Edit::Member(0, 50)), 1);
        assert_eq!(changes(Edit::NoMember(0, 50)), 1);
        // A chain, two counters and rules, and a rule of the base chain, which has two and all of them anew.
        assert_eq!(changes(Edit::Policy(20, 2)), 1 + 2 + 2 + 1 + 3);
        // That rule goes, and an element comes.
        assert_eq!(changes(Edit::Service(20, 99)), 1 + 2 + 1);
        // All rules of one chain.
        assert_eq!(changes(Edit::Policy(20, 3)), 1 + 1 + 3);
    });
}
