//! `ServiceEndpoint`.

use super::fields::{Context, Field, Fields};
use super::metadata::Metadata;
use super::{Found, endpoint, names};
use crate::diagnostic::{Diagnostic, quoted};
use crate::resource::{DEFAULT_ALLOW_PROFILE, ServiceEndpoint, ServiceUnit};
use crate::schema;
use crate::yaml::Node;

/// The ends of the names of units that have a control group.
const UNIT_TYPES: [&str; 6] = ["service", "scope", "slice", "socket", "mount", "swap"];

pub(super) fn service_endpoint(
    context: &mut Context<'_>,
    metadata: &Metadata<'_>,
    spec: Option<Field<'_>>,
    found: &mut Found,
) -> ServiceEndpoint {
    let mut endpoint = ServiceEndpoint {
        name: metadata.name.clone().unwrap_or_default(),
        labels: metadata.labels.clone(),
        node: String::new(),
        unit: ServiceUnit::Unit(String::new()),
        profiles: vec![DEFAULT_ALLOW_PROFILE.to_owned()],
        position: metadata.position.clone(),
    };
    let fields =
        spec.and_then(|spec| Fields::of(context, spec.value, &schema::SERVICE_ENDPOINT_SPEC, spec.key.span));
    let Some(mut fields) = fields else {
        return endpoint;
    };
    let node = fields.required(context, "node");
    let mut given = |name| {
        fields
            .optional(name)
            .filter(|field| field.value.text() != Some(""))
    };
    let unit = given("unit");
    let cgroup = given("cgroup");
    let profiles = fields.optional("profiles");
    match (unit, cgroup) {
        (None, None) => context.report(
            Diagnostic::error("missing-field", "a ServiceEndpoint needs `unit` or `cgroup`")
                .at(fields.place(), "neither is here")
                .help(
                    "`unit: nginx.service` is a unit of systemd, `cgroup: system.slice/nginx.service` a path",
                ),
        ),
        (Some(unit), Some(cgroup)) => context.report(
            Diagnostic::error(
                "conflicting-fields",
                "a ServiceEndpoint has `unit` or `cgroup`, not both",
            )
            .at(cgroup.key.span, "one too many")
            .related(unit.key.span, "and this")
            .help("remove one of the two: `unit` is found wherever it runs, `cgroup` is one place"),
        ),
        _ => {}
    }
    fields.finish(context);

    if let Some(node) = node.and_then(|node| endpoint::node(context, node.value)) {
        endpoint.node = node;
    }
    let unit = unit.and_then(|unit| self::unit(context, unit.value));
    let cgroup = cgroup.and_then(|cgroup| self::cgroup(context, cgroup.value));
    if let Some(unit) = unit.or(cgroup) {
        endpoint.unit = unit;
    }
    if let Some(profiles) = profiles {
        endpoint.profiles = endpoint::profiles(context, profiles.value, found);
    }
    endpoint
}

fn unit(context: &mut Context<'_>, node: &Node) -> Option<ServiceUnit> {
    let text = context.text(node, "a name of a systemd unit")?;
    let types = UNIT_TYPES.map(|of| format!(".{of}")).join(", ");
    let typed = UNIT_TYPES.iter().any(|of| {
        let stem = text.strip_suffix(of).and_then(|rest| rest.strip_suffix('.'));
        stem.is_some_and(|stem| !stem.is_empty())
    });
    if text.contains('/') {
        context.invalid(
            "invalid-unit",
            node,
            format!("{} is a path, not a name of a unit", quoted(text)),
            "write the path as `cgroup`, or only the unit's name as `unit`",
        );
    } else if !typed {
        context.invalid(
            "invalid-unit",
            node,
            format!(
                "{} is not a name of a systemd unit that has processes",
                quoted(text)
            ),
            format!("it ends in one of {types}: `nginx.service`"),
        );
    } else if !names::is_unit(text) {
        context.invalid(
            "invalid-unit",
            node,
            format!("{} is not a name of a systemd unit", quoted(text)),
            "it has at most 255 letters, digits, `:`, `-`, `_`, `.`, `\\` and `@`; `systemd-escape` writes others",
        );
    }
    Some(ServiceUnit::Unit(text.to_owned()))
}

/// A path below the root of the hierarchy, as `systemd-cgls` and `/proc/PID/cgroup` show it.
fn cgroup(context: &mut Context<'_>, node: &Node) -> Option<ServiceUnit> {
    let text = context.text(node, "a path of a control group")?;
    let inner = text
        .strip_prefix("/sys/fs/cgroup")
        .unwrap_or(text)
        .trim_matches('/');
    if inner.is_empty() {
        context.invalid(
            "invalid-cgroup",
            node,
            format!("{} is not a control group below the root", quoted(text)),
            "the root holds every process of the host: that is a HostEndpoint",
        );
    } else if inner != text {
        context.invalid(
            "invalid-cgroup",
            node,
            format!("{} is not a path below the root of the hierarchy", quoted(text)),
            format!("write it without a slash at either end: `{inner}`"),
        );
    } else if !names::is_cgroup(text) {
        context.invalid(
            "invalid-cgroup",
            node,
            format!("{} is not a path of a control group", quoted(text)),
            "it has names with one `/` between them, none of them `.` or `..`, and no spaces: `system.slice/nginx.service`",
        );
    }
    Some(ServiceUnit::Cgroup(text.to_owned()))
}
