//! From text to expectations, or to all that is wrong with it.

use super::{Expectation, Party};
use crate::decode::fields::{Context, Field, Fields};
use crate::diagnostic::{Diagnostic, Diagnostics, quoted};
use crate::evaluate::Verdict;
use crate::net::{PortRange, Protocol, merge_ports};
use crate::schema::EXPECTATIONS as KIND;
use crate::selector::Selector;
use crate::source::{FileId, Files};
use crate::world::WorldKind;
use crate::yaml::{Core, Documents, Node, Value};

const API_VERSION: &str = "palisade.dev/v1";

const VERDICTS: [(&str, Verdict); 2] = [("allow", Verdict::Allow), ("deny", Verdict::Deny)];

const WORLDS: [(&str, &[WorldKind]); 3] = [
    ("enforced", &[WorldKind::Enforced]),
    ("pending", &[WorldKind::Pending]),
    ("both", &WorldKind::BOTH),
];

/// Reads the expectations in these files; they are all there exactly if no diagnostic is an error.
pub fn decode(files: &Files, ids: &[FileId]) -> (Vec<Expectation>, Diagnostics) {
    let mut context = Context::new(files);
    let mut expectations = Vec::new();
    for &id in ids {
        let mut documents = Documents::new(files, id);
        while let Some(node) = documents.next(&mut context.diagnostics) {
            if !node.is_null() {
                let before = context.diagnostics.len();
                expectations.extend(document(&mut context, &node));
                complete(&mut context, &node, before);
            }
        }
    }
    (expectations, context.diagnostics.sorted())
}

/// Says of the problems of a document where in it they are.
fn complete(context: &mut Context<'_>, node: &Node, before: usize) {
    let name = node
        .get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .and_then(Node::text);
    for problem in context.diagnostics.since(before) {
        problem.kind = Some(KIND.to_owned());
        problem.name = name.map(str::to_owned);
        problem.path = problem.span.map(|span| node.path_to(span));
    }
}

fn document(context: &mut Context<'_>, node: &Node) -> Vec<Expectation> {
    let Some(mut fields) = Fields::of(context, node, "a file of expectations", node.span) else {
        return Vec::new();
    };
    let version = fields.required(context, "apiVersion");
    let kind = fields.required(context, "kind");
    if let Some(kind) = kind
        && context
            .text(kind.value, "a value of `kind`")
            .is_some_and(|kind| kind != KIND)
    {
        let found = quoted(kind.value.text().unwrap_or_default());
        let problem = Diagnostic::error("unknown-kind", format!("expected the kind {KIND}, found {found}"));
        context.report(
            problem
                .at(kind.value.span, "no file of expectations")
                .help("resources are given with `-f`; files of expectations as they are"),
        );
        return Vec::new();
    }
    if let Some(version) = version
        && context
            .text(version.value, "a value of `apiVersion`")
            .is_some_and(|version| version != API_VERSION)
    {
        context.invalid(
            "unknown-api-version",
            version.value,
            format!("{KIND} is a kind of {API_VERSION}"),
            format!("write `apiVersion: {API_VERSION}`"),
        );
    }
    let metadata = fields.optional("metadata");
    let spec = fields.required(context, "spec");
    fields.finish(context);
    let suite = metadata.and_then(|metadata| suite(context, metadata));
    let Some(spec) = spec else { return Vec::new() };
    let nodes = context.list(spec.value, "a list of expectations");
    nodes
        .iter()
        .filter_map(|node| expectation(context, node, suite.as_deref()))
        .collect()
}

fn suite(context: &mut Context<'_>, metadata: Field<'_>) -> Option<String> {
    let mut fields = Fields::of(context, metadata.value, "metadata", metadata.key.span)?;
    let name = fields.optional("name");
    fields.finish(context);
    name.and_then(|name| context.text(name.value, "a name"))
        .map(str::to_owned)
}

fn expectation(context: &mut Context<'_>, node: &Node, suite: Option<&str>) -> Option<Expectation> {
    let errors = context.diagnostics.error_count();
    let mut fields = Fields::of(context, node, "an expectation", node.span)?;
    let name = fields.optional("name");
    let from = fields.required(context, "from");
    let to = fields.required(context, "to");
    let protocol = fields.optional("protocol");
    let ports = fields.written("ports");
    let source_port = fields.optional("sourcePort");
    let icmp = fields.optional("icmp");
    let expect = fields.required(context, "expect");
    let world = fields.optional("world");
    let without = fields.optional("withoutSafetyNet");
    fields.finish(context);

    let name = name
        .and_then(|name| context.text(name.value, "a name"))
        .map(str::to_owned);
    let from = from.map(|from| parties(context, from));
    let to = to.map(|to| parties(context, to));
    let protocol_known = protocol.map_or(Some(Protocol::TCP), |protocol| {
        self::protocol(context, protocol.value)
    });
    let expect = expect.and_then(|expect| context.choice(expect.value, "a verdict", &VERDICTS));
    let worlds = world.map_or(Some(&WorldKind::BOTH[..]), |world| {
        context.choice(world.value, "a world", &WORLDS)
    });
    let without_safety_net = without.is_some_and(|without| context.boolean(without.value) == Some(true));
    let protocol = protocol_known?;
    let expectation = Expectation {
        suite: suite.map(str::to_owned),
        name: name.unwrap_or_default(),
        from: from.unwrap_or_default(),
        to: to.unwrap_or_default(),
        protocol,
        ports: self::ports(context, ports, protocol),
        source_port: source_port.and_then(|port| self::source_port(context, port, protocol)),
        icmp: icmp.and_then(|icmp| self::icmp(context, icmp, protocol)),
        expect: expect?,
        worlds: worlds?.to_vec(),
        without_safety_net,
        position: context.position(node),
    };
    (context.diagnostics.error_count() == errors).then(|| named(expectation))
}

/// With a name, if it has none.
fn named(mut expectation: Expectation) -> Expectation {
    if expectation.name.is_empty() {
        let list = |parties: &[Party]| {
            parties
                .iter()
                .map(Party::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let ports: Vec<String> = expectation.ports.iter().map(PortRange::to_string).collect();
        let what = match (expectation.protocol.has_ports(), &expectation.ports[..]) {
            (
                true,
                [
                    PortRange {
                        first: 1,
                        last: u16::MAX,
                    },
                ],
            ) => format!("any port of {}", expectation.protocol),
            (true, _) => format!("{} {}", expectation.protocol, ports.join(",")),
            (false, _) => expectation.protocol.to_string(),
        };
        let (from, to) = (list(&expectation.from), list(&expectation.to));
        expectation.name = format!("{} {from} to {to} {what}", expectation.expect.as_str());
    }
    expectation
}

/// A name, a mapping with a selector, or a list of those.
fn parties(context: &mut Context<'_>, field: Field<'_>) -> Vec<Party> {
    let Value::Sequence(items) = &field.value.value else {
        return party(context, field.value).into_iter().collect();
    };
    if items.is_empty() {
        let name = field.key.text().unwrap_or_default();
        context.invalid(
            "empty-list",
            field.value,
            format!("`{name}` is empty"),
            "name endpoints or addresses, or select endpoints: `{selector: \"role == 'web'\"}`",
        );
    }
    items.iter().filter_map(|item| party(context, item)).collect()
}

fn party(context: &mut Context<'_>, node: &Node) -> Option<Party> {
    if !matches!(node.value, Value::Mapping(_)) {
        let name = context.text(node, "the name of an endpoint, an address, or `{selector: ...}`")?;
        return Some(Party::Named(name.to_owned()));
    }
    let mut fields = Fields::of(context, node, "an end of an expectation", node.span)?;
    let selector = fields.required(context, "selector");
    fields.finish(context);
    let value = selector?.value;
    match Selector::parse(context.text(value, "a selector")?) {
        Ok(selector) => Some(Party::Selected(selector)),
        Err(error) => {
            let message = format!("the selector is not valid: {}", error.message);
            let help = error
                .help
                .unwrap_or_else(|| "write it as in a policy: `role == 'web'`".to_owned());
            context.invalid("selector-syntax", value, message, help);
            None
        }
    }
}

/// A protocol by name or number.
fn protocol(context: &mut Context<'_>, node: &Node) -> Option<Protocol> {
    let protocol = match &node.value {
        Value::Scalar(scalar) => Protocol::parse(&scalar.text),
        _ => None,
    };
    if protocol.is_none() {
        let names = Protocol::NAMES.map(|(name, _)| name).join(", ");
        let shown = quoted(node.text().unwrap_or_default());
        let help = format!("it is one of {names}, or a number from 1 to 255");
        context.invalid(
            "invalid-protocol",
            node,
            format!("{shown} is not a protocol"),
            help,
        );
    }
    protocol
}

/// The ports: all, if none are written and the protocol has them.
fn ports(context: &mut Context<'_>, field: Option<Field<'_>>, protocol: Protocol) -> Vec<PortRange> {
    let Some(field) = field else {
        let all = PortRange {
            first: 1,
            last: u16::MAX,
        };
        return protocol.has_ports().then_some(all).into_iter().collect();
    };
    check_has_ports(context, field, protocol);
    let nodes = context.list(field.value, "a list of ports");
    if nodes.is_empty() && matches!(field.value.value, Value::Sequence(_)) {
        context.invalid(
            "empty-list",
            field.value,
            "`ports` is empty",
            "remove it to mean every port",
        );
    }
    let ranges: Vec<PortRange> = nodes.iter().filter_map(|node| port(context, node)).collect();
    merge_ports(&ranges)
}

fn check_has_ports(context: &mut Context<'_>, field: Field<'_>, protocol: Protocol) {
    if !protocol.has_ports() {
        let message = format!("the protocol {protocol} has no ports");
        let problem = Diagnostic::error("ports-without-protocol", message).at(field.key.span, "ports");
        context.report(problem.help("ports go with `protocol: TCP`, `UDP` or `SCTP`"));
    }
}

/// A port or a range: `80`, `"8000:8059"`.
fn port(context: &mut Context<'_>, node: &Node) -> Option<PortRange> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0);
    let range = match &node.value {
        Value::Scalar(scalar) => match scalar.core() {
            Core::Integer(port) => u16::try_from(port)
                .ok()
                .filter(|&port| port > 0)
                .map(PortRange::one),
            Core::Text(text) => match text.split_once(':') {
                Some((first, last)) => number(first)
                    .zip(number(last))
                    .map(|(first, last)| PortRange { first, last }),
                None => number(text).map(PortRange::one),
            },
            _ => None,
        },
        _ => None,
    };
    let range = range.filter(|range| range.first <= range.last);
    if range.is_none() {
        let shown = quoted(node.text().unwrap_or_default());
        let help = "write a number from 1 to 65535, or a range: `8000:8059`";
        context.invalid("invalid-port", node, format!("{shown} is not a port"), help);
    }
    range
}

fn source_port(context: &mut Context<'_>, field: Field<'_>, protocol: Protocol) -> Option<u16> {
    check_has_ports(context, field, protocol);
    let port = context.integer(field.value, 1..=i64::from(u16::MAX))?;
    u16::try_from(port).ok()
}

fn icmp(context: &mut Context<'_>, field: Field<'_>, protocol: Protocol) -> Option<(u8, u8)> {
    if ![Protocol::ICMP, Protocol::ICMPV6].contains(&protocol) {
        let problem = Diagnostic::error("icmp-without-protocol", "`icmp` needs a protocol that is ICMP");
        let problem = problem.at(field.key.span, "a type of ICMP");
        context.report(problem.help("write `protocol: ICMP` for IPv4, or `protocol: ICMPv6` for IPv6"));
    }
    let mut fields = Fields::of(context, field.value, "a type of ICMP", field.key.span)?;
    let icmp_type = fields.required(context, "type");
    let code = fields.optional("code");
    fields.finish(context);
    let mut byte = |field: Field<'_>| u8::try_from(context.integer(field.value, 0..=255)?).ok();
    let code = code.map_or(Some(0), &mut byte);
    Some((byte(icmp_type?)?, code?))
}
