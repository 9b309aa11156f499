//! `WorkloadEndpoint`.

use super::fields::{Context, Field, Fields, Unique, is_default};
use super::metadata::Metadata;
use super::{Found, endpoint, names, net};
use crate::diagnostic::{Diagnostic, quoted};
use crate::resource::WorkloadEndpoint;
use crate::schema;
use crate::yaml::Node;

pub(super) fn workload_endpoint(
    context: &mut Context<'_>,
    metadata: &Metadata<'_>,
    spec: Option<Field<'_>>,
    found: &mut Found,
) -> WorkloadEndpoint {
    let mut endpoint = WorkloadEndpoint {
        id: metadata.id(),
        labels: metadata.labels.clone(),
        node: String::new(),
        orchestrator: String::new(),
        service_account: None,
        interface: String::new(),
        addresses: Vec::new(),
        profiles: Vec::new(),
        ports: Vec::new(),
        position: metadata.position.clone(),
    };
    let fields = spec.and_then(|spec| {
        Fields::of(
            context,
            spec.value,
            &schema::WORKLOAD_ENDPOINT_SPEC,
            spec.key.span,
        )
    });
    let Some(mut fields) = fields else {
        return endpoint;
    };
    let node = fields.required(context, "node");
    let interface = fields.required(context, "interfaceName");
    let networks = fields.written("ipNetworks");
    let service_account = fields
        .optional("serviceAccountName")
        .filter(|account| account.value.text() != Some(""));
    let profiles = fields.optional("profiles");
    let ports = fields.optional("ports");
    let orchestrator = fields.required(context, "orchestrator");
    let [workload, pod, container] = ["workload", "pod", "containerID"].map(|name| fields.optional(name));
    let endpoint_part = fields.required(context, "endpoint");
    if networks.is_none_or(|networks| is_default(networks.value)) {
        let place = networks.map_or(fields.place(), |networks| networks.key.span);
        context.report(
            Diagnostic::error("missing-field", "a WorkloadEndpoint needs `ipNetworks`")
                .at(place, "no address here")
                .help("add its addresses: without one, no policy could tell its packets from others"),
        );
    }
    let place = fields.place();
    fields.finish(context);

    if let Some(node) = node.and_then(|node| endpoint::node(context, node.value)) {
        endpoint.node = node;
    }
    if let Some(interface) = interface {
        let help = "it has 1 to 15 letters, digits, `-`, `_` and `.`";
        endpoint.interface = endpoint::interface(context, interface.value, help).unwrap_or_default();
    }
    endpoint.service_account =
        service_account.and_then(|account| service_account_name(context, account.value));
    if let Some(networks) = networks.filter(|networks| !is_default(networks.value)) {
        let mut unique = Unique::new();
        for node in context.list(networks.value, "a list of addresses") {
            if let Some(address) = net::host_prefix(context, node)
                && unique.insert(context, address, node)
            {
                endpoint.addresses.push(address);
            }
        }
    }
    if let Some(profiles) = profiles {
        endpoint.profiles = endpoint::profiles(context, profiles.value, found);
    }
    if let Some(ports) = ports {
        endpoint.ports = endpoint::ports(context, ports.value, &schema::WORKLOAD_PORT);
    }
    if let Some(word) = orchestrator.and_then(|orchestrator| context.text(orchestrator.value, "a word")) {
        word.clone_into(&mut endpoint.orchestrator);
    }
    for field in [workload, pod, container, endpoint_part].into_iter().flatten() {
        context.text(field.value, "a part of the name");
    }
    let (middle, field) = match endpoint.orchestrator.as_str() {
        "k8s" => ("pod", pod),
        "cni" => ("containerID", container),
        "libnetwork" => ("orchestrator", orchestrator),
        _ => ("workload", workload),
    };
    if field.is_none() && orchestrator.is_some() {
        context.report(
            Diagnostic::error(
                "missing-field",
                format!(
                    "a WorkloadEndpoint of {} needs `{middle}`",
                    quoted(&endpoint.orchestrator)
                ),
            )
            .at(place, format!("`{middle}` is missing here"))
            .help(format!("add `{middle}`: it is part of the name")),
        );
    }
    endpoint.labels = metadata.workload_labels(
        context,
        &endpoint.orchestrator,
        endpoint.service_account.as_deref(),
    );
    check_name(context, metadata, [node, orchestrator, field, endpoint_part]);
    endpoint
}

/// Reports a name that is not made of its fields (reference 1.6): node, orchestrator, workload and endpoint with `-`
/// between them, and each `-` of their own doubled.
fn check_name(context: &mut Context<'_>, metadata: &Metadata<'_>, fields: [Option<Field<'_>>; 4]) {
    let mut segments = Vec::new();
    for field in fields.into_iter().flatten() {
        let Some(text) = field.value.text() else { continue };
        if text.is_empty() || text.starts_with('-') || text.ends_with('-') {
            context.invalid(
                "invalid-name",
                field.value,
                format!(
                    "{} cannot be part of the name of a WorkloadEndpoint",
                    quoted(text)
                ),
                "it must not be empty, and not begin or end with `-`",
            );
            continue;
        }
        segments.push(text.replace('-', "--"));
    }
    let expected = segments.join("-");
    let Some(name) = metadata.name.as_deref().filter(|_| segments.len() == 4) else {
        return;
    };
    if name != expected {
        context.report(
            Diagnostic::error(
                "workload-name",
                format!("{} is not the name that the fields of the WorkloadEndpoint make", quoted(name)),
            )
            .at(metadata.span, "not made of its fields")
            .help(format!(
                "write `name: {expected}`: node, orchestrator, workload and endpoint, with each `-` of their own doubled"
            )),
        );
    } else if !names::is_subdomain(name) {
        context.report(
            Diagnostic::error("invalid-name", format!("{} is not a valid name", quoted(name)))
                .at(metadata.span, "not a valid name")
                .help("node, orchestrator, workload and endpoint must have lower-case letters, digits, `-` and `.` only"),
        );
    }
}

fn service_account_name(context: &mut Context<'_>, node: &Node) -> Option<String> {
    let text = context.text(node, "a name of a service account")?;
    if !names::is_subdomain(text) {
        context.invalid(
            "invalid-name",
            node,
            format!("{} is not a name of a service account", quoted(text)),
            "it has lower-case letters, digits, `-` and `.`, with a letter or digit at both ends",
        );
    }
    Some(text.to_owned())
}
