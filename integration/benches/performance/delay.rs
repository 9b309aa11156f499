//! How long packets wait while a policy changes.
//!
//! A core that is busy with a transaction of nf_tables does nothing else until the kernel is done with it, unless it is interrupted:
//! what programs on that core send waits. So the sender is on the core of the daemon, or of nft, and has the right of way over
//! both; what it waits for is the kernel.

use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use palisade_integration::Daemon;

use crate::Run;
use crate::change::{OWN_TEXT, committed, nft_takes, replacement};
use crate::estate::{Estate, Place, Protocol, Shape, policy_file};
use crate::ground::{Ground, keep_on, measuring_core, pin};
use crate::load::steady;
use crate::process::until_idle;
use crate::report::{PALISADE, Report};
use crate::rounds::{Samples, interleaved};

/// A target is about it.
pub(crate) const DELAY: &str = "longest delay of a packet while one policy changes, over none";
const NO_CHANGE: &str = "longest delay of a packet while none changes";

/// Packets that no change meets are sent for so long.
const QUIET: Duration = Duration::from_secs(1);

/// The core that packets are sent from, and that a change is made on.
const CORE: usize = 0;

/// Measures the largest size.
pub(crate) fn measure(run: &Run, report: &mut Report) {
    if let Some(&policies) = run.sizes.last() {
        report.part(
            run,
            &format!("delay of packets during a change, {policies} policies"),
            |report| delay(run, report, policies),
        );
    }
}

fn delay(run: &Run, report: &mut Report, policies: usize) -> anyhow::Result<()> {
    let estate = Estate {
        policies,
        shape: Shape::Spread,
        protocol: Protocol::Udp,
        staged: false,
    };
    let ground = Ground::of_palisade(&estate)?;
    let daemon = ground.daemon().context("a ground of palisade's has a daemon")?;
    keep_on(daemon.pid(), CORE)?;
    let text = daemon.listing()?;
    let by_text = Ground::of_text(&text)?;
    let text = replacement(&text);
    let (port, policy) = (estate.port_of(Place::Last), policies / 2);
    let mut edition = 0;
    let [none, own] = beside_none(daemon, &ground, port, run.change_rounds(), || {
        edition += 1;
        longest(&ground, port, || {
            // Whoever looks whether the change is in force must not delay it.
            pin(measuring_core())?;
            committed(daemon, &policy_file(policy), &estate.policy(policy, edition))?;
            Ok(())
        })
    })?;
    report.add(NO_CHANGE, policies, PALISADE, "ms", none.clone());
    report.add(DELAY, policies, PALISADE, "ms", own.over(&none));
    let [none, own] = beside_none(daemon, &by_text, port, run.slow_rounds(), || {
        longest(&by_text, port, || {
            pin(CORE)?;
            nft_takes(by_text.server(), &text)?;
            Ok(())
        })
    })?;
    report.add(DELAY, policies, OWN_TEXT, "ms", own.over(&none));
    Ok(())
}

/// The longest delays while nothing changes, and those that `changing` finds, in turns. The daemon has nothing else to do.
fn beside_none(
    daemon: &Daemon,
    ground: &Ground,
    port: u16,
    rounds: usize,
    mut changing: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<[Samples; 2]> {
    let mut samples = interleaved(2, rounds, |variant| {
        until_idle(daemon.pid())?;
        if variant == 1 {
            return changing();
        }
        longest(ground, port, || {
            thread::sleep(QUIET);
            Ok(())
        })
    })?;
    Ok([0, 1].map(|variant| std::mem::take(&mut samples[variant])))
}

/// The longest delay, in milliseconds, of the packets that are sent while something happens on a thread of its own. Each of them
/// begins a connection that the last rule of the last policy allows; none may be lost.
fn longest(
    ground: &Ground,
    port: u16,
    meanwhile: impl FnOnce() -> anyhow::Result<()> + Send,
) -> anyhow::Result<f64> {
    ground.accepted()?;
    let sent = steady(ground, Place::Last, port, CORE, meanwhile)?;
    let accepted = ground.accepted()?;
    ensure!(
        accepted == sent.packets,
        "of {} packets, {accepted} were accepted: some are lost during a change",
        sent.packets
    );
    Ok(sent.longest.as_secs_f64() * 1e3)
}
