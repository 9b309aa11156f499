//! How long the whole matrix takes: every cell of both worlds, with the safety net and without.
//!
//! `cargo bench -p palisade-rules --bench matrix`. Three fleets, each with 1,000 policies of 5 rules:
//!
//! - `apps`: a policy for each application, which names five others by label. With 1,000 endpoints no two are alike.
//! - `overlapping`: policies select by one of ten labels, so that every endpoint has its own dozen of them, and no two of
//!   any number of endpoints are alike.
//! - `everywhere`: every policy is every endpoint's, and each of the 5,000 rules names a net of its own.
#![allow(clippy::unwrap_used)] // a benchmark is a test

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use palisade_rules::analysis::{Cell, Matrix};
use palisade_rules::decode::decode;
use palisade_rules::source::Files;
use palisade_rules::world::{Host, Worlds, resolve};

const POLICIES: usize = 1_000;
const RULES: usize = 5;

fn matrix(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matrix");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    // Where it is only tried out, once and unoptimised, small fleets do.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let sizes = if is_bench { [1_000, 10_000] } else { [50, 100] };
    for endpoints in sizes {
        for (name, fleet) in [
            ("apps", apps as fn(usize) -> Worlds),
            ("overlapping", overlapping),
            ("everywhere", everywhere),
        ] {
            // No two of 10,000 are alike: 100,000,000 cells, each different, for minutes.
            if name == "overlapping" && endpoints == 10_000 {
                continue;
            }
            let worlds = fleet(endpoints);
            group.bench_with_input(BenchmarkId::new(name, endpoints), &worlds, |bencher, worlds| {
                bencher.iter(|| black_box(whole(worlds)));
            });
        }
    }
    group.finish();
}

/// Every cell of the matrix: how many pairs allow something.
fn whole(worlds: &Worlds) -> usize {
    let mut matrix = Matrix::new(worlds);
    (0..matrix.nodes().len())
        .map(|from| {
            let row = matrix.row(from);
            row.iter().filter(|&&cell| cell != Cell::NOTHING).count()
        })
        .sum()
}

fn apps(endpoints: usize) -> Worlds {
    let mut text = String::new();
    for index in 0..endpoints {
        endpoint(&mut text, index, &format!("app: app-{}", index % POLICIES));
    }
    for index in 0..POLICIES {
        let rule = |rule: usize| {
            let peer = (index * 7 + rule * 131 + 1) % POLICIES;
            format!(
                "{{action: Allow, protocol: TCP, source: {{selector: app == 'app-{peer}'}}, \
                 destination: {{ports: [{}]}}}}",
                8_000 + rule
            )
        };
        policy(&mut text, index, &format!("app == 'app-{index}'"), rule);
    }
    worlds(text)
}

fn overlapping(endpoints: usize) -> Worlds {
    let value = |index: usize, label: usize| scramble(index * 10 + label) % 100;
    let mut text = String::new();
    for index in 0..endpoints {
        let labels: Vec<String> = (0..10)
            .map(|label| format!("l{label}: v{}", value(index, label)))
            .collect();
        endpoint(&mut text, index, &labels.join(", "));
    }
    for index in 0..POLICIES {
        let rule = |rule: usize| {
            let peer = scramble(index * RULES + rule);
            format!(
                "{{action: {}, protocol: {}, source: {{selector: l{} == 'v{}'}}, destination: {{ports: [{}]}}}}",
                ["Allow", "Deny", "Pass"][peer % 3],
                ["TCP", "UDP"][peer % 2],
                peer / 7 % 10,
                peer / 70 % 100,
                1 + peer / 7_000 % 1_000
            )
        };
        let selector = format!("l{} == 'v{}'", index % 10, index / 10);
        policy(&mut text, index, &selector, rule);
    }
    worlds(text)
}

fn everywhere(endpoints: usize) -> Worlds {
    let mut text = String::new();
    for index in 0..endpoints {
        endpoint(&mut text, index, "role: any");
    }
    for index in 0..POLICIES {
        let rule = |rule: usize| {
            let net = index * RULES + rule;
            format!(
                "{{action: Allow, protocol: TCP, source: {{nets: [10.{}.{}.0/28]}}, destination: {{ports: [{}]}}}}",
                net / 200 % 200,
                net % 200,
                1 + net
            )
        };
        policy(&mut text, index, "has(role)", rule);
    }
    worlds(text)
}

fn endpoint(text: &mut String, index: usize, labels: &str) {
    let [high, low] = [index / 200, index % 200];
    writeln!(
        text,
        "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\n\
         metadata: {{name: host-{index:05}, labels: {{{labels}}}}}\n\
         spec: {{node: node-{index:05}, interfaceName: eth0, expectedIPs: [10.{high}.{low}.1, 'fd00::{high}:{low}']}}"
    )
    .unwrap();
}

/// Every tenth policy is staged.
fn policy(text: &mut String, index: usize, selector: &str, rule: impl Fn(usize) -> String) {
    let kind = if index % 10 == 9 {
        "StagedGlobalNetworkPolicy"
    } else {
        "GlobalNetworkPolicy"
    };
    let rules: Vec<String> = (0..RULES).map(rule).collect();
    writeln!(
        text,
        "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: policy-{index:04}}}\n\
         spec: {{selector: \"{selector}\", ingress: [{}]}}",
        rules.join(", ")
    )
    .unwrap();
}

/// A number that looks random and is always the same.
fn scramble(index: usize) -> usize {
    let mixed = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from((mixed ^ (mixed >> 29)) >> 20).unwrap()
}

/// With the safety net in place: the most views there can be.
fn worlds(mut text: String) -> Worlds {
    text.push_str("---\n");
    text.push_str(include_str!("../../examples/00-safety-net.yaml"));
    let mut files = Files::default();
    let file = files.add("fleet.yaml", text);
    let (snapshot, diagnostics) = decode(&files, &[file]);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)));
    resolve(&snapshot, Host::default())
}

criterion_group!(benches, matrix);
criterion_main!(benches);
