//! What was tried.

use std::collections::BTreeMap;
use std::fmt;

use palisade_cases::{Journey, Way};
use palisade_rules::compile::CountedBy;
use palisade_rules::evaluate::Verdict;

use super::packets::Outcome;

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
    /// Rules, at each step, that lint called unreachable and nothing reached.
    pub unreachable: u64,
    /// What there was among the packets and among what counted them, and how often.
    pub kinds: BTreeMap<String, u64>,
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
        self.unreachable += other.unreachable;
        for (kind, times) in &other.kinds {
            *self.kinds.entry(kind.clone()).or_default() += times;
        }
    }

    /// How many packets were sent.
    pub fn packets(&self) -> u64 {
        self.allowed + self.denied
    }

    /// Adds a packet.
    pub(super) fn count(&mut self, journey: &Journey, outcome: &Outcome) {
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
                CountedBy::Rule { policy, .. } => policy.kind,
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
            unreachable,
            kinds: _,
        } = self;
        write!(
            f,
            "{cases} cases, {} packets ({allowed} allowed, {denied} denied), {counted} counts, {predicted} flows \
             predicted of which promotion changed {changed}, {foretold} predictions by counters alone, {unreachable} unreachable rules",
            self.packets()
        )
    }
}
