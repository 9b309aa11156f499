//! What a document is: which kind of resource, or a list of them.

use std::sync::Arc;

use super::fields::{Context, Field, Fields, nearest};
use super::found::gives_names;
use super::metadata::Metadata;
use super::{
    Found, host_endpoint, kubernetes, names, network_set, policy, profile, service_endpoint, tier,
    workload_endpoint,
};
use crate::diagnostic::{Diagnostic, quoted};
use crate::resource::ObjectName;
use crate::schema::{self, KINDS, Kind, Names};
use crate::source::Span;
use crate::yaml::{Node, Value};

/// Kinds that hold policy, and that palisade does not enforce.
const POLICY_KINDS: [&str; 3] = [
    "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy",
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

fn resource<'n>(
    context: &mut Context<'_>,
    node: &'n Node,
    before: usize,
    inherited: Inherited<'n>,
    found: &mut Found,
) {
    let own = context.diagnostics.len();
    let (kind, name) = read(context, node, before, inherited, found);
    complete(context, node, own, before, kind, name.as_deref());
}

/// Reads an object or a list; gives its kind as written, and its name.
fn read<'n>(
    context: &mut Context<'_>,
    node: &'n Node,
    before: usize,
    inherited: Inherited<'n>,
    found: &mut Found,
) -> (Option<&'n str>, Option<String>) {
    let as_list = node.get("kind").and_then(Node::text).and_then(list_of);
    let object = match as_list {
        Some(_) => &schema::LIST,
        None => &schema::RESOURCE,
    };
    let Some(mut fields) = Fields::of(context, node, object, node.span) else {
        return (None, None);
    };
    let api_version = text_field(context, &mut fields, "apiVersion", inherited.api_version);
    let Some((word, place)) = text_field(context, &mut fields, "kind", inherited.kind) else {
        return (None, name_of(node));
    };
    if let Some(inherited) = as_list {
        list(context, fields, api_version, before, inherited, found);
        return (Some(word), None);
    }
    let Some(kind) = kind(context, api_version, word, place) else {
        return (Some(word), name_of(node));
    };
    let errors = context.diagnostics.error_count();
    let so_far = found.so_far();
    let id = known(context, fields, kind, place, found);
    found.is_partial |= gives_names(kind) && context.diagnostics.error_count() > errors;
    let name = id.map(|id| id.name);
    found.complete(so_far, node, kind, name.as_deref());
    (Some(word), name)
}

/// The name of an object of a kind that is not known.
fn name_of(node: &Node) -> Option<String> {
    let name = node.get("metadata")?.get("name")?.text()?;
    Some(name.to_owned())
}

/// Reads an object of a kind that is enforced; gives its name.
fn known(
    context: &mut Context<'_>,
    mut fields: Fields<'_>,
    kind: &'static Kind,
    place: Span,
    found: &mut Found,
) -> Option<ObjectName> {
    let metadata = fields
        .required(context, "metadata")
        .and_then(|field| Metadata::read(context, field, kind));
    let spec = if kind.spec_required {
        fields.required(context, "spec")
    } else {
        fields.optional("spec")
    };
    fields.finish(context);

    let metadata = metadata.unwrap_or_else(|| Metadata::nameless(context, place));
    check_name(context, &metadata, kind);
    let mut id = metadata.id();
    match kind.word {
        "Tier" => {
            let tier = tier::tier(context, &metadata, spec);
            found.tiers.push(tier);
        }
        "GlobalNetworkSet" | "NetworkSet" => {
            metadata.check_reserved_labels(context, kind.name);
            let set = network_set::network_set(context, &metadata, spec, kind);
            found.network_sets.push(Arc::new(set));
        }
        "HostEndpoint" => {
            metadata.check_reserved_labels(context, kind.name);
            let endpoint = host_endpoint::host_endpoint(context, &metadata, spec, found);
            found.host_endpoints.push(Arc::new(endpoint));
        }
        "WorkloadEndpoint" => {
            let endpoint = workload_endpoint::workload_endpoint(context, &metadata, spec, found);
            found.workload_endpoints.push(Arc::new(endpoint));
        }
        "ServiceEndpoint" => {
            metadata.check_reserved_labels(context, kind.name);
            let endpoint = service_endpoint::service_endpoint(context, &metadata, spec, found);
            found.service_endpoints.push(endpoint);
        }
        "Profile" => {
            let profile = profile::profile(context, &metadata, spec, found);
            found.profiles.push(profile);
        }
        _ => {
            let policy = if kind.is_kubernetes() {
                kubernetes::policy(context, &metadata, spec, kind, found)
            } else {
                policy::policy(context, &metadata, spec, kind, found)
            };
            // A server may keep the object under another name than the one it was written with.
            id.name.clone_from(&policy.id.name);
            found.policies.push(Arc::new(policy));
        }
    }
    metadata.name.as_ref()?;
    found.register(kind, &id, metadata.span);
    Some(id)
}

/// Reports a name that is not what its kind allows.
fn check_name(context: &mut Context<'_>, metadata: &Metadata<'_>, kind: &Kind) {
    match kind.names {
        Names::Label => metadata.check_name(
            context,
            "one label of at most 63 characters, without a dot",
            names::is_label,
        ),
        Names::TwoLabels => {
            metadata.check_name(
                context,
                "at most two labels with a dot between them",
                names::is_two_labels,
            );
        }
        Names::NamespacedPolicy => metadata.check_name(
            context,
            "at most two labels with a dot between them, or any behind `knp.default.` or `ossg.default.`",
            names::is_namespaced_policy,
        ),
        // It is compared with the fields it is made of.
        Names::Workload => {}
        Names::Subdomain => {
            metadata.check_name(context, "labels with dots between them", names::is_subdomain);
        }
    }
}

fn list<'n>(
    context: &mut Context<'_>,
    mut fields: Fields<'n>,
    api_version: Option<(&'n str, Span)>,
    before: usize,
    inherited: Inherited<'n>,
    found: &mut Found,
) {
    let of_kind = inherited.kind.and_then(|kind| Kind::api_versions(kind).next());
    if let Some((version, place)) = api_version
        && version != "v1"
        && !KINDS.iter().any(|kind| kind.api_version == version)
    {
        let expected = of_kind.unwrap_or(schema::CALICO);
        context.report(
            Diagnostic::error(
                "unknown-api-version",
                format!("there is no list of {}", quoted(version)),
            )
            .at(place, "not an apiVersion of a list")
            .help(format!("write `apiVersion: v1` or `apiVersion: {expected}`")),
        );
    }
    let inherited = Inherited {
        api_version: api_version
            .map(|(version, _)| version)
            .filter(|version| *version != "v1")
            .or(of_kind),
        ..inherited
    };
    let items = fields.required(context, "items");
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
    let is_known = KINDS.iter().any(|known| known.name == item)
        || POLICY_KINDS.contains(&item)
        || CLUSTER_KINDS.contains(&item);
    is_known.then_some(Inherited {
        kind: Some(item),
        api_version: None,
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

/// The kind of this name; one that is unknown, or not of this group and version, is reported.
fn kind(
    context: &mut Context<'_>,
    api_version: Option<(&str, Span)>,
    name: &str,
    place: Span,
) -> Option<&'static Kind> {
    let versions: Vec<&str> = Kind::api_versions(name).collect();
    let Some(first) = versions.first() else {
        unknown(context, name, place);
        return None;
    };
    // Several kinds have this name, or just the one.
    let only = || Kind::find(first, name).filter(|_| versions.len() == 1);
    // Where none is written, that has been reported.
    let Some((version, place)) = api_version else {
        return only();
    };
    let kind = Kind::find(version, name);
    if kind.is_none() {
        let allowed = versions.join(" or ");
        let help: Vec<String> = versions
            .iter()
            .map(|version| format!("`apiVersion: {version}`"))
            .collect();
        context.report(
            Diagnostic::error(
                "unknown-api-version",
                format!("{name} is a kind of {allowed}, not of {}", quoted(version)),
            )
            .at(place, "not an apiVersion of this kind")
            .help(format!("write {}", help.join(" or "))),
        );
    }
    kind.or_else(only)
}

fn unknown(context: &mut Context<'_>, kind: &str, place: Span) {
    let shown = quoted(kind);
    if POLICY_KINDS.contains(&kind) {
        context.report(
            Diagnostic::error(
                "unsupported",
                format!("palisade does not enforce the kind {shown}"),
            )
            .at(place, "not enforced")
            .help(
                "remove the object: to leave it in without effect would look like protection. \
                     GlobalNetworkPolicy and NetworkPolicy are enforced",
            ),
        );
    } else if CLUSTER_KINDS.contains(&kind) {
        context.report(
            Diagnostic::error("unsupported", format!("palisade has no use for the kind {shown}"))
                .at(place, "configures a Calico cluster")
                .help("remove the object: it says nothing about who may reach whom"),
        );
    } else if kind == schema::EXPECTATIONS {
        context.report(
            Diagnostic::error("unknown-kind", format!("the kind {shown} is no resource"))
                .at(place, "for `palisade test`")
                .help("keep expectations outside the policy directory, or in a directory below it, which is not read"),
        );
    } else {
        let mut kinds: Vec<&str> = KINDS.iter().map(|known| known.name).collect();
        kinds.dedup();
        let near = nearest(kind, kinds.iter().copied().chain(POLICY_KINDS));
        kinds.sort_unstable();
        kinds.dedup();
        let allowed = kinds.join(", ");
        let help = match near {
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
    kind: Option<&str>,
    name: Option<&str>,
) {
    for (index, problem) in context.diagnostics.since(before).iter_mut().enumerate() {
        let Some(span) = problem.span else { continue };
        let inside = span.file == node.span.file && (node.span.start..=node.span.end).contains(&span.start);
        if problem.path.is_some() || !(inside || before + index >= own) {
            continue;
        }
        problem.kind = kind.map(str::to_owned);
        problem.name = name.map(str::to_owned);
        problem.path = Some(node.path_to(span));
    }
}
