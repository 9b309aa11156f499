//! What every resource has, and the forms of names.

use super::{Field, Object, Presence, Shape};

/// Text of a certain form.
#[derive(Debug)]
pub struct Pattern {
    /// What it is, with an article.
    pub what: &'static str,
    /// The form, as a regular expression over the whole text, in the common part of all dialects.
    pub regex: &'static str,
    /// The most characters.
    pub longest: usize,
}

/// The name of a host.
pub static NODE: Pattern = Pattern {
    what: "a name of a host",
    regex: "[A-Za-z0-9_.-]+",
    longest: 253,
};

/// The name of an interface.
pub(super) static INTERFACE: Pattern = Pattern {
    what: "a name of an interface",
    regex: "[A-Za-z0-9_.-]+",
    longest: 15,
};

/// The name of an interface, or all of them.
pub(super) static ANY_INTERFACE: Pattern = Pattern {
    what: "a name of an interface, or `*`",
    regex: r"\*|[A-Za-z0-9_.-]+",
    longest: 15,
};

const LABEL_REGEX: &str = "[a-z0-9]([a-z0-9-]*[a-z0-9])?";

const SUBDOMAIN_REGEX: &str = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*";

/// The name of a tier: a DNS label.
pub(super) static TIER_NAME: Pattern = Pattern {
    what: "a name of a tier",
    regex: LABEL_REGEX,
    longest: 63,
};

/// The name of a namespace: a DNS label.
pub(super) static NAMESPACE_NAME: Pattern = Pattern {
    what: "a name of a namespace",
    regex: LABEL_REGEX,
    longest: 63,
};

/// The name of a profile: a DNS subdomain.
pub(super) static PROFILE_NAME: Pattern = Pattern {
    what: "a name of a profile",
    regex: SUBDOMAIN_REGEX,
    longest: 253,
};

/// The name of a service account: a DNS subdomain.
pub(super) static SERVICE_ACCOUNT_NAME: Pattern = Pattern {
    what: "a name of a service account",
    regex: SUBDOMAIN_REGEX,
    longest: 253,
};

/// Any other name that is a DNS subdomain.
pub(super) static SUBDOMAIN: Pattern = Pattern {
    what: "a name",
    regex: SUBDOMAIN_REGEX,
    longest: 253,
};

/// The name of a policy: one label, or two.
pub(super) static TWO_LABELS: Pattern = Pattern {
    what: "a name of one or two labels",
    regex: r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)?",
    longest: 253,
};

/// The name of a policy in a namespace.
pub(super) static NAMESPACED_POLICY: Pattern = Pattern {
    what: "a name of one or two labels, or any behind `knp.default.` or `ossg.default.`",
    regex: r"(knp|ossg)\.default(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+|[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)?",
    longest: 253,
};

/// The key of a label.
pub static LABEL_KEY: Pattern = Pattern {
    what: "a key of a label",
    regex: r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?",
    longest: 317,
};

/// The value of a label.
pub static LABEL_VALUE: Pattern = Pattern {
    what: "a value of a label",
    regex: "([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?",
    longest: 63,
};

/// The key of an annotation.
pub static ANNOTATION_KEY: Pattern = Pattern {
    what: "a key of an annotation",
    regex: r"([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?",
    longest: 317,
};

/// The name of a port.
pub static PORT_NAME: Pattern = Pattern {
    what: "a name of a port",
    regex: "([a-z0-9]+-)*[a-z0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*",
    longest: 15,
};

/// The name of a rule.
pub static RULE_NAME: Pattern = Pattern {
    what: "a name of a rule",
    regex: SUBDOMAIN_REGEX,
    longest: 63,
};

/// The name of a systemd unit that has a control group.
pub(super) static UNIT: Pattern = Pattern {
    what: "a name of a systemd unit",
    regex: r"[A-Za-z0-9:_.\\@-]+\.(service|scope|slice|socket|mount|swap)",
    longest: 255,
};

/// A path below the root of the cgroup v2 hierarchy.
pub(super) static CGROUP: Pattern = Pattern {
    what: "a path of a control group",
    regex: "[^/\\s]+(/[^/\\s]+)*",
    longest: 4095,
};

pub(super) const fn required(name: &'static str, shape: Shape, meaning: &'static str) -> Field {
    Field {
        name,
        required: true,
        shape,
        meaning,
    }
}

pub(super) const fn optional(name: &'static str, shape: Shape, meaning: &'static str) -> Field {
    Field {
        name,
        required: false,
        shape,
        meaning,
    }
}

const fn bookkeeping(name: &'static str) -> Field {
    optional(
        name,
        Shape::Described,
        "written by a server; no meaning for policy",
    )
}

/// A resource, before its kind is known.
pub static RESOURCE: Object = Object {
    what: "a resource",
    presence: Presence::Free,
    fields: &[
        required("apiVersion", Shape::Text, "the group and version of the kind"),
        required("kind", Shape::Text, "the kind"),
        required("metadata", Shape::Object(&METADATA), "its name and labels"),
        optional("spec", Shape::Any, "what it says; the fields depend on the kind"),
        bookkeeping("status"),
    ],
};

/// A list of resources.
pub static LIST: Object = Object {
    what: "a list",
    presence: Presence::Free,
    fields: &[
        required(
            "apiVersion",
            Shape::Text,
            "`v1`, or that of the kind of its items",
        ),
        required("kind", Shape::Text, "`List`, or a kind and `List`"),
        required("items", Shape::Any, "the resources"),
        bookkeeping("metadata"),
    ],
};

/// The metadata of a resource.
pub static METADATA: Object = Object {
    what: "metadata",
    presence: Presence::Free,
    fields: &[
        required(
            "name",
            Shape::Text,
            "the name, unique among the objects of the kind and namespace",
        ),
        optional(
            "namespace",
            Shape::Pattern(&NAMESPACE_NAME),
            "the namespace, for kinds that have one; they need it, but a NetworkPolicy of Kubernetes without one is in `default`",
        ),
        optional("labels", Shape::Labels, "what selectors find it by"),
        optional(
            "annotations",
            Shape::Annotations,
            "notes; `projectcalico.org/metadata` may hold the name as it was first written",
        ),
        bookkeeping("clusterName"),
        bookkeeping("creationTimestamp"),
        bookkeeping("deletionGracePeriodSeconds"),
        bookkeeping("deletionTimestamp"),
        bookkeeping("finalizers"),
        bookkeeping("generateName"),
        bookkeeping("generation"),
        bookkeeping("managedFields"),
        bookkeeping("ownerReferences"),
        bookkeeping("resourceVersion"),
        bookkeeping("selfLink"),
        bookkeeping("uid"),
    ],
};
