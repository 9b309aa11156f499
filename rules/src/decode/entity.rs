//! The two sides of a rule.

use ipnet::IpNet;

use super::fields::{Context, Field, Fields, Unique};
use super::{names, net, selector};
use crate::diagnostic::{Diagnostic, quoted};
use crate::net::{Family, PortRange};
use crate::resource::Entity;
use crate::source::Span;
use crate::yaml::{Core, Node, Value};

/// The most prefixes in a list.
const MAX_NETS: usize = 256;

/// The most ports in a list.
const MAX_PORTS: usize = 50;

/// Fields that are known and not enforced, and what to do instead.
const UNSUPPORTED: [(&str, &str); 3] = [
    (
        "namespaceSelector",
        "a host has no namespaces: select endpoints and sets by their labels in `selector`",
    ),
    (
        "serviceAccounts",
        "a host has no service accounts: select endpoints by their labels in `selector`",
    ),
    (
        "services",
        "a host does not know the services of a cluster: name their addresses in `nets` or in a GlobalNetworkSet",
    ),
];

/// What concerns the whole rule, in the order written.
#[derive(Default)]
pub(super) struct Seen {
    /// Prefixes.
    pub(super) families: Vec<(Family, Span)>,
    /// Lists of ports.
    pub(super) ports: Vec<Span>,
}

/// Reads `source` or `destination`.
pub(super) fn entity(
    context: &mut Context<'_>,
    field: Field<'_>,
    what: &'static str,
    seen: &mut Seen,
) -> Entity {
    let Some(mut fields) = Fields::of(context, field.value, what, field.key.span) else {
        return Entity::default();
    };
    let nets = fields.written("nets");
    let not_nets = fields.written("notNets");
    let selector = fields.optional("selector");
    let not_selector = fields.optional("notSelector");
    let ports = fields.written("ports");
    let not_ports = fields.written("notPorts");
    for (name, why) in UNSUPPORTED {
        fields.unsupported(context, name, why);
    }
    fields.finish(context);

    let mut condition = |field: Option<Field<'_>>| selector::selector(context, field?.value);
    let selector = condition(selector);
    let not_selector = condition(not_selector);
    Entity {
        nets: nets.and_then(|field| self::nets(context, field, seen)),
        not_nets: not_nets.and_then(|field| {
            let nets = self::nets(context, field, seen)?;
            check_not_all(context, field, &nets);
            Some(nets)
        }),
        selector,
        not_selector,
        ports: ports.and_then(|field| self::ports(context, field, seen)),
        not_ports: not_ports.and_then(|field| self::ports(context, field, seen)),
    }
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

fn ports(context: &mut Context<'_>, field: Field<'_>, seen: &mut Seen) -> Option<Vec<PortRange>> {
    let nodes = items(context, field, "a list of ports", MAX_PORTS)?;
    seen.ports.push(field.key.span);
    let ports: Vec<_> = nodes.iter().filter_map(|node| port(context, node)).collect();
    (!ports.is_empty()).then_some(ports)
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

/// A port or a range: `80`, `"80"`, `8000:8059`.
fn port(context: &mut Context<'_>, node: &Node) -> Option<PortRange> {
    const EXPECTED: &str = "a port such as 80 or a range such as 8000:8059";
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
        Core::Text(text) => match text.split_once(':') {
            Some((first, last)) => number(first)
                .zip(number(last))
                .map(|(first, last)| PortRange { first, last }),
            None if names::is_port_name(text) => {
                context.report(
                    Diagnostic::error(
                        "unsupported",
                        format!("palisade does not enforce the named port {}", quoted(text)),
                    )
                    .at(node.span, "not enforced")
                    .help("write the number of the port"),
                );
                return None;
            }
            None => number(text).map(PortRange::one),
        },
        _ => None,
    };
    let shown = quoted(&scalar.text);
    match range {
        Some(range) if range.first > range.last => context.invalid(
            "invalid-port",
            node,
            format!("the range {shown} ends before it begins"),
            format!("write `{}:{}`", range.last, range.first),
        ),
        Some(range) => return Some(range),
        None if scalar.text.contains('-') => context.invalid(
            "invalid-port",
            node,
            format!("{shown} is not a port"),
            "a range is written with a colon: 8000:8059",
        ),
        None => context.invalid(
            "invalid-port",
            node,
            format!("{shown} is not a port"),
            "a port is a number from 1 to 65535, a range is written 8000:8059",
        ),
    }
    None
}
