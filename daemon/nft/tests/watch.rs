//! Every commit to our table is heard of, with who made it; others' tables are not. Needs root.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use common::{in_namespace, load, nft, open, ruleset_of_chains};
use palisade_nft::{Commit, Nft, Notice, Watch};

/// Tables of somebody else.
const OTHERS: &str = "
add table inet other
add chain inet other one
add rule inet other one accept
add table ip palisade
add chain ip palisade one
add rule ip palisade one drop
";

/// What was heard since it was asked last.
fn heard(watch: &mut Watch) -> Vec<Notice> {
    std::iter::from_fn(|| watch.hear().unwrap()).collect()
}

fn changed(watch: &mut Watch) -> Vec<Commit> {
    let commits = heard(watch).into_iter().map(|notice| match notice {
        Notice::Changed(commit) => commit,
        Notice::Lost => panic!("there was room enough"),
    });
    commits.collect()
}

fn held() -> (Nft, Watch) {
    let mut kernel = open();
    kernel
        .replace(&ruleset_of_chains(&["one", "two"]), &mut ())
        .unwrap();
    (kernel, Watch::open().unwrap())
}

#[test]
fn a_change_is_told_with_who_made_it() {
    in_namespace(|| {
        let (mut kernel, mut watch) = held();
        for change in [
            &["add", "rule", "inet", "palisade", "one", "drop"][..],
            &["flush", "chain", "inet", "palisade", "two"],
            &["add", "set", "inet", "palisade", "theirs", "{ type ipv4_addr; }"],
            &["add", "element", "inet", "palisade", "theirs", "{ 192.0.2.1 }"],
            &["add", "counter", "inet", "palisade", "theirs"],
            &["delete", "table", "inet", "palisade"],
        ] {
            nft(change, "").unwrap();
            let commits = changed(&mut watch);
            let [commit] = commits.as_slice() else {
                panic!("{change:?} is told as {commits:?}");
            };
            assert_eq!(commit.process, "nft");
            assert!(commit.pid > 0 && commit.port != kernel.port(), "{commit:?}");
            assert_eq!(commit.generation, kernel.generation_id().unwrap());
        }
        kernel.replace(&ruleset_of_chains(&["one"]), &mut ()).unwrap();
        nft(&["flush", "ruleset"], "").unwrap();
        let commits = changed(&mut watch);
        assert_eq!(commits.len(), 2, "{commits:?}");
        assert_eq!(commits[0].port, kernel.port(), "our own");
        assert_ne!(commits[1].port, kernel.port());
    });
}

#[test]
fn what_is_not_done_to_our_table_is_not_told() {
    in_namespace(|| {
        let (_kernel, mut watch) = held();
        load(OTHERS);
        nft(&["reset", "counters", "table", "inet", "palisade"], "").unwrap();
        nft(&["list", "ruleset"], "").unwrap();
        nft(&["delete", "table", "ip", "palisade"], "").unwrap();
        assert_eq!(heard(&mut watch), []);
    });
}

#[test]
fn what_was_too_much_is_told_as_lost() {
    in_namespace(|| {
        let (mut kernel, mut watch) = held();
        let mut rounds = 0;
        while heard_lost(&mut watch, rounds) {
            rounds += 1;
            assert!(rounds < 100, "nothing was ever lost");
            let names: Vec<String> = (0..20_000).map(|number| format!("chain{number:05}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for names in [&names[..], &names[..1]] {
                kernel.replace(&ruleset_of_chains(names), &mut ()).unwrap();
            }
        }
        // It goes on all the same.
        heard(&mut watch);
        nft(&["flush", "chain", "inet", "palisade", "input"], "").unwrap();
        assert_eq!(changed(&mut watch).len(), 1);
    });
}

/// Whether it is still to be tried: nothing is read before there is something to lose.
fn heard_lost(watch: &mut Watch, rounds: usize) -> bool {
    rounds < 2 || !heard(watch).contains(&Notice::Lost)
}

#[test]
fn a_repair_says_what_was_wrong_and_leaves_what_is_right() {
    in_namespace(|| {
        let desired = ruleset_of_chains(&["one", "two"]);
        let (mut kernel, _) = held();
        assert_eq!(kernel.repair(&desired, &mut ()).unwrap(), None);
        load(OTHERS);
        assert_eq!(kernel.repair(&desired, &mut ()).unwrap(), None);
        for (change, said) in [
            (
                &["add", "rule", "inet", "palisade", "one", "drop"][..],
                "chain one has 2 rules instead of 1",
            ),
            (
                &["add", "chain", "inet", "palisade", "theirs"],
                "chain theirs should not be there",
            ),
            (&["flush", "ruleset"], "the table is missing"),
        ] {
            nft(change, "").unwrap();
            let repaired = kernel.repair(&desired, &mut ()).unwrap().unwrap();
            assert_eq!(repaired.mismatch.differences, [said]);
            assert!(repaired.changes > 0);
            kernel.verify(&desired).unwrap();
        }
    });
}
