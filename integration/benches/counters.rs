//! What it costs to read 100,000 counters and tell what has moved, against `nft -j list counters` for the same table.
//! Needs root.
//!
//! The table is palisade's own, made of policies in a network namespace. Under `cargo test` a hundredth of it is read, to
//! see that it works.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use palisade::apply::{Engine, Terms};
use palisade::config::Config;
use palisade::kernel::cgroups::Cgroups;
use palisade::lab::Namespace;
use palisade_nft::Nft;

const COUNTERS: usize = 100_000;
const RULES_OF_A_POLICY: usize = 100;
const ROUNDS: usize = 9;

fn main() -> anyhow::Result<()> {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (count, rounds) = if is_bench {
        (COUNTERS, ROUNDS)
    } else {
        (COUNTERS / 100, 1)
    };
    let namespace = Namespace::new()?;
    let [own, nft] = namespace.run(|| compare(count, rounds))??;
    let [own, nft] = [own, nft].map(median);
    println!(
        "{count} counters, each of a rule of palisade's table; medians of {rounds} interleaved runs\n\
         palisade, read and diffed      {:>8.1} ms\n\
         nft -j list counters           {:>8.1} ms\n\
         ratio                          {:>8.3}    (limit 0.5)",
        own.as_secs_f64() * 1e3,
        nft.as_secs_f64() * 1e3,
        own.as_secs_f64() / nft.as_secs_f64(),
    );
    Ok(())
}

/// The times of palisade, and of nft.
fn compare(count: usize, rounds: usize) -> anyhow::Result<[Vec<Duration>; 2]> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("palisade.yaml");
    let here = directory.path().display();
    fs::write(
        &path,
        format!("node: server\nsafetyNet: false\npolicyDir: {here}/policy.d\nstateDir: {here}/state\n"),
    )?;
    fs::create_dir(directory.path().join("policy.d"))?;
    fs::write(directory.path().join("policy.d/all.yaml"), policies(count)?)?;
    let mut engine = Engine::start(path.clone(), Config::load(&path)?, Nft::open()?, Cgroups::new())?;
    engine.reload(&Terms::at_once(None))?;

    let [mut own, mut nft] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let started = Instant::now();
        let totals = engine.counters()?;
        let moved = totals.iter().filter(|total| total.delta.packets > 0).count();
        let retired = engine.end_interval();
        own.push(started.elapsed());
        ensure!(
            totals.len() >= count && moved == 0 && retired.is_empty(),
            "{} counters, {moved} moved, {} retired",
            totals.len(),
            retired.len()
        );
        let started = Instant::now();
        let status = Command::new("nft")
            .args(["-j", "list", "counters", "table", "inet", "palisade"])
            .stdout(Stdio::null())
            .status()
            .context("cannot run nft")?;
        nft.push(started.elapsed());
        ensure!(status.success(), "nft ended with {status}");
    }
    Ok([own, nft])
}

/// So many rules, each with a counter of its own.
fn policies(rules: usize) -> anyhow::Result<String> {
    let mut text = String::from(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: server, labels: {role: server}}\n\
         spec: {node: server, interfaceName: eth0, expectedIPs: [10.0.0.1]}\n",
    );
    for index in 0..rules {
        if index % RULES_OF_A_POLICY == 0 {
            write!(
                text,
                "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: policy-{index}}}\n\
                 spec:\n  order: {index}\n  selector: role == 'server'\n  types: [Ingress]\n  ingress:\n"
            )?;
        }
        writeln!(
            text,
            "  - {{action: Allow, protocol: TCP, source: {{nets: [10.{}.{}.0/24]}}, destination: {{ports: [{}]}}}}",
            index / 256 % 256,
            index % 256,
            1 + index % 60_000,
        )?;
    }
    Ok(text)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
