//! `GlobalNetworkPolicy` and `StagedGlobalNetworkPolicy`.

use super::fields::{Context, Field, Fields, Unique, is_default};
use super::metadata::Metadata;
use super::{Found, TierUse, rule, selector};
use crate::diagnostic::Diagnostic;
use crate::net::Direction;
use crate::resource::{DEFAULT_TIER, Order, Policy, PolicyId, PolicyKind, PolicyTypes, StagedAction};
use crate::selector::Selector;

/// The fields of a spec that a staged deletion must not have.
const DELETED: [&str; 11] = [
    "applyOnForward",
    "doNotTrack",
    "egress",
    "ingress",
    "namespaceSelector",
    "order",
    "performanceHints",
    "preDNAT",
    "selector",
    "serviceAccountSelector",
    "types",
];

/// Fields that are known and not enforced, and what to do instead.
const UNSUPPORTED: [(&str, &str); 5] = [
    (
        "namespaceSelector",
        "a host has no namespaces: select endpoints by their labels in `selector`",
    ),
    (
        "serviceAccountSelector",
        "a host has no service accounts: select endpoints by their labels in `selector`",
    ),
    (
        "doNotTrack",
        "remove it: policies act on tracked connections only",
    ),
    (
        "preDNAT",
        "remove it: policies act on packets as they arrive at or leave the host",
    ),
    (
        "applyOnForward",
        "remove it: policies act on packets to and from this host, not through it",
    ),
];

const STAGED_ACTIONS: [(&str, StagedAction); 4] = [
    ("Set", StagedAction::Set),
    ("Delete", StagedAction::Delete),
    ("Learn", StagedAction::Learn),
    ("Ignore", StagedAction::Ignore),
];

const TYPES: [(&str, Direction); 2] = [("Ingress", Direction::Ingress), ("Egress", Direction::Egress)];

const HINTS: [(&str, ()); 1] = [("AssumeNeededOnEveryNode", ())];

pub(super) fn policy(
    context: &mut Context<'_>,
    metadata: &Metadata<'_>,
    spec: Option<Field<'_>>,
    kind: &'static str,
    staged: bool,
    found: &mut Found,
) -> Policy {
    let mut policy = Policy {
        id: PolicyId {
            kind: PolicyKind::GlobalNetworkPolicy,
            namespace: None,
            name: metadata.name.clone().unwrap_or_default(),
        },
        staged: staged.then_some(StagedAction::Set),
        tier: DEFAULT_TIER.to_owned(),
        order: None,
        selector: Selector::all(),
        types: PolicyTypes {
            ingress: false,
            egress: false,
        },
        ingress: Vec::new(),
        egress: Vec::new(),
        position: metadata.position.clone(),
    };
    let what = if staged {
        "the spec of a StagedGlobalNetworkPolicy"
    } else {
        "the spec of a GlobalNetworkPolicy"
    };
    let fields = spec.and_then(|spec| Fields::of(context, spec.value, what, spec.key.span));
    let Some(mut fields) = fields else {
        return policy;
    };
    if staged {
        let action = fields.optional("stagedAction");
        let action =
            action.and_then(|action| context.choice(action.value, "a staged action", &STAGED_ACTIONS));
        policy.staged = Some(action.unwrap_or(StagedAction::Set));
    } else if let Some(action) = fields.written("stagedAction") {
        context.report(
            Diagnostic::error("unknown-field", "an enforced policy has no `stagedAction`")
                .at(action.key.span, "only a staged policy has it")
                .help("remove it; or make the kind StagedGlobalNetworkPolicy"),
        );
    }
    if let Some(tier) = fields
        .optional("tier")
        .filter(|tier| tier.value.text() != Some(""))
        && let Some(name) = context.text(tier.value, "the name of a tier")
    {
        name.clone_into(&mut policy.tier);
        found.tier_uses.push(TierUse {
            tier: name.to_owned(),
            span: tier.value.span,
            kind,
            policy: metadata.name.clone(),
        });
    }
    if policy.staged == Some(StagedAction::Delete) {
        deletion(context, &mut fields);
    } else {
        content(context, &mut fields, &mut policy);
    }
    fields.finish(context);
    policy
}

/// A staged deletion says what is deleted, and nothing else.
fn deletion(context: &mut Context<'_>, fields: &mut Fields<'_>) {
    for name in DELETED {
        if let Some(field) = fields.written(name)
            && !is_default(field.value)
        {
            context.report(
                Diagnostic::error(
                    "staged-delete",
                    format!("a staged deletion must not have `{name}`"),
                )
                .at(field.key.span, "has no meaning here")
                .help("with `stagedAction: Delete` only `tier` may stand beside it"),
            );
        }
    }
}

fn content(context: &mut Context<'_>, fields: &mut Fields<'_>, policy: &mut Policy) {
    if let Some(order) = fields.optional("order") {
        policy.order = context.number(order.value).map(Order::new);
    }
    if let Some(field) = fields.optional("selector")
        && let Some(selector) = selector::selector(context, field.value)
    {
        policy.selector = selector;
    }
    let ingress = fields.optional("ingress");
    let egress = fields.optional("egress");
    if let Some(field) = ingress {
        policy.ingress = rule::rules(context, field);
    }
    if let Some(field) = egress {
        policy.egress = rule::rules(context, field);
    }
    let types = fields.optional("types").filter(|types| !is_default(types.value));
    policy.types = match types {
        Some(types) => self::types(context, types),
        None => default_types(policy),
    };
    for (direction, name, field) in [
        (Direction::Ingress, "Ingress", ingress),
        (Direction::Egress, "Egress", egress),
    ] {
        if let (Some(field), Some(types)) = (field, types)
            && !policy.governs(direction)
            && !is_default(field.value)
        {
            context.report(
                Diagnostic::warning(
                    "unused-rules",
                    format!("these rules never apply: `types` has no {name}"),
                )
                .at(field.key.span, "never apply")
                .related(types.key.span, format!("{name} is not among these"))
                .help(format!("add {name} to `types`, or remove the rules")),
            );
        }
    }
    if let Some(hints) = fields.optional("performanceHints") {
        for hint in context.list(hints.value, "a list of hints") {
            context.choice(hint, "a performance hint", &HINTS);
        }
    }
    for (name, why) in UNSUPPORTED {
        fields.unsupported(context, name, why);
    }
}

fn types(context: &mut Context<'_>, field: Field<'_>) -> PolicyTypes {
    let mut types = PolicyTypes {
        ingress: false,
        egress: false,
    };
    let mut unique = Unique::new();
    for node in context.list(field.value, "a list of `Ingress` and `Egress`") {
        let Some(direction) = context.choice(node, "a policy type", &TYPES) else {
            continue;
        };
        unique.insert(context, direction, node);
        match direction {
            Direction::Ingress => types.ingress = true,
            Direction::Egress => types.egress = true,
        }
    }
    types
}

/// What a policy governs that does not say: egress if it has egress rules, ingress if it has ingress rules or none
/// at all.
fn default_types(policy: &Policy) -> PolicyTypes {
    let egress = !policy.egress.is_empty();
    PolicyTypes {
        ingress: !policy.ingress.is_empty() || !egress,
        egress,
    }
}
