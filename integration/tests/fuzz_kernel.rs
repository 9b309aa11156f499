//! The kernel does to random packets, under random resources, what the evaluator says. Needs root.

use anyhow::bail;
use palisade_integration::fuzz::{Fuzzer, Tally};

/// How many cases, from seed 1 on: the same ones at every run.
const CASES: u64 = 150;

#[test]
fn the_kernel_and_the_evaluator_agree() -> anyhow::Result<()> {
    let fuzzer = Fuzzer::new()?;
    let mut all = Tally::default();
    for seed in 1..=CASES {
        match fuzzer.run(seed)? {
            Ok(tally) => all.add(&tally),
            Err(failure) => bail!("{failure}"),
        }
    }
    println!("{all}");
    // What was compared was worth comparing.
    assert!(all.allowed > 1000 && all.denied > 1000, "{all}");
    assert!(all.changed > 100 && all.foretold > 1000, "{all}");
    assert!(all.unreachable > 100, "{all}");
    Ok(())
}
