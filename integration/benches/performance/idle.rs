//! A daemon that has nothing to do, and little to hold: policies of one port that differ by their networks, and no network set.

use std::thread;

use anyhow::Context;

use crate::Run;
use crate::estate::{Estate, Protocol, Shape};
use crate::ground::Ground;
use crate::process::{resident, until_idle, used};
use crate::report::{PALISADE, Report};
use crate::rounds::Samples;

/// A target is about it.
pub(crate) const MEMORY: &str = "memory of the daemon, idle";
const CPU: &str = "one core, idle";

/// A small policy.
pub(crate) const POLICIES: usize = 10;

/// Watches one for a while.
pub(crate) fn measure(run: &Run, report: &mut Report) {
    report.part(run, "an idle daemon", |report| watch(run, report));
}

fn watch(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let ground = Ground::of_palisade(&Estate {
        policies: POLICIES,
        shape: Shape::OnePort,
        protocol: Protocol::Tcp,
        staged: false,
    })?;
    let daemon = ground.daemon().context("a ground of palisade's has a daemon")?;
    until_idle(daemon.pid())?;
    let before = used(daemon.pid())?;
    thread::sleep(run.idle);
    let used = used(daemon.pid())?.saturating_sub(before);
    report.add(
        MEMORY,
        POLICIES,
        PALISADE,
        "MB",
        Samples(vec![resident(daemon.pid())?]),
    );
    report.add(
        CPU,
        POLICIES,
        PALISADE,
        "%",
        Samples(vec![100.0 * used.div_duration_f64(run.idle)]),
    );
    Ok(())
}
