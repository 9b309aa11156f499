//! `HostEndpoint`.

use super::fields::{Context, Field, Fields, Unique, is_default};
use super::metadata::Metadata;
use super::{Found, endpoint, net};
use crate::diagnostic::Diagnostic;
use crate::resource::{HostEndpoint, InterfaceName};
use crate::schema;
use crate::yaml::Node;

pub(super) fn host_endpoint(
    context: &mut Context<'_>,
    metadata: &Metadata<'_>,
    spec: Option<Field<'_>>,
    found: &mut Found,
) -> HostEndpoint {
    let mut endpoint = HostEndpoint {
        name: metadata.name.clone().unwrap_or_default(),
        labels: metadata.labels.clone(),
        node: String::new(),
        interface: None,
        expected_ips: Vec::new(),
        profiles: Vec::new(),
        ports: Vec::new(),
        position: metadata.position.clone(),
    };
    let fields =
        spec.and_then(|spec| Fields::of(context, spec.value, &schema::HOST_ENDPOINT_SPEC, spec.key.span));
    let Some(mut fields) = fields else {
        return endpoint;
    };
    let node = fields.required(context, "node");
    let interface = fields
        .optional("interfaceName")
        .filter(|interface| interface.value.text() != Some(""));
    let expected_ips = fields.optional("expectedIPs");
    let profiles = fields.optional("profiles");
    let ports = fields.optional("ports");
    if interface.is_none() && expected_ips.is_none_or(|addresses| is_default(addresses.value)) {
        context.report(
            Diagnostic::error(
                "missing-field",
                "a HostEndpoint needs `interfaceName` or `expectedIPs`",
            )
            .at(fields.place(), "neither is here")
            .help("`interfaceName: \"*\"` is every interface that no other endpoint of the host names"),
        );
    }
    fields.finish(context);

    if let Some(node) = node.and_then(|node| endpoint::node(context, node.value)) {
        endpoint.node = node;
    }
    endpoint.interface = interface.and_then(|interface| self::interface(context, interface.value));
    if let Some(addresses) = expected_ips {
        let mut unique = Unique::new();
        for node in context.list(addresses.value, "a list of addresses") {
            if let Some(address) = net::address(context, node)
                && unique.insert(context, address, node)
            {
                endpoint.expected_ips.push(address);
            }
        }
    }
    if let Some(profiles) = profiles {
        endpoint.profiles = endpoint::profiles(context, profiles.value, found);
    }
    if let Some(ports) = ports {
        endpoint.ports = endpoint::ports(context, ports.value, &schema::NAMED_PORT);
    }
    endpoint
}

fn interface(context: &mut Context<'_>, node: &Node) -> Option<InterfaceName> {
    if node.text() == Some("*") {
        return Some(InterfaceName::Any);
    }
    let help = "it is `*`, or 1 to 15 letters, digits, `-`, `_` and `.`";
    endpoint::interface(context, node, help).map(InterfaceName::Named)
}
