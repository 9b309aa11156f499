//! A change that is too large for who makes it.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::env;
use std::fs;
use std::process::Command;

use common::{open, ruleset_of_chains};
use palisade_nft::{ApplyError, ReplaceError};

/// Says that this process is the one in a user namespace.
const INSIDE: &str = "PALISADE_TEST_INSIDE";

/// Root of a user namespace may change the tables of its own network namespace, and may not send what it likes.
#[test]
fn a_change_too_large_for_the_process_says_so() {
    if env::var_os(INSIDE).is_some() {
        return without_privilege_outside();
    }
    let inside = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_change_too_large_for_the_process_says_so",
            "--nocapture",
        ])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stderr);
    assert!(inside.status.success(), "this test needs user namespaces: {said}");
}

fn without_privilege_outside() {
    let most: usize = fs::read_to_string("/proc/sys/net/core/wmem_max")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // The kernel doubles what a socket asks for; a chain takes more than 200 bytes with its rules.
    let names: Vec<String> = (0..2 * most / 200)
        .map(|number| format!("chain-{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut kernel = open();
    let small = ruleset_of_chains(&names[..10]);
    kernel.replace(&small, &mut ()).unwrap();
    let error = kernel.replace(&ruleset_of_chains(&names), &mut ()).unwrap_err();
    let ReplaceError::Apply(ApplyError::TooLarge { bytes }) = error else {
        panic!("{error:?}")
    };
    assert!(bytes > 2 * most, "{bytes}");
    assert!(error.to_string().contains("net.core.wmem_max"), "{error}");
    // What was there still is.
    kernel.verify(&small).unwrap();
}
