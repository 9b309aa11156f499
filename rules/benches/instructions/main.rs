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
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use palisade_rules::compile::{Compiled, Options, compile, compile_from};
use palisade_rules::decode::decode;
use palisade_rules::net::PortRange;
use palisade_rules::resource::Policy;
use palisade_rules::ruleset::changes::Changes;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::Files;
use palisade_rules::world::{Host, Worlds, resolve, resolve_from};

/// How many policies there are, of five rules each.
const FEW: u64 = 1_000;
const MANY: u64 = 10_000;

/// How many addresses each of a hundred sets has.
const MEMBERS: usize = 1_000;

/// A port that every policy speaks of.
const SHARED_PORT: u16 = 900;

/// How many instructions something may cost.
struct Bound {
    what: &'static str,
    /// For one policy that changes, whatever the others are.
    once: u64,
    /// For each policy that does not change.
    each: u64,
}

/// About 1.3 times what they were when they were last looked at.
const BOUNDS: [Bound; 6] = [
    Bound {
        what: "resolve",
        once: 140_000,
        each: 380,
    },
    Bound {
        what: "compile, another port",
        once: 1_200_000,
        each: 2_500,
    },
    Bound {
        what: "compile, a rule more",
        once: 1_200_000,
        each: 5_500,
    },
    Bound {
        what: "compile, an address",
        once: 1_200_000,
        each: 430,
    },
    Bound {
        what: "compile, an endpoint's address",
        once: 1_200_000,
        each: 430,
    },
    Bound {
        what: "diff",
        once: 360_000,
        each: 390,
    },
];

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
    for Bound { what, once, each } in BOUNDS {
        let [few, many] = [FEW, MANY].map(|policies| instructions(what, policies));
        let of_each = many.saturating_sub(few) / (MANY - FEW);
        let of_one = few.saturating_sub(of_each * FEW);
        println!("{what}: {few} instructions at {FEW} policies, {many} at {MANY}");
        println!(
            "    {of_one} for the one that changes, {once} allowed; {of_each} for each that stays, {each} allowed"
        );
        is_too_much |= of_each > each || of_one > once;
    }
    assert!(!is_too_much, "one policy that changes costs too much");
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
    let edit = match what {
        "compile, a rule more" => a_rule_more,
        "compile, an address" => an_address,
        "compile, an endpoint's address" => an_address_of_an_endpoint,
        _ => another_port,
    };
    let options = Options::default();
    let estate = Estate::new(policies, edit);
    if what == "resolve" {
        black_box(measured(|| estate.resolved()));
        return;
    }
    let after = estate.resolved();
    let first = compile(&estate.worlds, &options);
    let next = || compile_from(Some((&estate.worlds, &first)), &after, &options);
    if what == "diff" {
        let second = next();
        black_box(measured(|| Changes::between(&first.ruleset, &second.ruleset)));
    } else {
        black_box(measured(next));
    }
}

/// What valgrind counts.
#[inline(never)]
fn measured<T>(run: impl FnOnce() -> T) -> T {
    black_box(run())
}

fn time() {
    let options = Options::default();
    for (what, edit) in [
        ("another port", another_port as Edit),
        ("a rule more", a_rule_more),
        ("an address", an_address),
        ("an endpoint's address", an_address_of_an_endpoint),
    ] {
        let estate = Estate::new(10_000, edit);
        let after = estate.resolved();
        let first = compile(&estate.worlds, &options);
        let second = compile_from(Some((&estate.worlds, &first)), &after, &options);
        println!("{what}");
        fastest("compile", || compile(&after, &options));
        fastest("resolve_from", || estate.resolved());
        fastest("compile_from", || {
            compile_from(Some((&estate.worlds, &first)), &after, &options)
        });
        fastest("changes", || Changes::between(&first.ruleset, &second.ruleset));
        fastest("equal", || first == second);
        fastest("renumbered", || Compiled::renumbered(first.clone(), 7));
        assert!(second == compile(&after, &options));
    }
}

fn fastest<T>(what: &str, run: impl Fn() -> T) {
    let times = (0..20).map(|_| {
        let start = Instant::now();
        let made = black_box(run());
        let time = start.elapsed();
        drop(made);
        time
    });
    println!("    {what}: {:?}", times.min().unwrap_or_default());
}

/// What becomes of one thing among many.
type Edit = fn(&mut Snapshot);

fn another_port(snapshot: &mut Snapshot) {
    in_other_ports(one_policy(snapshot));
}

fn a_rule_more(snapshot: &mut Snapshot) {
    let policy = one_policy(snapshot);
    let rule = policy.ingress[0].clone();
    policy.ingress.push(rule);
    in_other_ports(policy);
}

/// In a set that the rules of many policies look into.
fn an_address(snapshot: &mut Snapshot) {
    let middle = snapshot.network_sets.len() / 2;
    let set = snapshot.network_sets.values_mut().nth(middle).expect("a set");
    Arc::make_mut(set)
        .nets
        .push("192.0.2.1".parse::<IpAddr>().expect("an address").into());
}

/// Of an endpoint elsewhere, which the rules of many policies look for.
fn an_address_of_an_endpoint(snapshot: &mut Snapshot) {
    let elsewhere = snapshot.host_endpoints.iter_mut();
    let (_, endpoint) = elsewhere.last().expect("an endpoint");
    Arc::make_mut(endpoint)
        .expected_ips
        .push("192.0.2.1".parse().expect("an address"));
}

fn one_policy(snapshot: &mut Snapshot) -> &mut Policy {
    let middle = snapshot.policies.len() / 2;
    Arc::make_mut(&mut snapshot.policies[middle])
}

fn in_other_ports(policy: &mut Policy) {
    for rule in &mut policy.ingress {
        let ports = rule.destination.ports.iter_mut();
        for range in ports.flat_map(|ports| &mut ports.ranges) {
            if *range != PortRange::one(SHARED_PORT) {
                *range = PortRange::one(777);
            }
        }
    }
}

/// A host with many policies, and the same with one of them changed.
struct Estate {
    before: Snapshot,
    after: Snapshot,
    worlds: Worlds,
}

impl Estate {
    fn new(policies: usize, edit: Edit) -> Self {
        let mut files = Files::default();
        let file = files.add("estate.yaml", text(policies));
        let (snapshot, diagnostics) = decode(&files, &[file]);
        let before = snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)));
        let mut after = before.clone();
        edit(&mut after);
        let worlds = resolve(&before, host());
        Estate {
            before,
            after,
            worlds,
        }
    }

    fn resolved(&self) -> Worlds {
        resolve_from(Some((&self.before, &self.worlds)), &self.after, host())
    }
}

fn host() -> Host {
    Host {
        node: Some("one".to_owned()),
        interfaces: [("eth0".to_owned(), Vec::new())].into(),
        ..Host::default()
    }
}

fn text(policies: usize) -> String {
    let header = |kind: &str, name: &str| {
        format!("---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {name}\n")
    };
    let mut text = header("HostEndpoint", "{name: h, labels: {host: h}}");
    text += "spec: {node: one, interfaceName: eth0, expectedIPs: [10.0.0.1]}\n";
    text += &header("HostEndpoint", "{name: z, labels: {set: s7}}");
    text += "spec: {node: two, interfaceName: eth0, expectedIPs: [10.0.0.2]}\n";
    for set in 0..100 {
        text += &header(
            "GlobalNetworkSet",
            &format!("{{name: s{set}, labels: {{set: s{set}}}}}"),
        );
        let nets: Vec<String> = (0..MEMBERS)
            .map(|member| format!("10.{set}.{}.{}", member / 256, member % 256))
            .collect();
        text += &format!("spec: {{nets: [{}]}}\n", nets.join(", "));
    }
    text += &header("GlobalNetworkPolicy", "{name: net}");
    text += "spec: {selector: all(), order: 100000, ingress: [{action: Allow}], egress: [{action: Allow}]}\n";
    for policy in 0..policies {
        let (high, low) = (policy / 256, policy % 256);
        let set = policy % 100;
        let port = format!("ports: [{}]", 1_000 + policy);
        text += &header("GlobalNetworkPolicy", &format!("{{name: p{policy}}}"));
        text += &format!(
            "spec:
  selector: host == 'h'
  order: {policy}
  types: [Ingress]
  ingress:
  - {{action: Allow, protocol: TCP, source: {{nets: [198.18.{low}.0/24]}}, destination: {{{port}}}}}
  - {{action: Allow, protocol: UDP, source: {{nets: [198.18.{low}.0/25]}}, destination: {{{port}}}}}
  - {{action: Deny, protocol: TCP, source: {{nets: [198.19.{low}.0/24]}}, destination: {{{port}}}}}
  - {{action: Allow, protocol: TCP, source: {{selector: set == 's{set}'}}, destination: {{{port}}}}}
  - {{action: Allow, protocol: TCP, source: {{nets: [198.18.{high}.{low}/32]}}, destination: {{ports: [{}, {SHARED_PORT}]}}}}
",
            1_000 + policy
        );
    }
    text
}
