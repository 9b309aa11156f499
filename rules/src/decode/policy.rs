//! Calico's policies: `GlobalNetworkPolicy`, `NetworkPolicy` and their staged forms.

use super::fields::{Context, Field, Fields, Unique, is_default};
use super::found::Found;
use super::metadata::Metadata;
use super::{rule, selector};
use crate::diagnostic::Diagnostic;
use crate::net::Direction;
use crate::resource::{
    DEFAULT_TIER, NAMESPACE_LABEL, Order, Policy, PolicyId, PolicyKind, PolicyStage, PolicyTypes,
    StagedAction,
};
use crate::schema::Kind;
use crate::selector::Selector;

const STAGED_ACTIONS: [(&str, StagedAction); 4] = [
    ("Set", StagedAction::Set),
    ("Delete", StagedAction::Delete),
    ("Learn", StagedAction::Learn),
    ("Ignore", StagedAction::Ignore),
];

const TYPES: [(&str, Direction); 2] = [("Ingress", Direction::Ingress), ("Egress", Direction::Egress)];

const HINTS: [(&str, ()); 1] = [("AssumeNeededOnEveryNode", ())];

/// Fields that only a global policy has, and why.
const GLOBAL_ONLY: [(&str, &str); 4] = [
    (
        "namespaceSelector",
        "remove it: the policy applies in its own namespace; to select others, make it a global policy",
    ),
    ("applyOnForward", HOSTS_ONLY),
    ("preDNAT", HOSTS_ONLY),
    ("doNotTrack", HOSTS_ONLY),
];

const HOSTS_ONLY: &str = "remove it: it is about host endpoints, which are in no namespace; to select them, make it a global policy";

/// Reads a policy of one of Calico's kinds.
pub(super) fn policy(
    context: &mut Context<'_>,
    metadata: &Metadata<'_>,
    spec: Option<Field<'_>>,
    kind: &'static Kind,
    found: &mut Found,
) -> Policy {
    let promoted = if kind.namespaced {
        PolicyKind::NetworkPolicy
    } else {
        PolicyKind::GlobalNetworkPolicy
    };
    let mut policy = empty(metadata, promoted, kind.is_staged());
    let fields = spec.and_then(|spec| Fields::of(context, spec.value, kind.spec, spec.key.span));
    let Some(mut fields) = fields else {
        return policy;
    };
    if kind.is_staged() {
        policy.staged = Some(staged_action(context, &mut fields));
    } else {
        let help = format!("remove it; or make the kind Staged{}", kind.name);
        fields.misplaced(
            context,
            "stagedAction",
            "an enforced policy has no `stagedAction`",
            &help,
        );
    }
    if kind.namespaced {
        for (name, why) in GLOBAL_ONLY {
            fields.misplaced(context, name, &format!("a {} has no `{name}`", kind.name), why);
        }
    }
    if let Some(tier) = fields
        .optional("tier")
        .filter(|tier| tier.value.text() != Some(""))
        && let Some(name) = context.text(tier.value, "the name of a tier")
    {
        name.clone_into(&mut policy.tier);
        found.uses_tier(name, tier.value.span);
    }
    policy.id.name = metadata.original_name(context, &policy.tier);
    if policy.staged == Some(StagedAction::Delete) {
        deletion(context, &mut fields, "only `tier` may stand beside it");
    } else {
        content(context, &mut fields, &mut policy, found);
    }
    fields.finish(context);
    policy
}

/// The policy of which only the metadata is known.
pub(super) fn empty(metadata: &Metadata<'_>, kind: PolicyKind, staged: bool) -> Policy {
    Policy {
        id: PolicyId {
            kind,
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone().unwrap_or_default(),
        },
        staged: staged.then_some(StagedAction::Set),
        tier: DEFAULT_TIER.to_owned(),
        order: None,
        selector: Selector::all(),
        stage: PolicyStage::Normal {
            apply_on_forward: false,
        },
        types: PolicyTypes {
            ingress: false,
            egress: false,
        },
        ingress: Vec::new(),
        egress: Vec::new(),
        position: metadata.position.clone(),
    }
}

/// Reads `stagedAction`, which is `Set` if it is not given.
pub(super) fn staged_action(context: &mut Context<'_>, fields: &mut Fields<'_>) -> StagedAction {
    fields
        .optional("stagedAction")
        .and_then(|action| context.choice(action.value, "a staged action", &STAGED_ACTIONS))
        .unwrap_or(StagedAction::Set)
}

/// A staged deletion says what is deleted, and nothing else.
pub(super) fn deletion(context: &mut Context<'_>, fields: &mut Fields<'_>, allowed: &str) {
    for field in fields.rest() {
        if is_default(field.value) {
            continue;
        }
        let name = field.key.text().unwrap_or_default();
        context.report(
            Diagnostic::error(
                "staged-delete",
                format!("a staged deletion must not have `{name}`"),
            )
            .at(field.key.span, "has no meaning here")
            .help(format!("with `stagedAction: Delete` {allowed}")),
        );
    }
}

fn content(context: &mut Context<'_>, fields: &mut Fields<'_>, policy: &mut Policy, found: &mut Found) {
    let is_global = policy.id.kind == PolicyKind::GlobalNetworkPolicy;
    if let Some(order) = fields.optional("order") {
        policy.order = context.number(order.value).map(Order::new);
    }
    if let Some(selector) = subject(context, fields, policy, is_global) {
        policy.selector = selector;
    }
    let ingress = fields.optional("ingress");
    let egress = fields.optional("egress");
    let namespace = policy.id.namespace.as_deref();
    if let Some(field) = ingress {
        policy.ingress = rule::rules(context, field, namespace, found);
    }
    if let Some(field) = egress {
        policy.egress = rule::rules(context, field, namespace, found);
    }
    let types = fields.optional("types").filter(|types| !is_default(types.value));
    let direction = |field: Option<Field<'_>>| field.is_some_and(|field| !is_default(field.value));
    policy.types = match types {
        Some(types) => self::types(context, types),
        None => PolicyTypes {
            ingress: direction(ingress) || !direction(egress),
            egress: direction(egress),
        },
    };
    check_unused(context, policy, "types", types, [ingress, egress]);
    if is_global {
        stage(context, fields, policy, types, egress);
    }
    if let Some(hints) = fields.optional("performanceHints") {
        let mut unique = Unique::new();
        for hint in context.list(hints.value, "a list of hints") {
            if context.choice(hint, "a performance hint", &HINTS).is_some() {
                unique.insert(context, hint.text(), hint);
            }
        }
    }
}

/// What the policy applies to, all its selectors and its namespace in one (reference 2.4).
fn subject(
    context: &mut Context<'_>,
    fields: &mut Fields<'_>,
    policy: &Policy,
    is_global: bool,
) -> Option<Selector> {
    let written = fields.optional("selector");
    let service_account = fields.optional("serviceAccountSelector");
    let namespace = is_global.then(|| fields.optional("namespaceSelector")).flatten();
    let own_namespace = policy.id.namespace.as_deref();
    let parts = [
        written.and_then(|field| selector::selector(context, field.value)),
        namespace.and_then(|field| selector::namespace_selector(context, field.value)),
        own_namespace.map(|namespace| Selector::equals(NAMESPACE_LABEL, namespace)),
        service_account.and_then(|field| selector::service_account_selector(context, field.value)),
    ];
    let place = [written, namespace, service_account].into_iter().flatten().next();
    let place = place.map_or(fields.place(), |field| field.value.span);
    selector::together(context, place, parts)
}

/// Reads the directions in a list; an item that is wrong is not among them.
pub(super) fn types(context: &mut Context<'_>, field: Field<'_>) -> PolicyTypes {
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

/// Warns of rules, ingress and egress, in a direction that is not among the `types`, which `name` calls.
pub(super) fn check_unused(
    context: &mut Context<'_>,
    policy: &Policy,
    name: &str,
    types: Option<Field<'_>>,
    rules: [Option<Field<'_>>; 2],
) {
    let Some(types) = types else { return };
    for ((word, direction), field) in TYPES.into_iter().zip(rules) {
        if let Some(field) = field
            && !policy.governs(direction)
            && !is_default(field.value)
        {
            context.report(
                Diagnostic::warning(
                    "unused-rules",
                    format!("these rules never apply: `{name}` has no {word}"),
                )
                .at(field.key.span, "never apply")
                .related(types.key.span, format!("{word} is not among these"))
                .help(format!("add {word} to `{name}`, or remove the rules")),
            );
        }
    }
}

/// Reads where on its way the policy meets a packet.
fn stage(
    context: &mut Context<'_>,
    fields: &mut Fields<'_>,
    policy: &mut Policy,
    types: Option<Field<'_>>,
    egress: Option<Field<'_>>,
) {
    let untracked = flag(context, fields, "doNotTrack");
    let pre_dnat = flag(context, fields, "preDNAT");
    let on_forward = fields.optional("applyOnForward");
    // One that cannot be read may well be `true`.
    let apply_on_forward = on_forward.is_some_and(|field| context.boolean(field.value) != Some(false));

    if let (Some(untracked), Some(pre_dnat)) = (untracked, pre_dnat) {
        context.report(
            Diagnostic::error(
                "conflicting-fields",
                "a policy cannot have both `doNotTrack` and `preDNAT`",
            )
            .at(pre_dnat.key.span, "decides before the destination is translated")
            .related(untracked.key.span, "decides before the connection is tracked")
            .help("remove one of the two, or write two policies"),
        );
    }
    if let Some(early) = untracked.or(pre_dnat)
        && !apply_on_forward
    {
        let name = early.key.text().unwrap_or_default();
        let place = on_forward.map_or(early.key.span, |field| field.value.span);
        context.report(
            Diagnostic::error(
                "needs-apply-on-forward",
                format!("`{name}` needs `applyOnForward: true`"),
            )
            .at(place, "not given")
            .help("add `applyOnForward: true`: so early it is not known whether a packet is for the host or goes through it"),
        );
    }
    if let Some(pre_dnat) = pre_dnat {
        check_ingress_only(context, policy, pre_dnat, types, egress);
    }
    policy.stage = match (untracked, pre_dnat) {
        (Some(_), _) => PolicyStage::Untracked,
        (None, Some(_)) => PolicyStage::PreDnat,
        (None, None) => PolicyStage::Normal { apply_on_forward },
    };
}

/// The field if it is `true`.
fn flag<'n>(context: &mut Context<'_>, fields: &mut Fields<'n>, name: &'static str) -> Option<Field<'n>> {
    let field = fields.optional(name)?;
    (context.boolean(field.value) == Some(true)).then_some(field)
}

/// What leaves the host is not translated before it meets a policy.
fn check_ingress_only(
    context: &mut Context<'_>,
    policy: &Policy,
    pre_dnat: Field<'_>,
    types: Option<Field<'_>>,
    egress: Option<Field<'_>>,
) {
    let egress = egress.filter(|field| !is_default(field.value));
    let types = types.filter(|_| policy.types.egress);
    for (field, what) in [(egress, "egress rules"), (types, "the type Egress")] {
        if let Some(field) = field {
            context.report(
                Diagnostic::error(
                    "conflicting-fields",
                    format!("a policy with `preDNAT` cannot have {what}"),
                )
                .at(field.key.span, "about what leaves")
                .related(pre_dnat.key.span, "about what arrives")
                .help("write the egress rules into a policy of their own, without `preDNAT`"),
            );
        }
    }
}
