//! `fuzz-kernel --seed N --count N [--failures DIR]`: the kernel against the evaluator, for as many cases as asked.
//!
//! Case number i is that of seed N + i. Ends with 1 at the first disagreement, made as small as it could be.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use palisade_integration::fuzz::{Fuzzer, Tally};

/// How often the progress is told.
const INTERVAL: Duration = Duration::from_secs(30);

struct Arguments {
    seed: u64,
    count: u64,
    failures: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = arguments()?;
    let fuzzer = Fuzzer::new()?;
    let started = Instant::now();
    let mut told = started;
    let mut all = Tally::default();
    let rate = |all: &Tally| u128::from(all.packets()) * 1000 / started.elapsed().as_millis().max(1);
    for case in 0..arguments.count {
        let seed = arguments.seed.wrapping_add(case);
        match fuzzer.run(seed)? {
            Ok(tally) => all.add(&tally),
            Err(failure) => {
                let directory = arguments.failures.join(seed.to_string());
                failure.write(&directory)?;
                print!("{failure}");
                println!("written to {}", directory.display());
                println!("{all}; 1 disagreement, at seed {seed}");
                return Ok(ExitCode::FAILURE);
            }
        }
        if told.elapsed() >= INTERVAL {
            told = Instant::now();
            println!("{all}; {} packets/s; 0 disagreements", rate(&all));
        }
    }
    for (kind, times) in &all.kinds {
        println!("{times:>10}  {kind}");
    }
    println!(
        "seeds {} to {}: {all}; {} packets/s; 0 disagreements",
        arguments.seed,
        arguments.seed.wrapping_add(arguments.count.saturating_sub(1)),
        rate(&all)
    );
    Ok(ExitCode::SUCCESS)
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut arguments = Arguments {
        seed: 1,
        count: 100,
        failures: "fuzz-kernel-failures".into(),
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().with_context(|| format!("{name} needs a value"))?;
        let number = || {
            value
                .parse()
                .with_context(|| format!("{name}: {value:?} is no number"))
        };
        match name.as_str() {
            "--seed" => arguments.seed = number()?,
            "--count" => arguments.count = number()?,
            "--failures" => arguments.failures = value.into(),
            _ => bail!("usage: fuzz-kernel [--seed N] [--count N] [--failures DIRECTORY]"),
        }
    }
    Ok(arguments)
}
