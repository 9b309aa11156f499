//! What one policy that changes costs among many that do not, in instructions: a count, which a busy machine does not
//! change. Valgrind counts them.
//!
//! ```text
//! cargo bench -p palisade-rules --bench instructions             # counts, and fails if there are too many
//! cargo bench -p palisade-rules --bench instructions -- --time   # how long it takes at 10,000 policies
//! ```
#![allow(clippy::expect_used)] // a bench that cannot run has nothing to say

use std::env;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use palisade_rules::compile::{Compiled, Options, compile, compile_from};
use palisade_rules::decode::decode;
use palisade_rules::ruleset::changes::Changes;
use palisade_rules::source::Files;
use palisade_rules::world::{Host, Worlds, resolve};

const FEW: u64 = 200;
const MANY: u64 = 2_000;
const RULES: usize = 5;

/// What is measured, and how many instructions each policy that does not change may cost.
const BOUNDS: [(&str, u64); 2] = [("compile", 20_000), ("diff", 200)];

fn main() {
    let arguments: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--time"] => time(),
        ["--count", what, policies] => count(what, policies.parse().expect("a number of policies")),
        _ => compare(),
    }
}

/// Counts both sizes, each in a process of its own under valgrind.
fn compare() {
    let mut is_too_much = false;
    for (what, bound) in BOUNDS {
        let [few, many] = [FEW, MANY].map(|policies| instructions(what, policies));
        let each = many.saturating_sub(few) / (MANY - FEW);
        println!(
            "{what}: {few} instructions at {FEW} policies, {many} at {MANY}: {each} for each that stays, {bound} allowed"
        );
        is_too_much |= each > bound;
    }
    assert!(!is_too_much, "a policy that does not change costs too much");
}

fn instructions(what: &str, policies: u64) -> u64 {
    let program = env::current_exe().expect("this program has a path");
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=*measured*",
        ])
        .arg(program)
        .args(["--count", what, &policies.to_string()])
        .output()
        .expect("valgrind is installed: apt install valgrind");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let number = collected.and_then(|(_, number)| number.trim().parse().ok());
    number.unwrap_or_else(|| panic!("valgrind counted nothing:\n{said}"))
}

fn count(what: &str, policies: usize) {
    let (before, after) = generations(policies);
    let options = Options::default();
    let first = compile(&before, &options);
    if what == "compile" {
        black_box(measured(|| {
            compile_from(Some((&before, &first)), &after, &options)
        }));
    } else {
        let second = compile_from(Some((&before, &first)), &after, &options);
        black_box(measured(|| Changes::between(&first.ruleset, &second.ruleset)));
    }
}

/// What valgrind counts.
#[inline(never)]
fn measured<T>(run: impl FnOnce() -> T) -> T {
    black_box(run())
}

fn time() {
    let (before, after) = generations(10_000);
    let options = Options::default();
    let first = compile(&before, &options);
    let second = compile_from(Some((&before, &first)), &after, &options);
    fastest("compile", || compile(&after, &options));
    fastest("compile_from", || {
        compile_from(Some((&before, &first)), &after, &options)
    });
    fastest("changes", || Changes::between(&first.ruleset, &second.ruleset));
    fastest("equal", || first == second);
    fastest("renumbered", || Compiled::renumbered(first.clone(), 7));
    assert!(second == compile(&after, &options));
}

fn fastest<T>(what: &str, run: impl Fn() -> T) {
    let times = (0..10).map(|_| {
        let start = Instant::now();
        let made = black_box(run());
        let time = start.elapsed();
        drop(made);
        time
    });
    println!("{what}: {:?}", times.min().unwrap_or_default());
}

/// The worlds of a host with so many policies, one of them staged, and the same with one rule less.
fn generations(policies: usize) -> (Worlds, Worlds) {
    let mut files = Files::default();
    let file = files.add("estate.yaml", text(policies));
    let (snapshot, diagnostics) = decode(&files, &[file]);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)));
    let host = Host {
        node: Some("one".to_owned()),
        interfaces: [("eth0".to_owned(), Vec::new())].into(),
        ..Host::default()
    };
    let before = resolve(&snapshot, host);
    let mut after = before.clone();
    let changed = after.enforced.policies.len() / 2;
    let mut policy = after.enforced.policies[changed].policy.as_ref().clone();
    let (whole, source) = (policy.ingress.take(), after.enforced.policies[changed].source);
    policy.ingress = whole.map(|rules| rules[1..].to_vec().into());
    let policy = Arc::new(policy);
    let worlds = [&mut after.enforced, &mut after.pending];
    for placed in worlds
        .into_iter()
        .flat_map(|world| Arc::make_mut(&mut world.policies))
    {
        if placed.source == source {
            placed.policy = Arc::clone(&policy);
        }
    }
    (before, after)
}

fn text(policies: usize) -> String {
    let header = |kind: &str, name: &str| {
        format!("---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {name}\n")
    };
    let mut text = header("HostEndpoint", "{name: h, labels: {host: h}}");
    text += "spec: {node: one, interfaceName: '*', expectedIPs: [10.0.0.1]}\n";
    for set in 0..200 {
        text += &header(
            "GlobalNetworkSet",
            &format!("{{name: s{set}, labels: {{set: s{set}}}}}"),
        );
        text += &format!("spec: {{nets: [10.1.{set}.1, 10.1.{set}.2]}}\n");
    }
    text += &header("StagedGlobalNetworkPolicy", "{name: staged}");
    text += "spec: {selector: host == 'h', ingress: [{action: Allow}]}\n";
    for policy in 0..policies {
        text += &header("GlobalNetworkPolicy", &format!("{{name: p{policy}}}"));
        text += &format!("spec:\n  selector: host == 'h'\n  order: {policy}\n  ingress:\n");
        for rule in policy * RULES..(policy + 1) * RULES {
            text += &format!(
                "  - {{action: Allow, protocol: TCP, destination: {{ports: [{}]}}, source: {{selector: set == 's{}'}}}}\n",
                1_024 + rule % 60_000,
                rule % 200
            );
        }
    }
    text
}
