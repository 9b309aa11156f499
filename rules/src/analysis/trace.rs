//! A trace in the shape that `explain -o json` and flow records have.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::evaluate::{Step, StepBy};
use crate::world::{Stage, Worlds};

/// One step, as JSON shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepReport {
    /// The endpoint whose policies were asked.
    pub endpoint: String,
    /// `egress` or `ingress`.
    pub direction: Cow<'static, str>,
    /// `untracked`, `pre-dnat` or `forward`; `None` at the endpoint itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Cow<'static, str>>,
    /// The tier; empty where no tier spoke.
    pub tier: String,
    /// The kind as written, or `EndOfTier`, `Profile`, `Failsafe`, `Loopback`.
    pub kind: Cow<'static, str>,
    /// The namespace; `None` for global kinds.
    pub namespace: Option<String>,
    /// The name; empty where nothing that has one spoke.
    pub name: String,
    /// The index of the rule as written; -1 where no rule decided.
    pub rule_index: i64,
    /// The rule's name, if it has one.
    pub rule_name: Option<String>,
    /// `Allow`, `Deny`, `Pass` or `Log`.
    pub action: Cow<'static, str>,
    /// For the end of a tier, the last policy of the tier that governs the direction.
    pub trigger: Option<Trigger>,
    /// Where it is written, `file:line:column`.
    pub source: Option<String>,
}

/// The policy that made the end of a tier speak.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trigger {
    /// The kind as written.
    pub kind: Cow<'static, str>,
    /// The tier.
    pub tier: String,
    /// The namespace; `None` for global kinds.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl StepReport {
    /// The report of a step.
    pub fn new(worlds: &Worlds, step: &Step) -> Self {
        let mut report = StepReport {
            endpoint: worlds.endpoint(step.endpoint).to_string(),
            direction: step.direction.as_str().into(),
            stage: (step.stage != Stage::Normal).then(|| step.stage.as_str().into()),
            tier: String::new(),
            kind: "Profile".into(),
            namespace: None,
            name: String::new(),
            rule_index: -1,
            rule_name: None,
            action: step.action.as_str().into(),
            trigger: None,
            source: step.position.as_ref().map(ToString::to_string),
        };
        match &step.by {
            StepBy::Loopback => report.kind = "Loopback".into(),
            StepBy::Failsafe(text) => {
                report.kind = "Failsafe".into();
                report.name.clone_from(text);
            }
            StepBy::Rule {
                policy,
                rule_index,
                rule_name,
                ..
            } => {
                report.kind = policy.kind.into();
                report.tier.clone_from(&policy.tier);
                report.namespace.clone_from(&policy.namespace);
                report.name.clone_from(&policy.name);
                report.rule_index = i64::try_from(*rule_index).unwrap_or(i64::MAX);
                report.rule_name.clone_from(rule_name);
            }
            StepBy::EndOfTier { tier, trigger } => {
                report.kind = "EndOfTier".into();
                report.tier.clone_from(tier);
                report.trigger = Some(Trigger {
                    kind: trigger.kind.into(),
                    tier: trigger.tier.clone(),
                    namespace: trigger.namespace.clone(),
                    name: trigger.name.clone(),
                });
            }
            StepBy::Profile {
                name,
                rule_index,
                rule_name,
            } => {
                report.name.clone_from(name);
                report.rule_index = i64::try_from(*rule_index).unwrap_or(i64::MAX);
                report.rule_name.clone_from(rule_name);
            }
            StepBy::NoProfile => {}
        }
        report
    }

    /// The reports of a trace.
    pub fn of(worlds: &Worlds, steps: &[Step]) -> Vec<Self> {
        steps.iter().map(|step| StepReport::new(worlds, step)).collect()
    }

    /// The step in a few words, such as `backend-lockdown-staged (end of tier default)`.
    pub fn phrase(&self) -> String {
        match (self.kind.as_ref(), &self.trigger) {
            ("EndOfTier", Some(trigger)) => format!("{} (end of tier {})", trigger.name, self.tier),
            ("EndOfTier", None) => format!("end of tier {}", self.tier),
            ("Profile", _) if self.name.is_empty() => "no profile allows it".to_owned(),
            ("Profile", _) => format!("profile {}", self.name),
            ("Failsafe", _) => format!("failsafe {}", self.name),
            ("Loopback", _) => "loopback".to_owned(),
            _ => {
                let rule = self
                    .rule_name
                    .clone()
                    .unwrap_or_else(|| format!("rule {}", self.rule_index));
                format!("{} ({} {rule})", self.name, self.direction)
            }
        }
    }
}
