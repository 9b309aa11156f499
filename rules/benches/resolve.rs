//! How long it takes to follow a change, and how much less that is than to resolve everything.
//!
//! `taskset -c 0 cargo bench -p palisade-rules --bench resolve`. 10,000 policies of 5 rules, 1,000 endpoints, and 200
//! network sets with 100,000 members in all. Medians, and how often each fits into resolving anew.
#![allow(clippy::unwrap_used)] // a benchmark is a test

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_rules::decode::decode;
use palisade_rules::resource::{HostEndpoint, Order, Policy};
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::Files;
use palisade_rules::world::{Host, Worlds, resolve, resolve_from};

fn main() {
    // Where it is only tried out, once and unoptimised, a small estate does.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let scale = if is_bench { 1 } else { 50 };
    let runs = if is_bench { 41 } else { 1 };
    for staged in [false, true] {
        let before = estate(scale, staged);
        let worlds = resolve(&before, host());
        // As in a daemon, where the compiler and the evaluator have asked.
        for id in 0..worlds.endpoints.len() {
            black_box(worlds.enforced.selecting(palisade_rules::world::EndpointId(id)));
        }
        println!(
            "{}",
            if staged {
                "with a staged policy"
            } else {
                "nothing staged"
            }
        );
        let anew = median(runs.min(11), || resolve(&before, host()));
        report("everything anew", anew, anew);
        for (name, change) in CHANGES {
            let mut after = before.clone();
            change(&mut after);
            let follow = || resolve_from(Some((&before, &worlds)), &after, host());
            report(name, median(runs, follow), anew);
        }
    }
}

type Change = fn(&mut Snapshot);

const CHANGES: [(&str, Change); 8] = [
    ("nothing changed", |_| {}),
    ("a rule of one policy", |snapshot| {
        a_policy(snapshot).ingress.swap(0, 1);
    }),
    ("the order of one policy", |snapshot| {
        a_policy(snapshot).order = Some(Order::new(7.0));
    }),
    ("a policy added", |snapshot| {
        let mut policy = Policy::clone(&snapshot.policies[snapshot.policies.len() / 2]);
        "added".clone_into(&mut policy.id.name);
        snapshot
            .policies
            .insert(snapshot.policies.len() / 3, Arc::new(policy));
    }),
    ("a policy removed", |snapshot| {
        drop(snapshot.policies.remove(snapshot.policies.len() / 2));
    }),
    ("an endpoint's address", |snapshot| {
        an_endpoint(snapshot)
            .expected_ips
            .push("10.200.0.1".parse().unwrap());
    }),
    ("an endpoint's label", |snapshot| {
        an_endpoint(snapshot)
            .labels
            .insert("app".to_owned(), "app-1".to_owned());
    }),
    ("a member of a set", |snapshot| {
        let set = snapshot.network_sets.values_mut().nth(1).unwrap();
        Arc::make_mut(set).nets.push("203.0.113.7/32".parse().unwrap());
    }),
];

fn a_policy(snapshot: &mut Snapshot) -> &mut Policy {
    let index = snapshot.policies.len() / 2;
    Arc::make_mut(&mut snapshot.policies[index])
}

fn an_endpoint(snapshot: &mut Snapshot) -> &mut HostEndpoint {
    let endpoint = snapshot.host_endpoints.values_mut().nth(3).unwrap();
    Arc::make_mut(endpoint)
}

/// The median time; what comes of it is dropped outside of it.
fn median(runs: usize, work: impl Fn() -> Worlds) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            let worlds = black_box(work());
            let time = start.elapsed();
            drop(worlds);
            time
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn report(name: &str, time: Duration, anew: Duration) {
    let ratio = anew.as_secs_f64() / time.as_secs_f64();
    println!("  {name:24} {:>9.3} ms {ratio:>8.1}x", time.as_secs_f64() * 1e3);
}

fn host() -> Host {
    Host {
        node: Some("host-1".to_owned()),
        ..Host::default()
    }
}

/// One application in ten endpoints or so; each policy is of one application, and names five others and two sets.
fn estate(scale: usize, staged: bool) -> Snapshot {
    let (policies, endpoints, sets) = (10_000 / scale, 1_000 / scale, 200 / scale);
    let mut text = String::new();
    for index in 0..policies {
        let kind = if staged && index == 77 {
            "StagedGlobalNetworkPolicy"
        } else {
            "GlobalNetworkPolicy"
        };
        let _ = writeln!(
            text,
            "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: p-{index}}}\nspec:\n  \
             order: {}\n  selector: app == 'app-{}'\n  types: [Ingress]\n  ingress:",
            index * 3 % 10_000,
            index % 97,
        );
        for rule in 0..5 {
            let peer = match rule {
                0 | 1 => format!("set == 's-{}'", (index + rule) % sets),
                _ => format!("app == 'app-{}'", (index * 7 + rule) % 97),
            };
            let _ = writeln!(
                text,
                "  - {{action: Allow, protocol: TCP, source: {{selector: \"{peer}\"}}, \
                 destination: {{ports: [{}]}}}}",
                8_000 + rule
            );
        }
    }
    for index in 0..endpoints {
        let _ = writeln!(
            text,
            "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {{name: e-{index}, \
             labels: {{app: app-{}, zone: z-{}}}}}\nspec: {{node: host-{index}, interfaceName: eth0, \
             expectedIPs: [10.{}.{}.1]}}",
            index % 97,
            index % 5,
            100 + index / 250,
            index % 250,
        );
    }
    for index in 0..sets {
        let nets: Vec<String> = (0..500)
            .map(|member| format!("20.{index}.{}.{}", member / 128, member % 128 * 2))
            .collect();
        let _ = writeln!(
            text,
            "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: s-{index}, \
             labels: {{set: s-{index}}}}}\nspec: {{nets: [{}]}}",
            nets.join(", ")
        );
    }
    let mut files = Files::default();
    let id = files.add("estate.yaml", text.as_str());
    let (snapshot, diagnostics) = decode(&files, &[id]);
    let first = || diagnostics.iter().next().map(|problem| problem.one_line(&files));
    snapshot.unwrap_or_else(|| panic!("the estate is not valid: {:?}", first()))
}
