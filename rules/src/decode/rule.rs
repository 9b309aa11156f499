//! Rules.

use super::entity::{self, Seen};
use super::fields::{Context, Field, Fields, Unique};
use super::found::Found;
use super::{metadata, names};
use crate::diagnostic::{Diagnostic, quoted};
use crate::net::{Family, Protocol};
use crate::resource::{Action, Entity, IcmpMatch, ProtocolMatch, Rule};
use crate::schema::{self, Object};
use crate::source::Span;
use crate::yaml::{Core, Node, Value};

/// The most rules of a policy in one direction.
const MAX_RULES: usize = 1024;

/// The annotation that gives a rule a name.
const RULE_NAME: &str = "palisade.dev/rule-name";

const ACTIONS: [(&str, Action); 4] = [
    ("Allow", Action::Allow),
    ("Deny", Action::Deny),
    ("Pass", Action::Pass),
    ("Log", Action::Log),
];

/// Reads `ingress` or `egress` of a policy or a profile; `namespace` is the policy's.
pub(super) fn rules(
    context: &mut Context<'_>,
    field: Field<'_>,
    namespace: Option<&str>,
    found: &mut Found,
) -> Vec<Rule> {
    let mut names = Unique::new();
    let nodes = nodes(context, field);
    let rules = nodes.iter().enumerate().filter_map(|(index, node)| {
        let rule = rule(context, node, namespace, &mut names, found)?;
        Some(Rule { index, ..rule })
    });
    let mut rules: Vec<Rule> = rules.collect();
    rules.shrink_to_fit();
    rules
}

/// The items of a list of rules that is not too long.
pub(super) fn nodes<'n>(context: &mut Context<'_>, field: Field<'n>) -> &'n [Node] {
    let nodes = context.list(field.value, "a list of rules");
    if nodes.len() > MAX_RULES {
        context.report(
            Diagnostic::error(
                "too-many",
                format!("there are {} rules, and {MAX_RULES} are allowed", nodes.len()),
            )
            .at(field.key.span, "too many rules")
            .help("split the policy"),
        );
        return &[];
    }
    nodes
}

fn rule(
    context: &mut Context<'_>,
    node: &Node,
    namespace: Option<&str>,
    names: &mut Unique<String>,
    found: &mut Found,
) -> Option<Rule> {
    let mut fields = Fields::of(context, node, &schema::RULE, node.span)?;
    let action = fields
        .required(context, "action")
        .and_then(|action| context.choice(action.value, "an action", &ACTIONS))
        .unwrap_or(Action::Deny);
    let version = fields.optional("ipVersion");
    let protocol = fields.optional("protocol");
    let not_protocol = fields.optional("notProtocol");
    let icmp = fields.optional("icmp");
    let not_icmp = fields.optional("notICMP");
    let source = fields.optional("source");
    let destination = fields.optional("destination");
    let metadata = fields.optional("metadata");
    fields.finish(context);

    let ip_version = version.and_then(|version| ip_version(context, version.value));
    let protocol_match = protocol.and_then(|protocol| self::protocol(context, protocol.value));
    let not_protocol_match = not_protocol.and_then(|protocol| self::protocol(context, protocol.value));
    let mut seen = Seen::default();
    let mut side = |field: Option<Field<'_>>, object: &'static Object| {
        field.map_or_else(Entity::default, |field| {
            entity::entity(context, field, object, namespace, &mut seen, found)
        })
    };
    let source = side(source, &schema::SOURCE);
    let destination = side(destination, &schema::DESTINATION);

    check_families(context, ip_version.zip(version), &seen);
    for (written, field) in [(protocol_match, protocol), (not_protocol_match, not_protocol)] {
        if let (Some(written), Some(field), Some((family, version))) =
            (written, field, ip_version.zip(version))
        {
            check_icmp_version(context, written.protocol, field.value, family, version);
        }
    }
    let icmp_match = icmp.and_then(|icmp| icmp_match(context, icmp, &schema::ICMP));
    let not_icmp_match = not_icmp.and_then(|icmp| self::icmp_match(context, icmp, &schema::NOT_ICMP));
    if let Some(icmp) = icmp
        && (protocol.is_none() || protocol_match.is_some())
    {
        check_icmp_protocol(context, icmp, protocol_match.zip(protocol));
    }
    // A protocol that could not be read may well be one with ports.
    if protocol.is_none() || protocol_match.is_some() {
        check_ports(context, protocol_match.zip(protocol), &seen);
        let protocol = protocol_match.map_or(Protocol::TCP, |written| written.protocol);
        for (name, span) in seen.names.iter().filter(|_| protocol.has_ports()) {
            found.uses_port(name, protocol, *span);
        }
    }
    let (name, annotations) =
        metadata.map_or_else(Default::default, |metadata| annotations(context, metadata, names));
    Some(Rule {
        action,
        ip_version,
        protocol: protocol_match,
        not_protocol: not_protocol_match,
        icmp: icmp_match,
        not_icmp: not_icmp_match,
        source,
        destination,
        name,
        annotations,
        index: 0,
        position: context.position(node),
    })
}

fn ip_version(context: &mut Context<'_>, node: &Node) -> Option<Family> {
    let version = match &node.value {
        Value::Scalar(scalar) => scalar.core(),
        _ => Core::Null,
    };
    match version {
        Core::Integer(4) => Some(Family::V4),
        Core::Integer(6) => Some(Family::V6),
        _ => {
            context.wrong_type(node, "4 or 6");
            None
        }
    }
}

/// A protocol: one of Calico's names, or a number from 1 to 255, perhaps in quotes.
fn protocol(context: &mut Context<'_>, node: &Node) -> Option<ProtocolMatch> {
    let number = match &node.value {
        Value::Scalar(scalar) => match scalar.core() {
            Core::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Core::Integer(number) => Some(number),
            _ => None,
        },
        _ => None,
    };
    if let Some(number) = number {
        let number = u8::try_from(number).ok().filter(|&number| number > 0);
        if number.is_none() {
            context.invalid(
                "invalid-protocol",
                node,
                format!(
                    "{} is not a protocol number",
                    quoted(node.text().unwrap_or_default())
                ),
                "a protocol number is from 1 to 255",
            );
        }
        return number.map(|number| ProtocolMatch {
            protocol: Protocol(number),
            family: None,
        });
    }
    let protocol = context.choice(node, "a protocol", &Protocol::NAMES)?;
    let family = match protocol {
        Protocol::ICMP => Some(Family::V4),
        Protocol::ICMPV6 => Some(Family::V6),
        _ => None,
    };
    Some(ProtocolMatch { protocol, family })
}

/// `icmp` or `notICMP`: a type, and perhaps a code of it.
fn icmp_match(context: &mut Context<'_>, field: Field<'_>, object: &'static Object) -> Option<IcmpMatch> {
    let mut fields = Fields::of(context, field.value, object, field.key.span)?;
    let icmp_type = fields.required(context, "type");
    let code = fields.optional("code");
    fields.finish(context);
    let code = code.and_then(|code| context.integer(code.value, 0..=255));
    let icmp_type = context.integer(icmp_type?.value, 0..=254)?;
    Some(IcmpMatch {
        icmp_type: u8::try_from(icmp_type).ok()?,
        code: code.and_then(|code| u8::try_from(code).ok()),
    })
}

/// `icmp` says nothing of other protocols, so the rule has to name ICMP.
fn check_icmp_protocol(
    context: &mut Context<'_>,
    icmp: Field<'_>,
    protocol: Option<(ProtocolMatch, Field<'_>)>,
) {
    let is_icmp = |written: ProtocolMatch| [Protocol::ICMP, Protocol::ICMPV6].contains(&written.protocol);
    let problem = Diagnostic::error("icmp-without-protocol", "`icmp` needs a protocol that is ICMP");
    let problem = match protocol {
        Some((written, _)) if is_icmp(written) => return,
        Some((_, field)) => problem.related(field.value.span, "the protocol"),
        None => problem,
    };
    context.report(
        problem
            .at(icmp.key.span, "a type of ICMP")
            .help("add `protocol: ICMP` for IPv4, or `protocol: ICMPv6` for IPv6"),
    );
}

/// A rule is about one family where it names addresses of one.
fn check_families(context: &mut Context<'_>, version: Option<(Family, Field<'_>)>, seen: &Seen) {
    if let Some((family, version)) = version {
        for &(net, span) in seen.families.iter().filter(|(net, _)| *net != family) {
            context.report(
                Diagnostic::error("mixed-families", format!("{net} in a rule for {family} only"))
                    .at(span, format!("is {net}"))
                    .related(version.value.span, format!("says {family}"))
                    .help("remove one of the two: the rule could never match"),
            );
        }
    } else if let Some(&(first, first_span)) = seen.families.first()
        && let Some(&(other, span)) = seen.families.iter().find(|(family, _)| *family != first)
    {
        context.report(
            Diagnostic::error(
                "mixed-families",
                "one rule must not have both IPv4 and IPv6 prefixes",
            )
            .at(span, format!("is {other}"))
            .related(first_span, format!("is {first}"))
            .help("write one rule for each family"),
        );
    }
}

fn check_icmp_version(
    context: &mut Context<'_>,
    protocol: Protocol,
    node: &Node,
    family: Family,
    version: Field<'_>,
) {
    let needed = match protocol {
        Protocol::ICMP => Family::V4,
        Protocol::ICMPV6 => Family::V6,
        _ => return,
    };
    if needed != family {
        let name = if needed == Family::V4 { "ICMP" } else { "ICMPv6" };
        context.report(
            Diagnostic::error(
                "mixed-families",
                format!("{name} belongs to {needed}, and the rule is for {family} only"),
            )
            .at(node.span, format!("belongs to {needed}"))
            .related(version.value.span, format!("says {family}"))
            .help("ICMP is IPv4's, ICMPv6 is IPv6's"),
        );
    }
}

/// Ports belong to a protocol that has them. Names alone need none: then they mean TCP.
fn check_ports(context: &mut Context<'_>, protocol: Option<(ProtocolMatch, Field<'_>)>, seen: &Seen) {
    let problem =
        |span: Span, message: String| Diagnostic::error("ports-without-protocol", message).at(span, "ports");
    match protocol {
        None => {
            if let Some(&ports) = seen.numbers.first() {
                context.report(
                    problem(ports, "ports need a protocol that has ports".to_owned())
                        .help("add `protocol: TCP`, `UDP` or `SCTP` to the rule"),
                );
            }
        }
        Some((written, field)) => {
            if let Some(&ports) = seen.ports.first()
                && !written.protocol.has_ports()
            {
                let message = format!("the protocol {} has no ports", written.protocol);
                context.report(
                    problem(ports, message)
                        .related(field.value.span, "the protocol")
                        .help("ports go with `protocol: TCP`, `UDP` or `SCTP`"),
                );
            }
        }
    }
}

/// The name of a rule, from its annotations, and the others, sorted.
fn annotations(
    context: &mut Context<'_>,
    field: Field<'_>,
    names: &mut Unique<String>,
) -> (Option<String>, Vec<(String, String)>) {
    let Some(mut fields) = Fields::of(context, field.value, &schema::RULE_METADATA, field.key.span) else {
        return Default::default();
    };
    let annotations = fields.optional("annotations");
    fields.finish(context);
    let Some(annotations) = annotations else {
        return Default::default();
    };
    let mut rule_name = None;
    let mut others = Vec::new();
    for (key, value) in metadata::annotations(context, annotations.value) {
        let (Some(key), Some(text)) = (key.text(), value.text()) else {
            continue;
        };
        if key == RULE_NAME {
            rule_name = name(context, value, text, names);
        } else {
            others.push((key.to_owned(), text.to_owned()));
        }
    }
    others.sort();
    (rule_name, others)
}

fn name(context: &mut Context<'_>, node: &Node, name: &str, names: &mut Unique<String>) -> Option<String> {
    if !names::is_rule_name(name) {
        context.invalid(
            "invalid-name",
            node,
            format!("{} is not a valid name of a rule", quoted(name)),
            "it has at most 63 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends",
        );
        return None;
    }
    names
        .insert(context, name.to_owned(), node)
        .then(|| name.to_owned())
}
