//! Of two generations in one ruleset, each packet meets exactly one: the one that the set and the share say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use palisade_cases::{Case, Journey, case, without_safety_nets, without_staged};
use palisade_rules::compile::{FlowLog, Options, compile};
use palisade_rules::ruleset::unconfirmed::{Percent, SET, Terms, beside, confirmed};
use palisade_rules::ruleset::{Chain, Elements, MAX_COMMENT, Name, Ruleset, Statement};
use palisade_rules::snapshot::Snapshot;
use palisade_rules::world::resolve;
use proptest::prelude::*;

use crate::differential::{JOURNEYS, config};
use crate::interpreter::{End, run, share_of};

/// The generation in force, and the one that comes.
const NUMBERS: (u64, u64) = (12, 11);

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_packet_meets_the_candidate_or_the_previous_generation_and_nothing_in_between(
        case in case(JOURNEYS),
        share in proptest::option::of(1..=99u8),
        is_promotion: bool,
        is_rollback: bool,
    ) {
        let (candidate, previous) = generations(&case, is_promotion, is_rollback);
        let share = share.map(|share| Percent::try_from(share).unwrap());
        let terms = Terms { window: Duration::from_mins(1), share };
        let open = beside(&candidate, &previous, &terms, NUMBERS);
        assert_well_formed(&open);
        let over = expired(&open);
        let alone = confirmed(&candidate, &previous);
        assert_well_formed(&alone);
        for journey in &case.journeys {
            let is_chosen = share.is_none_or(|share| share_of(&journey.packet) < share.get());
            let governs = if is_chosen { &candidate } else { &previous };
            prop_assert_eq!(ends(&open, journey), ends(governs, journey), "{}\n{:?}", &open, journey);
            prop_assert_eq!(ends(&over, journey), ends(&previous, journey), "{}\n{:?}", &over, journey);
            prop_assert_eq!(ends(&alone, journey), ends(&candidate, journey), "{}\n{:?}", &alone, journey);
        }
    }

    #[test]
    fn a_generation_beside_itself_is_itself(case in case(1)) {
        let (candidate, _) = generations(&case, true, false);
        let terms = Terms { window: Duration::from_mins(1), share: None };
        prop_assert_eq!(&confirmed(&candidate, &candidate), &candidate);
        let mut both = beside(&candidate, &candidate, &terms, NUMBERS);
        both.sets.remove(&Name::new(SET));
        prop_assert_eq!(both, candidate);
    }
}

/// A candidate and what it is to replace: everything promoted where some was staged, or the safety nets gone; or back.
fn generations(case: &Case, is_promotion: bool, is_rollback: bool) -> (Ruleset, Ruleset) {
    let compiled = |snapshot: &Snapshot, generation| {
        let flow_log = case.options.flow_log.map(|log| FlowLog { generation, ..log });
        let options = Options {
            flow_log,
            ..case.options.clone()
        };
        compile(&resolve(snapshot, case.host.clone()), &options).ruleset
    };
    let other = if is_promotion {
        case.snapshot.promoted(|_| true)
    } else {
        without_staged(&without_safety_nets(&case.snapshot, &case.host))
    };
    let (candidate, previous) = if is_rollback {
        (&case.snapshot, &other)
    } else {
        (&other, &case.snapshot)
    };
    (compiled(candidate, NUMBERS.0), compiled(previous, NUMBERS.1))
}

/// What the kernel holds when the window is over.
fn expired(ruleset: &Ruleset) -> Ruleset {
    let mut expired = ruleset.clone();
    let set = expired.sets.get_mut(&Name::new(SET)).unwrap();
    Arc::make_mut(set).elements = Elements::Families(Vec::new(), Duration::ZERO);
    expired
}

/// How a packet ends, what counts it, what is logged of it, and the mark it keeps: everything but the names of chains.
fn ends(ruleset: &Ruleset, journey: &Journey) -> (End, Vec<String>, Vec<String>, u32) {
    let run = run(ruleset, journey);
    let counters = run.hits.into_iter().map(|(_, counter)| counter).collect();
    (run.end, counters, run.logs, run.mark)
}

/// What the kernel and nft ask of every ruleset.
fn assert_well_formed(ruleset: &Ruleset) {
    let by_name: BTreeMap<&Name, &Chain> = ruleset
        .chains
        .iter()
        .map(|chain| (&chain.name, &**chain))
        .collect();
    assert_eq!(
        by_name.len(),
        ruleset.chains.len(),
        "two chains have one name:\n{ruleset}"
    );
    let hooks: Vec<_> = ruleset.chains.iter().filter_map(|chain| chain.hook).collect();
    let places: BTreeSet<_> = hooks.iter().map(|hook| (hook.point, hook.priority)).collect();
    assert_eq!(
        places.len(),
        hooks.len(),
        "two base chains at one place have no order"
    );
    assert!(
        ruleset.chains[hooks.len()..]
            .iter()
            .all(|chain| chain.hook.is_none())
    );
    for (name, map) in &ruleset.maps {
        assert!(!ruleset.sets.contains_key(name), "{name} is a set too");
        assert!(
            map.ways.chains().all(|chain| by_name.contains_key(chain)),
            "{name}"
        );
    }
    for rule in ruleset.chains.iter().flat_map(|chain| &chain.rules) {
        let comment = rule.comment.as_str();
        assert!(!comment.is_empty() && comment.len() <= MAX_COMMENT, "{rule}");
        for set in rule.matches.iter().filter_map(|condition| condition.set()) {
            assert!(ruleset.sets.contains_key(set), "{rule}");
        }
        for statement in &rule.statements {
            match statement {
                Statement::Counter(name) => assert!(ruleset.counters.contains_key(name), "{rule}"),
                Statement::Jump(name) | Statement::Goto(name) => {
                    assert!(by_name.contains_key(name), "{rule}");
                }
                Statement::Lookup(_, map) => assert!(ruleset.maps.contains_key(map), "{rule}"),
                _ => {}
            }
        }
    }
}
