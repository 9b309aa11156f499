//! A trace in the shape that `explain -o json` and flow records have.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::evaluate::{Step, StepBy};
use crate::source::Position;
use crate::world::{Endpoint, Stage, Worlds};

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

/// A [`StepReport`] that borrows all it says: what is written at once need not be copied first.
#[derive(Clone, Copy, Serialize)]
pub(super) struct StepView<'a> {
    endpoint: Shown<&'a Endpoint>,
    direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    tier: &'a str,
    kind: &'static str,
    namespace: Option<&'a str>,
    name: &'a str,
    rule_index: i64,
    rule_name: Option<&'a str>,
    action: &'static str,
    trigger: Option<TriggerView<'a>>,
    source: Option<Shown<&'a Position>>,
}

/// A [`Trigger`] that borrows all it says.
#[derive(Clone, Copy, Serialize)]
struct TriggerView<'a> {
    kind: &'static str,
    tier: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

/// Serialised as it is displayed.
#[derive(Clone, Copy)]
pub(super) struct Shown<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'a> StepView<'a> {
    /// The report of a step.
    pub(super) fn new(worlds: &'a Worlds, step: &'a Step) -> Self {
        let mut view = StepView {
            endpoint: Shown(worlds.endpoint(step.endpoint)),
            direction: step.direction.as_str(),
            stage: (step.stage != Stage::Normal).then(|| step.stage.as_str()),
            tier: "",
            kind: "Profile",
            namespace: None,
            name: "",
            rule_index: -1,
            rule_name: None,
            action: step.action.as_str(),
            trigger: None,
            source: step.position.as_ref().map(Shown),
        };
        match &step.by {
            StepBy::Loopback => view.kind = "Loopback",
            StepBy::Failsafe(text) => {
                view.kind = "Failsafe";
                view.name = text;
            }
            StepBy::Rule {
                policy,
                rule_index,
                rule_name,
                ..
            } => {
                view.kind = policy.kind;
                view.tier = &policy.tier;
                view.namespace = policy.namespace.as_deref();
                view.name = &policy.name;
                view.rule_index = i64::try_from(*rule_index).unwrap_or(i64::MAX);
                view.rule_name = rule_name.as_deref();
            }
            StepBy::EndOfTier { tier, trigger } => {
                view.kind = "EndOfTier";
                view.tier = tier;
                view.trigger = Some(TriggerView {
                    kind: trigger.kind,
                    tier: &trigger.tier,
                    namespace: trigger.namespace.as_deref(),
                    name: &trigger.name,
                });
            }
            StepBy::Profile {
                name,
                rule_index,
                rule_name,
            } => {
                view.name = name;
                view.rule_index = i64::try_from(*rule_index).unwrap_or(i64::MAX);
                view.rule_name = rule_name.as_deref();
            }
            StepBy::NoProfile => {}
        }
        view
    }
}

impl From<StepView<'_>> for StepReport {
    fn from(view: StepView<'_>) -> Self {
        StepReport {
            endpoint: view.endpoint.0.to_string(),
            direction: view.direction.into(),
            stage: view.stage.map(Cow::from),
            tier: view.tier.to_owned(),
            kind: view.kind.into(),
            namespace: view.namespace.map(str::to_owned),
            name: view.name.to_owned(),
            rule_index: view.rule_index,
            rule_name: view.rule_name.map(str::to_owned),
            action: view.action.into(),
            trigger: view.trigger.map(|trigger| Trigger {
                kind: trigger.kind.into(),
                tier: trigger.tier.to_owned(),
                namespace: trigger.namespace.map(str::to_owned),
                name: trigger.name.to_owned(),
            }),
            source: view.source.map(|source| source.0.to_string()),
        }
    }
}

impl StepReport {
    /// The report of a step.
    pub fn new(worlds: &Worlds, step: &Step) -> Self {
        StepView::new(worlds, step).into()
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
