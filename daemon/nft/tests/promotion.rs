//! What a promotion under a timer changes in the kernel.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::fmt::Write as _;
use std::time::Duration;

use common::{in_namespace, open};
use palisade_nft::{Operation, Transaction, diff};
use palisade_rules::compile::{FlowLog, Options, compile};
use palisade_rules::decode::decode;
use palisade_rules::ruleset::Ruleset;
use palisade_rules::ruleset::unconfirmed::{Terms, beside, confirmed};
use palisade_rules::source::Files;
use palisade_rules::world::{Host, resolve};

/// A directory of policies, each with three rules, as the node `one` compiles it. One is staged, or promoted.
fn directory(policies: usize, is_promoted: bool, generation: u64) -> Ruleset {
    let mut text = String::from(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: web}\nspec: {node: one, interfaceName: eth0, expectedIPs: [10.0.0.1]}\n",
    );
    for number in 0..policies {
        let kind = if number == policies / 2 && !is_promoted {
            "StagedGlobalNetworkPolicy"
        } else {
            "GlobalNetworkPolicy"
        };
        let allow = |port| {
            format!(
                "{{action: Allow, protocol: TCP, source: {{nets: [10.{}.0.0/16]}}, destination: {{ports: [{port}]}}}}",
                number % 250
            )
        };
        writeln!(
            text,
            "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: policy-{number:05}}}\nspec: {{order: {number}, types: [Ingress], ingress: [{}, {}, {}]}}",
            allow(80),
            allow(443),
            allow(8080)
        )
        .unwrap();
    }
    let mut files = Files::default();
    let file = files.add("policies.yaml", text);
    let (snapshot, diagnostics) = decode(&files, &[file]);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)));
    let host = Host {
        node: Some("one".to_owned()),
        ..Host::default()
    };
    let options = Options {
        flow_log: Some(FlowLog { group: 7, generation }),
        ..Options::default()
    };
    compile(&resolve(&snapshot, host), &options).ruleset
}

#[test]
fn promoting_one_policy_of_many_is_a_small_transaction() {
    in_namespace(|| {
        const POLICIES: usize = 300;
        let terms = Terms {
            window: Duration::from_hours(1),
            share: None,
        };
        let previous = directory(POLICIES, false, 11);
        let candidate = directory(POLICIES, true, 12);
        let both = beside(&candidate, &previous, &terms, (12, 11));
        let mut kernel = open();
        kernel.replace(&previous, &mut ()).unwrap();
        let mut changes = |desired: &Ruleset| {
            let transaction = diff(desired, kernel.dump().unwrap().as_ref(), &());
            kernel.replace(desired, &mut ()).unwrap();
            transaction
        };
        let (forth, back) = (changes(&both), changes(&previous));
        // Each stands in its tier's chain, which is there twice while the generation is not confirmed.
        assert!(forth.len() < 2 * POLICIES + 80, "{}", forth.len());
        assert!(back.len() < POLICIES + 60, "{}", back.len());
        assert_eq!(policy_chains(&forth), (1, 0), "{forth:#?}");
        assert_eq!(policy_chains(&back), (0, 1), "{back:#?}");
        changes(&both);
        let on = changes(&confirmed(&candidate, &previous));
        // What goes is the preview that the promotion makes needless; no chain that is asked is touched.
        let [created, deleted] = ["creating chain", "deleting chain enforced/"].map(|what| {
            let operations = on.operations().iter();
            operations
                .filter(|operation| operation.to_string().starts_with(what))
                .count()
        });
        assert_eq!((created, deleted), (0, 0), "{on:#?}");
        let is_rule = |operation: &&Operation| matches!(operation, Operation::AddRule { .. });
        let rules = on.operations().iter().filter(is_rule).count();
        assert!(rules < 20, "{rules}");
    });
}

/// How many chains of policies come and go.
fn policy_chains(transaction: &Transaction) -> (usize, usize) {
    let is_policy = |name: &str| name.starts_with("enforced/") || name.starts_with("preview/");
    transaction
        .operations()
        .iter()
        .fold((0, 0), |(come, go), operation| match operation {
            Operation::AddChain { name, .. } if is_policy(name) => (come + 1, go),
            Operation::DeleteChain(name) if is_policy(name) => (come, go + 1),
            _ => (come, go),
        })
}
