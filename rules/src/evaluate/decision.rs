//! What comes of an evaluation: a verdict, and the steps that led to it.

use std::sync::Arc;

use super::Said;
use crate::net::Direction;
use crate::resource::Action;
use crate::source::Position;
use crate::world::{EndpointId, PolicyRef, Stage};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It goes on.
    Allow,
    /// It ends here.
    Deny,
}

impl Verdict {
    /// The word that records use.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        }
    }
}

/// A verdict, and what a safety net hides of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// With everything in place.
    pub outcome: Outcome,
    /// The same without safety nets, if one of them decided.
    pub without_safety_net: Option<Outcome>,
}

impl Decision {
    /// The decision of a walk, which is made again without safety nets if one of them decided. `walk` gives the verdict
    /// with them or without, and puts what was said behind the steps.
    pub(crate) fn of<'w>(mut walk: impl FnMut(bool, &mut Vec<Said<'w>>) -> Verdict) -> Self {
        let mut outcome = |with_safety_net| {
            let mut steps = Vec::new();
            let verdict = walk(with_safety_net, &mut steps);
            let is_caught = steps.last().is_some_and(Said::is_safety_net);
            let steps = steps.into_iter().map(Step::from).collect();
            (Outcome { verdict, steps }, is_caught)
        };
        let (with, is_caught) = outcome(true);
        Decision {
            outcome: with,
            without_safety_net: is_caught.then(|| outcome(false).0),
        }
    }
}

/// A verdict and the steps that led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// A step for every Log and every Pass, then the one that decided.
    pub steps: Vec<Step>,
}

impl Outcome {
    /// The step that decided.
    pub fn deciding(&self) -> Option<&Step> {
        self.steps.last()
    }
}

/// One step of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The endpoint whose policies were asked.
    pub endpoint: EndpointId,
    /// The direction they were asked for.
    pub direction: Direction,
    /// Where on the packet's way they were asked.
    pub stage: Stage,
    /// What spoke.
    pub by: StepBy,
    /// What it said.
    pub action: Action,
    /// Where that is written; `None` for what exists unwritten.
    pub position: Option<Position>,
}

/// What speaks in a step.
#[derive(Clone, Debug, PartialEq)]
pub enum StepBy {
    /// The packet never leaves the host.
    Loopback,
    /// A failsafe, as it is written; `icmpv6` for neighbour discovery and its like.
    Failsafe(String),
    /// A rule of a policy.
    Rule {
        /// Which policy.
        policy: Arc<PolicyRef>,
        /// The index of the rule as written.
        rule_index: usize,
        /// The rule's name, if it has one.
        rule_name: Option<String>,
        /// Whether the policy is a safety net.
        safety_net: bool,
    },
    /// The end of a tier that governs the direction and did not decide.
    EndOfTier {
        /// The tier.
        tier: String,
        /// The last policy of the tier that governs the direction.
        trigger: Arc<PolicyRef>,
    },
    /// A rule of a profile.
    Profile {
        /// The profile.
        name: String,
        /// The index of the rule as written.
        rule_index: usize,
        /// The rule's name, if it has one.
        rule_name: Option<String>,
    },
    /// No rule anywhere.
    NoProfile,
}
