//! What palisade costs, and what others cost for the same policy, in one table. Needs root.
//!
//! Everything is measured in network namespaces, in turns, and each figure is a median of its rounds. `quick` takes
//! smaller estates; the name of a part, as `change`, measures that alone. Under `cargo test --benches` the smallest are measured once, to see that it works.

mod change;
mod connections;
mod counters;
mod delay;
mod established;
mod estate;
mod ground;
mod idle;
mod layouts;
mod load;
mod machine;
mod page;
mod peers;
mod plot;
mod process;
mod report;
mod rounds;
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::report::Report;

/// How much is measured.
pub(crate) struct Run {
    /// Numbers of policies.
    sizes: &'static [usize],
    /// How often each variant has its turn.
    rounds: usize,
    /// How long a flood lasts.
    time: Duration,
    /// Numbers of counters to read.
    counters: &'static [usize],
    /// How long a daemon is watched that has nothing to do.
    idle: Duration,
    begun: Instant,
    /// How much that is, in words.
    extent: &'static str,
}

impl Run {
    fn new() -> Self {
        let is_bench = std::env::args().any(|argument| argument == "--bench");
        let is_quick = std::env::args().any(|argument| argument == "quick");
        let begun = Instant::now();
        match (is_bench, is_quick) {
            (false, _) => Run {
                sizes: &[0, 1, 10],
                rounds: 1,
                time: Duration::from_millis(5),
                counters: &[1000],
                idle: Duration::from_secs(1),
                begun,
                extent: "a look at whether it works",
            },
            (true, true) => Run {
                sizes: &[0, 1, 10, 100, 1000],
                rounds: 3,
                time: Duration::from_millis(100),
                counters: &[10_000],
                idle: Duration::from_secs(5),
                begun,
                extent: "up to 1,000 policies, three rounds",
            },
            (true, false) => Run {
                sizes: &[0, 1, 10, 100, 1000, 10_000],
                rounds: 5,
                time: Duration::from_millis(200),
                counters: &[1000, 10_000, 100_000],
                idle: Duration::from_secs(30),
                begun,
                extent: "up to 10,000 policies, five rounds",
            },
        }
    }

    /// How often what takes seconds, and comes out alike, has its turn.
    fn slow_rounds(&self) -> usize {
        self.rounds.min(3)
    }

    /// How often a change has its turn: it is over soon, and whatever else happens meanwhile shows.
    fn change_rounds(&self) -> usize {
        2 * self.rounds - 1
    }

    /// Says on standard error how far it has come.
    fn say(&self, what: &str) {
        eprintln!("{:>5.0} s  {what}", self.begun.elapsed().as_secs_f64());
    }
}

/// Where the page is written to, if anywhere.
const DIRECTORY: &str = "BENCH_DIRECTORY";

/// A part of the measurements.
type Part = fn(&Run, &mut Report);

/// All parts, by name.
const PARTS: [(&str, Part); 6] = [
    ("connections", connections::measure),
    ("established", established::measure),
    ("change", change::measure),
    ("delay", delay::measure),
    ("counters", counters::measure),
    ("idle", idle::measure),
];

/// The parts that are named; all, if none is.
fn parts() -> Vec<Part> {
    let named: Vec<String> = std::env::args().collect();
    let is_named = |part: &str| named.iter().any(|argument| argument == part);
    let is_any = PARTS.iter().any(|(name, _)| is_named(name));
    let chosen = PARTS.iter().filter(|(name, _)| !is_any || is_named(name));
    chosen.map(|(_, part)| *part).collect()
}

fn main() -> anyhow::Result<()> {
    let run = Run::new();
    run.say(run.extent);
    let mut report = Report::default();
    for part in parts() {
        part(&run, &mut report);
    }
    println!("{}\n{}", report.table(), targets::table(&report));
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        page::write(&report, Path::new(&directory))?;
        run.say(&format!("written to {}", Path::new(&directory).display()));
    }
    ensure!(
        report.failures.is_empty(),
        "not everything was measured:\n{}",
        report.failures.join("\n")
    );
    Ok(())
}
