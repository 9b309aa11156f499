//! What endpoints have in common: their host, their interface, their profiles and their named ports.

use std::collections::BTreeMap;

use super::fields::{Context, Fields, Unique};
use super::{Found, names};
use crate::diagnostic::{Diagnostic, quoted};
use crate::net::Protocol;
use crate::resource::NamedPort;
use crate::schema::Object;
use crate::source::Span;
use crate::yaml::Node;

const PROTOCOLS: [(&str, Protocol); 3] = [
    ("TCP", Protocol::TCP),
    ("UDP", Protocol::UDP),
    ("SCTP", Protocol::SCTP),
];

/// Reads the name of a host, as endpoints have it in `node`.
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

/// Reads the name of an interface.
pub(super) fn interface(context: &mut Context<'_>, node: &Node, help: &str) -> Option<String> {
    let text = context.text(node, "a name of an interface")?;
    if !names::is_interface(text) {
        context.invalid(
            "invalid-name",
            node,
            format!("{} is not a name of an interface", quoted(text)),
            help,
        );
    }
    Some(text.to_owned())
}

/// Reads the names of profiles; whether they exist is known at the end.
pub(super) fn profiles(context: &mut Context<'_>, node: &Node, found: &mut Found) -> Vec<String> {
    let mut profiles = Vec::new();
    let mut unique = Unique::new();
    for node in context.list(node, "a list of names of profiles") {
        if let Some(name) = context.text(node, "a name of a profile")
            && unique.insert(context, name, node)
        {
            found.uses_profile(name, node.span);
            profiles.push(name.to_owned());
        }
    }
    profiles
}

/// Reads the ports that rules may name; one name may stand once for each protocol.
pub(super) fn ports(context: &mut Context<'_>, node: &Node, object: &'static Object) -> Vec<NamedPort> {
    let mut ports = Vec::new();
    let mut seen: BTreeMap<(String, Protocol), Span> = BTreeMap::new();
    for node in context.list(node, "a list of named ports") {
        let Some((port, span)) = port(context, node, object) else {
            continue;
        };
        let key = (port.name.clone(), port.protocol);
        if let Some(&first) = seen.get(&key) {
            context.report(
                Diagnostic::error(
                    "duplicate-entry",
                    format!("the {} port {} is there twice", port.protocol, quoted(&port.name)),
                )
                .at(span, "again here")
                .related(first, "first written here")
                .help("remove one of the two, or give it another name"),
            );
            continue;
        }
        seen.insert(key, span);
        ports.push(port);
    }
    ports
}

fn port(context: &mut Context<'_>, node: &Node, object: &'static Object) -> Option<(NamedPort, Span)> {
    let mut fields = Fields::of(context, node, object, node.span)?;
    let name = fields.required(context, "name");
    let protocol = fields.required(context, "protocol");
    let port = fields.required(context, "port");
    fields.finish(context);

    let name = name.and_then(|name| Some((context.text(name.value, "a name of a port")?, name.value)));
    if let Some((text, node)) = name
        && !names::is_port_name(text)
    {
        context.invalid(
            "invalid-name",
            node,
            format!("{} is not a name of a port", quoted(text)),
            "it has at most 15 lower-case letters, digits and single `-`, and at least one letter",
        );
    }
    let protocol = protocol
        .and_then(|protocol| context.choice(protocol.value, "a protocol that has named ports", &PROTOCOLS));
    let port = port.and_then(|port| context.integer(port.value, 1..=65535));
    let (name, node) = name?;
    let port = NamedPort {
        name: name.to_owned(),
        protocol: protocol?,
        port: u16::try_from(port?).ok()?,
    };
    Some((port, node.span))
}
