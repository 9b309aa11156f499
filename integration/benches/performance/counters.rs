//! What it costs to read counters, against `nft -j list counters`.
//!
//! Both read the same table: palisade's own, made of policies of 100 rules in a network namespace. On palisade's side a
//! round is what happens at the end of each interval: all counters are read, and what has moved since is told.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use palisade::apply::{Engine, Terms};
use palisade::config::Config;
use palisade::kernel::cgroups::Cgroups;
use palisade::lab::Namespace;
use palisade_nft::Nft;

use crate::Run;
use crate::report::{PALISADE, Report};
use crate::rounds::interleaved;

/// A target is about it.
pub(crate) const COUNTERS: &str = "counters read, one a rule";
/// Of the same table.
pub(crate) const NFT: &str = "nft -j list counters";

const RULES_OF_A_POLICY: usize = 100;

/// Measures all numbers of counters.
pub(crate) fn measure(run: &Run, report: &mut Report) {
    for &counters in run.counters {
        report.part(run, &format!("{counters} counters read"), |report| {
            Namespace::new()?.run(|| compare(run, report, counters))?
        });
    }
}

fn compare(run: &Run, report: &mut Report, count: usize) -> anyhow::Result<()> {
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
    let samples = interleaved(2, run.slow_rounds(), |variant| {
        let started = Instant::now();
        if variant == 0 {
            let totals = engine.counters()?;
            let moved = totals.iter().filter(|total| total.delta.packets > 0).count();
            let retired = engine.end_interval();
            ensure!(
                totals.len() >= count && moved == 0 && retired.is_empty(),
                "{} counters, {moved} moved, {} retired",
                totals.len(),
                retired.len()
            );
        } else {
            let status = Command::new("nft")
                .args(["-j", "list", "counters", "table", "inet", "palisade"])
                .stdout(Stdio::null())
                .status()
                .context("cannot run nft")?;
            ensure!(status.success(), "nft ended with {status}");
        }
        Ok(started.elapsed().as_secs_f64() * 1e3)
    })?;
    for (subject, samples) in [PALISADE, NFT].into_iter().zip(samples) {
        report.add(COUNTERS, count / RULES_OF_A_POLICY, subject, "ms", samples);
    }
    Ok(())
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
