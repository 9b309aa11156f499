//! `HostEndpoint`.

use super::fields::{Context, Field, Fields, Unique};
use super::metadata::Metadata;
use super::{names, net};
use crate::diagnostic::{Diagnostic, quoted};
use crate::resource::{DEFAULT_ALLOW_PROFILE, HostEndpoint, InterfaceName};
use crate::yaml::Node;

pub(super) fn host_endpoint(
    context: &mut Context<'_>,
    metadata: &Metadata<'_>,
    spec: Option<Field<'_>>,
) -> HostEndpoint {
    let mut endpoint = HostEndpoint {
        name: metadata.name.clone().unwrap_or_default(),
        labels: metadata.labels.clone(),
        node: String::new(),
        interface: None,
        expected_ips: Vec::new(),
        profiles: Vec::new(),
        position: metadata.position.clone(),
    };
    let fields =
        spec.and_then(|spec| Fields::of(context, spec.value, "the spec of a HostEndpoint", spec.key.span));
    let Some(mut fields) = fields else {
        return endpoint;
    };
    let node = fields.required(context, "node");
    let interface = fields
        .optional("interfaceName")
        .filter(|interface| interface.value.text() != Some(""));
    let expected_ips = fields.optional("expectedIPs");
    let profiles = fields.optional("profiles");
    fields.unsupported(
        context,
        "ports",
        "named ports are not read: write port numbers in the rules, and remove this",
    );
    if interface.is_none() && expected_ips.is_none_or(|addresses| super::fields::is_default(addresses.value))
    {
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

    if let Some(node) = node.and_then(|node| self::node(context, node.value)) {
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
        endpoint.profiles = self::profiles(context, profiles.value);
    }
    endpoint
}

/// Reads the name of a host, as HostEndpoints have it in `node`.
pub fn node(context: &mut Context<'_>, node: &Node) -> Option<String> {
    let text = context.text(node, "the name of a host")?;
    if !names::is_node(text) {
        context.invalid(
            "invalid-name",
            node,
            format!("{} is not a name of a host", quoted(text)),
            "it has 1 to 253 letters, digits, `-`, `_` and `.`",
        );
    }
    Some(text.to_owned())
}

fn interface(context: &mut Context<'_>, node: &Node) -> Option<InterfaceName> {
    let text = context.text(node, "a name of an interface")?;
    if text == "*" {
        return Some(InterfaceName::Any);
    }
    if !names::is_interface(text) {
        context.invalid(
            "invalid-name",
            node,
            format!("{} is not a name of an interface", quoted(text)),
            "it is `*`, or 1 to 15 letters, digits, `-`, `_` and `.`",
        );
    }
    Some(InterfaceName::Named(text.to_owned()))
}

fn profiles(context: &mut Context<'_>, node: &Node) -> Vec<String> {
    let mut profiles = Vec::new();
    let mut unique = Unique::new();
    for node in context.list(node, "a list of names of profiles") {
        let Some(name) = context.text(node, "a name of a profile") else {
            continue;
        };
        if name != DEFAULT_ALLOW_PROFILE {
            context.invalid(
                "unknown-profile",
                node,
                format!("there is no profile {}", quoted(name)),
                format!("the only profile that exists is `{DEFAULT_ALLOW_PROFILE}`"),
            );
        } else if unique.insert(context, name, node) {
            profiles.push(name.to_owned());
        }
    }
    profiles
}
