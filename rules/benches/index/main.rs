//! What the index of a tier costs and brings: the worlds of one host with 10,000 policies of 5 rules, as a ruleset.
//!
//! ```text
//! taskset -c 0 cargo bench -p palisade-rules --bench index
//! ```

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use palisade_rules::compile::{Limits, Options, compile, compile_from};
use palisade_rules::decode::decode;
use palisade_rules::ruleset::{Chain, Ruleset, Statement};
use palisade_rules::source::Files;
use palisade_rules::world::{Host, Worlds, resolve};

const POLICIES: usize = 10_000;
const RULES: usize = 5;
const SETS: usize = 200;

/// What the rules of an estate ask for.
#[derive(Clone, Copy)]
enum Shape {
    /// A set of addresses, and a port that no other rule has.
    Ports,
    /// A set of addresses, and all the same port.
    OnePort,
    /// Prefixes, and all the same port.
    Prefixes,
    /// By turns only a port, and only an address.
    Mixed,
    /// Nothing that could be looked up in every tenth policy, ports in the others.
    SomeUntied,
}

fn main() {
    let policies = std::env::var("POLICIES")
        .ok()
        .and_then(|count| count.parse().ok());
    let policies = policies.unwrap_or(POLICIES);
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("index");
    for (name, shape) in [
        ("ports", Shape::Ports),
        ("one port", Shape::OnePort),
        ("prefixes", Shape::Prefixes),
        ("mixed", Shape::Mixed),
        ("some untied", Shape::SomeUntied),
    ] {
        let worlds = worlds(policies, shape);
        for (state, index) in [("linear", Limits::off()), ("indexed", Limits::default())] {
            let options = Options {
                index,
                ..Options::default()
            };
            println!(
                "{name}, {state}: {}",
                figures(&compile(&worlds, &options).ruleset)
            );
            group.bench_function(format!("{name}, {state}"), |bencher| {
                bencher.iter_with_large_drop(|| compile(black_box(&worlds), &options));
            });
            let compiled = compile(&worlds, &options);
            let changed = changed(&worlds);
            group.bench_function(format!("{name}, {state}, one policy changed"), |bencher| {
                bencher.iter_with_large_drop(|| {
                    compile_from(Some((&worlds, &compiled)), black_box(&changed), &options)
                });
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

/// The worlds with one policy in the middle that says what its neighbour does.
fn changed(worlds: &Worlds) -> Worlds {
    let mut worlds = worlds.clone();
    let place = worlds.enforced.policies.len() / 2;
    for world in [&mut worlds.enforced, &mut worlds.pending] {
        let mut policies = world.policies.to_vec();
        let other = policies[place + 1].ingress.clone();
        Arc::make_mut(&mut policies[place].policy).ingress = other;
        world.policies = policies.into();
    }
    worlds
}

/// How large it is, and the longest of the lists that a packet can meet.
fn figures(ruleset: &Ruleset) -> String {
    let rules: usize = ruleset.chains.iter().map(|chain| chain.rules.len()).sum();
    let elements: usize = ruleset.maps.values().map(|map| map.ways.chains().count()).sum();
    let jumps = |chain: &Chain| {
        let statements = chain.rules.iter().flat_map(|rule| &rule.statements);
        statements
            .filter(|statement| matches!(statement, Statement::Jump(_)))
            .count()
    };
    let longest = ruleset.chains.iter().filter(|chain| chain.hook.is_none());
    format!(
        "{} chains, {rules} rules, {} maps, {elements} elements, at most {} jumps in a list",
        ruleset.chains.len(),
        ruleset.maps.len(),
        longest.map(|chain| jumps(chain)).max().unwrap_or_default(),
    )
}

fn worlds(policies: usize, shape: Shape) -> Worlds {
    let mut files = Files::default();
    let file = files.add("estate.yaml", text(policies, shape));
    let (snapshot, diagnostics) = decode(&files, &[file]);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)));
    let host = Host {
        node: Some("one".to_owned()),
        interfaces: [("eth0".to_owned(), Vec::new())].into(),
        ..Host::default()
    };
    resolve(&snapshot, host)
}

fn text(policies: usize, shape: Shape) -> String {
    let header = |kind: &str, name: &str| {
        format!("---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {name}\n")
    };
    let mut text = header("HostEndpoint", "{name: h, labels: {host: h}}");
    text += "spec: {node: one, interfaceName: eth0, expectedIPs: [10.0.0.1]}\n";
    for set in 0..SETS {
        let nets: Vec<String> = (1..=20)
            .map(|last| format!("10.{}.{}.{last}", 1 + set / 100, set % 100))
            .collect();
        text += &header(
            "GlobalNetworkSet",
            &format!("{{name: s{set}, labels: {{set: s{set}}}}}"),
        );
        text += &format!("spec: {{nets: [{}]}}\n", nets.join(", "));
    }
    for policy in 0..policies {
        text += &header("GlobalNetworkPolicy", &format!("{{name: p{policy}}}"));
        text += &format!("spec:\n  selector: host == 'h'\n  order: {policy}\n  ingress:\n");
        for rule in policy * RULES..(policy + 1) * RULES {
            let set = format!("source: {{selector: set == 's{}'}}", rule % SETS);
            let port = |port: usize| format!("protocol: TCP, destination: {{ports: [{port}]}}");
            let own_port = port(1_024 + rule % 60_000);
            let condition = match shape {
                Shape::Ports => format!("{own_port}, {set}"),
                Shape::OnePort => format!("{}, {set}", port(443)),
                Shape::Prefixes => {
                    format!(
                        "{}, source: {{nets: [10.{}.{}.0/24]}}",
                        port(443),
                        rule / 256 % 200,
                        rule % 256
                    )
                }
                Shape::Mixed if policy % 2 == 0 => own_port,
                Shape::Mixed => format!("source: {{nets: [10.{}.{}.0/24]}}", rule / 256 % 200, rule % 256),
                Shape::SomeUntied if policy % 10 == 0 => "protocol: ICMP, icmp: {type: 8}".to_owned(),
                Shape::SomeUntied => own_port,
            };
            text += &format!("  - {{action: Allow, {condition}}}\n");
        }
    }
    text
}
