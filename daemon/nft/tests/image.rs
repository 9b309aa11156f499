//! A ruleset that was kept is loaded as it was, and a note stays until it is taken away. Needs root.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::collections::BTreeMap;

use common::{base_chain, counting, in_namespace, listing, load, name, nft, open, packets, ruleset_of, set};
use palisade_nft::{ApplyError, CounterValue, Image, Ledger, NOTE_TABLE, note};
use palisade_rules::net::PortRange;
use palisade_rules::ruleset::{Elements, HookPoint, Ruleset};

fn desired() -> Ruleset {
    let mut ruleset = ruleset_of(vec![base_chain(
        "input",
        HookPoint::Input,
        vec![counting("seen", Vec::new()), counting("also", Vec::new())],
    )]);
    let ports = (1..2_000).map(|n| PortRange::one(n * 2)).collect();
    ruleset.sets.insert(name("ports"), set(Elements::Ports(ports)));
    ruleset
}

/// Remembers one counter.
struct Known;

impl Ledger for Known {
    fn total(&self, name: &str, held: Option<CounterValue>) -> CounterValue {
        match name {
            "seen" => CounterValue {
                packets: 7,
                bytes: 700,
            },
            _ => held.unwrap_or_default(),
        }
    }

    fn made(&mut self, _: &str, _: CounterValue) {}

    fn retire(&mut self, _: &[(String, CounterValue)]) {}
}

#[test]
fn an_image_makes_the_same_table_with_counters_at_their_totals() {
    in_namespace(|| {
        let desired = desired();
        let image = Image::of(&desired).unwrap();
        let mut kernel = open();
        assert!(!kernel.has_table().unwrap());
        kernel.load(&image, &mut Known).unwrap();
        assert!(kernel.has_table().unwrap());
        kernel.verify(&desired).unwrap();
        let totals = BTreeMap::from([("seen".to_owned(), 7), ("also".to_owned(), 0)]);
        assert_eq!(packets(&mut kernel), totals);
        let loaded = listing();

        // Not over one that is there.
        let refused = kernel.load(&image, &mut Known);
        assert!(matches!(refused, Err(ApplyError::Refused(_))), "{refused:?}");
        assert_eq!(listing(), loaded);
        nft(&["delete", "table", "inet", "palisade"], "").unwrap();
        kernel.replace(&desired, &mut Known).unwrap();
        assert_eq!(listing(), loaded);
    });
}

#[test]
fn an_image_that_is_not_whole_makes_nothing() {
    in_namespace(|| {
        let mut image = Image::of(&desired()).unwrap();
        image.messages.truncate((image.messages.len() / 2) & !3);
        let mut kernel = open();
        assert!(kernel.load(&image, &mut ()).is_err());
        assert!(!kernel.has_table().unwrap());
    });
}

#[test]
fn a_note_is_seen_and_can_be_taken_away() {
    in_namespace(|| {
        let mut kernel = open();
        assert_eq!(note(), None);
        for _ in 0..2 {
            kernel.leave_note("somebody called for help").unwrap();
        }
        assert_eq!(note().as_deref(), Some("somebody called for help"));
        let listed = nft(&["list", "ruleset"], "").unwrap();
        assert!(
            listed.contains(NOTE_TABLE) && listed.contains("somebody called for help"),
            "{listed}"
        );
        nft(&["flush", "ruleset"], "").unwrap();
        load(&listed);
        for _ in 0..2 {
            kernel.take_note().unwrap();
        }
        assert_eq!(note(), None);
    });
}
