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
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use palisade_cases::{Case, Journey, Way, case};
use palisade_rules::compile::CountedBy;
use palisade_rules::evaluate::Verdict;
use palisade_rules::print;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use lab::Lab;
use packets::Outcome;

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
    /// What there was among the packets and among what counted them, and how often.
    pub kinds: BTreeMap<String, u64>,
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
        for (kind, times) in &other.kinds {
            *self.kinds.entry(kind.clone()).or_default() += times;
        }
    }

    /// How many packets were sent.
    pub fn packets(&self) -> u64 {
        self.allowed + self.denied
    }

    fn count(&mut self, journey: &Journey, outcome: &Outcome) {
        match outcome.verdict {
            Verdict::Allow => self.allowed += 1,
            Verdict::Deny => self.denied += 1,
        }
        self.counted += outcome.counted.len() as u64;
        let way = match journey.way {
            Way::In { from: "lo" } | Way::Out { to: "lo" } => "loopback",
            Way::In { .. } => "in",
            Way::Out { .. } => "out",
            Way::Through { .. } => "through",
        };
        let of_service = if journey.cgroups.is_empty() {
            ""
        } else {
            ", of a service"
        };
        let packet = &journey.packet;
        self.see(format!(
            "{way}, {}, {:?}{of_service}",
            packet.family(),
            journey.state
        ));
        self.see(format!("protocol {} over {}", packet.protocol, packet.family()));
        for counted in &outcome.counted {
            let by = match &counted.by {
                CountedBy::Invalid => "invalid",
                CountedBy::Failsafe(_) => "failsafe",
                CountedBy::Rule { safety_net: true, .. } => "safety net",
                CountedBy::Rule { kind, .. } => kind,
                CountedBy::EndOfTier(_) => "end of tier",
                CountedBy::Profile { .. } => "profile",
                CountedBy::NoProfile => "no profile",
            };
            let (world, stage) = (counted.world.as_str(), counted.stage.as_str());
            self.see(format!("{world}, {stage}: {by}, {}", counted.action));
        }
    }

    fn see(&mut self, kind: String) {
        *self.kinds.entry(kind).or_default() += 1;
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
            kinds: _,
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
        if let Some(journey) = journey {
            writeln!(f, "packet: {journey:#?}")?;
        }
        writeln!(f, "host: {:#?}\n{:#?}", self.case.host, self.case.options)?;
        writeln!(f, "again: make fuzz-kernel SEED={} COUNT=1", self.seed)
    }
}
