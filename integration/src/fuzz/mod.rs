//! The kernel against the evaluator: random resources, random packets, every verdict and every counter.
//!
//! A case is rolled out as a person would (`rollout`): nothing staged, staged, promoted, safety nets removed, each in one
//! transaction after the other; and promoted once more, unconfirmed, and gone back. At every step every packet is sent (`packets`) on a host that can make any journey
//! (`lab`), and its verdict and what it was counted by are compared with [`palisade_cases::expected`]. Over the steps,
//! staging must have changed nothing, and promotion what was predicted.

mod around;
mod lab;
mod packets;
mod rollout;
mod services;
mod sockets;
mod tally;
mod unconfirmed;
mod unreachable;
mod wire;

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::path::Path;

use palisade_cases::{Case, Journey, case};
use palisade_rules::print;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use lab::Lab;
pub use tally::Tally;

/// The most packets of one case.
const JOURNEYS: usize = 100;

/// How often a failing case is tried smaller.
const SHRINKS: u32 = 3000;

/// And for how long, in milliseconds.
const SHRINKING: u32 = 300_000;

/// The kernel, with a host to try cases on.
pub struct Fuzzer {
    lab: RefCell<Lab>,
}

/// Where the kernel and the evaluator are not of one mind, or one step with the step before.
#[derive(Clone, Debug)]
pub struct Disagreement {
    step: &'static str,
    /// The packet; `None` where the ruleset itself was refused.
    journey: Option<Journey>,
    what: String,
    listing: String,
}

/// A disagreement, and the smallest case that was found to have one.
#[derive(Debug)]
pub struct Failure {
    /// The seed of the case.
    pub seed: u64,
    case: Case,
    disagreement: Disagreement,
}

impl Fuzzer {
    /// Builds the host.
    ///
    /// # Errors
    /// Without root, saying so.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Fuzzer {
            lab: RefCell::new(Lab::new()?),
        })
    }

    /// Tries the case of a seed.
    ///
    /// # Errors
    /// If the kernel cannot be asked; the inner error is a disagreement.
    pub fn run(&self, seed: u64) -> anyhow::Result<Result<Tally, Box<Failure>>> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config {
            cases: 1,
            max_shrink_iters: SHRINKS,
            max_shrink_time: SHRINKING,
            failure_persistence: None,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let tally = RefCell::new(Tally::default());
        let broken = RefCell::new(None);
        let disagreement = RefCell::new(None);
        let tried = runner.run(&case(JOURNEYS), |case| {
            match rollout::roll_out(&mut self.lab.borrow_mut(), &case) {
                Ok(Ok(one)) => {
                    *tally.borrow_mut() = one;
                    Ok(())
                }
                Ok(Err(found)) => {
                    let reason = found.step;
                    *disagreement.borrow_mut() = Some(*found);
                    Err(TestCaseError::fail(reason))
                }
                Err(error) => {
                    broken.borrow_mut().get_or_insert(error);
                    Ok(())
                }
            }
        });
        if let Some(error) = broken.into_inner() {
            return Err(error.context(format!("the case of seed {seed}")));
        }
        match tried {
            Ok(()) => Ok(Ok(Tally {
                cases: 1,
                ..tally.into_inner()
            })),
            Err(TestError::Fail(reason, case)) => {
                // What was found last is of the smallest case. Only a panic leaves nothing.
                let disagreement = disagreement.into_inner().unwrap_or_else(|| Disagreement {
                    step: "somewhere",
                    journey: None,
                    what: reason.to_string(),
                    listing: String::new(),
                });
                Ok(Err(Box::new(Failure {
                    seed,
                    case,
                    disagreement,
                })))
            }
            Err(TestError::Abort(reason)) => anyhow::bail!("no case could be made of seed {seed}: {reason}"),
        }
    }
}

impl Failure {
    /// Writes the smallest case into a directory: the resources, the host and the packet, what differed, and the kernel's
    /// own listing.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(directory.join("policy.d"))?;
        fs::write(
            directory.join("policy.d/resources.yaml"),
            print::snapshot(&self.case.snapshot),
        )?;
        fs::write(directory.join("listing.nft"), &self.disagreement.listing)?;
        fs::write(directory.join("disagreement.txt"), self.to_string())?;
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Disagreement {
            step, journey, what, ..
        } = &self.disagreement;
        writeln!(f, "step: {step}\n{what}")?;
        if let Some(journey) = journey {
            writeln!(f, "packet: {journey:#?}")?;
        }
        writeln!(f, "host: {:#?}\n{:#?}", self.case.host, self.case.options)?;
        writeln!(f, "again: make fuzz-kernel SEED={} COUNT=1", self.seed)
    }
}
