//! What a process uses.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// Who has not run for so long has nothing left to do.
const IDLE: Duration = Duration::from_millis(300);
/// How long that may take to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// Its resident memory, in MB.
pub(crate) fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("no VmRSS")?.parse::<f64>()? * 1024.0 / 1e6)
}

/// The time it has run on any core.
pub(crate) fn used(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the process may hold anything; what follows it is numbers: among them the time in user and in system mode, in
    // ticks of 10 ms (proc(5)).
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(ticks.sum::<Result<u64, _>>()? * 10))
}

/// Waits until it has nothing left to do.
///
/// # Errors
/// If it never rests.
pub(crate) fn until_idle(pid: u32) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (mut before, mut since) = (used(pid)?, Instant::now());
    while since.elapsed() < IDLE {
        ensure!(
            begun.elapsed() < PATIENCE,
            "process {pid} has worked on for {PATIENCE:?}: what is measured beside that would not be itself"
        );
        thread::sleep(IDLE / 15);
        let now = used(pid)?;
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    Ok(())
}
