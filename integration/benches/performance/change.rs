//! What a load and a change take, from a file that is saved to the kernel that has committed, and what memory it takes to hold them.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use palisade::lab::Namespace;
use palisade_integration::Daemon;
use palisade_nft::Nft;
use serde_json::Value;

use crate::Run;
use crate::estate::{Estate, Protocol, Shape, peer, policy_file};
use crate::ground::{Ground, setup};
use crate::layouts::{calico, calico_policy, linear};
use crate::process;
use crate::report::{CALICO, LINEAR, PALISADE, Report};
use crate::rounds::{Samples, interleaved};

/// From the start of the daemon to its readiness, with files to read and an empty kernel.
pub(crate) const LOAD: &str = "first load";
/// One policy's file, saved; the kernel has committed.
pub(crate) const POLICY: &str = "one policy changed";
/// One host endpoint's file, saved with another address.
pub(crate) const ADDRESS: &str = "one endpoint's address added or removed";
/// Resident memory of the daemon.
pub(crate) const DAEMON: &str = "memory of the daemon";
/// What the kernel holds more with the table than without.
pub(crate) const KERNEL: &str = "memory of the kernel";

/// Palisade's own table, as text for nft.
pub(crate) const OWN_TEXT: &str = "nft -f, palisade's text";
const CALICO_TEXT: &str = "nft -f, Calico's layout";
const LINEAR_TEXT: &str = "nft -f, one chain by hand";
const ELEMENT: &str = "nft add or delete element";

/// How long the daemon may take for a change.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often the kernel is asked for its generation.
const LOOK: Duration = Duration::from_micros(50);

/// Measures all sizes.
pub(crate) fn measure(run: &Run, report: &mut Report) {
    for &policies in run.sizes.iter().filter(|policies| **policies > 0) {
        let estate = Estate {
            policies,
            shape: Shape::Spread,
            protocol: Protocol::Udp,
            staged: false,
        };
        report.part(
            run,
            &format!("load, change and memory, {policies} policies"),
            |report| {
                let text = load(run, report, &estate)?;
                change(run, report, &estate, &text)?;
                memory(run, report, &estate, &text)
            },
        );
    }
}

/// Loads in turns; gives palisade's table as text.
fn load(run: &Run, report: &mut Report, estate: &Estate) -> anyhow::Result<String> {
    let ground = Ground::empty()?;
    let mut daemon = Daemon::start_with_flows(ground.server_host(), &setup(estate), "interval: 10s")?;
    let own = daemon.listing()?;
    daemon.terminate()?;
    let texts = [
        (OWN_TEXT, own.clone()),
        (CALICO_TEXT, calico(estate, false)),
        (LINEAR_TEXT, linear(estate)),
    ];
    let samples = interleaved(1 + texts.len(), run.rounds, |variant| {
        let ground = Ground::empty()?;
        if let Some((_, text)) = variant.checked_sub(1).and_then(|text| texts.get(text)) {
            return nft_takes(ground.server(), text);
        }
        forget_everything(&daemon)?;
        let started = Instant::now();
        daemon.start_again_in(ground.server_host())?;
        let took = milliseconds(started);
        daemon.terminate()?;
        Ok(took)
    })?;
    let subjects = [PALISADE]
        .into_iter()
        .chain(texts.iter().map(|(subject, _)| *subject));
    for (subject, samples) in subjects.zip(samples) {
        report.add(LOAD, estate.policies, subject, "ms", samples);
    }
    Ok(own)
}

fn change(run: &Run, report: &mut Report, estate: &Estate, text: &str) -> anyhow::Result<()> {
    let ground = Ground::of_palisade(estate)?;
    let daemon = ground.daemon().context("a ground of palisade's has a daemon")?;
    let (by_text, by_calico) = (Ground::of_text(text)?, Ground::of_text(&calico(estate, false))?);
    let own_again = replacement(text);
    let policy = estate.policies / 2;
    let mut edition = 0;
    let samples = interleaved(3, run.change_rounds(), |variant| {
        edition += 1;
        match variant {
            0 => committed_alone(daemon, &policy_file(policy), &estate.policy(policy, edition)),
            1 => nft_takes(by_text.server(), &own_again),
            _ => nft_takes(by_calico.server(), &calico_policy(estate, policy, edition)),
        }
    })?;
    for (subject, samples) in [PALISADE, OWN_TEXT, "nft -f, Calico's chain of it"]
        .into_iter()
        .zip(samples)
    {
        report.add(POLICY, estate.policies, subject, "ms", samples);
    }

    let addresses = [Ipv4Addr::new(10, 90, 0, 1), Ipv4Addr::new(10, 90, 0, 2)];
    committed(daemon, "peer.yaml", &peer(&addresses[..1]))?;
    let mut turn = [0_usize; 2];
    let samples = interleaved(2, run.change_rounds(), |variant| {
        turn[variant] += 1;
        let both = turn[variant] % 2 == 1;
        if variant == 0 {
            return committed_alone(daemon, "peer.yaml", &peer(&addresses[..if both { 2 } else { 1 }]));
        }
        let verb = if both { "add" } else { "delete" };
        nft_takes(
            by_calico.server(),
            &format!("{verb} element ip calico s1 {{ {} }}\n", addresses[1]),
        )
    })?;
    for (subject, samples) in [PALISADE, ELEMENT].into_iter().zip(samples) {
        report.add(ADDRESS, estate.policies, subject, "ms", samples);
    }
    process::until_idle(daemon.pid())?;
    report.add(
        DAEMON,
        estate.policies,
        PALISADE,
        "MB",
        Samples(vec![process::resident(daemon.pid())?]),
    );
    Ok(())
}

/// What the kernel holds for each table.
fn memory(run: &Run, report: &mut Report, estate: &Estate, text: &str) -> anyhow::Result<()> {
    let texts = [
        (PALISADE, text.to_owned()),
        (CALICO, calico(estate, false)),
        (LINEAR, linear(estate)),
    ];
    let samples = interleaved(texts.len(), run.slow_rounds(), |variant| {
        let namespace = Namespace::new()?;
        let before = kernel_memory()?;
        nft_takes(&namespace, &texts[variant].1)?;
        Ok(kernel_memory()? - before)
    })?;
    for ((subject, _), samples) in texts.iter().zip(samples) {
        report.add(KERNEL, estate.policies, subject, "MB", samples);
    }
    Ok(())
}

/// As [`committed`], once the daemon has done what other changes have left to it: to keep itself for the next boot, for one.
fn committed_alone(daemon: &Daemon, file: &str, text: &str) -> anyhow::Result<f64> {
    process::until_idle(daemon.pid())?;
    committed(daemon, file, text)
}

/// Saves a file, reloads, and gives the milliseconds from before the one to the commit that brings it into force: the first.
/// Another may follow, which deletes the counters that no rule counts in any more. Waits until the reload is over.
pub(crate) fn committed(daemon: &Daemon, file: &str, text: &str) -> anyhow::Result<f64> {
    let last_reload = || -> anyhow::Result<Value> {
        let status: Value = serde_json::from_str(&daemon.get("/v1/status")?)?;
        Ok(status["last_reload"].clone())
    };
    let before = last_reload()?;
    daemon.namespace().run(|| {
        let mut kernel = Nft::open()?;
        let mut generation = kernel.generation_id()?;
        let started = Instant::now();
        daemon.write(file, text)?;
        daemon.signal(Signal::SIGHUP)?;
        let mut took = None;
        let mut asked = Instant::now();
        loop {
            let now = kernel.generation_id()?;
            if now != generation {
                generation = now;
                took.get_or_insert_with(|| milliseconds(started));
                asked = Instant::now();
            }
            // To ask costs the daemon time: only when a commit is over, and was the only one for a while.
            if asked.elapsed() > Duration::from_millis(200) {
                asked = Instant::now();
                let last = last_reload()?;
                if last["at"] != before["at"] {
                    ensure!(last["ok"] == true, "the reload was refused: {last:#}");
                    return took.context("the reload has changed nothing in the kernel");
                }
                ensure!(
                    started.elapsed() < PATIENCE,
                    "no reload has followed SIGHUP:\n{}",
                    daemon.log()
                );
            }
            thread::sleep(LOOK);
        }
    })?
}

/// A table of palisade's as text that takes the place of the one that is there, in one transaction.
pub(crate) fn replacement(text: &str) -> String {
    format!("table inet palisade {{\n}}\ndelete table inet palisade\n{text}")
}

/// The milliseconds that `nft -f` takes for a text.
pub(crate) fn nft_takes(namespace: &Namespace, text: &str) -> anyhow::Result<f64> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), text)?;
    let mut command = Command::new("nft");
    command.arg("-f").arg(file.path());
    let started = Instant::now();
    let output = namespace.output(&command, "")?;
    let took = milliseconds(started);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "nft ended with {}: {said:.2000}",
        output.status
    );
    Ok(took)
}

/// Empties the state directory of a daemon that has ended: it has never been there.
fn forget_everything(daemon: &Daemon) -> anyhow::Result<()> {
    let state = daemon.state("");
    fs::remove_dir_all(&state)?;
    Ok(fs::create_dir(state)?)
}

/// What the kernel uses for itself, in MB, once what was taken down before is gone.
fn kernel_memory() -> anyhow::Result<f64> {
    thread::sleep(Duration::from_secs(1));
    let text = fs::read_to_string("/proc/meminfo")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
    };
    let fields = ["SUnreclaim:", "VmallocUsed:", "Percpu:"].map(field);
    let kilobytes: Option<f64> = fields.into_iter().sum();
    Ok(kilobytes.context("/proc/meminfo has other fields")? * 1024.0 / 1e6)
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}
