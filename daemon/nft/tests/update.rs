//! Changes from what is known of the table: as whole, and as sure, as those from what was read.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use common::{in_namespace, listed_chains, nft, open, ruleset_of_chains};

#[test]
fn one_change_after_another_comes_into_force() {
    in_namespace(|| {
        let mut kernel = open();
        // Nothing is known at first, and there is no table.
        for names in [&["a", "b"][..], &["a", "x", "b"], &["a", "x", "b"], &["b"], &[]] {
            let desired = ruleset_of_chains(names);
            kernel.update(&desired, &mut ()).unwrap();
            assert_eq!(listed_chains(), [&["input"], names].concat());
            open().verify(&desired).unwrap();
        }
    });
}

#[test]
fn nothing_to_do_is_no_transaction() {
    in_namespace(|| {
        let mut kernel = open();
        let desired = ruleset_of_chains(&["a"]);
        kernel.replace(&desired, &mut ()).unwrap();
        let generation = kernel.generation_id().unwrap();
        for _ in 0..2 {
            assert_eq!(kernel.update(&desired, &mut ()).unwrap().changes, 0);
        }
        assert_eq!(kernel.generation_id().unwrap(), generation);
    });
}

#[test]
fn what_somebody_else_has_done_meanwhile_is_put_right() {
    in_namespace(|| {
        let mut kernel = open();
        let foreign: &[&[&str]] = &[
            &["flush", "chain", "inet", "palisade", "input"],
            &["add", "chain", "inet", "palisade", "foreign"],
            &["add", "set", "inet", "palisade", "s", "{ type ipv4_addr; }"],
            &["delete", "table", "inet", "palisade"],
            &["add", "table", "inet", "elsewhere"],
        ];
        for (number, change) in foreign.iter().enumerate() {
            let one = format!("one-{number}");
            kernel.update(&ruleset_of_chains(&["a", &one]), &mut ()).unwrap();
            nft(change, "").unwrap();
            let desired = ruleset_of_chains(&["a", "other"]);
            kernel.update(&desired, &mut ()).unwrap();
            open().verify(&desired).unwrap();
            // Also where nothing of ours is to change.
            nft(change, "").unwrap_or_default();
            kernel.update(&desired, &mut ()).unwrap();
            open().verify(&desired).unwrap();
        }
        assert!(
            nft(&["list", "tables"], "").unwrap().contains("elsewhere"),
            "left alone"
        );
    });
}
