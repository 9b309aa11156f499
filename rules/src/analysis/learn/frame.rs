//! The policy without what is learnt: for whom, where it stands, and the rules it has already.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::draft::Draft;
use super::pick::Picker;
use super::{DEFAULT_ORDER, Directions, LearnError, Question, Subject};
use crate::net::Direction;
use crate::resource::{
    Action, DEFAULT_TIER, Order, Policy, PolicyId, PolicyKind, PolicyStage, PolicyTypes, Rule, StagedAction,
};
use crate::selector::Selector;
use crate::snapshot::Snapshot;
use crate::source::Position;
use crate::world::{EndpointId, EndpointKind, Worlds};

/// A policy to be completed.
pub(super) struct Frame {
    /// With the rules that it has already.
    pub(super) policy: Policy,
    /// Where it is written, if it is.
    pub(super) replaces: Option<Position>,
    /// The local endpoints that it selects.
    pub(super) subjects: BTreeSet<EndpointId>,
    /// Those of them that were not asked for, but that labels cannot tell from the one that was.
    pub(super) siblings: Vec<EndpointId>,
    /// Endpoints elsewhere that it selects, of which nothing is observed here.
    pub(super) elsewhere: Vec<EndpointId>,
    /// Whether its types are those that observations are of.
    pub(super) types_as_observed: bool,
}

/// A policy with what was learnt.
pub(super) struct Completed {
    /// The policy.
    pub(super) policy: Policy,
    /// For each draft, the index of its rule among those of its direction.
    pub(super) places: Vec<usize>,
}

/// The policy that a question is about.
pub(super) fn frame(snapshot: &Snapshot, worlds: &Worlds, question: &Question) -> Result<Frame, LearnError> {
    let of_this_name = |policy: &&Arc<Policy>| {
        policy.id.kind == PolicyKind::GlobalNetworkPolicy && policy.id.name == question.name
    };
    let mut staged = snapshot.policies.iter().filter(|policy| policy.staged.is_some());
    let mut asked_for = None;
    let (policy, replaces, types_as_observed) = if let Some(existing) = staged.find(of_this_name) {
        (
            completable(existing, question)?,
            Some(existing.position.clone()),
            false,
        )
    } else if let Some(enforced) = snapshot.policies.iter().find(of_this_name) {
        let help = "what is staged by its name would come in its place without its rules; stage a copy of it with \
                    stagedAction: Learn to have it completed, or take another name";
        return Err(taken(enforced, help));
    } else {
        let (selector, endpoint) = selector(worlds, &question.subject)?;
        asked_for = endpoint;
        let policy = fresh(snapshot, question, selector)?;
        (policy, None, question.directions == Directions::Observed)
    };
    let selected = |local: bool| {
        let endpoints = worlds.endpoints.iter().enumerate();
        endpoints
            .filter(|(_, endpoint)| endpoint.attachment.is_some() == local)
            .filter(|(_, endpoint)| policy.selector.matches(&endpoint.labels))
            .map(|(index, _)| EndpointId(index))
            .collect::<Vec<_>>()
    };
    let (subjects, elsewhere) = (selected(true), selected(false));
    if subjects.is_empty() {
        return Err(LearnError::SelectsNothing {
            selector: policy.selector.to_string(),
            local: local(worlds),
        });
    }
    let siblings = subjects.iter().copied();
    let siblings = siblings.filter(|id| asked_for.is_some_and(|asked_for| asked_for != *id));
    Ok(Frame {
        policy,
        replaces,
        siblings: siblings.collect(),
        subjects: subjects.into_iter().collect(),
        elsewhere,
        types_as_observed,
    })
}

impl Frame {
    /// The policy with its learnt rules: behind those it has, but before a last `Deny` of everything.
    pub(super) fn completed(&self, drafts: &[Draft<'_>]) -> Completed {
        let mut policy = self.policy.clone();
        let mut places = Vec::with_capacity(drafts.len());
        for direction in Direction::BOTH {
            let rules = match direction {
                Direction::Ingress => &mut policy.ingress,
                Direction::Egress => &mut policy.egress,
            };
            let is_last_word = |rule: &&Rule| {
                matches!(rule.action, Action::Deny | Action::Log | Action::Pass) && rule.is_unconditional()
            };
            let last_words = rules.iter().rev().take_while(is_last_word).count();
            let first = rules.len() - last_words;
            let learnt = drafts.iter().filter(|draft| draft.direction == direction);
            let learnt: Vec<Rule> = learnt.map(|draft| draft.rule(&self.policy.position)).collect();
            places.extend(first..first + learnt.len());
            rules.splice(first..first, learnt);
            for (index, rule) in rules.iter_mut().enumerate() {
                rule.index = index;
            }
        }
        Completed { policy, places }
    }
}

fn completable(existing: &Policy, question: &Question) -> Result<Policy, LearnError> {
    if !matches!(existing.staged, Some(StagedAction::Set | StagedAction::Learn)) {
        let help = "only what is staged with stagedAction: Learn or Set is completed; take another name";
        return Err(taken(existing, help));
    }
    if !matches!(existing.stage, PolicyStage::Normal { .. }) {
        let help = "observations are of what doNotTrack and preDNAT policies leave undecided, so that none can be learnt";
        return Err(taken(existing, help));
    }
    let given = [
        (
            !matches!(question.subject, Subject::Usual),
            "--endpoint and --selector",
        ),
        (question.directions != Directions::Observed, "--direction"),
        (question.tier.is_some(), "--tier"),
        (question.order.is_some(), "--order"),
        (question.forward, "--forward"),
    ];
    match given.iter().find(|(given, _)| *given) {
        Some((_, option)) => Err(LearnError::Fixed {
            name: existing.id.to_string(),
            position: existing.position.to_string(),
            option,
        }),
        None => Ok(existing.clone()),
    }
}

fn taken(existing: &Policy, help: &'static str) -> LearnError {
    LearnError::Taken {
        what: existing.written_kind().to_owned(),
        name: existing.id.to_string(),
        position: existing.position.to_string(),
        help,
    }
}

/// The selector that is asked for, and, where it is made for one endpoint, that endpoint.
fn selector(worlds: &Worlds, subject: &Subject) -> Result<(Selector, Option<EndpointId>), LearnError> {
    let endpoint = match subject {
        Subject::Selector(selector) => return Ok((selector.clone(), None)),
        Subject::Endpoint(name) => named(worlds, name)?,
        Subject::Usual => only_host(worlds)?,
    };
    Ok((Picker::of_endpoints(worlds).subject(endpoint), Some(endpoint)))
}

fn fresh(snapshot: &Snapshot, question: &Question, selector: Selector) -> Result<Policy, LearnError> {
    let tier = question.tier.as_deref().unwrap_or(DEFAULT_TIER);
    if !snapshot.tiers.contains_key(tier) {
        return Err(LearnError::UnknownTier {
            name: tier.to_owned(),
            known: snapshot.tiers.keys().cloned().collect(),
        });
    }
    let governs = |direction| question.directions.wants(direction);
    Ok(Policy {
        id: PolicyId {
            kind: PolicyKind::GlobalNetworkPolicy,
            namespace: None,
            name: question.name.clone(),
        },
        staged: Some(StagedAction::Set),
        tier: tier.to_owned(),
        order: Some(Order::new(question.order.unwrap_or(DEFAULT_ORDER))),
        selector,
        stage: PolicyStage::Normal {
            apply_on_forward: question.forward,
        },
        types: PolicyTypes {
            ingress: governs(Direction::Ingress),
            egress: governs(Direction::Egress),
        },
        ingress: Vec::new(),
        egress: Vec::new(),
        position: Position {
            file: "(learnt)".into(),
            line: 1,
            column: 1,
        },
    })
}

fn only_host(worlds: &Worlds) -> Result<EndpointId, LearnError> {
    let hosts = worlds
        .local()
        .filter(|(_, endpoint, _)| endpoint.kind == EndpointKind::Host);
    let hosts: Vec<EndpointId> = hosts.map(|(id, ..)| id).collect();
    match hosts[..] {
        [only] => Ok(only),
        _ => Err(LearnError::Which {
            hosts: hosts.iter().map(|&id| worlds.endpoint(id).to_string()).collect(),
        }),
    }
}

fn named(worlds: &Worlds, name: &str) -> Result<EndpointId, LearnError> {
    let (kind, bare) = match name.split_once(':') {
        Some((word, rest)) if EndpointKind::parse(word).is_some() => (EndpointKind::parse(word), rest),
        _ => (None, name),
    };
    let is_meant = |id: &&EndpointId| {
        let endpoint = worlds.endpoint(**id);
        endpoint.attachment.is_some() && kind.is_none_or(|kind| endpoint.kind == kind)
    };
    let meant: Vec<EndpointId> = worlds
        .directory
        .named(bare)
        .iter()
        .filter(is_meant)
        .copied()
        .collect();
    match meant[..] {
        [one] => Ok(one),
        [] => Err(LearnError::UnknownEndpoint {
            name: name.to_owned(),
            local: local(worlds),
        }),
        _ => Err(LearnError::Ambiguous {
            name: name.to_owned(),
            meant: meant
                .iter()
                .map(|&id| format!("{}:{}", worlds.endpoint(id).kind, worlds.endpoint(id)))
                .collect(),
        }),
    }
}

fn local(worlds: &Worlds) -> Vec<String> {
    worlds
        .local()
        .map(|(_, endpoint, _)| endpoint.to_string())
        .collect()
}
