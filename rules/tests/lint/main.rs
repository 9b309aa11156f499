//! Every kind of finding: resources in which it is found, with what is said, and resources in which it is not.
#![allow(clippy::unwrap_used)] // all of this is tests

mod diagnostics;
mod documentation;
mod network;
mod options;
mod peers;
mod policies;
mod reach;
mod rules;
mod staging;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use palisade_rules::analysis::lint::codes::CODES;
use palisade_rules::analysis::lint::{Options, lint};
use palisade_rules::world::{Host, resolve};

use crate::network::{network, snapshot};

/// One code.
struct Case {
    code: &'static str,
    /// Resources, each with what is said of them, in order; each text in the notation of [`network::resources`].
    finds: &'static [(&'static str, &'static [&'static str])],
    /// Resources of which it is not said.
    accepts: &'static [&'static str],
}

/// What is said of the small network with these resources, of one kind.
fn said(code: &str, resources: &str) -> Vec<String> {
    let snapshot = network(resources);
    let host = Host {
        node: Some("one".to_owned()),
        ..Host::default()
    };
    let findings = lint(&snapshot, &resolve(&snapshot, host), &Options::default());
    let of_code = findings.into_iter().filter(|finding| finding.code == code);
    of_code.map(|finding| finding.message).collect()
}

fn check(cases: &[Case]) {
    for case in cases {
        for (resources, messages) in case.finds {
            assert_eq!(
                said(case.code, resources),
                *messages,
                "{}: {resources}",
                case.code
            );
        }
        for resources in case.accepts {
            assert_eq!(said(case.code, resources), [""; 0], "{}: {resources}", case.code);
        }
    }
}

/// What depends on more than resources has a test of its own.
const TESTED_APART: [&str; 2] = ["no-endpoints", "stale-staged-policy"];

#[test]
fn every_code_is_found_and_not_found() {
    let cases = [
        peers::CASES,
        policies::CASES,
        reach::CASES,
        rules::CASES,
        staging::CASES,
    ];
    let cases = cases.into_iter().flatten();
    let whole = cases.filter(|case| !case.finds.is_empty() && !case.accepts.is_empty());
    let tested: BTreeSet<&str> = whole.map(|case| case.code).chain(TESTED_APART).collect();
    let codes: BTreeSet<&str> = CODES.iter().map(|code| code.word).collect();
    assert_eq!(tested, codes);
}

#[test]
fn the_codes_are_sorted_and_legible() {
    assert!(CODES.windows(2).all(|pair| pair[0].word < pair[1].word));
    for code in &CODES {
        let text = [code.meaning, code.help];
        assert!(
            text.iter()
                .all(|text| !text.is_empty() && !text.ends_with('.') && !text.contains(['|', '\n']))
        );
    }
}

#[test]
fn of_the_examples() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let names = [
        "00-safety-net.yaml",
        "10-database.yaml",
        "20-backend-lockdown.yaml",
        "hosts.yaml",
    ];
    let texts = names.map(|name| fs::read_to_string(examples.join(name)).unwrap());
    let snapshot = snapshot(&texts);
    let findings = lint(
        &snapshot,
        &resolve(&snapshot, Host::default()),
        &Options::default(),
    );
    let said: Vec<String> = findings
        .iter()
        .map(|finding| format!("{}: {}", finding.code, finding.message))
        .collect();
    let in_calico = "Calico would ask it after `zzz-final-allow-everything`, which decides everything; here it is asked before";
    assert_eq!(
        said,
        [
            format!("behind-net-in-calico: `database-allow-from-backend` has no order: {in_calico}"),
            format!("behind-net-in-calico: `backend-lockdown-staged` has no order: {in_calico}"),
            "denies-everything: `backend-lockdown-staged` has no Allow or Pass and would deny all ingress of backend-eth0, \
             but for the safety net"
                .to_owned(),
        ]
    );
}

#[test]
fn nothing_is_said_of_nothing() {
    let snapshot = snapshot(&[]);
    let findings = lint(
        &snapshot,
        &resolve(&snapshot, Host::default()),
        &Options::default(),
    );
    assert_eq!(findings, []);
}
