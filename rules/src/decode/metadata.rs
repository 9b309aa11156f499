//! What every resource has: a name, labels, and the bookkeeping of a server.

use super::fields::{Context, Field, Fields};
use super::names;
use crate::diagnostic::{Diagnostic, quoted};
use crate::resource::Labels;
use crate::source::{Position, Span};
use crate::yaml::Node;

/// Fields that servers write and palisade has no use for.
const BOOKKEEPING: [&str; 11] = [
    "clusterName",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
];

/// The most bytes of all annotations of an object, as Kubernetes has it.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// The metadata of a resource.
pub(super) struct Metadata<'n> {
    /// The name as it is written, valid or not.
    pub(super) name: Option<String>,
    /// Where the name is, or what comes nearest to it.
    pub(super) span: Span,
    /// The same for people.
    pub(super) position: Position,
    /// The labels.
    pub(super) labels: Labels,
    label_keys: Vec<&'n Node>,
}

impl<'n> Metadata<'n> {
    /// Reads `metadata`.
    pub(super) fn read(context: &mut Context<'_>, field: Field<'n>, kind: &str) -> Option<Self> {
        let mut fields = Fields::of(context, field.value, "metadata", field.key.span)?;
        let name = fields.required(context, "name");
        let labels = fields.optional("labels");
        let annotations = fields.optional("annotations");
        let namespace = fields.optional("namespace");
        fields.ignored(&BOOKKEEPING);
        fields.ignored(&["uid"]);
        fields.finish(context);

        let span = name.map_or(field.key.span, |name| name.value.span);
        let name = name.and_then(|name| context.text(name.value, "a name"));
        if let Some(namespace) = namespace
            && namespace.value.text() != Some("")
        {
            context.report(
                Diagnostic::error(
                    "unexpected-namespace",
                    format!("{kind} has no namespace: it is global"),
                )
                .at(namespace.key.span, "not a field of this kind")
                .help("remove it"),
            );
        }
        if let Some(annotations) = annotations {
            self::annotations(context, annotations.value);
        }
        let mut metadata = Metadata {
            name: name.map(str::to_owned),
            span,
            position: context.files.position(span),
            labels: Labels::new(),
            label_keys: Vec::new(),
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
            labels: Labels::new(),
            label_keys: Vec::new(),
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

    fn read_labels(&mut self, context: &mut Context<'_>, node: &'n Node) {
        let (labels, keys) = labels(context, node);
        self.labels = labels;
        self.label_keys = keys;
    }
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
        let reserved = matches!(
            text,
            "projectcalico.org/namespace"
                | "projectcalico.org/orchestrator"
                | "projectcalico.org/serviceaccount"
        ) || text.starts_with("pcns.")
            || text.starts_with("pcsa.");
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
fn labels<'n>(context: &mut Context<'_>, node: &'n Node) -> (Labels, Vec<&'n Node>) {
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
