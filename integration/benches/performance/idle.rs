//! A daemon that has nothing to do.

use std::thread;
use std::time::Duration;

use anyhow::Context;

use crate::Run;
use crate::estate::{Estate, Protocol, Shape};
use crate::ground::Ground;
use crate::process::{resident, seconds};
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
        shape: Shape::Spread,
        protocol: Protocol::Tcp,
        staged: false,
    })?;
    let daemon = ground.daemon().context("a ground of palisade's has a daemon")?;
    thread::sleep(Duration::from_secs(2));
    let before = seconds(daemon.pid())?;
    thread::sleep(run.idle);
    let used = (seconds(daemon.pid())? - before) / run.idle.as_secs_f64();
    report.add(
        MEMORY,
        POLICIES,
        PALISADE,
        "MB",
        Samples(vec![resident(daemon.pid())?]),
    );
    report.add(CPU, POLICIES, PALISADE, "%", Samples(vec![100.0 * used]));
    Ok(())
}
