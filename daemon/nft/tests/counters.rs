//! Counters by the ten thousand, and totals that go on while the kernel's counters come and go.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{in_namespace, loopback_up, name, nft, open, rule, ruleset_of_chains, send_to_loopback};
use palisade_nft::{CounterValue, Ledger, Nft};
use palisade_rules::ruleset::{Comment, Ruleset, Statement};

/// Totals by name, as they were told.
#[derive(Default)]
struct Totals(BTreeMap<String, CounterValue>);

impl Ledger for Totals {
    fn total(&self, name: &str, held: Option<CounterValue>) -> CounterValue {
        let known = self.0.get(name).copied().unwrap_or_default();
        held.filter(|held| held.packets > known.packets).unwrap_or(known)
    }

    fn made(&mut self, name: &str, value: CounterValue) {
        self.0.insert(name.to_owned(), value);
    }

    fn retire(&mut self, last: &[(String, CounterValue)]) {
        self.0.extend(last.iter().cloned());
    }
}

/// Counts what comes in.
fn counting(names: &[&str]) -> Ruleset {
    let mut ruleset = ruleset_of_chains(&["a"]);
    for text in names {
        let counter = Statement::Counter(name(text));
        Arc::make_mut(&mut ruleset.chains[0])
            .rules
            .insert(0, rule(vec![counter]));
        ruleset.counters.insert(name(text), Comment::default());
    }
    ruleset
}

fn send(packets: usize) {
    send_to_loopback(&vec![&b"0123456789"[..]; packets]);
}

/// What the nft binary lists of a counter.
fn listed(counter: &str) -> String {
    let said = nft(&["list", "counter", "inet", "palisade", counter], "").unwrap();
    let line = said.lines().find(|line| line.contains("packets"));
    line.unwrap().trim().to_owned()
}

fn value(packets: u64) -> CounterValue {
    CounterValue {
        packets,
        bytes: packets * 38,
    }
}

#[test]
fn a_counter_begins_at_its_total() {
    in_namespace(|| {
        let mut totals = Totals::default();
        let large = CounterValue {
            packets: u64::from(u32::MAX) + 7,
            bytes: u64::MAX / 3,
        };
        totals.0.insert("hits".to_owned(), large);
        open().replace(&counting(&["hits", "more"]), &mut totals).unwrap();
        assert_eq!(
            listed("hits"),
            format!("packets {} bytes {}", large.packets, large.bytes)
        );
        assert_eq!(listed("more"), "packets 0 bytes 0");
    });
}

#[test]
fn a_rule_that_comes_back_goes_on() {
    in_namespace(|| {
        loopback_up();
        let (mut kernel, mut totals) = (open(), Totals::default());
        for round in 1..=3 {
            let with = counting(&["hits", "more"]);
            kernel.update(&with, &mut totals).unwrap();
            send(2);
            assert_eq!(kernel.counters().unwrap()["hits"], value(2 * round));
            let changed = kernel.update(&counting(&["more"]), &mut totals).unwrap();
            assert!(changed.changes > 0);
            assert_eq!(totals.0["hits"], value(2 * round));
            assert!(!kernel.counters().unwrap().contains_key("hits"));
            // Nothing is left to do, and what is known of the kernel is still right.
            let generation = kernel.generation_id().unwrap();
            assert_eq!(
                kernel.update(&counting(&["more"]), &mut totals).unwrap().changes,
                0
            );
            assert_eq!(kernel.generation_id().unwrap(), generation);
            send(1);
        }
        assert_eq!(kernel.counters().unwrap()["more"], value(9));
    });
}

#[test]
fn a_counter_that_somebody_set_back_is_made_anew_at_its_total() {
    in_namespace(|| {
        loopback_up();
        let (mut kernel, mut totals) = (open(), Totals::default());
        let desired = counting(&["hits", "more"]);
        kernel.replace(&desired, &mut totals).unwrap();
        send(5);
        totals.0 = kernel.counters().unwrap();
        nft(&["reset", "counter", "inet", "palisade", "hits"], "").unwrap();
        assert!(kernel.replace(&desired, &mut totals).unwrap().changes > 0);
        assert_eq!(listed("hits"), "packets 5 bytes 190");
        assert_eq!(listed("more"), "packets 5 bytes 190");
        send(1);
        assert_eq!(kernel.counters().unwrap()["hits"], value(6));
        assert_eq!(kernel.replace(&desired, &mut totals).unwrap().changes, 0);
    });
}

#[test]
fn the_last_values_of_a_table_that_goes_are_kept() {
    in_namespace(|| {
        loopback_up();
        let (mut kernel, mut totals) = (open(), Totals::default());
        let desired = counting(&["hits"]);
        kernel.replace(&desired, &mut totals).unwrap();
        send(4);
        kernel.delete_table(&mut totals).unwrap();
        assert!(kernel.dump().unwrap().is_none());
        assert_eq!(totals.0["hits"], value(4));
        kernel.replace(&desired, &mut totals).unwrap();
        assert_eq!(listed("hits"), "packets 4 bytes 152");
    });
}

#[test]
fn a_table_that_was_switched_off_and_not_deleted_comes_back() {
    in_namespace(|| {
        let mut kernel = open();
        let desired = counting(&["hits"]);
        kernel.replace(&desired, &mut ()).unwrap();
        nft(&["add", "table", "inet", "palisade", "{ flags dormant; }"], "").unwrap();
        assert!(kernel.replace(&desired, &mut ()).unwrap().changes > 0);
        assert!(!kernel.dump().unwrap().unwrap().dormant);
    });
}

/// Loads a table with this many counters, each with another value.
fn many(kernel: &mut Nft, count: u64) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|index| format!("c/{index:06}")).collect();
    let mut ruleset = Ruleset::default();
    let mut totals = Totals::default();
    for (index, text) in (0..).zip(&names) {
        ruleset.counters.insert(name(text), Comment::new("some rule"));
        totals.0.insert(text.clone(), value(index));
    }
    kernel.replace(&ruleset, &mut totals).unwrap();
    names
}

#[test]
fn reading_by_name_says_what_a_dump_says() {
    in_namespace(|| {
        let mut kernel = open();
        // More than are dumped.
        let names = many(&mut kernel, 31_000);
        let mut asked: Vec<&str> = names.iter().map(String::as_str).collect();
        asked.insert(500, "c/000499/never-there");
        let reading = kernel.read_counters(&asked).unwrap();
        let expected: Vec<Option<CounterValue>> = {
            let dumped = kernel.counters().unwrap();
            asked.iter().map(|name| dumped.get(*name).copied()).collect()
        };
        assert_eq!(reading.values, expected);
        assert_eq!(reading.values[500], None);
        assert_eq!(reading.values[31_000], Some(value(30_999)));

        // Some that are not asked for, some that are gone, over both ways.
        nft(&["delete", "counter", "inet", "palisade", "c/000007"], "").unwrap();
        nft(&["add", "counter", "inet", "palisade", "foreign"], "").unwrap();
        for some in [&asked[..], &asked[..100]] {
            let again = kernel.read_counters(some).unwrap();
            assert_eq!(again.table, reading.table);
            assert_eq!(again.values[7], None);
            assert_eq!(again.values[8], Some(value(8)));
        }
        nft(&["delete", "table", "inet", "palisade"], "").unwrap();
        let gone = kernel.read_counters(&asked).unwrap();
        assert_eq!(gone.table, None);
        assert!(gone.values.iter().all(Option::is_none));
        many(&mut kernel, 3);
        let other = kernel.read_counters(&asked[..3]).unwrap();
        assert!(other.table.is_some() && other.table != reading.table);
    });
}
