//! What is compiled from the generation before is what would be compiled from nothing.

use std::sync::Arc;

use palisade_cases::{Case, case};
use palisade_rules::compile::{Compiled, DenyAction, FlowLog, Options, compile, compile_from};
use palisade_rules::resource::{Order, StagedAction};
use palisade_rules::ruleset::changes::Changes;
use palisade_rules::ruleset::{Chain, Ruleset};
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::{resolve, resolve_from};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::differential::config;

/// Edits of one case, one after the other.
const EDITS: usize = 8;

/// One edit, of the thing at this place, modulo how many there are.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Comes(usize),
    Goes(usize),
    Reordered(usize, i8),
    Rewritten(usize, usize),
    Staged(usize),
    Promoted,
    NetworkSet(usize),
    Address(usize, u8),
    EndpointGoes(usize),
    Reject(bool),
    Generation(u64),
    Nothing,
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = || any::<usize>();
    prop_oneof![
        4 => place().prop_map(Edit::Comes),
        4 => place().prop_map(Edit::Goes),
        4 => (place(), any::<i8>()).prop_map(|(place, order)| Edit::Reordered(place, order)),
        4 => (place(), place()).prop_map(|(place, other)| Edit::Rewritten(place, other)),
        3 => place().prop_map(Edit::Staged),
        1 => Just(Edit::Promoted),
        3 => place().prop_map(Edit::NetworkSet),
        3 => (place(), any::<u8>()).prop_map(|(place, number)| Edit::Address(place, number)),
        1 => place().prop_map(Edit::EndpointGoes),
        1 => any::<bool>().prop_map(Edit::Reject),
        1 => any::<u64>().prop_map(Edit::Generation),
        1 => Just(Edit::Nothing),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn gives_what_compiling_from_nothing_gives(case in case(1), edits in vec(edit(), EDITS)) {
        let Case { mut snapshot, host, mut options, .. } = case;
        let pool = snapshot.clone();
        let mut worlds = resolve(&snapshot, host.clone());
        let mut compiled = compile(&worlds, &options);
        for edit in edits {
            let earlier = snapshot.clone();
            apply(edit, &pool, &mut snapshot, &mut options);
            let next = resolve_from(Some((&earlier, &worlds)), &snapshot, host.clone());
            let from = compile_from(Some((&worlds, &compiled)), &next, &options);
            let anew = compile(&resolve(&snapshot, host.clone()), &options);
            prop_assert_eq!(from.ruleset.to_string(), anew.ruleset.to_string(), "{:?}", edit);
            prop_assert!(from == anew, "{:?}", edit);
            let changes = Changes::between(&compiled.ruleset, &from.ruleset);
            prop_assert_eq!(changes, Changes::between(&apart(&compiled.ruleset), &anew.ruleset));
            (worlds, compiled) = (next, from);
        }
    }

    #[test]
    fn what_is_the_same_is_shared(case in case(1)) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let first = compile(&worlds, &case.options);
        let second = compile_from(Some((&worlds, &first)), &worlds, &case.options);
        prop_assert!(is_shared(&first, &second));
        let log = case.options.flow_log.map(|log| FlowLog { generation: 77, ..log });
        let numbered = Options { flow_log: log, ..case.options.clone() };
        let renumbered = first.clone().renumbered(77);
        prop_assert!(is_shared(&renumbered, &compile_from(Some((&worlds, &renumbered)), &worlds, &numbered)));
    }
}

fn apply(edit: Edit, pool: &Snapshot, snapshot: &mut Snapshot, options: &mut Options) {
    let of = |place: usize, len: usize| (len > 0).then(|| place % len);
    let policies = &mut snapshot.policies;
    match edit {
        Edit::Comes(place) => {
            let place = of(place, pool.policies.len());
            policies.extend(place.map(|place| Arc::clone(&pool.policies[place])));
        }
        Edit::Goes(place) => {
            of(place, policies.len()).map(|place| policies.remove(place));
        }
        Edit::Reordered(place, order) => {
            if let Some(place) = of(place, policies.len()) {
                Arc::make_mut(&mut policies[place]).order = Some(Order::new(f64::from(order) / 4.0));
            }
        }
        Edit::Rewritten(place, other) => {
            if let (Some(place), Some(other)) = (of(place, policies.len()), of(other, pool.policies.len())) {
                let other = &pool.policies[other];
                let policy = Arc::make_mut(&mut policies[place]);
                if policy.types.ingress && other.types.ingress {
                    policy.ingress.clone_from(&other.ingress);
                }
            }
        }
        Edit::Staged(place) => {
            if let Some(place) = of(place, policies.len()) {
                let policy = Arc::make_mut(&mut policies[place]);
                policy.staged = policy.staged.is_none().then_some(StagedAction::Set);
            }
        }
        Edit::Promoted => *snapshot = snapshot.promoted(|_| true),
        Edit::NetworkSet(place) => {
            if let Some(place) = of(place, pool.network_sets.len()) {
                let (name, set) = pool.network_sets.iter().nth(place).unwrap();
                if snapshot.network_sets.remove(name).is_none() {
                    snapshot.network_sets.insert(name.clone(), Arc::clone(set));
                }
            }
        }
        Edit::Address(place, number) => {
            if let Some(place) = of(place, snapshot.network_sets.len()) {
                let set = snapshot.network_sets.values_mut().nth(place).unwrap();
                let length = if number % 2 == 0 { 32 } else { 24 };
                Arc::make_mut(set).nets = vec![format!("10.{number}.0.0/{length}").parse().unwrap()];
            }
        }
        Edit::EndpointGoes(place) => {
            if let Some(place) = of(place, snapshot.workload_endpoints.len()) {
                let name = snapshot.workload_endpoints.keys().nth(place).unwrap().clone();
                snapshot.workload_endpoints.remove(&name);
            }
        }
        Edit::Reject(answers) => {
            options.deny = if answers {
                DenyAction::Reject
            } else {
                DenyAction::Drop
            };
        }
        Edit::Generation(generation) => {
            options.flow_log = options.flow_log.map(|log| FlowLog { generation, ..log });
        }
        Edit::Nothing => {}
    }
    // The same object twice is an error.
    let mut met = Vec::new();
    snapshot.policies.retain(|policy| {
        let identity = (policy.id.clone(), policy.staged.is_some());
        let is_first = !met.contains(&identity);
        met.push(identity);
        is_first
    });
}

/// The same ruleset, which shares nothing.
fn apart(ruleset: &Ruleset) -> Ruleset {
    let counters = ruleset.counters.iter();
    Ruleset {
        counters: counters
            .map(|(name, comment)| (name.clone(), comment.clone()))
            .collect(),
        chains: ruleset
            .chains
            .iter()
            .map(|chain| Arc::new(Chain::clone(chain)))
            .collect(),
        ..ruleset.clone()
    }
}

/// Whether two generations share all their chains and sets.
fn is_shared(one: &Compiled, other: &Compiled) -> bool {
    let (one, other) = (&one.ruleset, &other.ruleset);
    let mut chains = one.chains.iter().zip(&other.chains);
    let mut sets = one.sets.values().zip(other.sets.values());
    *one == *other
        && chains.all(|(one, other)| Arc::ptr_eq(one, other))
        && sets.all(|(one, other)| Arc::ptr_eq(one, other))
}
