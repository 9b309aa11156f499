//! What a document is: which kind of resource, or a list of them.

use super::fields::{Context, Field, Fields, nearest};
use super::metadata::Metadata;
use super::{Found, host_endpoint, network_set, policy, tier};
use crate::diagnostic::{Diagnostic, quoted};
use crate::source::Span;
use crate::yaml::{Node, Value};

/// The group and version of Calico's resources.
const API_VERSION: &str = "projectcalico.org/v3";

/// The kinds that are enforced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    GlobalNetworkPolicy,
    StagedGlobalNetworkPolicy,
    Tier,
    GlobalNetworkSet,
    HostEndpoint,
}

const KINDS: [(&str, Kind); 5] = [
    ("GlobalNetworkPolicy", Kind::GlobalNetworkPolicy),
    ("StagedGlobalNetworkPolicy", Kind::StagedGlobalNetworkPolicy),
    ("Tier", Kind::Tier),
    ("GlobalNetworkSet", Kind::GlobalNetworkSet),
    ("HostEndpoint", Kind::HostEndpoint),
];

/// Kinds that hold policy, and that palisade does not enforce.
const POLICY_KINDS: [&str; 8] = [
    "NetworkPolicy",
    "StagedNetworkPolicy",
    "StagedKubernetesNetworkPolicy",
    "NetworkSet",
    "WorkloadEndpoint",
    "Profile",
    "ServiceEndpoint",
    "ClusterNetworkPolicy",
];

/// Kinds of Calico that configure a cluster, and say nothing about who may reach whom.
const CLUSTER_KINDS: [&str; 15] = [
    "BGPConfiguration",
    "BGPFilter",
    "BGPPeer",
    "BlockAffinity",
    "CalicoNodeStatus",
    "ClusterInformation",
    "FelixConfiguration",
    "IPAMBlock",
    "IPAMConfiguration",
    "IPAMHandle",
    "IPPool",
    "IPReservation",
    "KubeControllersConfiguration",
    "LiveMigration",
    "Node",
];

/// Reads a document; `before` is how many problems were known before it was parsed.
pub(super) fn document(context: &mut Context<'_>, node: &Node, before: usize, found: &mut Found) {
    let inherited = Inherited::default();
    match &node.value {
        Value::Null => {}
        Value::Sequence(items) => {
            for item in items {
                resource(context, item, before, inherited, found);
            }
        }
        _ => resource(context, node, before, inherited, found),
    }
}

/// What the items of a typed list need not repeat.
#[derive(Clone, Copy, Default)]
struct Inherited<'n> {
    kind: Option<&'n str>,
    api_version: Option<&'n str>,
}

fn resource(
    context: &mut Context<'_>,
    node: &Node,
    before: usize,
    inherited: Inherited<'_>,
    found: &mut Found,
) {
    let own = context.diagnostics.len();
    let Some(mut fields) = Fields::of(context, node, "a resource", node.span) else {
        return;
    };
    let api_version = text_field(context, &mut fields, "apiVersion", inherited.api_version);
    let Some((kind, place)) = text_field(context, &mut fields, "kind", inherited.kind) else {
        return;
    };
    if let Some(inherited) = list_of(kind) {
        list(context, fields, api_version, before, inherited, found);
        return;
    }
    let name = if let Some(&(kind, variant)) = KINDS.iter().find(|(known, _)| *known == kind) {
        check_api_version(context, api_version, kind);
        known(context, fields, kind, variant, place, found)
    } else {
        unknown(context, kind, place);
        let name = node.get("metadata").and_then(|metadata| metadata.get("name"));
        name.and_then(Node::text).map(str::to_owned)
    };
    complete(context, node, own, before, kind, name.as_deref());
}

/// Reads an object of a kind that is enforced; gives its name.
fn known(
    context: &mut Context<'_>,
    mut fields: Fields<'_>,
    kind: &'static str,
    variant: Kind,
    place: Span,
    found: &mut Found,
) -> Option<String> {
    let metadata = fields
        .required(context, "metadata")
        .and_then(|field| Metadata::read(context, field, kind));
    let spec = match variant {
        Kind::Tier | Kind::GlobalNetworkSet => fields.optional("spec"),
        _ => fields.required(context, "spec"),
    };
    fields.ignored(&["status"]);
    fields.finish(context);

    let metadata = metadata.unwrap_or_else(|| Metadata::nameless(context, place));
    if let Some(name) = &metadata.name {
        found.register(context, kind, name, metadata.span);
    }
    match variant {
        Kind::GlobalNetworkPolicy | Kind::StagedGlobalNetworkPolicy => {
            metadata.check_name(context, "at most two labels with a dot between them", |name| {
                super::names::is_subdomain(name) && name.matches('.').count() <= 1
            });
            let staged = variant == Kind::StagedGlobalNetworkPolicy;
            let policy = policy::policy(context, &metadata, spec, kind, staged, found);
            found.policies.push(policy);
        }
        Kind::Tier => {
            metadata.check_name(
                context,
                "one label of at most 63 characters, without a dot",
                super::names::is_label,
            );
            let tier = tier::tier(context, &metadata, spec);
            found.tiers.push(tier);
        }
        Kind::GlobalNetworkSet => {
            check_addressed(context, &metadata, kind);
            let set = network_set::network_set(context, &metadata, spec);
            found.network_sets.push(set);
        }
        Kind::HostEndpoint => {
            check_addressed(context, &metadata, kind);
            let endpoint = host_endpoint::host_endpoint(context, &metadata, spec);
            found.host_endpoints.push(endpoint);
        }
    }
    metadata.name
}

/// What holds for every kind that gives selectors addresses: its name, and labels it must not pretend to have.
fn check_addressed(context: &mut Context<'_>, metadata: &Metadata<'_>, kind: &str) {
    metadata.check_name(
        context,
        "labels with dots between them",
        super::names::is_subdomain,
    );
    metadata.check_reserved_labels(context, kind);
}

fn list(
    context: &mut Context<'_>,
    mut fields: Fields<'_>,
    api_version: Option<(&str, Span)>,
    before: usize,
    inherited: Inherited<'_>,
    found: &mut Found,
) {
    if api_version.is_none_or(|(version, _)| version != "v1") {
        check_api_version(context, api_version, "List");
    }
    let items = fields.required(context, "items");
    fields.ignored(&["metadata"]);
    fields.finish(context);
    if let Some(Field { value, .. }) = items {
        for item in context.list(value, "a list of resources") {
            resource(context, item, before, inherited, found);
        }
    }
}

/// What the items of a list inherit from its kind; `None` if the kind is no list.
fn list_of(kind: &str) -> Option<Inherited<'_>> {
    let item = kind.strip_suffix("List")?;
    if item.is_empty() {
        return Some(Inherited::default());
    }
    let is_known = KINDS.iter().any(|(known, _)| *known == item)
        || POLICY_KINDS.contains(&item)
        || CLUSTER_KINDS.contains(&item);
    is_known.then_some(Inherited {
        kind: Some(item),
        api_version: Some(API_VERSION),
    })
}

/// A field of text and its place; if it is not there, what the list says, which has the place of the object.
fn text_field<'n>(
    context: &mut Context<'_>,
    fields: &mut Fields<'n>,
    name: &'static str,
    inherited: Option<&'n str>,
) -> Option<(&'n str, Span)> {
    if let (None, Some(inherited)) = (fields.optional(name), inherited) {
        return Some((inherited, fields.place()));
    }
    let field = fields.required(context, name)?;
    let text = context.text(field.value, &format!("a value of `{name}`"))?;
    Some((text, field.value.span))
}

fn check_api_version(context: &mut Context<'_>, api_version: Option<(&str, Span)>, kind: &str) {
    if let Some((version, place)) = api_version
        && version != API_VERSION
    {
        context.report(
            Diagnostic::error(
                "unknown-api-version",
                format!("{kind} is a kind of {API_VERSION}, not of {}", quoted(version)),
            )
            .at(place, "not an apiVersion of this kind")
            .help(format!("write `apiVersion: {API_VERSION}`")),
        );
    }
}

fn unknown(context: &mut Context<'_>, kind: &str, place: Span) {
    let shown = quoted(kind);
    if POLICY_KINDS.contains(&kind) {
        context.report(
            Diagnostic::error("unsupported", format!("palisade does not enforce the kind {shown}"))
                .at(place, "not enforced")
                .help(
                    "remove the object: to leave it in without effect would look like protection. \
                     GlobalNetworkPolicy, its staged form, Tier, GlobalNetworkSet and HostEndpoint are enforced",
                ),
        );
    } else if CLUSTER_KINDS.contains(&kind) {
        context.report(
            Diagnostic::error("unsupported", format!("palisade has no use for the kind {shown}"))
                .at(place, "configures a Calico cluster")
                .help("remove the object: it says nothing about who may reach whom"),
        );
    } else {
        let kinds = KINDS.iter().map(|(known, _)| *known);
        let allowed = kinds.clone().collect::<Vec<_>>().join(", ");
        let help = match nearest(kind, kinds.chain(POLICY_KINDS)) {
            Some(near) => format!("did you mean `{near}`? It is one of {allowed}, List"),
            None => format!("it is one of {allowed}, List"),
        };
        context.report(
            Diagnostic::error("unknown-kind", format!("there is no kind {shown}"))
                .at(place, "no such kind")
                .help(help),
        );
    }
}

/// Says of the problems of an object in which object they are, and where in it: of those found while it was
/// decoded, and of those found while it was parsed.
fn complete(
    context: &mut Context<'_>,
    node: &Node,
    own: usize,
    before: usize,
    kind: &str,
    name: Option<&str>,
) {
    for (index, problem) in context.diagnostics.since(before).iter_mut().enumerate() {
        let Some(span) = problem.span else { continue };
        let inside = span.file == node.span.file && (node.span.start..=node.span.end).contains(&span.start);
        if problem.kind.is_some() || !(inside || before + index >= own) {
            continue;
        }
        problem.kind = Some(kind.to_owned());
        problem.name = name.map(str::to_owned);
        problem.path = Some(node.path_to(span));
    }
}
