//! The two sides of a rule.

use ipnet::IpNet;

use super::fields::{Context, Field, Fields, Unique, is_default};
use super::found::Found;
use super::{names, net, selector};
use crate::diagnostic::{Diagnostic, quoted};
use crate::net::{Family, PortRange};
use crate::resource::{Entity, NAMESPACE_LABEL, Ports, SERVICE_ACCOUNT_LABEL};
use crate::schema::{Object, SERVICE_ACCOUNTS};
use crate::selector::Selector;
use crate::source::Span;
use crate::yaml::{Core, Node, Value};

/// The most prefixes in a list.
const MAX_NETS: usize = 256;

/// The most ports in a list.
const MAX_PORTS: usize = 50;

/// What concerns the whole rule, in the order written.
#[derive(Default)]
pub(super) struct Seen {
    /// Prefixes.
    pub(super) families: Vec<(Family, Span)>,
    /// Lists of ports.
    pub(super) ports: Vec<Span>,
    /// Those of them that hold numbers.
    pub(super) numbers: Vec<Span>,
    /// Ports by name.
    pub(super) names: Vec<(String, Span)>,
}

/// Reads `source` or `destination` of a rule; `namespace` is the policy's.
pub(super) fn entity(
    context: &mut Context<'_>,
    field: Field<'_>,
    object: &'static Object,
    namespace: Option<&str>,
    seen: &mut Seen,
    found: &mut Found,
) -> Entity {
    let Some(mut fields) = Fields::of(context, field.value, object, field.key.span) else {
        return Entity::default();
    };
    let nets = fields.written("nets");
    let not_nets = fields.written("notNets");
    let written = fields.optional("selector");
    let not_selector = fields.optional("notSelector");
    let namespace_selector = fields.optional("namespaceSelector");
    let service_accounts = fields.optional("serviceAccounts");
    let ports = fields.written("ports");
    let not_ports = fields.written("notPorts");
    fields.finish(context);

    // Without any of these a rule is about addresses, whichever namespace they are in.
    let selects = [written, not_selector, namespace_selector, service_accounts]
        .into_iter()
        .flatten()
        .any(|field| !is_default(field.value));
    let narrows = namespace_selector.is_some_and(|field| !is_default(field.value));
    let own_namespace = namespace
        .filter(|_| selects && !narrows)
        .map(|namespace| Selector::equals(NAMESPACE_LABEL, namespace));
    let parts = [
        written.and_then(|field| selector::selector(context, field.value)),
        namespace_selector.and_then(|field| selector::namespace_or_global_selector(context, field.value)),
        own_namespace,
        service_accounts.and_then(|field| self::service_accounts(context, field, found)),
    ];
    Entity {
        nets: nets.and_then(|field| self::nets(context, field, seen)),
        not_nets: not_nets.and_then(|field| {
            let nets = self::nets(context, field, seen)?;
            check_not_all(context, field, &nets);
            Some(nets)
        }),
        selector: selector::together(context, field.key.span, parts),
        not_selector: not_selector.and_then(|field| selector::selector(context, field.value)),
        ports: ports.and_then(|field| self::ports(context, field, seen)),
        not_ports: not_ports.and_then(|field| self::ports(context, field, seen)),
    }
}

/// Reads `serviceAccounts`, as a selector of the labels that what runs as one of them has.
fn service_accounts(context: &mut Context<'_>, field: Field<'_>, found: &mut Found) -> Option<Selector> {
    let mut fields = Fields::of(context, field.value, &SERVICE_ACCOUNTS, field.key.span)?;
    let names = fields.written("names");
    let written = fields
        .optional("selector")
        .filter(|field| !is_default(field.value));
    fields.finish(context);
    found.uses_service_accounts(field.key.span);
    if names.is_none() && written.is_none() {
        context.report(
            Diagnostic::error("missing-field", "`serviceAccounts` needs `names` or `selector`")
                .at(field.key.span, "neither is here")
                .help(
                    "`selector: all()` is every service account; remove `serviceAccounts` to match anything",
                ),
        );
    }
    let names = names.and_then(|names| service_account_names(context, names));
    let parts = [
        written.and_then(|field| selector::service_account_selector(context, field.value)),
        names,
    ];
    selector::together(context, field.key.span, parts)
}

fn service_account_names(context: &mut Context<'_>, field: Field<'_>) -> Option<Selector> {
    let mut unique = Unique::new();
    let mut accounts = Vec::new();
    for node in items(context, field, "a list of names of service accounts", MAX_NETS)? {
        let Some(name) = context.text(node, "a name of a service account") else {
            continue;
        };
        if !names::is_subdomain(name) {
            context.invalid(
                "invalid-name",
                node,
                format!("{} is not a name of a service account", quoted(name)),
                "it has lower-case letters, digits and `-`, in labels with dots between them",
            );
        } else if unique.insert(context, name, node) {
            accounts.push(name.to_owned());
        }
    }
    Some(Selector::one_of(SERVICE_ACCOUNT_LABEL, accounts))
}

fn nets(context: &mut Context<'_>, field: Field<'_>, seen: &mut Seen) -> Option<Vec<IpNet>> {
    let mut unique = Unique::new();
    let mut nets = Vec::new();
    for node in items(context, field, "a list of prefixes", MAX_NETS)? {
        if let Some(net) = net::prefix(context, node)
            && unique.insert(context, net, node)
        {
            seen.families.push((Family::of_net(net), node.span));
            nets.push(net);
        }
    }
    (!nets.is_empty()).then_some(nets)
}

fn check_not_all(context: &mut Context<'_>, field: Field<'_>, nets: &[IpNet]) {
    if let Some(all) = nets.iter().find(|net| net.prefix_len() == 0) {
        context.report(
            Diagnostic::error(
                "invalid-net",
                format!("`notNets` with {all} excludes every address of the family"),
            )
            .at(field.value.span, format!("{all} is every address"))
            .help("remove it: the rule could never match"),
        );
    }
}

fn ports(context: &mut Context<'_>, field: Field<'_>, seen: &mut Seen) -> Option<Ports> {
    let nodes = items(context, field, "a list of ports", MAX_PORTS)?;
    seen.ports.push(field.key.span);
    let mut ports = Ports::default();
    for node in nodes {
        match port(context, node) {
            Some(Port::Range(range)) => ports.ranges.push(range),
            Some(Port::Name(name)) => {
                seen.names.push((name.clone(), node.span));
                ports.names.push(name);
            }
            None => {}
        }
    }
    if !ports.ranges.is_empty() {
        seen.numbers.push(field.key.span);
    }
    (ports != Ports::default()).then_some(ports)
}

/// The items of a list that means "any" when it is not there: so an empty one, which looks like "none", is refused.
fn items<'n>(context: &mut Context<'_>, field: Field<'n>, expected: &str, most: usize) -> Option<&'n [Node]> {
    let name = field.key.text().unwrap_or_default();
    let nodes = match &field.value.value {
        Value::Null => &[],
        Value::Sequence(items) => items.as_slice(),
        _ => {
            context.wrong_type(field.value, expected);
            return None;
        }
    };
    if nodes.is_empty() {
        context.report(
            Diagnostic::error("empty-list", format!("`{name}` is empty"))
                .at(field.key.span, "empty")
                .help(format!(
                    "remove `{name}` to match anything, or the whole rule to match nothing"
                )),
        );
        return None;
    }
    if nodes.len() > most {
        context.report(
            Diagnostic::error(
                "too-many",
                format!("`{name}` has {} entries, and {most} are allowed", nodes.len()),
            )
            .at(field.key.span, "too many")
            .help("split the rule; many addresses go into a GlobalNetworkSet"),
        );
        return None;
    }
    Some(nodes)
}

/// A port as a rule writes it.
pub(super) enum Port {
    /// A number, or a range of them.
    Range(PortRange),
    /// The name that endpoints have it under.
    Name(String),
}

/// Reads a port, a range or a name: `80`, `"80"`, `8000:8059`, `http`.
pub(super) fn port(context: &mut Context<'_>, node: &Node) -> Option<Port> {
    const EXPECTED: &str = "a port such as 80, a range such as 8000:8059, or the name of a port";
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| text.parse::<u16>().ok().filter(|&port| port > 0))
            .flatten()
    };
    let Value::Scalar(scalar) = &node.value else {
        context.wrong_type(node, EXPECTED);
        return None;
    };
    let range = match scalar.core() {
        Core::Integer(port) => u16::try_from(port)
            .ok()
            .filter(|&port| port > 0)
            .map(PortRange::one),
        Core::Text(text) if names::is_port_name(text) => return Some(Port::Name(text.to_owned())),
        Core::Text(text) => match text.split_once(':') {
            Some((first, last)) => number(first)
                .zip(number(last))
                .map(|(first, last)| PortRange { first, last }),
            None => number(text).map(PortRange::one),
        },
        _ => None,
    };
    match range {
        Some(range) if range.first > range.last => context.invalid(
            "invalid-port",
            node,
            format!("the range {} ends before it begins", quoted(&scalar.text)),
            format!("write `{}:{}`", range.last, range.first),
        ),
        Some(range) => return Some(Port::Range(range)),
        None => context.invalid(
            "invalid-port",
            node,
            format!("{} is not a port", quoted(&scalar.text)),
            no_port(&scalar.text),
        ),
    }
    None
}

/// What to write instead of something that is no port.
fn no_port(text: &str) -> &'static str {
    let of_numbers = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b' ');
    if text.contains('-') && text.bytes().all(of_numbers) {
        "a range is written with a colon: 8000:8059"
    } else if text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        "the name of a port has at most 15 lower-case letters, digits and `-`, at least one letter, and no `-` at either \
         end or beside another"
    } else {
        "a port is a number from 1 to 65535, a range is written 8000:8059"
    }
}
