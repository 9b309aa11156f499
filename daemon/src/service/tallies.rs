//! What only the daemon counts, for those who scrape it: how long changes took, and who would have been denied.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::flows::batch::Noted;

/// The upper bounds of the classes of [`Tallies::apply_classes`], in seconds; the last class has none.
pub const APPLY_SECONDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counted since the daemon started.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    /// How many changes of the kernel took how long, by [`APPLY_SECONDS`].
    pub apply_classes: [u64; APPLY_SECONDS.len() + 1],
    /// How long all of them took, in seconds.
    pub apply_seconds: f64,
    /// Changes that failed or were refused.
    pub apply_failures: u64,
    /// First packets that are allowed and that what is staged would deny, by what would.
    pub would_deny: BTreeMap<Decider, u64>,
}

/// What decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decider {
    /// `ingress` or `egress`.
    pub direction: String,
    /// The tier.
    pub tier: String,
    /// The namespace of the policy, if it has one.
    pub namespace: Option<String>,
    /// The policy; for the end of a tier the one that brought it into play; empty where no profile allows.
    pub policy: String,
}

impl Tallies {
    /// Notes a change, and how long it took.
    pub(super) fn applied(&mut self, took: Duration, well: bool) {
        if !well {
            self.apply_failures += 1;
            return;
        }
        let seconds = took.as_secs_f64();
        let class = APPLY_SECONDS.iter().position(|&bound| seconds <= bound);
        self.apply_classes[class.unwrap_or(APPLY_SECONDS.len())] += 1;
        self.apply_seconds += seconds;
    }

    /// Notes the flows of an interval.
    pub(super) fn saw(&mut self, flows: &[Noted]) {
        for flow in flows.iter().map(|noted| &noted.record) {
            // What is sampled is no number of connections.
            if flow.action != "allow" || flow.pending_action != "deny" || flow.sampled {
                continue;
            }
            let Some(step) = flow.policies.pending.last() else {
                continue;
            };
            let (namespace, policy) = match &step.trigger {
                Some(trigger) => (&trigger.namespace, &trigger.name),
                None => (&step.namespace, &step.name),
            };
            let decider = Decider {
                direction: flow.direction.clone(),
                tier: step.tier.clone(),
                namespace: namespace.clone(),
                policy: policy.clone(),
            };
            *self.would_deny.entry(decider).or_default() += flow.evaluated;
        }
    }
}
