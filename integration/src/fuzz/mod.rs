//! The kernel against the evaluator: random resources, random packets, every verdict and every counter.
//!
//! A case is rolled out as a person would (`rollout`): nothing staged, staged, promoted, safety nets removed, each in one
//! transaction after the other. At every step every packet is sent (`packets`) on a host that can make any journey
//! (`lab`), and its verdict and what it was counted by are compared with [`palisade_cases::expected`]. Over the steps,
//! staging must have changed nothing, and promotion what was predicted.

mod lab;
mod packets;
mod rollout;
mod services;
mod wire;

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::path::Path;

use palisade_cases::{Case, Journey, case};
use palisade_rules::evaluate::Verdict;
use palisade_rules::print;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use lab::Lab;
use packets::Outcome;

/// The most packets of one case.
const JOURNEYS: usize = 100;

/// How often a failing case is tried smaller.
const SHRINKS: u32 = 3000;

/// The kernel, with a host to try cases on.
pub struct Fuzzer {
    lab: RefCell<Lab>,
}

/// What was tried. Every packet counts once for each step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases.
    pub cases: u64,
    /// Packets that got to their end.
    pub allowed: u64,
    /// Packets that did not.
    pub denied: u64,
    /// Counters that moved, each as often as it did.
    pub counted: u64,
    /// Flows whose verdict after promotion was predicted.
    pub predicted: u64,
    /// Predictions that the preview's counters made by themselves, with the safety nets and without.
    pub foretold: u64,
    /// Flows that promotion gave another verdict.
    pub changed: u64,
}

/// Where the kernel and the evaluator are not of one mind, or one step with the step before.
#[derive(Clone, Debug)]
pub struct Disagreement {
    step: &'static str,
    journey: Journey,
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
            Err(TestError::Fail(_, case)) => {
                // The last one tried is not always the smallest that failed.
                let again = rollout::roll_out(&mut self.lab.borrow_mut(), &case)?;
                let disagreement = match again {
                    Err(found) => *found,
                    Ok(_) => disagreement
                        .into_inner()
                        .ok_or_else(|| anyhow::anyhow!("a failure without a disagreement"))?,
                };
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

impl Tally {
    /// Adds what else was tried.
    pub fn add(&mut self, other: &Tally) {
        self.cases += other.cases;
        self.allowed += other.allowed;
        self.denied += other.denied;
        self.counted += other.counted;
        self.predicted += other.predicted;
        self.foretold += other.foretold;
        self.changed += other.changed;
    }

    /// How many packets were sent.
    pub fn packets(&self) -> u64 {
        self.allowed + self.denied
    }

    fn count(&mut self, outcome: &Outcome) {
        match outcome.verdict {
            Verdict::Allow => self.allowed += 1,
            Verdict::Deny => self.denied += 1,
        }
        self.counted += outcome.counted.len() as u64;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            cases,
            allowed,
            denied,
            counted,
            predicted,
            foretold,
            changed,
        } = self;
        write!(
            f,
            "{cases} cases, {} packets ({allowed} allowed, {denied} denied), {counted} counts, {predicted} flows \
             predicted of which promotion changed {changed}, {foretold} predictions by counters alone",
            self.packets()
        )
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
        writeln!(f, "packet: {journey:#?}")?;
        writeln!(f, "host: {:#?}\n{:#?}", self.case.host, self.case.options)?;
        writeln!(f, "again: make fuzz-kernel SEED={} COUNT=1", self.seed)
    }
}
