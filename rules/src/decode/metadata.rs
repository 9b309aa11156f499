//! What every resource has: a name, labels, and the bookkeeping of a server.

use super::fields::{Context, Field, Fields};
use super::names;
use crate::diagnostic::{Diagnostic, quoted};
use crate::resource::{
    DEFAULT_TIER, Labels, NAMESPACE_LABEL, NAMESPACE_PREFIX, ORCHESTRATOR_LABEL, ObjectName,
    SERVICE_ACCOUNT_LABEL, SERVICE_ACCOUNT_PREFIX,
};
use crate::schema::{self, KUBERNETES, Kind};
use crate::source::{Position, Span};
use crate::yaml::Node;

/// The namespace of an object of Kubernetes that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// The annotation in which servers keep metadata that is not their own.
const CALICO_METADATA: &str = "projectcalico.org/metadata";

/// What the stored name of a policy in the default tier may begin with.
const TIER_PREFIX: &str = "default.";

/// The most bytes of all annotations of an object, as Kubernetes has it.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// The metadata of a resource.
pub(super) struct Metadata<'n> {
    /// The name as it is written, valid or not.
    pub(super) name: Option<String>,
    /// The namespace, if the kind has one.
    pub(super) namespace: Option<String>,
    /// Where the name is, or what comes nearest to it.
    pub(super) span: Span,
    /// The same for people.
    pub(super) position: Position,
    /// The labels.
    pub(super) labels: Labels,
    label_keys: Vec<&'n Node>,
    calico: Option<&'n Node>,
}

impl<'n> Metadata<'n> {
    /// Reads `metadata` of an object of this kind.
    pub(super) fn read(context: &mut Context<'_>, field: Field<'n>, kind: &Kind) -> Option<Self> {
        let mut fields = Fields::of(context, field.value, &schema::METADATA, field.key.span)?;
        let name = fields.required(context, "name");
        let labels = fields.optional("labels");
        let annotations = fields.optional("annotations");
        let namespace = fields
            .optional("namespace")
            .filter(|namespace| namespace.value.text() != Some(""));
        fields.finish(context);

        let span = name.map_or(field.key.span, |name| name.value.span);
        let name = name.and_then(|name| context.text(name.value, "a name"));
        let annotations = annotations.map_or_else(Vec::new, |annotations| {
            self::annotations(context, annotations.value)
        });
        let calico = annotations
            .into_iter()
            .find(|(key, _)| key.text() == Some(CALICO_METADATA));
        let mut metadata = Metadata {
            name: name.map(str::to_owned),
            namespace: self::namespace(context, namespace, kind, field.key.span),
            span,
            position: context.files.position(span),
            labels: Labels::new(),
            label_keys: Vec::new(),
            calico: calico.map(|(_, value)| value),
        };
        if let Some(labels) = labels {
            metadata.read_labels(context, labels.value);
        }
        Some(metadata)
    }

    /// What stands in for metadata that cannot be read.
    pub(super) fn nameless(context: &Context<'_>, place: Span) -> Self {
        Metadata {
            name: None,
            span: place,
            position: context.files.position(place),
            namespace: None,
            labels: Labels::new(),
            label_keys: Vec::new(),
            calico: None,
        }
    }

    /// Which object of its kind it is.
    pub(super) fn id(&self) -> ObjectName {
        ObjectName {
            namespace: self.namespace.clone(),
            name: self.name.clone().unwrap_or_default(),
        }
    }

    /// Reports a name that is not what its kind allows.
    pub(super) fn check_name(
        &self,
        context: &mut Context<'_>,
        allowed: &str,
        is_valid: impl Fn(&str) -> bool,
    ) {
        if let Some(name) = &self.name
            && !is_valid(name)
        {
            context.report(
                Diagnostic::error("invalid-name", format!("{} is not a valid name", quoted(name)))
                    .at(self.span, "not a valid name")
                    .help(format!(
                        "a name has lower-case letters, digits and `-`, with a letter or digit at both ends: {allowed}"
                    )),
            );
        }
    }

    /// Reports labels by which an object would pretend to be in a namespace.
    pub(super) fn check_reserved_labels(&self, context: &mut Context<'_>, kind: &str) {
        check_reserved(context, &self.label_keys, kind);
    }

    /// The name that a policy of a tier was written with. Calico stores it in an annotation where it had to change it,
    /// and before that put `default.` in front of the names in the default tier (reference 6).
    pub(super) fn original_name(&self, context: &mut Context<'_>, tier: &str) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        if let Some(calico) = self.calico
            && let Some(original) = name_within(context, calico, self.namespace.is_some())
        {
            return original;
        }
        match name.strip_prefix(TIER_PREFIX) {
            Some(rest) if tier == DEFAULT_TIER && !rest.is_empty() => rest.to_owned(),
            _ => name.to_owned(),
        }
    }

    /// The labels of a workload endpoint, without those that come from its fields or from its namespace and service
    /// account. What is exported has the first; they must then say what the fields say.
    pub(super) fn workload_labels(
        &self,
        context: &mut Context<'_>,
        orchestrator: &str,
        service_account: Option<&str>,
    ) -> Labels {
        let mut labels = self.labels.clone();
        labels
            .retain(|key, _| !key.starts_with(NAMESPACE_PREFIX) && !key.starts_with(SERVICE_ACCOUNT_PREFIX));
        for (label, field, expected) in [
            (NAMESPACE_LABEL, "metadata.namespace", self.namespace.as_deref()),
            (ORCHESTRATOR_LABEL, "spec.orchestrator", Some(orchestrator)),
            (SERVICE_ACCOUNT_LABEL, "spec.serviceAccountName", service_account),
        ] {
            let Some(value) = labels.remove(label) else {
                continue;
            };
            let key = self.label_keys.iter().find(|key| key.text() == Some(label));
            if expected != Some(value.as_str())
                && let Some(key) = key
            {
                context.report(
                    Diagnostic::error(
                        "reserved-label",
                        format!("the label `{label}` does not say what `{field}` says"),
                    )
                    .at(key.span, "reserved")
                    .help(format!(
                        "remove it: a WorkloadEndpoint gets this label from `{field}`"
                    )),
                );
            }
        }
        labels
    }

    fn read_labels(&mut self, context: &mut Context<'_>, node: &'n Node) {
        let (labels, keys) = labels(context, node);
        self.labels = labels;
        self.label_keys = keys;
    }
}

/// The namespace of an object, whose kind says whether it has one; `place` is pointed at if it is missing.
fn namespace(
    context: &mut Context<'_>,
    field: Option<Field<'_>>,
    kind: &Kind,
    place: Span,
) -> Option<String> {
    let name = kind.name;
    let Some(field) = field else {
        if kind.namespaced && kind.api_version == KUBERNETES {
            return Some(DEFAULT_NAMESPACE.to_owned());
        }
        if kind.namespaced {
            context.report(
                Diagnostic::error("missing-field", format!("{name} needs `metadata.namespace`"))
                    .at(place, "`namespace` is missing here")
                    .help("add `namespace`: it stands for that of the cluster; kinds for all hosts are the global ones"),
            );
        }
        return None;
    };
    if !kind.namespaced {
        context.report(
            Diagnostic::error(
                "unexpected-namespace",
                format!("{name} has no namespace: it is global"),
            )
            .at(field.key.span, "not a field of this kind")
            .help("remove it"),
        );
        return None;
    }
    let namespace = context.text(field.value, "a name of a namespace")?;
    if !names::is_label(namespace) {
        context.invalid(
            "invalid-name",
            field.value,
            format!("{} is not a name of a namespace", quoted(namespace)),
            "it has at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends",
        );
    }
    Some(namespace.to_owned())
}

/// The name of a policy in the annotation with Calico's metadata, which is JSON.
fn name_within(context: &mut Context<'_>, node: &Node, is_namespaced: bool) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Within {
        name: Option<String>,
    }
    let Ok(within) = serde_json::from_str::<Within>(node.text()?) else {
        context.invalid(
            "invalid-annotation",
            node,
            format!("the annotation `{CALICO_METADATA}` is not an object in JSON"),
            "remove it, or write the policy's own name: '{\"name\":\"...\"}'",
        );
        return None;
    };
    let name = within.name.filter(|name| !name.is_empty())?;
    let is_valid = if is_namespaced {
        names::is_namespaced_policy(&name)
    } else {
        names::is_two_labels(&name)
    };
    if !is_valid {
        context.invalid(
            "invalid-name",
            node,
            format!("{} is not a valid name", quoted(&name)),
            "the name that this annotation restores has at most two labels with a dot between them, of lower-case \
             letters, digits and `-`",
        );
    }
    Some(name)
}

/// Reads the labels of an endpoint, `what` with an article: they must not be those of a workload.
pub fn endpoint_labels(context: &mut Context<'_>, node: &Node, what: &str) -> Labels {
    let (labels, keys) = labels(context, node);
    check_reserved(context, &keys, what);
    labels
}

fn check_reserved(context: &mut Context<'_>, keys: &[&Node], what: &str) {
    for key in keys {
        let text = key.text().unwrap_or_default();
        let reserved = [NAMESPACE_LABEL, ORCHESTRATOR_LABEL, SERVICE_ACCOUNT_LABEL].contains(&text)
            || text.starts_with(NAMESPACE_PREFIX)
            || text.starts_with(SERVICE_ACCOUNT_PREFIX);
        if reserved {
            context.report(
                Diagnostic::error(
                    "reserved-label",
                    format!("{what} must not have the label {}", quoted(text)),
                )
                .at(key.span, "reserved")
                .help("Calico gives it to workloads in a namespace, and nothing else may pretend to be one"),
            );
        }
    }
}

/// Reads a map of labels, and where their keys are.
pub(super) fn labels<'n>(context: &mut Context<'_>, node: &'n Node) -> (Labels, Vec<&'n Node>) {
    let mut labels = Labels::new();
    let mut keys = Vec::new();
    for (key, value) in context.map(node, "a map of labels") {
        let name = key.text().unwrap_or_default();
        if !names::is_qualified(name) {
            context.invalid(
                "invalid-label",
                key,
                format!("{} is not a valid label key", quoted(name)),
                "a key has at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends, and may \
                 have a DNS name and a slash before it",
            );
        }
        let Some(text) = context.text(value, "a label value") else {
            continue;
        };
        if !names::is_label_value(text) {
            context.invalid(
                "invalid-label",
                value,
                format!("{} is not a valid label value", quoted(text)),
                "a value is empty or has at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends",
            );
        }
        labels.insert(name.to_owned(), text.to_owned());
        keys.push(key);
    }
    (labels, keys)
}

/// Reads a map of annotations.
pub(super) fn annotations<'n>(context: &mut Context<'_>, node: &'n Node) -> Vec<(&'n Node, &'n Node)> {
    let mut annotations = Vec::new();
    let mut bytes = 0;
    for (key, value) in context.map(node, "a map of annotations") {
        let name = key.text().unwrap_or_default();
        if !names::is_qualified(&name.to_ascii_lowercase()) {
            context.invalid(
                "invalid-annotation",
                key,
                format!("{} is not a valid annotation key", quoted(name)),
                "a key is written like a label key: `name` or `example.com/name`",
            );
        }
        if value.is_null() {
            continue;
        }
        if let Some(text) = context.text(value, "an annotation") {
            bytes += name.len() + text.len();
            annotations.push((key, value));
        }
    }
    if bytes > MAX_ANNOTATIONS {
        context.invalid(
            "too-long",
            node,
            format!("the annotations have {bytes} bytes, and {MAX_ANNOTATIONS} are allowed"),
            "remove some",
        );
    }
    annotations
}
