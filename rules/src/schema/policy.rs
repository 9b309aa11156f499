//! Calico's policies and their rules.

use super::common::{TIER_NAME, optional, required};
use super::{Field, List, Object, Presence, Shape};

const TIER: Field = optional(
    "tier",
    Shape::Pattern(&TIER_NAME),
    "the tier it stands in; not given: `default`",
);

const ORDER: Field = optional(
    "order",
    Shape::Number,
    "where it stands in its tier: lower is earlier, not given is last; ties by the bytes of `name/namespace/kind`",
);

const SELECTOR: Field = optional(
    "selector",
    Shape::Selector,
    "the endpoints it applies to, by their labels; not given: all",
);

const NAMESPACE_SELECTOR: Field = optional(
    "namespaceSelector",
    Shape::Selector,
    "narrows them to those in a namespace with such labels; `all()`: to those in any namespace",
);

const SERVICE_ACCOUNT_SELECTOR: Field = optional(
    "serviceAccountSelector",
    Shape::Selector,
    "narrows them to those that run as a service account with such labels; `all()`: as any",
);

const TYPES: Field = optional(
    "types",
    Shape::List(List {
        of: &Shape::Choice(&["Ingress", "Egress"]),
        most: 2,
        filled: false,
        unique: true,
    }),
    "the directions it governs; not given: those it has rules for, or Ingress",
);

const INGRESS: Field = optional(
    "ingress",
    RULES,
    "rules for packets towards the endpoint; the first that matches decides",
);

const EGRESS: Field = optional(
    "egress",
    RULES,
    "rules for packets from the endpoint; the first that matches decides",
);

pub(super) const RULES: Shape = Shape::List(List {
    of: &Shape::Object(&RULE),
    most: 1024,
    filled: false,
    unique: false,
});

const DO_NOT_TRACK: Field = optional(
    "doNotTrack",
    Shape::Boolean,
    "decide before conntrack, at host endpoints; what it allows is not tracked, so replies need rules of their own. Needs `applyOnForward`",
);

const PRE_DNAT: Field = optional(
    "preDNAT",
    Shape::Boolean,
    "decide before the destination is translated, at host endpoints, ingress only. Needs `applyOnForward`",
);

const APPLY_ON_FORWARD: Field = optional(
    "applyOnForward",
    Shape::Boolean,
    "at host endpoints, decide what goes through the host too",
);

const PERFORMANCE_HINTS: Field = optional(
    "performanceHints",
    Shape::List(List {
        of: &Shape::Choice(&["AssumeNeededOnEveryNode"]),
        most: 1,
        filled: false,
        unique: true,
    }),
    "accepted; palisade needs no hint",
);

pub(super) const STAGED_ACTION: Field = optional(
    "stagedAction",
    Shape::Choice(&["Set", "Delete", "Learn", "Ignore"]),
    "what promotion would do: `Set` the policy (not given: this), `Delete` the enforced one of its name; `Learn` is Set, and what it would do feeds `palisade learn`; `Ignore` is parked",
);

/// The spec of a GlobalNetworkPolicy.
pub static GLOBAL_NETWORK_POLICY_SPEC: Object = Object {
    what: "the spec of a GlobalNetworkPolicy",
    presence: Presence::Free,
    fields: &[
        TIER,
        ORDER,
        SELECTOR,
        NAMESPACE_SELECTOR,
        SERVICE_ACCOUNT_SELECTOR,
        TYPES,
        INGRESS,
        EGRESS,
        APPLY_ON_FORWARD,
        PRE_DNAT,
        DO_NOT_TRACK,
        PERFORMANCE_HINTS,
    ],
};

/// The spec of a StagedGlobalNetworkPolicy.
pub static STAGED_GLOBAL_NETWORK_POLICY_SPEC: Object = Object {
    what: "the spec of a StagedGlobalNetworkPolicy",
    presence: Presence::Free,
    fields: &[
        STAGED_ACTION,
        TIER,
        ORDER,
        SELECTOR,
        NAMESPACE_SELECTOR,
        SERVICE_ACCOUNT_SELECTOR,
        TYPES,
        INGRESS,
        EGRESS,
        APPLY_ON_FORWARD,
        PRE_DNAT,
        DO_NOT_TRACK,
        PERFORMANCE_HINTS,
    ],
};

/// The spec of Calico's NetworkPolicy.
pub static NETWORK_POLICY_SPEC: Object = Object {
    what: "the spec of a NetworkPolicy",
    presence: Presence::Free,
    fields: &[
        TIER,
        ORDER,
        SELECTOR,
        SERVICE_ACCOUNT_SELECTOR,
        TYPES,
        INGRESS,
        EGRESS,
        PERFORMANCE_HINTS,
    ],
};

/// The spec of a StagedNetworkPolicy.
pub static STAGED_NETWORK_POLICY_SPEC: Object = Object {
    what: "the spec of a StagedNetworkPolicy",
    presence: Presence::Free,
    fields: &[
        STAGED_ACTION,
        TIER,
        ORDER,
        SELECTOR,
        SERVICE_ACCOUNT_SELECTOR,
        TYPES,
        INGRESS,
        EGRESS,
        PERFORMANCE_HINTS,
    ],
};

/// A rule of a policy or profile.
pub static RULE: Object = Object {
    what: "a rule",
    presence: Presence::Free,
    fields: &[
        required(
            "action",
            Shape::Choice(&["Allow", "Deny", "Pass", "Log"]),
            "`Allow`; `Deny`; `Pass`: skip the rest of the tier; `Log`: copy to the NFLOG group, at most 10 a second in bursts of 20, and go on",
        ),
        optional("ipVersion", Shape::Numbers(&[4, 6]), "packets of this IP version"),
        optional(
            "protocol",
            Shape::Protocol,
            "packets of this protocol; `ICMP` is IPv4's and `ICMPv6` IPv6's, a number belongs to either",
        ),
        optional("notProtocol", Shape::Protocol, "packets of any other protocol"),
        optional(
            "icmp",
            Shape::Object(&ICMP),
            "packets of this type of ICMP; needs `protocol: ICMP`, `ICMPv6`, 1 or 58",
        ),
        optional(
            "notICMP",
            Shape::Object(&NOT_ICMP),
            "packets of any other type of ICMP; without a protocol it matches ICMP only",
        ),
        optional("source", Shape::Object(&SOURCE), "where the packet comes from"),
        optional(
            "destination",
            Shape::Object(&DESTINATION),
            "where the packet goes to",
        ),
        optional(
            "http",
            Shape::Refused(
                "a packet filter does not see methods and paths: remove the rule, or match the port alone",
            ),
            "methods and paths of HTTP",
        ),
        optional(
            "metadata",
            Shape::Object(&RULE_METADATA),
            "the name of the rule, and notes",
        ),
    ],
};

static ICMP_FIELDS: [Field; 2] = [
    required(
        "type",
        Shape::Integer(0, 254),
        "the type, of ICMP of the packet's own IP version",
    ),
    optional(
        "code",
        Shape::Integer(0, 255),
        "the code of that type; not given: any",
    ),
];

/// The `icmp` of a rule.
pub static ICMP: Object = Object {
    what: "an `icmp`",
    presence: Presence::Free,
    fields: &ICMP_FIELDS,
};

/// The `notICMP` of a rule.
pub static NOT_ICMP: Object = Object {
    what: "a `notICMP`",
    presence: Presence::Free,
    fields: &ICMP_FIELDS,
};

/// The metadata of a rule.
pub static RULE_METADATA: Object = Object {
    what: "the metadata of a rule",
    presence: Presence::Free,
    fields: &[optional(
        "annotations",
        Shape::Annotations,
        "notes, kept as a comment in the kernel; `palisade.dev/rule-name` is a name by which the rule's counter outlives edits",
    )],
};

const NETS: Shape = Shape::List(List {
    of: &Shape::Prefix,
    most: 256,
    filled: true,
    unique: true,
});

const PORTS: Shape = Shape::List(List {
    of: &Shape::Port,
    most: 50,
    filled: true,
    unique: false,
});

static ENTITY_FIELDS: [Field; 9] = [
    optional("nets", NETS, "its address is in one of these"),
    optional("notNets", NETS, "its address is in none of these"),
    optional(
        "selector",
        Shape::Selector,
        "its address belongs to an endpoint or a set with such labels, in the policy's own namespace if it has one",
    ),
    optional(
        "notSelector",
        Shape::Selector,
        "with another selector: takes objects away from what that selects; alone: its address belongs to none of these",
    ),
    optional(
        "namespaceSelector",
        Shape::Selector,
        "the objects are in a namespace with such labels; `all()`: in any; `global()`: in none, as hosts and GlobalNetworkSets",
    ),
    optional(
        "serviceAccounts",
        Shape::Object(&SERVICE_ACCOUNTS),
        "the objects are workloads that run as one of these service accounts",
    ),
    optional(
        "ports",
        PORTS,
        "its port is one of these; a name is the port of that name of each endpoint that the selectors select. Needs `protocol: TCP`, `UDP` or `SCTP`, but names alone mean TCP without one",
    ),
    optional("notPorts", PORTS, "its port is none of these"),
    optional(
        "services",
        Shape::Refused(
            "a host does not know the services of a cluster: name their addresses in `nets` or in a GlobalNetworkSet",
        ),
        "a service of Kubernetes",
    ),
];

/// The `source` of a rule.
pub static SOURCE: Object = Object {
    what: "a `source`",
    presence: Presence::Free,
    fields: &ENTITY_FIELDS,
};

/// The `destination` of a rule.
pub static DESTINATION: Object = Object {
    what: "a `destination`",
    presence: Presence::Free,
    fields: &ENTITY_FIELDS,
};

/// The `serviceAccounts` of a `source` or `destination`.
pub static SERVICE_ACCOUNTS: Object = Object {
    what: "`serviceAccounts`",
    presence: Presence::AnyOf(&["names", "selector"]),
    fields: &[
        optional(
            "names",
            Shape::List(List {
                of: &Shape::Pattern(&super::common::SERVICE_ACCOUNT_NAME),
                most: 256,
                filled: true,
                unique: true,
            }),
            "it is one of these",
        ),
        optional("selector", Shape::Selector, "it has such labels"),
    ],
};
